//! Replays: start one or count what it would replay, list them, watch one, stop it.

use std::sync::Arc;

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use history::DeliveryState;
use schemars::{JsonSchema, Schema};
use schemas::{DeadReason, EventType, OutcomeClass, Scope, pointer::to_member, time::Moment};
use serde::Serialize;
use serde_json::{Map, Value, json};
use service::{
    openapi::{ApiRouter, Operation, get_with, post_with},
    problem::{Code, Problem},
};
use store::{Job, JobQuery, JobState};

use super::{
    context::{RequestBody, RequestContext},
    dead_letters::{ONE_SEARCH, TAG},
    describe,
    history_replays::{HISTORY_FILTER, start_from_history},
    page::{self, Page},
};
use crate::{
    Control, DeadLetterFilter, InvalidFilter, NotStarted, Rate,
    dead_letters::MAX_IDS,
    replays::{DEAD_LETTERS, REPLAY, ReplayView},
};

/// Describes which replays are listed.
const KEPT: &str = "Newest first, whichever process has started them. Those that have ended are kept for 30 days, the last 200 of a tenant.";

/// Describes what a restart means.
const GOES_ON: &str =
    "It goes on when `control` is started anew, and sends nothing twice beyond the 100 that were under way.";

/// Describes what happens to dead letters whose replay would end at once.
const NO_RECEIVER: &str = "Those for endpoints that are disabled or do not exist are skipped and stay; 409 when there are no others. An endpoint \
     that was deleted and made anew gets those of the former one only if the filter has its `endpoint_id`.";

