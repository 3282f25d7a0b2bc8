//! Usage: what a tenant used, by day.

use std::sync::Arc;

use axum::{
    Json,
    response::{IntoResponse as _, Response},
};
use schemars::json_schema;
use schemas::{
    Scope,
    time::{SINCE_1970, rfc3339, unix_ms},
};
use service::{
    openapi::{ApiRouter, get_with},
    problem::{Code, Problem},
};
use store::{Usage, UsageAndAudit, UsageScope};

use super::{context::RequestContext, describe, problems};
use crate::Control;

/// Days that are shown when `from` is left out.
const DEFAULT_DAYS: u64 = 30;
/// Most days of one answer: a year and a month; or a month of each endpoint, of which there may be thousands.
const MOST_DAYS: u64 = 400;
const MOST_DAYS_BY_ENDPOINT: u64 = 31;
const DAY_MS: u64 = 86_400_000;

pub(crate) fn routes() -> ApiRouter<Arc<Control>> {
    ApiRouter::new().api_route(
        "/v1/tenants/{tenant}/usage",
        get_with(usage, |op| {
            let op = describe::operation(op, "usage", "getUsage", "Show what a tenant used, by day", Some(Scope::Read));
            let day = || json_schema!({"type": "string", "format": "date", "pattern": SINCE_1970});
            let op = describe::parameter(
                op,
                "from",
                "The first day, in UTC. Left out: the last 30 days. One answer has at most 400 days.",
                day(),
            );
            let op = describe::parameter(op, "to", "The last day, in UTC. Left out: today.", day());
            let by = json_schema!({"type": "string", "enum": ["day", "endpoint"]});
            let op =
                describe::parameter(op, "by", "What one entry is about: a `day` of the whole tenant, or a day of each `endpoint`, of at most 31 days.", by);
            describe::answers::<200, UsageList>(describe::refuses(op, &[Code::Conflict]))
        }),
    )
}

/// What was used, by day.
#[derive(serde::Serialize, schemars::JsonSchema)]
struct UsageList {
    /// One for each day, or for each day and endpoint, in their order.
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
    let (scope, most) =
        if by_endpoint { (UsageScope::Endpoints, MOST_DAYS_BY_ENDPOINT) } else { (UsageScope::Tenant, MOST_DAYS) };
    if days_between(&from, &to) > most {
        let why = format!("from, to: one answer has at most {most} days: ask for fewer at a time");
        return Err(Problem::new(Code::InvalidParameter).detail(why));
    }
    let found = usage_and_audit(&request.control)?.usage(authorized.tenant_id(), scope, &from, &to).await;
    let items = found.map_err(|error| problems::usage_unavailable(&error))?;
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

/// Returns the number of days between two days, both included. 0 if the second is before the first.
fn days_between(from: &str, to: &str) -> u64 {
    let [from, to] = [from, to].map(|day| unix_ms(&format!("{day}T00:00:00Z")).unwrap_or(0));
    if from > to { 0 } else { (to - from) / DAY_MS + 1 }
}
