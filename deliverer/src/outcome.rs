//! What a POST came to. It never decides.

use jiff::civil::DateTime;
use schemas::OutcomeClass;

use crate::hidden::Hidden;

const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

/// What a POST came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// As a class.
    pub class: OutcomeClass,
    /// The answer's status.
    pub status: Option<u16>,
    /// What the receiver asked us to wait, in either form of RFC 9110 §10.2.3.
    pub retry_after: Option<RetryAfter>,
    /// The answer's beginning, or why there is none.
    pub excerpt: String,
    /// Milliseconds until the answer's end.
    pub duration_ms: u64,
}

impl Outcome {
    /// The request was ended by us before its time, after so many ms: too many were taking long.
    pub(crate) fn cut_short(duration_ms: u64) -> Self {
        let excerpt = "no answer in the shorter time that there is while many endpoints are slow".to_owned();
        Self { class: OutcomeClass::Timeout, status: None, retry_after: None, excerpt, duration_ms }
    }
}

/// Bytes of an answer that are kept for people to look at.
const EXCERPT_BYTES: usize = 4 * 1024;
/// Bytes of an answer that these are taken from: masking makes it shorter.
pub(crate) const BEGINNING_BYTES: usize = 2 * EXCERPT_BYTES;

/// The beginning of an answer, at most 4 KiB of text whatever it holds. Control characters are replaced: as JSON each
/// takes six bytes, and `carteiro-record` has 16 KiB for everything.
pub(crate) fn excerpt(beginning: &[u8], hidden: &Hidden) -> String {
    // What the end of the beginning cuts through could not be recognised.
    let is_cut = beginning.len() >= BEGINNING_BYTES;
    let whole = if is_cut { beginning.len().saturating_sub(hidden.longest()) } else { beginning.len() };
    let masked = hidden.mask(String::from_utf8_lossy(&beginning[..whole]));
    let mut text = String::with_capacity(masked.len().min(EXCERPT_BYTES));
    for c in masked.chars() {
        let is_odd = c.is_control() && !matches!(c, '\n' | '\r' | '\t');
        let c = if is_odd { char::REPLACEMENT_CHARACTER } else { c };
        if text.len() + c.len_utf8() > EXCERPT_BYTES {
            break;
        }
        text.push(c);
    }
    text
}

/// What a receiver asks us to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryAfter {
    /// Milliseconds from now.
    Delay(u64),
    /// Until then, unix ms.
    At(u64),
}

impl RetryAfter {
    /// Reads the header's text: whole seconds, or an HTTP date.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            // More digits than fit are "very long", which is bounded anyway.
            return Some(Self::Delay(text.parse::<u64>().unwrap_or(u64::MAX).saturating_mul(1_000)));
        }
        date(text).map(Self::At)
    }

    /// Milliseconds from `now` (unix ms).
    pub fn delay(self, now: u64) -> u64 {
        match self {
            Self::Delay(delay) => delay,
            Self::At(at) => at.saturating_sub(now),
        }
    }
}

/// Reads an HTTP date, as unix ms. RFC 9110, §5.6.7: "A recipient that parses a timestamp value in an HTTP field MUST
/// accept all three HTTP-date formats."
fn date(text: &str) -> Option<u64> {
    // As a civil date, since the last day that they can name is beyond the last timestamp.
    let forms = ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];
    let date = forms.iter().find_map(|form| DateTime::strptime(form, text).ok())?;
    u64::try_from(date.duration_since(EPOCH).as_millis()).ok()
}

/// The class of an answered status.
pub(crate) fn class_of(status: u16) -> OutcomeClass {
    match status {
        200..300 => OutcomeClass::Success,
        300..400 => OutcomeClass::Redirect,
        410 => OutcomeClass::Gone,
        429 => OutcomeClass::TooMany,
        400..500 => OutcomeClass::ClientError,
        500..600 => OutcomeClass::ServerError,
        _ => OutcomeClass::Malformed,
    }
}
