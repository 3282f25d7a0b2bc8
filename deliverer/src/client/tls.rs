//! TLS: whom we believe, and what we speak inside.

use std::{path::Path, sync::Arc};

use anyhow::Context as _;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio_rustls::TlsConnector;

use super::{dial::Socket, failure::NotConnected};

/// Makes connections secure.
#[derive(Clone)]
pub(super) struct Tls {
    to_endpoints: TlsConnector,
    to_proxy: TlsConnector,
}

impl Tls {
    /// Believing these.
    pub(super) fn new(roots: RootCertStore) -> Self {
        let roots = Arc::new(roots);
        Self { to_endpoints: speaking(roots.clone(), &[b"h2", b"http/1.1"]), to_proxy: speaking(roots, &[b"http/1.1"]) }
    }

    /// To an endpoint; and whether HTTP/2 is spoken over it.
    pub(super) async fn client(&self, host: &str, socket: Socket) -> Result<(Socket, bool), NotConnected> {
        let stream = self.to_endpoints.connect(name(host)?, socket).await.map_err(NotConnected::Tls)?;
        let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok((Box::new(stream), is_h2))
    }

    /// To the proxy.
    pub(super) async fn to_proxy(&self, host: &str, socket: Socket) -> Result<Socket, NotConnected> {
        let stream = self.to_proxy.connect(name(host)?, socket).await.map_err(NotConnected::Tls)?;
        Ok(Box::new(stream))
    }
}

fn speaking(roots: Arc<RootCertStore>, protocols: &[&[u8]]) -> TlsConnector {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("ring has them");
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

fn name(host: &str) -> Result<ServerName<'static>, NotConnected> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(host.to_owned()).map_err(|_| NotConnected::NoUrl)
}

/// The platform's roots, or, where it has none (an image without certificates), Mozilla's that were built in; and the
/// operator's own.
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
        let certificate = certificate.with_context(|| format!("{shown} is no file of PEM certificates"))?;
        roots.add(certificate).with_context(|| format!("{shown} has something that is no certificate"))?;
    }
    anyhow::ensure!(roots.len() > before, "{shown} has no certificate");
    Ok(roots)
}
