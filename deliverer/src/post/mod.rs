//! The POST: one signed request to an endpoint, and its outcome. [`Poster`] waits for a slot, makes the request and reads
//! the response as an [`Outcome`]. Only the connector makes connections, and it refuses addresses of the operator's own
//! network.

mod client;
mod connector;
mod dial;
mod dns;
mod failure;
mod idle;
mod metered;
mod proxy;
mod request;
mod tls;

use bytes::Bytes;
use http::{Response, header::RETRY_AFTER};
use http_body_util::BodyExt as _;
use schemas::time::millis;
use schemas::{Delivery, OutcomeClass};
use service::Clock;
use tokio::time::Instant;

use crate::{
    config::DelivererConfig,
    consume::ConsumedDelivery,
    limits::{Permit, Slots},
    outcome::{BEGINNING_BYTES, MaskedTexts, Outcome, RetryAfter, excerpt},
};

use client::{HttpClient, ResponseBody};

pub(crate) use client::Network;
#[cfg(test)]
pub(crate) use dial::Dial;
#[cfg(test)]
pub(crate) use dns::{Found, LookUp, LookUpError};
pub(crate) use request::PreparedEndpoint;

pub(crate) struct Poster {
    client: HttpClient,
    max_response_bytes: usize,
    pub(crate) slots: Slots,
    clock: Clock,
}

/// A request that has ended. Times are in unix ms.
pub(crate) struct Posted {
    pub(crate) began: u64,
    pub(crate) ended: u64,
    pub(crate) outcome: Outcome,
}

impl Poster {
    pub(crate) fn new(config: &DelivererConfig, network: Network, slots: Slots, clock: Clock) -> anyhow::Result<Self> {
        Ok(Self {
            client: HttpClient::new(config, network)?,
            max_response_bytes: config.max_answer_bytes,
            slots,
            clock,
        })
    }

    /// Posts a delivery once there is one for it. `started` is called with the unix ms at which the request begins.
    pub(crate) async fn post(
        &self,
        endpoint: &PreparedEndpoint,
        consumed: &ConsumedDelivery,
        permit: &Permit,
        started: impl Fn(u64),
    ) -> Posted {
        let ConsumedDelivery { delivery, body, path, .. } = consumed;
        let mut began = (self.now(), Instant::now());
        let request = async {
            began = (self.now(), Instant::now());
            started(began.0);
            self.request(endpoint, delivery, body, began).await
        };
        let outcome = self.slots.run(path.lane(), permit.endpoint(), request).await;
        let outcome = outcome.unwrap_or_else(|| Outcome::cut_short(millis(began.1.elapsed())));
        Posted { began: began.0, ended: self.now(), outcome }
    }

    /// Posts without waiting for a slot.
    pub(crate) async fn post_now(&self, endpoint: &PreparedEndpoint, delivery: &Delivery, body: &Bytes) -> Posted {
        let began = (self.now(), Instant::now());
        let outcome = self.request(endpoint, delivery, body, began).await;
        Posted { began: began.0, ended: self.now(), outcome }
    }

    /// The request begins at `now`, in unix ms for the header `webhook-timestamp`, which is `began`.
    async fn request(
        &self,
        endpoint: &PreparedEndpoint,
        delivery: &Delivery,
        body: &Bytes,
        (now, began): (u64, Instant),
    ) -> Outcome {
        let Some(url) = &endpoint.url else {
            return Outcome::without_response(OutcomeClass::Malformed, "the url is invalid".to_owned());
        };
        let headers = match endpoint.headers_for(delivery, body, now) {
            Ok(headers) => headers,
            Err(unsignable) => return Outcome::without_response(OutcomeClass::Malformed, unsignable.to_string()),
        };
        let deadline = began + endpoint.endpoint.timeout.0;
        let mut outcome = match self.client.post(&endpoint.tenant, url, headers, body, deadline).await {
            Ok(response) => self.read(response, &endpoint.masked, deadline).await,
            Err(error) => Outcome::without_response(error.class(), error.reason()),
        };
        outcome.duration_ms = millis(began.elapsed());
        outcome
    }

    /// The status line decides the class, whatever happens to the body. A body that is not read to its end closes the
    /// connection. The head is kept meanwhile, because the connection counts as idle without it.
    async fn read(&self, response: Response<ResponseBody>, masked: &MaskedTexts, deadline: Instant) -> Outcome {
        let (head, mut body) = response.into_parts();
        let retry_after = head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = retry_after.and_then(RetryAfter::parse);
        let mut beginning = Vec::new();
        let mut read = 0;
        while let Ok(Some(Ok(frame))) = tokio::time::timeout_at(deadline, body.frame()).await {
            let chunk = frame.into_data().unwrap_or_default();
            read += chunk.len();
            beginning.extend_from_slice(&chunk[..chunk.len().min(BEGINNING_BYTES.saturating_sub(beginning.len()))]);
            if read > self.max_response_bytes {
                break;
            }
        }
        Outcome::with_status(head.status.as_u16(), retry_after, excerpt(&beginning, masked))
    }

    fn now(&self) -> u64 {
        (self.clock)()
    }
}
