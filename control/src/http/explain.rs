//! Explains what an event would do: for every subscription of the tenant, whether it matches and why not.

use std::sync::Arc;

use axum::{
    Json,
    response::{IntoResponse as _, Response},
};
use schemars::JsonSchema;
use schemas::{
    Acceptance, Envelope, EventFacts, EventId, Mismatch, Refusal, RefusalKind, Scope, Subscription, peek_id, render,
};
use serde::Serialize;
use service::{
    chance,
    http::require_json,
    openapi::{ApiRouter, post_with},
    problem::{Code, Problem},
};
use store::TenantSnapshot;

use super::{
    context::{RequestBody, RequestContext},
    describe,
};
use crate::Control;

pub(crate) fn routes() -> ApiRouter<Arc<Control>> {
    ApiRouter::new().api_route(
        "/v1/tenants/{tenant}/explain",
        post_with(explain, |op| {
            let op = describe::operation(op, "events", "explain", "What an event would do", Some(Scope::Read));
            let op = describe::refuses(describe::more(op, "Nothing is published."), &[Code::InvalidEvent]);
            let example = r#"{"type":"message.received","channel":{"id":7},"ticket":{"id":1,"status":"open"}}"#;
            describe::answers::<200, ExplainAnswer>(describe::takes::<schemas::Event>(op, example))
        }),
    )
}

/// Every subscription of the tenant.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Explained")]
struct ExplainAnswer {
    /// In the order of their ids.
    results: Vec<Explanation>,
}

/// What one subscription makes of the event.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Explanation {
    /// Id of the subscription.
    subscription_id: String,
    /// Where it would be posted.
    endpoint_id: String,
    /// Whether a delivery would be made.
    matched: bool,
    /// Why not: the first dimension that did not match, `no_last_message`, `disabled` or `format_has_no_such_event`.
    reason: Option<&'static str>,
}

async fn explain(request: RequestContext, body: RequestBody) -> Result<Response, Problem> {
    let authorized = request.tenant(Scope::Read).await?;
    request.query(&[])?;
    let Some(tenant) = &authorized.tenant else { return Err(Code::NotFound.into()) };
    let (headers, body) = body.bytes().await?;
    require_json(&headers)?;
    let deps = &request.control.deps;
    let now = (deps.clock)();
    let id = peek_id(&body).map_err(|refusal| refused(&refusal))?;
    let id = id.unwrap_or_else(|| EventId::fresh(now, chance::bytes(&deps.chance)));
    let acceptance = Acceptance::new(id, now, &tenant.id);
    let envelope = Envelope::decode(&body, &acceptance).map_err(|refusal| refused(&refusal))?;
    let results = tenant.subscriptions.iter().map(|one| explanation(one, tenant, &envelope)).collect();
    Ok(Json(ExplainAnswer { results }).into_response())
}

/// Makes the problem that the intake would answer.
fn refused(refusal: &Refusal) -> Problem {
    match refusal.kind {
        RefusalKind::Malformed => Problem::new(Code::MalformedJson).detail(&refusal.message),
        _ => Problem::new(Code::InvalidEvent).error(&refusal.pointer, &refusal.message),
    }
}

fn explanation(subscription: &Subscription, tenant: &TenantSnapshot, envelope: &Envelope<'_>) -> Explanation {
    let reason = reason(subscription, tenant, envelope).err();
    Explanation {
        subscription_id: subscription.id.clone(),
        endpoint_id: subscription.endpoint_id.clone(),
        matched: reason.is_none(),
        reason,
    }
}

fn reason(subscription: &Subscription, tenant: &TenantSnapshot, envelope: &Envelope<'_>) -> Result<(), &'static str> {
    if !subscription.enabled {
        return Err("disabled");
    }
    let wanted = subscription.accepts(&EventFacts::of(&envelope.event)).map_err(name)?;
    let renders = tenant
        .endpoints
        .get(&subscription.endpoint_id)
        .is_some_and(|endpoint| !render(envelope, endpoint.format, &endpoint.format_options, wanted).is_empty());
    if renders { Ok(()) } else { Err("format_has_no_such_event") }
}

fn name(mismatch: Mismatch) -> &'static str {
    match mismatch {
        Mismatch::EventTypes => "event_types",
        Mismatch::ChannelIds => "channel_ids",
        Mismatch::QueueIds => "queue_ids",
        Mismatch::Directions => "directions",
        Mismatch::TicketStatuses => "ticket_statuses",
        Mismatch::Groups => "groups",
        Mismatch::NoLastMessage => "no_last_message",
    }
}
