//! Pages of lists. `?limit=&cursor=` is answered with `{"items":[…],"next":"cursor"|null}`, in a stable order.

use axum::{
    Json,
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use broker::{Log, Logs, Record};
use futures_util::TryStreamExt as _;
use schemars::json_schema;
use serde::Serialize;
use service::{
    openapi::Operation,
    problem::{Code, Problem},
};
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

/// Records of a log that are read at first for a page that begins with the newest.
const FIRST_READ: usize = 4;
/// Bytes of bodies after which a page with bodies ends.
const MAX_BODIES: usize = 8 << 20;

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
                // A form sends a field that is empty.
                "cursor" if text.is_empty() => {}
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

/// Describes a list of what is found in a log.
pub(crate) fn described_log(op: Operation) -> Operation {
    let op = describe::more(op, "Newest first. A page may have fewer than `limit` and still a `next`.");
    let about = "`oldest`: the oldest first, which looks through all of them before it answers.";
    let words = json_schema!({"type": "string", "enum": ["newest", "oldest"], "default": "newest"});
    let op = describe::parameter(describe::paged(op), "order", about, words);
    let about = "`true`: with their bodies. A page ends after 8 MiB of them.";
    describe::parameter(op, "bodies", about, json_schema!({"type": "boolean", "default": false}))
}

/// Reads a parameter that is true or false.
pub(crate) fn flag(name: &str, text: &str) -> Result<bool, Problem> {
    let wrong = |_| Problem::new(Code::InvalidParameter).detail(format!("{name}: expected true or false"));
    text.parse().map_err(wrong)
}

/// A page of what was found in a log, by offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogPage {
    limit: usize,
    /// Offset of the last item of the page before.
    after: Option<u64>,
    is_newest_first: bool,
    pub(crate) has_bodies: bool,
}

/// Query parameters of a page of a log.
pub(crate) const LOG_PARAMETERS: [&str; 4] = ["limit", "cursor", "order", "bodies"];

impl LogPage {
    /// Reads `limit`, `cursor`, `order` and `bodies`, and ignores other parameters.
    pub(crate) fn of(query: &[(String, String)]) -> Result<Self, Problem> {
        let Page { limit, after } = Page::of(query)?;
        let after = after.map(|after| after.parse().map_err(|_| wrong_cursor())).transpose()?;
        let mut page = Self { limit, after, is_newest_first: true, has_bodies: false };
        for (name, text) in query {
            match (name.as_str(), text.as_str()) {
                ("order", order @ ("newest" | "oldest")) => page.is_newest_first = order == "newest",
                ("order", _) => {
                    return Err(Problem::new(Code::InvalidParameter).detail("order: expected newest or oldest"));
                }
                ("bodies", _) => page.has_bodies = flag(name, text)?,
                _ => {}
            }
        }
        Ok(page)
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

    /// Reads the page from the log, without holding a body for longer than `read` takes. What was read until the time is
    /// over makes a page too, after which the next one goes on, and so does what has enough bytes of bodies.
    pub(crate) async fn read<F: LogFilter, T>(
        self,
        search: &Search<F>,
        logs: &dyn Logs,
        until: Instant,
        is_wanted: impl Fn(&Origin) -> bool,
        read: impl Fn(&Record) -> Option<T>,
    ) -> Result<(Vec<T>, Option<String>), Problem> {
        let mut offsets: Vec<u64> = self.offsets(search, is_wanted).take(self.limit + 1).collect();
        let is_more = offsets.len() > self.limit;
        offsets.truncate(self.limit);
        let (items, last) = match self.is_newest_first {
            true => self.read_newest(F::LOG, logs, until, &offsets, read).await?,
            false => self.read_oldest(F::LOG, logs, until, &offsets, read).await?,
        };
        let is_more = is_more || last != offsets.last().copied();
        Ok((items, last.filter(|_| is_more).map(|last| cursor(&last.to_string()))))
    }

    /// Reads as many of these records as there is time for. Returns the offset of the last one.
    async fn read_oldest<T>(
        self,
        log: Log,
        logs: &dyn Logs,
        until: Instant,
        offsets: &[u64],
        read: impl Fn(&Record) -> Option<T>,
    ) -> Result<(Vec<T>, Option<u64>), Problem> {
        let (mut items, mut last, mut bytes) = (Vec::new(), None, 0);
        let mut records = read_offsets(logs, log, offsets.to_vec());
        while !self.is_full(bytes) {
            match timeout_at(until, records.try_next()).await {
                Ok(Ok(Some(record))) => {
                    last = Some(record.offset);
                    bytes += record.message.body.len();
                    items.extend(read(&record));
                }
                // Of those that are missing, the log has deleted some meanwhile.
                Ok(Ok(None)) => return Ok((items, offsets.last().copied())),
                Ok(Err(_)) => return Err(problems::log_unavailable()),
                Err(_) if last.is_none() => return Err(NotStarted::TooSlow.into()),
                Err(_) => break,
            }
        }
        Ok((items, last))
    }

    /// Like [`read_oldest`](Self::read_oldest), for falling offsets. A log is read in rising order only, so the newest few
    /// are read first, and then more at a time.
    async fn read_newest<T>(
        self,
        log: Log,
        logs: &dyn Logs,
        until: Instant,
        offsets: &[u64],
        read: impl Fn(&Record) -> Option<T>,
    ) -> Result<(Vec<T>, Option<u64>), Problem> {
        let (mut items, mut last, mut bytes) = (Vec::new(), None, 0);
        let (mut few, mut rest) = (FIRST_READ, offsets);
        while !rest.is_empty() && !self.is_full(bytes) {
            let (now, later) = rest.split_at(few.min(rest.len()));
            let rising = now.iter().rev().copied().collect();
            // Each record is dropped with its body as soon as it is read.
            let records = read_offsets(logs, log, rising).map_ok(|record| (record.message.body.len(), read(&record)));
            match timeout_at(until, records.try_collect::<Vec<_>>()).await {
                Ok(found) => {
                    let found = found.map_err(|_| problems::log_unavailable())?;
                    bytes += found.iter().map(|(bytes, _)| bytes).sum::<usize>();
                    items.extend(found.into_iter().rev().filter_map(|(_, item)| item));
                }
                Err(_) if last.is_none() => return Err(NotStarted::TooSlow.into()),
                Err(_) => break,
            }
            (last, rest) = (now.last().copied(), later);
            few = if self.has_bodies { FIRST_READ } else { few * 4 };
        }
        Ok((items, last))
    }

    fn is_full(self, bytes: usize) -> bool {
        self.has_bodies && bytes >= MAX_BODIES
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
        assert_eq!(page(&[("cursor", "")]), Ok(Page { limit: 100, after: None }));
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
        let expected = LogPage { limit: 100, after: Some(7), is_newest_first: true, has_bodies: false };
        assert_eq!(page(&[("cursor", &cursor("7"))]), Ok(expected));
        let oldest = LogPage { is_newest_first: false, ..expected };
        assert_eq!(page(&[("cursor", &cursor("7")), ("order", "oldest")]), Ok(oldest));
        assert_eq!(
            page(&[("cursor", "")]).map(|page| page.after),
            Ok(None),
            "a form sends it empty for the first page"
        );
        for wrong in ["crm", "-1"] {
            assert_eq!(page(&[("cursor", &cursor(wrong))]).unwrap_err().code, Code::InvalidParameter, "{wrong}");
        }
        assert_eq!(page(&[("order", "up")]).unwrap_err().code, Code::InvalidParameter);
    }
}
