//! What the beginning of an answer is not kept with: a receiver that echoes its request would otherwise have a write-only
//! key shown to whoever may read records, and carried by the broker. As it was sent, that is: what a receiver encodes in
//! its own way is its own.

use std::borrow::Cow;

use schemas::{Endpoint, HeaderText, MASK, Secret, SecretFields as _};
use url::Url;

/// Texts shorter than this are in answers by chance.
const SHORTEST: usize = 6;

/// The texts of one endpoint that are masked, the longest first: one may be a part of another.
#[derive(Debug, Default)]
pub(crate) struct Hidden(Vec<String>);

impl Hidden {
    /// Its secrets, the values of its own headers, and what follows the host in its URL.
    pub(crate) fn of(endpoint: &Endpoint) -> Self {
        let mut texts = Vec::new();
        let headers = endpoint.headers.values().map(HeaderText::reveal);
        for text in endpoint.secrets().map(Secret::reveal).chain(headers) {
            texts.push(text.to_owned());
            // A scheme may go before it, as in `Bearer …`.
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
        texts.retain(|text| text.len() >= SHORTEST);
        texts.sort_by_key(|text| std::cmp::Reverse(text.len()));
        texts.dedup();
        Self(texts)
    }

    /// The bytes of the longest.
    pub(crate) fn longest(&self) -> usize {
        self.0.first().map_or(0, String::len)
    }

    /// An answer without them.
    pub(crate) fn mask<'a>(&self, answer: Cow<'a, str>) -> Cow<'a, str> {
        self.0.iter().fold(answer, |answer, text| match answer.contains(text.as_str()) {
            true => Cow::Owned(answer.replace(text.as_str(), MASK)),
            false => answer,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{BEGINNING_BYTES, excerpt};

    fn hidden(endpoint: &str) -> Hidden {
        Hidden::of(&serde_json::from_str(endpoint).unwrap())
    }

    #[test]
    fn an_echoed_request_is_kept_without_its_headers_and_its_path() {
        let hidden = hidden(
            r#"{"id":"crm","url":"https://crm.example/hooks/4711?token=t0ken","n8n_api_key":"the-n8n-key",
                "headers":{"authorization":{"secret":"Bearer the-bearer"},"x-own":"the-tenants"}}"#,
        );
        let answer = r#"POST /hooks/4711?token=t0ken or \/hooks\/4711 at crm.example: the-n8n-key,
            Bearer the-bearer, the-bearer, the-tenants, token=t0ken"#;
        let kept = r"POST *** or *** at crm.example: ***,
            ***, ***, ***, ***";
        assert_eq!(hidden.mask(answer.into()), kept);
    }

    #[test]
    fn a_secret_that_is_cut_through_does_not_show_its_beginning() {
        let hidden = hidden(r#"{"id":"crm","url":"https://crm.example/","n8n_api_key":"0123456789abcdef"}"#);
        // Masked, each takes a fifth, so that the last is within what is kept.
        let secrets = "0123456789abcdef".repeat(1_000);
        let kept = excerpt(&secrets.as_bytes()[..BEGINNING_BYTES - 3], &hidden);
        assert_eq!(kept.replace("***", ""), "0123456789abc", "this is a whole answer");
        let kept = excerpt(&secrets.as_bytes()[..BEGINNING_BYTES], &hidden);
        assert_eq!(kept.replace("***", ""), "");
    }

    #[test]
    fn every_secret_field_of_an_endpoint_is_masked_in_what_a_receiver_answers() {
        use schemas::secret_fields::testing::{CANARY, with_canaries};
        let fields = serde_json::json!({"id": "crm", "url": "https://crm.example/"});
        let endpoint = with_canaries::<Endpoint>(&fields);
        let echo: Vec<_> = endpoint.secrets().map(Secret::reveal).collect();
        let kept = Hidden::of(&endpoint).mask(echo.join(" ").into());
        assert!(echo.len() >= Endpoint::SECRET_FIELDS.len() && !kept.contains(CANARY), "{kept}");
    }

    #[test]
    fn what_is_in_answers_by_chance_stays() {
        let hidden = hidden(r#"{"id":"crm","url":"https://crm.example/in","n8n_api_key":"a"}"#);
        assert_eq!((hidden.longest(), hidden.mask("a word in/out".into())), (0, "a word in/out".into()));
    }
}
