//! A decision about the configuration, carried out by the store, whose refusals are problems.

use std::sync::Arc;

use schemas::EndpointState;
use service::problem::{Code, Problem};
use store::{Author, Draft, Edit, EditRefusal, Edited, Item, ItemChange, TenantSelection};
use tokio::sync::oneshot;

use super::denied;
use crate::{Control, settings};

/// How many items a log line names.
const NAMED: usize = 20;

/// Who wants a change, and of what.
pub(crate) struct Wish {
    pub(crate) selection: TenantSelection,
    pub(crate) author: Author,
    /// Only say what would change.
    pub(crate) dry_run: bool,
}

impl Wish {
    /// A change of one tenant.
    pub(crate) fn of(tenant: &str, author: Author) -> Self {
        Self { selection: TenantSelection::Tenants(vec![tenant.to_owned()]), author, dry_run: false }
    }
}

impl Control {
    /// Decides on a draft, all or nothing; what the decision finds goes into the answer.
    pub(crate) async fn change<T: Send + 'static>(
        self: &Arc<Self>,
        wish: Wish,
        decide: impl FnOnce(&mut Draft) -> Result<T, Problem> + Send + 'static,
    ) -> Result<(T, Edited), Problem> {
        let (sender, mut receiver) = oneshot::channel();
        let decision = Box::new(move |draft: &mut Draft| {
            let decided = decide(draft);
            // The store only needs to know that nothing is to be done; the problem itself goes another way.
            let verdict = decided.as_ref().map(|_| ()).map_err(|_| EditRefusal::Conflict(String::new()));
            let _ = sender.send(decided);
            verdict
        });
        let Wish { selection, author, dry_run } = wish;
        let (concerned, who) = (selection.clone(), author.clone());
        let edit = Edit { selection, author, at: (self.deps.clock)(), dry_run, decision };
        let edited = self.deps.store.edit(edit).await;
        match (edited, receiver.try_recv()) {
            (Ok(edited), Ok(Ok(decided))) => {
                if !dry_run {
                    log(&who, &edited);
                    self.tell_of_disabled(&edited);
                }
                Ok((decided, edited))
            }
            (Err(store::EditError::Refused(_)), Ok(Err(problem))) => {
                if !dry_run {
                    self.tell_of_quota(&concerned, &problem);
                }
                Err(problem)
            }
            (Err(error), _) => Err(denied::not_edited(error)),
            (Ok(_), _) => Err(Code::Internal.into()),
        }
    }
}

impl Control {
    /// Tenants are told of each endpoint that is posted to no more, by whichever call.
    fn tell_of_disabled(self: &Arc<Self>, edited: &Edited) {
        for change in &edited.changes {
            if let (Some(Item::Endpoint(before)), Some(Item::Endpoint(after))) = (&change.before, &change.after)
                && (before.state, after.state) == (EndpointState::Active, EndpointState::Disabled)
            {
                self.endpoint_disabled(&change.tenant, &after.id, edited.revision, after.disabled_reason.as_deref());
            }
        }
    }

    /// A tenant that wanted more of something than it may have is told, besides whoever asked for it.
    fn tell_of_quota(self: &Arc<Self>, concerned: &TenantSelection, problem: &Problem) {
        let (Some(name), TenantSelection::Tenants(ids), Some(snapshot)) =
            (settings::reached(problem), concerned, self.deps.store.snapshot())
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

/// One line for each call that changed something. What exactly was changed is in the audit log.
fn log(author: &Author, edited: &Edited) {
    let Some(first) = edited.changes.first() else { return };
    let tenant = Some(&first.tenant).filter(|tenant| edited.changes.iter().all(|change| change.tenant == **tenant));
    let items: Vec<_> = edited.changes.iter().take(NAMED).map(named).collect();
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

/// As `create endpoint/crm`.
fn named(change: &ItemChange) -> String {
    let (verb, item) = match (&change.before, &change.after) {
        (None, Some(item)) => ("create", item),
        (Some(_), Some(item)) => ("update", item),
        (Some(item), None) => ("delete", item),
        (None, None) => return String::new(),
    };
    format!("{verb} {}/{}", item.kind().name(), item.id())
}

/// A tenant of a draft.
pub(crate) fn tenant<'a>(draft: &'a mut Draft, id: &str) -> Result<&'a mut schemas::Tenant, Problem> {
    draft.tenant(id).map_err(|_| Problem::new(Code::NotFound).detail("there is no such tenant"))
}
