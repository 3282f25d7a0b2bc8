//! Keeps the findings of other processes: adds usage up in the store, disables endpoints that answered 410 or only
//! fail, and publishes an event when a quota is reached or events go round in a loop. A process repeats its findings until
//! control confirms that they are kept.

use std::sync::atomic::Ordering;

use schemas::{
    EndpointState, Finding, Notice, OperationalEvent,
    time::{day, unix_ms},
};
use store::{
    AuditEntry, Author, Draft, Edit, EditError, EditRefusal, ItemKind, TenantSelection, Usage, UsageReport, UsageScope,
};

use tokio::time::Instant;

use crate::Control;

/// Reason of an endpoint that was disabled because it answered 410.
pub const GONE: &str = "the receiver answered 410 Gone";
/// Reason of an endpoint that was disabled because it only failed.
pub const FAILING: &str = "it has only failed for five days";
/// Author of these changes in the audit log.
const AUTHOR: &str = "deliverer";

const DAY_MS: u64 = 86_400_000;
/// Days of nothing but failures after which an endpoint is disabled.
const FAILING_DAYS: u64 = 5;
/// Days of usage that are searched for failures. An endpoint that gets one event a month has too little usage to judge.
const SEARCHED_DAYS: u64 = 30;
/// Latest changes of a tenant that are searched for one of the endpoint.
const SEARCHED_CHANGES: u32 = 500;

