//! Names to addresses that may be connected to. The HTTP client connects to exactly what this answers.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;

use schemas::address::is_allowed;

/// Look-ups under way at once: dead name servers must not take all threads that may block.
const CONCURRENT_LOOKUPS: usize = 64;
/// How long a name that has no address is not asked for again.
const HELD: Duration = Duration::from_secs(1);

/// The name or literal stands for an address that may not be connected to.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the address is not allowed")]
pub(crate) struct BlockedAddress;

/// The name has no address.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the name cannot be resolved")]
pub(crate) struct NoAddress;

/// What a name stands for.
type Answer = Result<Vec<SocketAddr>, NoAddress>;
/// Asks for a name: the system's resolver, or a test's.
type Ask = Arc<dyn Fn(String) -> BoxFuture<'static, Answer> + Send + Sync>;
/// A look-up that all share who ask for the same name.
type Lookup = Shared<BoxFuture<'static, Answer>>;

/// Resolves names, and refuses if any answer is not allowed.
pub(crate) struct CheckedResolver {
    allowed: Arc<[IpNet]>,
    /// The operator's own proxy may be anywhere. Behind it, names are its to resolve, and to refuse.
    proxy: Option<String>,
    ask: Ask,
    permits: Arc<Semaphore>,
    lookups: Arc<Mutex<HashMap<String, Lookup>>>,
}

impl CheckedResolver {
    /// One that asks the system's resolver.
    pub(crate) fn new(allowed: Arc<[IpNet]>, proxy: Option<String>) -> Self {
        Self::asking(Arc::new(|name| ask_system(name).boxed()), allowed, proxy)
    }

    fn asking(ask: Ask, allowed: Arc<[IpNet]>, proxy: Option<String>) -> Self {
        Self { allowed, proxy, ask, permits: Arc::new(Semaphore::new(CONCURRENT_LOOKUPS)), lookups: Arc::default() }
    }

    /// The look-up of a name: the one that is under way or has just failed, or a new one. So a name whose servers are
    /// dead holds one place, however many deliveries wait for it.
    fn look_up(&self, name: &str) -> Lookup {
        let mut lookups = self.lookups.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lookups.get(name) {
            return known.clone();
        }
        let (permits, asked) = (self.permits.clone(), (self.ask)(name.to_owned()));
        let lookup = async move {
            // Closed never, so acquired always.
            let _permit = permits.acquire_owned().await;
            asked.await
        };
        let lookup = lookup.boxed().shared();
        lookups.insert(name.to_owned(), lookup.clone());
        drop(lookups);
        self.forget_in_time(name.to_owned(), lookup.clone());
        lookup
    }

    /// Also sees the look-up to its end when nobody waits for it any more: it still has its thread, and so its permit.
    fn forget_in_time(&self, name: String, lookup: Lookup) {
        let lookups = self.lookups.clone();
        tokio::spawn(async move {
            if lookup.await.is_err() {
                tokio::time::sleep(HELD).await;
            }
            lookups.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
        });
    }
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (allowed, lookup) = (self.allowed.clone(), self.look_up(name.as_str()));
        let is_proxy = self.proxy.as_deref() == Some(name.as_str());
        Box::pin(async move {
            let addresses = lookup.await?;
            if addresses.is_empty() {
                return Err(NoAddress.into());
            }
            if !is_proxy && addresses.iter().any(|address| !is_allowed(address.ip(), &allowed)) {
                return Err(BlockedAddress.into());
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

async fn ask_system(name: String) -> Answer {
    // The client puts the port in itself.
    let found = tokio::net::lookup_host((name.as_str(), 0)).await.map_err(|_| NoAddress)?;
    Ok(found.collect())
}

/// Checks the host of a URL where it is a literal: a client's resolver is not asked for those. The URL parser has
/// already turned decimal, octal and hexadecimal forms into an address.
pub(crate) fn check_literal(url: &url::Url, allowed: &[IpNet]) -> Result<(), BlockedAddress> {
    let address = match url.host() {
        Some(url::Host::Ipv4(address)) => IpAddr::V4(address),
        Some(url::Host::Ipv6(address)) => IpAddr::V6(address),
        Some(url::Host::Domain(_)) | None => return Ok(()),
    };
    if is_allowed(address, allowed) { Ok(()) } else { Err(BlockedAddress) }
}

#[cfg(test)]
mod tests;
