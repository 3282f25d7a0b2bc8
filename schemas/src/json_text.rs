//! JSON as text: finds, copies and removes parts without parsing their values, so that keys, their order, escapes and
//! the spelling of numbers are kept. The input must be valid JSON, which is not checked.

use std::borrow::Cow;

use memchr::{memchr2, memmem};

/// Yields the parts of one object or array in order. It does not recurse, so that deep nesting needs no stack.
#[derive(Debug)]
pub(crate) struct Scanner<'a> {
    text: &'a str,
    at: usize,
    deepest: usize,
}

impl<'a> Scanner<'a> {
    /// Scans the text of an object or array. Any other text has no parts.
    pub(crate) fn new(container: &'a str) -> Self {
        let text = container.trim_ascii();
        let at = if text.starts_with(['{', '[']) { 1 } else { text.len() };
        Self { text, at, deepest: usize::from(at == 1) }
    }

    /// Deepest nesting of the scanned parts, including the container itself.
    pub(crate) fn deepest(&self) -> usize {
        self.deepest
    }

    /// The next member of an object: its key, as spelt and in quotes, and its value.
    pub(crate) fn member(&mut self) -> Option<(&'a str, &'a str)> {
        let key = self.element()?;
        Some((key, self.element()?))
    }

    /// Enters the value that comes next, if it is an object. Its members come next; after the last of them,
    /// [`leave_object`](Self::leave_object) goes on with the parts behind it.
    pub(crate) fn enter_object(&mut self) -> bool {
        self.skip_padding();
        let is_object = self.text.as_bytes().get(self.at) == Some(&b'{');
        self.at += usize::from(is_object);
        is_object
    }

    /// Leaves the object that was entered, at whose end the scanner is.
    pub(crate) fn leave_object(&mut self) {
        self.at += 1;
    }

    fn skip_padding(&mut self) {
        while matches!(self.text.as_bytes().get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r' | b',' | b':')) {
            self.at += 1;
        }
    }

    pub(crate) fn element(&mut self) -> Option<&'a str> {
        self.skip_padding();
        let bytes = self.text.as_bytes();
        let start = self.at;
        self.at = match bytes.get(start)? {
            b'"' => string_end(bytes, start),
            b'{' | b'[' => self.container_end(start),
            b'}' | b']' => return None,
            _ => scalar_end(bytes, start),
        };
        self.text.get(start..self.at)
    }

    fn container_end(&mut self, start: usize) -> usize {
        let bytes = self.text.as_bytes();
        let (mut at, mut depth) = (start, 0);
        while let Some(ahead) = bytes[at..].iter().position(|byte| matches!(byte, b'"' | b'{' | b'[' | b'}' | b']')) {
            at += ahead;
            match bytes[at] {
                b'"' => at = string_end(bytes, at),
                b'{' | b'[' => {
                    depth += 1;
                    self.deepest = self.deepest.max(depth + 1);
                    at += 1;
                }
                _ => {
                    depth -= 1;
                    at += 1;
                    if depth == 0 {
                        return at;
                    }
                }
            }
        }
        bytes.len()
    }
}

pub(crate) fn members(object: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut scanner = Scanner::new(object);
    std::iter::from_fn(move || scanner.member())
}

pub(crate) fn elements(array: &str) -> impl Iterator<Item = &str> {
    let mut scanner = Scanner::new(array);
    std::iter::from_fn(move || scanner.element())
}

/// True when an object's key, in quotes and possibly with escapes, is `name`.
pub(crate) fn is_key(spelt: &str, name: &str) -> bool {
    if spelt.contains('\\') {
        return serde_json::from_str::<String>(spelt).is_ok_and(|key| key == name);
    }
    spelt.get(1..spelt.len().saturating_sub(1)) == Some(name)
}

