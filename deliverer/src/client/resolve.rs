//! Hosts to addresses that may be connected to. The connector connects to exactly what this answers, so that a name
//! which leads elsewhere a moment later leads nowhere.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use ipnet::IpNet;
use schemas::address::is_allowed;
use tokio::sync::Semaphore;

use super::failure::NotConnected;

/// Look-ups under way at once: dead name servers must not take all threads that may block.
const CONCURRENT_LOOKUPS: usize = 64;
/// How long a name that has no address is not asked for again.
const HELD: Duration = Duration::from_secs(1);

/// The name has no address, or nobody could say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoAddress;

/// What a name stands for.
pub(crate) type Answer = Result<Vec<IpAddr>, NoAddress>;
/// Asks for a name: the system's resolver, or a test's.
pub(crate) type Ask = Arc<dyn Fn(String) -> BoxFuture<'static, Answer> + Send + Sync>;
/// A look-up that all share who ask for the same name.
type Lookup = Shared<BoxFuture<'static, Answer>>;

/// Looks hosts up, and refuses if any address is not allowed.
pub(super) struct CheckedResolver {
    allowed: Arc<[IpNet]>,
    ask: Ask,
    permits: Arc<Semaphore>,
    lookups: Arc<Mutex<HashMap<String, Lookup>>>,
}

impl CheckedResolver {
    pub(super) fn asking(ask: Ask, allowed: Arc<[IpNet]>) -> Self {
        Self { allowed, ask, permits: Arc::new(Semaphore::new(CONCURRENT_LOOKUPS)), lookups: Arc::default() }
    }

    /// All addresses of a host, each of them allowed.
    pub(super) async fn checked(&self, host: &str) -> Result<Vec<IpAddr>, NotConnected> {
        let addresses = self.unchecked(host).await?;
        if addresses.iter().any(|address| !is_allowed(*address, &self.allowed)) {
            return Err(NotConnected::Blocked);
        }
        Ok(addresses)
    }

    /// All addresses of a host, wherever they are: for hosts that the operator named.
    pub(super) async fn unchecked(&self, host: &str) -> Result<Vec<IpAddr>, NotConnected> {
        if let Some(address) = literal(host) {
            return Ok(vec![address]);
        }
        let addresses = self.look_up(host).await.map_err(|NoAddress| NotConnected::NoAddress)?;
        if addresses.is_empty() { Err(NotConnected::NoAddress) } else { Ok(addresses) }
    }

    /// Refuses a host that is an address, and not allowed; of a name this cannot tell.
    pub(super) fn check_literal(&self, host: &str) -> Result<(), NotConnected> {
        match literal(host) {
            Some(address) if !is_allowed(address, &self.allowed) => Err(NotConnected::Blocked),
            _ => Ok(()),
        }
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

/// The address that a host is. The URL's parser has turned decimal, octal and hexadecimal forms into the usual one.
fn literal(host: &str) -> Option<IpAddr> {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.parse().ok()
}

/// Asks the system's resolver.
pub(crate) async fn ask_system(name: String) -> Answer {
    let found = tokio::net::lookup_host((name.as_str(), 0)).await.map_err(|_| NoAddress)?;
    Ok(found.map(|address| address.ip()).collect())
}

#[cfg(test)]
mod tests;
