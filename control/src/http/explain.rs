//! Explains what an event, or a vendor's body, would do: for every subscription of the tenant, whether it matches and
//! why not.

use std::sync::Arc;

use axum::{
    Json,
    response::{IntoResponse as _, Response},
};
use schemars::{JsonSchema, json_schema};
use schemas::{
    Acceptance, ChannelId, Dialect, Endpoint, EndpointState, Envelope, EventFacts, EventId, Mismatch, NO_QUEUE,
    Refusal, RefusalKind, Scope, SourceContext, Subscription, VendorEvent, Warning, peek_id, render,
};
use serde::Serialize;
use serde_json::{Value, json};
use service::{
    chance,
    http::require_json,
    openapi::{ApiRouter, post_with},
    problem::{Code, Problem},
    suggest::suggestion,
};
use store::TenantSnapshot;

use super::{
    context::{RequestBody, RequestContext},
    describe::{self, parameter},
};
use crate::Control;

pub(crate) fn routes() -> ApiRouter<Arc<Control>> {
    ApiRouter::new().api_route(
        "/v1/tenants/{tenant}/explain",
        post_with(explain, |op| {
            let op = describe::operation(op, "events", "explain", "What an event would do", Some(Scope::Read));
            let op = describe::more(
                describe::refuses(op, &[Code::InvalidEvent]),
                "Nothing is published. With `dialect` or `source_id`, the body is a vendor's, as the vendor sends it.",
            );
            let dialects = json_schema!({"type": "string", "enum": Dialect::ALL.map(Dialect::as_str)});
            let text = json_schema!({"type": "string"});
            let op = parameter(op, "dialect", "Read the body as this vendor's.", dialects);
            let op = parameter(op, "source_id", "Read the body as this source of the tenant would.", text.clone());
            let op = parameter(op, "channel_id", "Channel of a vendor's body that names none.", text);
            let example = r#"{"type":"message.received","channel":{"id":7},"ticket":{"id":1,"status":"open"}}"#;
            describe::answers::<200, ExplainAnswer>(describe::takes::<schemas::Event>(op, example))
        }),
    )
}

/// What an event would do.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Explained")]
struct ExplainAnswer {
    /// Every subscription of the tenant, in the order of their ids.
    results: Vec<Explanation>,
    /// What is probably a mistake in the event. Left out when there is nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    warnings: Vec<Warning>,
}

/// What one subscription makes of the event.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Explanation {
    /// Id of the subscription.
    subscription_id: String,
    /// Where it would be posted.
    endpoint_id: String,
    /// True when a delivery would be made.
    matched: bool,
    /// Why not: the first dimension that did not match, `no_last_message`, `disabled` or `format_has_no_such_event`. Where
    /// it matches, `paused` says that the delivery would wait until its endpoint is enabled.
    reason: Option<&'static str>,
    /// What the subscription wants in that dimension, or the format of its endpoint.
    expected: Value,
    /// What the event has there; null when it has nothing.
    actual: Value,
    /// State of the endpoint; null when there is no such endpoint.
    endpoint_state: Option<EndpointState>,
    /// Why the endpoint is disabled, if it is and the reason is known.
    disabled_reason: Option<String>,
    /// True when the delivery would be posted now: it would be made, and the endpoint is active.
    would_deliver: bool,
}

/// A reason why a subscription makes no delivery, with what it wants and what the event has.
struct Difference {
    reason: &'static str,
    expected: Value,
    actual: Value,
}

async fn explain(request: RequestContext, body: RequestBody) -> Result<Response, Problem> {
    let authorized = request.tenant(Scope::Read).await?;
    let source = ExplainedSource::read(request.query(&["dialect", "source_id", "channel_id"])?)?;
    let Some(tenant) = &authorized.tenant else { return Err(Code::NotFound.into()) };
    let (headers, body) = body.bytes().await?;
    require_json(&headers)?;
    let deps = &request.control.deps;
    let (now, chance) = ((deps.clock)(), chance::bytes(&deps.chance));
    let vendor = source.event(tenant, &body, (now, chance))?;
    let text = vendor.as_ref().map_or(&*body, |vendor| vendor.envelope.as_bytes());
    let id = peek_id(text).map_err(|refusal| refused(&refusal))?;
    let acceptance = Acceptance::new(id.unwrap_or_else(|| EventId::fresh(now, chance)), now, &tenant.id);
    let envelope = Envelope::decode(text, &acceptance).map_err(|refusal| refused(&refusal))?;
    let results = tenant.subscriptions.iter().map(|one| explanation(one, tenant, &envelope)).collect();
    let warnings = vendor.as_ref().map_or_else(|| envelope.warnings(), |vendor| vendor.warnings.clone());
    Ok(Json(ExplainAnswer { results, warnings }).into_response())
}

/// Through which source the event would come in. Without one, it is canonical.
#[derive(Default)]
struct ExplainedSource {
    dialect: Option<Dialect>,
    source_id: Option<String>,
    channel_id: Option<ChannelId>,
}

