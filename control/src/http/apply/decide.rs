//! A description onto a draft: item by item, every mistake with its place in the description.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use schemas::{Endpoint, Key, Quota, SourceConfig, Subscription, Tenant};
use serde_json::Value;
use service::problem::{Code, Problem};
use store::{Draft, FieldPath, ItemKind, PathSegment, Snapshot, validate};

use super::places::{self, Complaints, Places};
use crate::{
    http::{
        resource::{Resource, no_chance},
        write::{not_removable, typed},
    },
    settings::{self, Maker, Object, Rules, list_name},
};

/// What is wanted.
pub(super) struct Apply {
    pub(super) tenants: Vec<Value>,
    pub(super) prune: bool,
    pub(super) rules: Rules,
    pub(super) maker: Maker,
    pub(super) snapshot: Arc<Snapshot>,
}

/// Something that was made, and is shown this once.
#[derive(serde::Serialize, schemars::JsonSchema)]
pub(super) struct ShownOnce {
    tenant: String,
    /// `source` or `key`.
    kind: &'static str,
    id: String,
    /// `token`, `path` or `key`.
    field: String,
    value: Value,
}

/// One tenant of the description, while it is put together.
struct Described {
    before: Tenant,
    after: Tenant,
    places: Places,
}

impl Apply {
    /// Decides on a draft of all tenants.
    pub(super) fn decide(mut self, draft: &mut Draft) -> Result<Vec<ShownOnce>, Problem> {
        if self.prune && self.tenants.is_empty() {
            // A folder that was not mounted, or a file cut short, looks like this; whoever means it deletes the tenants.
            let message = "there are none: with prune that would delete everything";
            return Err(Problem::new(Code::InvalidBody).error("/tenants", message));
        }
        let (mut complaints, mut made, mut described) = (Complaints::default(), Vec::new(), Vec::new());
        for (at, tenant) in std::mem::take(&mut self.tenants).into_iter().enumerate() {
            complaints.enter(format!("/tenants/{at}"));
            if let Some(one) = self.tenant(tenant, draft, &mut complaints, &mut made)? {
                described.push(one);
            }
        }
        complaints.done()?;
        self.check(&described)?;
        if self.prune {
            let kept: HashSet<_> = described.iter().map(|one| one.after.id.clone()).collect();
            let gone: Vec<_> = draft.tenants().keys().filter(|id| !kept.contains(*id)).cloned().collect();
            for id in gone {
                draft.remove(&id);
            }
        }
        for one in described {
            draft.put(one.after);
        }
        Ok(made)
    }

    /// One tenant; none when what is wrong with it hides the rest.
    fn tenant(
        &self,
        described: Value,
        draft: &Draft,
        complaints: &mut Complaints,
        made: &mut Vec<ShownOnce>,
    ) -> Result<Option<Described>, Problem> {
        let Value::Object(mut fields) = described else {
            complaints.say("", "expected keys and values");
            return Ok(None);
        };
        let mut lists = Vec::new();
        for kind in [ItemKind::Endpoint, ItemKind::Subscription, ItemKind::Source, ItemKind::Key] {
            let name = list_name(kind);
            match fields.shift_remove(name) {
                None | Some(Value::Null) => lists.push(Vec::new()),
                Some(Value::Array(items)) => lists.push(items),
                Some(_) => {
                    complaints.say(&format!("/{name}"), "expected a list");
                    lists.push(Vec::new());
                }
            }
        }
        let head: Tenant = match typed(fields) {
            Ok(head) => head,
            Err(problem) => {
                complaints.take(&problem, "");
                return Ok(None);
            }
        };
        let [endpoints, subscriptions, sources, keys] = match <[_; 4]>::try_from(lists) {
            Ok(lists) => lists,
            Err(_) => return Ok(None),
        };
        let before = draft.tenants().get(&head.id).cloned().unwrap_or_else(|| Tenant::new(&head.id));
        let quota = head.quota.filter(|quota| *quota != Quota::default());
        let mut one =
            Described { after: Tenant { name: head.name, quota, ..before.clone() }, places: Places::default(), before };
        self.list::<Endpoint>(endpoints, &mut one, complaints, made)?;
        self.list::<Subscription>(subscriptions, &mut one, complaints, made)?;
        self.list::<SourceConfig>(sources, &mut one, complaints, made)?;
        self.list::<Key>(keys, &mut one, complaints, made)?;
        Ok(Some(one))
    }

    fn list<R: Resource>(
        &self,
        items: Vec<Value>,
        one: &mut Described,
        complaints: &mut Complaints,
        made: &mut Vec<ShownOnce>,
    ) -> Result<(), Problem> {
        let mut list = std::mem::take(R::list(&mut one.after));
        let mut known: Vec<Option<usize>> = vec![None; list.len()];
        let mut by_id: HashMap<_, _> = list.iter().enumerate().map(|(at, item)| (item.id().to_owned(), at)).collect();
        for (index, item) in items.into_iter().enumerate() {
            let place = format!("/{}/{index}", list_name(R::KIND));
            let at = item["id"].as_str().and_then(|id| by_id.get(id).copied());
            let read = self.item(item, at.map(|at| &list[at]), &one.after.id, made);
            let Some(item) = read.or_complain(&place, complaints)? else { continue };
            match at {
                Some(at) if known[at].is_some() => complaints.say(&format!("{place}/id"), "the id is used twice"),
                Some(at) => (list[at], known[at]) = (item, Some(index)),
                None => {
                    by_id.insert(item.id().to_owned(), list.len());
                    list.push(item);
                    known.push(Some(index));
                }
            }
        }
        if self.prune {
            let mut kept = known.iter();
            list.retain(|_| kept.next().is_some_and(Option::is_some));
            known.retain(Option::is_some);
        }
        one.places.note(R::KIND, known);
        *R::list(&mut one.after) = list;
        Ok(())
    }

