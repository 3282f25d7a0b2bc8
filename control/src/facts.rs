//! What processes find out, kept: usage in the store's books, endpoints that said 410 or do nothing but fail disabled,
//! quotas that bit told to their tenants. Every fact may come again and again; it is noted only once it is kept.

use std::sync::atomic::Ordering;

use schemas::{EndpointState, Finding, Notice, OperationalEvent};
use store::{Author, Draft, Edit, EditError, EditRefusal, ItemKind, TenantSelection, UsageReport};

use crate::{Control, failing};

/// Why an endpoint that said 410 is disabled, as it is shown.
pub const GONE: &str = "the receiver answered 410 Gone";
/// Why an endpoint that does nothing but fail is disabled.
pub const FAILING: &str = "it has only failed for five days";
/// Who disables it, in the audit log.
const AUTHOR: &str = "deliverer";

/// Why facts could not be kept. They come again.
#[derive(Debug, thiserror::Error)]
enum NotKept {
    #[error(transparent)]
    Away(#[from] store::StoreError),
    #[error(transparent)]
    NotTold(#[from] broker::PublishError),
}

impl Control {
    /// Keeps what processes tell, until it is dropped: at shutdown too there is something to keep.
    pub async fn keep_facts(&self) {
        let mut notices = self.deps.broker.notices();
        while let Some(notice) = notices.next().await {
            match Notice::read(&notice) {
                Some(Notice::Findings { process, sequence, findings: facts }) => {
                    self.hear(process, sequence, facts).await
                }
                Some(Notice::Hello) => self.newcomers.notify_one(),
                _ => {}
            }
        }
    }

    async fn hear(&self, process: String, sequence: u64, facts: Vec<Finding>) {
        let count = facts.len() as u64;
        match self.keep(&process, sequence, facts).await {
            Ok(()) => {
                self.metrics.facts_kept.inc_by(count);
                self.are_facts_kept.store(true, Ordering::Relaxed);
                self.deps.broker.announce(Notice::Noted { process, sequence }.write().into());
            }
            Err(error) => {
                self.metrics.facts_not_kept.inc_by(count);
                // Every process says them again every few seconds.
                if self.are_facts_kept.swap(false, Ordering::Relaxed) {
                    tracing::warn!(%error, process, "facts.not_kept");
                }
            }
        }
    }

    async fn keep(&self, process: &str, sequence: u64, facts: Vec<Finding>) -> Result<(), NotKept> {
        let mut reports = Vec::new();
        for fact in facts {
            match fact {
                Finding::Usage { tenant, endpoint_id, day, counts } => {
                    reports.push(UsageReport {
                        process: process.to_owned(),
                        sequence,
                        tenant,
                        endpoint_id,
                        day,
                        counts,
                    });
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
                    self.tell(&tenant, &OperationalEvent::quota_reached(&tenant, quota, limit, at)).await?;
                }
                Finding::Unknown => {}
            }
        }
        match self.deps.store.usage_and_audit() {
            Some(books) if !reports.is_empty() => Ok(books.record_usage(reports).await?),
            // A store without books keeps no usage: there is nothing to wait for.
            _ => Ok(()),
        }
    }

    /// Whether an endpoint that fails since then, unix ms, in the process that says so, has only failed for five days: by
    /// that, or by the books of the days before.
    async fn has_failed_long_enough(&self, tenant: &str, endpoint_id: &str, since: u64) -> Result<bool, NotKept> {
        let now = (self.deps.clock)();
        if failing::is_long_ago(since, now) {
            return Ok(true);
        }
        let Some(books) = self.deps.store.usage_and_audit() else { return Ok(false) };
        let usage = books.usage(tenant, &failing::first_day(now), &schemas::time::day(now)).await?;
        let Some(day) = failing::failing_since(&usage, endpoint_id) else { return Ok(false) };
        if !failing::is_day_long_ago(day, now) {
            return Ok(false);
        }
        let changes = books.audit(Some(tenant), None, failing::CHANGES).await?;
        Ok(!failing::was_changed_lately(&changes, endpoint_id, now))
    }

    /// Disables an endpoint, unless it was changed since the version of which this was said; then tells the tenant.
    /// A store that is read only leaves that to the deliverers, each for itself.
    async fn disable(
        &self,
        tenant: String,
        endpoint_id: String,
        version: Option<u64>,
        reason: &'static str,
    ) -> Result<(), NotKept> {
        let (of, id) = (tenant.clone(), endpoint_id.clone());
        let edit = Edit {
            selection: TenantSelection::Tenants(vec![tenant.clone()]),
            author: Author { name: AUTHOR.to_owned(), address: None },
            at: (self.deps.clock)(),
            dry_run: false,
            decision: Box::new(move |draft| disable_in(draft, &of, &id, version, reason)),
        };
        match self.deps.store.edit(edit).await {
            Ok(edited) if !edited.changes.is_empty() => {
                self.metrics.endpoints_disabled.inc();
                tracing::warn!(tenant, endpoint_id, detail = reason, "endpoint.disabled");
            }
            // Done before, perhaps by a process that died before it told.
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
            let now = (self.deps.clock)();
            let event = OperationalEvent::endpoint_disabled(&tenant, &endpoint_id, version, Some(reason), now);
            self.tell(&tenant, &event).await?;
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
