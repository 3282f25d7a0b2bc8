//! A resource is anything that is configured over HTTP.
//!
//! Tenants, the four kinds of items that a tenant has lists of, and the views for vendors' screens are resources. They
//! share one way of being read (`read`) and written (`write`), and differ in what this trait defines.

use std::sync::Arc;

use schemars::JsonSchema;
use schemas::{Scope, SecretFields, SecretForm, Tenant, Warning};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use service::problem::{Code, Problem};
use store::{Draft, ItemChange, ItemKind, Snapshot, TenantSnapshot};

use super::context::Permission;
use crate::{
    Control,
    settings::{Generator, KeptField, Object, ProblemScope, Rules},
};

/// What a resource may know of the request that changes it.
pub(crate) struct ChangeContext {
    pub(crate) tenant: String,
    pub(crate) id: String,
    /// Scopes of the caller's key. None means everything.
    pub(crate) scopes: Option<Vec<Scope>>,
    pub(crate) rules: Rules,
    pub(crate) snapshot: Arc<Snapshot>,
}

pub(crate) trait Resource: SecretFields + Serialize + DeserializeOwned + JsonSchema + Send {
    /// Permission that a change needs.
    const CHANGED_BY: Permission = Permission::Scope(Scope::Manage);
    const PATH_ID: &'static str = "id";
    /// Field of the body that may repeat the id of the path.
    const BODY_ID: &'static str = "id";
    /// True when the platform assigns the id, and may write it as a number.
    const HAS_PLATFORM_ID: bool = false;
    /// Prefix of generated ids. Empty when the id is always given.
    const ID_PREFIX: &'static str = "";
    /// Fields that carteiro changes by itself. A `PUT` that leaves one out keeps it.
    const STATE: &'static [&'static str] = &[];
    /// Secret fields that cannot be removed, each with what the caller should do instead.
    const REQUIRED_SECRETS: &'static [(&'static str, &'static str)] = &[];
    /// Fields of answers that a body may repeat. They are ignored.
    const READ_ONLY: &'static [&'static str] = &[];
    /// Fields that show generated secrets in the answer, each with its description.
    const SHOWN_ONCE: &'static [(&'static str, &'static str)] = &[];

    /// Returns the store's items that make up the resource, by their kinds and ids.
    fn items(&self) -> Vec<(ItemKind, &str)>;

    fn find(tenant: &Tenant, id: &str) -> Option<Self>;

    fn in_snapshot(tenant: &TenantSnapshot, id: &str) -> Option<Self> {
        Self::find(&tenant.to_tenant(), id)
    }

    /// Returns the tenant to start from when the store has none of this id.
    fn absent_tenant(_id: &str) -> Result<Tenant, Problem> {
        Err(Problem::new(Code::NotFound).detail("there is no such tenant"))
    }

    fn check_id(_id: &str) -> Result<(), Problem> {
        Ok(())
    }

    /// Checks the id of a resource that does not exist yet.
    fn check_new_id(_id: &str) -> Result<(), Problem> {
        Ok(())
    }

    fn check_fields(_fields: &Object) -> Result<(), Problem> {
        Ok(())
    }

    /// Adds the generated fields of a new resource. Returns those that the answer shows only once.
    fn generate(_fields: &mut Object, _generator: &Generator) -> std::io::Result<Object> {
        Ok(Object::new())
    }

    /// Writes the resource into its tenant. Returns the item that problems with the result are about.
    fn put(self, tenant: &mut Tenant, old: Option<&Self>, context: &ChangeContext) -> Result<ProblemScope, Problem>;

    /// Removes the resource from its tenant. Returns every item that was removed.
    fn remove(self, draft: &mut Draft, tenant: &str) -> Result<Vec<(ItemKind, String)>, Problem>;

    /// Returns the resource as answers show it, with secrets masked.
    fn shown(&self) -> Object {
        object_of(self)
    }

    /// Returns read-only fields that the process itself observes, such as what a tenant uses.
    fn observed(_id: &str, _tenant: &TenantSnapshot, _control: &Control) -> Object {
        Object::new()
    }

    /// Returns what is probably a mistake in the resource, which its tenant already has.
    fn warnings(&self, _tenant: &Tenant) -> Vec<Warning> {
        Vec::new()
    }

    /// Returns the resource as the store has it after a change, where the store itself may have altered it.
    fn shown_after(_changes: &[ItemChange], _id: &str) -> Option<Object> {
        None
    }
}

pub(crate) trait Listed: Resource {
    /// Returns one page of the tenant's resources, and the cursor of the next page.
    fn page(tenant: &TenantSnapshot, page: &super::page::Page) -> (Vec<Object>, Option<String>);
}

/// Serializes a plain struct with text keys, which cannot fail.
pub(crate) fn object_of(value: &impl Serialize) -> Object {
    match serde_json::to_value(value) {
        Ok(Value::Object(object)) => object,
        _ => Object::new(),
    }
}

/// Returns the fields that a `PUT` keeps when it leaves them out: secrets, which callers are not shown, and state.
pub(crate) fn kept_fields<R: Resource>() -> Vec<KeptField> {
    let required = |name: &str| R::REQUIRED_SECRETS.iter().find(|(field, _)| *field == name);
    let secrets = R::SECRET_FIELDS.iter().map(|field| match (&field.form, required(field.name)) {
        (SecretForm::Headers(_), _) => KeptField::SecretValues(field.name),
        (_, Some((name, why))) => KeptField::Required(name, why),
        (_, None) => KeptField::Optional(field.name),
    });
    secrets.chain(R::STATE.iter().map(|name| KeptField::Optional(name))).collect()
}

/// Returns the version of a resource, which is the latest version of its items.
pub(crate) fn version_of(resource: &impl Resource, version: impl Fn(ItemKind, &str) -> Option<u64>) -> Option<u64> {
    resource.items().into_iter().filter_map(|(kind, id)| version(kind, id)).max()
}
