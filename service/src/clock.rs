//! The clock of the system, and the only file that reads it; everything else takes a [`Clock`].

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use schemas::time::millis;

/// Yields the time in unix milliseconds. It may jump when the clock of the machine is set: measure durations with an
/// `Instant`.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

pub fn system() -> Clock {
    Arc::new(now)
}

#[expect(clippy::disallowed_methods, reason = "the one place where the time enters")]
fn now() -> u64 {
    // A machine without a clock may be before 1970. The time 0 keeps it running, with ages that are too large.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    #[test]
    fn the_clock_tells_the_time_of_the_machine_in_unix_milliseconds() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let modified = file.as_file().metadata().unwrap().modified().unwrap();
        let written = modified.duration_since(std::time::UNIX_EPOCH).unwrap();
        let now = Duration::from_millis(super::system()());
        assert!(now.abs_diff(written) < Duration::from_secs(60), "{now:?}, and a file was just written at {written:?}");
    }
}
