//! Takes the secrets out of `api_config` and touches nothing else: order, digits and escapes stay.

use std::borrow::Cow;

use crate::walk::{elements, members};

/// Deeper than any envelope that is accepted; what lies below would be dropped rather than shown unread.
const MAX_DEPTH: usize = 256;

/// `json` without the members named `token` or `authToken`, in any case and at any depth; borrowed when there are none.
/// Expects compact JSON, and gives compact JSON.
pub(crate) fn redact(json: &str) -> Cow<'_, str> {
    if !may_have_secrets(json) {
        return Cow::Borrowed(json);
    }
    let mut redacted = String::with_capacity(json.len());
    copy(json, &mut redacted, MAX_DEPTH);
    Cow::Owned(redacted)
}

/// An escape may hide a key, so it counts as suspicion.
fn may_have_secrets(json: &str) -> bool {
    let bytes = json.as_bytes();
    !bytes.is_ascii() || bytes.contains(&b'\\') || bytes.windows(5).any(|word| word.eq_ignore_ascii_case(b"token"))
}

fn copy(json: &str, to: &mut String, depth: usize) {
    let Some(depth) = depth.checked_sub(1) else { return to.push_str("null") };
    let mut separator = "";
    if json.starts_with('{') {
        to.push('{');
        for (key, value) in members(json).filter(|(key, _)| !is_secret(key)) {
            to.push_str(separator);
            to.push_str(key);
            to.push(':');
            copy(value, to, depth);
            separator = ",";
        }
        to.push('}');
    } else if json.starts_with('[') {
        to.push('[');
        for element in elements(json) {
            to.push_str(separator);
            copy(element, to, depth);
            separator = ",";
        }
        to.push(']');
    } else {
        to.push_str(json);
    }
}

fn is_secret(spelt: &str) -> bool {
    let key = serde_json::from_str::<String>(spelt).unwrap_or_default().to_lowercase();
    key == "token" || key == "authtoken"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_in_any_case_and_at_any_depth_and_the_rest_keeps_its_spelling() {
        let table = [
            (r#"{"token":"x"}"#, "{}"),
            (r#"{"a":1.0,"TOKEN":{"b":[1]},"c":12345678901234567890}"#, r#"{"a":1.0,"c":12345678901234567890}"#),
            (r#"[{"x":[{"AuthToken":null,"y":"token"}]}]"#, r#"[{"x":[{"y":"token"}]}]"#),
            (r#"{"\u0074oken":1,"to\u212Aen":2,"tokens":3,"é":"\u00e9"}"#, r#"{"tokens":3,"é":"\u00e9"}"#),
            (r#""token""#, r#""token""#),
            ("{\"to\u{212a}en\":2}", "{}"),
        ];
        for (given, expected) in table {
            assert_eq!(redact(given), expected);
        }
    }

    #[test]
    fn what_has_no_secret_is_borrowed() {
        assert!(matches!(redact(r#"{"externalKey":"PEDIDO-1234"}"#), Cow::Borrowed(_)));
    }

    #[test]
    fn below_the_greatest_depth_nothing_is_shown() {
        let deep = format!("{}{{\"token\":1}}{}", "[".repeat(400), "]".repeat(400));
        let redacted = redact(&deep);
        assert!(!redacted.contains("token"));
        assert!(serde_json::from_str::<serde::de::IgnoredAny>(&redacted).is_ok());
    }
}
