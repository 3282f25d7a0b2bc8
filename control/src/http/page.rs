//! Pages of lists. `?limit=&cursor=` is answered with `{"items":[…],"next":"cursor"|null}`, in a stable order.

use axum::{
    Json,
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use broker::ReadError;
use futures_util::{Stream, TryStreamExt as _};
use serde::Serialize;
use service::problem::{Code, Problem};
use tokio::time::{Instant, timeout_at};

use super::problems;
use crate::NotStarted;

/// Items of a page when `limit` is left out.
const DEFAULT_LIMIT: usize = 100;
/// Most items of a page.
const MAX_LIMIT: usize = 1_000;

/// Query parameters of a page.
pub(crate) const PARAMETERS: [&str; 2] = ["limit", "cursor"];

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) limit: usize,
    /// The page begins after this key.
    pub(crate) after: Option<String>,
}

impl Page {
    /// Reads `limit` and `cursor`, and ignores other parameters.
    pub(crate) fn of(query: &[(String, String)]) -> Result<Self, Problem> {
        let wrong = |detail: &str| Problem::new(Code::InvalidParameter).detail(detail);
        let mut page = Self { limit: DEFAULT_LIMIT, after: None };
        for (name, text) in query {
            match name.as_str() {
                "limit" => {
                    let limit = text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
                    page.limit = limit.ok_or_else(|| wrong("limit: expected a whole number from 1 to 1000"))?;
                }
                "cursor" => {
                    let read = || String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(text).ok()?).ok();
                    page.after = Some(read().ok_or_else(wrong_cursor)?);
                }
                _ => {}
            }
        }
        Ok(page)
    }

    /// Offset in a log at which the page begins.
    pub(crate) fn begin(&self) -> Result<u64, Problem> {
        let Some(last) = &self.after else { return Ok(0) };
        last.parse().ok().and_then(|last: u64| last.checked_add(1)).ok_or_else(wrong_cursor)
    }

    /// Cuts the page out of a list that is sorted by its keys. Returns the cursor of the next page, if there is one.
    pub(crate) fn cut<'a, T>(&self, items: impl Iterator<Item = (&'a str, T)>) -> (Vec<T>, Option<String>) {
        let after = |key: &str| self.after.as_deref().is_none_or(|after| key > after);
        let mut items = items.filter(|(key, _)| after(key)).peekable();
        let mut page = Vec::new();
        let mut last = None;
        while let Some((key, item)) = items.next_if(|_| page.len() < self.limit) {
            page.push(item);
            last = Some(key);
        }
        (page, items.peek().and(last).map(cursor))
    }
}

/// Takes a page of what is read from a log, each with its offset. What was read until the time is over makes a page too,
/// after which the next one goes on.
pub(crate) async fn of_log<T>(
    mut items: impl Stream<Item = Result<(u64, T), ReadError>> + Unpin,
    limit: usize,
    until: Instant,
) -> Result<(Vec<T>, Option<String>), Problem> {
    let (mut page, mut last) = (Vec::new(), None);
    let is_more = loop {
        match timeout_at(until, items.try_next()).await {
            Ok(Ok(Some(_))) if page.len() == limit => break true,
            Ok(Ok(Some((offset, item)))) => {
                page.push(item);
                last = Some(offset);
            }
            Ok(Ok(None)) => break false,
            Ok(Err(_)) => return Err(problems::log_unavailable()),
            Err(_) if page.is_empty() => return Err(NotStarted::TooSlow.into()),
            Err(_) => break true,
        }
    };
    Ok((page, last.filter(|_| is_more).map(|last| cursor(&last.to_string()))))
}

/// Refuses a cursor that this list did not give.
pub(crate) fn wrong_cursor() -> Problem {
    Problem::new(Code::InvalidParameter).detail("cursor: expected the `next` of a page before")
}

pub(crate) fn cursor(last: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(last)
}

#[derive(Serialize)]
struct PageAnswer<T> {
    items: Vec<T>,
    next: Option<String>,
}

pub(crate) fn answer<T: Serialize>(items: Vec<T>, next: Option<String>) -> Response {
    Json(PageAnswer { items, next }).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(pairs: &[(&str, &str)]) -> Result<Page, Problem> {
        let query: Vec<_> = pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        Page::of(&query)
    }

    #[test]
    fn pages_together_are_the_list() {
        let ids = ["a", "b", "c", "d", "e"];
        for limit in 1..=6 {
            let (mut all, mut after) = (Vec::new(), None);
            loop {
                let (items, next) = Page { limit, after }.cut(ids.iter().map(|id| (*id, *id)));
                assert!(items.len() <= limit && !items.is_empty());
                all.extend(items);
                let Some(next) = next else { break };
                after = page(&[("cursor", &next)]).unwrap().after;
            }
            assert_eq!(all, ids, "{limit} at a time");
        }
    }

    #[test]
    fn a_page_goes_on_after_what_was_deleted() {
        let page = Page { limit: 2, after: Some("b".to_owned()) };
        assert_eq!(page.cut(["a", "c", "d"].iter().map(|id| (*id, *id))), (vec!["c", "d"], None));
    }

    #[test]
    fn parameters_that_cannot_be_read_are_refused() {
        assert_eq!(page(&[]), Ok(Page { limit: 100, after: None }));
        for (name, text) in [("limit", "0"), ("limit", "1001"), ("limit", "x"), ("cursor", "!"), ("cursor", "_w")] {
            assert_eq!(page(&[(name, text)]).unwrap_err().code, Code::InvalidParameter, "{name}={text}");
        }
    }
    #[test]
    fn a_page_of_a_log_begins_after_the_offset_in_its_cursor() {
        let begin = |after: Option<&str>| Page { limit: 1, after: after.map(str::to_owned) }.begin();
        assert_eq!((begin(None), begin(Some("7"))), (Ok(0), Ok(8)));
        for after in ["crm", "-1", "", &u64::MAX.to_string()] {
            assert_eq!(begin(Some(after)).unwrap_err().code, Code::InvalidParameter, "{after}");
        }
    }
}
