//! History over HTTP: deliveries, events and statistics.

mod deliveries;
mod events;
mod filter;
mod shapes;
mod stats;

use std::{borrow::Cow, marker::PhantomData, sync::Arc};

use axum::{
    Json,
    response::{IntoResponse as _, Response},
};
use history::{Coverage, Cursor, Filter, History, HistoryError, PageRequest, SIGN_OF_LIFE};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use service::{
    openapi::ApiRouter,
    problem::{Code, Problem},
};

use super::{
    context::{Authorization, RequestContext},
    page::{self, Page},
};
use crate::{
    Control,
    history::{ShownSince, fields, scope_of},
};

const TAG: &str = "history";
/// How late a record may come, in milliseconds, before its time counts as incomplete: some signs of life of its process.
const LATE_MS: u64 = 2 * SIGN_OF_LIFE.as_millis() as u64;

pub(crate) fn routes() -> ApiRouter<Arc<Control>> {
    deliveries::routes().merge(events::routes()).merge(stats::routes())
}

/// History, unless nothing is recorded.
pub(crate) fn history_of(control: &Control) -> Result<&Arc<dyn History>, Problem> {
    let off = || Problem::new(Code::HistoryOff).detail("history.url is off: nothing is recorded");
    control.deps.history.as_ref().ok_or_else(off)
}

pub(crate) fn unavailable(error: &HistoryError) -> Problem {
    tracing::warn!(%error, "history.away");
    Problem::new(Code::Unavailable).detail("history is away").retry_after(std::time::Duration::from_secs(1))
}

fn scope_of_request(authorized: &Authorization) -> Result<String, Problem> {
    let tenant = authorized.tenant.as_ref().ok_or(Code::NotFound)?;
    Ok(scope_of(tenant))
}

/// Reads the page of a list from its query, of these parameters.
fn page_request(query: &[(String, String)], filter: Filter) -> Result<PageRequest, Problem> {
    let Page { limit, after } = Page::of(query)?;
    let after = after.map(|cursor| cursor.parse::<Cursor>().map_err(|_| page::wrong_cursor())).transpose()?;
    Ok(PageRequest { filter, limit, after })
}

/// The filter of a query about one tenant, or about all of them.
async fn filter_of(
    request: &RequestContext,
    query: &[(String, String)],
    scope: Option<String>,
    shown_from: Option<u64>,
) -> Result<Filter, Problem> {
    let mut filter = Filter { tenant: scope, ..Filter::default() };
    for (name, text) in query {
        if name == filter::TENANT {
            filter.tenant = Some(request.find(|snapshot| snapshot.tenant(text).map(|tenant| scope_of(tenant))).await?);
        } else {
            fields::set(&mut filter, name, text)?;
        }
    }
    filter.since = filter.since.max(shown_from);
    Ok(filter)
}

fn shown_since(request: &RequestContext, authorized: &Authorization) -> ShownSince {
    let now = (request.control.deps.clock)();
    authorized.tenant.as_ref().map_or(ShownSince { records: 0, bodies: 0 }, |tenant| ShownSince::of(tenant, now))
}

/// A page with whether records are complete for its time.
#[derive(Serialize)]
struct HistoryPage<T> {
    items: Vec<T>,
    next: Option<String>,
    complete: bool,
}

/// The schema of a [`HistoryPage`].
struct HistoryPageSchema<T>(PhantomData<T>);

impl<T: JsonSchema> JsonSchema for HistoryPageSchema<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("{}Page", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let items = generator.subschema_for::<T>();
        json_schema!({
            "type": "object",
            "required": ["items", "next", "complete"],
            "properties": {
                "items": {"type": "array", "items": items},
                "next": {
                    "type": ["string", "null"],
                    "description": "The cursor of the next page; null on the last. A page may have fewer items than asked \
                        for, or none, and not be the last: a rare filter looks at a bounded number of others for each page."
                },
                "complete": {
                    "type": "boolean",
                    "description": "False when records of the page's time are missing, or have not come yet."
                }
            }
        })
    }
}

/// Answers a page. `oldest` is the first acceptance of its last item.
async fn answer<T: Serialize>(
    request: &RequestContext,
    history: &dyn History,
    asked: &PageRequest,
    (items, next, oldest): (Vec<T>, Option<Cursor>, Option<u64>),
) -> Result<Response, Problem> {
    let now = (request.control.deps.clock)();
    let from = match (&next, oldest) {
        (Some(next), None) => next.accepted_at,
        (Some(_), Some(oldest)) => oldest,
        (None, _) => asked.filter.since.unwrap_or(0),
    };
    let after = asked.after.as_ref().map(|after| after.accepted_at);
    let until = [after, asked.filter.until, Some(now)].into_iter().flatten().min().unwrap_or(now);
    let coverage = history.coverage(from, until).await.map_err(|error| unavailable(&error))?;
    let complete = is_complete(&coverage, until);
    let next = next.map(|next| page::cursor(&next.to_string()));
    Ok(Json(HistoryPage { items, next, complete }).into_response())
}

/// True when no record of a time that ends at `until` (unix milliseconds) is missing.
fn is_complete(coverage: &Coverage, until: u64) -> bool {
    coverage.gaps.is_empty() && coverage.covered_until.is_none_or(|covered| covered.saturating_add(LATE_MS) >= until)
}

#[cfg(test)]
mod tests {
    use history::{Gap, GapCause};

    use super::*;

    #[test]
    fn a_time_is_complete_without_gaps_and_up_to_what_every_process_has_handed_over() {
        let covered = |until| Coverage { gaps: Vec::new(), covered_until: Some(until) };
        assert!(is_complete(&Coverage::default(), 1_000_000));
        assert!(is_complete(&covered(1_000_000), 1_000_000 + LATE_MS));
        assert!(!is_complete(&covered(1_000_000), 1_000_001 + LATE_MS));
        let gap = Gap { from: 1, until: 2, dropped: 1, cause: GapCause::Overflow };
        assert!(!is_complete(&Coverage { gaps: vec![gap], covered_until: None }, 1_000_000));
    }
}
