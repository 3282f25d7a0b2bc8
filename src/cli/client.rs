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
use reqwest::{ClientBuilder, RequestBuilder, Response, StatusCode, redirect::Policy};
use schemas::{Secret, Span};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use service::Exit;

pub(super) use reqwest::Method;
pub(super) use schemas::path_segment;

use super::{
    resources::secret,
    server::{KEY_VARIABLE, SERVER_VARIABLE, ServerAddress},
    setup::Setup,
};
use crate::{config::Config, process::operator_key_file};

const TIMEOUT: Duration = Duration::from_secs(30);
/// Longest time of one stream of events; a client then connects again.
const STREAM_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest silence of a stream of events, which has a comment every 15 seconds.
const STREAM_SILENCE: Duration = Duration::from_secs(45);

/// Heading of these flags in the help.
const API: &str = "API";

/// The flags for the API's address and the key to show.
#[derive(Debug, Default, clap::Args)]
pub(super) struct ApiArgs {
    /// Address of the running process, such as http://127.0.0.1:8080. Default: `CARTEIRO_SERVER`, or the configured
    /// http.listen.
    #[arg(long, value_name = "URL", value_parser = Unrepeated(ServerAddress::parse), help_heading = API)]
    server: Option<ServerAddress>,
    /// Certificates in PEM to trust besides the system's: the API's own, or those of its authority.
    #[arg(long, value_name = "FILE", help_heading = API)]
    ca_file: Option<PathBuf>,
    /// Key to show; `@FILE` reads it from a file. Default: `CARTEIRO_KEY`, or the operator's from the configuration or
    /// data_dir, which goes only to this machine and to http.listen.
    #[arg(long, value_name = "KEY", value_parser = secret, help_heading = API)]
    key: Option<String>,
    /// A flag that does not exist: it could mean either of two addresses, and one of them must never get a key.
    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = "", value_parser = Unrepeated(no_url))]
    url: Option<Infallible>,
}

/// Parser of a value that its error does not repeat: an address may hold a password.
#[derive(Clone)]
struct Unrepeated<T>(fn(&str) -> Result<T, String>);

impl<T: Clone + Send + Sync + 'static> TypedValueParser for Unrepeated<T> {
    type Value = T;

    fn parse_ref(&self, command: &Command, argument: Option<&Arg>, value: &OsStr) -> Result<T, clap::Error> {
        let parsed = value.to_str().ok_or_else(|| "is not UTF-8".to_owned()).and_then(self.0);
        parsed.map_err(|why| {
            let flag = argument.and_then(Arg::get_long).unwrap_or_default();
            clap::Error::raw(ErrorKind::ValueValidation, format_args!("--{flag}: {why}\n")).with_cmd(command)
        })
    }
}

fn no_url(_: &str) -> Result<Infallible, String> {
    let meanings = "the running process is --server; the URL of an endpoint, a channel or an integration is --post-to";
    Err(format!("there is no such flag: {meanings}"))
}

pub(super) struct Client {
    http: reqwest::Client,
    server: ServerAddress,
    key: Secret,
}

impl Client {
    /// Connects to the given address with the given key. What is not given is taken from the environment, the
    /// configuration and the data folder.
    pub(super) fn new(args: &ApiArgs, setup: &Setup) -> anyhow::Result<Self> {
        let config = setup.load(&[])?.config;
        let configured = ServerAddress::configured(&config.http)?;
        let of_environment = setup.variable(SERVER_VARIABLE).map(ServerAddress::parse).transpose();
        let of_environment = of_environment.map_err(|why| usage(SERVER_VARIABLE, why))?;
        let server = args.server.clone().or(of_environment).unwrap_or_else(|| configured.clone());
        let given = match (&args.key, setup.variable(KEY_VARIABLE)) {
            (Some(key), _) => Some(key.clone()),
            (None, Some(key)) => Some(secret(key).map_err(|why| usage(KEY_VARIABLE, why))?),
            (None, None) => None,
        };
        let key = match given {
            Some(key) => {
                let key = Secret::not_empty(key).map_err(|why| usage("--key", why))?;
                if let Some(warning) = server.warning_for_given_key(&configured) {
                    anstream::eprintln!("{warning}");
                }
                key
            }
            None => {
                server.check_for_found_key(&configured)?;
                found_key(&config)?
            }
        };
        Self::at(server, key, args.ca_file.as_deref())
    }

    pub(super) fn at(server: ServerAddress, key: Secret, ca_file: Option<&Path>) -> anyhow::Result<Self> {
        let mut http = http_client();
        if let Some(file) = ca_file {
            http = http.tls_certs_merge(certificates(file)?);
        }
        Ok(Self { http: http.build()?, server, key })
    }

    pub(super) fn server(&self) -> &ServerAddress {
        &self.server
    }

