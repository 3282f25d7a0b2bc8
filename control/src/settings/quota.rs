//! Bounds how many endpoints, subscriptions, sources and keys a tenant may have. The tenant's own quota takes
//! precedence over the operator's. A tenant that already has more keeps them.

use schemas::{Quota, QuotaName, Tenant};
use service::problem::{Code, Problem};

/// Quotas that bound the length of a list.
const LISTS: [QuotaName; 4] = [QuotaName::Endpoints, QuotaName::Subscriptions, QuotaName::Sources, QuotaName::Keys];

/// Returns how many items a tenant may have. None means any number, also for quotas that bound no list.
pub(crate) fn allowed(own: Quota, for_all: Quota, name: QuotaName) -> Option<u64> {
    let of = |quota: Quota| match name {
        QuotaName::Endpoints => quota.endpoints,
        QuotaName::Subscriptions => quota.subscriptions,
        QuotaName::Sources => quota.sources,
        QuotaName::Keys => quota.keys,
        QuotaName::EventsPerSecond | QuotaName::DeadLetters | QuotaName::DeadLetterBytes => None,
    };
    of(own).or_else(|| of(for_all))
}

/// Checks the lengths of a tenant's lists.
///
/// # Errors
/// A list is too long, and longer than it was before. The error names the first such list.
pub(super) fn check(before: &Tenant, after: &Tenant, for_all: Quota) -> Result<(), Problem> {
    for name in LISTS {
        let allowed = allowed(after.quota.unwrap_or_default(), for_all, name).unwrap_or(u64::MAX);
        let [was, is] = [before, after].map(|tenant| count(tenant, name));
        if is as u64 > allowed && is > was {
            let message = format!("the tenant may have {allowed} {}", name.as_str());
            return Err(Problem::new(Code::QuotaReached).detail(detail(name)).error("", message));
        }
    }
    Ok(())
}

/// Returns the quota that a problem reports as reached.
pub(crate) fn reached(problem: &Problem) -> Option<QuotaName> {
    LISTS.into_iter().find(|name| problem.code == Code::QuotaReached && problem.detail == Some(detail(*name)))
}

/// Names the quota in a problem by the key under which it is configured.
fn detail(name: QuotaName) -> String {
    format!("quota.{}", name.as_str())
}

fn count(tenant: &Tenant, name: QuotaName) -> usize {
    match name {
        QuotaName::Endpoints => tenant.endpoints.len(),
        QuotaName::Subscriptions => tenant.subscriptions.len(),
        QuotaName::Sources => tenant.sources.len(),
        QuotaName::Keys => tenant.keys.len(),
        QuotaName::EventsPerSecond | QuotaName::DeadLetters | QuotaName::DeadLetterBytes => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tenant with this many keys and this quota of keys.
    fn tenant(keys: usize, quota: Option<u64>) -> Tenant {
        let key = |nth: usize| {
            let hash = schemas::KeyHash::of(&nth.to_string());
            serde_json::json!({"id": format!("k{nth}"), "scopes": ["read"], "hash": String::from(hash)})
        };
        let keys = (0..keys).map(|nth| serde_json::from_value(key(nth)).unwrap()).collect();
        Tenant { quota: Some(Quota { keys: quota, ..Quota::default() }), keys, ..Tenant::new("acme") }
    }

    #[test]
    fn a_tenants_own_quota_overrides_the_default_whichever_is_larger() {
        let for_all = Quota { keys: Some(2), ..Quota::default() };
        let table = [(None, 2, true), (None, 3, false), (Some(3), 3, true), (Some(1), 2, false)];
        for (own, keys, may) in table {
            let checked = check(&Tenant::new("acme"), &tenant(keys, own), for_all);
            assert_eq!(checked.is_ok(), may, "{keys} of {own:?}");
            assert!(checked.err().is_none_or(|problem| reached(&problem) == Some(QuotaName::Keys)));
        }
        check(&Tenant::new("acme"), &tenant(500, None), Quota::default()).unwrap();
    }

    #[test]
    fn a_tenant_with_more_than_its_quota_keeps_them_and_adds_none() {
        let before = tenant(5, None);
        for (keys, may) in [(5, true), (4, true), (6, false)] {
            assert_eq!(check(&before, &tenant(keys, Some(1)), Quota::default()).is_ok(), may, "{keys}");
        }
    }
}
