//! Edits the configuration: the store carries a decision out, the process logs the change, and tenants get events about
//! changes that concern them.

use std::{sync::Arc, time::Duration};

use schemas::EndpointState;
use service::problem::{Code, Problem};
use store::{Author, Draft, Edit, EditRefusal, Edited, Item, ItemChange, TenantSelection};
use tokio::sync::oneshot;

use super::problems;
use crate::{Control, settings};

/// Time to a retry when too many edits wait: they take some milliseconds each.
const RETRY_EDIT: Duration = Duration::from_secs(1);
/// Most items that one log line names.
const LOGGED_ITEMS: usize = 20;

/// What an edit may change, and who asks for it.
pub(crate) struct EditRequest {
    pub(crate) selection: TenantSelection,
    pub(crate) author: Author,
    /// True when the edit only reports what it would change.
    pub(crate) dry_run: bool,
}

impl EditRequest {
    pub(crate) fn of_tenant(tenant: &str, author: Author) -> Self {
        Self { selection: TenantSelection::Tenants(vec![tenant.to_owned()]), author, dry_run: false }
    }
}

impl Control {
    /// Runs a decision on a draft when its author's turn has come, all or nothing. Returns the decision's result and the
    /// changes.
    pub(crate) async fn edit<T: Send + 'static>(
        self: &Arc<Self>,
        request: EditRequest,
        decide: impl FnOnce(&mut Draft) -> Result<T, Problem> + Send + 'static,
    ) -> Result<(T, Edited), Problem> {
        let Some(_turn) = self.edit_queue.enter(&request.author).await else {
            let problem = Problem::new(Code::TooManyRequests).retry_after(RETRY_EDIT);
            return Err(problem.detail("too many changes of this tenant wait already; nothing was changed"));
        };
        let (sender, mut receiver) = oneshot::channel();
        let decision = Box::new(move |draft: &mut Draft| {
            let decided = decide(draft);
            // The store only needs to know that the edit is refused. The problem itself goes through the channel.
            let verdict = decided.as_ref().map(|_| ()).map_err(|_| EditRefusal::Conflict(String::new()));
            let _ = sender.send(decided);
            verdict
        });
        let EditRequest { selection, author, dry_run } = request;
        let (tenants, logged_author) = (selection.clone(), author.clone());
        let edit = Edit { selection, author, at: (self.deps.clock)(), dry_run, decision };
        let edited = self.deps.store.edit(edit).await;
        match (edited, receiver.try_recv()) {
            (Ok(edited), Ok(Ok(decided))) => {
                if !dry_run {
                    log(&logged_author, &edited);
                    self.announce_disabled(&edited);
                }
                Ok((decided, edited))
            }
            (Err(store::EditError::Refused(_)), Ok(Err(problem))) => {
                if !dry_run {
                    self.announce_quota(&tenants, &problem);
                }
                Err(problem)
            }
            (Err(error), _) => Err(problems::edit_failed(error)),
            (Ok(_), _) => Err(Code::Internal.into()),
        }
    }

    /// Publishes an event for each endpoint that this edit disabled.
    fn announce_disabled(self: &Arc<Self>, edited: &Edited) {
        for change in &edited.changes {
            if let (Some(Item::Endpoint(before)), Some(Item::Endpoint(after))) = (&change.before, &change.after)
                && before.state != EndpointState::Disabled
                && after.state == EndpointState::Disabled
            {
                self.endpoint_disabled(&change.tenant, &after.id, edited.revision, after.disabled_reason.as_deref());
            }
        }
    }

    /// Publishes an event when the problem is that a quota is reached.
    fn announce_quota(self: &Arc<Self>, tenants: &TenantSelection, problem: &Problem) {
        let (Some(name), TenantSelection::Tenants(ids), Some(snapshot)) =
            (settings::reached(problem), tenants, self.deps.store.snapshot())
        else {
            return;
        };
        for tenant in ids.iter().filter_map(|id| snapshot.tenant(id)) {
            if let Some(limit) = settings::allowed(tenant.quota, self.deps.rules.quota, name) {
                self.quota_reached(&tenant.id, name, limit as f64);
            }
        }
    }
}

/// Logs one line for each edit that changed something. The audit log has the details.
fn log(author: &Author, edited: &Edited) {
    let Some(first) = edited.changes.first() else { return };
    let tenant = Some(&first.tenant).filter(|tenant| edited.changes.iter().all(|change| change.tenant == **tenant));
    let items: Vec<_> = edited.changes.iter().take(LOGGED_ITEMS).map(summary).collect();
    tracing::info!(
        tenant,
        items = items.join(","),
        count = edited.changes.len(),
        revision = edited.revision,
        author = author.name,
        client = author.address.map(tracing::field::display),
        "config.changed"
    );
}

/// Summarizes a change, such as `create endpoint/crm`.
fn summary(change: &ItemChange) -> String {
    let (verb, item) = match (&change.before, &change.after) {
        (None, Some(item)) => ("create", item),
        (Some(_), Some(item)) => ("update", item),
        (Some(item), None) => ("delete", item),
        (None, None) => return String::new(),
    };
    format!("{verb} {}/{}", item.kind().name(), item.id())
}

/// A tenant of a draft, or 404.
pub(crate) fn tenant<'a>(draft: &'a mut Draft, id: &str) -> Result<&'a mut schemas::Tenant, Problem> {
    draft.tenant(id).map_err(|_| Problem::new(Code::NotFound).detail("there is no such tenant"))
}
