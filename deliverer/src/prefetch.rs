//! How many messages of a lane may be in the process: as many as it has slots for, and no more than the byte budget has
//! room for at their average size.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// A new size counts in the average as one part in this many.
const WEIGHT: u32 = 32;

/// The average size of the messages that were handed out lately, in bytes.
#[derive(Debug, Default)]
pub(crate) struct AverageSize(AtomicU32);

impl AverageSize {
    /// Notes the size of one message. Two that are noted at the same time may count as one.
    pub(crate) fn note(&self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let old = self.0.load(Relaxed);
        // Rounded up, so that the average also moves when the difference is small.
        let step = bytes.abs_diff(old).div_ceil(WEIGHT);
        self.0.store(if bytes > old { old + step } else { old - step }, Relaxed);
    }

    fn get(&self) -> u32 {
        self.0.load(Relaxed).max(1)
    }
}

/// A prefetch to use instead of `current`, or none while that is not wrong by more than half: a new prefetch takes a new
/// subscription. `most` is what the slots allow, `budget` is in bytes.
pub(crate) fn better(current: u16, most: u16, budget: u32, size: &AverageSize) -> Option<u16> {
    let fitting = u16::try_from(budget / size.get()).unwrap_or(u16::MAX).clamp(1, most.max(1));
    let is_wrong = fitting < current.div_ceil(2) || fitting / 2 >= current || (fitting == most && current < most);
    is_wrong.then_some(fitting)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefetch_is_lowered_by_large_bodies_and_restored_by_small_ones() {
        let size = AverageSize::default();
        const BUDGET: u32 = 128 * 1024 * 1024;
        (0..100).for_each(|_| size.note(1_000));
        assert_eq!(better(1_536, 1_536, BUDGET, &size), None, "there is room for all of them");
        (0..200).for_each(|_| size.note(3 * 1024 * 1024));
        let Some(small) = better(1_536, 1_536, BUDGET, &size) else { panic!("too many") };
        assert!((42..=44).contains(&small), "{small}");
        assert_eq!(better(small, 1_536, BUDGET, &size), None);
        assert_eq!(better(small * 3 / 2, 1_536, BUDGET, &size), None, "not for a little");
        (0..400).for_each(|_| size.note(1_000));
        assert_eq!(better(small, 1_536, BUDGET, &size), Some(1_536));
        (0..400).for_each(|_| size.note(usize::MAX));
        assert_eq!(better(1_536, 1_536, BUDGET, &size), Some(1), "one always");
    }
}