/// False when no key of a JSON text is `name`, which consists of the letters a to z. That is cheap to find out: such a key
/// is spelt with its quotes, or with escapes of letters.
pub(crate) fn may_have_key(json: &str, name: &str) -> bool {
    let bytes = json.as_bytes();
    let is_spelt = |at: usize| {
        let end = at + name.len();
        bytes[..at].ends_with(b"\"") && bytes.get(end) == Some(&b'"')
    };
    memmem::find_iter(bytes, name).any(is_spelt)
        || memmem::find_iter(bytes, b"\\u00").any(|at| matches!(bytes.get(at + 4), Some(b'6' | b'7')))
}

/// True when a JSON text has no value that is nested deeper than `depth`, which its brackets show. False is no answer: the
/// brackets may be in strings, or beside one another.
pub(crate) fn is_surely_shallow(json: &str, depth: usize) -> bool {
    // Sums of single bytes are added up for many bytes at once; 255 of them fit.
    let brackets = |bytes: &[u8]| bytes.iter().map(|byte| u8::from(matches!(byte, b'{' | b'['))).sum::<u8>();
    json.as_bytes().chunks(255).map(|bytes| usize::from(brackets(bytes))).sum::<usize>() <= depth
}

/// Position after the string whose opening quote is at `start`.
fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found;
        if bytes[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
    bytes.len()
}

fn scalar_end(bytes: &[u8], start: usize) -> usize {
    let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b':' | b' ' | b'\t' | b'\n' | b'\r');
    bytes[start..].iter().position(ends).map_or(bytes.len(), |length| start + length)
}

/// `json` without insignificant white space (RFC 8259, 2); borrowed when there is none.
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

/// Position of the next white space between tokens. `at` is outside of any string.
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

/// Deepest nesting that is searched for secrets, deeper than any accepted envelope. Deeper parts are dropped.
const MAX_SECRET_DEPTH: usize = 256;

/// Compact JSON without the members `token` or `authToken`, in any case and at any depth; borrowed when it has none.
pub(crate) fn without_secrets(json: &str) -> Cow<'_, str> {
    if !may_have_secrets(json) {
        return Cow::Borrowed(json);
    }
    let mut redacted = String::with_capacity(json.len());
    copy_without_secrets(json, &mut redacted, MAX_SECRET_DEPTH);
    Cow::Owned(redacted)
}

/// True when a key may be a secret's. Escapes may hide such a key.
fn may_have_secrets(json: &str) -> bool {
    let bytes = json.as_bytes();
    !bytes.is_ascii() || bytes.contains(&b'\\') || bytes.windows(5).any(|word| word.eq_ignore_ascii_case(b"token"))
}

