//! The outcome of a POST: the class of the response or of the failure, `Retry-After`, and an excerpt for people to read.

use std::borrow::Cow;

use jiff::civil::DateTime;
use schemas::{Endpoint, HeaderText, MASK, OutcomeClass, Secret, SecretFields as _};
use url::Url;

const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) class: OutcomeClass,
    pub(crate) status: Option<u16>,
    pub(crate) retry_after: Option<RetryAfter>,
    /// The beginning of the response's body, or the reason why there is no response.
    pub(crate) excerpt: String,
    pub(crate) duration_ms: u64,
}

impl Outcome {
    pub(crate) fn with_status(status: u16, retry_after: Option<RetryAfter>, excerpt: String) -> Self {
        Self { class: class_of(status), status: Some(status), retry_after, excerpt, duration_ms: 0 }
    }

    pub(crate) fn without_response(class: OutcomeClass, reason: String) -> Self {
        Self { class, status: None, retry_after: None, excerpt: reason, duration_ms: 0 }
    }

    /// The outcome of a request that was ended before its timeout.
    pub(crate) fn cut_short(duration_ms: u64) -> Self {
        let reason = "timed out early: this deliverer is short of slots because many endpoints are slow".to_owned();
        Self { duration_ms, ..Self::without_response(OutcomeClass::Timeout, reason) }
    }
}

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

/// How long a receiver asks us to wait (RFC 9110, section 10.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RetryAfter {
    /// Milliseconds from the response on.
    Delay(u64),
    /// Unix ms.
    At(u64),
}

impl RetryAfter {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            // A number that does not fit means "very long", which is bounded later.
            return Some(Self::Delay(text.parse::<u64>().unwrap_or(u64::MAX).saturating_mul(1_000)));
        }
        http_date(text).map(Self::At)
    }

    pub(crate) fn delay_ms(self, now: u64) -> u64 {
        match self {
            Self::Delay(delay) => delay,
            Self::At(at) => at.saturating_sub(now),
        }
    }
}

/// Reads an HTTP date as unix ms. RFC 9110, section 5.6.7: "A recipient that parses a timestamp value in an HTTP field MUST
/// accept all three HTTP-date formats."
fn http_date(text: &str) -> Option<u64> {
    // A civil date, because the formats can name days beyond the last timestamp.
    let formats = ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];
    let date = formats.iter().find_map(|format| DateTime::strptime(format, text).ok())?;
    u64::try_from(date.duration_since(EPOCH).as_millis()).ok()
}

const EXCERPT_BYTES: usize = 4 * 1024;
/// Bytes of a response that an excerpt is made from: masking makes the text shorter.
pub(crate) const BEGINNING_BYTES: usize = 2 * EXCERPT_BYTES;

/// The beginning of a response as text, masked, at most 4 KiB. Control characters are replaced: as JSON each would take
/// six bytes, and the header `carteiro-record` has 16 KiB for everything.
pub(crate) fn excerpt(beginning: &[u8], masked: &MaskedTexts) -> String {
    // A secret that is cut in two could not be recognised, so the length of the longest secret is left out.
    let is_cut = beginning.len() >= BEGINNING_BYTES;
    let whole = if is_cut { beginning.len().saturating_sub(masked.longest()) } else { beginning.len() };
    let response = masked.mask(String::from_utf8_lossy(&beginning[..whole]));
    let mut text = String::with_capacity(response.len().min(EXCERPT_BYTES));
    for c in response.chars() {
        let is_control = c.is_control() && !matches!(c, '\n' | '\r' | '\t');
        let c = if is_control { char::REPLACEMENT_CHARACTER } else { c };
        if text.len() + c.len_utf8() > EXCERPT_BYTES {
            break;
        }
        text.push(c);
    }
    text
}

/// Shorter texts occur in responses by chance.
const SHORTEST_MASKED: usize = 6;

/// The texts of an endpoint's request that are masked in excerpts, the longest first, because one may be part of
/// another. A receiver that echoes its request would otherwise show a write-only key to everyone who may read records.
/// Texts that a receiver encodes are not recognised.
#[derive(Debug, Default)]
pub(crate) struct MaskedTexts(Vec<String>);

