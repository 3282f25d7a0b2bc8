//! The certificate of a listener, read again when its files change, so that a renewal only has to replace them.

use std::fmt;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::config::TlsFiles;
use crate::config::ConfigError;

/// Interval between two reads of the files. It costs two small reads, and a renewal takes effect days before the old
/// certificate expires.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// Protocols that a client may choose (ALPN, RFC 7301), best first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

pub(super) struct Certificate {
    files: TlsFiles,
    in_force: RwLock<Arc<CertifiedKey>>,
    /// Contents at the last read, valid or not, so that each bad renewal is logged once.
    last_read: RwLock<FileContents>,
}

type FileContents = Result<Pem, ConfigError>;

#[derive(Clone, PartialEq, Eq)]
struct Pem {
    cert: Vec<u8>,
    key: Vec<u8>,
}

impl Certificate {
    /// Reads both files. The error names the setting that cannot be used.
    pub(super) async fn load(files: &TlsFiles) -> Result<Arc<Self>, ConfigError> {
        let pem = read(files).await?;
        let in_force = RwLock::new(Arc::new(certified(files, &pem)?));
        Ok(Arc::new(Self { files: files.clone(), in_force, last_read: RwLock::new(Ok(pem)) }))
    }

    /// Configures a TLS acceptor that offers the current certificate at each handshake.
    pub(super) fn server(self: &Arc<Self>) -> Result<ServerConfig, ConfigError> {
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|why| ConfigError::new("http.tls", why))?;
        let mut config = config.with_no_client_auth().with_cert_resolver(self.clone());
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        Ok(config)
    }

    pub(super) async fn watch(&self) -> std::convert::Infallible {
        loop {
            tokio::time::sleep(CHECK_INTERVAL).await;
            self.check_files().await;
        }
    }

    /// Uses the files if they are new and valid; otherwise the old certificate stays. The two files may be replaced one
    /// after the other: a certificate without its key is invalid, and a later check finds both.
    async fn check_files(&self) {
        let found = read(&self.files).await;
        if found == *self.last_read.read().unwrap_or_else(PoisonError::into_inner) {
            return;
        }
        match found.as_ref().map_err(Clone::clone).and_then(|pem| certified(&self.files, pem)) {
            Ok(key) => {
                *self.in_force.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
                tracing::info!(file = self.files.cert, "tls.renewed");
            }
            Err(error) => tracing::warn!(%error, "tls.not_renewed"),
        }
        *self.last_read.write().unwrap_or_else(PoisonError::into_inner) = found;
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.in_force.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("files", &self.files).finish_non_exhaustive()
    }
}

async fn read(files: &TlsFiles) -> FileContents {
    let unreadable = |key: &str, file: &str, why: io::Error| ConfigError::new(key, format_args!("{file}: {why}"));
    Ok(Pem {
        cert: tokio::fs::read(&files.cert).await.map_err(|why| unreadable("http.tls.cert", &files.cert, why))?,
        key: tokio::fs::read(&files.key).await.map_err(|why| unreadable("http.tls.key", &files.key, why))?,
    })
}

/// Pairs the certificate with its key, which must belong to it.
fn certified(files: &TlsFiles, pem: &Pem) -> Result<CertifiedKey, ConfigError> {
    let bad_cert = |why: &str| ConfigError::new("http.tls.cert", format_args!("{}: {why}", files.cert));
    let bad_key = |why: &str| ConfigError::new("http.tls.key", format_args!("{}: {why}", files.key));
    let chain = CertificateDer::pem_slice_iter(&pem.cert).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|_| bad_cert("not PEM"))?;
    if chain.is_empty() {
        return Err(bad_cert("holds no certificate"));
    }
    let key = PrivateKeyDer::from_pem_slice(&pem.key).map_err(|_| bad_key("holds no private key in PEM"))?;
    CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|why| match why {
        rustls::Error::InconsistentKeys(_) => bad_key(&format!("is not the key of the certificate in {}", files.cert)),
        rustls::Error::InvalidCertificate(why) => bad_cert(&why.to_string()),
        why => bad_key(&why.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::Issuer;
    use super::*;

    /// The certificate that is offered now.
    fn offered(certificate: &Certificate) -> Vec<u8> {
        certificate.in_force.read().unwrap().cert[0].to_vec()
    }

    #[tokio::test]
    async fn a_renewed_certificate_is_taken_and_a_bad_one_is_not() {
        let issuer = Issuer::new();
        let (first, second) = (issuer.issue("localhost"), issuer.issue("localhost"));
        let folder = tempfile::tempdir().unwrap();
        let files = first.write(folder.path());
        let certificate = Certificate::load(&files).await.unwrap();
        assert_eq!(offered(&certificate), first.der());

        std::fs::write(&files.cert, "torn").unwrap();
        certificate.check_files().await;
        assert_eq!(offered(&certificate), first.der(), "a torn file is not taken");
        std::fs::write(&files.cert, &second.cert).unwrap();
        certificate.check_files().await;
        assert_eq!(offered(&certificate), first.der(), "a certificate without its key is not taken");
        std::fs::write(&files.key, &second.key).unwrap();
        certificate.check_files().await;
        assert_eq!(offered(&certificate), second.der());
        std::fs::remove_file(&files.key).unwrap();
        certificate.check_files().await;
        assert_eq!(offered(&certificate), second.der(), "a missing file changes nothing");
    }

    #[tokio::test]
    async fn an_unusable_file_names_its_setting() {
        let issuer = Issuer::new();
        let (one, other) = (issuer.issue("localhost"), issuer.issue("localhost"));
        let folder = tempfile::tempdir().unwrap();
        let files = one.write(folder.path());
        let load = async || Certificate::load(&files).await.unwrap_err();

        for (text, expected) in [(one.key.as_str(), "holds no certificate"), ("-----BEGIN CERTIFICATE-----", "not PEM")]
        {
            std::fs::write(&files.cert, text).unwrap();
            let error = load().await;
            assert_eq!(error.key(), "http.tls.cert");
            assert!(error.to_string().contains(expected), "{error}");
        }
        std::fs::write(&files.cert, &one.cert).unwrap();
        for (text, expected) in [
            (other.key.as_str(), "is not the key of the certificate"),
            (one.cert.as_str(), "holds no private key in PEM"),
        ] {
            std::fs::write(&files.key, text).unwrap();
            let error = load().await;
            assert_eq!(error.key(), "http.tls.key");
            assert!(error.to_string().contains(expected), "{error}");
        }
        std::fs::remove_file(&files.key).unwrap();
        let error = load().await;
        assert_eq!(error.key(), "http.tls.key");
        assert!(error.to_string().contains(&files.key), "{error}");
    }
}
