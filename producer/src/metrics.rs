//! What a producer counts. No tenant, endpoint or url is a label.

use schemas::Dialect;
use service::problem::Code;

const SOURCES: [&str; 4] =
    ["canonical", Dialect::Whazing.as_str(), Dialect::Whaticket.as_str(), Dialect::Boticario.as_str()];
const SCOPES: [&str; 2] = ["intake", "router"];
const CODES: &[&str] = service::label_values!(Code::ALL, Code::as_str);

service::metrics! {
    /// What a producer counts.
    pub struct ProducerMetrics {
        /// Events taken in and confirmed, by source: canonical or the vendor's dialect.
        pub received: IntCounterVec("events_received_total", [source in SOURCES]),
        /// Events not processed again, since this process had done so under their id, by scope: intake or router.
        pub deduplicated: IntCounterVec("events_deduplicated_total", [scope in SCOPES]),
        /// Requests refused, by the problem's code.
        pub refused: IntCounterVec("events_refused_total", [code in CODES]),
        /// Requests being taken in.
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
