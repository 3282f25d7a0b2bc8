//! An endpoint made ready for requests, once per version of it: no attempt parses a URL or builds a header again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use ipnet::IpNet;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use schemas::Endpoint;
use url::Url;

use crate::{
    connect::check_literal,
    sign::{Signer, Unsignable},
};

/// Entries beyond this are forgotten, all at once: cheaper than keeping track of which are old.
const MAX_TARGETS: usize = 100_000;

/// An endpoint made ready for requests.
#[derive(Debug)]
pub(crate) struct Target {
    /// The version of the endpoint it was made of.
    pub(crate) endpoint: Arc<Endpoint>,
    /// Where to post, or why that cannot be.
    pub(crate) url: Result<Url, Unusable>,
    /// What all its requests have in common.
    pub(crate) headers: HeaderMap,
    /// What signs them, or why nothing can be sent.
    pub(crate) signer: Result<Signer, Unsignable>,
}

/// Why nothing can be sent to a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// Its address is a literal that is not allowed.
    Blocked,
    /// It is no URL.
    Malformed,
}

/// The targets in use, by tenant and endpoint.
#[derive(Debug)]
pub(crate) struct Targets {
    allowed: Arc<[IpNet]>,
    known: Mutex<HashMap<(String, String), Arc<Target>>>,
}

impl Targets {
    pub(crate) fn new(allowed: Arc<[IpNet]>) -> Self {
        Self { allowed, known: Mutex::default() }
    }

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
        let target = Arc::new(self.prepare(endpoint));
        known.insert(key, target.clone());
        target
    }

    fn prepare(&self, endpoint: &Arc<Endpoint>) -> Target {
        let url = Url::parse(&endpoint.url).map_err(|_| Unusable::Malformed).and_then(|url| {
            check_literal(&url, &self.allowed).map_err(|_| Unusable::Blocked)?;
            Ok(url)
        });
        Target { endpoint: endpoint.clone(), url, headers: headers_of(endpoint), signer: Signer::of(endpoint) }
    }
}

fn headers_of(endpoint: &Endpoint) -> HeaderMap {
    let mut headers = HeaderMap::new();
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
