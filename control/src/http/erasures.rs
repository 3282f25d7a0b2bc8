//! Erasures: what is kept of a contact, or of some events, goes.

use std::sync::Arc;

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use history::tenant_scope;
use schemars::{JsonSchema, Schema};
use schemas::{
    EventId, Scope,
    pointer::to_member,
    time::{Moment, rfc3339},
};
use serde::Serialize;
use serde_json::{Value, json};
use service::{
    openapi::{ApiRouter, get_with, post_with},
    problem::{Code, Problem},
};
use store::Job;

use super::{
    context::{RequestBody, RequestContext},
    describe,
    history::{history_of, unavailable},
};
use crate::{
    Control, NotStarted,
    erasures::{ERASURE, ErasureProgress, ErasureSpec, MeantContact},
};

const TAG: &str = "history";
/// Most events of one request.
const MAX_EVENTS: usize = 1_000;
/// Longest contact, in characters.
const MAX_CONTACT: usize = 200;

pub(crate) fn routes() -> ApiRouter<Arc<Control>> {
    ApiRouter::new()
        .api_route(
            "/v1/tenants/{tenant}/erasures",
            post_with(start, |op| {
                let summary = "Erase what is kept of a contact, or of events";
                let op = describe::operation(op, TAG, "startErasure", summary, Some(Scope::Manage));
                let op = describe::more(
                    op,
                    "History loses bodies, answers and the contact's token, and still tells that something was sent. Dead letters \
                     and parked messages end, and their bodies are not shown any more. What waits is delivered, unless `waiting` \
                     drops it. It goes on when `control` is started anew. The audit log says who asked for it, and not whom it \
                     was about. Erasing by contact needs history: 409 where nothing is recorded.",
                );
                let op = describe::takes::<ErasureBody>(op, r#"{"contact":"+55 11 99999-0001","waiting":false}"#);
                describe::answers::<202, ErasureAnswer>(describe::refuses(op, &[Code::HistoryOff]))
            }),
        )
        .api_route(
            "/v1/tenants/{tenant}/erasures/{id}",
            get_with(show, |op| {
                let op = describe::operation(op, TAG, "getErasure", "Watch an erasure", Some(Scope::Read));
                describe::answers::<200, ErasureAnswer>(op)
            }),
        )
}

/// What is to be erased: a contact or events.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, transform = one_of_both)]
#[expect(dead_code, reason = "described only: it is read by hand, so that every mistake is named")]
struct ErasureBody {
    /// The contact's number in any notation, or its id where it has none.
    #[schemars(length(max = MAX_CONTACT), regex(pattern = r"\S"))]
    contact: Option<String>,
    /// Ids of events, instead of a contact.
    #[schemars(extend("items" = {"type": "string", "pattern": schemas::pattern::EVENT_ID}, "minItems" = 1, "maxItems" = MAX_EVENTS))]
    event_ids: Option<Vec<String>>,
    /// Also drop deliveries that still wait for an attempt.
    waiting: Option<bool>,
}

/// Says that a contact and events exclude each other.
fn one_of_both(schema: &mut Schema) {
    schema.insert("if".to_owned(), json!({"properties": {"contact": {"type": "string"}}, "required": ["contact"]}));
    schema.insert("then".to_owned(), json!({"properties": {"event_ids": {"type": "null"}}}));
    schema
        .insert("else".to_owned(), json!({"properties": {"event_ids": {"type": "array"}}, "required": ["event_ids"]}));
}

/// An erasure.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Erasure")]
struct ErasureAnswer {
    /// A UUIDv7.
    id: String,
    /// `running`, `done`, or `stopped` when the tenant was deleted.
    state: &'static str,
    /// What was erased so far.
    erased: ErasedAnswer,
    /// When it was started.
    #[schemars(with = "Moment")]
    started_at: String,
    /// When it ended; null while it runs.
    #[schemars(with = "Option<Moment>")]
    ended_at: Option<String>,
}

/// How much was erased.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Erased")]
struct ErasedAnswer {
    /// Events in history.
    events: u64,
    /// Their deliveries.
    deliveries: u64,
    /// Dead letters that were alive.
    dead_letters: u64,
    /// Parked messages.
    parked: u64,
}

impl From<Job> for ErasureAnswer {
    fn from(job: Job) -> Self {
        let ErasureProgress { events, deliveries, dead_letters, parked, .. } = ErasureProgress::read(&job);
        Self {
            id: job.id,
            state: job.state.as_str(),
            erased: ErasedAnswer { events, deliveries, dead_letters, parked },
            started_at: rfc3339(job.started_at),
            ended_at: job.ended_at.map(rfc3339),
        }
    }
}

async fn start(request: RequestContext, body: RequestBody) -> Result<Response, Problem> {
    let authorized = request.tenant(Scope::Manage).await?;
    request.query(&[])?;
    let (control, tenant) = (&request.control, authorized.tenant_id());
    let Asked { contact, event_ids, waiting } = Asked::read(body.object().await?)?;
    let contact = match contact {
        Some(contact) => {
            let history = history_of(control)?;
            let key = history.tenant_key(&tenant_scope(tenant, control.created(tenant))).await;
            Some(MeantContact::of(&key.map_err(|error| unavailable(&error))?, &contact))
        }
        None => None,
    };
    let spec = ErasureSpec { contact, event_ids, waiting };
    let job = control.start_erasure(tenant, &spec, &authorized.author).await?;
    Ok((StatusCode::ACCEPTED, Json(ErasureAnswer::from(job))).into_response())
}

async fn show(request: RequestContext) -> Result<Response, Problem> {
    let authorized = request.tenant(Scope::Read).await?;
    request.query(&[])?;
    let (control, tenant, id) = (&request.control, authorized.tenant_id(), request.path_parameter("id"));
    let job = control.control_state().map_err(NotStarted::from)?.job(id).await.map_err(NotStarted::from)?;
    let is_its =
        |job: &Job| job.kind == ERASURE && job.tenant == tenant && job.tenant_created == control.created(tenant);
    let none = || Problem::new(Code::NotFound).detail(format!("there is no erasure `{id}` of tenant `{tenant}`"));
    Ok(Json(ErasureAnswer::from(job.filter(is_its).ok_or_else(none)?)).into_response())
}

/// A request's body.
#[derive(Debug, Default, PartialEq)]
struct Asked {
    contact: Option<String>,
    event_ids: Vec<String>,
    waiting: bool,
}

impl Asked {
    fn read(fields: impl IntoIterator<Item = (String, Value)>) -> Result<Self, Problem> {
        let (mut asked, mut wrong) = (Self::default(), Problem::new(Code::InvalidBody));
        for (name, value) in fields.into_iter().filter(|(_, value)| !value.is_null()) {
            let pointer = to_member(&name);
            match (name.as_str(), value) {
                ("contact", Value::String(contact))
                    if !contact.trim().is_empty() && contact.chars().count() <= MAX_CONTACT =>
                {
                    asked.contact = Some(contact);
                }
                ("contact", _) => {
                    wrong =
                        wrong.error(pointer, format!("expected a number or an id of 1 to {MAX_CONTACT} characters"));
                }
                ("event_ids", Value::Array(ids)) if (1..=MAX_EVENTS).contains(&ids.len()) => {
                    for (at, id) in ids.iter().enumerate() {
                        match id.as_str().map(|id| EventId::try_from(id.to_owned())) {
                            Some(Ok(id)) => asked.event_ids.push(id.to_string()),
                            _ => wrong = wrong.error(format!("{pointer}/{at}"), "expected the id of an event"),
                        }
                    }
                }
                ("event_ids", _) => {
                    wrong = wrong.error(pointer, format!("expected a list of 1 to {MAX_EVENTS} ids of events"));
                }
                ("waiting", Value::Bool(waiting)) => asked.waiting = waiting,
                ("waiting", _) => wrong = wrong.error(pointer, "expected true or false"),
                _ => wrong = wrong.error(pointer, "unknown; there are contact, event_ids and waiting"),
            }
        }
        let is_one = asked.contact.is_some() == asked.event_ids.is_empty();
        if wrong.errors.is_empty() && !is_one {
            wrong = wrong.error("", "expected either contact or event_ids");
        }
        if wrong.errors.is_empty() { Ok(asked) } else { Err(wrong) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: &Value) -> Result<Asked, Vec<String>> {
        let fields = body.as_object().expect("an object").clone();
        Asked::read(fields).map_err(|wrong| {
            let mut pointers: Vec<_> = wrong.errors.into_iter().map(|error| error.pointer).collect();
            pointers.sort();
            pointers
        })
    }

    #[test]
    fn a_contact_or_events_are_asked_for() {
        let contact = json!({"contact": "+55 11 99999-0001", "event_ids": null});
        assert_eq!(read(&contact), Ok(Asked { contact: Some("+55 11 99999-0001".into()), ..Asked::default() }));
        let events = json!({"event_ids": ["e1", "e2"], "waiting": true});
        assert_eq!(
            read(&events),
            Ok(Asked { contact: None, event_ids: vec!["e1".into(), "e2".into()], waiting: true })
        );
    }

    #[test]
    fn a_mistake_is_named_with_its_place() {
        for (body, pointers) in [
            (json!({}), vec![""]),
            (json!({"contact": "1", "event_ids": ["e1"]}), vec![""]),
            (json!({"contact": " "}), vec!["/contact"]),
            (json!({"contact": 5_511_999_990_001_u64}), vec!["/contact"]),
            (json!({"event_ids": []}), vec!["/event_ids"]),
            (json!({"event_ids": ["e1", 2, ""]}), vec!["/event_ids/1", "/event_ids/2"]),
            (json!({"contact": "1", "waiting": "yes", "other": 1}), vec!["/other", "/waiting"]),
        ] {
            assert_eq!(read(&body), Err(pointers.into_iter().map(str::to_owned).collect()), "{body}");
        }
    }
}
