//! Applies a description to a draft, item by item. Every mistake is reported with its place in the description.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use schemas::{Endpoint, Key, Quota, SourceConfig, Strictness, Subscription, Tenant, Warning};
use serde_json::Value;
use service::problem::{Code, Problem};
use store::{Draft, FieldPath, ItemKind, PathSegment, Snapshot, validate};

use super::positions::{Positions, ProblemCollector, pointer_of};
use crate::{
    http::{
        resource::kept_fields,
        tenant_item::TenantItem,
        write::{no_randomness, not_removable, typed},
    },
    settings::{self, Generator, LISTS, Object, Rules, list_name},
};

pub(super) struct Apply {
    pub(super) tenants: Vec<Value>,
    pub(super) prune: bool,
    pub(super) strictness: Strictness,
    /// The one tenant that may be changed. None: all.
    pub(super) only: Option<String>,
    pub(super) rules: Rules,
    pub(super) generator: Generator,
    pub(super) snapshot: Arc<Snapshot>,
}

/// Something that was made, and is shown this once.
#[derive(serde::Serialize, schemars::JsonSchema)]
pub(super) struct ShownOnce {
    /// Id of the tenant.
    tenant: String,
    /// `source` or `key`.
    kind: &'static str,
    /// Id of the source or key.
    id: String,
    /// Name of what is shown: `token`, `path` or `key`.
    field: String,
    /// What is shown.
    value: Value,
}

/// One tenant of the description, as it would be after the apply.
struct DescribedTenant {
    before: Tenant,
    after: Tenant,
    positions: Positions,
}

/// Largest number of warnings in an answer.
const MAX_WARNINGS: usize = 100;

impl DescribedTenant {
    /// Returns what is probably a mistake in the described items, with their places in the description.
    fn warnings(&self, place: &str) -> Vec<Warning> {
        let mut warnings = self.warnings_of::<Subscription>(place);
        warnings.extend(self.warnings_of::<SourceConfig>(place));
        warnings
    }

    fn warnings_of<T: TenantItem>(&self, place: &str) -> Vec<Warning> {
        let described = T::list(&self.after).iter().enumerate().filter_map(|(at, item)| {
            let pointer = self.positions.pointer(T::KIND, at);
            (!pointer.is_empty()).then(|| (item, place.to_owned() + &pointer))
        });
        let warnings = described.flat_map(|(item, pointer)| {
            let warnings = TenantItem::warnings(item, &self.after).into_iter();
            warnings.map(move |warning| warning.within(&pointer))
        });
        warnings.collect()
    }
}

impl Apply {
    /// Decides on a draft of all tenants. Returns the secrets that are shown only once, and the warnings.
    pub(super) fn decide(mut self, draft: &mut Draft) -> Result<(Vec<ShownOnce>, Vec<Warning>), Problem> {
        if self.prune && self.tenants.is_empty() {
            // An empty description most likely comes from a folder that was not mounted or a file that was cut short.
            let message = "there are none: with prune that would delete everything";
            return Err(Problem::new(Code::InvalidBody).error("/tenants", message));
        }
        let (mut problems, mut shown_once, mut described) = (ProblemCollector::default(), Vec::new(), Vec::new());
        for (at, tenant) in std::mem::take(&mut self.tenants).into_iter().enumerate() {
            problems.enter(format!("/tenants/{at}"));
            if let Some(tenant) = self.tenant(tenant, draft, &mut problems, &mut shown_once)? {
                if let Some(only) = self.only.as_ref().filter(|only| **only != tenant.after.id) {
                    problems.add("/id", &format!("is another tenant than {only}, the only one to change"));
                }
                described.push(tenant);
            }
        }
        problems.finish()?;
        self.check(&described)?;
        let warnings = described.iter().enumerate().flat_map(|(at, tenant)| tenant.warnings(&format!("/tenants/{at}")));
        let warnings: Vec<_> = warnings.take(MAX_WARNINGS).collect();
        if self.strictness.refuses(&warnings) {
            return Err(Problem::warned(&warnings));
        }
        if !self.others_stay() {
            let kept: HashSet<_> = described.iter().map(|tenant| tenant.after.id.clone()).collect();
            let removed: Vec<_> = draft.tenants().keys().filter(|id| !kept.contains(*id)).cloned().collect();
            for id in removed {
                draft.remove(&id);
            }
        }
        for tenant in described {
            draft.put(tenant.after);
        }
        Ok((shown_once, warnings))
    }

