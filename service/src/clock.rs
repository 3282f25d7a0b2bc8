//! The real clock. One of the two files that may ask the world; everything else takes a [`Clock`].

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// The time in unix milliseconds. It may step when the machine's clock is set: measure durations with an `Instant`.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The machine's clock.
pub fn system() -> Clock {
    Arc::new(now)
}

#[expect(clippy::disallowed_methods, reason = "the one place where the time enters")]
fn now() -> u64 {
    // Before 1970 only on a machine without a clock: 0 keeps it running, and every age is then too large, never negative.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_time_is_in_milliseconds_and_after_this_was_written() {
        let now = super::system()();
        assert!((1_735_689_600_000..4_102_444_800_000).contains(&now), "{now} is not between 2025 and 2100");
    }
}
