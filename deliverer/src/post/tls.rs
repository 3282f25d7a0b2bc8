//! TLS to endpoints and to the proxy.

use std::{path::Path, sync::Arc};

use anyhow::Context as _;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio_rustls::TlsConnector;

use super::{dial::Socket, failure::ConnectError};

#[derive(Clone)]
pub(super) struct TlsClient {
    to_endpoint: TlsConnector,
    to_proxy: TlsConnector,
}

impl TlsClient {
    pub(super) fn new(roots: RootCertStore) -> Self {
        let roots = Arc::new(roots);
        Self { to_endpoint: offering(roots.clone(), &[b"h2", b"http/1.1"]), to_proxy: offering(roots, &[b"http/1.1"]) }
    }

    /// Also returns whether HTTP/2 was agreed on.
    pub(super) async fn to_endpoint(&self, host: &str, socket: Socket) -> Result<(Socket, bool), ConnectError> {
        let stream = self.to_endpoint.connect(name(host)?, socket).await.map_err(ConnectError::Tls)?;
        let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok((Box::new(stream), is_h2))
    }

    pub(super) async fn to_proxy(&self, host: &str, socket: Socket) -> Result<Socket, ConnectError> {
        let stream = self.to_proxy.connect(name(host)?, socket).await.map_err(ConnectError::Tls)?;
        Ok(Box::new(stream))
    }
}

fn offering(roots: Arc<RootCertStore>, protocols: &[&[u8]]) -> TlsConnector {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("ring has them");
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

fn name(host: &str) -> Result<ServerName<'static>, ConnectError> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(host.to_owned()).map_err(|_| ConnectError::InvalidUrl)
}

/// Trusted authorities: those of the platform, or Mozilla's in a container image without any, and those of the
/// operator's file.
pub(super) fn roots(own: Option<&Path>) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
    }
    let Some(own) = own else { return Ok(roots) };
    let shown = own.display();
    let certificates = CertificateDer::pem_file_iter(own).with_context(|| format!("cannot read {shown}"))?;
    let before = roots.len();
    for certificate in certificates {
        let certificate = certificate.with_context(|| format!("{shown} is not a file of PEM certificates"))?;
        roots.add(certificate).with_context(|| format!("{shown} contains something that is not a certificate"))?;
    }
    anyhow::ensure!(roots.len() > before, "{shown} has no certificate");
    Ok(roots)
}
