//! Talking to a running process over its API. The only place besides the deliverer that names the HTTP client.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use bytes::Bytes;

pub(super) use reqwest::Method;
use reqwest::{RequestBuilder, Response, StatusCode};
use schemas::Secret;
use serde::de::DeserializeOwned;
use serde_json::Value;
use service::{Exit, config::mask_url};

use super::refused::Refused;
use crate::{config::Config, process::key_file};

/// An administrator is waiting.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The heading of what says where the API is.
const API: &str = "API";

/// Where the API is and who asks.
#[derive(Debug, Default, clap::Args)]
pub(super) struct ApiArgs {
    /// The running process, instead of http.listen.
    #[arg(long, value_name = "URL", value_parser = base, help_heading = API)]
    pub(super) url: Option<String>,
    /// Certificates to trust besides the system's, in PEM: the API's own, or those of its authority.
    #[arg(long, value_name = "FILE", help_heading = API)]
    pub(super) ca_file: Option<PathBuf>,
    /// The key, instead of the operator's in the configuration or data_dir.
    #[arg(long, value_name = "KEY", help_heading = API)]
    pub(super) key: Option<String>,
}

fn base(text: &str) -> Result<String, &'static str> {
    let is_http = url::Url::parse(text).is_ok_and(|url| ["http", "https"].contains(&url.scheme()));
    if is_http { Ok(text.to_owned()) } else { Err("expected http://… or https://…") }
}

/// An answer that is a success.
struct Answer {
    status: StatusCode,
    body: Bytes,
}

/// A client of the API.
pub(super) struct Client {
    http: reqwest::Client,
    base: String,
    key: Secret,
}

impl Client {
    /// Finds address and key: as given, else as the configuration and the data folder say.
    pub(super) fn new(args: &ApiArgs, config: &Config) -> anyhow::Result<Self> {
        let base = args.url.clone().unwrap_or_else(|| format!("{}://{}", config.http.scheme(), config.http.listen));
        let key = match (&args.key, &config.http.operator_key) {
            (Some(key), _) => Secret::not_empty(key)?,
            (None, Some(key)) => key.clone(),
            (None, None) => {
                let file = key_file(&config.data_dir);
                let text = std::fs::read_to_string(&file).with_context(|| {
                    let file = file.display();
                    format!("no --key, no http.operator_key, and none that standalone made at its first start: {file}")
                });
                Secret::not_empty(text.context(Exit::Config)?.trim())?
            }
        };
        Self::of(&ApiArgs { url: Some(base), key: Some(key.reveal().to_owned()), ca_file: args.ca_file.clone() })
    }

    /// With address and key as given.
    pub(super) fn of(args: &ApiArgs) -> anyhow::Result<Self> {
        let (Some(base), Some(key)) = (&args.url, &args.key) else { anyhow::bail!("an address and a key are needed") };
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut http = reqwest::Client::builder().no_proxy().timeout(TIMEOUT);
        if let Some(file) = &args.ca_file {
            http = http.tls_certs_merge(certificates(file)?);
        }
        Ok(Self { http: http.build()?, base: base.trim_end_matches('/').to_owned(), key: Secret::not_empty(key)? })
    }

    /// Sends JSON text and reads the JSON answer.
    ///
    /// # Errors
    /// [`Exit::Unavailable`] when nobody answers; [`Refused`] when it is refused.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> anyhow::Result<T> {
        let answer = self.ask(self.request(method, path, body)).await?;
        serde_json::from_slice(&answer.body).with_context(|| format!("reading the answer of {path}"))
    }

    /// As [`call`](Self::call), if there is nothing yet; and says whether something was made.
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
        let answer = self.ask(request).await?;
        let value = serde_json::from_slice(&answer.body).with_context(|| format!("reading the answer of {path}"))?;
        Ok((answer.status == StatusCode::CREATED, value))
    }

    fn request(&self, method: Method, path: &str, body: Option<String>) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base)).bearer_auth(self.key.reveal());
        match body {
            Some(body) => request.header("content-type", "application/json").body(body),
            None => request,
        }
    }

    async fn ask(&self, request: RequestBuilder) -> anyhow::Result<Answer> {
        let answer = self.send(request).await?;
        let status = answer.status();
        let body = answer.bytes().await.context(Exit::Unavailable)?;
        if status.is_success() { Ok(Answer { status, body }) } else { Err(Refused::new(status.as_u16(), &body).into()) }
    }

    async fn send(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        let sent = request.send().await;
        sent.map_err(|error| match refused_by_us(&error) {
            Some(why) => {
                let advice = "give --ca-file with the certificate or its authority's, --url with the name it is for";
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

/// Why the certificate that was shown to us is not believed, if that is what failed.
fn refused_by_us(error: &reqwest::Error) -> Option<String> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(tls.to_string());
        }
        // An I/O error's source is not what it wraps, but the source of that.
        let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        cause = wrapped.map(|wrapped| wrapped as &(dyn std::error::Error + 'static)).or_else(|| error.source());
    }
    None
}
