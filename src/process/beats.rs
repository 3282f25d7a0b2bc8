//! How quickly the broker answers its connections' signs of life.

service::metrics! {
    /// What every process says of its connections.
    pub(crate) struct BeatMetrics {
        /// How long the broker takes to answer a connection's sign of life, sent every ten seconds: to confirm a publish (`publishing`, `control`), to answer a question (`consuming`).
        answered: HistogramVec("broker_canary_seconds", [connection],
            buckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0]),
    }
}
