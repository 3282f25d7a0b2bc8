//! Counts what is under way by the round in which it began, to notice what has been for too long: two atomic additions
//! each, no lock, and no timer for each. Rounds are turned from outside, so that whoever turns them decides what counts.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// What began in the current round and in the `N - 1` before it.
pub(crate) struct Rounds<const N: usize> {
    round: AtomicUsize,
    under_way: [AtomicUsize; N],
}

/// The round in which something began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Begun(usize);

impl<const N: usize> Rounds<N> {
    /// One more is under way from now on.
    pub(crate) fn enter(&self) -> Begun {
        let place = self.round.load(Relaxed) % N;
        self.under_way[place].fetch_add(1, Relaxed);
        Begun(place)
    }

    /// It is not any more.
    pub(crate) fn leave(&self, begun: Begun) {
        self.under_way[begun.0].fetch_sub(1, Relaxed);
    }

    /// How many have been under way for `N - 1` whole rounds, and for longer if there were more.
    pub(crate) fn overdue(&self) -> usize {
        self.under_way[(self.round.load(Relaxed) + 1) % N].load(Relaxed)
    }

    /// Begins a new round, unless that would make what is overdue look young.
    pub(crate) fn turn(&self) {
        if self.overdue() == 0 {
            self.round.fetch_add(1, Relaxed);
        }
    }
}

impl<const N: usize> Default for Rounds<N> {
    fn default() -> Self {
        Self { round: AtomicUsize::new(0), under_way: std::array::from_fn(|_| AtomicUsize::new(0)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_began_is_overdue_after_all_rounds_and_stays_so_until_it_leaves() {
        let rounds = Rounds::<4>::default();
        let (old, young) = (rounds.enter(), {
            rounds.turn();
            rounds.enter()
        });
        rounds.turn();
        assert_eq!(rounds.overdue(), 0);
        for _ in 0..10 {
            rounds.turn();
            assert_eq!(rounds.overdue(), 1);
        }
        rounds.leave(old);
        assert_eq!(rounds.overdue(), 0);
        rounds.turn();
        assert_eq!(rounds.overdue(), 1);
        rounds.leave(young);
        assert_eq!(rounds.overdue(), 0);
    }
}
