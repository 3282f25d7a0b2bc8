//! The POST: the only place that names the HTTP client. It never decides what follows.

use std::{error::Error as _, sync::Arc, time::Duration};

use bytes::Bytes;
use ipnet::IpNet;
use reqwest::{
    Client, Response,
    header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
    redirect::Policy,
};
use schemas::{
    Delivery, OutcomeClass,
    signature::{ID_HEADER, SIGNATURE_HEADER, Signed, TIMESTAMP_HEADER},
};
use tokio::time::Instant;
use url::Url;

use crate::{
    config::DelivererConfig,
    connect::{BlockedAddress, CheckedResolver, NoAddress},
    outcome::{EXCERPT_BYTES, Outcome, RetryAfter, class_of, excerpt},
    sign::Unsignable,
    target::{Target, Unusable},
};

/// Idle connections kept per host: as many as can be under way, or a burst would connect anew each time.
const IDLE_PER_HOST: usize = 512;

/// Posts deliveries over one pool of connections.
pub struct Poster {
    client: Client,
    first_byte_timeout: Duration,
    max_answer_bytes: usize,
}

impl Poster {
    /// A client with the configured bounds: no redirects, no proxy from the environment, only allowed addresses.
    ///
    /// # Errors
    /// When TLS cannot be set up or the proxy's URL is none.
    pub fn new(config: &DelivererConfig, allowed: Arc<[IpNet]>) -> Result<Self, reqwest::Error> {
        // Fails when the process has a provider already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let proxy = config.proxy.as_deref().map(reqwest::Proxy::all).transpose()?;
        let proxy_host = config.proxy.as_deref().and_then(|proxy| Some(Url::parse(proxy).ok()?.host_str()?.to_owned()));
        let mut builder = Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .tcp_nodelay(true)
            .connect_timeout(config.connect_timeout.0)
            .pool_max_idle_per_host(IDLE_PER_HOST)
            .dns_resolver(Arc::new(CheckedResolver::new(allowed, proxy_host)));
        if let Some(proxy) = proxy {
            builder = builder.proxy(proxy);
        }
        Ok(Self {
            client: builder.build()?,
            first_byte_timeout: config.first_byte_timeout.0,
            max_answer_bytes: config.max_answer_bytes,
        })
    }

    /// One POST of a delivery's body, signed as it is. `now` is unix ms, for the header `webhook-timestamp`.
    pub(crate) async fn post(&self, target: &Target, delivery: &Delivery, body: Bytes, now: u64) -> Outcome {
        let url = match &target.url {
            Ok(url) => url.clone(),
            Err(Unusable::Blocked) => return failed(OutcomeClass::BlockedIp, BlockedAddress.to_string(), 0),
            Err(Unusable::Malformed) => return failed(OutcomeClass::Malformed, "the url is invalid".to_owned(), 0),
        };
        let headers = match headers(target, delivery, &body, now) {
            Ok(headers) => headers,
            Err(unsignable) => return failed(OutcomeClass::Malformed, unsignable.to_string(), 0),
        };
        let began = Instant::now();
        let deadline = began + target.endpoint.timeout.0;
        let request = self.client.post(url).headers(headers).body(body);
        let first_byte = deadline.min(began + self.first_byte_timeout);
        let answer = tokio::time::timeout_at(first_byte, request.send()).await;
        let mut outcome = match answer {
            Ok(Ok(answer)) => self.read(answer, deadline).await,
            Ok(Err(error)) => failed(class_of_error(&error), cause(&error), 0),
            Err(_) => failed(OutcomeClass::Timeout, "no answer in time".to_owned(), 0),
        };
        outcome.duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        outcome
    }

