//! Whose records are erased: those of some events, or those of a contact, whom a token stands for. Pure.

use std::collections::HashSet;

use history::{ContactToken, TenantKey, is_number, token};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Longest text that is compared with a contact's number.
const LONGEST_NUMBER: usize = 64;

/// What was asked for, as the row of a job keeps it: without the number.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ErasureSpec {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) contact: Option<MeantContact>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) event_ids: Vec<String>,
    /// Whether deliveries that wait are dropped.
    pub(crate) waiting: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct MeantContact {
    pub(crate) token: ContactToken,
    /// False for an id, which may occur in bodies as something else.
    pub(crate) is_number: bool,
}

impl MeantContact {
    pub(crate) fn of(key: &TenantKey, contact: &str) -> Self {
        Self { token: token(key, contact), is_number: is_number(contact) }
    }
}

/// Tells what is meant from what is not, without history.
pub(crate) struct Meant<'a> {
    event_ids: HashSet<&'a str>,
    number: Option<(&'a TenantKey, &'a ContactToken)>,
}

impl<'a> Meant<'a> {
    /// `key` is the tenant's, with which the token was made.
    pub(crate) fn new(spec: &'a ErasureSpec, key: Option<&'a TenantKey>) -> Self {
        let contact = spec.contact.as_ref().filter(|contact| contact.is_number);
        Self {
            event_ids: spec.event_ids.iter().map(String::as_str).collect(),
            number: key.zip(contact.map(|contact| &contact.token)),
        }
    }

    pub(crate) fn has(&self, event_id: &str, body: &[u8]) -> bool {
        self.event_ids.contains(event_id) || self.number.is_some_and(|(key, token)| names(body, key, token))
    }
}

/// True when a text or number in the JSON of a body is the contact's number, in any notation.
fn names(body: &[u8], key: &TenantKey, wanted: &ContactToken) -> bool {
    fn is_in(value: &Value, is_wanted: &impl Fn(&str) -> bool) -> bool {
        match value {
            Value::String(text) => is_wanted(text),
            Value::Number(number) => is_wanted(&number.to_string()),
            Value::Array(items) => items.iter().any(|item| is_in(item, is_wanted)),
            Value::Object(fields) => fields.values().any(|value| is_in(value, is_wanted)),
            Value::Null | Value::Bool(_) => false,
        }
    }
    let is_wanted = |text: &str| text.len() <= LONGEST_NUMBER && is_number(text) && token(key, text) == *wanted;
    serde_json::from_slice(body).is_ok_and(|body: Value| is_in(&body, &is_wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: TenantKey = [7; 32];

    fn meant(contact: &str, body: &str) -> bool {
        let contact = Some(MeantContact::of(&KEY, contact));
        let spec = ErasureSpec { contact, event_ids: vec!["e9".into()], waiting: false };
        Meant::new(&spec, Some(&KEY)).has("e1", body.as_bytes())
    }

    #[test]
    fn a_body_is_meant_that_has_the_number_in_any_notation() {
        for body in [
            r#"{"contact":{"number":"+55 (11) 99999-0001"}}"#,
            r#"{"msg":[{"from":"5511999990001@s.whatsapp.net"}]}"#,
            r#"{"number":551199990001}"#,
            r#""5511999990001""#,
        ] {
            assert!(meant("+55 11 99999-0001", body), "{body}");
        }
    }

    #[test]
    fn a_body_is_not_meant_that_has_another_number_or_no_json() {
        for body in [r#"{"number":"5511999990002"}"#, r#"{"text":"call 5511999990001 now"}"#, "5511999990001@", ""] {
            assert!(!meant("+55 11 99999-0001", body), "{body}");
        }
    }

    #[test]
    fn a_body_with_an_id_is_not_meant_since_it_may_stand_for_something_else() {
        assert!(!meant("4711", r#"{"ticket":{"id":"4711"}}"#));
    }

    #[test]
    fn an_event_is_meant_by_its_id_whatever_its_body_is() {
        let spec = ErasureSpec { event_ids: vec!["e1".into()], ..ErasureSpec::default() };
        assert!(Meant::new(&spec, None).has("e1", b"?"));
        assert!(!Meant::new(&spec, None).has("e2", b"?"));
    }

    #[test]
    fn the_row_of_a_job_has_no_number() {
        let spec = ErasureSpec { contact: Some(MeantContact::of(&KEY, "5511999990001")), ..ErasureSpec::default() };
        let text = serde_json::json!(spec).to_string();
        assert!(!text.contains("99999") && !text.contains("0001"), "{text}");
        assert_eq!(serde_json::from_str::<ErasureSpec>(&text).expect("a spec"), spec);
    }
}
