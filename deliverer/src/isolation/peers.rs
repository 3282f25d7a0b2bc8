//! How many deliverers share the work, by what they say of themselves on the control fanout. Pure.

use std::collections::HashMap;

/// How often a deliverer says that it is there, in ms.
pub(crate) const BEAT: u64 = 1_000;
/// Of whom nothing was heard for so long, in ms, is gone: two words may get lost.
const SILENT: u64 = 3_500;
/// A newcomer takes as much as if there were so many at least, until it has heard all others, and they have heard it.
const UNKNOWN: u32 = 16;
/// More are not told apart.
const MOST: usize = 10_000;

/// The deliverers that are there.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    own: String,
    /// When each was last heard of, unix ms.
    heard: HashMap<String, u64>,
    /// When the own word was first heard, unix ms: from then on all others have heard it too.
    round_at: Option<u64>,
}

impl Peers {
    /// Of the process with this id.
    pub(crate) fn new(own: impl Into<String>) -> Self {
        Self { own: own.into(), ..Self::default() }
    }

    /// One says that it is there, or that it leaves.
    pub(crate) fn hear(&mut self, process: &str, leaves: bool, now: u64) {
        if process == self.own {
            self.round_at.get_or_insert(now);
        }
        if leaves {
            self.heard.remove(process);
        } else if let Some(at) = self.heard.get_mut(process) {
            *at = now;
        } else if self.heard.len() < MOST {
            self.heard.insert(process.to_owned(), now);
        }
    }

    /// How many there are, this one included.
    pub(crate) fn count(&mut self, now: u64) -> u32 {
        self.heard.retain(|_, at| *at + SILENT > now);
        let others = self.heard.keys().filter(|process| **process != self.own).count();
        u32::try_from(others).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// By how many what all may do together is divided.
    pub(crate) fn divisor(&mut self, now: u64) -> u32 {
        // All others speak once in a beat: after one, and a little, all were heard.
        let has_gone_round = self.round_at.is_some_and(|at| now >= at + BEAT + BEAT / 4);
        let count = self.count(now);
        if has_gone_round { count } else { count.max(UNKNOWN) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_790_000_000_000;

    #[test]
    fn a_newcomer_takes_the_smallest_share_until_its_word_has_gone_round() {
        let mut peers = Peers::new("new");
        assert_eq!(peers.divisor(NOW), 16);
        peers.hear("old", false, NOW + 500);
        assert_eq!(peers.divisor(NOW + 60_000), 16, "its own was never heard: it may not be connected");
        peers.hear("new", false, NOW + 60_000);
        peers.hear("old", false, NOW + 60_100);
        peers.hear("older", false, NOW + 60_900);
        assert_eq!(peers.divisor(NOW + 61_000), 16);
        assert_eq!(peers.divisor(NOW + 61_250), 3);
    }

    #[test]
    fn who_leaves_or_falls_silent_is_counted_no_more() {
        let mut peers = Peers::new("own");
        for process in ["own", "a", "b"] {
            peers.hear(process, false, NOW);
        }
        peers.hear("a", true, NOW + 100);
        assert_eq!(peers.divisor(NOW + 2_000), 2);
        peers.hear("own", false, NOW + 3_000);
        assert_eq!(peers.divisor(NOW + 3_500), 1);
        assert_eq!(peers.count(NOW + 60_000), 1, "oneself is always there");
    }
}
