//! `{"filter":{…},"dry_run","rate_per_second"}`, read so that every mistake is named with its place.

use schemas::pointer::to_member;
use serde_json::{Map, Value};
use service::problem::{Code, Problem};

use crate::{Filter, Rate};

/// What is asked for.
#[derive(Debug, Default, PartialEq)]
pub(super) struct ReplayRequest {
    pub(super) filter: Filter,
    pub(super) dry_run: bool,
    pub(super) rate: Option<Rate>,
}

impl ReplayRequest {
    /// Every field may be left out or null: `{}` replays all.
    pub(super) fn read(body: &Value) -> Result<Self, Problem> {
        let mut request = Self::default();
        let mut wrong = Problem::new(Code::InvalidBody);
        let Value::Object(fields) = body else { return Err(wrong.error("", "expected an object")) };
        for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
            let pointer = to_member(name);
            match (name.as_str(), value) {
                ("filter", Value::Object(fields)) => wrong = read_filter(&mut request.filter, fields, wrong),
                ("filter", _) => wrong = wrong.error(pointer, "expected an object"),
                ("dry_run", Value::Bool(dry_run)) => request.dry_run = *dry_run,
                ("dry_run", _) => wrong = wrong.error(pointer, "expected true or false"),
                ("rate_per_second", rate) => match Rate::try_from(rate.as_f64().unwrap_or(f64::NAN)) {
                    Ok(rate) => request.rate = Some(rate),
                    Err(invalid) => wrong = wrong.error(pointer, invalid.to_string()),
                },
                _ => wrong = wrong.error(pointer, "unknown; there are filter, dry_run and rate_per_second"),
            }
        }
        if wrong.errors.is_empty() { Ok(request) } else { Err(wrong) }
    }
}

fn read_filter(filter: &mut Filter, fields: &Map<String, Value>, mut wrong: Problem) -> Problem {
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
        let pointer = format!("/filter{}", to_member(name));
        match (name.as_str(), value) {
            ("ids", Value::Array(ids)) => {
                filter.ids.get_or_insert_default();
                for (at, id) in ids.iter().enumerate() {
                    wrong = set(filter, name, id, format!("{pointer}/{at}"), wrong);
                }
            }
            ("ids", _) => wrong = wrong.error(pointer, "expected a list of texts"),
            _ => wrong = set(filter, name, value, pointer, wrong),
        }
    }
    wrong
}

/// A text, or something that is wrong; an unknown name is, whatever it holds.
fn set(filter: &mut Filter, name: &str, value: &Value, pointer: String, wrong: Problem) -> Problem {
    let unknown = crate::InvalidFilter::Unknown;
    match (value, Filter::default().set(name, "")) {
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

    #[test]
    fn everything_may_be_left_out() {
        assert_eq!(ReplayRequest::read(&json!({})), Ok(ReplayRequest::default()));
        assert_eq!(ReplayRequest::read(&json!({"filter": {"ids": null}, "dry_run": null})), Ok(Default::default()));
    }

    #[test]
    fn a_whole_request_is_read_and_its_filter_written_as_it_came() {
        let filter = json!({"ids": ["7", "12"], "endpoint_id": "crm", "reason": "exhausted",
            "event_type": "ticket.created", "since": "2026-01-31T08:00:00.000Z", "until": "2026-02-01T00:00:00.000Z"});
        let request = ReplayRequest::read(&json!({"filter": filter, "dry_run": true, "rate_per_second": 5})).unwrap();
        assert!(request.dry_run);
        assert_eq!(request.rate.map(f64::from), Some(5.0));
        assert_eq!(serde_json::to_value(&request.filter).unwrap(), filter);
        let none = ReplayRequest::read(&json!({"filter": {"ids": []}})).unwrap();
        assert_eq!(none.filter.ids, Some(Default::default()), "no ids are none, not any");
    }

    #[test]
    fn every_mistake_is_named_with_its_place() {
        let body = json!({
            "filter": {"ids": ["7", "x", 8], "reason": "bored", "event_type": "x", "since": "yesterday", "a/b": 1, "until": 5},
            "dry_run": "yes", "rate_per_second": 0, "tenant": "acme",
        });
        let problem = ReplayRequest::read(&body).unwrap_err();
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
