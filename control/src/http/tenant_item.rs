//! Items are the resources that a tenant has lists of: endpoints, subscriptions, sources and keys.

use schemars::JsonSchema;
use schemas::{Scope, SecretFields, Tenant, Warning};
use serde::{Serialize, de::DeserializeOwned};
use service::problem::{Code, Problem};
use store::{Draft, Item, ItemChange, ItemKind, Snapshot, TenantSnapshot};

use super::{
    page::Page,
    resource::{ChangeContext, Listed, Resource, object_of},
};
use crate::{
    Control,
    settings::{Generator, Object, ProblemScope, Rules},
};

pub(crate) trait TenantItem:
    SecretFields + Clone + PartialEq + Serialize + DeserializeOwned + JsonSchema + Send + Sync
{
    const KIND: ItemKind;
    /// Secret fields that are generated when they are left out, and cannot be removed. The second text says what to do
    /// instead of removing one.
    const GENERATED: &'static [(&'static str, &'static str)] = &[];
    /// Fields that show generated secrets in the answer, each with its description.
    const ISSUED: &'static [(&'static str, &'static str)] = &[];
    /// Fields of answers that are derived from others. A body may repeat them, and they are ignored.
    const DERIVED: &'static [&'static str] = &[];
    /// Fields that carteiro changes by itself.
    const OWN_STATE: &'static [&'static str] = &[];
    /// Example of a body, for the OpenAPI document.
    const EXAMPLE: &'static str;

    fn id(&self) -> &str;

    fn list(tenant: &Tenant) -> &Vec<Self>;

    fn list_mut(tenant: &mut Tenant) -> &mut Vec<Self>;

    /// Returns the items of a snapshot, sorted by id.
    fn of_snapshot(tenant: &TenantSnapshot) -> Vec<&Self>;

    /// Returns the item of a change, if it is of this type.
    fn of_change(item: &Item) -> Option<&Self>;

    fn derived(&self) -> Object {
        Object::new()
    }

    /// Returns read-only fields that the process itself observes of the item.
    fn observed_of(_id: &str, _tenant: &TenantSnapshot, _control: &Control) -> Object {
        Object::new()
    }

    /// Adds the generated fields of a new item. Returns those that are shown only once.
    fn generate_fields(_fields: &mut Object, _generator: &Generator) -> std::io::Result<Object> {
        Ok(Object::new())
    }

    /// Adds the generated fields of a new item in a description. As in a file, an endpoint without secrets stays
    /// unsigned.
    fn generate_applied(fields: &mut Object, generator: &Generator) -> std::io::Result<Object> {
        Self::generate_fields(fields, generator)
    }

    /// Normalizes the item, and refuses what the operator or the caller's key forbids, which the store cannot know.
    fn normalize(&mut self, _old: Option<&Self>, _rules: &Rules, _scopes: Option<&[Scope]>) -> Result<(), Problem> {
        Ok(())
    }

    /// Refuses an id that belongs to a view, with 409 and the request that may change it.
    fn refuse_id(_id: &str) -> Result<(), Problem> {
        Ok(())
    }

    /// Returns what is probably a mistake in the item, which its tenant already has.
    fn warnings(&self, _tenant: &Tenant) -> Vec<Warning> {
        Vec::new()
    }

    /// Removes from the tenant what cannot exist without the item. The item itself is removed already.
    fn remove_dependents(_id: &str, _tenant: &mut Tenant) -> Vec<(ItemKind, String)> {
        Vec::new()
    }

    /// Returns the tenant and id of every item that has one of this item's secrets, if such secrets are looked up
    /// without knowing the tenant.
    fn owners(&self, _snapshot: &Snapshot) -> Vec<(String, String)> {
        Vec::new()
    }
}

