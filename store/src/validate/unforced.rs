//! What is accepted and checked, but has no effect in this version.

use schemas::Tenant;

use crate::problem::{Problem, Report};

/// Every field that is set to something else than its default and has no effect yet, so that nobody relies on it.
/// A warning, not an error: a configuration may be written for the version that comes.
pub fn not_in_force(tenants: &[Tenant]) -> Vec<Problem> {
    let mut report = Report::default();
    report.list("tenants", tenants, |tenant, report| {
        // Whoever writes the files sets both the number and its bound.
        let endpoints = tenant.quota.is_some_and(|quota| quota.endpoints.is_some());
        report.key("quota", |report| set(report, "endpoints", endpoints));
    });
    report.done()
}

fn set(report: &mut Report, key: &'static str, is_set: bool) {
    if is_set {
        report.key(key, |report| report.say("is accepted, but not in force in this version"));
    }
}
