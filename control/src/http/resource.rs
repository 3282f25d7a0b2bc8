//! What endpoints, subscriptions, sources and keys have in common, so that one set of calls serves them all.

use schemars::JsonSchema;
use schemas::{Scope, Tenant};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use service::problem::{Code, Problem};
use store::{ItemKind, TenantSnapshot};

use crate::settings::{Field, Made, Maker, Object, Reveal, Rules};

/// One of a tenant's things.
pub(crate) trait Resource:
    Clone + PartialEq + Serialize + DeserializeOwned + JsonSchema + Reveal + Send + Sync + 'static
{
    /// What it is.
    const KIND: ItemKind;
    /// Fields that a `PUT` keeps where it leaves them out.
    const KEPT: &'static [Field];
    /// Required fields that are made where they are left out.
    const MADE: &'static [&'static str];
    /// Fields of the answer to the request that made them, and what each is.
    const SHOWN_ONCE: &'static [(&'static str, &'static str)];
    /// Fields of answers that are derived from others: in a body they are passed over.
    const DERIVED: &'static [&'static str] = &[];
    /// A body, for the description of the API.
    const EXAMPLE: &'static str;

    /// Its id.
    fn id(&self) -> &str;

    /// Those of its fields that are derived.
    fn derived(&self) -> Object {
        Object::new()
    }

    /// Those of a tenant.
    fn list(tenant: &mut Tenant) -> &mut Vec<Self>;

    /// Those of a snapshot, in the order of their ids.
    fn in_snapshot(tenant: &TenantSnapshot) -> Vec<&Self>;

    /// Fills in what is made for a new one.
    ///
    /// # Errors
    /// When there is no chance to be had.
    fn make(_: &mut Object, _: &Maker) -> std::io::Result<Made> {
        Ok(Made::new())
    }

    /// The same for one that a description makes: as in a file, an endpoint without secrets is unsigned.
    ///
    /// # Errors
    /// When there is no chance to be had.
    fn make_applied(fields: &mut Object, maker: &Maker) -> std::io::Result<Made> {
        Self::make(fields, maker)
    }

    /// Brings it into its normal form, and looks at what the store cannot know.
    ///
    /// # Errors
    /// What it cannot be, or may not be made by this caller.
    fn settle(&mut self, _old: Option<&Self>, _rules: &Rules, _scopes: Option<&[Scope]>) -> Result<(), Problem> {
        Ok(())
    }

    /// Whether it may be changed by the generic calls.
    ///
    /// # Errors
    /// 409, naming the call that may.
    fn owned(_id: &str) -> Result<(), Problem> {
        Ok(())
    }

    /// Takes along what cannot be without it; called after it was taken out of its list.
    fn take_along(_id: &str, _tenant: &mut Tenant) -> Vec<(ItemKind, String)> {
        Vec::new()
    }

    /// Which things, by tenant and id, have what it would have: what is looked up without knowing the tenant must be one
    /// thing's.
    fn owners(&self, _snapshot: &store::Snapshot) -> Vec<(String, String)> {
        Vec::new()
    }
}

/// As it is shown: secrets masked.
pub(crate) fn shown(item: &impl Resource) -> Object {
    let Ok(Value::Object(mut object)) = serde_json::to_value(item) else { return Object::new() };
    object.extend(item.derived());
    object
}

/// A mistake of ours that nobody can mend from outside.
pub(crate) fn no_chance(_: std::io::Error) -> Problem {
    Problem::new(Code::Internal).detail("the system has no randomness to give")
}
