//! Times and durations. Times are unix milliseconds in memory, and RFC 3339 in UTC with three decimals in texts.
//! Durations are texts such as `5s`.

use std::{borrow::Cow, fmt, time::Duration};

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A time in unix milliseconds; in JSON and YAML as RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Moment(pub u64);

impl Moment {
    /// True when the time has passed at `now` (unix milliseconds), or is equal to it.
    pub fn has_come(self, now: u64) -> bool {
        self.0 <= now
    }
}

impl TryFrom<String> for Moment {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        unix_ms(&text).map(Self).ok_or("expected an RFC 3339 time since 1970, such as 2026-01-31T08:00:00Z")
    }
}

impl From<Moment> for String {
    fn from(Moment(ms): Moment) -> Self {
        rfc3339(ms)
    }
}

impl JsonSchema for Moment {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Moment".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "date-time", "examples": ["2026-01-31T08:00:00.000Z"]})
    }
}

/// The day in UTC of a time in unix milliseconds: `2025-07-18`.
pub fn day(unix_ms: u64) -> String {
    let mut day = rfc3339(unix_ms);
    day.truncate("2025-07-18".len());
    day
}

/// A time in unix milliseconds as `2025-07-18T17:30:22.114Z`. A time beyond the year 9999 becomes the end of that year.
pub fn rfc3339(unix_ms: u64) -> String {
    let time = i64::try_from(unix_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    format!("{:.3}", time.unwrap_or(Timestamp::MAX))
}

/// Unix milliseconds of an RFC 3339 time, truncated. None for any other text, and for times before 1970.
pub fn unix_ms(text: &str) -> Option<u64> {
    // jiff also accepts forms outside RFC 3339, such as a space for the `T` or a zone in brackets.
    let bytes = text.as_bytes();
    if !matches!(bytes.get(10), Some(b'T' | b't')) || bytes.get(16) != Some(&b':') || text.contains('[') {
        return None;
    }
    u64::try_from(text.parse::<Timestamp>().ok()?.as_millisecond()).ok()
}

/// True when a valid time is already in the form of [`rfc3339`].
pub(crate) fn is_canonical(text: &str) -> bool {
    matches!(text.as_bytes(), [_, _, _, _, b'-', .., b'T', _, _, b':', _, _, b':', _, _, b'.', _, _, _, b'Z'] if text.len() == 24)
}

/// A duration, written `"5s"`, `"2m"` or `"72h"` (notation of the `humantime` crate).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(pub Duration);

impl Span {
    pub const fn hours(hours: u64) -> Self {
        Self(Duration::from_secs(hours * 3_600))
    }

    pub fn millis(self) -> u64 {
        millis(self.0)
    }
}

/// Whole milliseconds of a duration; `u64::MAX` for one that is longer.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn shown(text: &str) -> String {
    crate::quotable(text).map_or("this".to_owned(), |text| format!("{text:?}"))
}

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let duration = humantime::parse_duration(&text).map_err(|_| {
            format!("{} is not a duration: write a number and a unit, such as \"5s\" or \"2m\"", shown(&text))
        })?;
        Ok(Self(duration))
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl JsonSchema for Span {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "examples": ["5s", "2m", "72h"]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_with_three_decimals_and_read_with_any() {
        assert_eq!(rfc3339(1_752_859_822_000), "2025-07-18T17:30:22.000Z");
        assert_eq!(rfc3339(u64::MAX), "9999-12-30T22:00:00.999Z");
        let table = [
            ("2025-07-18T17:30:22.114Z", Some(1_752_859_822_114)),
            ("2025-07-18T14:30:22.1149-03:00", Some(1_752_859_822_114)),
            ("2025-07-18T17:30:22Z", Some(1_752_859_822_000)),
            ("2025-07-18 17:30:22Z", None),
            ("2025-07-18T17:30:22", None),
            ("2025-07-18T17:30:22+00:00[UTC]", None),
            ("1969-12-31T23:59:59Z", None),
            ("", None),
        ];
        for (text, expected) in table {
            assert_eq!(unix_ms(text), expected, "{text}");
            assert_eq!(is_canonical(text), expected.is_some_and(|ms| rfc3339(ms) == text), "{text}");
        }
        assert_eq!(day(1_752_859_822_114), "2025-07-18");
    }

    #[test]
    fn a_moment_is_text_in_json() {
        let moment: Moment = serde_json::from_str("\"2025-07-18T14:30:22-03:00\"").unwrap();
        assert_eq!(moment, Moment(1_752_859_822_000));
        assert_eq!(serde_json::to_string(&moment).unwrap(), "\"2025-07-18T17:30:22.000Z\"");
        assert!(serde_json::from_str::<Moment>("\"yesterday\"").is_err());
    }
}
