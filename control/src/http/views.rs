//! The vendors' screens, as views of endpoints and subscriptions: the calls they have in common.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use schemars::JsonSchema;
use schemas::{Scope, Tenant};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use service::problem::{Code, Problem};
use store::{Draft, ItemKind, Versions};

use super::{
    call::{Call, Input},
    change::{self, Wish},
    crud::{deleted, with_tag},
    owned::owned_id,
    tag::Conditions,
    write::{Manner, not_removable, typed},
};
use crate::settings::{self, Field, Focus, Object, Reveal, Rules};

/// One vendor's screen.
pub(crate) trait View: Serialize + DeserializeOwned + JsonSchema + Reveal + Send + 'static {
    /// What its things are called.
    const PREFIX: &'static str;
    /// The part of the path that names it.
    const PART: &'static str;
    /// Of what it is made, in the order in which it goes.
    const KINDS: &'static [ItemKind];
    /// Fields that a `PUT` keeps where it leaves them out.
    const KEPT: &'static [Field];
    /// Fields that are only shown: in a body they are passed over.
    const DERIVED: &'static [&'static str] = &[];

    /// The view of a tenant's things; `id` is the platform's.
    fn of(tenant: &Tenant, id: &str) -> Option<Self>;

    /// Writes it into a tenant's things; says which of them problems are about.
    ///
    /// # Errors
    /// What it cannot be.
    fn put(self, tenant: &mut Tenant, id: &str, rules: &Rules) -> Result<Focus, Problem>;

    /// Takes its things away.
    ///
    /// # Errors
    /// What still needs them.
    fn remove(tenant: &mut Tenant, id: &str) -> Result<Vec<(ItemKind, String)>, Problem>;
}

/// The version of a view: the latest of its things.
fn version<V: View>(owned: &str, of: impl Fn(ItemKind, &str) -> Option<u64>) -> Option<u64> {
    V::KINDS.iter().filter_map(|kind| of(*kind, owned)).max()
}

/// The same in a snapshot.
pub(crate) fn version_in<V: View>(versions: &Versions, id: &str) -> Option<u64> {
    version::<V>(&owned_id(V::PREFIX, id), |kind, id| versions.of(kind, id))
}

pub(crate) async fn show<V: View>(call: Call) -> Result<Response, Problem> {
    let who = call.tenant(Scope::Read).await?;
    call.query(&[])?;
    let (tenant, id) = (who.tenant_id(), call.part(V::PART));
    let found = call.find(|snapshot| {
        let tenant = snapshot.tenant(tenant)?;
        Some((V::of(&tenant.to_tenant(), id)?, version_in::<V>(&tenant.versions, id)))
    });
    let (view, version) = found.await?;
    Ok(with_tag(Json(view).into_response(), version))
}

pub(crate) async fn replace<V: View>(call: Call, input: Input) -> Result<Response, Problem> {
    let id = call.part(V::PART).to_owned();
    write::<V>(call, input, Manner::Replace, id).await
}

pub(crate) async fn patch<V: View>(call: Call, input: Input) -> Result<Response, Problem> {
    let id = call.part(V::PART).to_owned();
    write::<V>(call, input, Manner::Patch, id).await
}

async fn write<V: View>(call: Call, input: Input, manner: Manner, id: String) -> Result<Response, Problem> {
    let who = call.tenant(Scope::Manage).await?;
    call.query(&[])?;
    let (path, conditions) = (call.path().to_owned(), Conditions::of(call.headers()));
    let body = input.object().await?;
    let wish = Wish::of(who.tenant_id(), who.author.clone());
    let write = Write {
        tenant: who.tenant_id().to_owned(),
        id,
        manner,
        body,
        conditions,
        rules: call.control.deps.rules.clone(),
    };
    carry_out::<V>(&call, wish, write, path).await
}

/// A change of one view.
pub(crate) struct Write {
    pub(crate) tenant: String,
    /// The platform's.
    pub(crate) id: String,
    pub(crate) manner: Manner,
    pub(crate) body: Object,
    pub(crate) conditions: Conditions,
    pub(crate) rules: Rules,
}

