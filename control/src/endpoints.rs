//! What operators and tenants do to one endpoint besides changing it: switch it off and on, cancel what waits for it.

use std::sync::Arc;

use schemas::{Endpoint, EndpointState, time::Moment};
use store::{Author, Draft, Edit, EditError, Edited, Kind, Reach, Refused};

use crate::Control;

impl Control {
    /// Switches an endpoint off: its deliveries end as dead letters, which can be replayed. Tells the tenant, if it was
    /// on.
    ///
    /// # Errors
    /// When there is none, or the store cannot be changed.
    pub async fn disable_endpoint(
        self: &Arc<Self>,
        tenant: &str,
        id: &str,
        reason: Option<String>,
        author: Author,
    ) -> Result<Edited, EditError> {
        let why = reason.clone();
        let edited = self.edit_endpoint(tenant, id, author, move |endpoint| {
            endpoint.state = EndpointState::Disabled;
            endpoint.disabled_reason = reason;
        });
        let edited = edited.await?;
        if !edited.changes.is_empty() {
            self.endpoint_disabled(tenant, id, edited.revision, why.as_deref());
        }
        Ok(edited)
    }

    /// Switches an endpoint on again.
    ///
    /// # Errors
    /// When there is none, or the store cannot be changed.
    pub async fn enable_endpoint(&self, tenant: &str, id: &str, author: Author) -> Result<Edited, EditError> {
        let enable = |endpoint: &mut Endpoint| {
            endpoint.state = EndpointState::Active;
            endpoint.disabled_reason = None;
        };
        self.edit_endpoint(tenant, id, author, enable).await
    }

    /// Cancels what was accepted until now and waits for an endpoint, wherever it waits: it ends as dead letter
    /// `cancelled` once its turn comes.
    ///
    /// # Errors
    /// When there is none, or the store cannot be changed.
    pub async fn cancel_waiting(&self, tenant: &str, id: &str, author: Author) -> Result<Edited, EditError> {
        let now = Moment((self.world.clock)());
        // A clock that was put back cancels no less than before.
        let cancel =
            move |endpoint: &mut Endpoint| endpoint.cancelled_before = endpoint.cancelled_before.max(Some(now));
        self.edit_endpoint(tenant, id, author, cancel).await
    }

    async fn edit_endpoint(
        &self,
        tenant: &str,
        id: &str,
        author: Author,
        change: impl FnOnce(&mut Endpoint) + Send + 'static,
    ) -> Result<Edited, EditError> {
        let (of, id) = (tenant.to_owned(), id.to_owned());
        let decision = move |draft: &mut Draft| {
            let endpoints = &mut draft.tenant(&of)?.endpoints;
            let endpoint = endpoints.iter_mut().find(|endpoint| endpoint.id == id);
            change(endpoint.ok_or(Refused::NoSuch(Kind::Endpoint))?);
            Ok(())
        };
        let reach = Reach::Tenants(vec![tenant.to_owned()]);
        let edit = Edit { reach, author, at: (self.world.clock)(), dry_run: false, decision: Box::new(decision) };
        self.world.store.edit(edit).await
    }
}
