//! What control counts. No tenant, endpoint or url is a label.

service::metrics! {
    /// What control counts.
    pub struct ControlMetrics {
        /// Dead letters that were published again.
        pub replayed: IntCounter("replayed_total"),
        /// Dead letters that could not be published again, since their bodies were not kept.
        pub not_replayable: IntCounter("not_replayable_total"),
        /// Facts of other processes that were kept.
        pub facts_kept: IntCounter("facts_kept_total"),
        /// Facts that could not be kept; they come again.
        pub facts_not_kept: IntCounter("facts_not_kept_total"),
        /// Endpoints disabled because their receivers answered 410.
        pub endpoints_disabled: IntCounter("endpoints_disabled_total"),
        /// Events about carteiro itself that tenants were told, by type.
        pub told: IntCounterVec("operational_events_total", [event_type]),
        /// Tenants of whose dead letters not everything is kept.
        pub dead_letter_quotas_reached: IntGauge("dead_letter_quotas_reached"),
        /// Replays that run.
        pub replays_running: IntGauge("replays_running"),
    }
}
