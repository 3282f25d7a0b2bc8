//! Everything that one machine holds, as one file, and back: what waits in the embedded broker, what is configured in
//! the embedded store, and the keys that were made for both.
//!
//! A server's data (RabbitMQ, PostgreSQL) has its own tools. Configuration that a person wrote is not in it either.

mod archive;
mod make;
mod manifest;
mod part;
mod restore;
#[cfg(test)]
mod tests;

pub(crate) use make::make;
pub(crate) use manifest::Manifest;
pub(crate) use part::Part;
pub(crate) use restore::restore;
