//! A backup of everything that one machine holds, as one file: the embedded broker, the embedded store, and the keys that
//! were made for both.
//!
//! The data of RabbitMQ and PostgreSQL is not in it: these have tools of their own. Neither is configuration in files.

mod archive;
mod create;
mod part;
mod restore;
#[cfg(test)]
mod tests;

pub(crate) use archive::Manifest;
pub(crate) use create::create;
pub(crate) use part::BackupPart;
pub(crate) use restore::restore;
