//! A batch of records, as one process hands them over.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::Record;

/// First byte of an encoded batch.
const VERSION: u8 = 1;
/// Largest decoded batch, in bytes: far above a batch with the largest event and its bodies.
const MAX_DECODED: usize = 256 << 20;

/// What one process recorded in a short time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    /// Id of the process, new with each start.
    pub process: String,
    /// Unix milliseconds: whatever the process recorded until then is in this batch or an earlier one, or counted in a gap.
    pub covers_until: u64,
    /// True for the last batch of a process that ends in order.
    pub ends: bool,
    /// Times in which records were dropped.
    pub gaps: Vec<Gap>,
    pub records: Vec<Record>,
}

/// A time in which records are missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Unix milliseconds, as the next.
    pub from: u64,
    pub until: u64,
    /// Number of records that were dropped; 0 where nobody knows.
    pub dropped: u64,
    pub cause: GapCause,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum GapCause {
    /// A process recorded faster than its records were taken.
    Overflow,
    /// A process ended without handing over what it had recorded last.
    UncleanEnd,
    /// The stream lost records before they were written: it was full or too old.
    StreamTrimmed,
    /// A batch could not be read.
    Unreadable,
}

impl GapCause {
    pub const ALL: [Self; 4] = [Self::Overflow, Self::UncleanEnd, Self::StreamTrimmed, Self::Unreadable];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Overflow => "overflow",
            Self::UncleanEnd => "unclean_end",
            Self::StreamTrimmed => "stream_trimmed",
            Self::Unreadable => "unreadable",
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("a batch of records cannot be read: {0}")]
pub struct BadBatch(Cow<'static, str>);

impl Batch {
    /// Adds the next batch of the same process.
    pub fn append(&mut self, next: Self) {
        self.covers_until = self.covers_until.max(next.covers_until);
        self.ends |= next.ends;
        self.gaps.extend(next.gaps);
        self.records.extend(next.records);
    }

    /// MessagePack with named fields, compressed, so that fields can be added.
    pub fn encode(&self) -> Vec<u8> {
        // Encoding to memory cannot fail: no field has a type that MessagePack lacks.
        let plain = rmp_serde::to_vec_named(self).unwrap_or_default();
        let mut bytes = vec![VERSION];
        bytes.extend(lz4_flex::block::compress_prepend_size(&plain));
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, BadBatch> {
        let bad = |reason: String| BadBatch(reason.into());
        let (version, packed) = bytes.split_first().ok_or(BadBatch("it is empty".into()))?;
        if *version != VERSION {
            return Err(bad(format!("its version is {version}")));
        }
        let (size, _) = lz4_flex::block::uncompressed_size(packed).map_err(|error| bad(error.to_string()))?;
        if size > MAX_DECODED {
            return Err(bad(format!("it would have {size} bytes")));
        }
        let plain = lz4_flex::block::decompress_size_prepended(packed).map_err(|error| bad(error.to_string()))?;
        rmp_serde::from_slice(&plain).map_err(|error| bad(error.to_string()))
    }
}
