//! Tenants: only the operator makes, changes and deletes them; a tenant may look at itself.

use std::{borrow::Cow, sync::Arc};

use aide::axum::{
    ApiRouter,
    routing::{get_with, post_with},
};
use axum::{
    Json,
    response::{IntoResponse as _, Response},
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use schemas::{Quota, Scope, Tenant};
use serde_json::{Value, json};
use service::problem::{Code, Problem};
use store::{Draft, ItemKind, TenantSnapshot};

use super::{
    call::{Call, Input, Who},
    change::Wish,
    crud::{answer, deleted, with_tag},
    describe,
    page::{self, Page},
    tag::Conditions,
    write::{Manner, Written, typed},
};
use crate::{
    Control,
    settings::{self, Focus, Maker, Object, Rules},
};

const EXAMPLE: &str =
    r#"{"id":"acme","name":"Acme","quota":{"events_per_second":50,"endpoints":20,"dead_letters":100000}}"#;

const TAG: &str = "tenants";

pub(crate) fn routes() -> ApiRouter<Arc<Control>> {
    ApiRouter::new()
        .api_route(
            "/v1/tenants",
            get_with(list, |op| {
                let op = describe::call(op, TAG, "listTenants", "List tenants", None);
                describe::answers::<200, describe::Page<Shown>>(describe::paged(op))
            })
            .merge(post_with(create, |op| {
                let op = describe::call(op, TAG, "createTenant", "Create tenant", None);
                describe::answers::<201, Shown>(describe::takes::<Shown>(op, EXAMPLE))
            })),
        )
        .api_route(
            "/v1/tenants/{tenant}",
            get_with(show, |op| {
                describe::answers::<200, Shown>(describe::call(op, TAG, "getTenant", "Show tenant", Some(Scope::Read)))
            })
            .put_with(replace, |op| {
                let op = describe::conditional(describe::call(op, TAG, "putTenant", "Create or replace tenant", None));
                let op = describe::takes::<Shown>(op, r#"{"name":"Acme"}"#);
                describe::answers::<201, Shown>(describe::answers::<200, Shown>(op))
            })
            .patch_with(patch, |op| {
                let op = describe::conditional(describe::call(op, TAG, "patchTenant", "Change tenant", None));
                let op = describe::takes_patch::<Shown>(op, r#"{"quota":{"endpoints":30}}"#);
                describe::answers::<200, Shown>(op)
            })
            .delete_with(delete, |op| {
                let op = describe::conditional(describe::call(
                    op,
                    TAG,
                    "deleteTenant",
                    "Delete tenant and all it has",
                    None,
                ));
                describe::answers::<200, describe::Deleted>(op)
            }),
        )
}

/// A tenant by itself, for the description.
struct Shown;

impl JsonSchema for Shown {
    fn schema_name() -> Cow<'static, str> {
        "TenantSettings".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let quota = generator.subschema_for::<Quota>();
        json_schema!({
            "type": "object",
            "properties": {
                "id": {"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]{0,62}$"},
                "name": {"type": "string", "description": "As shown."},
                "quota": quota
            },
            "additionalProperties": false
        })
    }
}

/// As it is shown: without what belongs to it.
fn shown(id: &str, name: Option<&String>, quota: Option<Quota>) -> Object {
    let mut shown = Object::new();
    shown.insert("id".to_owned(), id.into());
    if let Some(name) = name {
        shown.insert("name".to_owned(), name.as_str().into());
    }
    if let Some(quota) = quota.filter(|quota| *quota != Quota::default()) {
        shown.insert("quota".to_owned(), json!(quota));
    }
    shown
}

fn shown_snapshot(tenant: &TenantSnapshot) -> Object {
    shown(&tenant.id, tenant.name.as_ref(), Some(tenant.quota))
}

async fn list(call: Call) -> Result<Response, Problem> {
    call.operator().await?;
    let page = Page::of(&call.query(&page::PARAMETERS)?)?;
    let snapshot = call.control.deps.store.snapshot().ok_or(Code::Unavailable)?;
    let mut tenants: Vec<_> = snapshot.tenants().collect();
    tenants.sort_by(|a, b| a.id.cmp(&b.id));
    let (items, next) = page.cut(tenants.iter().map(|tenant| (tenant.id.as_str(), shown_snapshot(tenant))));
    Ok(page::answer(items, next))
}

async fn show(call: Call) -> Result<Response, Problem> {
    let who = call.tenant(Scope::Read).await?;
    call.query(&[])?;
    let Some(tenant) = &who.tenant else { return Err(Code::NotFound.into()) };
    let version = tenant.versions.of(ItemKind::Tenant, &tenant.id);
    Ok(with_tag(Json(shown_snapshot(tenant)).into_response(), version))
}

async fn create(call: Call, input: Input) -> Result<Response, Problem> {
    write(call, input, Manner::Create).await
}

async fn replace(call: Call, input: Input) -> Result<Response, Problem> {
    write(call, input, Manner::Replace).await
}

async fn patch(call: Call, input: Input) -> Result<Response, Problem> {
    write(call, input, Manner::Patch).await
}

async fn write(call: Call, input: Input, manner: Manner) -> Result<Response, Problem> {
    let Who { author, .. } = call.operator().await?;
    call.query(&[])?;
    let control = call.control.clone();
    let (path_id, conditions) = (call.part("tenant").to_owned(), Conditions::of(call.headers()));
    let mut body = input.object().await?;
    let given = match body.shift_remove("id") {
        None | Some(Value::Null) => None,
        Some(Value::String(given)) => Some(given),
        Some(_) => return Err(Problem::new(Code::InvalidBody).error("/id", "expected a text")),
    };
    let id = match (manner, given) {
        (Manner::Create, Some(given)) => given,
        (Manner::Create, None) => made_id(&control.maker(), &control),
        (_, Some(given)) if given != path_id => {
            return Err(Problem::new(Code::InvalidBody).error("/id", "differs from the id in the path"));
        }
        _ => path_id,
    };
    let write = Write { id: id.clone(), manner, body, conditions, rules: control.deps.rules.clone() };
    let (written, edited) = control.change(Wish::of(&id, author), move |draft| write.decide(draft)).await?;
    Ok(answer(ItemKind::Tenant, &format!("/v1/tenants/{id}"), written, &edited))
}

fn made_id(maker: &Maker, control: &Control) -> String {
    let snapshot = control.deps.store.snapshot();
    maker.id(ItemKind::Tenant, |id| snapshot.as_ref().is_some_and(|snapshot| snapshot.tenant(id).is_some()))
}

struct Write {
    id: String,
    manner: Manner,
    body: Object,
    conditions: Conditions,
    rules: Rules,
}

impl Write {
    fn decide(self, draft: &mut Draft) -> Result<Written, Problem> {
        let before = draft.tenants().get(&self.id).cloned();
        if self.manner == Manner::Create && before.is_some() {
            return Err(Problem::new(Code::Conflict).detail("the id is already used"));
        }
        let version = draft.version(&self.id, ItemKind::Tenant, &self.id);
        self.conditions.check(before.as_ref().map(|_| version))?;
        let stored = before.as_ref().map(|tenant| shown(&tenant.id, tenant.name.as_ref(), tenant.quota));
        let merged = match (self.manner, &stored) {
            (Manner::Patch, Some(stored)) => settings::patched(&[], stored, self.body),
            (Manner::Patch, None) => return Err(Code::NotFound.into()),
            (_, stored) => settings::replaced(&[], stored.as_ref(), self.body),
        };
        let mut merged = merged.unwrap_or_default();
        if let Some(list) =
            ["endpoints", "subscriptions", "sources", "keys"].iter().find(|list| merged.contains_key(**list))
        {
            let message = "is not changed here: it has calls of its own, and POST /v1/apply takes everything";
            return Err(Problem::new(Code::InvalidBody).error(format!("/{list}"), message));
        }
        merged.insert("id".to_owned(), self.id.as_str().into());
        let Tenant { name, quota, .. } = typed(merged)?;
        let before_or_new = before.clone().unwrap_or_else(|| Tenant::new(&self.id));
        let quota = quota.filter(|quota| *quota != Quota::default());
        let after = Tenant { name, quota, ..before_or_new.clone() };
        settings::check(&before_or_new, &after, Focus { kind: ItemKind::Tenant, index: 0 }, &self.rules)?;
        let shown = shown(&after.id, after.name.as_ref(), after.quota);
        draft.put(after);
        Ok(Written { id: self.id, shown, made: Object::new(), is_new: before.is_none(), version })
    }
}

async fn delete(call: Call) -> Result<Response, Problem> {
    let Who { author, .. } = call.operator().await?;
    call.query(&[])?;
    let (id, conditions) = (call.part("tenant").to_owned(), Conditions::of(call.headers()));
    let wish = Wish::of(&id, author);
    let decide = move |draft: &mut Draft| {
        let version = draft.version(&id, ItemKind::Tenant, &id);
        let tenant = draft.remove(&id).ok_or(Code::NotFound)?;
        conditions.check(Some(version))?;
        Ok(everything_of(&tenant))
    };
    let (gone, _) = call.control.change(wish, decide).await?;
    Ok(Json(deleted(&gone)).into_response())
}

fn everything_of(tenant: &Tenant) -> Vec<(ItemKind, String)> {
    let head = std::iter::once((ItemKind::Tenant, tenant.id.clone()));
    let endpoints = tenant.endpoints.iter().map(|one| (ItemKind::Endpoint, one.id.clone()));
    let subscriptions = tenant.subscriptions.iter().map(|one| (ItemKind::Subscription, one.id.clone()));
    let sources = tenant.sources.iter().map(|one| (ItemKind::Source, one.id.clone()));
    let keys = tenant.keys.iter().map(|one| (ItemKind::Key, one.id.clone()));
    head.chain(endpoints).chain(subscriptions).chain(sources).chain(keys).collect()
}