impl<T: TenantItem> Resource for T {
    const ID_PREFIX: &'static str = id_prefix(T::KIND);
    const STATE: &'static [&'static str] = T::OWN_STATE;
    const REQUIRED_SECRETS: &'static [(&'static str, &'static str)] = T::GENERATED;
    const READ_ONLY: &'static [&'static str] = T::DERIVED;
    const SHOWN_ONCE: &'static [(&'static str, &'static str)] = T::ISSUED;

    fn items(&self) -> Vec<(ItemKind, &str)> {
        vec![(T::KIND, self.id())]
    }

    fn find(tenant: &Tenant, id: &str) -> Option<Self> {
        T::list(tenant).iter().find(|item| item.id() == id).cloned()
    }

    fn in_snapshot(tenant: &TenantSnapshot, id: &str) -> Option<Self> {
        T::of_snapshot(tenant).into_iter().find(|item| item.id() == id).cloned()
    }

    fn check_id(id: &str) -> Result<(), Problem> {
        T::refuse_id(id)
    }

    fn generate(fields: &mut Object, generator: &Generator) -> std::io::Result<Object> {
        T::generate_fields(fields, generator)
    }

    fn put(
        mut self,
        tenant: &mut Tenant,
        old: Option<&Self>,
        context: &ChangeContext,
    ) -> Result<ProblemScope, Problem> {
        self.normalize(old, &context.rules, context.scopes.as_deref())?;
        let is_other = |(tenant, id): &(String, String)| (tenant, id) != (&context.tenant, &context.id);
        if self.owners(&context.snapshot).iter().any(is_other) {
            let pointer = T::GENERATED.first().map_or(String::new(), |(field, _)| format!("/{field}"));
            return Err(Problem::new(Code::Conflict).error(pointer, "it is already used, by something else"));
        }
        Ok(ProblemScope { kind: T::KIND, index: put_item(T::list_mut(tenant), self) })
    }

    fn remove(self, draft: &mut Draft, tenant: &str) -> Result<Vec<(ItemKind, String)>, Problem> {
        let (tenant, id) = (draft.tenant(tenant).map_err(|_| Code::NotFound)?, self.id());
        T::list_mut(tenant).retain(|item| item.id() != id);
        let mut removed = vec![(T::KIND, id.to_owned())];
        removed.extend(T::remove_dependents(id, tenant));
        Ok(removed)
    }

    fn observed(id: &str, tenant: &TenantSnapshot, control: &Control) -> Object {
        T::observed_of(id, tenant, control)
    }

    fn shown(&self) -> Object {
        let mut shown = object_of(self);
        shown.extend(self.derived());
        shown
    }

    fn warnings(&self, tenant: &Tenant) -> Vec<Warning> {
        T::warnings(self, tenant)
    }

    /// Reads the item from the store's changes, because the store removes retiring secrets that have expired.
    fn shown_after(changes: &[ItemChange], id: &str) -> Option<Object> {
        let change = changes.iter().find(|change| change.kind == T::KIND && change.id == id)?;
        T::of_change(change.after.as_ref()?).map(Resource::shown)
    }
}

impl<T: TenantItem> Listed for T {
    fn page(tenant: &TenantSnapshot, page: &Page) -> (Vec<Object>, Option<String>) {
        let (items, next) = page.cut(T::of_snapshot(tenant).into_iter().map(|item| (item.id(), item)));
        (items.into_iter().map(Resource::shown).collect(), next)
    }
}

const fn id_prefix(kind: ItemKind) -> &'static str {
    match kind {
        ItemKind::Tenant => "t",
        ItemKind::Endpoint => "ep",
        ItemKind::Subscription => "sub",
        ItemKind::Source => "src",
        ItemKind::Key => "key",
    }
}

/// The tenant's item of this id, or 404.
pub(crate) fn item_mut<'a, T: TenantItem>(tenant: &'a mut Tenant, id: &str) -> Result<&'a mut T, Problem> {
    T::list_mut(tenant).iter_mut().find(|item| item.id() == id).ok_or_else(|| Code::NotFound.into())
}

/// Replaces the item of the same id, or adds it. Returns its index in the list.
pub(crate) fn put_item<T: TenantItem>(list: &mut Vec<T>, item: T) -> usize {
    match list.iter().position(|known| known.id() == item.id()) {
        Some(index) => {
            list[index] = item;
            index
        }
        None => {
            list.push(item);
            list.len() - 1
        }
    }
}
