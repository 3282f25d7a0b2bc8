//! The client of a running process' API. Only this file uses the HTTP library.

use std::{
    convert::Infallible,
    ffi::OsStr,
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use bytes::Bytes;
use clap::{Arg, Command, builder::TypedValueParser, error::ErrorKind};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{RequestBuilder, Response, StatusCode};
use schemas::Secret;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use service::{Exit, config::mask_url};

pub(super) use reqwest::Method;

use crate::{config::Config, process::operator_key_file};

const TIMEOUT: Duration = Duration::from_secs(30);

/// Heading of these flags in the help.
const API: &str = "API";

/// Characters to escape in a segment of a path: all but the unreserved ones (RFC 3986, section 2.3).
const RESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The flags for the API's address and the key to show.
#[derive(Debug, Default, clap::Args)]
pub(super) struct ApiArgs {
    /// Address of the running process, such as `http://127.0.0.1:8080`. Default: the configured http.listen.
    #[arg(long, value_name = "URL", value_parser = Unrepeated(server_address), help_heading = API)]
    server: Option<String>,
    /// Certificates in PEM to trust besides the system's: the API's own, or those of its authority.
    #[arg(long, value_name = "FILE", help_heading = API)]
    ca_file: Option<PathBuf>,
    /// Key to show. Default: the operator's, from the configuration or data_dir.
    #[arg(long, value_name = "KEY", help_heading = API)]
    key: Option<String>,
    /// A flag that does not exist: it could mean either of two addresses, and one of them must never get a key.
    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = "", value_parser = Unrepeated(no_url))]
    url: Option<Infallible>,
}

/// Parser of a value that its error does not repeat: an address may hold a password.
#[derive(Clone)]
struct Unrepeated<T>(fn(&str) -> Result<T, &'static str>);

impl<T: Clone + Send + Sync + 'static> TypedValueParser for Unrepeated<T> {
    type Value = T;

    fn parse_ref(&self, command: &Command, argument: Option<&Arg>, value: &OsStr) -> Result<T, clap::Error> {
        let parsed = value.to_str().ok_or("is not UTF-8").and_then(self.0);
        parsed.map_err(|why| {
            let flag = argument.and_then(Arg::get_long).unwrap_or_default();
            clap::Error::raw(ErrorKind::ValueValidation, format_args!("--{flag}: {why}\n")).with_cmd(command)
        })
    }
}

fn server_address(text: &str) -> Result<String, &'static str> {
    let is_http = url::Url::parse(text).is_ok_and(|url| ["http", "https"].contains(&url.scheme()));
    if is_http { Ok(text.to_owned()) } else { Err("expected http://… or https://…") }
}

fn no_url(_: &str) -> Result<Infallible, &'static str> {
    Err(
        "there is no such flag. The running process is --server; the URL of an endpoint, a channel or an integration is \
         --post-to",
    )
}

pub(super) struct Client {
    http: reqwest::Client,
    base: String,
    key: Secret,
}

impl Client {
    /// Connects to the given address with the given key. Missing flags are taken from the configuration and the data
    /// folder.
    pub(super) fn new(args: &ApiArgs, config: &Config) -> anyhow::Result<Self> {
        let base = args.server.clone().unwrap_or_else(|| format!("{}://{}", config.http.scheme(), config.http.listen));
        let key = match (&args.key, &config.http.operator_key) {
            (Some(key), _) => Secret::not_empty(key)?,
            (None, Some(key)) => key.clone(),
            (None, None) => {
                let file = operator_key_file(&config.data_dir);
                let text = std::fs::read_to_string(&file).with_context(|| {
                    let file = file.display();
                    format!("no --key, no http.operator_key, and none that standalone made at its first start: {file}")
                });
                Secret::not_empty(text.context(Exit::Config)?.trim())?
            }
        };
        Self::at(&base, key, args.ca_file.as_deref())
    }

    pub(super) fn at(base: &str, key: Secret, ca_file: Option<&Path>) -> anyhow::Result<Self> {
        // The installation fails when the process already has a provider, which then serves.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut http = reqwest::Client::builder().no_proxy().timeout(TIMEOUT);
        if let Some(file) = ca_file {
            http = http.tls_certs_merge(certificates(file)?);
        }
        Ok(Self { http: http.build()?, base: base.trim_end_matches('/').to_owned(), key })
    }

    /// Reads the page at a URL, without a key.
    pub(super) async fn get_text(url: &str) -> anyhow::Result<String> {
        let answer = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build()?.get(url).send().await?;
        Ok(answer.error_for_status()?.text().await?)
    }

