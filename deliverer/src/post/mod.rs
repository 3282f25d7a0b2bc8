//! The POST: one signed request to an endpoint, and its outcome. [`Poster`] waits for a slot, makes the request and reads
//! the response as an [`Outcome`]. Only the connector makes connections, and it refuses addresses of the operator's own
//! network.

mod client;
mod connector;
mod details;
mod dial;
mod dns;
mod failure;
mod idle;
mod metered;
mod proxy;
mod request;
mod tls;

use bytes::Bytes;
use http::{header::RETRY_AFTER, response::Parts};
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
pub(crate) use details::PostDetails;
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
    pub(crate) details: PostDetails,
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
        let ended = self.slots.run(path.lane(), permit.endpoint(), request).await;
        let cut_short = || (Outcome::cut_short(millis(began.1.elapsed())), PostDetails::default());
        let (outcome, details) = ended.unwrap_or_else(cut_short);
        Posted { began: began.0, ended: self.now(), outcome, details }
    }

    /// Posts without waiting for a slot.
    pub(crate) async fn post_now(&self, endpoint: &PreparedEndpoint, delivery: &Delivery, body: &Bytes) -> Posted {
        let began = (self.now(), Instant::now());
        let (outcome, details) = self.request(endpoint, delivery, body, began).await;
        Posted { began: began.0, ended: self.now(), outcome, details }
    }

    /// The request begins at `now`, in unix ms for the header `webhook-timestamp`, which is `began`.
    async fn request(
        &self,
        endpoint: &PreparedEndpoint,
        delivery: &Delivery,
        body: &Bytes,
        (now, began): (u64, Instant),
    ) -> (Outcome, PostDetails) {
        let unsent =
            |reason: String| (Outcome::without_response(OutcomeClass::Malformed, reason), PostDetails::default());
        let Some(url) = &endpoint.url else { return unsent("the url is invalid".to_owned()) };
        let headers = match endpoint.headers_for(delivery, body, now) {
            Ok(headers) => headers,
            Err(unsignable) => return unsent(unsignable.to_string()),
        };
        let details = PostDetails::sent(headers.clone());
        let deadline = began + endpoint.endpoint.timeout.0;
        let (mut outcome, details) = match self.client.post(&endpoint.tenant, url, headers, body, deadline).await {
            Ok(response) => {
                let (head, body) = response.into_parts();
                let details = details.answered(&head, &endpoint.masked, began);
                (self.read(head, body, &endpoint.masked, deadline).await, details)
            }
            Err(error) => (Outcome::without_response(error.class(), error.reason()), details),
        };
        outcome.duration_ms = millis(began.elapsed());
        (outcome, details)
    }

    /// The status line decides the class, whatever happens to the body. A body that is not read to its end closes the
    /// connection. The head is kept meanwhile, because the connection counts as idle without it.
    async fn read(&self, head: Parts, mut body: ResponseBody, masked: &MaskedTexts, deadline: Instant) -> Outcome {
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
