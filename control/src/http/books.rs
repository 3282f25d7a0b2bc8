//! What was used, and who changed what.

use std::{collections::BTreeMap, sync::Arc};

use aide::axum::{ApiRouter, routing::get_with};
use axum::{
    Json,
    response::{IntoResponse as _, Response},
};
use schemars::json_schema;
use schemas::{Counts, Scope, time::rfc3339};
use serde_json::json;
use service::problem::{Code, Problem};
use store::{AuditEntry, Usage, UsageAndAudit};

use super::{
    call::Call,
    denied, describe,
    page::{self, Page},
};
use crate::Control;

/// Days that are shown where `from` is left out.
const USUAL_DAYS: u64 = 30;
const DAY_MS: u64 = 86_400_000;

pub(crate) fn routes() -> ApiRouter<Arc<Control>> {
    ApiRouter::new()
        .api_route(
            "/v1/tenants/{tenant}/usage",
            get_with(usage, |op| {
                let op = describe::call(op, "usage", "getUsage", "What a tenant used, by day", Some(Scope::Read));
                let day = || json_schema!({"type": "string", "format": "date"});
                let op = describe::parameter(op, "from", "The first day (UTC). Left out: 30 days ago.", day());
                let op = describe::parameter(op, "to", "The last day (UTC). Left out: today.", day());
                let by = json_schema!({"type": "string", "enum": ["day", "endpoint"]});
                let op = describe::parameter(op, "by", "`endpoint`: each endpoint's day by itself.", by);
                describe::answers::<200, UsageList>(op)
            }),
        )
        .api_route(
            "/v1/tenants/{tenant}/audit",
            get_with(tenant_audit, |op| {
                let op =
                    describe::call(op, "audit", "getTenantAudit", "Who changed what of a tenant", Some(Scope::Read));
                describe::answers::<200, describe::Page<AuditEntry>>(describe::paged(op))
            }),
        )
        .api_route(
            "/v1/audit",
            get_with(audit, |op| {
                let op = describe::call(op, "audit", "getAudit", "Who changed what of any tenant", None);
                describe::answers::<200, describe::Page<AuditEntry>>(describe::paged(op))
            }),
        )
}

/// Usage by day.
#[derive(schemars::JsonSchema)]
#[expect(dead_code, reason = "described only")]
struct UsageList {
    /// In the order of days and endpoints.
    items: Vec<Usage>,
}

fn usage_and_audit(control: &Control) -> Result<&dyn UsageAndAudit, Problem> {
    let none = "this store keeps no usage and no audit log: sqlite: and postgres: do";
    control.deps.store.usage_and_audit().ok_or_else(|| Problem::new(Code::Conflict).detail(none))
}

async fn usage(call: Call) -> Result<Response, Problem> {
    let who = call.tenant(Scope::Read).await?;
    let query = call.query(&["from", "to", "by"])?;
    let now = (call.control.deps.clock)();
    let (mut from, mut to) = (day(now.saturating_sub((USUAL_DAYS - 1) * DAY_MS)), day(now));
    let mut by_endpoint = false;
    for (name, text) in query {
        match (name.as_str(), text.as_str()) {
            ("by", "endpoint" | "day") => by_endpoint = text == "endpoint",
            ("by", _) => return Err(Problem::new(Code::InvalidParameter).detail("by: expected day or endpoint")),
            ("from", _) => from = read_day(&name, text)?,
            _ => to = read_day(&name, text)?,
        }
    }
    let found = usage_and_audit(&call.control)?.usage(who.tenant_id(), &from, &to).await;
    let found = found.map_err(|error| denied::away(&error))?;
    let items = if by_endpoint { found } else { by_day(found) };
    Ok(Json(json!({"items": items})).into_response())
}

fn day(ms: u64) -> String {
    rfc3339(ms).chars().take("2026-11-21".len()).collect()
}

fn read_day(name: &str, text: String) -> Result<String, Problem> {
    let is_day = text.len() == "2026-11-21".len() && schemas::time::unix_ms(&format!("{text}T00:00:00Z")).is_some();
    let wrong = || Problem::new(Code::InvalidParameter).detail(format!("{name}: expected a day, such as 2026-11-21"));
    if is_day { Ok(text) } else { Err(wrong()) }
}

fn by_day(found: Vec<Usage>) -> Vec<Usage> {
    let mut days = BTreeMap::<String, Counts>::new();
    for Usage { day, counts, .. } in found {
        *days.entry(day).or_default() += counts;
    }
    days.into_iter().map(|(day, counts)| Usage { day, endpoint_id: None, counts }).collect()
}

async fn tenant_audit(call: Call) -> Result<Response, Problem> {
    let who = call.tenant(Scope::Read).await?;
    entries(&call, Some(who.tenant_id())).await
}

async fn audit(call: Call) -> Result<Response, Problem> {
    call.operator().await?;
    entries(&call, None).await
}

/// The newest first; a page goes on before the last entry of the one before.
async fn entries(call: &Call, tenant: Option<&str>) -> Result<Response, Problem> {
    let Page { limit, after } = Page::of(&call.query(&page::PARAMETERS)?)?;
    let before = after.map(|id| id.parse().map_err(|_| page::wrong_cursor())).transpose()?;
    // One more than is shown tells whether there is a next page.
    let wanted = u32::try_from(limit + 1).unwrap_or(u32::MAX);
    let found = usage_and_audit(&call.control)?.audit(tenant, before, wanted).await;
    let mut found = found.map_err(|error| denied::away(&error))?;
    let is_more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| is_more).map(|last| page::cursor(&last.id.to_string()));
    Ok(page::answer(found, next))
}
