//! Whether deliveries may be written with packed headers: once every deliverer has announced that it reads them. So versions
//! can be mixed while they are replaced, in any order.

use std::{collections::HashMap, time::Duration};

use schemas::wire::PACKED_VERSION;
use tokio::time::Instant;

/// Time in which every deliverer has announced itself, as each does once a second.
const ALL_ANNOUNCED: Duration = Duration::from_secs(2);
/// A deliverer that was silent for so long has ended. One that is only stuck must still be able to read what comes.
const ENDED: Duration = Duration::from_secs(600);
/// Most deliverers that are known; beyond them deliveries are written as before.
const MAX_DELIVERERS: usize = 10_000;

/// What the deliverers that were heard of read.
pub(super) struct DeliveryForm {
    listening_since: Instant,
    /// By process: when it was last heard of, and whether it reads packed headers.
    deliverers: HashMap<String, (Instant, bool)>,
}

impl DeliveryForm {
    pub(super) fn new(now: Instant) -> Self {
        Self { listening_since: now, deliverers: HashMap::new() }
    }

    /// Listens anew, because announcements were missed.
    pub(super) fn missed(&mut self, now: Instant) {
        self.listening_since = now;
    }

    /// Notes what a deliverer announces.
    pub(super) fn note(&mut self, process: &str, leaves: bool, reads_packed: u8, now: Instant) {
        if leaves {
            self.deliverers.remove(process);
        } else if self.deliverers.len() < MAX_DELIVERERS || self.deliverers.contains_key(process) {
            self.deliverers.insert(process.to_owned(), (now, reads_packed >= PACKED_VERSION));
        }
    }

    /// True when every deliverer reads packed headers. While none is known, one of an earlier version may be the first.
    pub(super) fn is_packed(&mut self, now: Instant) -> bool {
        self.deliverers.retain(|_, (heard, _)| *heard + ENDED > now);
        let all_announced = now >= self.listening_since + ALL_ANNOUNCED;
        let may_know_all = !self.deliverers.is_empty() && self.deliverers.len() < MAX_DELIVERERS;
        all_announced && may_know_all && self.deliverers.values().all(|(_, reads_packed)| *reads_packed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn heard(deliverers: &[(&str, u8)]) -> (DeliveryForm, Instant) {
        let now = Instant::now();
        let mut form = DeliveryForm::new(now);
        for (process, reads_packed) in deliverers {
            form.note(process, false, *reads_packed, now);
        }
        (form, now)
    }

    #[test]
    fn deliveries_are_packed_once_every_deliverer_had_time_to_announce_itself_and_reads_them() {
        let (mut form, now) = heard(&[("a", PACKED_VERSION), ("b", PACKED_VERSION)]);
        assert!(!form.is_packed(now + seconds(1)));
        assert!(form.is_packed(now + seconds(2)));
    }

    #[test]
    fn one_deliverer_of_an_earlier_version_keeps_the_earlier_form_until_it_leaves() {
        let (mut form, now) = heard(&[("a", PACKED_VERSION), ("b", 0)]);
        assert!(!form.is_packed(now + seconds(60)));
        form.note("b", true, 0, now);
        assert!(form.is_packed(now + seconds(60)));
    }

    #[test]
    fn a_silent_deliverer_of_an_earlier_version_is_taken_for_ended_after_ten_minutes() {
        let (mut form, now) = heard(&[("b", 0)]);
        form.note("a", false, PACKED_VERSION, now + seconds(590));
        assert!(!form.is_packed(now + seconds(599)));
        assert!(form.is_packed(now + seconds(600)));
    }

    #[test]
    fn nothing_is_packed_while_no_deliverer_is_known_or_announcements_were_missed() {
        let (mut form, now) = heard(&[]);
        assert!(!form.is_packed(now + seconds(60)));
        form.note("a", false, PACKED_VERSION, now + seconds(60));
        assert!(form.is_packed(now + seconds(60)));
        form.missed(now + seconds(61));
        assert!(!form.is_packed(now + seconds(62)));
    }
}
