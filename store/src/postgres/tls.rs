//! TLS to the database, by rustls: the few lines between it and the client library. Always verified.
//!
//! No channel binding: it would need to take certificates apart, and adds nothing to a verified certificate.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::{FutureExt as _, future::BoxFuture};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_rustls::TlsConnector;

/// Whom to believe; none where TLS is not wanted.
#[derive(Clone)]
pub(super) struct Tls(Option<TlsConnector>);

impl Tls {
    pub(super) fn none() -> Self {
        Self(None)
    }

    /// Believes the authorities in a PEM file, or those of the system.
    ///
    /// # Errors
    /// Where there are none.
    pub(super) fn verified(file: Option<&str>) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        match file {
            Some(file) => {
                let failed = |error: &dyn std::fmt::Display| format!("sslrootcert {file}: {error}");
                for certificate in CertificateDer::pem_file_iter(file).map_err(|error| failed(&error))? {
                    let certificate = certificate.map_err(|error| failed(&error))?;
                    roots.add(certificate).map_err(|error| failed(&error))?;
                }
            }
            None => _ = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs),
        }
        if roots.is_empty() {
            return Err(
                "sslmode: there is no authority to verify the server's certificate by: name one with sslrootcert"
                    .to_owned(),
            );
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(|error| error.to_string())?.with_root_certificates(roots).with_no_client_auth();
        Ok(Self(Some(TlsConnector::from(Arc::new(config)))))
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.0.is_some()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> MakeTlsConnect<S> for Tls {
    type Stream = Encrypted<S>;
    type TlsConnect = Handshake;
    type Error = io::Error;

    fn make_tls_connect(&mut self, domain: &str) -> io::Result<Handshake> {
        // Asked for a socket of the file system as well, where there is no TLS.
        let name = ServerName::try_from(domain.to_owned()).ok();
        Ok(Handshake { name, connector: self.0.clone() })
    }
}

/// One handshake to come.
pub(super) struct Handshake {
    name: Option<ServerName<'static>>,
    connector: Option<TlsConnector>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> TlsConnect<S> for Handshake {
    type Stream = Encrypted<S>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Encrypted<S>>>;

    fn connect(self, stream: S) -> Self::Future {
        async move {
            let refused = || io::Error::new(io::ErrorKind::InvalidInput, "the host has no name to verify");
            let (name, connector) = (self.name.ok_or_else(refused)?, self.connector.ok_or_else(refused)?);
            connector.connect(name, stream).await.map(Encrypted)
        }
        .boxed()
    }
}

/// A line over TLS, as the client library wants it.
pub(super) struct Encrypted<S>(tokio_rustls::client::TlsStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Encrypted<S> {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Encrypted<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Encrypted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
