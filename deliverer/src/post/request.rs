//! The request to an endpoint: its URL, its headers and its signature. What all requests share is prepared once per
//! version of the endpoint, so that no attempt parses a URL, a key or a header again.

use std::sync::Arc;

use http::{
    Uri,
    header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT},
};
use schemas::{
    Delivery, Endpoint, SigningSecret,
    signature::{SIGNATURE_HEADER, Signed, SigningKey},
    time::Moment,
};
use url::Url;

use crate::outcome::MaskedTexts;

#[derive(Debug)]
pub(crate) struct PreparedEndpoint {
    pub(super) tenant: Arc<str>,
    pub(crate) endpoint: Arc<Endpoint>,
    /// `None` when the stored text is not a URL.
    pub(super) url: Option<Uri>,
    headers: HeaderMap,
    signer: Result<Signer, Unsignable>,
    pub(super) masked: MaskedTexts,
}

impl PreparedEndpoint {
    pub(crate) fn of(tenant: &str, endpoint: &Arc<Endpoint>) -> Self {
        Self {
            tenant: tenant.into(),
            endpoint: endpoint.clone(),
            url: request_url(&endpoint.url),
            headers: shared_headers(endpoint),
            signer: Signer::of(endpoint),
            masked: MaskedTexts::of(endpoint),
        }
    }

    /// The headers of one attempt at `now`, unix ms.
    pub(super) fn headers_for(&self, delivery: &Delivery, body: &[u8], now: u64) -> Result<HeaderMap, Unsignable> {
        let (id, timestamp) = (delivery.webhook_id(), (now / 1_000).to_string());
        let signer = self.signer.as_ref().map_err(|unsignable| *unsignable)?;
        let signature = signer.sign(&Signed { id: &id, timestamp: &timestamp, body }, now)?;
        let mut headers = self.headers.clone();
        let mut set = |name: &'static str, text: &str| {
            // Never fails: ids, types, numbers and base64 consist of visible ASCII.
            if let Ok(value) = HeaderValue::from_str(text) {
                headers.insert(HeaderName::from_static(name), value);
            }
        };
        for (name, text) in delivery.request_headers(now) {
            set(name, &text);
        }
        if let Some(signature) = signature {
            set(SIGNATURE_HEADER, &signature);
        }
        Ok(headers)
    }
}

/// The parser is the one that checked the URL when it was written. It turns decimal, octal and full-width hosts into
/// the addresses they stand for.
fn request_url(text: &str) -> Option<Uri> {
    let mut url = Url::parse(text).ok()?;
    // A stored URL has no credentials. If it had, they must not become part of the host.
    url.set_username("").and_then(|()| url.set_password(None)).ok()?;
    url.set_fragment(None);
    url.as_str().parse().ok()
}

fn shared_headers(endpoint: &Endpoint) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("carteiro/", env!("CARGO_PKG_VERSION"))));
    let own = endpoint.headers.iter().map(|(name, text)| (name.as_str(), text.reveal()));
    let n8n = endpoint.n8n_api_key.iter().map(|key| ("x-n8n-api-key", key.reveal()));
    for (name, text) in own.chain(n8n) {
        // Both were checked when the endpoint was written. An invalid one must not stop the delivery.
        if let (Ok(name), Ok(mut value)) = (HeaderName::try_from(name), HeaderValue::try_from(text)) {
            value.set_sensitive(true);
            headers.insert(name, value);
        }
    }
    headers
}

/// Why nothing is sent: an endpoint that has signing secrets never gets an unsigned request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unsignable {
    #[error("a signing secret of the endpoint cannot be used; nothing was sent")]
    InvalidSecret,
    #[error("the endpoint's signing secrets have all ended; nothing was sent")]
    AllEnded,
}

/// The signing keys of an endpoint, newest first. As in Standard Webhooks 1.0 they sign the bytes of the body as sent,
/// and the time of the attempt.
#[derive(Debug)]
struct Signer(Vec<EndpointKey>);

