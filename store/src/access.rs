//! Who may act for a tenant: checks a presented key against the configured ones.
//!
//! [`access`] decides, without I/O; [`admit`] reads the store once more before it refuses. The callers turn a refusal
//! into an HTTP answer.

use std::sync::Arc;

use schemas::{KeyHash, Scope};

use crate::{Snapshot, Store, StoreError, TenantSnapshot};

/// Permission to act for a tenant.
#[derive(Clone, Debug)]
pub struct Access {
    pub tenant: Arc<TenantSnapshot>,
    pub principal: Principal,
}

/// Who presents a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// The operator, who may do everything for every tenant.
    Operator,
    /// One of the tenant's keys, by its id.
    Key(String),
}

/// Why a request is refused.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Denied {
    /// No key was presented, or an unknown one.
    #[error("no key, or a wrong one")]
    Unauthenticated,
    /// The tenant's key does not have the needed scope.
    #[error("the key lacks the scope `{}`", name(*.0))]
    Scope(Scope),
    /// The tenant is unknown, or another one than the key's: the caller is not told which.
    #[error("there is no such tenant")]
    NoSuchTenant,
    /// The store could not be read, so the answer is not known.
    #[error("what is configured cannot be read: {0}")]
    Away(StoreError),
}

/// The name of a scope in configurations.
fn name(scope: Scope) -> &'static str {
    match scope {
        Scope::Publish => "publish",
        Scope::Read => "read",
        Scope::Manage => "manage",
    }
}

/// Whether `presented` gives `scope` for `tenant` at `now`, in unix milliseconds. Keys are compared by their hashes, so
/// that the time this takes reveals nothing of a key.
///
/// # Errors
/// Why not, according to this snapshot.
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

/// Decides by the store's snapshot. Pulls once before it refuses, since the key, scope or tenant may be new.
///
/// # Errors
/// Why the request is refused.
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
