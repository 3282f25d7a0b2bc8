//! What a store provides to be tested by the suite.

use std::{sync::Arc, time::Duration};

use schemas::Secret;
use store::{Keyring, Store};

/// An empty store for one test. Its drop removes everything.
pub(crate) trait Fixture: Sized {
    /// Opens an empty store.
    async fn start() -> Self;

    /// The store; a new one after it was reopened.
    fn store(&self) -> Arc<dyn Store>;

    /// Closes the store and opens it again on what is stored; a store in memory stays open.
    async fn reopen(&mut self);
}

/// Encryption keys, the newest first.
pub(crate) fn keyring(texts: &[&str]) -> Keyring {
    let secret = |text: &&str| Secret::from((*text).to_owned());
    let (newest, older) = texts.split_first().expect("a key");
    Keyring::new(&secret(newest), &older.iter().map(secret).collect::<Vec<_>>()).expect("long enough")
}

pub(crate) const KEY: &str = "a key of many characters";

/// Time after which a test on a busy machine fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Polls until there is a result.
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
