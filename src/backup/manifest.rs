//! The first entry of a backup: what follows, and how to tell whether it is whole.

use serde::{Deserialize, Serialize};

/// What is in a backup.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// The form of the backup.
    pub(crate) format: u32,
    /// Which carteiro made it.
    pub(crate) version: String,
    /// When, in RFC 3339.
    pub(crate) at: String,
    /// The files, in their order.
    pub(crate) files: Vec<Entry>,
}

/// One file.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) bytes: u64,
    /// In hexadecimal.
    pub(crate) sha256: String,
}

impl Manifest {
    /// Its name in the backup.
    pub(crate) const NAME: &str = "manifest.json";
    /// The form that this program writes.
    pub(crate) const FORMAT: u32 = 1;
}
