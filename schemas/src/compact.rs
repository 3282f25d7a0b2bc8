//! JSON text without the white space between its tokens. It changes no token: keys, order, escapes and the spelling
//! of numbers stay.

use std::borrow::Cow;

/// `json` without insignificant white space (RFC 8259 §2); borrowed when there is none. Expects valid JSON.
pub(crate) fn compact(json: &str) -> Cow<'_, str> {
    let mut in_string = false;
    let mut escaped = false;
    let mut is_padding = |byte: u8| {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            return false;
        }
        in_string = byte == b'"';
        matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
    };
    let Some(first) = json.bytes().position(&mut is_padding) else { return Cow::Borrowed(json) };
    let mut compact = String::with_capacity(json.len());
    compact.push_str(&json[..first]);
    let rest = &json[first + 1..];
    let mut start = 0;
    for (at, byte) in rest.bytes().enumerate() {
        if is_padding(byte) {
            compact.push_str(&rest[start..at]);
            start = at + 1;
        }
    }
    compact.push_str(&rest[start..]);
    Cow::Owned(compact)
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
