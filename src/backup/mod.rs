//! A backup of all data of one machine, as one file: the embedded broker, the embedded store or what control keeps beside
//! a folder of files, and the keys.
//!
//! Data of RabbitMQ and PostgreSQL is not included, because these have tools of their own. Configuration files are not
//! either.

mod archive;
mod create;
mod part;
mod restore;
#[cfg(test)]
mod tests;

pub(crate) use archive::Manifest;
pub(crate) use create::create;
pub(crate) use part::{BackupPart, history_folder};
pub(crate) use restore::restore;