#[derive(Debug)]
struct EndpointKey {
    key: SigningKey,
    /// `None` for a key that is valid until it is removed.
    until: Option<Moment>,
}

impl Signer {
    fn of(endpoint: &Endpoint) -> Result<Self, Unsignable> {
        let key = |secret: &SigningSecret| match SigningKey::parse(secret.secret().reveal()) {
            Ok(key) => Ok(EndpointKey { key, until: secret.until() }),
            Err(_) => Err(Unsignable::InvalidSecret),
        };
        endpoint.secrets.iter().map(key).collect::<Result<_, _>>().map(Self)
    }

    /// The header `webhook-signature` at `now`, unix ms: the signatures of all valid keys. `None` for an endpoint
    /// without secrets.
    fn sign(&self, signed: &Signed<'_>, now: u64) -> Result<Option<String>, Unsignable> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let valid = self.0.iter().filter(|known| known.until.is_none_or(|until| !until.has_come(now)));
        let signatures: Vec<_> = valid.map(|valid| valid.key.sign(signed)).collect();
        if signatures.is_empty() {
            return Err(Unsignable::AllEnded);
        }
        Ok(Some(signatures.join(" ")))
    }
}

#[cfg(test)]
mod tests {
    use schemas::signature::{Signature, VerifyingKey};
    use serde_json::json;

    use super::*;

    const SIGNED: Signed<'_> = Signed { id: "e1_shot", timestamp: "1790000000", body: b"{}" };

    fn endpoint(secrets: &[String]) -> Endpoint {
        serde_json::from_value(json!({"id": "crm", "url": "https://crm.example", "secrets": secrets})).unwrap()
    }

    #[test]
    fn every_valid_key_signs_newest_first_whatever_its_kind() {
        let secrets = [SigningKey::write(Signature::V1a, [2; 32]), SigningKey::write(Signature::V1, [1; 32])];
        let header = Signer::of(&endpoint(&secrets)).unwrap().sign(&SIGNED, 0).unwrap().unwrap();
        assert!(header.starts_with("v1a,") && header.contains(" v1,"), "{header}");
        let public = SigningKey::parse(&secrets[0]).unwrap().public().unwrap();
        for key in [&public, &secrets[1]] {
            assert!(VerifyingKey::parse(key).unwrap().verify(&SIGNED, &header));
        }
    }

    #[test]
    fn an_endpoint_without_secrets_is_not_signed_for() {
        assert_eq!(Signer::of(&endpoint(&[])).unwrap().sign(&SIGNED, 0), Ok(None));
    }

    #[test]
    fn a_secret_that_is_not_a_key_stops_all_signing_even_beside_a_valid_one() {
        let good = SigningKey::write(Signature::V1, [1; 32]);
        for secrets in [vec!["whsec_short".to_owned()], vec![good, "no secret at all".to_owned()]] {
            assert_eq!(Signer::of(&endpoint(&secrets)).unwrap_err(), Unsignable::InvalidSecret);
        }
    }

    #[test]
    fn keys_that_have_ended_sign_no_more_and_when_all_have_ended_nothing_is_sent() {
        let secret = |seed| SigningKey::write(Signature::V1, [seed; 32]);
        let retiring = json!({"secret": secret(2), "until": schemas::time::rfc3339(1_000)});
        let signer = |secrets: serde_json::Value| {
            let endpoint = json!({"id": "crm", "url": "https://crm.example", "secrets": secrets});
            Signer::of(&serde_json::from_value(endpoint).unwrap()).unwrap()
        };
        let count = |signer: &Signer, now| signer.sign(&SIGNED, now).map(|header| header.unwrap().split(' ').count());
        let both = signer(json!([secret(1), retiring]));
        assert_eq!((count(&both, 999), count(&both, 1_000)), (Ok(2), Ok(1)));
        let only = signer(json!([retiring]));
        assert_eq!((count(&only, 999), count(&only, 1_000)), (Ok(1), Err(Unsignable::AllEnded)));
    }
}
