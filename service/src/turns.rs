//! Whether a loop that should go round for ever does: it says so whenever it does, and somebody else asks.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

/// How often a loop is to turn, also when nothing happens.
pub const TURN: Duration = Duration::from_secs(10);
/// A loop that has not turned for so long never will.
const SILENCE: Duration = Duration::from_secs(60);

/// When a loop turned last. Times are arguments.
#[derive(Debug)]
pub struct Turns {
    start: Instant,
    /// In ms since the start and one; 0 before the first time.
    last: AtomicU64,
}

impl Turns {
    /// Of a loop that has not begun.
    pub fn new(now: Instant) -> Self {
        Self { start: now, last: AtomicU64::new(0) }
    }

    /// It turns.
    pub fn turn(&self, now: Instant) {
        self.last.store(self.ms(now), Relaxed);
    }

    /// Whether it still does.
    ///
    /// # Errors
    /// For how long it has not. One that has not begun waits for something, and is fine.
    pub fn alive(&self, now: Instant) -> Result<(), String> {
        let last = self.last.load(Relaxed);
        let since = self.ms(now).saturating_sub(last);
        if last == 0 || Duration::from_millis(since) <= SILENCE {
            return Ok(());
        }
        Err(format!("its loop has not turned for {} s", since / 1_000))
    }

    fn ms(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.start).as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_stops_turning_is_told_after_a_minute() {
        let start = Instant::now();
        let (turns, at) = (Turns::new(start), |seconds| start + Duration::from_secs(seconds));
        assert_eq!(turns.alive(at(3_600)), Ok(()), "it has not begun");
        turns.turn(at(3_600));
        assert_eq!(turns.alive(at(3_660)), Ok(()));
        assert_eq!(turns.alive(at(3_661)), Err("its loop has not turned for 61 s".to_owned()));
        turns.turn(at(3_662));
        assert_eq!(turns.alive(at(3_662)), Ok(()));
    }
}