    /// True when the tenants that are not described stay as they are.
    fn others_stay(&self) -> bool {
        !self.prune || self.only.is_some()
    }

    /// Reads one tenant. Returns none when a mistake in it hides the rest.
    fn tenant(
        &self,
        described: Value,
        draft: &Draft,
        problems: &mut ProblemCollector,
        shown_once: &mut Vec<ShownOnce>,
    ) -> Result<Option<DescribedTenant>, Problem> {
        let Value::Object(mut fields) = described else {
            problems.add("", "expected keys and values");
            return Ok(None);
        };
        let [endpoints, subscriptions, sources, keys] = LISTS.map(|kind| {
            let name = list_name(kind);
            match fields.shift_remove(name) {
                None | Some(Value::Null) => Vec::new(),
                Some(Value::Array(items)) => items,
                Some(_) => {
                    problems.add(&format!("/{name}"), "expected a list");
                    Vec::new()
                }
            }
        });
        let head: Tenant = match typed(fields) {
            Ok(head) => head,
            Err(problem) => {
                problems.add_problem(&problem, "");
                return Ok(None);
            }
        };
        let before = draft.tenants().get(&head.id).cloned().unwrap_or_else(|| Tenant::new(&head.id));
        let quota = head.quota.filter(|quota| *quota != Quota::default());
        let after = Tenant { name: head.name, quota, retention: head.retention, ..before.clone() };
        let mut tenant = DescribedTenant { before, after, positions: Positions::default() };
        self.list::<Endpoint>(endpoints, &mut tenant, problems, shown_once)?;
        self.list::<Subscription>(subscriptions, &mut tenant, problems, shown_once)?;
        self.list::<SourceConfig>(sources, &mut tenant, problems, shown_once)?;
        self.list::<Key>(keys, &mut tenant, problems, shown_once)?;
        Ok(Some(tenant))
    }

    fn list<T: TenantItem>(
        &self,
        items: Vec<Value>,
        tenant: &mut DescribedTenant,
        problems: &mut ProblemCollector,
        shown_once: &mut Vec<ShownOnce>,
    ) -> Result<(), Problem> {
        let mut list = std::mem::take(T::list_mut(&mut tenant.after));
        let mut positions: Vec<Option<usize>> = vec![None; list.len()];
        let mut by_id: HashMap<_, _> = list.iter().enumerate().map(|(at, item)| (item.id().to_owned(), at)).collect();
        for (index, item) in items.into_iter().enumerate() {
            let place = format!("/{}/{index}", list_name(T::KIND));
            let at = item["id"].as_str().and_then(|id| by_id.get(id).copied());
            let item = match self.item(item, at.map(|at| &list[at]), &tenant.after.id, shown_once) {
                Ok(item) => item,
                Err(problem) if problem.code == Code::Internal => return Err(problem),
                Err(problem) => {
                    problems.add_problem(&problem, &place);
                    continue;
                }
            };
            match at {
                Some(at) if positions[at].is_some() => problems.add(&format!("{place}/id"), "the id is used twice"),
                Some(at) => (list[at], positions[at]) = (item, Some(index)),
                None => {
                    by_id.insert(item.id().to_owned(), list.len());
                    list.push(item);
                    positions.push(Some(index));
                }
            }
        }
        if self.prune {
            let mut described = positions.iter();
            list.retain(|_| described.next().is_some_and(Option::is_some));
            positions.retain(Option::is_some);
        }
        tenant.positions.set(T::KIND, positions);
        *T::list_mut(&mut tenant.after) = list;
        Ok(())
    }