fn copy_without_secrets(json: &str, to: &mut String, depth: usize) {
    let Some(depth) = depth.checked_sub(1) else { return to.push_str("null") };
    let mut separator = "";
    if json.starts_with('{') {
        to.push('{');
        for (key, value) in members(json).filter(|(key, _)| !is_secret(key)) {
            to.push_str(separator);
            to.push_str(key);
            to.push(':');
            copy_without_secrets(value, to, depth);
            separator = ",";
        }
        to.push('}');
    } else if json.starts_with('[') {
        to.push('[');
        for element in elements(json) {
            to.push_str(separator);
            copy_without_secrets(element, to, depth);
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
    fn members_keep_their_spelling() {
        let object = r#" { "a" : 1.0 , "b\"}" : { "c" : [ "]" , {} ] } ,"d":"x\\", "e":[],"f": null } "#;
        let found: Vec<_> = members(object).collect();
        let expected = [
            (r#""a""#, "1.0"),
            (r#""b\"}""#, r#"{ "c" : [ "]" , {} ] }"#),
            (r#""d""#, r#""x\\""#),
            (r#""e""#, "[]"),
            (r#""f""#, "null"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_scalar_has_no_parts() {
        for text in ["", "null", "12", "\"{}\"", "{}", "[]", " [ ] "] {
            assert_eq!(elements(text).count(), 0, "{text:?}");
        }
    }

    #[test]
    fn depth_counts_the_deepest_nesting_and_costs_no_stack() {
        let deep = format!("{{\"a\":1,\"b\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        let mut scanner = Scanner::new(&deep);
        while scanner.member().is_some() {}
        assert_eq!(scanner.deepest(), 100_001);
    }

    #[test]
    fn an_escaped_key_is_recognised() {
        assert!(is_key(r#""\u0074oken""#, "token"));
        assert!(is_key(r#""token""#, "token"));
        assert!(!is_key(r#""tokens""#, "token"));
    }

    #[test]
    fn a_key_that_a_text_has_is_never_overlooked() {
        for text in [r#"{"events":1}"#, r#"{"a":{"events":1}}"#, r#"{"\u0065vents":1}"#, r#"{"event\u0073":1}"#] {
            assert!(may_have_key(text, "events"), "{text}");
        }
        for text in [r#"{"event":1}"#, r#"{"events2":"events"}"#, r#"{"my events":"\u00e9\n"}"#, "events", ""] {
            assert_eq!(may_have_key(text, "events"), text.contains("\"events\""), "{text}");
        }
    }

    #[test]
    fn members_of_an_object_come_between_those_around_it() {
        let mut scanner = Scanner::new(r#"{"a": {"b":[{}], "c":"}"} ,"d": {}, "e":7}"#);
        let mut seen = Vec::new();
        while let Some(key) = scanner.element() {
            seen.push(key);
            if scanner.enter_object() {
                while let Some((key, value)) = scanner.member() {
                    seen.extend([key, value]);
                }
                scanner.leave_object();
            } else {
                seen.extend(scanner.element());
            }
        }
        let expected = [r#""a""#, r#""b""#, "[{}]", r#""c""#, r#""}""#, r#""d""#, r#""e""#, "7"];
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_text_with_few_brackets_is_shallow() {
        assert!(is_surely_shallow(r#"{"a":[{}]}"#, 3));
        assert!(!is_surely_shallow(r#"{"a":[{}]}"#, 2));
    }

    #[test]
    fn white_space_between_tokens_is_removed_and_in_strings_kept() {
        let padded = "{ \"a b\" :\t[1.0 , \"x\\\" y\\\\\" ]\r\n}";
        assert_eq!(compact(padded), "{\"a b\":[1.0,\"x\\\" y\\\\\"]}");
    }

    #[test]
    fn compact_text_is_borrowed() {
        assert!(matches!(compact("{\"é\":\" \"}"), Cow::Borrowed(_)));
    }

    #[test]
    fn secrets_are_removed_in_any_case_and_at_any_depth_and_the_rest_keeps_its_spelling() {
        let table = [
            (r#"{"token":"x"}"#, "{}"),
            (r#"{"a":1.0,"TOKEN":{"b":[1]},"c":12345678901234567890}"#, r#"{"a":1.0,"c":12345678901234567890}"#),
            (r#"[{"x":[{"AuthToken":null,"y":"token"}]}]"#, r#"[{"x":[{"y":"token"}]}]"#),
            (r#"{"\u0074oken":1,"to\u212Aen":2,"tokens":3,"é":"\u00e9"}"#, r#"{"tokens":3,"é":"\u00e9"}"#),
            (r#""token""#, r#""token""#),
            ("{\"to\u{212a}en\":2}", "{}"),
        ];
        for (given, expected) in table {
            assert_eq!(without_secrets(given), expected);
        }
    }

    #[test]
    fn text_without_secrets_is_borrowed() {
        assert!(matches!(without_secrets(r#"{"externalKey":"PEDIDO-1234"}"#), Cow::Borrowed(_)));
    }

    #[test]
    fn text_below_the_greatest_depth_is_dropped() {
        let deep = format!("{}{{\"token\":1}}{}", "[".repeat(400), "]".repeat(400));
        let redacted = without_secrets(&deep);
        assert!(!redacted.contains("token"));
        assert!(serde_json::from_str::<serde::de::IgnoredAny>(&redacted).is_ok());
    }
}
