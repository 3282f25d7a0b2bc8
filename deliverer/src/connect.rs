//! Names to addresses that may be connected to. The HTTP client connects to exactly what this answers.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;

use crate::address::is_allowed;

/// Look-ups under way at once: a dead name server must not take all threads that may block.
const CONCURRENT_LOOKUPS: usize = 64;

/// The name or literal stands for an address that may not be connected to.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the address is not allowed")]
pub(crate) struct BlockedAddress;

/// The name has no address.
#[derive(Debug, thiserror::Error)]
#[error("the name cannot be resolved")]
pub(crate) struct NoAddress;

/// Resolves names with the system's resolver and refuses if any answer is not allowed.
pub(crate) struct CheckedResolver {
    allowed: Arc<[IpNet]>,
    /// The operator's own proxy may be anywhere. Behind it, names are its to resolve, and to refuse.
    proxy: Option<String>,
    lookups: Arc<Semaphore>,
}

impl CheckedResolver {
    pub(crate) fn new(allowed: Arc<[IpNet]>, proxy: Option<String>) -> Self {
        Self { allowed, proxy, lookups: Arc::new(Semaphore::new(CONCURRENT_LOOKUPS)) }
    }
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (allowed, lookups) = (self.allowed.clone(), self.lookups.clone());
        let is_proxy = self.proxy.as_deref() == Some(name.as_str());
        Box::pin(async move {
            let permit = lookups.acquire_owned().await?;
            // A task of its own: a look-up that nobody waits for any more still has its thread, and so keeps its permit.
            let addresses = tokio::spawn(async move {
                let _permit = permit;
                // The client puts the port in itself.
                let found = tokio::net::lookup_host((name.as_str(), 0)).await.map_err(|_| NoAddress)?;
                Ok::<Vec<SocketAddr>, NoAddress>(found.collect())
            });
            let addresses = addresses.await??;
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
