//! What of a tenant's history is its own, and is shown.

use history::tenant_scope;
use schemas::Span;
use store::TenantSnapshot;

/// The tenant's name in history.
pub(crate) fn scope_of(tenant: &TenantSnapshot) -> String {
    tenant_scope(&tenant.id, tenant.created())
}

/// From when on a tenant's records and bodies are shown, in unix milliseconds: what it does not keep any longer is hidden at
/// once, and removed later.
pub(crate) struct ShownSince {
    pub(crate) records: u64,
    pub(crate) bodies: u64,
}

impl ShownSince {
    pub(crate) fn of(tenant: &TenantSnapshot, now: u64) -> Self {
        let since = |age: Option<Span>| age.map_or(0, |age| now.saturating_sub(age.millis()));
        let retention = tenant.retention.unwrap_or_default();
        let records = since(retention.history);
        Self { records, bodies: since(retention.bodies).max(records) }
    }
}
