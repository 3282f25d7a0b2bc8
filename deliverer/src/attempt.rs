//! The POST, and what it came to. It never decides what follows.

use bytes::Bytes;
use http::{
    Response,
    header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
};
use http_body_util::BodyExt as _;
use schemas::{
    Delivery, OutcomeClass,
    signature::{ID_HEADER, SIGNATURE_HEADER, Signed, TIMESTAMP_HEADER},
};
use tokio::time::Instant;

use crate::{
    client::{Body, Client, Network},
    config::DelivererConfig,
    hidden::Hidden,
    outcome::{BEGINNING_BYTES, Outcome, RetryAfter, class_of, excerpt},
    sign::Unsignable,
    target::Target,
};

/// Posts deliveries.
pub struct Poster {
    client: Client,
    max_answer_bytes: usize,
}

impl Poster {
    /// One with the configured bounds, on the system's network.
    ///
    /// # Errors
    /// When the proxy's URL is none, or the file of certificates cannot be read.
    pub fn new(config: &DelivererConfig) -> anyhow::Result<Self> {
        Self::on(Network::of_the_system(), config)
    }

    /// One with the configured bounds.
    pub(crate) fn on(network: Network, config: &DelivererConfig) -> anyhow::Result<Self> {
        Ok(Self { client: Client::new(config, network)?, max_answer_bytes: config.max_answer_bytes })
    }

    /// One POST of a delivery's body, signed as it is. `now` is unix ms, for the header `webhook-timestamp`.
    pub(crate) async fn post(&self, target: &Target, delivery: &Delivery, body: Bytes, now: u64) -> Outcome {
        let Some(url) = &target.url else {
            return failed(OutcomeClass::Malformed, "the url is invalid".to_owned());
        };
        let headers = match headers(target, delivery, &body, now) {
            Ok(headers) => headers,
            Err(unsignable) => return failed(OutcomeClass::Malformed, unsignable.to_string()),
        };
        let began = Instant::now();
        let deadline = began + target.endpoint.timeout.0;
        let mut outcome = match self.client.post(url, headers, body, deadline).await {
            Ok(answer) => self.read(answer, &target.hidden, deadline).await,
            Err(failure) => failed(failure.class(), failure.reason()),
        };
        outcome.duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        outcome
    }

    /// The status line decides; trouble with the body is only noted. What is not read closes the connection.
    async fn read(&self, answer: Response<Body>, hidden: &Hidden, deadline: Instant) -> Outcome {
        let status = answer.status().as_u16();
        let asked = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = asked.and_then(RetryAfter::parse);
        let mut body = answer.into_body();
        let mut beginning = Vec::new();
        let mut read = 0;
        while let Ok(Some(Ok(frame))) = tokio::time::timeout_at(deadline, body.frame()).await {
            let chunk = frame.into_data().unwrap_or_default();
            read += chunk.len();
            beginning.extend_from_slice(&chunk[..chunk.len().min(BEGINNING_BYTES.saturating_sub(beginning.len()))]);
            if read > self.max_answer_bytes {
                break;
            }
        }
        let excerpt = excerpt(&beginning, hidden);
        Outcome { class: class_of(status), status: Some(status), retry_after, excerpt, duration_ms: 0 }
    }
}

fn failed(class: OutcomeClass, excerpt: String) -> Outcome {
    Outcome { class, status: None, retry_after: None, excerpt, duration_ms: 0 }
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