impl ExplainedSource {
    fn read(parameters: Vec<(String, String)>) -> Result<Self, Problem> {
        let mut source = Self::default();
        for (name, text) in parameters {
            match name.as_str() {
                "dialect" => source.dialect = Some(dialect(&text)?),
                "source_id" => source.source_id = Some(text),
                _ => source.channel_id = Some(ChannelId::Text(text)),
            }
        }
        match source {
            Self { dialect: Some(_), source_id: Some(_), .. } => Err(wrong("give dialect or source_id, not both")),
            Self { dialect: None, source_id: None, channel_id: Some(_) } => {
                Err(wrong("channel_id: needs a dialect or a source_id"))
            }
            source => Ok(source),
        }
    }

    /// The event in a vendor's body; none for a canonical one.
    fn event(
        &self,
        tenant: &TenantSnapshot,
        body: &[u8],
        (now, chance): (u64, [u8; 10]),
    ) -> Result<Option<VendorEvent>, Problem> {
        let config = match &self.source_id {
            Some(id) => {
                let known = tenant.sources.iter().find(|source| source.id == *id);
                Some(known.ok_or_else(|| wrong("source_id: the tenant has no such source"))?)
            }
            None => None,
        };
        let Some(dialect) = self.dialect.or(config.map(|source| source.dialect)) else { return Ok(None) };
        let tokens: Vec<_> =
            config.iter().flat_map(|source| source.tokens()).map(|(token, _)| token.reveal()).collect();
        let source = SourceContext {
            tenant: &tenant.id,
            source: config.map_or("explain", |source| &source.id),
            channel_id: self.channel_id.as_ref().or(config.and_then(|source| source.channel_id.as_ref())),
            keep_original: config.is_none_or(|source| source.keep_original),
            tokens: &tokens,
            now,
            chance,
        };
        schemas::read(dialect, body, &source).map(Some).map_err(|refusal| refused(&refusal))
    }
}

fn dialect(text: &str) -> Result<Dialect, Problem> {
    let known = Dialect::ALL.map(Dialect::as_str);
    let found = Dialect::ALL.into_iter().find(|dialect| dialect.as_str() == text);
    found.ok_or_else(|| wrong(format!("dialect: unknown word, {}", suggestion(text, &known))))
}

fn wrong(detail: impl Into<String>) -> Problem {
    Problem::new(Code::InvalidParameter).detail(detail)
}

/// Makes the problem that the intake would answer.
fn refused(refusal: &Refusal) -> Problem {
    match refusal.kind {
        RefusalKind::Malformed => Problem::new(Code::MalformedJson).detail(&refusal.message),
        _ => Problem::new(Code::InvalidEvent).error(&refusal.pointer, &refusal.message),
    }
}

fn explanation(subscription: &Subscription, tenant: &TenantSnapshot, envelope: &Envelope<'_>) -> Explanation {
    let endpoint = tenant.endpoints.get(&subscription.endpoint_id);
    let difference = difference(subscription, endpoint.map(|endpoint| &**endpoint), envelope);
    let matched = difference.is_none();
    let endpoint_state = endpoint.map(|endpoint| endpoint.state);
    let is_paused = endpoint_state == Some(EndpointState::Paused);
    let (reason, expected, actual) = match difference {
        Some(Difference { reason, expected, actual }) => (Some(reason), expected, actual),
        None => (is_paused.then_some("paused"), Value::Null, Value::Null),
    };
    Explanation {
        subscription_id: subscription.id.clone(),
        endpoint_id: subscription.endpoint_id.clone(),
        matched,
        reason,
        expected,
        actual,
        endpoint_state,
        disabled_reason: endpoint.and_then(|endpoint| endpoint.disabled_reason.clone()),
        would_deliver: matched && endpoint_state == Some(EndpointState::Active),
    }
}

/// Why the subscription makes no delivery of the event; none when it makes one.
fn difference(subscription: &Subscription, endpoint: Option<&Endpoint>, envelope: &Envelope<'_>) -> Option<Difference> {
    if !subscription.enabled {
        return Some(Difference { reason: "disabled", expected: Value::Null, actual: Value::Null });
    }
    let facts = EventFacts::of(&envelope.event);
    let wanted = match subscription.accepts(&facts) {
        Ok(wanted) => wanted,
        Err(mismatch) => return Some(mismatched(subscription, &facts, mismatch)),
    };
    let renders = endpoint
        .is_some_and(|endpoint| !render(envelope, endpoint.format, &endpoint.format_options, wanted).is_empty());
    let expected = json!(endpoint.map(|endpoint| endpoint.format));
    (!renders).then(|| Difference { reason: "format_has_no_such_event", expected, actual: json!(facts.event_type) })
}

/// The first dimension that differs, with what the subscription wants in it and what the event has.
fn mismatched(subscription: &Subscription, facts: &EventFacts<'_>, mismatch: Mismatch) -> Difference {
    let (expected, actual) = match mismatch {
        Mismatch::EventTypes => (json!(subscription.event_types), json!(facts.event_type)),
        Mismatch::ChannelIds => (json!(subscription.channel_ids), json!(facts.channel_id)),
        Mismatch::QueueIds => (json!(subscription.queue_ids), json!(facts.queue_id.unwrap_or(NO_QUEUE))),
        Mismatch::Directions => (json!(subscription.directions), json!(facts.direction)),
        Mismatch::TicketStatuses => (json!(subscription.ticket_statuses), json!(facts.ticket_status)),
        Mismatch::Groups => (json!(subscription.groups), json!(facts.is_group)),
        Mismatch::NoLastMessage => (Value::Null, Value::Null),
    };
    Difference { reason: mismatch.as_str(), expected, actual }
}
