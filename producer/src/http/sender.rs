//! Which source a vendor's webhook came to, and whether its sender shows the key that the source expects.

use axum::http::HeaderMap;
use schemas::KeyHash;
use service::problem::{Code, Problem};
use store::{Denied, SourceRef, Store, StoreError};

use super::answer;

/// What the vendors call it.
const API_KEY: &str = "x-n8n-api-key";

/// The source of a token that is valid now (unix ms); asks the store once before it refuses, since source or key may be new.
pub(super) async fn identify(
    store: &dyn Store,
    token: &str,
    headers: &HeaderMap,
    now: u64,
) -> Result<SourceRef, Problem> {
    let decide = || match store.snapshot() {
        Some(snapshot) => decide(snapshot.source(token, now), headers),
        None => Err(answer::denied(&Denied::Away(StoreError("nothing was read yet".to_owned())))),
    };
    match decide() {
        Ok(source) => Ok(source),
        Err(_) => {
            store.pull().await.map_err(|error| answer::denied(&Denied::Away(error)))?;
            decide()
        }
    }
}

fn decide(source: Option<&SourceRef>, headers: &HeaderMap) -> Result<SourceRef, Problem> {
    let found = source.ok_or_else(|| Problem::new(Code::NotFound))?;
    if let Some(expected) = &found.source.n8n_api_key {
        let presented = headers.get(API_KEY).and_then(|key| key.to_str().ok());
        // By their hashes, so that the time it takes tells nothing.
        if presented.map(KeyHash::of) != Some(KeyHash::of(expected.reveal())) {
            return Err(Problem::new(Code::Unauthorized));
        }
    }
    Ok(found.clone())
}
