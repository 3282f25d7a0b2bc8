//! Signing an attempt with an endpoint's secrets, as Standard Webhooks 1.0 says: the very bytes that are sent, under the
//! attempt's own time. Keys are parsed once per version of an endpoint, not per request.

use schemas::{
    Endpoint, SigningSecret,
    signature::{Signed, SigningKey},
    time::Moment,
};

/// Why nothing is sent: an endpoint that has secrets gets no unsigned request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unsignable {
    /// One of its secrets is no key: it slipped through the store's checks.
    #[error("a signing secret of the endpoint cannot be used; nothing was sent")]
    Secret,
    /// It has secrets, and all of them have ended.
    #[error("the endpoint's signing secrets have all ended; nothing was sent")]
    Ended,
}

/// An endpoint's keys, newest first.
#[derive(Debug)]
pub(crate) struct Signer(Vec<Valid>);

/// A key, and how long it signs.
#[derive(Debug)]
struct Valid {
    key: SigningKey,
    /// None where it is valid until it is taken away.
    until: Option<Moment>,
}

impl Signer {
    /// That of an endpoint; of one without secrets it signs nothing.
    pub(crate) fn of(endpoint: &Endpoint) -> Result<Self, Unsignable> {
        let key = |secret: &SigningSecret| match SigningKey::parse(secret.secret().reveal()) {
            Ok(key) => Ok(Valid { key, until: secret.until() }),
            Err(_) => Err(Unsignable::Secret),
        };
        endpoint.secrets.iter().map(key).collect::<Result<_, _>>().map(Self)
    }

    /// The header `webhook-signature` at `now` (unix ms): a signature by every key that is valid, separated by spaces;
    /// none where the endpoint wants none.
    pub(crate) fn header(&self, signed: &Signed<'_>, now: u64) -> Result<Option<String>, Unsignable> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let valid = self.0.iter().filter(|valid| valid.until.is_none_or(|until| !until.has_come(now)));
        let signatures: Vec<_> = valid.map(|valid| valid.key.sign(signed)).collect();
        if signatures.is_empty() {
            return Err(Unsignable::Ended);
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
        let header = Signer::of(&endpoint(&secrets)).unwrap().header(&SIGNED, 0).unwrap().unwrap();
        assert!(header.starts_with("v1a,") && header.contains(" v1,"), "{header}");
        let public = SigningKey::parse(&secrets[0]).unwrap().public().unwrap();
        for key in [&public, &secrets[1]] {
            assert!(VerifyingKey::parse(key).unwrap().verify(&SIGNED, &header));
        }
    }

    #[test]
    fn an_endpoint_without_secrets_wants_no_signature() {
        assert_eq!(Signer::of(&endpoint(&[])).unwrap().header(&SIGNED, 0), Ok(None));
    }

    #[test]
    fn a_secret_that_is_no_key_signs_nothing_also_beside_one_that_is() {
        let good = SigningKey::write(Signature::V1, [1; 32]);
        for secrets in [vec!["whsec_short".to_owned()], vec![good, "no secret at all".to_owned()]] {
            assert_eq!(Signer::of(&endpoint(&secrets)).unwrap_err(), Unsignable::Secret);
        }
    }

    #[test]
    fn keys_that_have_ended_sign_no_more_and_without_any_other_nothing_is_sent() {
        let secret = |seed| SigningKey::write(Signature::V1, [seed; 32]);
        let retiring = json!({"secret": secret(2), "until": schemas::time::rfc3339(1_000)});
        let signer = |secrets: serde_json::Value| {
            let endpoint = json!({"id": "crm", "url": "https://crm.example", "secrets": secrets});
            Signer::of(&serde_json::from_value(endpoint).unwrap()).unwrap()
        };
        let count = |signer: &Signer, now| signer.header(&SIGNED, now).map(|header| header.unwrap().split(' ').count());
        let both = signer(json!([secret(1), retiring]));
        assert_eq!((count(&both, 999), count(&both, 1_000)), (Ok(2), Ok(1)));
        let only = signer(json!([retiring]));
        assert_eq!((count(&only, 999), count(&only, 1_000)), (Ok(1), Err(Unsignable::Ended)));
    }
}
