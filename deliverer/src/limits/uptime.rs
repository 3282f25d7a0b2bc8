//! The time by which limits count. The clock of the machine may be set, in either direction; this one never is.

use std::ops::{Add, Sub};

use schemas::time::millis;
use tokio::time::Instant;

/// Milliseconds since the start of an [`UptimeClock`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Uptime(u64);

/// The clock of one process: its times are comparable, those of two clocks are not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UptimeClock {
    started: Instant,
}

impl UptimeClock {
    pub(crate) fn start() -> Self {
        Self { started: Instant::now() }
    }

    pub(crate) fn now(self) -> Uptime {
        Uptime(millis(self.started.elapsed()))
    }
}

impl Uptime {
    #[cfg(test)]
    pub(crate) const fn of_ms(ms: u64) -> Self {
        Self(ms)
    }

    /// The first whole millisecond that is not before `ms`.
    pub(super) fn not_before(ms: f64) -> Self {
        Self(ms.ceil() as u64)
    }

    /// The first multiple of `ms` that is not before this time.
    pub(super) fn rounded_up(self, ms: u64) -> Self {
        Self(self.0.div_ceil(ms).saturating_mul(ms))
    }

    pub(super) fn as_f64(self) -> f64 {
        self.0 as f64
    }

    /// Ms from `earlier` until this time; 0 if it is not earlier.
    pub(crate) fn ms_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<u64> for Uptime {
    type Output = Self;

    fn add(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

impl Sub<u64> for Uptime {
    type Output = Self;

    fn sub(self, ms: u64) -> Self {
        Self(self.0.saturating_sub(ms))
    }
}
