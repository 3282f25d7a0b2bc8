//! The time by which records grow old. Pure.

use std::time::Duration;

use schemas::time::millis;
use tokio::time::Instant;

/// Largest step forward of the wall clock that is believed at once.
const TRUSTED_STEP: Duration = Duration::from_secs(3_600);
/// Time for which a larger step must have lasted to be believed. By then someone has read of it in the log.
const PROBATION: Duration = Duration::from_secs(86_400);

/// The wall clock, except that a large step forward is believed only after a day: what is deleted because of a clock
/// that is wrong for an hour does not come back. The first reading is believed, as is every step back.
#[derive(Clone, Copy, Debug, Default)]
pub struct RetentionClock {
    /// The last believed time, in unix milliseconds, and when that was.
    believed: Option<(u64, Instant)>,
    doubted_since: Option<Instant>,
}

impl RetentionClock {
    /// Returns the time in unix milliseconds. `wall` is what the wall clock shows.
    pub fn now(&mut self, wall: u64, now: Instant) -> u64 {
        let expected = self.believed.map_or(wall, |(at, since)| at.saturating_add(millis(now.duration_since(since))));
        if wall > expected.saturating_add(millis(TRUSTED_STEP))
            && now.duration_since(*self.doubted_since.get_or_insert(now)) < PROBATION
        {
            return expected;
        }
        *self = Self { believed: Some((wall, now)), doubted_since: None };
        wall
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_790_000_000_000;
    const HOUR: u64 = 3_600_000;
    const DAY: u64 = 24 * HOUR;

    /// Reads the clock once for each pair: ms since the start, and ms by which the wall clock is wrong.
    fn read<const N: usize>(looks: [(u64, i64); N]) -> [i64; N] {
        let (mut clock, begun) = (RetentionClock::default(), Instant::now());
        looks.map(|(after, wrong)| {
            let wall = (START + after).saturating_add_signed(wrong);
            let told = clock.now(wall, begun + Duration::from_millis(after));
            told as i64 - (START + after) as i64
        })
    }

    #[test]
    fn a_jump_forward_is_believed_after_a_day_and_one_that_is_corrected_before_never() {
        const JUMP: i64 = 40 * DAY as i64;
        assert_eq!(read([(0, 0), (HOUR, JUMP), (DAY, JUMP), (2 * DAY, 0), (3 * DAY, JUMP)]), [0; 5]);
        assert_eq!(read([(0, 0), (HOUR, JUMP), (DAY, JUMP), (DAY + HOUR, JUMP)]), [0, 0, 0, JUMP]);
    }

    #[test]
    fn a_small_step_and_a_step_back_are_believed_at_once() {
        const HALF: i64 = HOUR as i64 / 2;
        assert_eq!(read([(0, 0), (1, HALF), (2, 2 * HALF), (3, -HALF), (4, HALF)]), [0, HALF, 2 * HALF, -HALF, HALF]);
        assert_eq!(read([(0, 0), (1, -40 * DAY as i64)]), [0, -40 * DAY as i64]);
    }

    #[test]
    fn the_first_reading_is_believed() {
        assert_eq!(read([(0, 40 * DAY as i64)]), [40 * DAY as i64]);
    }
}
