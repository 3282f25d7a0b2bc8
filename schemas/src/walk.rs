//! Walks JSON text without reading it: where the members of an object and the elements of an array begin and end.
//!
//! For what must keep its spelling (unknown keys, numbers, `api_config`). Expects valid JSON and never recurses, so
//! depth costs no stack; it validates nothing.

use memchr::memchr2;

/// The parts of one object or array, in order.
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    text: &'a str,
    at: usize,
    deepest: usize,
}

impl<'a> Walk<'a> {
    /// `container` is an object's or array's text; of anything else there are no parts.
    pub(crate) fn of(container: &'a str) -> Self {
        let text = container.trim_ascii();
        let at = if text.starts_with(['{', '[']) { 1 } else { text.len() };
        Self { text, at, deepest: usize::from(at == 1) }
    }

    /// How deep the parts passed so far are nested, the container itself included.
    pub(crate) fn deepest(&self) -> usize {
        self.deepest
    }

    /// The next member of an object: its key, in quotes as spelt, and its value.
    pub(crate) fn member(&mut self) -> Option<(&'a str, &'a str)> {
        let key = self.element()?;
        Some((key, self.element()?))
    }

    /// The next element of an array.
    pub(crate) fn element(&mut self) -> Option<&'a str> {
        let bytes = self.text.as_bytes();
        while matches!(bytes.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r' | b',' | b':')) {
            self.at += 1;
        }
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

/// The members of an object's text.
pub(crate) fn members(object: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut walk = Walk::of(object);
    std::iter::from_fn(move || walk.member())
}

/// The elements of an array's text.
pub(crate) fn elements(array: &str) -> impl Iterator<Item = &str> {
    let mut walk = Walk::of(array);
    std::iter::from_fn(move || walk.element())
}

/// Whether a key, in quotes as spelt, is `name`, however it is escaped.
pub(crate) fn is_key(spelt: &str, name: &str) -> bool {
    if spelt.contains('\\') {
        return serde_json::from_str::<String>(spelt).is_ok_and(|key| key == name);
    }
    spelt.get(1..spelt.len().saturating_sub(1)) == Some(name)
}

/// Where the string that begins at `start` with its quote ends, behind its last quote.
pub(crate) fn string_end(bytes: &[u8], start: usize) -> usize {
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
    fn what_is_no_container_has_no_parts() {
        for text in ["", "null", "12", "\"{}\"", "{}", "[]", " [ ] "] {
            assert_eq!(elements(text).count(), 0, "{text:?}");
        }
    }

    #[test]
    fn depth_counts_the_deepest_nesting_and_costs_no_stack() {
        let deep = format!("{{\"a\":1,\"b\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        let mut walk = Walk::of(&deep);
        while walk.member().is_some() {}
        assert_eq!(walk.deepest(), 100_001);
    }

    #[test]
    fn an_escaped_key_is_recognised() {
        assert!(is_key(r#""\u0074oken""#, "token"));
        assert!(is_key(r#""token""#, "token"));
        assert!(!is_key(r#""tokens""#, "token"));
    }
}
