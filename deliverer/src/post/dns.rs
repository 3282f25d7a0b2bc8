//! Looks hosts up, and refuses a host if any of its addresses is not allowed. The connector dials exactly the addresses
//! returned here, so that binding a name to another address later (DNS rebinding) gains nothing.

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

use super::failure::ConnectError;

/// Largest number of look-ups at once. Dead name servers must not take all of the runtime's blocking threads.
const CONCURRENT_LOOKUPS: usize = 64;
const FAILURE_KEPT: Duration = Duration::from_secs(1);

/// The name has no address, or no name server could say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoAddress;

pub(crate) type Addresses = Result<Vec<IpAddr>, NoAddress>;
/// Looks a name up: the system's resolver, or a test's.
pub(crate) type LookUp = Arc<dyn Fn(String) -> BoxFuture<'static, Addresses> + Send + Sync>;
type SharedLookUp = Shared<BoxFuture<'static, Addresses>>;

pub(super) struct AddressCheck {
    allowed: Arc<[IpNet]>,
    look_up: LookUp,
    permits: Arc<Semaphore>,
    pending: Arc<Mutex<HashMap<String, SharedLookUp>>>,
}

impl AddressCheck {
    pub(super) fn new(look_up: LookUp, allowed: Arc<[IpNet]>) -> Self {
        Self { allowed, look_up, permits: Arc::new(Semaphore::new(CONCURRENT_LOOKUPS)), pending: Arc::default() }
    }

    pub(super) async fn checked(&self, host: &str) -> Result<Vec<IpAddr>, ConnectError> {
        let addresses = self.unchecked(host).await?;
        if addresses.iter().any(|address| !is_allowed(*address, &self.allowed)) {
            return Err(ConnectError::Blocked);
        }
        Ok(addresses)
    }

    /// All addresses of a host, allowed or not: for the proxy, which the operator has configured.
    pub(super) async fn unchecked(&self, host: &str) -> Result<Vec<IpAddr>, ConnectError> {
        if let Some(address) = literal(host) {
            return Ok(vec![address]);
        }
        let addresses = self.shared_look_up(host).await.map_err(|NoAddress| ConnectError::NoAddress)?;
        if addresses.is_empty() { Err(ConnectError::NoAddress) } else { Ok(addresses) }
    }

    /// Refuses a host that is an address and not allowed. Names pass.
    pub(super) fn check_literal(&self, host: &str) -> Result<(), ConnectError> {
        match literal(host) {
            Some(address) if !is_allowed(address, &self.allowed) => Err(ConnectError::Blocked),
            _ => Ok(()),
        }
    }

    /// A look-up that has not ended, or has just failed, is shared. A name whose servers are dead thus holds one
    /// permit, however many deliveries wait for it.
    fn shared_look_up(&self, name: &str) -> SharedLookUp {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = pending.get(name) {
            return known.clone();
        }
        let (permits, addresses) = (self.permits.clone(), (self.look_up)(name.to_owned()));
        let look_up = async move {
            let _permit = permits.acquire_owned().await;
            addresses.await
        };
        let look_up = look_up.boxed().shared();
        pending.insert(name.to_owned(), look_up.clone());
        drop(pending);
        self.forget_in_time(name.to_owned(), look_up.clone());
        look_up
    }

    /// Forgets a look-up that has ended. The task also drives it to its end when no request waits for it any more,
    /// since its thread and permit stay taken.
    fn forget_in_time(&self, name: String, look_up: SharedLookUp) {
        let pending = self.pending.clone();
        tokio::spawn(async move {
            if look_up.await.is_err() {
                tokio::time::sleep(FAILURE_KEPT).await;
            }
            pending.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
        });
    }
}

/// The address that a host is written as. The URL's parser has already turned decimal, octal and hexadecimal forms into
/// the usual one.
fn literal(host: &str) -> Option<IpAddr> {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.parse().ok()
}

pub(super) async fn look_up_in_system(name: String) -> Addresses {
    let found = tokio::net::lookup_host((name.as_str(), 0)).await.map_err(|_| NoAddress)?;
    Ok(found.map(|address| address.ip()).collect())
}

#[cfg(test)]
mod tests;
