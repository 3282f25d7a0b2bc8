//! Binding a TCP listener from a `host:port` setting, with errors that name the setting.

use std::io;

use tokio::net::{TcpListener, lookup_host};

use crate::exit::Exit;

/// Why a listener could not be bound.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another process listens there.
    #[error("{key}: {address} is taken by another process")]
    PortTaken {
        /// The setting, dotted.
        key: String,
        /// Its value.
        address: String,
    },
    /// The value is no `host:port`, its name does not resolve, or this machine does not have that address.
    #[error("{key}: cannot listen on {address}: {source}")]
    Unusable {
        /// The setting, dotted.
        key: String,
        /// Its value.
        address: String,
        /// What the system said.
        source: io::Error,
    },
}

impl ListenError {
    /// 75 for a taken port, 78 for a setting that cannot work.
    pub fn exit(&self) -> Exit {
        match self {
            ListenError::PortTaken { .. } => Exit::PortTaken,
            ListenError::Unusable { .. } => Exit::Config,
        }
    }
}

/// Binds the `host:port` that the setting `key` holds. A name with several addresses gets the first that can be bound.
///
/// Port 0 takes a free one; ask the listener for it.
pub async fn bind(key: &str, address: &str) -> Result<TcpListener, ListenError> {
    try_bind(address).await.map_err(|source| {
        let (key, address) = (key.to_owned(), address.to_owned());
        match source.kind() {
            io::ErrorKind::AddrInUse => ListenError::PortTaken { key, address },
            _ => ListenError::Unusable { key, address, source },
        }
    })
}

async fn try_bind(address: &str) -> io::Result<TcpListener> {
    let addresses: Vec<_> = lookup_host(address).await?.collect();
    TcpListener::bind(addresses.as_slice()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_is_told_apart_and_exits_75() {
        let first = bind("http.listen", "127.0.0.1:0").await.unwrap();
        let address = first.local_addr().unwrap().to_string();
        let error = bind("ops.listen", &address).await.unwrap_err();
        assert_eq!(error.to_string(), format!("ops.listen: {address} is taken by another process"));
        assert_eq!(error.exit(), Exit::PortTaken);
    }

    #[tokio::test]
    async fn an_address_without_a_port_names_the_setting_and_exits_78() {
        let error = bind("http.listen", "localhost").await.unwrap_err();
        assert!(error.to_string().starts_with("http.listen: cannot listen on localhost: "), "{error}");
        assert_eq!(error.exit(), Exit::Config);
    }
}
