//! Who may act for a tenant: what a caller presents against what is configured.
//!
//! [`access`] decides, without I/O; [`admit`] asks the store once before it refuses. What a refusal looks like on the
//! wire is the callers' business.

use std::sync::Arc;

use schemas::{KeyHash, Scope};

use crate::{Snapshot, Store, StoreError, TenantSnapshot};

/// Leave to act for a tenant.
#[derive(Clone, Debug)]
pub struct Access {
    /// For whom.
    pub tenant: Arc<TenantSnapshot>,
    /// Who.
    pub principal: Principal,
}

/// Who acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// The operator, who may do everything.
    Operator,
    /// The tenant's key of this id.
    Key(String),
}

/// Why somebody may not.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Denied {
    /// Nothing, or nothing we know, was presented.
    #[error("no key, or a wrong one")]
    Unauthenticated,
    /// The key is the tenant's, and does not allow this.
    #[error("the key lacks the scope `{}`", name(*.0))]
    Scope(Scope),
    /// To the caller there is no such tenant: it is unknown, or another's.
    #[error("there is no such tenant")]
    NoSuchTenant,
    /// It cannot be known now: the store could not be asked.
    #[error("what is configured cannot be read: {0}")]
    Away(StoreError),
}

/// As configurations consecutive_opens it.
fn name(scope: Scope) -> &'static str {
    match scope {
        Scope::Publish => "publish",
        Scope::Read => "read",
        Scope::Manage => "manage",
    }
}

/// Whether `presented` may do what needs `scope` for `tenant` at `now` (unix ms). Keys are compared by their hashes, so that the time it
/// takes tells nothing.
///
/// # Errors
/// Why not, as far as this snapshot knows.
pub fn access(
    snapshot: &Snapshot,
    operator: Option<KeyHash>,
    presented: Option<&str>,
    tenant: &str,
    scope: Scope,
    now: u64,
) -> Result<Access, Denied> {
    let presented = presented.ok_or(Denied::Unauthenticated)?;
    if operator == Some(KeyHash::of(presented)) {
        let tenant = snapshot.tenant(tenant).ok_or(Denied::NoSuchTenant)?;
        return Ok(Access { tenant: tenant.clone(), principal: Principal::Operator });
    }
    let (owner, key) = snapshot.key(presented, now).ok_or(Denied::Unauthenticated)?;
    if owner.id != tenant {
        return Err(Denied::NoSuchTenant);
    }
    if !key.scopes.contains(&scope) {
        return Err(Denied::Scope(scope));
    }
    Ok(Access { tenant: owner.clone(), principal: Principal::Key(key.id.clone()) })
}

/// [`access`] by the store's snapshot; pulls once before it refuses, since key, scope or tenant may be new.
///
/// # Errors
/// Why not.
pub async fn admit(
    store: &dyn Store,
    operator: Option<KeyHash>,
    presented: Option<&str>,
    tenant: &str,
    scope: Scope,
    now: u64,
) -> Result<Access, Denied> {
    let decide = || match store.snapshot() {
        Some(snapshot) => access(&snapshot, operator, presented, tenant, scope, now),
        None => Err(Denied::Away(StoreError("nothing was read yet".to_owned()))),
    };
    match decide() {
        Ok(access) => Ok(access),
        Err(denied) if presented.is_none() => Err(denied),
        Err(_) => {
            store.pull().await.map_err(Denied::Away)?;
            decide()
        }
    }
}

#[cfg(test)]
mod tests;
