//! Why a request has no response: the class, and the reason in words, which never contain the URL: it may hold a
//! secret.

use std::{error::Error, io};

use hyper_util::client::legacy;
use schemas::OutcomeClass;

use super::dns::LookUpError;

#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("the url is invalid")]
    InvalidUrl,
    /// An address of the host is in a network that may not be connected to.
    #[error("the address is not allowed")]
    Blocked,
    #[error(transparent)]
    LookUp(#[from] LookUpError),
    #[error("no connection in time")]
    TimedOut,
    #[error("{0}")]
    Tcp(io::Error),
    #[error("the proxy {0}")]
    Proxy(String),
    #[error("{}", tls_reason(.0))]
    Tls(io::Error),
}

impl ConnectError {
    fn class(&self) -> OutcomeClass {
        match self {
            Self::InvalidUrl => OutcomeClass::Malformed,
            Self::Blocked => OutcomeClass::BlockedIp,
            Self::LookUp(_) => OutcomeClass::Dns,
            Self::TimedOut => OutcomeClass::Timeout,
            Self::Tcp(_) | Self::Proxy(_) => OutcomeClass::Connect,
            Self::Tls(_) => OutcomeClass::Tls,
        }
    }
}

#[derive(Debug)]
pub(super) enum RequestError {
    TimedOut,
    Client(legacy::Error),
    /// The connection was closed as one too many before anything of the request was sent.
    Unsent(legacy::Error),
}

impl RequestError {
    pub(super) fn class(&self) -> OutcomeClass {
        match self {
            Self::TimedOut => OutcomeClass::Timeout,
            Self::Client(error) | Self::Unsent(error) => {
                cause::<ConnectError>(error).map_or(OutcomeClass::Malformed, ConnectError::class)
            }
        }
    }

    /// The reason, for tenants.
    pub(super) fn reason(&self) -> String {
        match self {
            Self::TimedOut => "no answer in time".to_owned(),
            Self::Client(error) | Self::Unsent(error) => match cause::<ConnectError>(error) {
                Some(error) => error.to_string(),
                None => chain(error).last().map(ToString::to_string).unwrap_or_default(),
            },
        }
    }

    /// True when it is safe to send the request again: nothing of it was sent, or the receiver says that it has not
    /// processed it (RFC 9113, section 8.7).
    pub(super) fn is_unprocessed(&self) -> bool {
        let error = match self {
            Self::TimedOut => return false,
            Self::Unsent(_) => return true,
            Self::Client(error) => error,
        };
        cause::<h2::Error>(error).is_some_and(|error| {
            let left = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
            let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
            error.is_remote() && (left || refused)
        })
    }
}

fn cause<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    chain(error).find_map(|error| error.downcast_ref())
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |known| {
        let known: &'a (dyn Error + 'static) = *known;
        known.source()
    })
}

/// Leaves out the names that a certificate is or is not for, because one of them is the URL's.
fn tls_reason(error: &io::Error) -> String {
    use rustls::CertificateError::{NotValidForName, NotValidForNameContext};
    match error.get_ref().and_then(|error| error.downcast_ref()) {
        Some(rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. })) => {
            "invalid peer certificate: it is not for this name".to_owned()
        }
        Some(error) => error.to_string(),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use rustls::{CertificateError, Error, pki_types::ServerName};

    use super::*;

    #[test]
    fn a_certificate_for_another_name_is_reported_without_the_names() {
        let words = |error| ConnectError::Tls(io::Error::other(Error::InvalidCertificate(error))).to_string();
        let expected = ServerName::try_from("S3CRET.example").unwrap();
        let presented = vec!["S3CRET.invalid".to_owned()];
        let other = CertificateError::NotValidForNameContext { expected, presented };
        assert_eq!(words(other), "invalid peer certificate: it is not for this name");
        assert_eq!(words(CertificateError::Expired), "invalid peer certificate: Expired");
    }
}
