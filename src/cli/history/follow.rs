//! Reading lists of history: to their end, or on and on.

use std::{collections::HashMap, time::Duration};

use schemas::time::{rfc3339, unix_ms};
use serde::Deserialize;
use serde_json::Value;

use super::note_completeness;
use crate::cli::logs::{LogClient, Query};

/// Largest page of the API.
const PAGE: usize = 1_000;
/// Pause between two looks at what is new.
const PAUSE: Duration = Duration::from_secs(1);
/// Time before a look from which records may still come, in milliseconds: they come a little later than what they tell.
const LATE_MS: u64 = 60_000;

#[derive(Deserialize)]
struct HistoryPage {
    items: Vec<Value>,
    next: Option<String>,
    complete: bool,
}

/// Reads a list, newest first, to its end or up to `limit` items. Says when it is not complete. Returns false if there are
/// more.
pub(super) async fn read(
    client: &LogClient,
    path: &str,
    query: &Query,
    limit: usize,
    mut see: impl FnMut(&Value) -> anyhow::Result<()>,
) -> anyhow::Result<bool> {
    let (mut left, mut cursor, mut complete) = (limit, None::<String>, true);
    loop {
        let mut query = query.clone();
        query.push(("limit", left.clamp(1, PAGE).to_string()));
        query.extend(cursor.map(|cursor| ("cursor", cursor)));
        let page: HistoryPage = client.get(path, &query).await?;
        left = left.saturating_sub(page.items.len());
        complete &= page.complete;
        page.items.iter().try_for_each(&mut see)?;
        cursor = page.next;
        if cursor.is_none() || left == 0 {
            note_completeness(complete);
            return Ok(cursor.is_none());
        }
    }
}

/// A list that is followed: each item is seen when it is new, and again when it has changed.
pub(super) struct Followed<'a> {
    client: &'a LogClient,
    path: String,
    query: Query,
    /// What an item was like when it was seen last, by its id.
    seen: HashMap<String, String>,
    /// Unix milliseconds.
    since: u64,
}

impl<'a> Followed<'a> {
    /// Begins with what is accepted from now on, in unix milliseconds.
    pub(super) fn new(client: &'a LogClient, path: String, query: Query, now: u64) -> Self {
        let since = query.iter().find(|(name, _)| *name == "since").and_then(|(_, text)| unix_ms(text));
        let query = query.into_iter().filter(|(name, _)| *name != "since").collect();
        Self { client, path, query, seen: HashMap::new(), since: since.unwrap_or(now) }
    }

    /// Sees what is new or has changed, oldest first. `now` is unix milliseconds.
    pub(super) async fn look(
        &mut self,
        now: u64,
        see: &mut impl FnMut(&Value) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut query = self.query.clone();
        query.push(("since", rfc3339(self.since)));
        query.push(("limit", PAGE.to_string()));
        let page: HistoryPage = self.client.get(&self.path, &query).await?;
        let mut seen = HashMap::new();
        for item in page.items.iter().rev() {
            let (id, state) = (item["id"].to_string(), state_of(item));
            if self.seen.get(&id) != Some(&state) {
                see(item)?;
            }
            seen.insert(id, state);
        }
        self.seen = seen;
        self.since = self.since.max(now.saturating_sub(LATE_MS));
        Ok(())
    }
}

/// What makes an item worth seeing again.
fn state_of(item: &Value) -> String {
    [&item["state"], &item["run"], &item["attempt_count"], &item["matched"]].map(ToString::to_string).join(" ")
}

/// Waits until the next look. False when the command is interrupted meanwhile.
pub(super) async fn pause() -> bool {
    tokio::select! {
        () = tokio::time::sleep(PAUSE) => true,
        _ = tokio::signal::ctrl_c() => false,
    }
}