impl MaskedTexts {
    pub(crate) fn of(endpoint: &Endpoint) -> Self {
        let mut texts = Vec::new();
        let headers = endpoint.headers.values().map(HeaderText::reveal);
        for text in endpoint.secrets().map(Secret::reveal).chain(headers) {
            texts.push(text.to_owned());
            // Credentials may follow a scheme, as in `Bearer …`.
            texts.extend(text.split_once(' ').map(|(_, credentials)| credentials.to_owned()));
        }
        if let Ok(url) = Url::parse(&endpoint.url) {
            texts.extend(url.query().map(|query| format!("{}?{query}", url.path())));
            texts.extend(url.query().map(str::to_owned));
            texts.push(url.path().to_owned());
        }
        // PHP escapes slashes in JSON.
        let escaped: Vec<_> =
            texts.iter().filter(|text| text.contains('/')).map(|text| text.replace('/', r"\/")).collect();
        texts.extend(escaped);
        texts.retain(|text| text.len() >= SHORTEST_MASKED);
        texts.sort_by_key(|text| std::cmp::Reverse(text.len()));
        texts.dedup();
        Self(texts)
    }

    fn longest(&self) -> usize {
        self.0.first().map_or(0, String::len)
    }

    pub(crate) fn mask<'a>(&self, response: Cow<'a, str>) -> Cow<'a, str> {
        self.0.iter().fold(response, |response, text| match response.contains(text.as_str()) {
            true => Cow::Owned(response.replace(text.as_str(), MASK)),
            false => response,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(endpoint: &str) -> MaskedTexts {
        MaskedTexts::of(&serde_json::from_str(endpoint).unwrap())
    }

    #[test]
    fn an_echoed_request_is_kept_without_its_headers_and_its_path() {
        let masked = masked(
            r#"{"id":"crm","url":"https://crm.example/hooks/4711?token=t0ken","n8n_api_key":"the-n8n-key",
                "headers":{"authorization":{"secret":"Bearer the-bearer"},"x-own":"the-tenants"}}"#,
        );
        let response = r#"POST /hooks/4711?token=t0ken or \/hooks\/4711 at crm.example: the-n8n-key,
            Bearer the-bearer, the-bearer, the-tenants, token=t0ken"#;
        let kept = r"POST *** or *** at crm.example: ***,
            ***, ***, ***, ***";
        assert_eq!(masked.mask(response.into()), kept);
    }

    #[test]
    fn a_secret_that_is_cut_in_two_does_not_show_its_beginning() {
        let masked = masked(r#"{"id":"crm","url":"https://crm.example/","n8n_api_key":"0123456789abcdef"}"#);
        // Masked, each takes a fifth of its length, so that the last one is within what is kept.
        let secrets = "0123456789abcdef".repeat(1_000);
        let kept = excerpt(&secrets.as_bytes()[..BEGINNING_BYTES - 3], &masked);
        assert_eq!(kept.replace("***", ""), "0123456789abc", "this is a whole response");
        let kept = excerpt(&secrets.as_bytes()[..BEGINNING_BYTES], &masked);
        assert_eq!(kept.replace("***", ""), "");
    }

    #[test]
    fn every_secret_field_of_an_endpoint_is_masked_in_a_response() {
        use schemas::secret_fields::testing::{CANARY, with_canaries};
        let fields = serde_json::json!({"id": "crm", "url": "https://crm.example/"});
        let endpoint = with_canaries::<Endpoint>(&fields);
        let echo: Vec<_> = endpoint.secrets().map(Secret::reveal).collect();
        let kept = MaskedTexts::of(&endpoint).mask(echo.join(" ").into());
        assert!(echo.len() >= Endpoint::SECRET_FIELDS.len() && !kept.contains(CANARY), "{kept}");
    }

    #[test]
    fn a_short_text_that_occurs_by_chance_is_kept() {
        let masked = masked(r#"{"id":"crm","url":"https://crm.example/in","n8n_api_key":"a"}"#);
        assert_eq!((masked.longest(), masked.mask("a word in/out".into())), (0, "a word in/out".into()));
    }

    #[test]
    fn retry_after_is_read_in_both_forms() {
        assert_eq!(RetryAfter::parse("120"), Some(RetryAfter::Delay(120_000)));
        for date in ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
            assert_eq!(RetryAfter::parse(date), Some(RetryAfter::At(784_111_777_000)), "{date}");
        }
        for nonsense in ["", "soon", "-5", "1.5", "0x10", "120, 240", "Sun, 06 Nov 1994", "1994-11-06T08:49:37Z"] {
            assert_eq!(RetryAfter::parse(nonsense), None, "{nonsense}");
        }
    }
}
