//! Binds a TCP listener from a `host:port` setting, with errors that name the setting.

use std::io;

use tokio::net::{TcpListener, lookup_host};

#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("{key}: {address} is taken by another process")]
    PortTaken { key: String, address: String },
    #[error("{key}: cannot listen on {address}: {source}")]
    Unusable { key: String, address: String, source: io::Error },
}

/// Binds the `host:port` of the setting `key`. If a name has several addresses, the first that can be bound is used.
/// Port 0 selects a free port.
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
    async fn a_taken_port_is_distinguished() {
        let first = bind("http.listen", "127.0.0.1:0").await.unwrap();
        let address = first.local_addr().unwrap().to_string();
        let error = bind("ops.listen", &address).await.unwrap_err();
        assert_eq!(error.to_string(), format!("ops.listen: {address} is taken by another process"));
        assert!(matches!(error, ListenError::PortTaken { .. }), "{error:?}");
    }

    #[tokio::test]
    async fn an_address_without_a_port_names_the_setting() {
        let error = bind("http.listen", "localhost").await.unwrap_err();
        assert!(error.to_string().starts_with("http.listen: cannot listen on localhost: "), "{error}");
    }
}
