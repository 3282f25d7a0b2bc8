//! Serving HTTP: what the producer's and the control role's listeners have in common.
//!
//! TLS and forwarding headers are not handled: a reverse proxy in front does that.

mod bearer;
mod config;
mod json;
mod serve;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use bearer::bearer;
pub use config::{HttpConfig, Tls};
pub use json::is_json;
pub use serve::{app, serve};
