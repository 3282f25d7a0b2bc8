//! The producer's metrics. Tenants, endpoints and URLs are never labels.

use schemas::Dialect;
use service::problem::Code;

const SOURCES: [&str; 4] =
    ["canonical", Dialect::Whazing.as_str(), Dialect::Whaticket.as_str(), Dialect::Boticario.as_str()];
const SCOPES: [&str; 2] = ["intake", "router"];
const CODES: &[&str] = service::label_values!(Code::ALL, Code::as_str);

service::metrics! {
    /// The producer's metrics.
    pub struct ProducerMetrics {
        /// Events that were taken in and confirmed, by source: canonical or the vendor's dialect.
        pub received: IntCounterVec("events_received_total", [source in SOURCES]),
        /// Events that were not processed again because this process had processed the same event before, by scope: intake or router.
        pub deduplicated: IntCounterVec("events_deduplicated_total", [scope in SCOPES]),
        /// Requests that were refused, by the problem's code.
        pub refused: IntCounterVec("events_refused_total", [code in CODES]),
        /// Requests that are being handled.
        pub requests_in_flight: IntGauge("intake_requests_in_flight"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dialect_is_a_source() {
        assert!(Dialect::ALL.iter().all(|dialect| SOURCES.contains(&dialect.as_str())));
        assert_eq!(SOURCES.len(), 1 + Dialect::ALL.len());
    }
}