/// Writes it, and answers with it and its version; `path` is where a new one is found.
pub(crate) async fn carry_out<V: View>(
    call: &Call,
    wish: Wish,
    write: Write,
    path: String,
) -> Result<Response, Problem> {
    let decide = move |draft: &mut Draft| write.decide::<V>(draft);
    let ((shown, is_new, version), edited) = call.control.change(wish, decide).await?;
    let version = if edited.changes.is_empty() { version } else { Some(edited.revision) };
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    let mut response = with_tag((status, Json(shown)).into_response(), version);
    if let (true, Ok(path)) = (is_new, HeaderValue::try_from(path)) {
        response.headers_mut().insert(header::LOCATION, path);
    }
    Ok(response)
}

impl Write {
    /// The view as it is shown, whether it is new, and the version before.
    fn decide<V: View>(self, draft: &mut Draft) -> Result<(Value, bool, Option<u64>), Problem> {
        let before = change::tenant(draft, &self.tenant)?.clone();
        let old = V::of(&before, &self.id);
        let owned = owned_id(V::PREFIX, &self.id);
        let version = version::<V>(&owned, |kind, id| draft.version(&self.tenant, kind, id));
        if self.manner == Manner::Create && old.is_some() {
            return Err(Problem::new(Code::Conflict).detail("the id is already used"));
        }
        self.conditions.check(old.as_ref().map(|_| version))?;
        let stored = old.as_ref().map(settings::reveal);
        let mut body = self.body;
        body.retain(|name, _| !V::DERIVED.contains(&name.as_str()));
        take_id::<V>(&mut body, &self.id)?;
        let merged = match (self.manner, &stored) {
            (Manner::Patch, Some(stored)) => settings::patched(V::KEPT, stored, body),
            (Manner::Patch, None) => return Err(Code::NotFound.into()),
            (_, stored) => settings::replaced(V::KEPT, stored.as_ref(), body),
        };
        let view: V = typed(merged.map_err(not_removable)?)?;
        let mut after = before.clone();
        let focus = view.put(&mut after, &self.id, &self.rules)?;
        settings::check(&before, &after, focus, &self.rules)?;
        let shown = V::of(&after, &self.id).and_then(|view| serde_json::to_value(view).ok()).unwrap_or_default();
        draft.put(after);
        Ok((shown, old.is_none(), version))
    }
}

/// The id in a body says what the path says.
fn take_id<V: View>(body: &mut Object, id: &str) -> Result<(), Problem> {
    let same = |given: &Value| match given {
        Value::String(text) => text == id,
        Value::Number(number) => number.to_string() == id,
        _ => false,
    };
    if body.get(V::PART).is_some_and(|given| !given.is_null() && !same(given)) {
        let pointer = format!("/{}", V::PART);
        return Err(Problem::new(Code::InvalidBody).error(pointer, "differs from the id in the path"));
    }
    body.insert(V::PART.to_owned(), id.into());
    Ok(())
}

pub(crate) async fn delete<V: View>(call: Call) -> Result<Response, Problem> {
    let who = call.tenant(Scope::Manage).await?;
    call.query(&[])?;
    let (tenant, id, conditions) =
        (who.tenant_id().to_owned(), call.part(V::PART).to_owned(), Conditions::of(call.headers()));
    let decide = move |draft: &mut Draft| {
        let version = version::<V>(&owned_id(V::PREFIX, &id), |kind, id| draft.version(&tenant, kind, id));
        let tenant = change::tenant(draft, &tenant)?;
        V::of(tenant, &id).ok_or(Code::NotFound)?;
        conditions.check(Some(version))?;
        V::remove(tenant, &id)
    };
    let wish = Wish::of(who.tenant_id(), who.author.clone());
    let (gone, _) = call.control.change(wish, decide).await?;
    Ok(Json(deleted(&gone)).into_response())
}