    fn item<T: TenantItem>(
        &self,
        item: Value,
        old: Option<&T>,
        tenant: &str,
        shown_once: &mut Vec<ShownOnce>,
    ) -> Result<T, Problem> {
        let Value::Object(body) = item else {
            return Err(Problem::new(Code::InvalidBody).error("", "expected keys and values"));
        };
        let stored = old.map(T::reveal);
        let mut fields = settings::replaced(&kept_fields::<T>(), stored.as_ref(), body).map_err(not_removable)?;
        let generated = match old {
            Some(_) => Object::new(),
            None => T::generate_applied(&mut fields, &self.generator).map_err(no_randomness)?,
        };
        let mut item: T = typed(fields)?;
        item.normalize(old, &self.rules, None)?;
        let shown = generated.into_iter().map(|(field, value)| ShownOnce {
            tenant: tenant.to_owned(),
            kind: T::KIND.name(),
            id: item.id().to_owned(),
            field,
            value,
        });
        shown_once.extend(shown);
        Ok(item)
    }

    /// Checks the whole result: the store's checks, quotas, fan-outs, and clashes with other tenants.
    fn check(&self, described: &[DescribedTenant]) -> Result<(), Problem> {
        let mut problems = ProblemCollector::default();
        let after: Vec<_> = described.iter().map(|tenant| tenant.after.clone()).collect();
        for found in validate::tenants(&after) {
            problems.enter(String::new());
            let (pointer, message) = locate(found, described);
            problems.add(&pointer, &message);
        }
        for (at, tenant) in described.iter().enumerate() {
            problems.enter(format!("/tenants/{at}"));
            if let Err(problem) = settings::check_limits(&tenant.before, &tenant.after, &self.rules) {
                problems.add_problem(&problem, "");
            }
            self.check_clashes::<SourceConfig>(tenant, described, &mut problems);
            self.check_clashes::<Key>(tenant, described, &mut problems);
        }
        problems.finish()
    }

    /// Compares a tenant with those that are not described. The store's checks compare the described ones.
    fn check_clashes<T: TenantItem>(
        &self,
        tenant: &DescribedTenant,
        described: &[DescribedTenant],
        problems: &mut ProblemCollector,
    ) {
        let is_other = |id: &str| self.others_stay() && !described.iter().any(|tenant| tenant.after.id == id);
        for (at, item) in T::list(&tenant.after).iter().enumerate() {
            if item.owners(&self.snapshot).iter().any(|(owner, _)| is_other(owner)) {
                problems.add(&tenant.positions.pointer(T::KIND, at), "it is already used, by something else");
            }
        }
    }
}

/// Returns the place in the description of a problem with the whole, and its message. When two items clash, the
/// described one gets the problem. The other one has no place in the description, so the message names it.
fn locate(found: store::InvalidField, described: &[DescribedTenant]) -> (String, String) {
    let pointer = |path: &FieldPath| pointer_of(path, |at| described.get(at).map(|tenant| &tenant.positions));
    let store::InvalidField { path, message, other } = found;
    let (path, other) = match other {
        Some(other) if pointer(&path).is_none() && pointer(&other).is_some() => (other, Some(path)),
        other => (path, other),
    };
    let message = match other {
        Some(other) => format!("{message} {}", pointer(&other).unwrap_or_else(|| undescribed(&other, described))),
        None => message,
    };
    match pointer(&path) {
        Some(pointer) => (pointer, message),
        None => (FieldPath(path.0[..2].to_vec()).pointer(), format!("{}: {message}", undescribed(&path, described))),
    }
}

/// Names an item that a tenant has and its description has not.
fn undescribed(FieldPath(steps): &FieldPath, described: &[DescribedTenant]) -> String {
    let named = || {
        let [_, PathSegment::Index(tenant), PathSegment::Key(list), PathSegment::Index(at), ..] = steps.as_slice()
        else {
            return None;
        };
        let tenant = &described.get(*tenant)?.after;
        let kind = LISTS.into_iter().find(|kind| list_name(*kind) == *list)?;
        let id = match kind {
            ItemKind::Tenant => None,
            ItemKind::Endpoint => tenant.endpoints.get(*at).map(TenantItem::id),
            ItemKind::Subscription => tenant.subscriptions.get(*at).map(TenantItem::id),
            ItemKind::Source => tenant.sources.get(*at).map(TenantItem::id),
            ItemKind::Key => tenant.keys.get(*at).map(TenantItem::id),
        };
        Some(format!("the {} {} of {}, which is not described", kind.name(), id?, tenant.id))
    };
    named().unwrap_or_else(|| "something that is not described".to_owned())
}
