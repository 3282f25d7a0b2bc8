//! Counts pending entries by the round in which they began, to detect those that are pending for too long. An entry
//! costs two atomic additions, no lock and no timer.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Counters of the current round and of the `N - 1` rounds before it. The owner turns the rounds, and so decides which
/// time counts.
pub struct AgeCounter<const N: usize> {
    round: AtomicUsize,
    pending: [AtomicUsize; N],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryRound(usize);

impl<const N: usize> AgeCounter<N> {
    pub fn enter(&self) -> EntryRound {
        let round = self.round.load(Relaxed) % N;
        self.pending[round].fetch_add(1, Relaxed);
        EntryRound(round)
    }

    pub fn leave(&self, began: EntryRound) {
        self.pending[began.0].fetch_sub(1, Relaxed);
    }

    /// Number of entries that are pending for at least `N - 1` whole rounds.
    pub fn overdue(&self) -> usize {
        self.pending[(self.round.load(Relaxed) + 1) % N].load(Relaxed)
    }

    /// Begins a new round, unless that would make overdue entries look young.
    pub fn turn(&self) {
        if self.overdue() == 0 {
            self.round.fetch_add(1, Relaxed);
        }
    }
}

impl<const N: usize> Default for AgeCounter<N> {
    fn default() -> Self {
        Self { round: AtomicUsize::new(0), pending: std::array::from_fn(|_| AtomicUsize::new(0)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_overdue_after_all_rounds_and_stays_so_until_it_leaves() {
        let ages = AgeCounter::<4>::default();
        let (old, young) = (ages.enter(), {
            ages.turn();
            ages.enter()
        });
        ages.turn();
        assert_eq!(ages.overdue(), 0);
        for _ in 0..10 {
            ages.turn();
            assert_eq!(ages.overdue(), 1);
        }
        ages.leave(old);
        assert_eq!(ages.overdue(), 0);
        ages.turn();
        assert_eq!(ages.overdue(), 1);
        ages.leave(young);
        assert_eq!(ages.overdue(), 0);
    }
}