    /// Sends JSON text, prints the answer's warnings and reads the JSON answer. Fails with [`Exit::Unavailable`] without an
    /// answer, and with [`ApiRefusal`] when the API refuses the request.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> anyhow::Result<T> {
        let is_read = method == Method::GET;
        let (_, answer) = self.ask(self.request(method, path, body)).await?;
        if !is_read {
            print_warnings(&answer);
        }
        parsed(path, &answer)
    }

    /// Sends JSON text and reads the JSON answer, as `call` does. The caller prints the answer's warnings.
    pub(super) async fn call_silently<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> anyhow::Result<T> {
        let (_, answer) = self.ask(self.request(method, path, body)).await?;
        parsed(path, &answer)
    }

    /// Writes a resource, and returns it with what was done. With `only_if_new`, an existing one is refused with status 412.
    pub(super) async fn write(
        &self,
        method: Method,
        path: &str,
        body: String,
        only_if_new: bool,
    ) -> anyhow::Result<(Change, Value)> {
        let mut request = self.request(method, path, Some(body));
        if only_if_new {
            request = request.header("if-none-match", "*");
        }
        let (change, answer) = self.ask(request).await?;
        print_warnings(&answer);
        Ok((change, parsed(path, &answer)?))
    }

    /// Opens a stream of server-sent events, which `secret` is to sign.
    pub(super) async fn events(&self, path: &str, secret: Option<&str>) -> anyhow::Result<EventStream> {
        let mut request = self.request(Method::GET, path, None).timeout(STREAM_TIMEOUT);
        if let Some(secret) = secret {
            request = request.header("carteiro-listen-secret", secret);
        }
        let answer = self.send(request).await?;
        let status = answer.status();
        if !status.is_success() {
            return Err(refusal(status, &answer.bytes().await.context(Exit::Unavailable)?));
        }
        Ok(EventStream { answer, unread: Vec::new() })
    }

    fn request(&self, method: Method, path: &str, body: Option<String>) -> RequestBuilder {
        let request = self.http.request(method, self.server.url(path)).bearer_auth(self.key.reveal());
        match body {
            Some(body) => request.header("content-type", "application/json").body(body),
            None => request,
        }
    }

    async fn ask(&self, request: RequestBuilder) -> anyhow::Result<(Change, Bytes)> {
        let answer = self.send(request).await?;
        let (status, change) = (answer.status(), Change::of(&answer));
        let body = answer.bytes().await.context(Exit::Unavailable)?;
        if status.is_success() { Ok((change, body)) } else { Err(refusal(status, &body)) }
    }

    async fn send(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        let server = &self.server;
        let error = match request.send().await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let why = match tls_error(&error) {
            Some(rustls::Error::InvalidMessage(_)) => "it speaks no TLS: give --server http://…".to_owned(),
            Some(why) => format!(
                "{why}; give --ca-file with the certificate or its authority's, --server with the name it is for"
            ),
            None if error.is_connect() => "nobody listens; is carteiro running there?".to_owned(),
            None if error.is_timeout() => format!("no answer within {}", Span(TIMEOUT)),
            None if server.is_https() => "no answer; is carteiro running there?".to_owned(),
            None => "no answer; is carteiro running there, and is it http://, not https://?".to_owned(),
        };
        Err(anyhow::anyhow!("{server}: {why}").context(Exit::Unavailable))
    }
}

/// A client that speaks TLS, and goes to no other address than the one it is given.
fn http_client() -> ClientBuilder {
    // The installation fails when the process already has a provider, which then serves.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().redirect(Policy::none()).timeout(TIMEOUT)
}

/// An address that the person at this machine gave, to which requests are passed on.
pub(super) struct Forward {
    url: String,
    http: reqwest::Client,
}

impl Forward {
    pub(super) fn new(url: String) -> anyhow::Result<Self> {
        Ok(Self { url, http: http_client().build()? })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// POSTs a body. Returns the answer's status.
    pub(super) async fn post<'a>(
        &self,
        headers: impl Iterator<Item = (&'a str, &'a str)>,
        body: String,
    ) -> anyhow::Result<u16> {
        let request = headers.fold(self.http.post(&self.url), |request, (name, text)| request.header(name, text));
        Ok(request.body(body).send().await?.status().as_u16())
    }
}

/// Server-sent events with their names and data, until the connection ends.
pub(super) struct EventStream {
    answer: Response,
    unread: Vec<u8>,
}

impl EventStream {
    pub(super) async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            while let Some(end) = self.unread.windows(2).position(|two| two == b"\n\n") {
                let text: Vec<u8> = self.unread.drain(..end + 2).collect();
                if let Some(event) = event(&String::from_utf8_lossy(&text)) {
                    return Some(event);
                }
            }
            let chunk = tokio::time::timeout(STREAM_SILENCE, self.answer.chunk()).await.ok()?;
            self.unread.extend(chunk.ok()??);
        }
    }
}

/// The name and the data of an event; none for a comment.
fn event(text: &str) -> Option<(String, Value)> {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    Some((field("event")?.to_owned(), serde_json::from_str(field("data")?).ok()?))
}

/// What a request has done to the resource that it wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Created,
    Changed,
    Unchanged,
}

