//! Checks a presented key against the configured ones, to decide whether its sender may act for a tenant.
//!
//! [`access`] decides without I/O. [`admit`] reads the store once more before it refuses. Callers turn a refusal into
//! an HTTP answer.

use std::sync::Arc;

use schemas::{KeyHash, Scope};

use crate::{Snapshot, Store, StoreError, TenantSnapshot};

#[derive(Clone, Debug)]
pub struct Access {
    pub tenant: Arc<TenantSnapshot>,
    pub principal: Principal,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// The operator, who may do everything for every tenant.
    Operator,
    /// The tenant's key of this id.
    Key(String),
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum Denied {
    #[error("no key, or a wrong one")]
    Unauthenticated,
    #[error("the key lacks the scope `{}`", name(*.0))]
    Scope(Scope),
    /// The operator asks for a tenant that does not exist.
    #[error("there is no tenant `{0}`")]
    NoSuchTenant(String),
    /// The key belongs to another tenant. Whether there is a tenant of the requested name is not told.
    #[error("this key is of another tenant than the path names")]
    OtherTenant,
    /// The store could not be read, so the key may be valid.
    #[error("what is configured cannot be read: {0}")]
    Away(StoreError),
}

fn name(scope: Scope) -> &'static str {
    match scope {
        Scope::Publish => "publish",
        Scope::Read => "read",
        Scope::Manage => "manage",
    }
}

/// Decides whether `presented` gives `scope` for `tenant` at `now`, in unix milliseconds. Keys are compared by their
/// hashes, so that the duration of a comparison reveals nothing about a key.
pub fn access(
    snapshot: &Snapshot,
    operator: Option<KeyHash>,
    presented: Option<&str>,
    tenant: &str,
    scope: Scope,
    now: u64,
) -> Result<Access, Denied> {
    let presented = KeyHash::of(presented.ok_or(Denied::Unauthenticated)?);
    if operator == Some(presented) {
        let tenant = snapshot.tenant(tenant).ok_or_else(|| Denied::NoSuchTenant(tenant.to_owned()))?;
        return Ok(Access { tenant: tenant.clone(), principal: Principal::Operator });
    }
    let (owner, key) = snapshot.key_of_hash(&presented, now).ok_or(Denied::Unauthenticated)?;
    if owner.id != tenant {
        return Err(Denied::OtherTenant);
    }
    if !key.scopes.contains(&scope) {
        return Err(Denied::Scope(scope));
    }
    Ok(Access { tenant: owner.clone(), principal: Principal::Key(key.id.clone()) })
}

/// Decides by the store's snapshot. Pulls once before it refuses, because the key, scope or tenant may be new.
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
