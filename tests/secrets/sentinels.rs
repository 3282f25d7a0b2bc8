//! Texts that are unlike any other, what each stands for, and where it may be found.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};

/// What a sentinel stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SentinelKind {
    /// A key, a token, a password: only who uses it has it.
    Secret,
    /// What a tenant configures and may look at: URLs, headers that are no secret.
    Configured,
    /// A word of an event.
    Body,
    /// A word of a receiver's answer.
    Answer,
}

/// Where something was looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SampleOrigin {
    /// stdout and stderr of the roles.
    Log,
    /// `/metrics`, `/readyz`, `/healthz`.
    Ops,
    /// An answer that is no success, or what a command says to stderr.
    Refusal,
    /// Routing keys, properties and headers on the broker, but for the records.
    Metadata,
    /// The header `carteiro-record`.
    Record,
    /// What the broker knows of those that are connected.
    Connections,
    /// What the API or a command says of the configuration, and of changes.
    Configuration,
    /// The API's or a command's lists of what ended, without bodies.
    List,
    /// One of these, with its body.
    Shown,
}

impl SentinelKind {
    /// Whether it must not be there.
    fn is_barred_from(self, place: SampleOrigin) -> bool {
        match (self, place) {
            (Self::Configured, SampleOrigin::Configuration)
            | (Self::Body, SampleOrigin::Shown)
            | (Self::Answer, SampleOrigin::Record | SampleOrigin::List | SampleOrigin::Shown) => false,
            (_, _) => true,
        }
    }
}

/// One of them.
struct Sentinel {
    what: String,
    kind: SentinelKind,
    /// Itself, and what it is in the middle of a longer text in base64.
    needles: Vec<String>,
}

/// All of them.
#[derive(Default)]
pub(super) struct Sentinels(Vec<Sentinel>);

impl Sentinels {
    /// A new one. Letters and digits only, so that no encoding but base64 changes it.
    pub(super) fn make(&mut self, what: &str, kind: SentinelKind) -> String {
        let text = format!("sntl{what}{:016x}", fastrand::u64(..));
        self.note(what, kind, &text);
        text
    }

    /// A new one that is shorter than any key may be.
    pub(super) fn short(&mut self, what: &str, kind: SentinelKind) -> String {
        let text = format!("cn{:010x}", fastrand::u64(..1 << 40));
        self.note(what, kind, &text);
        text
    }

    /// One that somebody else made.
    pub(super) fn note(&mut self, what: &str, kind: SentinelKind, text: &str) {
        assert!(text.len() >= 12, "{text} could be found by chance");
        let inner = (0..3).map(|shift| inner_base64(shift, text));
        let needles = [text.to_owned()].into_iter().chain(inner).collect();
        self.0.push(Sentinel { what: what.to_owned(), kind, needles });
    }

    /// Those that are in a text and must not be there, each with what stands around it.
    pub(super) fn leaked(&self, place: SampleOrigin, name: &str, text: &str) -> Vec<String> {
        let barred = self.0.iter().filter(|sentinel| sentinel.kind.is_barred_from(place));
        let found = barred.filter_map(|sentinel| sentinel.found_in(text).map(|around| (sentinel, around)));
        found.map(|(sentinel, around)| format!("{} in {place:?} {name}: {around}", sentinel.what)).collect()
    }

    /// Those that are not in a text.
    pub(super) fn missing_from(&self, text: &str) -> Vec<&str> {
        let missing = self.0.iter().filter(|sentinel| sentinel.found_in(text).is_none());
        missing.map(|sentinel| sentinel.what.as_str()).collect()
    }
}

impl Sentinel {
    /// The beginning of the line, as far as the text behind the sentinel.
    fn found_in(&self, text: &str) -> Option<String> {
        let (at, needle) = self.needles.iter().find_map(|needle| text.find(needle).map(|at| (at, needle)))?;
        let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
        Some(text[line..at + needle.len()].to_owned())
    }
}

/// The part of a text's base64 that does not depend on what stands before and behind it, `shift` bytes into a group.
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
