//! Counts of what a search of a log has found: by reason, by tenant or by endpoint.

use std::collections::BTreeMap;

use axum::{
    Json,
    response::{IntoResponse as _, Response},
};
use schemars::JsonSchema;
use serde::Serialize;
use service::problem::{Code, Problem};

use crate::log_search::{LogFilter, Origin, Search};

/// Query parameter that says by what is counted.
pub(super) const BY: &str = "by";
/// Most records that a search keeps for a count. Of more, it counts the newest.
const MAX_COUNTED: usize = 1_000_000;

/// How many there are.
#[derive(Serialize, JsonSchema)]
pub(super) struct Counts {
    /// The largest count first.
    items: Vec<CountItem>,
    /// How many there are in all.
    total: u64,
    /// How that is known.
    counted: Counted,
}

/// One count. It has the fields that were asked for by `by`.
#[derive(Serialize, JsonSchema)]
struct CountItem {
    /// The tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    /// The endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint_id: Option<String>,
    /// The reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// How many there are of it.
    count: u64,
}

/// How a count is known.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Counted {
    /// All were counted.
    Exactly,
    /// The newest were counted. Asked again, a count goes on from there, up to a million.
    AtLeast,
}

/// What is counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CountBy {
    Reason,
    Tenant,
    /// With their tenants, as two tenants may have endpoints of one id.
    Endpoint,
}

impl CountBy {
    /// Reads `by`, one of these words. Left out, it is the first.
    pub(super) fn of(query: &[(String, String)], words: &[&str]) -> Result<Self, Problem> {
        let word = query.iter().rfind(|(name, _)| name == BY).map_or("reason", |(_, word)| word);
        match word {
            _ if !words.contains(&word) => {
                Err(Problem::new(Code::InvalidParameter).detail(format!("by: expected {}", words.join(" or "))))
            }
            "tenant" => Ok(Self::Tenant),
            "endpoint_id" => Ok(Self::Endpoint),
            _ => Ok(Self::Reason),
        }
    }

    /// True when a search has found so much that it is not to go on.
    pub(super) fn is_enough<F: LogFilter>(search: &Search<F>) -> bool {
        search.len() >= MAX_COUNTED
    }

    pub(super) fn count<F: LogFilter>(self, search: &Search<F>, is_wanted: impl Fn(&Origin) -> bool) -> Counts {
        let mut counts = BTreeMap::<_, u64>::new();
        for origin in search.live().values().filter(|origin| is_wanted(origin)) {
            let key = match self {
                Self::Reason => (None, None, Some(origin.reason)),
                Self::Tenant => (Some(&*origin.tenant), None, None),
                Self::Endpoint => (Some(&*origin.tenant), Some(&*origin.endpoint_id), None),
            };
            *counts.entry(key).or_default() += 1;
        }
        let total = counts.values().sum();
        let mut items: Vec<_> = counts
            .into_iter()
            .map(|((tenant, endpoint_id, reason), count)| {
                let [tenant, endpoint_id] = [tenant, endpoint_id].map(|text| text.map(str::to_owned));
                CountItem { tenant, endpoint_id, reason, count }
            })
            .collect();
        items.sort_by_key(|item| std::cmp::Reverse(item.count));
        let counted = if search.is_whole() { Counted::Exactly } else { Counted::AtLeast };
        Counts { items, total, counted }
    }
}

impl Counts {
    pub(super) fn answer(self) -> Response {
        Json(self).into_response()
    }
}
