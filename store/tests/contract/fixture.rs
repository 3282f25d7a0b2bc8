//! What a store has to bring to be tested. It judges nothing.

use std::{sync::Arc, time::Duration};

use schemas::Secret;
use store::{Keyring, Store};

/// A store of its own for one test, and nothing in it. Dropping it takes everything away again.
pub(crate) trait Fixture: Sized {
    /// Opens an empty one.
    async fn start() -> Self;

    /// The store; after it was reopened a new one.
    fn store(&self) -> Arc<dyn Store>;

    /// Closes it and opens it again on what it has kept; a store that keeps nothing stays.
    async fn reopen(&mut self);
}

/// Keys to encrypt with; the first is the newest.
pub(crate) fn keyring(texts: &[&str]) -> Keyring {
    let secret = |text: &&str| Secret::from((*text).to_owned());
    let (newest, older) = texts.split_first().expect("a key");
    Keyring::new(&secret(newest), &older.iter().map(secret).collect::<Vec<_>>()).expect("long enough")
}

/// A key.
pub(crate) const KEY: &str = "a key of many characters";

/// How long a thing may take on a busy machine before a test calls it missing.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Looks until there is something to see.
pub(crate) async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let seen = async {
        let mut next = tokio::time::interval(Duration::from_millis(10));
        loop {
            next.tick().await;
            if let Some(seen) = look() {
                return seen;
            }
        }
    };
    tokio::time::timeout(PATIENCE, seen).await.unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {what}"))
}
