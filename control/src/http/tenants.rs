//! Tenants: the operator creates, changes and deletes them, and a tenant may look at itself.

use std::{borrow::Cow, sync::Arc};

use axum::response::Response;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use schemas::{HistoryRetention, Quota, Scope, SecretField, SecretFields, Tenant};
use serde::{Deserialize, Serialize};
use service::{
    openapi::{ApiRouter, Operation, get_with},
    problem::{Code, Problem},
};
use store::{Draft, ItemKind, TenantSnapshot};
use tokio::time::Instant;

use super::{
    context::{Permission, RequestContext},
    describe,
    page::{self, Page},
    read::show,
    resource::{ChangeContext, Resource, object_of},
    write,
};
use crate::{
    Control,
    settings::{LISTS, Object, ProblemScope, list_name},
};

const EXAMPLE: &str = r#"{"id":"acme","name":"Acme","quota":{"events_per_second":50,"endpoints":20,"dead_letters":100000,"dead_letter_bytes":1000000000}}"#;

const TAG: &str = "tenants";

pub(crate) fn routes() -> ApiRouter<Arc<Control>> {
    ApiRouter::new()
        .api_route(
            "/v1/tenants",
            get_with(list, |op| {
                let op = operation(op, "listTenants", "List tenants", None);
                describe::answers::<200, describe::PageSchema<TenantSettings>>(describe::paged(op))
            })
            .post_with(write::create::<TenantSettings>, |op| {
                let op = operation(op, "createTenant", "Create a tenant", None);
                describe::answers::<201, TenantSettings>(describe::creates::<TenantSettings>(op, EXAMPLE))
            }),
        )
        .api_route(
            "/v1/tenants/{tenant}",
            get_with(show::<TenantSettings>, |op| {
                let op = operation(op, "getTenant", "Show a tenant", Some(Scope::Read));
                describe::answers::<200, TenantSettings>(describe::versioned(op))
            })
            .put_with(write::replace::<TenantSettings>, |op| {
                let op = operation(op, "putTenant", "Create or replace a tenant", None);
                let op = describe::replaces::<TenantSettings>(op, r#"{"name":"Acme"}"#);
                describe::answers::<201, TenantSettings>(describe::answers::<200, TenantSettings>(op))
            })
            .patch_with(write::patch::<TenantSettings>, |op| {
                let op = operation(op, "patchTenant", "Change a tenant", None);
                let op = describe::patches::<TenantSettings>(op, r#"{"quota":{"endpoints":30}}"#);
                describe::answers::<200, TenantSettings>(op)
            })
            .delete_with(write::delete::<TenantSettings>, |op| {
                let op = operation(op, "deleteTenant", "Delete a tenant and all that it has", None);
                describe::answers::<200, describe::Deleted>(describe::conditional(op))
            }),
        )
}

fn operation(op: Operation, id: &str, summary: &str, scope: Option<Scope>) -> Operation {
    describe::operation(op, TAG, id, summary, scope)
}

/// A tenant without its lists.
#[derive(Serialize, Deserialize)]
#[serde(from = "Tenant")]
struct TenantSettings {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// None when the quota bounds nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    quota: Option<Quota>,
    /// None when it keeps its history as long as everybody.
    #[serde(skip_serializing_if = "Option::is_none")]
    retention: Option<HistoryRetention>,
}

impl From<Tenant> for TenantSettings {
    fn from(Tenant { id, name, quota, retention, .. }: Tenant) -> Self {
        let quota = quota.filter(|quota| *quota != Quota::default());
        Self { id, name, quota, retention: retention.filter(|own| *own != HistoryRetention::default()) }
    }
}

impl SecretFields for TenantSettings {
    const SECRET_FIELDS: &'static [SecretField<Self>] = &[];
}

impl Resource for TenantSettings {
    const CHANGED_BY: Permission = Permission::Operator;
    const PATH_ID: &'static str = "tenant";
    const ID_PREFIX: &'static str = "t";
    const READ_ONLY: &'static [&'static str] = &["used"];

    fn items(&self) -> Vec<(ItemKind, &str)> {
        vec![(ItemKind::Tenant, &self.id)]
    }

    fn find(tenant: &Tenant, id: &str) -> Option<Self> {
        let Tenant { name, quota, retention, .. } = tenant;
        let head = || Tenant { name: name.clone(), quota: *quota, retention: *retention, ..Tenant::new(id) };
        (tenant.id == id).then(|| head().into())
    }

    fn in_snapshot(tenant: &TenantSnapshot, id: &str) -> Option<Self> {
        (tenant.id == id).then(|| shown_in_snapshot(tenant))
    }

    fn absent_tenant(id: &str) -> Result<Tenant, Problem> {
        Ok(Tenant::new(id))
    }

    fn check_fields(fields: &Object) -> Result<(), Problem> {
        match LISTS.into_iter().map(list_name).find(|list| fields.contains_key(*list)) {
            Some(list) => {
                let message = "is not changed here: it has calls of its own, and POST /v1/apply takes everything";
                Err(Problem::new(Code::InvalidBody).error(format!("/{list}"), message))
            }
            None => Ok(()),
        }
    }

    fn observed(_: &str, tenant: &TenantSnapshot, control: &Control) -> Object {
        [("used".to_owned(), object_of(&used(tenant, control)).into())].into_iter().collect()
    }

    fn put(self, tenant: &mut Tenant, _: Option<&Self>, _: &ChangeContext) -> Result<ProblemScope, Problem> {
        (tenant.name, tenant.quota, tenant.retention) = (self.name, self.quota, self.retention);
        Ok(ProblemScope { kind: ItemKind::Tenant, index: 0 })
    }

    fn remove(self, draft: &mut Draft, _: &str) -> Result<Vec<(ItemKind, String)>, Problem> {
        let tenant = draft.remove(&self.id).ok_or(Code::NotFound)?;
        let endpoints = tenant.endpoints.iter().map(|one| (ItemKind::Endpoint, one.id.clone()));
        let subscriptions = tenant.subscriptions.iter().map(|one| (ItemKind::Subscription, one.id.clone()));
        let sources = tenant.sources.iter().map(|one| (ItemKind::Source, one.id.clone()));
        let keys = tenant.keys.iter().map(|one| (ItemKind::Key, one.id.clone()));
        let items = endpoints.chain(subscriptions).chain(sources).chain(keys);
        Ok(std::iter::once((ItemKind::Tenant, tenant.id.clone())).chain(items).collect())
    }
}

/// Returns what a tenant uses of each quota. Dead letters are left out until they have been counted.
pub(super) fn used(tenant: &TenantSnapshot, control: &Control) -> Quota {
    let dead_letters = control.dead_letters_of(&tenant.id);
    Quota {
        events_per_second: Some(control.event_rates.per_second(&tenant.id, Instant::now())),
        endpoints: Some(tenant.endpoints.len() as u64),
        subscriptions: Some(tenant.subscriptions.len() as u64),
        sources: Some(tenant.sources.len() as u64),
        keys: Some(tenant.keys.len() as u64),
        dead_letters: dead_letters.map(|used| used.whole),
        dead_letter_bytes: dead_letters.map(|used| used.bytes),
    }
}

impl JsonSchema for TenantSettings {
    fn schema_name() -> Cow<'static, str> {
        "TenantSettings".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let quota = generator.subschema_for::<Quota>();
        let retention = generator.subschema_for::<HistoryRetention>();
        let mut used = quota.clone();
        used.insert("readOnly".to_owned(), true.into());
        let about = "What the tenant uses of each quota, when it is read: events per second over the last minute, and dead \
            letters as they were last counted, which is every ten seconds.";
        used.insert("description".to_owned(), about.into());
        json_schema!({
            "type": "object",
            "description": "A tenant with its quota, what it uses of it, and how long its history is kept.",
            "required": ["id"],
            "properties": {
                "id": {"type": "string", "pattern": schemas::pattern::ID, "description": "Id of the tenant."},
                "name": {"type": "string", "description": "Display name."},
                "quota": quota,
                "retention": retention,
                "used": used,
            },
            "additionalProperties": false
        })
    }
}

fn shown_in_snapshot(tenant: &TenantSnapshot) -> TenantSettings {
    let TenantSnapshot { name, quota, retention, .. } = tenant;
    Tenant { name: name.clone(), quota: Some(*quota), retention: *retention, ..Tenant::new(&tenant.id) }.into()
}

async fn list(request: RequestContext) -> Result<Response, Problem> {
    request.operator().await?;
    let page = Page::of(&request.query(&page::PARAMETERS)?)?;
    let snapshot = request.control.deps.store.snapshot().ok_or(Code::Unavailable)?;
    let mut tenants: Vec<_> = snapshot.tenants().collect();
    tenants.sort_by(|a, b| a.id.cmp(&b.id));
    let (tenants, next) = page.cut(tenants.iter().map(|tenant| (tenant.id.as_str(), *tenant)));
    let shown = |tenant: &Arc<TenantSnapshot>| {
        let mut shown = object_of(&shown_in_snapshot(tenant));
        shown.extend(TenantSettings::observed(&tenant.id, tenant, &request.control));
        shown
    };
    Ok(page::answer(tenants.into_iter().map(shown).collect(), next))
}
