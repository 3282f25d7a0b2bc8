//! How far a replay is: what became of its dead letters, and where it goes on after a restart.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Where a replay goes on. Its row keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReplayPosition {
    /// Offset of the first dead letter that is not handled for sure: all before it are.
    pub(crate) next: u64,
    /// How many before `next` were published again.
    pub(crate) replayed: u64,
    /// How many before `next` were skipped.
    pub(crate) skipped: u64,
    /// Of a replay from history: acceptance in unix milliseconds, and id, of the last delivery that is handled. They are handled
    /// in the order of both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) handled: Option<(u64, Uuid)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReplayProgress {
    /// Dead letters that were published again.
    pub(crate) replayed: u64,
    /// Dead letters that stay alive: their bodies were not kept, because they were too large or beyond the tenant's quota,
    /// their endpoints are disabled, do not exist or were made anew, or they came back from a replay and there is no room
    /// for more of these.
    pub(crate) skipped: u64,
    pub(crate) position: ReplayPosition,
}

/// What became of a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LetterState {
    /// It waits, or is under way.
    Open,
    Replayed,
    Skipped,
    /// It could not be published, or the log has deleted it.
    Left,
}

/// The dead letters of a replay, of which several are under way at once. They begin in the order of the log, and end in
/// any order.
#[derive(Debug)]
pub(crate) struct ReplayTracker {
    /// Offset and state of each, in the order of the log.
    letters: Vec<(u64, LetterState)>,
    /// Index of the first one that did not begin.
    waiting: usize,
    /// Index of the first open one.
    open: usize,
    /// Offset at which the replay ends.
    end: u64,
    progress: ReplayProgress,
}

impl ReplayTracker {
    /// The dead letters from a position on, up to the offset `end`.
    pub(crate) fn new(position: ReplayPosition, end: u64, mut letters: Vec<(u64, LetterState)>) -> Self {
        letters.sort_unstable_by_key(|(offset, _)| *offset);
        let count = |state| letters.iter().filter(|(_, other)| *other == state).count() as u64;
        let replayed = position.replayed + count(LetterState::Replayed);
        let skipped = position.skipped + count(LetterState::Skipped);
        let progress = ReplayProgress { replayed, skipped, position };
        let mut tracker = Self { letters, waiting: 0, open: 0, end, progress };
        tracker.advance();
        tracker
    }

    pub(crate) fn progress(&self) -> ReplayProgress {
        self.progress.clone()
    }

    /// Notes that a dead letter begins. Open ones before it that have not begun are not in the log any more.
    pub(crate) fn begin(&mut self, offset: u64) {
        while let Some((other, state)) = self.letters.get_mut(self.waiting).filter(|(other, _)| *other <= offset) {
            if *other < offset && *state == LetterState::Open {
                *state = LetterState::Left;
            }
            self.waiting += 1;
        }
        self.advance();
    }

    /// Notes what became of a dead letter that has begun.
    pub(crate) fn end(&mut self, offset: u64, state: LetterState) {
        let Ok(at) = self.letters.binary_search_by_key(&offset, |(offset, _)| *offset) else { return };
        self.letters[at].1 = state;
        match state {
            LetterState::Replayed => self.progress.replayed += 1,
            LetterState::Skipped => self.progress.skipped += 1,
            LetterState::Open | LetterState::Left => {}
        }
        self.advance();
    }

    fn advance(&mut self) {
        let position = &mut self.progress.position;
        while let Some((_, state)) = self.letters.get(self.open).filter(|(_, state)| *state != LetterState::Open) {
            position.replayed += u64::from(*state == LetterState::Replayed);
            position.skipped += u64::from(*state == LetterState::Skipped);
            self.open += 1;
        }
        position.next = self.letters.get(self.open).map_or(self.end, |(offset, _)| *offset).max(position.next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(next: u64, replayed: u64, skipped: u64) -> ReplayPosition {
        ReplayPosition { next, replayed, skipped, handled: None }
    }

    fn open(offsets: &[u64]) -> Vec<(u64, LetterState)> {
        offsets.iter().map(|offset| (*offset, LetterState::Open)).collect()
    }

    #[test]
    fn a_position_is_before_the_first_open_letter_and_counts_those_before_it() {
        let mut tracker = ReplayTracker::new(ReplayPosition::default(), 100, open(&[3, 5, 9]));
        [3, 5, 9].into_iter().for_each(|offset| tracker.begin(offset));
        assert_eq!(tracker.progress().position, at(3, 0, 0));
        tracker.end(9, LetterState::Skipped);
        tracker.end(5, LetterState::Replayed);
        assert_eq!(tracker.progress(), ReplayProgress { replayed: 1, skipped: 1, position: at(3, 0, 0) });
        tracker.end(3, LetterState::Left);
        assert_eq!(tracker.progress(), ReplayProgress { replayed: 1, skipped: 1, position: at(100, 1, 1) });
    }

    #[test]
    fn a_replay_that_goes_on_counts_what_was_done_before_once() {
        let mut letters = open(&[5, 9]);
        letters.extend([(7, LetterState::Replayed), (4, LetterState::Replayed), (8, LetterState::Skipped)]);
        let mut tracker = ReplayTracker::new(at(3, 2, 1), 10, letters);
        assert_eq!(tracker.progress(), ReplayProgress { replayed: 4, skipped: 2, position: at(5, 3, 1) });
        tracker.begin(5);
        tracker.end(5, LetterState::Replayed);
        assert_eq!(tracker.progress(), ReplayProgress { replayed: 5, skipped: 2, position: at(9, 5, 2) });
    }

    #[test]
    fn letters_that_the_log_has_deleted_hold_nothing_up() {
        let mut tracker = ReplayTracker::new(ReplayPosition::default(), 100, open(&[1, 2, 5, 6]));
        tracker.begin(5);
        assert_eq!(tracker.progress().position, at(5, 0, 0));
        tracker.end(5, LetterState::Replayed);
        assert_eq!(tracker.progress().position, at(6, 1, 0));
    }
}
