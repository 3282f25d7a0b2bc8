//! How many messages of a lane may be in the process: as many as there are slots for, and no more than the budget of
//! bytes has room for at their average size. Pure but for one counter.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// How much a new size counts in the average: one part in this many.
const WEIGHT: u32 = 32;

/// The average size of what was handed out lately, in bytes.
#[derive(Debug, Default)]
pub(crate) struct Size(AtomicU32);

impl Size {
    /// A message of so many bytes was handed out. Two at once may count as one: it is an average.
    pub(crate) fn note(&self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let old = self.0.load(Relaxed);
        // Upwards at once by a part, downwards also when the difference is small.
        let step = bytes.abs_diff(old).div_ceil(WEIGHT);
        self.0.store(if bytes > old { old + step } else { old - step }, Relaxed);
    }

    fn average(&self) -> u32 {
        self.0.load(Relaxed).max(1)
    }
}

/// Another prefetch than `current`, where that is wrong by more than half: changing it means to subscribe anew. `most`
/// are the slots, `budget` the bytes.
pub(crate) fn better(current: u16, most: u16, budget: u32, size: &Size) -> Option<u16> {
    let fitting = u16::try_from(budget / size.average()).unwrap_or(u16::MAX).clamp(1, most.max(1));
    let is_wrong = fitting < current.div_ceil(2) || fitting / 2 >= current || (fitting == most && current < most);
    is_wrong.then_some(fitting)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_bodies_lower_the_credit_and_small_ones_give_it_back() {
        let size = Size::default();
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
