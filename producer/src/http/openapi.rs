//! The intake's routes, described for OpenAPI.

use schemars::JsonSchema;
use schemas::{Event, EventId, Warning};
use serde::Serialize;
use service::{
    openapi::{Operation, describe},
    problem::Code,
};

use crate::AcceptedEvent;

const EVENT: &str = r#"{"type":"message.received","channel":{"id":7},"ticket":{"id":1,"status":"open"},"message":{"direction":"inbound","text":"Hello"}}"#;
const WEBHOOK: &str = r#"{"acao":"start","mensagem":"Hello","companyId":1}"#;

const REPEATS: &str = "An event that is sent again byte for byte under its id is answered as `repeated`; another event under the id of a recent one refuses all with 409 `event_id_taken`.";

const WARNINGS: &str = "What is probably a mistake is accepted, and `warnings` say so; with `strict=true` it is refused with 422 `warned`.";

const LOOPS: &str = "A delivery that comes back in with its header `carteiro-hops` is accepted up to 3, and otherwise refused with 422 `event_loop`.";

/// One event, or several.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "described only: schemas::Submission reads it, without building it")]
enum Events {
    /// One event.
    One(Box<Event>),
    /// Several events.
    Many(EventList),
}

/// Up to 1,000 events, and 8 MiB.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "described only: schemas::Submission reads it, without building it")]
struct EventList {
    /// They are published in this order.
    #[schemars(length(max = 1000))]
    events: Vec<Event>,
}

/// Problems of both ways in.
const REFUSALS: [Code; 7] = [
    Code::Unauthorized,
    Code::EventIdTaken,
    Code::EventLoop,
    Code::InvalidEvent,
    Code::TooManyRequests,
    Code::Unavailable,
    Code::StorageFull,
];

/// The events that were taken in.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Accepted")]
pub(super) struct AcceptedEvents {
    /// One for each event, in the order in which they came.
    accepted: Vec<AcceptedEvent>,
    /// What is probably a mistake, at most 100 of it. Left out when there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    warnings: Vec<Warning>,
}

/// Largest number of warnings in an answer.
const MAX_WARNINGS: usize = 100;

impl From<Vec<AcceptedEvent>> for AcceptedEvents {
    fn from(mut accepted: Vec<AcceptedEvent>) -> Self {
        let warnings = accepted.iter_mut().flat_map(|event| std::mem::take(&mut event.warnings));
        let warnings = warnings.take(MAX_WARNINGS).collect();
        Self { accepted, warnings }
    }
}

/// The event that was taken in.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TakenWebhook")]
pub(super) struct AcceptedWebhook {
    /// Its id.
    #[schemars(with = "String")]
    id: EventId,
    /// True when the same body was taken in before, so that it was not published again.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schemars(default)]
    repeated: bool,
    /// What is probably a mistake. Left out when there is nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    warnings: Vec<Warning>,
}

impl From<AcceptedEvent> for AcceptedWebhook {
    fn from(AcceptedEvent { id, repeated, warnings }: AcceptedEvent) -> Self {
        Self { id, repeated, warnings }
    }
}

/// A vendor's body: any JSON, since what no dialect knows is kept as it is.
#[derive(JsonSchema)]
#[schemars(transparent)]
#[expect(dead_code, reason = "described only")]
struct Webhook(serde_json::Value);

pub(super) fn events(op: Operation) -> Operation {
    let op = describe::call(op, "events", "publishEvents", "Publish events", "Needs the scope `publish`.");
    let op = describe::strict(describe::more(op, WARNINGS));
    let op = describe::more(op, LOOPS);
    let op = describe::more(op, REPEATS);
    let op = describe::more(op, "Answered only once every event is safe. One that is not valid refuses all.");
    let op = describe::refuses(describe::takes::<Events>(op, EVENT), &REFUSALS);
    describe::answers::<202, AcceptedEvents>(describe::refuses(op, &[Code::Forbidden]))
}

pub(super) fn webhook(op: Operation) -> Operation {
    let who = "Needs no key but the token in the path, and the header `X-N8N-API-KEY` where the source has one.";
    let op = describe::call(op, "events", "receiveWebhook", "Take in a vendor's webhook", who);
    let op = describe::strict(describe::more(op, WARNINGS));
    let op = describe::more(op, LOOPS);
    let op = describe::refuses(describe::takes::<Webhook>(op, WEBHOOK), &REFUSALS);
    describe::answers::<202, AcceptedWebhook>(op)
}
