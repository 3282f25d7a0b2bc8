//! Published vectors, tables of what is refused, and round trips. The official libraries verify what a deliverer sent in
//! the end-to-end tests.

use proptest::prelude::*;

use super::*;

/// The vector that the official libraries test themselves with.
const SIGNED: Signed<'_> =
    Signed { id: "msg_p5jXN8AQM9LWM0D4loKWxJek", timestamp: "1614265330", body: br#"{"test": 2432232314}"# };
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const BY_SECRET: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
/// The signature that the specification shows for `v1a`, of the same request.
const PRIVATE: &str = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
const PUBLIC: &str = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";
const BY_PRIVATE: &str = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==";

/// 64 bytes; the public key of a private key of zeros is another.
const ZEROS: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==";

fn signing(text: &str) -> SigningKey {
    SigningKey::parse(text).unwrap()
}

fn verifying(text: &str) -> VerifyingKey {
    VerifyingKey::parse(text).unwrap()
}

#[test]
fn the_published_vectors_are_met() {
    assert_eq!(signing(SECRET).sign(&SIGNED), BY_SECRET);
    assert_eq!(signing(PRIVATE).sign(&SIGNED), BY_PRIVATE);
    assert_eq!(signing(PRIVATE).public().as_deref(), Some(PUBLIC));
    let both = format!("v2,AAAA {BY_PRIVATE} {BY_SECRET}");
    for key in [SECRET, PUBLIC] {
        assert!(verifying(key).verify(&SIGNED, &both), "{key}");
    }
    assert!(!verifying(SECRET).verify(&SIGNED, BY_PRIVATE));
    assert!(!verifying(PUBLIC).verify(&SIGNED, BY_SECRET));
}

#[test]
fn a_private_key_is_its_32_bytes_with_or_without_the_public_ones() {
    let whole = signing(PRIVATE);
    // The first 32 bytes of it.
    let short = signing("whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbc=");
    assert_eq!(short.public(), whole.public());
    assert_eq!(short.sign(&SIGNED), whole.sign(&SIGNED));
}

#[test]
fn a_text_that_is_no_key_is_refused_with_the_expected_form() {
    let symmetric = |bytes: usize| format!("whsec_{}", "QUJD".repeat(bytes / 3));
    let private = |bytes: usize| format!("whsk_{}", "QUJD".repeat(bytes / 3));
    for (text, error) in [
        (String::new(), InvalidSigningKey::Prefix),
        ("QUJD".repeat(8), InvalidSigningKey::Prefix),
        (PUBLIC.to_owned(), InvalidSigningKey::Prefix),
        (symmetric(21), InvalidSigningKey::Symmetric),
        (symmetric(66), InvalidSigningKey::Symmetric),
        (format!("whsec_{}", "!".repeat(32)), InvalidSigningKey::Symmetric),
        ("whsk_".to_owned(), InvalidSigningKey::Private),
        (private(30), InvalidSigningKey::Private),
        (private(33), InvalidSigningKey::Private),
        (private(63), InvalidSigningKey::Private),
        (private(66), InvalidSigningKey::Private),
        (format!("whsk_{ZEROS}"), InvalidSigningKey::Halves),
    ] {
        assert_eq!(SigningKey::parse(&text).unwrap_err(), error, "{text}");
    }
    for text in ["", PRIVATE, "whpk_", "whpk_QUJD", "QUJD", "whsec_QUJD"] {
        assert!(VerifyingKey::parse(text).is_err(), "{text}");
    }
}

#[test]
fn no_key_is_shown() {
    let shown = format!("{:?} {:?} {:?}", signing(SECRET), signing(PRIVATE), verifying(SECRET));
    assert_eq!(shown, "SigningKey(v1) SigningKey(v1a) VerifyingKey(v1)");
}

/// What is wrong with a request with these headers.
fn unverified(headers: &[(&str, &str)], now: u64) -> Option<Unverified> {
    let header = |name: &str| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    check(&[verifying(PUBLIC), verifying(SECRET)], header, SIGNED.body, now).err()
}

#[test]
fn a_request_is_trusted_within_five_minutes_and_with_all_three_headers() {
    const SENT: u64 = 1_614_265_330;
    let headers = [(ID_HEADER, SIGNED.id), (TIMESTAMP_HEADER, SIGNED.timestamp), (SIGNATURE_HEADER, BY_SECRET)];
    for now in [SENT - TOLERANCE, SENT, SENT + TOLERANCE] {
        assert_eq!(unverified(&headers, now), None);
    }
    assert_eq!(unverified(&headers, SENT + TOLERANCE + 1), Some(Unverified::TooOld(301)));
    assert_eq!(unverified(&headers, SENT - TOLERANCE - 1), Some(Unverified::TooEarly(301)));
    for left_out in 0..headers.len() {
        let mut fewer = headers.to_vec();
        let (name, _) = fewer.remove(left_out);
        assert_eq!(unverified(&fewer, SENT), Some(Unverified::Missing(name)));
    }
    for (name, value, error) in [
        (ID_HEADER, "msg_another", Unverified::Signature),
        (TIMESTAMP_HEADER, "1614265331", Unverified::Signature),
        (TIMESTAMP_HEADER, "yesterday", Unverified::Timestamp),
        (SIGNATURE_HEADER, "v1,AAAA", Unverified::Signature),
        (SIGNATURE_HEADER, "v1", Unverified::Signature),
        (SIGNATURE_HEADER, &BY_SECRET[3..], Unverified::Signature),
    ] {
        let changed = headers.map(|(known, old)| (known, if known == name { value } else { old }));
        assert_eq!(unverified(&changed, SENT), Some(error), "{name}: {value}");
    }
}

proptest! {
    #[test]
    fn a_signature_is_verified_by_the_counterpart_of_its_key_and_nothing_else(
        seeds: [[u8; 32]; 2],
        id in "[A-Za-z0-9_-]{1,70}",
        timestamp: u32,
        body: Vec<u8>,
        flipped: prop::sample::Index,
    ) {
        prop_assume!(seeds[0] != seeds[1]);
        let timestamp = timestamp.to_string();
        let signed = Signed { id: &id, timestamp: &timestamp, body: &body };
        for kind in [Signature::V1, Signature::V1a] {
            let [own, other] = seeds.map(|seed| SigningKey::write(kind, seed));
            let counterpart = |text: &str| verifying(&signing(text).public().unwrap_or_else(|| text.to_owned()));
            let signature = signing(&own).sign(&signed);
            prop_assert!(signature.starts_with(kind.as_str()));
            prop_assert!(counterpart(&own).verify(&signed, &signature));
            prop_assert!(!counterpart(&other).verify(&signed, &signature));
            let rotated = format!("{} {signature}", signing(&other).sign(&signed));
            prop_assert!(counterpart(&own).verify(&signed, &rotated) && counterpart(&other).verify(&signed, &rotated));
            let mut changed = body.clone();
            changed.push(0);
            let nth = flipped.index(changed.len());
            changed[nth] ^= 1;
            let forged = Signed { body: &changed, ..signed };
            prop_assert!(!counterpart(&own).verify(&forged, &signature));
        }
    }
}
