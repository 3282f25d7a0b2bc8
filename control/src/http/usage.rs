//! Usage: what a tenant used, by day.

use std::{collections::BTreeMap, sync::Arc};

use aide::axum::{ApiRouter, routing::get_with};
use axum::{
    Json,
    response::{IntoResponse as _, Response},
};
use schemars::json_schema;
use schemas::{Counts, Scope, time::rfc3339};
use service::problem::{Code, Problem};
use store::{Usage, UsageAndAudit};

use super::{context::RequestContext, describe, problems};
use crate::Control;

/// Days that are shown when `from` is left out.
const DEFAULT_DAYS: u64 = 30;
const DAY_MS: u64 = 86_400_000;

pub(crate) fn routes() -> ApiRouter<Arc<Control>> {
    ApiRouter::new().api_route(
        "/v1/tenants/{tenant}/usage",
        get_with(usage, |op| {
            let op = describe::operation(op, "usage", "getUsage", "What a tenant used, by day", Some(Scope::Read));
            let day = || json_schema!({"type": "string", "format": "date"});
            let op = describe::parameter(op, "from", "The first day (UTC). Left out: 30 days ago.", day());
            let op = describe::parameter(op, "to", "The last day (UTC). Left out: today.", day());
            let by = json_schema!({"type": "string", "enum": ["day", "endpoint"]});
            let op = describe::parameter(op, "by", "`endpoint`: each endpoint's day by itself.", by);
            describe::answers::<200, UsageList>(op)
        }),
    )
}

/// Usage by day.
#[derive(serde::Serialize, schemars::JsonSchema)]
struct UsageList {
    /// In the order of days and endpoints.
    items: Vec<Usage>,
}

/// Returns the store's usage and audit log, or 409 when it keeps none.
pub(super) fn usage_and_audit(control: &Control) -> Result<&dyn UsageAndAudit, Problem> {
    let none = "this store keeps no usage and no audit log: sqlite: and postgres: do";
    control.deps.store.usage_and_audit().ok_or_else(|| Problem::new(Code::Conflict).detail(none))
}

async fn usage(request: RequestContext) -> Result<Response, Problem> {
    let authorized = request.tenant(Scope::Read).await?;
    let query = request.query(&["from", "to", "by"])?;
    let now = (request.control.deps.clock)();
    let (mut from, mut to) = (day(now.saturating_sub((DEFAULT_DAYS - 1) * DAY_MS)), day(now));
    let mut by_endpoint = false;
    for (name, text) in query {
        match (name.as_str(), text.as_str()) {
            ("by", "endpoint" | "day") => by_endpoint = text == "endpoint",
            ("by", _) => return Err(Problem::new(Code::InvalidParameter).detail("by: expected day or endpoint")),
            ("from", _) => from = read_day(&name, text)?,
            _ => to = read_day(&name, text)?,
        }
    }
    let found = usage_and_audit(&request.control)?.usage(authorized.tenant_id(), &from, &to).await;
    let found = found.map_err(|error| problems::store_unavailable(&error))?;
    let items = if by_endpoint { found } else { by_day(found) };
    Ok(Json(UsageList { items }).into_response())
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