impl Change {
    fn of(answer: &Response) -> Self {
        let is_changed = answer.headers().get(service::http::CHANGED).is_none_or(|changed| changed != "false");
        match (answer.status(), is_changed) {
            (StatusCode::CREATED, _) => Self::Created,
            (_, true) => Self::Changed,
            (_, false) => Self::Unchanged,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Created => "created",
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
        })
    }
}

/// The operator's key, from the configuration or the data folder.
fn found_key(config: &Config) -> anyhow::Result<Secret> {
    if let Some(key) = &config.http.operator_key {
        return Ok(key.clone());
    }
    let file = operator_key_file(&config.data_dir);
    let text = std::fs::read_to_string(&file).with_context(|| {
        let file = file.display();
        format!("no --key, no {KEY_VARIABLE}, no http.operator_key, and none that standalone made at its first start: {file}")
    });
    Ok(Secret::not_empty(text.context(Exit::Config)?.trim())?)
}

fn usage(name: &str, why: impl fmt::Display) -> anyhow::Error {
    anyhow::anyhow!("{name}: {why}").context(Exit::Usage)
}

/// The refusal of a request, with [`Exit::Unavailable`] where a needed service did not answer.
fn refusal(status: StatusCode, body: &[u8]) -> anyhow::Error {
    let error = anyhow::Error::new(ApiRefusal::new(status.as_u16(), body));
    match status {
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            error.context(Exit::Unavailable)
        }
        _ => error,
    }
}

fn parsed<T: DeserializeOwned>(path: &str, answer: &[u8]) -> anyhow::Result<T> {
    serde_json::from_slice(answer).with_context(|| format!("reading the answer of {path}"))
}

/// A warning in an answer: the request was accepted, and is probably a mistake.
#[derive(Debug, Deserialize, serde::Serialize)]
pub(super) struct ApiWarning {
    pub(super) code: String,
    pub(super) pointer: String,
    pub(super) message: String,
}

fn print_warnings(answer: &[u8]) {
    #[derive(Deserialize)]
    struct Warned {
        warnings: Vec<ApiWarning>,
    }
    let warned = serde_json::from_slice::<Warned>(answer);
    warned.iter().flat_map(|warned| &warned.warnings).for_each(super::output::warning);
}

fn certificates(file: &Path) -> anyhow::Result<Vec<reqwest::Certificate>> {
    let pem = std::fs::read(file).with_context(|| file.display().to_string()).context(Exit::Usage)?;
    let certificates = reqwest::Certificate::from_pem_bundle(&pem).unwrap_or_default();
    if certificates.is_empty() {
        return Err(anyhow::anyhow!("{}: holds no certificate in PEM", file.display()).context(Exit::Usage));
    }
    Ok(certificates)
}

/// The error of TLS in an error, if that is the cause.
fn tls_error<'a>(error: &'a reqwest::Error) -> Option<&'a rustls::Error> {
    let mut cause: Option<&'a (dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(tls);
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
    pub(super) fn new(status: u16, body: &[u8]) -> Self {
        Self { status, problem: serde_json::from_slice(body).unwrap_or_default() }
    }

    /// The invalid fields, if the problem lists them: its detail only counts them.
    fn reason(&self) -> String {
        let ProblemBody { title, detail, errors } = &self.problem;
        match errors.as_slice() {
            [] if (300..400).contains(&self.status) => "it is at another address: give that as --server".to_owned(),
            [] => detail.as_ref().or(title.as_ref()).map_or("no reason was given", String::as_str).to_owned(),
            errors => errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
        }
    }
}

impl fmt::Display for RefusedField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_at(f, &self.pointer, &self.message)
    }
}

impl fmt::Display for ApiWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_at(f, &self.pointer, &self.message)
    }
}

/// Writes a message with its place, unless it is about the whole body.
fn write_at(f: &mut fmt::Formatter<'_>, pointer: &str, message: &str) -> fmt::Result {
    match pointer {
        "" => f.write_str(message),
        pointer => write!(f, "{pointer}: {message}"),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn a_refusal_shows_its_fields_or_its_detail_or_its_title() {
        let shown = |body: &str| ApiRefusal::new(422, body.as_bytes()).to_string();
        let errors = r#""errors":[{"pointer":"/url","message":"is required"},{"pointer":"","message":"no"}]"#;
        assert_eq!(shown(&format!(r#"{{"title":"T","detail":"D",{errors}}}"#)), "422: /url: is required; no");
        assert_eq!(shown(r#"{"title":"T","detail":"D"}"#), "422: D");
        assert_eq!(shown(r#"{"title":"T"}"#), "422: T");
        assert_eq!(shown("<html>"), "422: no reason was given");
    }

    #[test]
    fn a_comment_is_no_event() {
        assert_eq!(event(":\n\n"), None);
        let delivery = event("event: delivery\ndata: {\"body\":\"{}\"}\nid: e1\n\n").unwrap();
        assert_eq!(delivery, ("delivery".to_owned(), serde_json::json!({"body": "{}"})));
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
