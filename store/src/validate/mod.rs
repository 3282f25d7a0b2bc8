//! Rules for a configuration beyond its types: pure checks that report every invalid field, not only the first one.
//!
//! The `file:` store, the API and `apply` share them. Paths are relative to the checked value.

mod access;
mod endpoint;
mod header;
mod id;
mod secret;
mod subscription;
mod unique;

#[cfg(test)]
mod tests;

use std::collections::HashSet;

use schemas::{Endpoint, Key, Quota, SourceConfig, Subscription, Tenant};

use crate::invalid_field::{InvalidField, ValidationReport};

/// Checks each tenant, and what must be unique among all of them.
pub fn tenants(tenants: &[Tenant]) -> Vec<InvalidField> {
    let mut report = ValidationReport::default();
    report.list("tenants", tenants, check_tenant);
    unique::among_tenants(tenants, &mut report);
    report.done()
}

/// Checks one tenant with all that belongs to it.
pub fn tenant(tenant: &Tenant) -> Vec<InvalidField> {
    checked(|report| check_tenant(tenant, report))
}

pub fn endpoint(endpoint: &Endpoint) -> Vec<InvalidField> {
    checked(|report| endpoint::check(endpoint, report))
}

/// Checks one subscription by itself. Whether its endpoint exists is checked by [`tenant`].
pub fn subscription(subscription: &Subscription) -> Vec<InvalidField> {
    checked(|report| subscription::check(subscription, report))
}

pub fn source(source: &SourceConfig) -> Vec<InvalidField> {
    checked(|report| access::check_source(source, report))
}

pub fn key(key: &Key) -> Vec<InvalidField> {
    checked(|report| access::check_key(key, report))
}

fn checked(check: impl FnOnce(&mut ValidationReport)) -> Vec<InvalidField> {
    let mut report = ValidationReport::default();
    check(&mut report);
    report.done()
}

fn check_tenant(tenant: &Tenant, report: &mut ValidationReport) {
    report.key("id", |report| id::check(&tenant.id, report));
    if let Some(quota) = &tenant.quota {
        report.key("quota", |report| check_quota(quota, report));
    }
    report.list("endpoints", &tenant.endpoints, endpoint::check);
    report.list("subscriptions", &tenant.subscriptions, subscription::check);
    report.list("sources", &tenant.sources, access::check_source);
    report.list("keys", &tenant.keys, access::check_key);
    unique::within_tenant(tenant, report);
    let endpoints: HashSet<_> = tenant.endpoints.iter().map(|endpoint| endpoint.id.as_str()).collect();
    report.list("subscriptions", &tenant.subscriptions, |subscription, report| {
        subscription::check_endpoint(subscription, &endpoints, report);
    });
}

fn check_quota(quota: &Quota, report: &mut ValidationReport) {
    if quota.events_per_second.is_some_and(|rate| !is_rate(rate)) {
        report.key("events_per_second", |report| report.add("must be more than 0"));
    }
}

/// A rate of 0 would switch something off where nobody sees it.
fn is_rate(rate: f64) -> bool {
    rate.is_finite() && rate > 0.0
}
