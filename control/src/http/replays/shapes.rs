//! What requests about replays take and answer.

use history::DeliveryState;
use schemars::{JsonSchema, Schema};
use schemas::{DeadReason, EventType, OutcomeClass, time::Moment};
use serde::Serialize;
use serde_json::json;
use store::Job;

use crate::{dead_letters::MAX_IDS, history::fields};

/// A replay, or a count of what one would replay.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, transform = narrowed)]
#[expect(dead_code, reason = "described only: it is read by hand, so that every mistake is named")]
pub(super) struct ReplayBody {
    /// Which dead letters, or deliveries of history; `{}` is all.
    filter: ReplayFilter,
    /// What is replayed: dead letters unless it is said.
    from: Option<ReplayFrom>,
    /// From history only: all of it goes to this endpoint, rendered anew in its format, each part of an event once.
    #[schemars(regex(pattern = schemas::pattern::ID_OR_VIEW))]
    to_endpoint_id: Option<String>,
    /// Only count them.
    dry_run: Option<bool>,
    /// So many a second, at most.
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 1_000_000))]
    rate_per_second: Option<f64>,
}

/// What is replayed.
#[derive(JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "described only")]
enum ReplayFrom {
    DeadLetters,
    History,
}

/// Which dead letters or deliveries are meant: all that every given field allows. `ids` is for dead letters; `state`, `event_id`,
/// `channel_id`, `queue_id`, `ticket_id`, `protocol`, `contact` and `outcome` are for deliveries of history.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "described only")]
struct ReplayFilter {
    /// Ids of dead letters.
    #[schemars(with = "Option<Vec<String>>",
        extend("items" = {"type": "string", "pattern": schemas::pattern::POSITION}, "maxItems" = MAX_IDS))]
    #[schemars(skip_serializing_if = "Option::is_none")]
    ids: Option<Vec<String>>,
    /// Where they were to go.
    #[schemars(skip_serializing_if = "Option::is_none")]
    endpoint_id: Option<String>,
    /// Why they ended.
    #[schemars(skip_serializing_if = "Option::is_none")]
    reason: Option<DeadReason>,
    /// The event's type.
    #[schemars(skip_serializing_if = "Option::is_none")]
    event_type: Option<EventType>,
    /// Dead letters: ended then (RFC 3339) or later. History: first accepted then or later.
    #[schemars(regex(pattern = schemas::time::SINCE_1970), extend("format" = "date-time"))]
    #[schemars(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    /// Dead letters: ended earlier than that (RFC 3339). History: first accepted earlier.
    #[schemars(regex(pattern = schemas::time::SINCE_1970), extend("format" = "date-time"))]
    #[schemars(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    /// How the delivery is.
    #[schemars(skip_serializing_if = "Option::is_none")]
    state: Option<DeliveryState>,
    /// The event's id.
    #[schemars(skip_serializing_if = "Option::is_none")]
    event_id: Option<String>,
    /// The event's channel.
    #[schemars(skip_serializing_if = "Option::is_none")]
    channel_id: Option<String>,
    /// The queue of the event's ticket.
    #[schemars(skip_serializing_if = "Option::is_none")]
    queue_id: Option<String>,
    /// The event's ticket.
    #[schemars(skip_serializing_if = "Option::is_none")]
    ticket_id: Option<String>,
    /// The ticket's protocol.
    #[schemars(skip_serializing_if = "Option::is_none")]
    protocol: Option<String>,
    /// The contact's number in any notation, or its id where it has none. It is not kept: answers do not show it.
    #[schemars(skip_serializing_if = "Option::is_none")]
    contact: Option<String>,
    /// Class of the last attempt's outcome.
    #[schemars(skip_serializing_if = "Option::is_none")]
    outcome: Option<OutcomeClass>,
}

/// Fields of a filter of dead letters.
const DEAD_LETTER_FILTER: [&str; 6] = ["ids", "endpoint_id", "reason", "event_type", "since", "until"];

/// Says which fields go with what is replayed.
fn narrowed(schema: &mut Schema) {
    let filter = |names: &[&str]| json!({"properties": {"filter": {"propertyNames": {"enum": names}}}});
    let mut of_dead_letters = filter(&DEAD_LETTER_FILTER);
    of_dead_letters["properties"]["to_endpoint_id"] = json!({"type": "null"});
    schema.insert("if".to_owned(), json!({"properties": {"from": {"const": "history"}}, "required": ["from"]}));
    schema.insert("then".to_owned(), filter(&fields::OF_DELIVERIES));
    schema.insert("else".to_owned(), of_dead_letters);
}

/// How much a replay would look at.
#[derive(Serialize, JsonSchema)]
pub(super) struct Matched {
    /// So many match. A replay skips those that cannot go out, such as those for disabled endpoints.
    pub(super) matched: u64,
    /// True when there are more in history, and the time was over.
    pub(super) at_least: bool,
}

/// A replay.
#[derive(JsonSchema)]
#[schemars(rename = "Replay")]
#[expect(dead_code, reason = "described only: ReplayView is serialized")]
pub(super) struct ReplayAnswer {
    /// A UUIDv7.
    id: String,
    /// The tenant whose dead letters they are.
    tenant: String,
    /// `running`, `done` or `stopped`.
    state: String,
    /// How many there were at its start.
    matched: u64,
    /// True when there were more in history, and the time for counting was over.
    at_least: bool,
    /// How many were published again so far.
    replayed: u64,
    /// How many stay: their bodies were not kept, their endpoints are disabled, do not exist or were made anew, or they
    /// have failed again after a replay and what did takes four times the tenant's share. From history also those that wait
    /// for an attempt anyway.
    skipped: u64,
    /// When it was started.
    started_at: Moment,
    /// When it ended; null while it runs.
    ended_at: Option<Moment>,
    /// `dead_letters` or `history`.
    from: String,
    /// Which: the fields that were given. A contact is not kept.
    filter: ReplayFilter,
    /// Where all of it goes; null for the endpoints that it was for.
    to_endpoint_id: Option<String>,
}

/// What a request for a replay did.
pub(super) enum Started {
    Job(Job),
    Counted(Matched),
}
