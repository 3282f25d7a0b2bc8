//! Validates a changed tenant beyond its types: the store's own checks, its quota, and the fan-out of one event.

use ipnet::IpNet;
use schemas::{Quota, Tenant};
use service::problem::{Code, Problem};
use store::{FieldPath, ItemKind, PathSegment, validate};

use super::{fan_out, quota};

#[derive(Clone, Debug)]
pub struct Rules {
    /// Private networks in which endpoints are allowed nevertheless.
    pub networks: Vec<IpNet>,
    /// Most deliveries that one event may make.
    pub max_fan_out: usize,
    /// Quota of a tenant in whatever its own quota leaves open.
    pub quota: Quota,
}

/// The item that a request is about. Problems with this item point into the request's body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProblemScope {
    pub(crate) kind: ItemKind,
    /// Index in the tenant's list; 0 for the tenant itself.
    pub(crate) index: usize,
}

/// Checks a changed tenant.
///
/// # Errors
/// Every problem that the store's checks find or, when there is none, the first one that the operator's rules find.
pub(crate) fn check(before: &Tenant, after: &Tenant, scope: ProblemScope, rules: &Rules) -> Result<(), Problem> {
    let found = validate::tenant(after);
    if !found.is_empty() {
        let problem = Problem::new(Code::InvalidBody);
        return Err(found.iter().fold(problem, |problem, found| match scope.pointer(&found.path) {
            Some(pointer) => problem.error(pointer, message(found)),
            None => problem.error("", found.to_string()),
        }));
    }
    check_limits(before, after, rules).map_err(|mut problem| {
        let pointer = match scope.kind {
            ItemKind::Subscription if problem.detail.as_deref() == Some(FAN_OUT) => "/event_types",
            ItemKind::Endpoint if problem.detail.as_deref() == Some(FAN_OUT) => "/format",
            _ => "",
        };
        problem.errors.iter_mut().for_each(|error| pointer.clone_into(&mut error.pointer));
        problem
    })
}

/// Name of the setting that bounds how many deliveries one event makes.
const FAN_OUT: &str = "router.max_fan_out";

/// Checks how much a changed tenant has. An excess that existed before is not refused.
///
/// # Errors
/// The tenant has more than its quota allows, or one event could make too many deliveries.
pub(crate) fn check_limits(before: &Tenant, after: &Tenant, rules: &Rules) -> Result<(), Problem> {
    quota::check(before, after, rules.quota)?;
    if fan_out::exceeds(after, rules.max_fan_out) && !fan_out::exceeds(before, rules.max_fan_out) {
        let message = format!("one event could make more than {} deliveries", rules.max_fan_out);
        return Err(Problem::new(Code::QuotaReached).detail(FAN_OUT).error("", message));
    }
    Ok(())
}

/// Returns the message of a problem, followed by the other field that it is about.
fn message(found: &store::InvalidField) -> String {
    match &found.other {
        Some(other) => format!("{} {other}", found.message),
        None => found.message.clone(),
    }
}

/// The kinds of items that a tenant has lists of.
pub(crate) const LISTS: [ItemKind; 4] = [ItemKind::Endpoint, ItemKind::Subscription, ItemKind::Source, ItemKind::Key];

pub(crate) fn list_name(kind: ItemKind) -> &'static str {
    match kind {
        ItemKind::Tenant => "tenants",
        ItemKind::Endpoint => "endpoints",
        ItemKind::Subscription => "subscriptions",
        ItemKind::Source => "sources",
        ItemKind::Key => "keys",
    }
}

impl ProblemScope {
    /// Translates a path within the tenant to a pointer into the body.
    fn pointer(self, FieldPath(steps): &FieldPath) -> Option<String> {
        if self.kind == ItemKind::Tenant {
            return Some(FieldPath(steps.clone()).pointer());
        }
        match steps.as_slice() {
            [PathSegment::Key(list), PathSegment::Index(index), rest @ ..]
                if *list == list_name(self.kind) && *index == self.index =>
            {
                Some(FieldPath(rest.to_vec()).pointer())
            }
            _ => None,
        }
    }
}
