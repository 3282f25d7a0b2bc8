//! An endpoint made ready for requests, once per version of it: no attempt parses a URL or builds a header again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use http::{
    Uri,
    header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT},
};
use schemas::Endpoint;
use url::Url;

use crate::{
    hidden::Hidden,
    sign::{Signer, Unsignable},
};

/// Entries beyond this are forgotten, all at once: cheaper than keeping track of which are old.
const MAX_TARGETS: usize = 100_000;

/// An endpoint made ready for requests.
#[derive(Debug)]
pub(crate) struct Target {
    /// The version of the endpoint it was made of.
    pub(crate) endpoint: Arc<Endpoint>,
    /// Where to post; none if what was written is no URL.
    pub(crate) url: Option<Uri>,
    /// What all its requests have in common.
    pub(crate) headers: HeaderMap,
    /// What signs them, or why nothing can be sent.
    pub(crate) signer: Result<Signer, Unsignable>,
    /// What is masked in what is kept of an answer.
    pub(crate) hidden: Hidden,
}

/// The targets in use, by tenant and endpoint.
#[derive(Debug, Default)]
pub(crate) struct Targets {
    known: Mutex<HashMap<(String, String), Arc<Target>>>,
}

impl Targets {
    /// The target of an endpoint as it is now.
    pub(crate) fn of(&self, tenant: &str, endpoint: &Arc<Endpoint>) -> Arc<Target> {
        let key = (tenant.to_owned(), endpoint.id.clone());
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(target) = known.get(&key).filter(|target| Arc::ptr_eq(&target.endpoint, endpoint)) {
            return target.clone();
        }
        if known.len() >= MAX_TARGETS {
            known.clear();
        }
        let target = Arc::new(prepare(endpoint));
        known.insert(key, target.clone());
        target
    }
}

fn prepare(endpoint: &Arc<Endpoint>) -> Target {
    Target {
        endpoint: endpoint.clone(),
        url: url_of(&endpoint.url),
        headers: headers_of(endpoint),
        signer: Signer::of(endpoint),
        hidden: Hidden::of(endpoint),
    }
}

/// What a URL is to the client. Its parser is the one that decided about the URL when it was written: it alone turns
/// decimal, octal and full-width hosts into the addresses they are.
fn url_of(text: &str) -> Option<Uri> {
    let mut url = Url::parse(text).ok()?;
    // No endpoint has them; if one did, they must not become part of the host that is connected to.
    url.set_username("").and_then(|()| url.set_password(None)).ok()?;
    url.set_fragment(None);
    url.as_str().parse().ok()
}

fn headers_of(endpoint: &Endpoint) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("carteiro/", env!("CARGO_PKG_VERSION"))));
    let own = endpoint.headers.iter().map(|(name, text)| (name.as_str(), text.reveal()));
    let n8n = endpoint.n8n_api_key.iter().map(|key| ("x-n8n-api-key", key.reveal()));
    for (name, text) in own.chain(n8n) {
        // Both were checked when the endpoint was written; what slipped through must not stop the delivery.
        if let (Ok(name), Ok(mut value)) = (HeaderName::try_from(name), HeaderValue::try_from(text)) {
            value.set_sensitive(true);
            headers.insert(name, value);
        }
    }
    headers
}
