//! The days that history is kept by.

use schemas::time::unix_ms;

use crate::stats::DAY_MS;

/// A day in UTC, counted from 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Day(pub(crate) i64);

impl Day {
    /// The last day that has a name of this form.
    pub(crate) const LAST: Self = Self(2_932_896);

    pub(crate) fn of(unix_ms: u64) -> Self {
        Self(i64::try_from(unix_ms / DAY_MS).unwrap_or(i64::MAX))
    }

    /// Unix milliseconds of its beginning.
    pub(crate) fn began(self) -> u64 {
        self.0.unsigned_abs().saturating_mul(DAY_MS)
    }

    /// `2026-11-30`.
    pub(crate) fn name(self) -> String {
        schemas::time::day(self.began())
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        unix_ms(&format!("{name}T00:00:00Z")).map(Self::of)
    }
}
