//! Sentinels: unique texts in place of secrets, settings and bodies, and where each may be found.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};

/// What a sentinel is used as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SentinelKind {
    /// A key, a token or a password, which nothing may show.
    Secret,
    /// A tenant's setting that is no secret, such as a URL or a header.
    Configured,
    /// A word of an event.
    Body,
    /// A word of a receiver's answer.
    Answer,
}

/// Where a sample comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SampleOrigin {
    /// stdout and stderr of the roles.
    Log,
    /// `/metrics`, `/readyz`, `/healthz`.
    Ops,
    /// A refusal of the API, or a command's stderr.
    Refusal,
    /// Routing keys, properties and headers on the broker, except the records.
    Metadata,
    /// The header `carteiro-record`.
    Record,
    /// The broker's list of connections.
    Connections,
    /// The API's or a command's answer about the configuration and its changes.
    Configuration,
    /// The API's or a command's answer about endpoints: their configuration, and how their last attempt failed.
    Endpoints,
    /// The API's or a command's list of ended deliveries, without bodies.
    List,
    /// One ended delivery, with its body.
    Shown,
}

impl SentinelKind {
    /// True when it must not be in samples of this origin.
    fn is_barred_from(self, place: SampleOrigin) -> bool {
        match (self, place) {
            (Self::Configured, SampleOrigin::Configuration | SampleOrigin::Endpoints)
            | (Self::Body, SampleOrigin::Shown)
            | (
                Self::Answer,
                SampleOrigin::Record | SampleOrigin::Endpoints | SampleOrigin::List | SampleOrigin::Shown,
            ) => false,
            (_, _) => true,
        }
    }
}

struct Sentinel {
    what: String,
    kind: SentinelKind,
    /// The text itself, and its parts in the base64 of a longer text.
    needles: Vec<String>,
}

/// All sentinels of an installation.
#[derive(Default)]
pub(super) struct Sentinels(Vec<Sentinel>);

impl Sentinels {
    /// Makes a sentinel. It has only letters and digits, so that base64 is the only encoding that changes it.
    pub(super) fn make(&mut self, what: &str, kind: SentinelKind) -> String {
        let text = format!("sntl{what}{:016x}", fastrand::u64(..));
        self.note(what, kind, &text);
        text
    }

    /// Makes a sentinel that is shorter than any key may be.
    pub(super) fn short(&mut self, what: &str, kind: SentinelKind) -> String {
        let text = format!("cn{:010x}", fastrand::u64(..1 << 40));
        self.note(what, kind, &text);
        text
    }

    /// Adds a text that was made elsewhere.
    pub(super) fn note(&mut self, what: &str, kind: SentinelKind, text: &str) {
        assert!(text.len() >= 12, "{text} could be found by chance");
        let inner = (0..3).map(|shift| inner_base64(shift, text));
        let needles = [text.to_owned()].into_iter().chain(inner).collect();
        self.0.push(Sentinel { what: what.to_owned(), kind, needles });
    }

    /// The sentinels that must not be in a text and are, each with the text before it.
    pub(super) fn leaked(&self, place: SampleOrigin, name: &str, text: &str) -> Vec<String> {
        let barred = self.0.iter().filter(|sentinel| sentinel.kind.is_barred_from(place));
        let found = barred.filter_map(|sentinel| sentinel.found_in(text).map(|around| (sentinel, around)));
        found.map(|(sentinel, around)| format!("{} in {place:?} {name}: {around}", sentinel.what)).collect()
    }

    /// The sentinels that are not in a text.
    pub(super) fn missing_from(&self, text: &str) -> Vec<&str> {
        let missing = self.0.iter().filter(|sentinel| sentinel.found_in(text).is_none());
        missing.map(|sentinel| sentinel.what.as_str()).collect()
    }
}

impl Sentinel {
    /// The line with the sentinel, up to its end; none when the text does not have it.
    fn found_in(&self, text: &str) -> Option<String> {
        let (at, needle) = self.needles.iter().find_map(|needle| text.find(needle).map(|at| (at, needle)))?;
        let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
        Some(text[line..at + needle.len()].to_owned())
    }
}

/// The part of a text's base64 that does not depend on its neighbours. The text begins `shift` bytes into a group of three.
fn inner_base64(shift: usize, text: &str) -> String {
    let encoded = STANDARD_NO_PAD.encode("x".repeat(shift) + text);
    let (begin, end) = (if shift == 0 { 0 } else { 4 }, encoded.len() - 4);
    encoded[begin..end].to_owned()
}

#[test]
fn a_canary_is_found_as_it_is_and_in_base64() {
    let mut sentinels = Sentinels::default();
    let text = sentinels.make("key", SentinelKind::Secret);
    assert_eq!(sentinels.missing_from("nothing"), ["key"]);
    for before in ["", "u", "us", "user:", "users:"] {
        let encoded = STANDARD_NO_PAD.encode(format!("{before}{text}:and more"));
        assert!(sentinels.missing_from(&encoded).is_empty(), "{before}");
    }
    assert_eq!(sentinels.leaked(SampleOrigin::Log, "of a role", &format!("{{a\n{{key={text}")).len(), 1);
    assert!(Sentinels::default().leaked(SampleOrigin::Log, "of a role", &text).is_empty());
}
