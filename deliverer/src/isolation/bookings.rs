//! When what an endpoint cannot take now may come back: each gets the next free time, so that it is put aside about once
//! (a reservation; GCRA's clock, run ahead), and how many that are.
//!
//! Pure. What is booked lies in the broker and may wake in another process: the clock is this process's own.

use std::collections::VecDeque;

/// So many counts are kept of when what was put aside comes back. More are joined with the next: the backlog is then
/// too large, by no more than what comes back in a 64th of the time ahead.
const COUNTS: usize = 64;

/// Of so many times, one is left free for those who come back in vain.
const LEFT_FREE: f64 = 10.0;

/// Times that are taken.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bookings {
    /// The next free time, unix ms with fractions.
    free: f64,
    /// The next free time for those who came back in vain.
    late: f64,
    /// How many come back until when, unix ms, in order.
    counts: VecDeque<(u64, u64)>,
}

impl Bookings {
    /// Takes the next free time, not before `earliest`; the one after is `step` ms later.
    pub(crate) fn book(&mut self, earliest: u64, step: f64) -> u64 {
        let at = self.free.max(earliest as f64);
        self.free = at + step;
        at.ceil() as u64
    }

    /// Takes a time for one that came back in vain: of the times that are left free between the others, or after them
    /// where that is sooner.
    pub(crate) fn book_again(&mut self, earliest: u64, step: f64) -> u64 {
        let at = self.late.max(earliest as f64);
        if at >= self.free {
            return self.book(earliest, step);
        }
        self.late = at + step * LEFT_FREE;
        at.ceil() as u64
    }

    /// Whether there are times taken after `at`.
    pub(crate) fn are_ahead_of(&self, at: u64) -> bool {
        self.free > at as f64
    }

    /// What was booked no longer holds, since nothing can come before `at`: bookings begin there.
    pub(crate) fn begin_anew(&mut self, at: u64) {
        (self.free, self.late) = (at as f64, at as f64);
    }

    /// Counts one that comes back then.
    pub(crate) fn note(&mut self, at: u64) {
        let place = self.counts.partition_point(|(until, _)| *until < at);
        let is_full = self.counts.len() >= COUNTS;
        match self.counts.get_mut(place) {
            Some((until, count)) if *until == at || is_full => *count += 1,
            Some(_) => self.counts.insert(place, (at, 1)),
            None => self.append(at),
        }
    }

    fn append(&mut self, at: u64) {
        if self.counts.len() >= COUNTS {
            self.halve();
        }
        self.counts.push_back((at, 1));
    }

    /// Joins each with its follower.
    fn halve(&mut self) {
        let old = std::mem::take(&mut self.counts);
        for (place, (until, count)) in old.into_iter().enumerate() {
            match self.counts.back_mut() {
                Some(last) if place % 2 == 1 => *last = (until, last.1 + count),
                _ => self.counts.push_back((until, count)),
            }
        }
    }

    /// How many have not come back.
    pub(crate) fn waiting(&mut self, now: u64) -> u64 {
        while self.counts.front().is_some_and(|(until, _)| *until <= now) {
            self.counts.pop_front();
        }
        self.counts.iter().map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_790_000_000_000;

    #[test]
    fn each_gets_the_next_free_time() {
        let mut bookings = Bookings::default();
        let times: Vec<_> = (0..4).map(|_| bookings.book(NOW + 1_000, 250.0) - NOW).collect();
        assert_eq!(times, [1_000, 1_250, 1_500, 1_750]);
        assert!(bookings.are_ahead_of(NOW + 1_999) && !bookings.are_ahead_of(NOW + 2_000));
        assert_eq!(bookings.book(NOW + 5_000, 250.0), NOW + 5_000, "none before it can be there");
        bookings.begin_anew(NOW + 60_000);
        assert_eq!(bookings.book(NOW, 1.0), NOW + 60_000);
    }

    #[test]
    fn who_came_in_vain_gets_what_was_left_free_and_the_end_only_if_that_is_sooner() {
        let mut bookings = Bookings::default();
        (0..40).for_each(|_| _ = bookings.book(NOW, 100.0));
        let times: Vec<_> = (0..5).map(|_| bookings.book_again(NOW + 500, 100.0) - NOW).collect();
        assert_eq!(times, [500, 1_500, 2_500, 3_500, 4_000]);
    }

    proptest! {
        #[test]
        fn the_backlog_is_counted_in_little_memory_and_never_too_small(
            dues in proptest::collection::vec(1..100_000_u64, 0..2_000),
            later in 0..100_000_u64,
        ) {
            let mut bookings = Bookings::default();
            for due in &dues {
                bookings.note(NOW + due);
            }
            prop_assert!(bookings.counts.len() <= COUNTS);
            prop_assert_eq!(bookings.waiting(NOW), dues.len() as u64);
            let waiting = dues.iter().filter(|due| **due > later).count() as u64;
            prop_assert!(bookings.waiting(NOW + later) >= waiting);
            prop_assert_eq!(bookings.waiting(NOW + 100_000), 0);
        }
    }
}