    /// The status line decides; trouble with the body is only noted. What is not read closes the connection.
    async fn read(&self, mut answer: Response, deadline: Instant) -> Outcome {
        let status = answer.status().as_u16();
        let asked = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = asked.and_then(RetryAfter::parse);
        let mut beginning = Vec::new();
        let mut read = 0;
        while let Ok(Ok(Some(chunk))) = tokio::time::timeout_at(deadline, answer.chunk()).await {
            read += chunk.len();
            beginning.extend_from_slice(&chunk[..chunk.len().min(EXCERPT_BYTES.saturating_sub(beginning.len()))]);
            if read > self.max_answer_bytes {
                break;
            }
        }
        let excerpt = excerpt(&beginning);
        Outcome { class: class_of(status), status: Some(status), retry_after, excerpt, duration_ms: 0 }
    }
}

fn failed(class: OutcomeClass, excerpt: String, duration_ms: u64) -> Outcome {
    Outcome { class, status: None, retry_after: None, excerpt, duration_ms }
}

fn headers(target: &Target, delivery: &Delivery, body: &[u8], now: u64) -> Result<HeaderMap, Unsignable> {
    let (id, timestamp) = (delivery.webhook_id(), (now / 1_000).to_string());
    let signer = target.signer.as_ref().map_err(|unsignable| *unsignable)?;
    let signature = signer.header(&Signed { id: &id, timestamp: &timestamp, body }, now)?;
    let mut headers = target.headers.clone();
    let mut set = |name: &'static str, text: &str| {
        // Ids, types, numbers and base64 are all visible ASCII.
        if let Ok(value) = HeaderValue::from_str(text) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    set(ID_HEADER, &id);
    set(TIMESTAMP_HEADER, &timestamp);
    if let Some(signature) = signature {
        set(SIGNATURE_HEADER, &signature);
    }
    set("carteiro-event-type", delivery.event_type.as_str());
    set("carteiro-event-time", &schemas::time::rfc3339(delivery.event_time));
    set("carteiro-delivery-id", &delivery.id.to_string());
    set("carteiro-attempt", &delivery.attempt.to_string());
    Ok(headers)
}

/// Which class a client's error is. Its own words are not used: they may hold the URL.
fn class_of_error(error: &reqwest::Error) -> OutcomeClass {
    if error.is_timeout() {
        return OutcomeClass::Timeout;
    }
    let mut source = error.source();
    while let Some(cause) = source {
        if cause.is::<BlockedAddress>() {
            return OutcomeClass::BlockedIp;
        }
        if cause.is::<NoAddress>() {
            return OutcomeClass::Dns;
        }
        if tls_error(cause).is_some() {
            return OutcomeClass::Tls;
        }
        source = cause.source();
    }
    if error.is_connect() { OutcomeClass::Connect } else { OutcomeClass::Malformed }
}

/// The error of TLS that this is, or that I/O errors wrap, one in the other: their `source` skips over that.
fn tls_error<'a>(mut cause: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    while let Some(inner) = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
        cause = inner;
    }
    cause.downcast_ref()
}

/// The innermost cause: it speaks of sockets and protocols, never of the URL.
fn cause(error: &reqwest::Error) -> String {
    let mut source = error.source();
    let mut innermost = None;
    while let Some(cause) = source {
        innermost = Some(cause);
        source = cause.source();
    }
    let Some(cause) = innermost else { return "the request failed".to_owned() };
    tls_error(cause).map_or_else(|| cause.to_string(), describe)
}

/// What TLS says, without the names that a certificate is or is not for: one is the URL's.
fn describe(error: &rustls::Error) -> String {
    use rustls::CertificateError::{NotValidForName, NotValidForNameContext};
    match error {
        rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. }) => {
            "invalid peer certificate: it is not for this name".to_owned()
        }
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use rustls::{CertificateError, Error, pki_types::ServerName};

    #[test]
    fn a_certificate_for_another_name_is_told_without_the_names() {
        let expected = ServerName::try_from("S3CRET.example").unwrap();
        let presented = vec!["S3CRET.invalid".to_owned()];
        let other = CertificateError::NotValidForNameContext { expected, presented };
        let text = super::describe(&Error::InvalidCertificate(other));
        assert_eq!(text, "invalid peer certificate: it is not for this name");
        let expired = super::describe(&Error::InvalidCertificate(CertificateError::Expired));
        assert_eq!(expired, "invalid peer certificate: Expired");
    }
}
