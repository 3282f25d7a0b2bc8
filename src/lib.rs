//! The library of the binary and its tests: the configuration, the wiring of a process, the commands and a receiver.

mod backup;
pub mod cli;
pub mod config;
pub mod metrics;
pub mod openapi;
pub mod process;
pub mod receiver;

pub const VERSION: &str = env!("CARGO_PKG_VERSION");
