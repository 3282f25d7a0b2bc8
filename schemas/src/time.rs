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

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema =
            json_schema!({"type": "string", "format": "date-time", "examples": ["2026-01-31T08:00:00.000Z"]});
        if generator.contract().is_deserialize() {
            schema.insert("pattern".to_owned(), SINCE_1970.into());
        }
        schema
    }
}

/// Pattern of the years of RFC 3339 times that [`unix_ms`] reads.
pub const SINCE_1970: &str = "^(19[7-9][0-9]|[2-9][0-9]{3})-";

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

/// A duration in whole milliseconds, written `"5s"`, `"2m"` or `"72h"`. Other notations of the `humantime` crate are read
/// as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(pub Duration);

impl Span {
    pub const fn hours(hours: u64) -> Self {
        Self(Duration::from_secs(hours * 3_600))
    }

    pub const fn days(days: u64) -> Self {
        Self::hours(24 * days)
    }

    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    pub const fn milliseconds(milliseconds: u64) -> Self {
        Self(Duration::from_millis(milliseconds))
    }

    pub fn millis(self) -> u64 {
        millis(self.0)
    }

    /// The schema of a duration that a request may set within bounds, both included.
    pub fn schema_between(generator: &mut SchemaGenerator, shortest: Self, longest: Self) -> Schema {
        let mut schema = generator.subschema_for::<Self>();
        let examples = EXAMPLES.into_iter().filter(|(_, span)| (shortest..=longest).contains(span));
        schema.insert("examples".to_owned(), examples.map(|(written, _)| written).collect());
        if generator.contract().is_deserialize() {
            schema.insert("pattern".to_owned(), pattern_between(shortest, longest).into());
        }
        schema
    }
}

const EXAMPLES: [(&str, Span); 3] = [("5s", Span::seconds(5)), ("1m", Span::seconds(60)), ("24h", Span::hours(24))];

/// Units of durations, in milliseconds, beginning with the smallest.
const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// A regular expression for durations within bounds, each of one number and one unit.
fn pattern_between(shortest: Span, longest: Span) -> String {
    let alternatives = UNITS.iter().filter_map(|(unit, milliseconds)| {
        let (low, high) = (shortest.millis().div_ceil(*milliseconds), longest.millis() / milliseconds);
        (low <= high).then(|| format!("({}){unit}", numbers_between(low, high)))
    });
    format!("^({})$", alternatives.collect::<Vec<_>>().join("|"))
}

/// A regular expression for the whole numbers within bounds, without leading zeros.
fn numbers_between(mut low: u64, high: u64) -> String {
    /// Numbers that begin alike, such as `1[2-9]`, and go on with any digits: the fewest and the most of them.
    type Alternative = (String, u32, u32);
    let mut alternatives: Vec<Alternative> = Vec::new();
    while low <= high {
        // The longest run from `low` whose last digits are free: 120 to 199 is `1[2-9][0-9]`.
        let fits = |block: &u64| low.is_multiple_of(*block) && low >= *block && low + block - 1 <= high;
        let block = (1..=19).map(|digits| 10_u64.pow(digits)).take_while(fits).last().unwrap_or(1);
        let (before, first) = (low / block / 10, low / block % 10);
        let last =
            (first..=9).take_while(|digit| low + (digit - first + 1) * block - 1 <= high).last().unwrap_or(first);
        let before = if before == 0 { String::new() } else { before.to_string() };
        let digit = if first == last { first.to_string() } else { format!("[{first}-{last}]") };
        let (begin, free) = (before + &digit, block.ilog10());
        match alternatives.last_mut() {
            Some((same, _, most)) if *same == begin && *most + 1 == free => *most = free,
            _ => alternatives.push((begin, free, free)),
        }
        low += (last - first + 1) * block;
    }
    let written = |(begin, fewest, most): Alternative| match (fewest, most) {
        (0, 0) => begin,
        (1, 1) => begin + "[0-9]",
        (fewest, most) if fewest == most => format!("{begin}[0-9]{{{fewest}}}"),
        (fewest, most) => format!("{begin}[0-9]{{{fewest},{most}}}"),
    };
    alternatives.into_iter().map(written).collect::<Vec<_>>().join("|")
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
        if duration.subsec_nanos() % 1_000_000 != 0 {
            return Err(format!("{} is not a whole number of milliseconds", shown(&text)));
        }
        Ok(Self(duration))
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

/// One number and one unit: the largest up to hours that leaves nothing over, so that most durations look as they were
/// written, also `"72h"`.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.millis();
        let up_to_hours = &UNITS[..UNITS.len() - 1];
        let whole = up_to_hours.iter().rev().find(|(_, unit)| all.is_multiple_of(*unit) && all > 0);
        let (name, unit) = whole.unwrap_or(&("s", 1));
        write!(f, "{}{name}", all / unit)
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
        json_schema!({"type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$", "examples": EXAMPLES.map(|(written, _)| written)})
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
    fn a_duration_is_shown_with_one_unit_that_leaves_nothing_over() {
        for (written, shown) in [
            ("15s", "15s"),
            ("72h", "72h"),
            ("24h", "24h"),
            ("30d", "720h"),
            ("90s", "90s"),
            ("1h 30m", "90m"),
            ("1500ms", "1500ms"),
            ("0s", "0s"),
        ] {
            let span = Span::try_from(written.to_owned()).unwrap();
            assert_eq!(span.to_string(), shown, "{written}");
            assert_eq!(Span::try_from(shown.to_owned()), Ok(span));
        }
        assert!(Span::try_from("1us".to_owned()).unwrap_err().ends_with("is not a whole number of milliseconds"));
    }

    #[test]
    fn a_pattern_of_numbers_has_those_within_bounds() {
        assert_eq!(numbers_between(1, 60), "[1-9]|[1-5][0-9]|60");
        assert_eq!(numbers_between(0, 30), "[0-9]|[1-2][0-9]|30");
        assert_eq!(numbers_between(100, 60_000), "[1-9][0-9]{2,3}|[1-5][0-9]{4}|60000");
        assert_eq!(numbers_between(128, 131), "12[8-9]|13[0-1]");
        let timeout = pattern_between(Span::milliseconds(100), Span::seconds(60));
        assert_eq!(timeout, "^(([1-9][0-9]{2,3}|[1-5][0-9]{4}|60000)ms|([1-9]|[1-5][0-9]|60)s|(1)m)$");
    }

    #[test]
    fn a_moment_is_text_in_json() {
        let moment: Moment = serde_json::from_str("\"2025-07-18T14:30:22-03:00\"").unwrap();
        assert_eq!(moment, Moment(1_752_859_822_000));
        assert_eq!(serde_json::to_string(&moment).unwrap(), "\"2025-07-18T17:30:22.000Z\"");
        assert!(serde_json::from_str::<Moment>("\"yesterday\"").is_err());
    }
}
