//! The dead letters that a request means, read by hand.

use schemas::pointer::to_member;
use serde_json::{Map, Value};
use service::problem::{Code, Problem};

use crate::{DeadLetterFilter, InvalidFilter, Rate, dead_letters::MAX_IDS};

/// The dead letters that a request is about, and what is to become of them. It is read by hand, so that every mistake is
/// reported with its place.
#[derive(Debug, Default, PartialEq)]
pub(super) struct DeadLetterSelection {
    pub(super) filter: DeadLetterFilter,
    pub(super) dry_run: bool,
    pub(super) rate: Option<Rate>,
}

impl DeadLetterSelection {
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
        assert_eq!(DeadLetterSelection::read(&json!({"filter": {}}), &FIELDS), Ok(DeadLetterSelection::default()));
        assert_eq!(DeadLetterSelection::read(&all, &FIELDS), Ok(DeadLetterSelection::default()));
        for body in [json!({}), json!({"filter": null}), json!({"dry_run": true})] {
            let problem = DeadLetterSelection::read(&body, &FIELDS).unwrap_err();
            assert_eq!((problem.code, problem.errors[0].pointer.as_str()), (Code::InvalidBody, "/filter"), "{body}");
        }
    }

    #[test]
    fn a_whole_request_is_read_and_its_filter_written_as_it_came() {
        let filter = json!({"ids": ["7", "12"], "endpoint_id": "crm", "reason": "exhausted",
            "event_type": "ticket.created", "since": "2026-01-31T08:00:00.000Z", "until": "2026-02-01T00:00:00.000Z"});
        let request =
            DeadLetterSelection::read(&json!({"filter": filter, "dry_run": true, "rate_per_second": 5}), &FIELDS)
                .unwrap();
        assert!(request.dry_run);
        assert_eq!(request.rate.map(f64::from), Some(5.0));
        assert_eq!(serde_json::to_value(&request.filter).unwrap(), filter);
        let none = DeadLetterSelection::read(&json!({"filter": {"ids": []}}), &FIELDS).unwrap();
        assert_eq!(none.filter.ids, Some(Default::default()), "no ids are none, not any");
    }

    #[test]
    fn ids_are_bounded_since_a_replay_keeps_its_filter() {
        let read = |count: usize| DeadLetterSelection::read(&json!({"filter": {"ids": vec!["7"; count]}}), &FIELDS);
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
        let problem = DeadLetterSelection::read(&body, &FIELDS).unwrap_err();
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
