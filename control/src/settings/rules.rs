//! What a changed tenant must be, beyond its types: the store's own checks, its quota, and the fan-out of one event.

use ipnet::IpNet;
use schemas::{Quota, Tenant};
use service::problem::{Code, Problem};
use store::{FieldPath, ItemKind, PathSegment, validate};

use super::{fan_out, quota};

/// What the operator allows.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Networks that endpoints may be in although they are private.
    pub networks: Vec<IpNet>,
    /// Deliveries that one event may make.
    pub max_fan_out: usize,
    /// What a tenant may have, as far as its own quota does not say.
    pub quota: Quota,
}

/// The thing that a request is about: problems with it are told with pointers into the body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Focus {
    pub(crate) kind: ItemKind,
    /// Its place in the tenant's list; 0 of the tenant itself.
    pub(crate) index: usize,
}

/// Whether a tenant may become so.
///
/// # Errors
/// Every problem that the store's checks find, else the first that the operator's rules find.
pub(crate) fn check(before: &Tenant, after: &Tenant, focus: Focus, rules: &Rules) -> Result<(), Problem> {
    let found = validate::tenant(after);
    if !found.is_empty() {
        let problem = Problem::new(Code::InvalidBody);
        return Err(found.iter().fold(problem, |problem, found| match focus.pointer(&found.path) {
            Some(pointer) => problem.error(pointer, whole(found)),
            None => problem.error("", found.to_string()),
        }));
    }
    check_limits(before, after, rules).map_err(|mut problem| {
        let pointer = match focus.kind {
            ItemKind::Subscription if problem.detail.as_deref() == Some(FAN_OUT) => "/event_types",
            ItemKind::Endpoint if problem.detail.as_deref() == Some(FAN_OUT) => "/format",
            _ => "",
        };
        problem.errors.iter_mut().for_each(|error| pointer.clone_into(&mut error.pointer));
        problem
    })
}

/// The setting that bounds how many deliveries one event makes.
const FAN_OUT: &str = "router.max_fan_out";

/// Whether a tenant may have so much.
///
/// # Errors
/// More of something than its quota allows, or subscriptions with which one event makes too many deliveries; as far as it was not
/// so before.
pub(crate) fn check_limits(before: &Tenant, after: &Tenant, rules: &Rules) -> Result<(), Problem> {
    quota::check(before, after, rules.quota)?;
    if fan_out::exceeds(after, rules.max_fan_out) && !fan_out::exceeds(before, rules.max_fan_out) {
        let message = format!("one event could make more than {} deliveries", rules.max_fan_out);
        return Err(Problem::new(Code::QuotaReached).detail(FAN_OUT).error("", message));
    }
    Ok(())
}

/// The message with the name of the other place that it ends with.
fn whole(found: &store::InvalidField) -> String {
    match &found.other {
        Some(other) => format!("{} {other}", found.message),
        None => found.message.clone(),
    }
}

/// As the lists of a tenant are called.
pub(crate) fn list_name(kind: ItemKind) -> &'static str {
    match kind {
        ItemKind::Tenant => "tenants",
        ItemKind::Endpoint => "endpoints",
        ItemKind::Subscription => "subscriptions",
        ItemKind::Source => "sources",
        ItemKind::Key => "keys",
    }
}

impl Focus {
    /// The pointer into the body, for a path within the tenant.
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
