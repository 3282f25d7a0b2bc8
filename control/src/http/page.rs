//! Pages of lists. `?limit=&cursor=` is answered with `{"items":[…],"next":"cursor"|null}`, in a stable order.

use aide::transform::TransformOperation;
use axum::{
    Json,
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use broker::{Log, Logs, Record};
use futures_util::TryStreamExt as _;
use schemars::json_schema;
use serde::Serialize;
use service::problem::{Code, Problem};
use tokio::time::{Instant, timeout_at};

use super::{describe, problems};
use crate::{
    NotStarted,
    log_search::{LogFilter, Origin, Search, read_offsets},
};

/// Items of a page when `limit` is left out.
const DEFAULT_LIMIT: usize = 100;
/// Most items of a page.
const MAX_LIMIT: usize = 1_000;

/// Records of a log that are read at first for a page.
const FIRST_READ: usize = 4;

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

/// Describes the order of a list that is found in a log.
pub(crate) fn ordered(op: TransformOperation<'_>) -> TransformOperation<'_> {
    let about = "`oldest`: the oldest first, which looks through all of them before it answers.";
    let words = json_schema!({"type": "string", "enum": ["newest", "oldest"], "default": "newest"});
    describe::parameter(op, ORDER, about, words)
}

/// A page of what was found in a log, by offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogPage {
    limit: usize,
    /// Offset of the last item of the page before.
    after: Option<u64>,
    is_newest_first: bool,
}

/// Query parameter of the order.
pub(crate) const ORDER: &str = "order";

impl LogPage {
    /// Reads `limit`, `cursor` and `order`, and ignores other parameters.
    pub(crate) fn of(query: &[(String, String)]) -> Result<Self, Problem> {
        let Page { limit, after } = Page::of(query)?;
        let after = after.map(|after| after.parse().map_err(|_| wrong_cursor())).transpose()?;
        let mut is_newest_first = true;
        for (_, order) in query.iter().filter(|(name, _)| name == ORDER) {
            is_newest_first = match order.as_str() {
                "newest" => true,
                "oldest" => false,
                _ => return Err(Problem::new(Code::InvalidParameter).detail("order: expected newest or oldest")),
            };
        }
        Ok(Self { limit, after, is_newest_first })
    }

    /// True when the search has found the page, and whether there is another one. The oldest are known last.
    pub(crate) fn is_found<F: LogFilter>(self, search: &Search<F>, is_wanted: impl Fn(&Origin) -> bool) -> bool {
        self.is_newest_first && self.offsets(search, is_wanted).nth(self.limit).is_some()
    }

    fn offsets<F: LogFilter>(
        self,
        search: &Search<F>,
        is_wanted: impl Fn(&Origin) -> bool,
    ) -> impl Iterator<Item = u64> {
        let (newest, oldest) = match (self.is_newest_first, self.after) {
            (true, after) => (Some(search.live().range(..after.unwrap_or(u64::MAX)).rev()), None),
            (false, after) => (None, Some(search.live().range(after.map_or(0, |after| after.saturating_add(1))..))),
        };
        let found = newest.into_iter().flatten().chain(oldest.into_iter().flatten());
        found.filter(move |(_, origin)| is_wanted(origin)).map(|(offset, _)| *offset)
    }

    /// Reads the page from the log, without holding a body for longer than `read` takes. The first records of the page are
    /// read first, a few and then more at a time: what was read until the time is over makes a page too, after which the
    /// next one goes on.
    pub(crate) async fn read<F: LogFilter, T>(
        self,
        search: &Search<F>,
        logs: &dyn Logs,
        until: Instant,
        is_wanted: impl Fn(&Origin) -> bool,
        read: impl Fn(&Record) -> Option<T>,
    ) -> Result<(Vec<T>, Option<String>), Problem> {
        let mut offsets: Vec<u64> = self.offsets(search, is_wanted).take(self.limit + 1).collect();
        let mut is_more = offsets.len() > self.limit;
        offsets.truncate(self.limit);
        let (mut items, mut last, mut few, mut rest) = (Vec::new(), None, FIRST_READ, &offsets[..]);
        while !rest.is_empty() {
            let (now, later) = rest.split_at(few.min(rest.len()));
            match timeout_at(until, self.read_few(F::LOG, logs, now, &read)).await {
                Ok(found) => items.extend(found?),
                Err(_) if last.is_none() => return Err(NotStarted::TooSlow.into()),
                Err(_) => {
                    is_more = true;
                    break;
                }
            }
            (last, few, rest) = (now.last(), few * 4, later);
        }
        Ok((items, last.filter(|_| is_more).map(|last| cursor(&last.to_string()))))
    }

    async fn read_few<T>(
        self,
        log: Log,
        logs: &dyn Logs,
        offsets: &[u64],
        read: impl Fn(&Record) -> Option<T>,
    ) -> Result<Vec<T>, Problem> {
        let mut rising = offsets.to_vec();
        rising.sort_unstable();
        // Each record is dropped with its body as soon as it is read.
        let records = read_offsets(logs, log, rising).map_ok(|record| read(&record));
        let found: Result<Vec<Option<T>>, _> = records.try_collect().await;
        let mut found = found.map_err(|_| problems::log_unavailable())?;
        if self.is_newest_first {
            found.reverse();
        }
        Ok(found.into_iter().flatten().collect())
    }
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
        let page = |pairs: &[(&str, &str)]| {
            let query: Vec<_> = pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
            LogPage::of(&query)
        };
        let expected = LogPage { limit: 100, after: Some(7), is_newest_first: true };
        assert_eq!(page(&[("cursor", &cursor("7"))]), Ok(expected));
        let oldest = LogPage { is_newest_first: false, ..expected };
        assert_eq!(page(&[("cursor", &cursor("7")), ("order", "oldest")]), Ok(oldest));
        for wrong in ["crm", "-1", ""] {
            assert_eq!(page(&[("cursor", &cursor(wrong))]).unwrap_err().code, Code::InvalidParameter, "{wrong}");
        }
        assert_eq!(page(&[("order", "up")]).unwrap_err().code, Code::InvalidParameter);
    }
}
