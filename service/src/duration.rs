//! Durations in the configuration are texts with a unit: `"5s"`, `"2m"`, `"1h 30m"`.
//!
//! [`rough`] is for people.
//!
//! For `#[serde(with = "service::duration")]` on a `Duration`, and `service::duration::list` on a `Vec<Duration>`.

use std::time::Duration;

use schemas::Span;
use serde::{Deserialize, Deserializer, Serializer, de};

/// A duration in its largest unit, for people: `40 s`, `3 min`, `2 h`, `5 days`.
pub fn rough(duration: Duration) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    match duration.as_secs() {
        0 if duration.is_zero() => "0 s".to_owned(),
        0 => format!("{:.1} s", duration.as_secs_f64()),
        seconds if seconds < 2 * MINUTE => format!("{seconds} s"),
        seconds if seconds < 2 * HOUR => format!("{} min", seconds / MINUTE),
        seconds if seconds < 2 * DAY => format!("{} h", seconds / HOUR),
        seconds => format!("{} days", seconds / DAY),
    }
}

pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Span(*duration))
}

/// Reads a text with a unit. A number without a unit is refused as ambiguous.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse(&String::deserialize(deserializer)?)
}

fn parse<E: de::Error>(text: &str) -> Result<Duration, E> {
    humantime::parse_duration(text)
        .map_err(|why| E::custom(format_args!("`{text}` is not a duration such as \"5s\" or \"2m\": {why}")))
}

pub mod list {
    use super::{Deserialize, Deserializer, Duration, Serializer, Span, parse};

    pub fn serialize<S: Serializer>(durations: &[Duration], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(durations.iter().map(|each| Span(*each).to_string()))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Duration>, D::Error> {
        Vec::<String>::deserialize(deserializer)?.iter().map(|text| parse(text)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Serialize, Deserialize)]
    struct Times {
        #[serde(with = "crate::duration")]
        timeout: Duration,
        #[serde(with = "crate::duration::list")]
        schedule: Vec<Duration>,
    }

    #[test]
    fn durations_are_read_with_their_units_and_written_so_that_they_read_back() {
        let times: Times = serde_json::from_str(r#"{"timeout":"1500ms","schedule":["5s","2m","72h"]}"#).unwrap();
        let seconds = Duration::from_secs;
        assert_eq!(times.timeout, Duration::from_millis(1_500));
        assert_eq!(times.schedule, [seconds(5), seconds(120), seconds(259_200)]);
        let written = serde_json::to_string(&times).unwrap();
        assert_eq!(serde_json::from_str::<Times>(&written).unwrap(), times);
    }

    #[test]
    fn a_rough_duration_has_one_unit() {
        let shown =
            [0, 40, 119, 180, 7_199, 7_200, 172_799, 432_000].map(|seconds| rough(Duration::from_secs(seconds)));
        assert_eq!(shown, ["0 s", "40 s", "119 s", "3 min", "119 min", "2 h", "47 h", "5 days"]);
        assert_eq!(rough(Duration::from_millis(240)), "0.2 s");
    }

    #[test]
    fn a_number_without_a_unit_is_refused_with_an_example() {
        let error = serde_json::from_str::<Times>(r#"{"timeout":"5","schedule":[]}"#).unwrap_err().to_string();
        assert!(error.contains("`5` is not a duration such as \"5s\""), "{error}");
    }
}
