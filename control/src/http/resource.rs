//! What a resource is: anything that is configured over HTTP.
//!
//! Tenants, the four kinds of items that a tenant has lists of, and the views for vendors' screens are all resources. They
//! share one way of being read and written (`write`), and differ in what this trait asks of them.

use std::sync::Arc;

use schemas::{Scope, SecretFields, SecretForm, Tenant};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use service::problem::{Code, Problem};
use store::{Draft, ItemChange, ItemKind, Snapshot, TenantSnapshot};

use super::context::Permission;
use crate::settings::{Generator, KeptField, Object, ProblemScope, Rules};

/// What a resource may know of the request that changes it.
pub(crate) struct ChangeContext {
    pub(crate) tenant: String,
    pub(crate) id: String,
    /// Scopes of the caller's key. None means everything.
    pub(crate) scopes: Option<Vec<Scope>>,
    pub(crate) rules: Rules,
    pub(crate) snapshot: Arc<Snapshot>,
}

/// A type that requests show, create, replace, patch and delete.
pub(crate) trait Resource: SecretFields + Serialize + DeserializeOwned + Send {
    /// Authorization may change it.
    const CHANGED_BY: Permission = Permission::Scope(Scope::Manage);
    /// Path parameter that holds its id.
    const PATH_ID: &'static str = "id";
    /// Field of the body that may repeat its id.
    const BODY_ID: &'static str = "id";
    /// True when the id is the platform's, which may write it as a number.
    const HAS_PLATFORM_ID: bool = false;
    /// Beginning of ids that carteiro makes. A resource whose id is always given has none.
    const ID_PREFIX: &'static str = "";
    /// The kinds of store items that it consists of.
    const KINDS: &'static [ItemKind];
    /// Fields that carteiro changes by itself. A `PUT` that leaves one out keeps it.
    const STATE: &'static [&'static str] = &[];
    /// Secret fields that it cannot be without, each with what the caller should do instead of removing it.
    const REQUIRED_SECRETS: &'static [(&'static str, &'static str)] = &[];
    /// Fields of answers that a body may repeat, and that are then ignored.
    const READ_ONLY: &'static [&'static str] = &[];

    /// The id of its items in the store.
    fn stored_id(id: &str) -> String {
        id.to_owned()
    }

    /// The resource of this id in a tenant.
    fn find(tenant: &Tenant, id: &str) -> Option<Self>;

    /// The resource of this id in a snapshot of its tenant.
    fn in_snapshot(tenant: &TenantSnapshot, id: &str) -> Option<Self> {
        Self::find(&tenant.to_tenant(), id)
    }

    /// The tenant to start from when the store has none of this id.
    fn absent_tenant(_id: &str) -> Result<Tenant, Problem> {
        Err(Problem::new(Code::NotFound).detail("there is no such tenant"))
    }

    /// Refuses an id that this kind of request may not change.
    fn check_id(_id: &str) -> Result<(), Problem> {
        Ok(())
    }

    /// Refuses fields that this kind of request may not change.
    fn check_fields(_fields: &Object) -> Result<(), Problem> {
        Ok(())
    }

    /// Adds what carteiro generates for a new resource. Returns what the answer shows this once.
    ///
    /// # Errors
    /// When the system has no randomness.
    fn generate(_fields: &mut Object, _generator: &Generator) -> std::io::Result<Object> {
        Ok(Object::new())
    }

    /// Writes the resource into its tenant. Returns the item that problems with the result are about.
    fn put(self, tenant: &mut Tenant, old: Option<&Self>, context: &ChangeContext) -> Result<ProblemScope, Problem>;

    /// Takes the resource out of its tenant. Returns every item that went.
    fn remove(draft: &mut Draft, tenant: &str, id: &str) -> Result<Vec<(ItemKind, String)>, Problem>;

    /// The resource as answers show it: with masks in the place of secrets.
    fn shown(&self) -> Object {
        object_of(self)
    }

    /// The resource as the store has it after a change, where the store itself may have altered it.
    fn shown_after(_changes: &[ItemChange], _id: &str) -> Option<Object> {
        None
    }
}

/// A resource that can be listed.
pub(crate) trait Listed: Resource {
    /// One page of the tenant's resources, and the cursor of the next page.
    fn page(tenant: &TenantSnapshot, page: &super::page::Page) -> (Vec<Object>, Option<String>);
}

/// Serializes a plain struct with text keys, which cannot fail.
pub(crate) fn object_of(value: &impl Serialize) -> Object {
    match serde_json::to_value(value) {
        Ok(Value::Object(object)) => object,
        _ => Object::new(),
    }
}

/// The fields that a `PUT` keeps when it leaves them out: secrets, which callers are not shown, and state.
pub(crate) fn kept_fields<R: Resource>() -> Vec<KeptField> {
    let required = |name: &str| R::REQUIRED_SECRETS.iter().find(|(field, _)| *field == name);
    let secrets = R::SECRET_FIELDS.iter().map(|field| match (&field.form, required(field.name)) {
        (SecretForm::Headers(_), _) => KeptField::SecretValues(field.name),
        (_, Some((name, why))) => KeptField::Required(name, why),
        (_, None) => KeptField::Optional(field.name),
    });
    secrets.chain(R::STATE.iter().map(|name| KeptField::Optional(name))).collect()
}

/// The version of a resource: the latest version of its items.
pub(crate) fn version_of<R: Resource>(id: &str, version: impl Fn(ItemKind, &str) -> Option<u64>) -> Option<u64> {
    let stored_id = R::stored_id(id);
    R::KINDS.iter().filter_map(|kind| version(*kind, &stored_id)).max()
}
