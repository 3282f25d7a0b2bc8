//! Whether an endpoint has only failed for five days, by the books. Pure.
//!
//! The books count by day (UTC) and process, and outlive every process; so an endpoint is found out between five and six
//! days after its last success, by whichever deliverer still fails at it.

use schemas::time::{day, unix_ms};
use store::{AuditEntry, Usage};

const DAY: u64 = 86_400_000;
/// So many days of nothing but failures,
const ENOUGH: u64 = 5;
/// looked for in so many: an endpoint that gets an event a month cannot be found out.
const LOOKED_AT: u64 = 30;
/// So many of a tenant's latest changes are looked at.
pub(crate) const CHANGES: u32 = 500;

/// Whether a process has seen nothing but failures for long enough since then, unix ms.
pub(crate) fn is_long_ago(since: u64, now: u64) -> bool {
    since.saturating_add(ENOUGH * DAY) <= now
}

/// Whether all of a day is.
pub(crate) fn is_day_long_ago(the_day: &str, now: u64) -> bool {
    the_day < day(now.saturating_sub(ENOUGH * DAY)).as_str()
}

/// The first day that is looked at.
pub(crate) fn first_day(now: u64) -> String {
    day(now.saturating_sub(LOOKED_AT * DAY))
}

/// The first day with attempts after the last with a success. A tenant's usage is in the order of days.
pub(crate) fn failing_since<'a>(usage: &'a [Usage], endpoint_id: &str) -> Option<&'a str> {
    let mut since = None;
    for line in usage.iter().filter(|line| line.endpoint_id.as_deref() == Some(endpoint_id)) {
        if line.counts.delivered > 0 {
            since = None;
        } else if line.counts.attempts > 0 {
            since.get_or_insert(line.day.as_str());
        }
    }
    since
}

/// Whether the endpoint was changed in these days, of its tenant's latest changes: it has its five days anew.
pub(crate) fn was_changed_lately(changes: &[AuditEntry], endpoint_id: &str, now: u64) -> bool {
    let is_its = |entry: &&AuditEntry| entry.kind == "endpoint" && entry.item == endpoint_id;
    let latest = changes.iter().find(is_its).and_then(|entry| unix_ms(&entry.at));
    latest.is_some_and(|at| !is_long_ago(at, now))
}

#[cfg(test)]
mod tests {
    use schemas::Counts;

    use super::*;

    const NOW: u64 = 1_790_000_000_000;

    fn line(day: &str, endpoint: &str, attempts: u64, delivered: u64) -> Usage {
        let counts = Counts { attempts, delivered, ..Counts::default() };
        Usage { day: day.to_owned(), endpoint_id: Some(endpoint.to_owned()), counts }
    }

    #[test]
    fn what_counts_is_the_first_failure_after_the_last_success() {
        let usage = [
            line("2026-11-01", "crm", 5, 0),
            line("2026-11-02", "crm", 5, 1),
            line("2026-11-02", "other", 5, 5),
            line("2026-11-03", "crm", 0, 0),
            line("2026-11-04", "crm", 7, 0),
            line("2026-11-09", "crm", 7, 0),
        ];
        assert_eq!(failing_since(&usage, "crm"), Some("2026-11-04"));
        assert_eq!(failing_since(&usage, "other"), None);
        assert_eq!(failing_since(&usage, "nobody"), None);
    }

    #[test]
    fn five_whole_days_are_enough() {
        let today = day(NOW);
        assert!(is_day_long_ago(&day(NOW - 6 * DAY), NOW) && !is_day_long_ago(&day(NOW - 5 * DAY), NOW));
        assert!(!is_day_long_ago(&today, NOW));
        assert!(is_long_ago(NOW - 5 * DAY, NOW) && !is_long_ago(NOW - 5 * DAY + 1, NOW));
        assert!(first_day(NOW) < today);
    }

    #[test]
    fn a_change_gives_it_five_days_anew() {
        let entry = |item: &str, at: u64| AuditEntry {
            id: 1,
            at: schemas::time::rfc3339(at),
            revision: 1,
            tenant: "acme".into(),
            author: "operator".into(),
            address: None,
            kind: "endpoint".into(),
            item: item.into(),
            before: None,
            after: None,
        };
        let changes = [entry("other", NOW - DAY), entry("crm", NOW - 4 * DAY), entry("crm", NOW - 9 * DAY)];
        assert!(was_changed_lately(&changes, "crm", NOW));
        assert!(!was_changed_lately(&changes, "crm", NOW + 2 * DAY));
        assert!(!was_changed_lately(&changes[..1], "crm", NOW), "so long ago that it is not among the latest");
    }
}
