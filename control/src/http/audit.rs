//! The audit log: who changed what.

use std::sync::Arc;

use axum::response::Response;
use schemas::Scope;
use service::{
    openapi::{ApiRouter, Operation, get_with},
    problem::{Code, Problem},
};
use store::{AuditEntry, is_older};

use super::{
    context::RequestContext,
    describe,
    page::{self, Page},
    problems,
    usage::usage_and_audit,
};
use crate::Control;

pub(crate) fn routes() -> ApiRouter<Arc<Control>> {
    ApiRouter::new()
        .api_route(
            "/v1/tenants/{tenant}/audit",
            get_with(tenant_audit, |op| {
                let op = describe::operation(
                    op,
                    "audit",
                    "getTenantAudit",
                    "Show who changed what of a tenant",
                    Some(Scope::Read),
                );
                let op =
                    describe::more(op, "The newest change comes first. The log of a tenant begins with its creation, also where an earlier tenant had its id. \
                     409 where the store keeps no audit log.");
                describe::answers::<200, describe::PageSchema<AuditEntry>>(listed(op))
            }),
        )
        .api_route(
            "/v1/audit",
            get_with(audit, |op| {
                let op = describe::operation(op, "audit", "getAudit", "Show who changed what of all tenants", None);
                describe::answers::<200, describe::PageSchema<AuditEntry>>(listed(op))
            }),
        )
}

/// Describes a list that some stores do not keep.
fn listed(op: Operation) -> Operation {
    describe::refuses(describe::paged(op), &[Code::Conflict])
}

async fn tenant_audit(request: RequestContext) -> Result<Response, Problem> {
    let authorized = request.tenant(Scope::Read).await?;
    let tenant = authorized.tenant_id();
    entries(&request, Some(tenant), request.control.created(tenant)).await
}

async fn audit(request: RequestContext) -> Result<Response, Problem> {
    request.operator().await?;
    entries(&request, None, 0).await
}

/// Reads one page of the log, the newest entry first. The cursor is the id of the last entry of the page before. The
/// tenant was created at the revision `since`: older entries are those of a former tenant of its id.
async fn entries(request: &RequestContext, tenant: Option<&str>, since: u64) -> Result<Response, Problem> {
    let Page { limit, after } = Page::of(&request.query(&page::PARAMETERS)?)?;
    let before = after.map(|id| id.parse().map_err(|_| page::wrong_cursor())).transpose()?;
    // One more entry than is shown tells whether there is a next page.
    let wanted = u32::try_from(limit + 1).unwrap_or(u32::MAX);
    let found = usage_and_audit(&request.control)?.audit(tenant, before, wanted).await;
    let mut found = found.map_err(|error| problems::store_unavailable(&error))?;
    found.truncate(found.iter().take_while(|entry| !is_older(entry.revision, since)).count());
    let is_more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| is_more).map(|last| page::cursor(&last.id.to_string()));
    Ok(page::answer(found, next))
}
