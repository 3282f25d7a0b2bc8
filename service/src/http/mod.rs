//! Serving HTTP: what the producer's and the control role's listeners have in common. TLS, whose word about a client is
//! taken, how often a client may ask; which keys there are is not known here.

mod bearer;
mod certificate;
mod config;
mod forwarded;
mod handshake;
mod json;
mod limits;
mod origin;
mod request_id;
mod serve;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod watched;

pub use bearer::bearer;
pub use config::{HttpConfig, TlsFiles};
pub use json::is_json;
pub use limits::{KeyOwner, RequestLimiter};
pub use origin::{RequestOrigin, Scheme};
pub use serve::{ServeOptions, app, serve};
