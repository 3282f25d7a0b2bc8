//! The intake's routes, described for OpenAPI.

use aide::transform::TransformOperation;
use schemars::JsonSchema;
use schemas::Event;
use service::describe;

const EVENT: &str = r#"{"type":"message.received","channel":{"id":7},"ticket":{"id":1,"status":"open"},"message":{"direction":"inbound","text":"Hello"}}"#;
const WEBHOOK: &str = r#"{"acao":"start","mensagem":"Hello","companyId":1}"#;

/// One event, or several.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "described only: schemas::Submission reads it, without building it")]
enum Events {
    /// One event.
    One(Box<Event>),
    /// Up to 1,000 events, and 8 MiB.
    Many {
        /// In this order.
        events: Vec<Event>,
    },
}

/// The events that were taken in.
#[derive(JsonSchema)]
#[schemars(rename = "Accepted")]
#[expect(dead_code, reason = "described only")]
struct AcceptedEvents {
    /// In the order in which they came.
    accepted: Vec<AcceptedId>,
}

/// An event that was taken in.
#[derive(JsonSchema)]
#[schemars(rename = "Taken")]
#[expect(dead_code, reason = "described only")]
struct AcceptedId {
    /// Its id.
    id: String,
}

/// A vendor's body.
#[derive(JsonSchema)]
#[schemars(transparent)]
#[expect(dead_code, reason = "described only")]
struct Webhook(serde_json::Map<String, serde_json::Value>);

pub(super) fn events(op: TransformOperation<'_>) -> TransformOperation<'_> {
    let op = describe::call(op, "events", "publishEvents", "Publish events", "Needs the scope `publish`.");
    let op = describe::more(op, "Answered only once every event is safe. One that is not valid refuses all.");
    describe::answers::<202, AcceptedEvents>(describe::takes::<Events>(op, EVENT))
}

pub(super) fn webhook(op: TransformOperation<'_>) -> TransformOperation<'_> {
    let who = "Needs nothing but the token in the path, and `X-N8N-API-KEY` where the source expects one.";
    let op = describe::call(op, "events", "receiveWebhook", "Take in a vendor's webhook", who);
    describe::answers::<202, AcceptedId>(describe::takes::<Webhook>(op, WEBHOOK))
}
