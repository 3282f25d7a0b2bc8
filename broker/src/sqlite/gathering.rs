//! Whether the writer lets commands come together before it takes them.
//!
//! Each transaction writes whole pages and flushes the disk, and each command that finds the writer asleep wakes it. On few
//! cores the writer is awake after the first of many commands, and would store a handful at a time. A pause is worth its
//! time only while many commands come, so one that comes alone never waits.

use std::time::{Duration, Instant};

/// Length of a pause.
const PAUSE: Duration = Duration::from_millis(1);
/// Commands in a millisecond from which on a pause is made.
const BUSY: f64 = 8.0;
/// Shortest time over which commands are counted.
const WINDOW: Duration = Duration::from_millis(5);
/// Time without a full count after which the last one says nothing any more.
const QUIET: Duration = Duration::from_millis(20);

pub(super) struct Gathering {
    since: Instant,
    commands: usize,
    is_busy: bool,
}

impl Gathering {
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, commands: 0, is_busy: false }
    }

    /// Counts the commands of a round.
    pub(super) fn note(&mut self, commands: usize, now: Instant) {
        self.commands += commands;
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed >= WINDOW {
            let per_ms = self.commands as f64 / (elapsed.as_secs_f64() * 1_000.0);
            *self = Self { since: now, commands: 0, is_busy: per_ms >= BUSY };
        }
    }

    /// The pause before a round takes its commands.
    pub(super) fn pause(&self, now: Instant) -> Duration {
        let is_known = now.saturating_duration_since(self.since) < QUIET;
        if self.is_busy && is_known { PAUSE } else { Duration::ZERO }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pause after a second of rounds, each with so many commands, at so many microseconds from each other.
    fn pause_after(commands: usize, every_us: u64) -> Duration {
        let mut now = Instant::now();
        let mut gathering = Gathering::new(now);
        for _ in 0..1_000_000 / every_us {
            now += Duration::from_micros(every_us);
            gathering.note(commands, now);
        }
        gathering.pause(now)
    }

    #[test]
    fn a_pause_is_made_while_many_commands_come_however_they_are_spread() {
        assert_eq!(pause_after(1, 100), PAUSE);
        assert_eq!(pause_after(40, 4_000), PAUSE);
        assert_eq!(pause_after(7, 1_000), Duration::ZERO);
        assert_eq!(pause_after(1, 5_000), Duration::ZERO);
    }

    #[test]
    fn a_command_after_a_quiet_time_does_not_wait() {
        let now = Instant::now();
        let mut gathering = Gathering::new(now);
        gathering.note(100, now + WINDOW);
        assert_eq!(gathering.pause(now + WINDOW), PAUSE);
        assert_eq!(gathering.pause(now + WINDOW + QUIET), Duration::ZERO);
    }
}
