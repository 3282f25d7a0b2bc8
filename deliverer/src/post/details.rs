//! What is known of a request besides its outcome: headers, the connection and where the time went. Only history wants it.

use std::net::SocketAddr;

use history::Timing;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use schemas::{MASK, time::millis};
use tokio::time::{Duration, Instant};

use super::idle::ConnectionUse;
use crate::outcome::MaskedTexts;

/// Headers of an answer that are kept. Others may hold anything, such as cookies.
const KEPT: [HeaderName; 9] = [
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::DATE,
    header::SERVER,
    header::VIA,
    header::RETRY_AFTER,
    header::LOCATION,
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("cf-ray"),
];
/// Longest value of a header that is kept, in bytes.
const LONGEST_VALUE: usize = 256;

#[derive(Debug, Default)]
pub(crate) struct PostDetails {
    pub(crate) timing: Timing,
    pub(crate) remote_address: Option<SocketAddr>,
    /// True when the connection had served an earlier request.
    pub(crate) reused: bool,
    request_headers: HeaderMap,
    pub(crate) response_headers: Vec<(String, String)>,
}

/// How long it took to make a connection, and where it leads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Connecting {
    /// None for a host that is an address.
    pub(super) dns: Option<Duration>,
    pub(super) connect: Duration,
    /// None without TLS.
    pub(super) tls: Option<Duration>,
    /// The endpoint's address, or the proxy's.
    pub(super) address: SocketAddr,
}

#[cfg(test)]
impl Connecting {
    /// Of a connection in the memory of a test.
    pub(super) fn in_memory() -> Self {
        Self { dns: None, connect: Duration::ZERO, tls: None, address: ([127, 0, 0, 1], 80).into() }
    }
}

impl PostDetails {
    /// A request with these headers, that has no answer.
    pub(super) fn sent(headers: HeaderMap) -> Self {
        Self { request_headers: headers, ..Self::default() }
    }

    /// Adds what the head of the answer shows, of a request that began at a time.
    pub(super) fn answered(mut self, head: &http::response::Parts, masked: &MaskedTexts, began: Instant) -> Self {
        let mut waited = began.elapsed();
        if let Some(used) = head.extensions.get::<ConnectionUse>() {
            let Connecting { dns, connect, tls, address } = used.connecting();
            self.remote_address = Some(address);
            self.reused = !used.is_first_answer();
            if !self.reused {
                let [dns_ms, tls_ms] = [dns, tls].map(|part| part.map(millis));
                self.timing = Timing { dns_ms, connect_ms: Some(millis(connect)), tls_ms, first_byte_ms: None };
                waited = waited.saturating_sub(dns.unwrap_or_default() + connect + tls.unwrap_or_default());
            }
        }
        self.timing.first_byte_ms = Some(millis(waited));
        let shown = |name: &HeaderName| {
            let value = head.headers.get(name)?.to_str().ok()?;
            Some((name.to_string(), cut(&masked.mask(value.into())).to_owned()))
        };
        self.response_headers = KEPT.iter().filter_map(shown).collect();
        self
    }

    /// The headers that were sent, with the values of the endpoint's own masked.
    pub(crate) fn request_headers(&self) -> Vec<(String, String)> {
        let shown = |value: &HeaderValue| match value.is_sensitive() {
            true => MASK.to_owned(),
            false => String::from_utf8_lossy(value.as_bytes()).into_owned(),
        };
        self.request_headers.iter().map(|(name, value)| (name.to_string(), shown(value))).collect()
    }
}

/// The beginning of a value.
fn cut(value: &str) -> &str {
    let end = (0..=LONGEST_VALUE.min(value.len())).rev().find(|at| value.is_char_boundary(*at));
    &value[..end.unwrap_or_default()]
}