    fn item<R: Resource>(
        &self,
        item: Value,
        old: Option<&R>,
        tenant: &str,
        made: &mut Vec<ShownOnce>,
    ) -> Result<R, Problem> {
        let wrong = |pointer: &str, message: &str| Problem::new(Code::InvalidBody).error(pointer, message);
        let Value::Object(body) = item else { return Err(wrong("", "expected keys and values")) };
        let mut fields: Object =
            settings::replaced(R::KEPT, old.map(settings::reveal).as_ref(), body).map_err(not_removable)?;
        let new = match old {
            Some(_) => Object::new(),
            None => R::make_applied(&mut fields, &self.maker).map_err(no_chance)?,
        };
        let mut item: R = typed(fields)?;
        item.settle(old, &self.rules, None)?;
        let shown = new.into_iter().map(|(field, value)| ShownOnce {
            tenant: tenant.to_owned(),
            kind: R::KIND.name(),
            id: item.id().to_owned(),
            field,
            value,
        });
        made.extend(shown);
        Ok(item)
    }

    /// What holds only of the whole: what the store checks, quotas, fan-outs, and what other tenants have.
    fn check(&self, described: &[Described]) -> Result<(), Problem> {
        let mut complaints = Complaints::default();
        let after: Vec<_> = described.iter().map(|one| one.after.clone()).collect();
        for found in validate::tenants(&after) {
            complaints.enter(String::new());
            let (place, message) = placed(found, described);
            complaints.say(&place, &message);
        }
        for (at, one) in described.iter().enumerate() {
            complaints.enter(format!("/tenants/{at}"));
            if let Err(problem) = settings::check_limits(&one.before, &one.after, &self.rules) {
                complaints.take(&problem, "");
            }
            self.check_clashes::<SourceConfig>(one, described, &mut complaints);
            self.check_clashes::<Key>(one, described, &mut complaints);
        }
        complaints.done()
    }

    /// Tenants that are described are compared with each other by the store's checks; these are the others.
    fn check_clashes<R: Resource>(&self, one: &Described, described: &[Described], complaints: &mut Complaints) {
        let is_other = |id: &str| !self.prune && !described.iter().any(|one| one.after.id == id);
        let mut after = one.after.clone();
        for (at, item) in R::list(&mut after).iter().enumerate() {
            if item.owners(&self.snapshot).iter().any(|(owner, _)| is_other(owner)) {
                complaints.say(&one.places.pointer(R::KIND, at), "it is already used, by something else");
            }
        }
    }
}

/// Where in the description a problem with the whole is, and what it is. Of two things that clash it is told of one that
/// is described; what is not, and stays, has no place there and is called by its name.
fn placed(found: store::InvalidField, described: &[Described]) -> (String, String) {
    let place = |path: &FieldPath| places::place(path, |at| described.get(at).map(|one| &one.places));
    let store::InvalidField { path, message, other } = found;
    let (path, other) = match other {
        Some(other) if place(&path).is_none() && place(&other).is_some() => (other, Some(path)),
        other => (path, other),
    };
    let message = match other {
        Some(other) => format!("{message} {}", place(&other).unwrap_or_else(|| undescribed(&other, described))),
        None => message,
    };
    match place(&path) {
        Some(place) => (place, message),
        None => (FieldPath(path.0[..2].to_vec()).pointer(), format!("{}: {message}", undescribed(&path, described))),
    }
}

/// The name of what is in a tenant, and not in its description.
fn undescribed(FieldPath(steps): &FieldPath, described: &[Described]) -> String {
    let named = || {
        let [_, PathSegment::Index(tenant), PathSegment::Key(list), PathSegment::Index(at), ..] = steps.as_slice()
        else {
            return None;
        };
        let tenant = &described.get(*tenant)?.after;
        let (kind, id) = match &**list {
            "endpoints" => (ItemKind::Endpoint, &tenant.endpoints.get(*at)?.id),
            "subscriptions" => (ItemKind::Subscription, &tenant.subscriptions.get(*at)?.id),
            "sources" => (ItemKind::Source, &tenant.sources.get(*at)?.id),
            "keys" => (ItemKind::Key, &tenant.keys.get(*at)?.id),
            _ => return None,
        };
        Some(format!("the {} {id} of {}, which is not described", kind.name(), tenant.id))
    };
    named().unwrap_or_else(|| "something that is not described".to_owned())
}

/// A problem with an item is a complaint; one of ours is not.
trait Complained<T> {
    fn or_complain(self, place: &str, complaints: &mut Complaints) -> Result<Option<T>, Problem>;
}

impl<T> Complained<T> for Result<T, Problem> {
    fn or_complain(self, place: &str, complaints: &mut Complaints) -> Result<Option<T>, Problem> {
        match self {
            Ok(value) => Ok(Some(value)),
            Err(problem) if problem.code == Code::Internal => Err(problem),
            Err(problem) => {
                complaints.take(&problem, place);
                Ok(None)
            }
        }
    }
}
