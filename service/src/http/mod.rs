//! HTTP serving that all listeners share, such as TLS, trusted proxies and rate limits. Callers supply the check of
//! keys.

mod base_url;
mod certificate;
mod config;
mod forwarded;
mod headers;
mod limiter;
mod origin;
mod query;
mod serve;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod tls_listener;
mod unread_body;
mod watched;

pub use base_url::{BaseUrl, InvalidBaseUrl};
pub use config::{HttpConfig, TlsFiles};
pub use headers::{CHANGED, bearer, require_json};
pub use limiter::{KeyOwner, RequestLimiter};
pub use origin::{RequestOrigin, Scheme};
pub use query::{parameters, strictness};
pub use serve::{ServeOptions, app, serve};
