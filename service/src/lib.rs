//! The process: configuration, telemetry, metrics, ops endpoints, shutdown.