pub(crate) fn routes() -> ApiRouter<Arc<Control>> {
    ApiRouter::new()
        .api_route(
            "/v1/tenants/{tenant}/replays",
            post_with(start, |op| {
                let op = describe::operation(
                    op,
                    TAG,
                    "startReplay",
                    "Replay dead letters, or count what would be",
                    Some(Scope::Manage),
                );
                let op = describe::more(describe::more(op, ONE_SEARCH), GOES_ON);
                let op = describe::refuses(describe::more(op, NO_RECEIVER), &[Code::Conflict]);
                let op = describe::takes::<ReplayBody>(op, r#"{"filter":{"endpoint_id":"crm"},"dry_run":false}"#);
                describe::answers::<202, ReplayAnswer>(describe::answers::<200, Matched>(op))
            })
            .get_with(list, |op| {
                described_list(describe::operation(op, TAG, "listReplays", "List replays", Some(Scope::Read)))
            }),
        )
        .api_route(
            "/v1/replays",
            get_with(list_of_all, |op| {
                described_list(describe::operation(op, TAG, "listAllReplays", "List replays of all tenants", None))
            }),
        )
        .api_route(
            "/v1/tenants/{tenant}/replays/{id}",
            get_with(show, |op| {
                describe::answers::<200, ReplayAnswer>(describe::operation(
                    op,
                    TAG,
                    "getReplay",
                    "Watch a replay",
                    Some(Scope::Read),
                ))
            })
            .delete_with(stop, |op| {
                describe::answers::<200, ReplayAnswer>(describe::operation(
                    op,
                    TAG,
                    "stopReplay",
                    "Stop a replay",
                    Some(Scope::Manage),
                ))
            }),
        )
}

fn described_list(op: Operation) -> Operation {
    describe::answers::<200, describe::PageSchema<ReplayAnswer>>(describe::paged(describe::more(op, KEPT)))
}

/// A replay, or a count of what one would replay.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, transform = narrowed)]
#[expect(dead_code, reason = "described only: Selection reads it, and names every mistake")]
struct ReplayBody {
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
    schema.insert("then".to_owned(), filter(&HISTORY_FILTER));
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
struct ReplayAnswer {
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

async fn list(request: RequestContext) -> Result<Response, Problem> {
    let authorized = request.tenant(Scope::Read).await?;
    let tenant = authorized.tenant_id();
    listed(&request, Some((tenant, request.control.created(tenant)))).await
}

async fn list_of_all(request: RequestContext) -> Result<Response, Problem> {
    request.operator().await?;
    listed(&request, None).await
}

async fn listed(request: &RequestContext, tenant: Option<(&str, u64)>) -> Result<Response, Problem> {
    let Page { limit, after } = Page::of(&request.query(&page::PARAMETERS)?)?;
    let control = &request.control;
    // What this process knows is read first: what is stored is at least as new once it has forgotten a job.
    let progress = control.jobs.progress();
    let at_most = u32::try_from(limit + 1).unwrap_or(u32::MAX);
    let query = JobQuery { kind: REPLAY, tenant, before: after.as_deref(), limit: at_most };
    let mut jobs = control.control_state().map_err(NotStarted::from)?.jobs(query).await.map_err(NotStarted::from)?;
    let is_more = jobs.len() > limit;
    jobs.truncate(limit);
    let next = jobs.last().filter(|_| is_more).map(|last| page::cursor(&last.id));
    let items: Vec<_> = jobs.iter().map(|job| ReplayView::of(job, progress.get(&job.id))).collect();
    Ok(page::answer(items, next))
}

async fn start(request: RequestContext, body: RequestBody) -> Result<Response, Problem> {
    let authorized = request.tenant(Scope::Manage).await?;
    let (control, tenant) = (request.control.clone(), authorized.tenant_id().to_owned());
    let mut body = body.object().await?;
    let started = match body.remove("from") {
        Some(Value::String(from)) if from == "history" => {
            let snapshot = authorized.tenant.as_ref().ok_or(Code::NotFound)?;
            start_from_history(&control, snapshot, &body).await?
        }
        None | Some(Value::Null) => start_of_dead_letters(&control, &tenant, body).await?,
        Some(Value::String(from)) if from == DEAD_LETTERS => start_of_dead_letters(&control, &tenant, body).await?,
        Some(_) => {
            return Err(Problem::new(Code::InvalidBody).error("/from", "expected dead_letters or history"));
        }
    };
    let job = match started {
        Started::Job(job) => job,
        Started::Counted(matched) => return Ok(Json(matched).into_response()),
    };
    tracing::info!(
        replay_id = job.id,
        tenant,
        matched = job.matched,
        author = authorized.author.name,
        "replay.started"
    );
    Ok((StatusCode::ACCEPTED, Json(ReplayView::of(&job, None))).into_response())
}

/// What a request for a replay did.
pub(super) enum Started {
    Job(Job),
    Counted(Matched),
}

async fn start_of_dead_letters(
    control: &Arc<Control>,
    tenant: &str,
    body: Map<String, Value>,
) -> Result<Started, Problem> {
    let fields = ["filter", "dry_run", "rate_per_second"];
    if body.get("to_endpoint_id").is_some_and(|to| !to.is_null()) {
        let wrong = Problem::new(Code::InvalidBody);
        return Err(wrong.error("/to_endpoint_id", "only with \"from\": \"history\", which renders events anew"));
    }
    let body = body.into_iter().filter(|(name, _)| name != "to_endpoint_id").collect();
    let Selection { filter, dry_run, rate } = Selection::read(&Value::Object(body), &fields)?;
    if dry_run {
        let matched = control.count(tenant, &filter).await?;
        return Ok(Started::Counted(Matched { matched, at_least: false }));
    }
    Ok(Started::Job(control.start_replay(tenant, filter, rate).await?))
}

async fn show(request: RequestContext) -> Result<Response, Problem> {
    let authorized = request.tenant(Scope::Read).await?;
    shown(&request.control, authorized.tenant_id(), request.path_parameter("id")).await
}

async fn stop(request: RequestContext) -> Result<Response, Problem> {
    let authorized = request.tenant(Scope::Manage).await?;
    let (control, tenant, id) = (&request.control, authorized.tenant_id(), request.path_parameter("id"));
    let job = find(control, tenant, id).await?;
    control.end_job(&job, JobState::Stopped).await.map_err(NotStarted::from)?;
    shown(control, tenant, id).await
}

async fn shown(control: &Control, tenant: &str, id: &str) -> Result<Response, Problem> {
    // In this order, as in a list.
    let progress = control.jobs.progress();
    let job = find(control, tenant, id).await?;
    Ok(Json(ReplayView::of(&job, progress.get(id))).into_response())
}

async fn find(control: &Control, tenant: &str, id: &str) -> Result<Job, Problem> {
    let none = || Problem::new(Code::NotFound).detail(format!("there is no replay `{id}` of tenant `{tenant}`"));
    let job = control.control_state().map_err(NotStarted::from)?.job(id).await.map_err(NotStarted::from)?;
    let whose =
        |job: &Job| (job.kind == REPLAY) && job.tenant == tenant && job.tenant_created == control.created(tenant);
    job.filter(whose).ok_or_else(none)
}

/// The dead letters that a request is about, and what is to become of them. It is read by hand, so that every mistake is
/// reported with its place.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Selection {
    pub(super) filter: DeadLetterFilter,
    pub(super) dry_run: bool,
    pub(super) rate: Option<Rate>,
}

impl Selection {
    /// Reads a body, which may have these fields. Only the filter is required, so that nothing is done to all dead letters
    /// by mistake.
    pub(super) fn read(body: &Value, known: &[&str]) -> Result<Self, Problem> {
        let (mut selection, mut has_filter) = (Self::default(), false);
        let mut wrong = Problem::new(Code::InvalidBody);
        let Value::Object(fields) = body else { return Err(wrong.error("", "expected an object")) };
        for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
            let pointer = to_member(name);
            has_filter |= name == "filter";
            match (name.as_str(), value) {
                (name, _) if !known.contains(&name) => {
                    wrong = wrong.error(pointer, format!("unknown; there are {}", known.join(", ")));
                }
                ("filter", Value::Object(fields)) => wrong = read_filter(&mut selection.filter, fields, wrong),
                ("filter", _) => wrong = wrong.error(pointer, "expected an object"),
                ("dry_run", Value::Bool(dry_run)) => selection.dry_run = *dry_run,
                ("dry_run", _) => wrong = wrong.error(pointer, "expected true or false"),
                (_, rate) => match Rate::try_from(rate.as_f64().unwrap_or(f64::NAN)) {
                    Ok(rate) => selection.rate = Some(rate),
                    Err(invalid) => wrong = wrong.error(pointer, invalid.to_string()),
                },
            }
        }
        if !has_filter {
            wrong = wrong.error("/filter", "is required; {} is all dead letters");
        }
        if wrong.errors.is_empty() { Ok(selection) } else { Err(wrong) }
    }
}

fn read_filter(filter: &mut DeadLetterFilter, fields: &Map<String, Value>, mut wrong: Problem) -> Problem {
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
        let pointer = format!("/filter{}", to_member(name));
        match (name.as_str(), value) {
            ("ids", Value::Array(ids)) if ids.len() > MAX_IDS => {
                wrong = wrong.error(pointer, format!("has {} ids: at most {MAX_IDS} at once", ids.len()));
            }
            ("ids", Value::Array(ids)) => {
                filter.ids.get_or_insert_default();
                for (at, id) in ids.iter().enumerate() {
                    wrong = set_field(filter, name, id, format!("{pointer}/{at}"), wrong);
                }
            }
            ("ids", _) => wrong = wrong.error(pointer, "expected a list of texts"),
            _ => wrong = set_field(filter, name, value, pointer, wrong),
        }
    }
    wrong
}

