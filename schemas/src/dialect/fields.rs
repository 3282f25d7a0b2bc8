//! Reads a vendor's object leniently: a member that is missing or of another type reads as none.

use std::borrow::Cow;

use crate::{Id, Opaque, json_text, time::rfc3339};

/// The members of an object. Of several members with one name the last counts, as in JavaScript.
#[derive(Debug)]
pub(super) struct Fields<'a>(Vec<(Cow<'a, str>, &'a str)>);

impl<'a> Fields<'a> {
    /// The members of a valid JSON text; none when it is not an object.
    pub(super) fn of(json: &'a str) -> Option<Self> {
        json.trim_ascii_start().starts_with('{').then(|| Self(json_text::members(json).map(unescaped).collect()))
    }

    /// True when there is such a member, even if it is null.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(key, _)| key == name)
    }

    /// The JSON text of a member, unless it is missing or null.
    pub(super) fn json(&self, name: &str) -> Option<&'a str> {
        let member = self.0.iter().rev().find(|(key, _)| key == name);
        member.map(|(_, value)| *value).filter(|value| *value != "null")
    }

    pub(super) fn object(&self, name: &str) -> Option<Fields<'a>> {
        self.json(name).and_then(Fields::of)
    }

    pub(super) fn objects(&self, name: &str) -> Vec<Fields<'a>> {
        self.json(name)
            .filter(|list| list.starts_with('['))
            .map(json_text::elements)
            .into_iter()
            .flatten()
            .filter_map(Fields::of)
            .collect()
    }

    /// A member that is a string, or the digits of a number.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        let json = self.json(name)?;
        match json.as_bytes().first()? {
            b'"' => serde_json::from_str(json).ok(),
            b'-' | b'0'..=b'9' => Some(json.to_owned()),
            _ => None,
        }
    }

    /// A member that is an id; an empty one is none.
    pub(super) fn id(&self, name: &str) -> Option<Id> {
        self.json(name).and_then(Id::from_json)
    }

    /// A boolean member, also as a string or as 1 and 0.
    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        match self.json(name)?.trim_matches('"') {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        }
    }

    /// A member that is a whole number, also as a string.
    pub(super) fn integer(&self, name: &str) -> Option<i64> {
        let digits = self.json(name)?.trim_matches('"');
        let whole = |number: f64| (number.is_finite() && number.abs() < 9e15).then_some(number as i64);
        digits.parse().ok().or_else(|| digits.parse().ok().and_then(whole))
    }

    pub(super) fn opaque(&self, name: &str) -> Option<Opaque> {
        self.json(name).and_then(|json| Opaque::from_json(json).ok())
    }

    /// A member that is a time, in the notation of canonical events.
    pub(super) fn time(&self, name: &str) -> Option<String> {
        let text = self.text(name)?;
        crate::time::unix_ms(&text).map(rfc3339)
    }

    /// A time in unix milliseconds, from a number of milliseconds or seconds: below 10^11 (the year 5138) it is seconds.
    pub(super) fn epoch_ms(&self, name: &str) -> Option<i64> {
        let number = self.integer(name)?;
        if number.abs() < 100_000_000_000 { number.checked_mul(1_000) } else { Some(number) }
    }
}

fn unescaped<'a>((key, value): (&'a str, &'a str)) -> (Cow<'a, str>, &'a str) {
    let bare = || Cow::Borrowed(key.trim_matches('"'));
    let key = if key.contains('\\') { serde_json::from_str(key).map_or_else(|_| bare(), Cow::Owned) } else { bare() };
    (key, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_another_type_are_read_as_far_as_they_make_sense() {
        let json =
            r#"{"a":"7","b":7,"c":null,"d":"","e":"true","f":1.5e3,"g":[1,{"x":2}],"h":{},"\u0069":false,"b":8}"#;
        let fields = Fields::of(json).unwrap();
        assert_eq!(fields.text("a").as_deref(), Some("7"));
        assert_eq!(fields.text("b").as_deref(), Some("8"));
        assert_eq!(fields.text("c"), None);
        assert_eq!(fields.text("g"), None);
        assert_eq!(fields.text("d").as_deref(), Some(""));
        assert_eq!(fields.id("d"), None);
        assert!(fields.id("b").unwrap().is_integer());
        assert_eq!(fields.flag("e"), Some(true));
        assert_eq!(fields.flag("i"), Some(false));
        assert_eq!(fields.flag("a"), None);
        assert_eq!(fields.integer("a"), Some(7));
        assert_eq!(fields.integer("f"), Some(1500));
        assert_eq!(fields.objects("g").len(), 1);
        assert!(fields.objects("h").is_empty());
        assert!(fields.object("a").is_none());
    }

    #[test]
    fn a_timestamp_is_seconds_or_milliseconds_by_its_magnitude() {
        let table = [
            ("1752861300", 1_752_861_300_000),
            ("1752861300120", 1_752_861_300_120),
            ("\"1752861300\"", 1_752_861_300_000),
        ];
        for (given, expected) in table {
            let json = format!("{{\"t\":{given}}}");
            assert_eq!(Fields::of(&json).unwrap().epoch_ms("t"), Some(expected), "{given}");
        }
        assert_eq!(Fields::of(r#"{"t":"soon"}"#).unwrap().epoch_ms("t"), None);
    }
}
