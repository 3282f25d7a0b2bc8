//! JSON text without the white space between its tokens. It changes no token: keys, order, escapes and the spelling
//! of numbers stay.

use std::borrow::Cow;

use crate::walk::string_end;

/// `json` without insignificant white space (RFC 8259 §2); borrowed when there is none. Expects valid JSON.
pub(crate) fn compact(json: &str) -> Cow<'_, str> {
    let Some(first) = next_padding(json, 0) else { return Cow::Borrowed(json) };
    let mut compact = String::with_capacity(json.len());
    compact.push_str(&json[..first]);
    let mut start = first + 1;
    while let Some(padding) = next_padding(json, start) {
        compact.push_str(&json[start..padding]);
        start = padding + 1;
    }
    compact.push_str(&json[start..]);
    Cow::Owned(compact)
}

/// Where the next white space is, from a place outside of any string on.
fn next_padding(json: &str, mut at: usize) -> Option<usize> {
    let bytes = json.as_bytes();
    loop {
        at += bytes[at..].iter().position(|byte| matches!(byte, b'"' | b' ' | b'\t' | b'\n' | b'\r'))?;
        if bytes[at] != b'"' {
            return Some(at);
        }
        at = string_end(bytes, at);
    }
}

#[cfg(test)]
mod tests {
    use super::compact;

    #[test]
    fn white_space_between_tokens_goes_and_inside_strings_stays() {
        let padded = "{ \"a b\" :\t[1.0 , \"x\\\" y\\\\\" ]\r\n}";
        assert_eq!(compact(padded), "{\"a b\":[1.0,\"x\\\" y\\\\\"]}");
    }

    #[test]
    fn compact_text_is_borrowed() {
        assert!(matches!(compact("{\"é\":\" \"}"), std::borrow::Cow::Borrowed(_)));
    }
}