/// Sets one field of the filter, or adds a problem. An unknown name is a problem whatever its value is.
fn set_field(filter: &mut DeadLetterFilter, name: &str, value: &Value, pointer: String, wrong: Problem) -> Problem {
    let unknown = InvalidFilter::Unknown;
    match (value, DeadLetterFilter::default().set(name, "")) {
        (_, Err(invalid)) if invalid == unknown => wrong.error(pointer, invalid.to_string()),
        (Value::String(text), _) => match filter.set(name, text) {
            Ok(()) => wrong,
            Err(invalid) => wrong.error(pointer, invalid.to_string()),
        },
        _ => wrong.error(pointer, "expected a text"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const FIELDS: [&str; 3] = ["filter", "dry_run", "rate_per_second"];

    #[test]
    fn a_request_may_leave_out_all_but_the_filter() {
        let all = json!({"filter": {"ids": null}, "dry_run": null});
        assert_eq!(Selection::read(&json!({"filter": {}}), &FIELDS), Ok(Selection::default()));
        assert_eq!(Selection::read(&all, &FIELDS), Ok(Selection::default()));
        for body in [json!({}), json!({"filter": null}), json!({"dry_run": true})] {
            let problem = Selection::read(&body, &FIELDS).unwrap_err();
            assert_eq!((problem.code, problem.errors[0].pointer.as_str()), (Code::InvalidBody, "/filter"), "{body}");
        }
    }

    #[test]
    fn a_whole_request_is_read_and_its_filter_written_as_it_came() {
        let filter = json!({"ids": ["7", "12"], "endpoint_id": "crm", "reason": "exhausted",
            "event_type": "ticket.created", "since": "2026-01-31T08:00:00.000Z", "until": "2026-02-01T00:00:00.000Z"});
        let request =
            Selection::read(&json!({"filter": filter, "dry_run": true, "rate_per_second": 5}), &FIELDS).unwrap();
        assert!(request.dry_run);
        assert_eq!(request.rate.map(f64::from), Some(5.0));
        assert_eq!(serde_json::to_value(&request.filter).unwrap(), filter);
        let none = Selection::read(&json!({"filter": {"ids": []}}), &FIELDS).unwrap();
        assert_eq!(none.filter.ids, Some(Default::default()), "no ids are none, not any");
    }

    #[test]
    fn ids_are_bounded_since_a_replay_keeps_its_filter() {
        let read = |count: usize| Selection::read(&json!({"filter": {"ids": vec!["7"; count]}}), &FIELDS);
        assert!(read(MAX_IDS).is_ok());
        let problem = read(MAX_IDS + 1).unwrap_err();
        assert_eq!(problem.errors.iter().map(|error| &*error.pointer).collect::<Vec<_>>(), ["/filter/ids"]);
    }

    #[test]
    fn a_mistake_is_named_with_its_place() {
        let body = json!({
            "filter": {"ids": ["7", "x", 8], "reason": "bored", "event_type": "x", "since": "yesterday", "a/b": 1, "until": 5},
            "dry_run": "yes", "rate_per_second": 0, "tenant": "acme",
        });
        let problem = Selection::read(&body, &FIELDS).unwrap_err();
        assert_eq!(problem.code, Code::InvalidBody);
        let pointers: Vec<_> = problem.errors.iter().map(|error| error.pointer.as_str()).collect();
        let expected = [
            "/filter/ids/1",
            "/filter/ids/2",
            "/filter/reason",
            "/filter/event_type",
            "/filter/since",
            "/filter/a~1b",
            "/filter/until",
            "/dry_run",
            "/rate_per_second",
            "/tenant",
        ];
        assert_eq!(pointers, expected);
        assert_eq!(problem.errors[4].message, "expected an RFC 3339 time, such as 2026-01-31T08:00:00Z");
        assert!(problem.errors[9].message.starts_with("unknown;"));
    }
}
