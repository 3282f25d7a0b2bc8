//! Why there is no answer, as a class and in words. The words are ours, or speak of sockets and protocols: never of the
//! URL, which may hold a secret.

use std::{error::Error, io};

use hyper_util::client::legacy;
use schemas::OutcomeClass;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotConnected {
    /// No URL of ours.
    #[error("the url is invalid")]
    NoUrl,
    /// The name or literal stands for an address that may not be connected to.
    #[error("the address is not allowed")]
    Blocked,
    /// The name has no address.
    #[error("the name cannot be resolved")]
    NoAddress,
    /// It did not stand in time.
    #[error("no connection in time")]
    TooLate,
    /// Nobody took it.
    #[error("{0}")]
    Tcp(io::Error),
    /// The proxy did not make it.
    #[error("the proxy {0}")]
    Proxy(String),
    /// Who took it could not show who they are, or not as we ask for it.
    #[error("{}", in_words(.0))]
    Tls(io::Error),
}

impl NotConnected {
    fn class(&self) -> OutcomeClass {
        match self {
            Self::NoUrl => OutcomeClass::Malformed,
            Self::Blocked => OutcomeClass::BlockedIp,
            Self::NoAddress => OutcomeClass::Dns,
            Self::TooLate => OutcomeClass::Timeout,
            Self::Tcp(_) | Self::Proxy(_) => OutcomeClass::Connect,
            Self::Tls(_) => OutcomeClass::Tls,
        }
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// None came in time.
    NoAnswer,
    /// The client says why.
    Client(legacy::Error),
}

impl Failure {
    /// Its class.
    pub(crate) fn class(&self) -> OutcomeClass {
        match self {
            Self::NoAnswer => OutcomeClass::Timeout,
            Self::Client(error) => cause::<NotConnected>(error).map_or(OutcomeClass::Malformed, NotConnected::class),
        }
    }

    /// In words.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::NoAnswer => "no answer in time".to_owned(),
            Self::Client(error) => match cause::<NotConnected>(error) {
                Some(why) => why.to_string(),
                None => innermost(error).to_string(),
            },
        }
    }

    /// Whether the receiver says that it has not looked at the request (RFC 9113, §8.7), which is then safe to repeat.
    pub(crate) fn is_untouched(&self) -> bool {
        let Self::Client(error) = self else { return false };
        cause::<h2::Error>(error).is_some_and(|error| {
            let left = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
            let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
            error.is_remote() && (left || refused)
        })
    }
}

/// The first cause of this kind.
fn cause<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    chain(error).find_map(|error| error.downcast_ref())
}

fn innermost<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    chain(error).last().unwrap_or(error)
}

/// An error, its cause, the cause of that, and so on.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |known| {
        let known: &'a (dyn Error + 'static) = *known;
        known.source()
    })
}

/// What TLS says, without the names that a certificate is or is not for: one is the URL's.
fn in_words(error: &io::Error) -> String {
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
    fn a_certificate_for_another_name_is_told_without_the_names() {
        let words = |error| NotConnected::Tls(io::Error::other(Error::InvalidCertificate(error))).to_string();
        let expected = ServerName::try_from("S3CRET.example").unwrap();
        let presented = vec!["S3CRET.invalid".to_owned()];
        let other = CertificateError::NotValidForNameContext { expected, presented };
        assert_eq!(words(other), "invalid peer certificate: it is not for this name");
        assert_eq!(words(CertificateError::Expired), "invalid peer certificate: Expired");
    }
}
