//! Notices that the clock of the machine was set, by a clock that cannot be set. Pure.

use schemas::time::millis;
use tokio::time::Instant;

/// Largest difference between the two clocks, from one look to the next, that is no step. Machines correct their clock by
/// less without a step.
const TOLERANCE_MS: u64 = 1_000;

/// Both clocks as they were at the last look.
#[derive(Debug, Default)]
pub struct ClockWatch(Option<(u64, Instant)>);

/// A step of the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockStep {
    pub is_forward: bool,
    pub by_ms: u64,
}

impl ClockWatch {
    /// Returns by how much the clock was set since the last look. `wall` is unix ms.
    pub fn look(&mut self, wall: u64, now: Instant) -> Option<ClockStep> {
        let (last_wall, last) = self.0.replace((wall, now))?;
        let elapsed = millis(now.saturating_duration_since(last));
        let expected = last_wall.saturating_add(elapsed);
        let by_ms = wall.abs_diff(expected);
        (by_ms > TOLERANCE_MS).then_some(ClockStep { is_forward: wall > expected, by_ms })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const START: u64 = 1_790_000_000_000;
    const HOUR: u64 = 3_600_000;

    #[test]
    fn a_step_of_the_clock_is_noticed_once_with_its_direction() {
        let (mut watch, begun) = (ClockWatch::default(), Instant::now());
        let mut look = |after_ms, wall| {
            let step = watch.look(wall, begun + Duration::from_millis(after_ms))?;
            Some((step.is_forward, step.by_ms))
        };
        assert_eq!(look(0, START), None, "there is nothing to compare with");
        assert_eq!(look(5_000, START + 5_000), None);
        assert_eq!(look(10_000, START + 10_000 - HOUR), Some((false, HOUR)));
        assert_eq!(look(15_000, START + 15_000 - HOUR), None, "that was said");
        assert_eq!(look(20_000, START + 20_000), Some((true, HOUR)));
        assert_eq!(look(20_000, START + 21_001), Some((true, 1_001)));
    }

    #[test]
    fn a_clock_that_is_corrected_little_by_little_makes_no_step() {
        let (mut watch, begun) = (ClockWatch::default(), Instant::now());
        for look in 0..10_000 {
            // Ten times as fast as the machine's clock is ever corrected.
            let wall = START + look * 5_025;
            assert_eq!(watch.look(wall, begun + Duration::from_millis(look * 5_000)), None);
        }
    }
}
