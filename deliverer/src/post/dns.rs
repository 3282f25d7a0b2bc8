//! Looks hosts up, and refuses a host if any of its addresses is not allowed. The connector dials exactly the addresses
//! returned here, so that binding a name to another address later (DNS rebinding) gains nothing.

mod names;
mod system;

use std::{net::IpAddr, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use ipnet::IpNet;
use schemas::address::is_allowed;

use super::failure::ConnectError;

pub(super) use names::Names;
pub(super) use system::SystemResolver;

/// The addresses of a name, never none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) addresses: Vec<IpAddr>,
    /// How long they are valid.
    pub(crate) ttl: Duration,
    /// Whether nobody answered for the addresses of the other family.
    pub(crate) is_half: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LookUpError {
    #[error("the name cannot be resolved")]
    NoAddress,
    /// Whether the name has an address is not known.
    #[error("the name cannot be resolved: its name servers do not answer")]
    NoAnswer,
}

/// Looks a name up: the system's resolver, or a test's.
pub(crate) type LookUp = Arc<dyn Fn(String) -> BoxFuture<'static, Result<Found, LookUpError>> + Send + Sync>;

pub(super) struct AddressCheck {
    allowed: Arc<[IpNet]>,
    names: Arc<Names>,
}

impl AddressCheck {
    pub(super) fn new(names: Arc<Names>, allowed: Arc<[IpNet]>) -> Self {
        Self { allowed, names }
    }

    pub(super) async fn checked(&self, host: &str, tenant: &str) -> Result<Vec<IpAddr>, ConnectError> {
        let addresses = self.unchecked(host, tenant).await?;
        if addresses.iter().any(|address| !is_allowed(*address, &self.allowed)) {
            return Err(ConnectError::Blocked);
        }
        Ok(addresses)
    }

    /// All addresses of a host, allowed or not: for the proxy, which the operator has configured.
    pub(super) async fn unchecked(&self, host: &str, tenant: &str) -> Result<Vec<IpAddr>, ConnectError> {
        match literal(host) {
            Some(address) => Ok(vec![address]),
            None => Ok(self.names.addresses(host, tenant).await?),
        }
    }

    /// Refuses a host that is an address and not allowed. Names pass.
    pub(super) fn check_literal(&self, host: &str) -> Result<(), ConnectError> {
        match literal(host) {
            Some(address) if !is_allowed(address, &self.allowed) => Err(ConnectError::Blocked),
            _ => Ok(()),
        }
    }
}

/// The address that a host is written as. The URL's parser has already turned decimal, octal and hexadecimal forms into
/// the usual one.
pub(super) fn literal(host: &str) -> Option<IpAddr> {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.parse().ok()
}

#[cfg(test)]
mod tests;
