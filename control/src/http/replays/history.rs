//! Replays from history: what a request asks for, and the start of one.

use std::{collections::BTreeMap, sync::Arc};

use history::Filter;
use schemas::{EndpointState, pointer::to_member};
use serde_json::{Map, Value};
use service::problem::{Code, Problem};
use store::TenantSnapshot;
use tokio::time::Instant;

use super::shapes::{Matched, Started};
use crate::{
    Control, Rate,
    history::{HistoryReplay, HistorySelection, fields},
    http::history::{history_of, unavailable},
    log_turns::REQUEST_TIME,
};

/// Starts a replay from history, or counts what one would send.
pub(super) async fn start_from_history(
    control: &Arc<Control>,
    tenant: &Arc<TenantSnapshot>,
    body: &Map<String, Value>,
) -> Result<Started, Problem> {
    let history = history_of(control)?;
    let selection = history_selection(body)?;
    if let Some(id) = &selection.to_endpoint_id {
        let endpoint = tenant.endpoints.get(id).ok_or_else(|| {
            Problem::new(Code::InvalidBody).error("/to_endpoint_id", format!("there is no endpoint `{id}`"))
        })?;
        if endpoint.state == EndpointState::Disabled {
            let detail = format!("endpoint `{id}` is disabled: enable it first");
            return Err(Problem::new(Code::Conflict).detail(detail));
        }
    }
    let (away, dry_run) = (|error| unavailable(&error), selection.dry_run);
    let spec = HistoryReplay::new(control, tenant, &**history, selection).await.map_err(away)?;
    let until = Instant::now() + REQUEST_TIME;
    let counted = control.count_in_history(tenant, &**history, &spec, until).await.map_err(away)?;
    if dry_run {
        let (matched, is_all) = counted;
        return Ok(Started::Counted(Matched { matched, at_least: !is_all }));
    }
    Ok(Started::Job(control.start_history_replay(tenant, spec, counted).await?))
}

/// Reads the body of a request for a replay from history, so that every mistake is reported with its place.
fn history_selection(body: &Map<String, Value>) -> Result<HistorySelection, Problem> {
    let (mut selection, mut wrong) = (HistorySelection::default(), Problem::new(Code::InvalidBody));
    for (name, value) in body.iter().filter(|(_, value)| !value.is_null()) {
        let pointer = to_member(name);
        match (name.as_str(), value) {
            ("filter", Value::Object(fields)) => {
                for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
                    wrong = set_history_field(&mut selection.filter, name, value, wrong);
                }
            }
            ("filter", _) => wrong = wrong.error(pointer, "expected an object"),
            ("dry_run", Value::Bool(dry_run)) => selection.dry_run = *dry_run,
            ("dry_run", _) => wrong = wrong.error(pointer, "expected true or false"),
            ("to_endpoint_id", Value::String(id)) => selection.to_endpoint_id = Some(id.clone()),
            ("to_endpoint_id", _) => wrong = wrong.error(pointer, "expected a text"),
            ("rate_per_second", rate) => match Rate::try_from(rate.as_f64().unwrap_or(f64::NAN)) {
                Ok(rate) => selection.rate = Some(rate),
                Err(invalid) => wrong = wrong.error(pointer, invalid.to_string()),
            },
            _ => {
                let known = "unknown; there are filter, from, to_endpoint_id, dry_run, rate_per_second";
                wrong = wrong.error(pointer, known);
            }
        }
    }
    if body.get("filter").is_none_or(Value::is_null) {
        wrong = wrong.error("/filter", "is required; {} is all deliveries of history");
    }
    if wrong.errors.is_empty() { Ok(selection) } else { Err(wrong) }
}

fn set_history_field(filter: &mut BTreeMap<String, String>, name: &str, value: &Value, wrong: Problem) -> Problem {
    let pointer = format!("/filter{}", to_member(name));
    match value {
        _ if !fields::OF_DELIVERIES.contains(&name) => {
            wrong.error(pointer, format!("unknown in history; there are {}", fields::OF_DELIVERIES.join(", ")))
        }
        Value::String(text) => match fields::set(&mut Filter::default(), name, text) {
            Ok(()) => {
                filter.insert(name.to_owned(), text.clone());
                wrong
            }
            Err(invalid) => wrong.error(pointer, invalid.to_string()),
        },
        _ => wrong.error(pointer, "expected a text"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: &Value) -> Result<HistorySelection, Vec<String>> {
        let fields = body.as_object().expect("an object");
        history_selection(fields).map_err(|wrong| wrong.errors.into_iter().map(|error| error.pointer).collect())
    }

    #[test]
    fn a_whole_request_is_read() {
        let body = json!({"filter": {"state": "dead", "endpoint_id": "crm", "contact": "+55 11 99999-0001"},
            "to_endpoint_id": "other", "rate_per_second": 5, "dry_run": true});
        let selection = read(&body).unwrap();
        assert_eq!(selection.filter.len(), 3);
        assert_eq!((selection.to_endpoint_id.as_deref(), selection.dry_run), (Some("other"), true));
        assert_eq!(selection.rate.map(f64::from), Some(5.0));
    }

    #[test]
    fn a_mistake_is_named_with_its_place() {
        for (body, pointers) in [
            (json!({}), vec!["/filter"]),
            (json!({"filter": []}), vec!["/filter"]),
            (
                json!({"filter": {"ids": ["7"], "q": "x", "state": "gone", "since": "yesterday", "protocol": 7}}),
                vec!["/filter/ids", "/filter/q", "/filter/state", "/filter/since", "/filter/protocol"],
            ),
            (
                json!({"filter": {}, "to_endpoint_id": 4, "rate_per_second": 0}),
                vec!["/to_endpoint_id", "/rate_per_second"],
            ),
        ] {
            assert_eq!(read(&body), Err(pointers.into_iter().map(str::to_owned).collect()), "{body}");
        }
    }
}
