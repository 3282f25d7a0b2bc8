//! Since when an endpoint has only failed, as far as this process knows, and when that is told. Pure.
//!
//! A process that is restarted begins anew; who keeps books (control) knows of the days before.

/// Who has only failed for so long, in ms, is worth a word,
const WORTH_A_WORD: u64 = 3_600_000;
/// which is said again after this, in ms.
const AGAIN: u64 = 3_600_000;
/// After five days of nothing but failures an endpoint is posted to no more.
const ENOUGH: u64 = 5 * 86_400_000;

/// Since when an endpoint has only failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Failing {
    /// Unix ms of the first failure since the last success.
    since: Option<u64>,
    told_at: Option<u64>,
}

/// An endpoint that has only failed for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failed {
    /// Since then, unix ms.
    pub(crate) since: u64,
    /// For so long that this process posts to it no more.
    pub(crate) is_enough: bool,
}

impl Failing {
    /// An attempt succeeded.
    pub(crate) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// An attempt failed: is there something to tell?
    pub(crate) fn failed(&mut self, now: u64) -> Option<Failed> {
        let since = *self.since.get_or_insert(now);
        let is_due = now >= since + WORTH_A_WORD && self.told_at.is_none_or(|at| now >= at + AGAIN);
        is_due.then(|| {
            self.told_at = Some(now);
            Failed { since, is_enough: now >= since + ENOUGH }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;

    #[test]
    fn it_is_told_every_hour_and_enough_after_five_days_without_a_success() {
        let mut failing = Failing::default();
        let told: Vec<_> = (0..=5 * 48).filter_map(|half| failing.failed(half * HOUR / 2)).collect();
        assert_eq!(told.len(), 5 * 24);
        assert!(told.iter().all(|failed| failed.since == 0));
        assert_eq!(told.iter().filter(|failed| failed.is_enough).count(), 1);
        failing.succeeded();
        assert_eq!(failing.failed(200 * HOUR), None);
        assert_eq!(failing.failed(201 * HOUR), Some(Failed { since: 200 * HOUR, is_enough: false }));
    }
}