    /// Sends JSON text and reads the JSON answer. Fails with [`Exit::Unavailable`] without an answer, and with
    /// [`ApiRefusal`] when the API refuses the request.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> anyhow::Result<T> {
        let (_, answer) = self.ask(self.request(method, path, body)).await?;
        serde_json::from_slice(&answer).with_context(|| format!("reading the answer of {path}"))
    }

    /// Writes a resource and returns true if it was created. With `only_if_new`, an existing one is refused with status
    /// 412.
    pub(super) async fn write(
        &self,
        method: Method,
        path: &str,
        body: String,
        only_if_new: bool,
    ) -> anyhow::Result<(bool, Value)> {
        let mut request = self.request(method, path, Some(body));
        if only_if_new {
            request = request.header("if-none-match", "*");
        }
        let (status, answer) = self.ask(request).await?;
        let value = serde_json::from_slice(&answer).with_context(|| format!("reading the answer of {path}"))?;
        Ok((status == StatusCode::CREATED, value))
    }

    fn request(&self, method: Method, path: &str, body: Option<String>) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base)).bearer_auth(self.key.reveal());
        match body {
            Some(body) => request.header("content-type", "application/json").body(body),
            None => request,
        }
    }

    async fn ask(&self, request: RequestBuilder) -> anyhow::Result<(StatusCode, Bytes)> {
        let answer = self.send(request).await?;
        let status = answer.status();
        let body = answer.bytes().await.context(Exit::Unavailable)?;
        if status.is_success() { Ok((status, body)) } else { Err(ApiRefusal::new(status, &body).into()) }
    }

    async fn send(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        let sent = request.send().await;
        sent.map_err(|error| match certificate_error(&error) {
            Some(why) => {
                let advice = "give --ca-file with the certificate or its authority's, --server with the name it is for";
                anyhow::anyhow!("{}: {why}; {advice}", mask_url(&self.base)).context(Exit::Unavailable)
            }
            None => {
                let why = if error.is_connect() { "nobody listens" } else { "no answer" };
                anyhow::anyhow!("{}: {why}; is carteiro running there?", mask_url(&self.base))
                    .context(Exit::Unavailable)
            }
        })
    }
}

fn certificates(file: &Path) -> anyhow::Result<Vec<reqwest::Certificate>> {
    let pem = std::fs::read(file).with_context(|| file.display().to_string()).context(Exit::Usage)?;
    let certificates = reqwest::Certificate::from_pem_bundle(&pem).unwrap_or_default();
    if certificates.is_empty() {
        return Err(anyhow::anyhow!("{}: holds no certificate in PEM", file.display()).context(Exit::Usage));
    }
    Ok(certificates)
}

/// The reason why the server's certificate was refused, if that is the error.
fn certificate_error(error: &reqwest::Error) -> Option<String> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(tls.to_string());
        }
        // The source of an I/O error is that of the error that it wraps, not the wrapped error itself.
        let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        cause = wrapped.map(|wrapped| wrapped as &(dyn std::error::Error + 'static)).or_else(|| error.source());
    }
    None
}

/// The API's refusal of a request: a problem (RFC 9457), shown in one line.
#[derive(Debug, thiserror::Error)]
#[error("{status}: {}", self.reason())]
pub(super) struct ApiRefusal {
    pub(super) status: u16,
    pub(super) problem: ProblemBody,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct ProblemBody {
    title: Option<String>,
    detail: Option<String>,
    #[serde(default)]
    pub(super) errors: Vec<RefusedField>,
}

/// A place in the request's body, as a JSON pointer, and its error.
#[derive(Debug, Deserialize)]
pub(super) struct RefusedField {
    pub(super) pointer: String,
    pub(super) message: String,
}

impl ApiRefusal {
    fn new(status: StatusCode, body: &[u8]) -> Self {
        Self { status: status.as_u16(), problem: serde_json::from_slice(body).unwrap_or_default() }
    }

    /// The invalid fields, if the problem lists them: its detail only counts them.
    fn reason(&self) -> String {
        let ProblemBody { title, detail, errors } = &self.problem;
        match errors.as_slice() {
            [] => detail.as_ref().or(title.as_ref()).map_or("no reason was given", String::as_str).to_owned(),
            errors => errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
        }
    }
}

impl fmt::Display for RefusedField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pointer.as_str() {
            "" => f.write_str(&self.message),
            pointer => write!(f, "{pointer}: {}", self.message),
        }
    }
}

pub(super) fn path_segment(id: &str) -> String {
    utf8_percent_encode(id, &RESERVED).to_string()
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn a_refusal_shows_its_fields_or_its_detail_or_its_title() {
        let shown = |body: &str| ApiRefusal::new(StatusCode::UNPROCESSABLE_ENTITY, body.as_bytes()).to_string();
        let errors = r#""errors":[{"pointer":"/url","message":"is required"},{"pointer":"","message":"no"}]"#;
        assert_eq!(shown(&format!(r#"{{"title":"T","detail":"D",{errors}}}"#)), "422: /url: is required; no");
        assert_eq!(shown(r#"{"title":"T","detail":"D"}"#), "422: D");
        assert_eq!(shown(r#"{"title":"T"}"#), "422: T");
        assert_eq!(shown("<html>"), "422: no reason was given");
    }

    #[derive(Debug, clap::Parser)]
    struct Cli {
        #[command(flatten)]
        api: ApiArgs,
    }

    fn refusal(arguments: &[&str]) -> String {
        Cli::try_parse_from([&["x"], arguments].concat()).unwrap_err().to_string()
    }

    #[test]
    fn a_url_is_refused_and_both_of_its_meanings_are_named() {
        for arguments in [&["--url", "http://user:S3CRET@crm.example/"][..], &["--url"], &["--url="]] {
            let said = refusal(arguments);
            assert!(said.contains("--server") && said.contains("--post-to") && !said.contains("S3CRET"), "{said}");
        }
    }

    #[test]
    fn an_id_cannot_lead_to_another_path() {
        assert_eq!(path_segment("a-b_c.7~"), "a-b_c.7~");
        assert_eq!(path_segment("../x?y#z %"), "..%2Fx%3Fy%23z%20%25");
    }
}