/// An error that leaves findings unkept. The process that found them repeats them.
#[derive(Debug, thiserror::Error)]
enum KeepError {
    #[error(transparent)]
    Store(#[from] store::StoreError),
    #[error(transparent)]
    Publish(#[from] broker::PublishError),
}

impl Control {
    /// Keeps the findings of all processes, until the future is dropped. It runs on during shutdown, when deliverers
    /// report the rest.
    pub async fn keep_findings(&self) {
        let mut notices = self.deps.broker.notices();
        while let Some(notice) = notices.next().await {
            match Notice::read(&notice) {
                Some(Notice::Findings { process, sequence, findings }) => {
                    self.keep_and_note(process, sequence, findings).await;
                }
                Some(Notice::Hello) => self.new_listener.notify_one(),
                _ => {}
            }
        }
    }

    async fn keep_and_note(&self, process: String, sequence: u64, findings: Vec<Finding>) {
        let count = findings.len() as u64;
        match self.keep(&process, sequence, findings).await {
            Ok(()) => {
                self.metrics.findings_kept.inc_by(count);
                self.are_findings_kept.store(true, Ordering::Relaxed);
                self.deps.broker.announce(Notice::Noted { process, sequence }.write().into());
            }
            Err(error) => {
                self.metrics.findings_not_kept.inc_by(count);
                // Every process repeats its findings every few seconds, so one warning is enough.
                if self.are_findings_kept.swap(false, Ordering::Relaxed) {
                    tracing::warn!(%error, process, "findings.not_kept");
                }
            }
        }
    }

    async fn keep(&self, process: &str, sequence: u64, findings: Vec<Finding>) -> Result<(), KeepError> {
        let mut reports = Vec::new();
        for finding in findings {
            match finding {
                Finding::Usage { tenant, endpoint_id, day, counts } => {
                    if endpoint_id.is_none() {
                        self.event_rates.note(process, sequence, &tenant, &day, counts.events, Instant::now());
                    }
                    let process = process.to_owned();
                    reports.push(UsageReport { process, sequence, tenant, endpoint_id, day, counts });
                }
                Finding::Gone { tenant, endpoint_id, version } => {
                    self.disable(tenant, endpoint_id, version, GONE).await?;
                }
                Finding::Failing { tenant, endpoint_id, version, since } => {
                    if self.has_failed_long_enough(&tenant, &endpoint_id, since).await? {
                        self.disable(tenant, endpoint_id, version, FAILING).await?;
                    }
                }
                Finding::QuotaReached { tenant, quota, limit, at } => {
                    self.publish_event(&tenant, &OperationalEvent::quota_reached(&tenant, quota, limit, at)).await?;
                }
                Finding::EventLoop { tenant, source_id, at } => {
                    let event = OperationalEvent::event_loop(&tenant, source_id.as_deref(), at);
                    self.publish_event(&tenant, &event).await?;
                }
                Finding::Unknown => {}
            }
        }
        match self.deps.store.usage_and_audit() {
            Some(store) if !reports.is_empty() => {
                let late = store.record_usage(reports).await?;
                if late > 0 {
                    tracing::warn!(count = late, process, "usage.too_late");
                }
                Ok(())
            }
            // A store without usage has nothing to write, so the findings count as kept.
            _ => Ok(()),
        }
    }

    /// True when an endpoint has only failed for five days. The process knows that when it has itself failed there
    /// since `since`, in unix milliseconds. Otherwise the usage of the days before decides.
    async fn has_failed_long_enough(&self, tenant: &str, endpoint_id: &str, since: u64) -> Result<bool, KeepError> {
        let now = (self.deps.clock)();
        if is_long_ago(since, now) {
            return Ok(true);
        }
        let Some(store) = self.deps.store.usage_and_audit() else { return Ok(false) };
        let first_day = day(now.saturating_sub(SEARCHED_DAYS * DAY_MS));
        let usage = store.usage(tenant, UsageScope::Endpoint(endpoint_id), &first_day, &day(now)).await?;
        if !failing_since(&usage, endpoint_id).is_some_and(|day| is_day_long_ago(day, now)) {
            return Ok(false);
        }
        let changes = store.audit(Some(tenant), None, SEARCHED_CHANGES).await?;
        Ok(!was_changed_lately(&changes, endpoint_id, now))
    }

    /// Disables an endpoint and publishes an event to its tenant, unless the endpoint was changed since the version
    /// that the finding is about. When the store is read only, each deliverer stops posting by itself.
    async fn disable(
        &self,
        tenant: String,
        endpoint_id: String,
        version: Option<u64>,
        reason: &'static str,
    ) -> Result<(), KeepError> {
        let (of, id) = (tenant.clone(), endpoint_id.clone());
        let edit = Edit {
            selection: TenantSelection::Tenants(vec![tenant.clone()]),
            author: Author { name: AUTHOR.to_owned(), address: None },
            at: (self.deps.clock)(),
            dry_run: false,
            decision: Box::new(move |draft| disable_in(draft, &of, &id, version, reason)),
        };
        let edited = {
            let _turn = self.edit_queue.enter(&edit.author).await;
            self.deps.store.edit(edit).await
        };
        match edited {
            Ok(edited) if !edited.changes.is_empty() => {
                self.metrics.endpoints_disabled.inc();
                tracing::warn!(tenant, endpoint_id, detail = reason, "endpoint.disabled");
            }
            // The endpoint was disabled before, perhaps by a process that died before it published the event.
            Ok(_) => {}
            Err(EditError::ReadOnly) => return Ok(()),
            Err(EditError::Refused(refused)) => {
                tracing::warn!(error = %refused, tenant, endpoint_id, "endpoint.not_disabled");
                return Ok(());
            }
            Err(EditError::Away(error)) => return Err(error.into()),
        }
        let snapshot = self.deps.store.snapshot();
        let endpoint = snapshot.as_ref().and_then(|snapshot| snapshot.endpoint(&tenant, &endpoint_id));
        if endpoint.is_some_and(|endpoint| endpoint.disabled_reason.as_deref() == Some(reason)) {
            let version = version.unwrap_or_default();
            let event = OperationalEvent::endpoint_disabled(&tenant, &endpoint_id, version, Some(reason));
            self.publish_event(&tenant, &event).await?;
        }
        Ok(())
    }
}

fn disable_in(
    draft: &mut Draft,
    tenant: &str,
    id: &str,
    version: Option<u64>,
    reason: &str,
) -> Result<(), EditRefusal> {
    let unchanged = draft.version(tenant, ItemKind::Endpoint, id) == version;
    let endpoint = draft.tenant(tenant)?.endpoints.iter_mut().find(|endpoint| endpoint.id == id);
    if let Some(endpoint) = endpoint.filter(|_| unchanged) {
        endpoint.state = EndpointState::Disabled;
        endpoint.disabled_reason = Some(reason.to_owned());
    }
    Ok(())
}

/// True when failures since this time, in unix milliseconds, have lasted long enough to disable an endpoint.
fn is_long_ago(since: u64, now: u64) -> bool {
    since.saturating_add(FAILING_DAYS * DAY_MS) <= now
}

/// True when the end of a day is long enough ago.
fn is_day_long_ago(of_day: &str, now: u64) -> bool {
    of_day < day(now.saturating_sub(FAILING_DAYS * DAY_MS)).as_str()
}

/// Returns the first day with attempts after the last day with a success. `usage` must be in the order of days. Usage
/// is counted by day (UTC) and outlives every process, so an endpoint is disabled between five and six days after its
/// last success.
fn failing_since<'a>(usage: &'a [Usage], endpoint_id: &str) -> Option<&'a str> {
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

/// True when the endpoint was changed within the days of failures. A changed endpoint has five more days.
fn was_changed_lately(changes: &[AuditEntry], endpoint_id: &str, now: u64) -> bool {
    let is_of_endpoint = |entry: &&AuditEntry| entry.kind == "endpoint" && entry.item == endpoint_id;
    let latest = changes.iter().find(is_of_endpoint).and_then(|entry| unix_ms(&entry.at));
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
    fn failures_count_from_the_first_after_the_last_success() {
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
    fn failures_of_five_whole_days_are_enough() {
        assert!(is_day_long_ago(&day(NOW - 6 * DAY_MS), NOW) && !is_day_long_ago(&day(NOW - 5 * DAY_MS), NOW));
        assert!(!is_day_long_ago(&day(NOW), NOW));
        assert!(is_long_ago(NOW - 5 * DAY_MS, NOW) && !is_long_ago(NOW - 5 * DAY_MS + 1, NOW));
    }

    #[test]
    fn a_change_gives_an_endpoint_five_more_days() {
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
        let changes = [entry("other", NOW - DAY_MS), entry("crm", NOW - 4 * DAY_MS), entry("crm", NOW - 9 * DAY_MS)];
        assert!(was_changed_lately(&changes, "crm", NOW));
        assert!(!was_changed_lately(&changes, "crm", NOW + 2 * DAY_MS));
        assert!(!was_changed_lately(&changes[..1], "crm", NOW), "so long ago that it is not among the latest");
    }
}
