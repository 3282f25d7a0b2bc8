//! Counts by hour and day, as they were made when records were written.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    response::{IntoResponse as _, Response},
};
use history::{StatsBy, StatsPoint, StatsRequest};
use schemars::{JsonSchema, json_schema};
use schemas::{
    Scope,
    time::{SINCE_1970, rfc3339, unix_ms},
};
use serde::Serialize;
use service::{
    openapi::{ApiRouter, get_with},
    problem::{Code, Problem},
};

use super::{TAG, history_of, is_complete, scope_of_request, unavailable};
use crate::{
    Control,
    http::{context::RequestContext, describe},
};

const PARAMETERS: [&str; 4] = ["since", "until", "by", "endpoint_id"];
/// Most points of one answer: 31 days by hour.
const MAX_POINTS: u64 = 31 * 24;
const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;

pub(super) fn routes() -> ApiRouter<Arc<Control>> {
    ApiRouter::new().api_route(
        "/v1/tenants/{tenant}/stats",
        get_with(stats, |op| {
            let op = describe::operation(op, TAG, "getStats", "Count by hour or day", Some(Scope::Read));
            let op = describe::more(
                op,
                "Without `since`, of the last 24 hours or 30 days. Attempts and ends count in the hour in which they were, \
                 events in that of their acceptance. Hours and days without any have no point. 744 points at most.",
            );
            let time = || json_schema!({"type": "string", "format": "date-time", "pattern": SINCE_1970});
            let op = describe::parameter(op, "since", "From the hour or day of this time on.", time());
            let op = describe::parameter(op, "until", "Until this time; left out, until now.", time());
            let by = json_schema!({"type": "string", "enum": ["hour", "day"], "default": "hour"});
            let op = describe::parameter(op, "by", "Width of a point; a day is one in UTC.", by);
            let about = "Only of this endpoint; then `events` are those with a delivery to it.";
            let op = describe::parameter(op, "endpoint_id", about, json_schema!({"type": "string"}));
            describe::answers::<200, StatsAnswer>(describe::refuses(op, &[Code::HistoryOff]))
        }),
    )
}

/// Counts over a time.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Stats")]
struct StatsAnswer {
    /// Oldest first.
    points: Vec<ShownPoint>,
    /// False when records of that time are missing, or have not come yet.
    complete: bool,
}

/// Counts of an hour or a day.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "StatsPoint")]
struct ShownPoint {
    /// Its beginning.
    #[schemars(extend("format" = "date-time"))]
    at: String,
    /// Events that were accepted.
    events: u64,
    /// Deliveries that got a 2xx.
    delivered: u64,
    /// Attempts that got none.
    failed_attempts: u64,
    /// Deliveries that ended without one.
    dead: u64,
    /// Median of the attempts' durations, in milliseconds, to within a fifth; null without attempts.
    p50_ms: Option<u64>,
    /// What 95 of 100 attempts did not exceed.
    p95_ms: Option<u64>,
    /// Attempts by the class of their outcome.
    outcomes: BTreeMap<&'static str, u64>,
}

impl From<StatsPoint> for ShownPoint {
    fn from(point: StatsPoint) -> Self {
        let StatsPoint { at, events, delivered, failed_attempts, dead, p50_ms, p95_ms, outcomes } = point;
        let outcomes = outcomes.into_iter().map(|(outcome, count)| (outcome.as_str(), count)).collect();
        Self { at: rfc3339(at), events, delivered, failed_attempts, dead, p50_ms, p95_ms, outcomes }
    }
}

async fn stats(request: RequestContext) -> Result<Response, Problem> {
    let authorized = request.tenant(Scope::Read).await?;
    let query = request.query(&PARAMETERS)?;
    let history = history_of(&request.control)?;
    let asked = stats_request(&query, scope_of_request(&authorized)?, (request.control.deps.clock)())?;
    let points = history.stats(&asked).await.map_err(|error| unavailable(&error))?;
    let coverage = history.coverage(asked.since, asked.until).await.map_err(|error| unavailable(&error))?;
    let complete = is_complete(&coverage, asked.until);
    Ok(Json(StatsAnswer { points: points.into_iter().map(Into::into).collect(), complete }).into_response())
}

fn stats_request(query: &[(String, String)], tenant: String, now: u64) -> Result<StatsRequest, Problem> {
    let wrong = |detail: String| Problem::new(Code::InvalidParameter).detail(detail);
    let (mut since, mut until, mut by, mut endpoint_id) = (None, now, StatsBy::Hour, None);
    for (name, text) in query {
        let time = || {
            let example = "an RFC 3339 time, such as 2026-01-31T08:00:00Z";
            unix_ms(text).ok_or_else(|| wrong(format!("{name}: expected {example}")))
        };
        match name.as_str() {
            "since" => since = Some(time()?),
            "until" => until = time()?,
            "by" => {
                by = match text.as_str() {
                    "hour" => StatsBy::Hour,
                    "day" => StatsBy::Day,
                    _ => return Err(wrong("by: expected hour or day".to_owned())),
                }
            }
            _ => endpoint_id = Some(text.clone()),
        }
    }
    let (width, usual) = match by {
        StatsBy::Hour => (HOUR, DAY),
        StatsBy::Day => (DAY, 30 * DAY),
    };
    let since = since.unwrap_or(until.saturating_sub(usual)) / width * width;
    if until.saturating_sub(since) > MAX_POINTS * width {
        return Err(wrong(format!("since: expected at most {MAX_POINTS} points before until")));
    }
    Ok(StatsRequest { tenant: Some(tenant), endpoint_id, since, until, by })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(pairs: &[(&str, &str)]) -> Result<StatsRequest, Problem> {
        let query: Vec<_> = pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        stats_request(&query, "acme@1".to_owned(), 100 * DAY + HOUR + 1)
    }

    #[test]
    fn a_request_without_times_is_about_the_last_day_or_month() {
        let by_hour = asked(&[]).unwrap();
        assert_eq!((by_hour.since, by_hour.until), (99 * DAY + HOUR, 100 * DAY + HOUR + 1));
        let by_day = asked(&[("by", "day")]).unwrap();
        assert_eq!((by_day.since, by_day.by), (70 * DAY, StatsBy::Day));
    }

    #[test]
    fn too_many_points_and_unknown_words_are_refused() {
        for wrong in [("by", "week"), ("since", "yesterday"), ("since", "1970-01-01T00:00:00Z")] {
            assert_eq!(asked(&[wrong]).unwrap_err().code, Code::InvalidParameter, "{wrong:?}");
        }
        assert!(asked(&[("by", "day"), ("since", "1970-01-01T00:00:00Z")]).is_ok());
    }
}
