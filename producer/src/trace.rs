//! The trace context that travels with an event. Passed on when it is well-formed, else dropped; never made here.

use schemas::{HeaderValue, Headers, wire};

/// W3C Trace Context 1, 3.3.1.5: vendors "SHOULD propagate at least 512 characters"; more does not fit beside the rest.
const MAX_STATE: usize = 512;

/// A `traceparent` and its `tracestate`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    parent: Option<String>,
    state: Option<String>,
}

impl Trace {
    /// From the headers of these names. A state without its parent means nothing.
    pub fn of(parent: Option<&str>, state: Option<&str>) -> Self {
        let Some(parent) = parent.filter(|parent| is_parent(parent)) else { return Self::default() };
        let state = state.filter(|state| is_state(state)).map(str::to_owned);
        Self { parent: Some(parent.to_owned()), state }
    }

    pub(crate) fn write_to(&self, headers: &mut Headers) {
        for (name, value) in [(wire::TRACEPARENT, &self.parent), (wire::TRACESTATE, &self.state)] {
            if let Some(value) = value {
                headers.set(name, HeaderValue::Text(value.as_str().into()));
            }
        }
    }
}

/// `<version>-<trace id>-<parent id>-<flags>`, in lower-case hex. Only version 00 is known, so only that is passed on.
fn is_parent(text: &str) -> bool {
    let is_hex = |part: &str, digits: usize| {
        part.len() == digits && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let is_some = |part: &str| part.bytes().any(|b| b != b'0');
    match text.split('-').collect::<Vec<_>>()[..] {
        ["00", trace, parent, flags] => {
            is_hex(trace, 32) && is_some(trace) && is_hex(parent, 16) && is_some(parent) && is_hex(flags, 2)
        }
        _ => false,
    }
}

fn is_state(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= MAX_STATE
        && text.bytes().all(|b| (b' '..=b'~').contains(&b))
        && text.contains('=')
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_well_formed_context_is_kept() {
        let trace = Trace::of(Some(PARENT), Some("congo=t61rcWkgMzE,rojo=00f067"));
        assert_eq!(trace.parent.as_deref(), Some(PARENT));
        assert_eq!(trace.state.as_deref(), Some("congo=t61rcWkgMzE,rojo=00f067"));
    }

    #[test]
    fn what_is_not_well_formed_is_dropped() {
        for parent in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        ] {
            assert_eq!(Trace::of(Some(parent), Some("a=b")), Trace::default(), "{parent}");
        }
        let long = format!("a={}", "x".repeat(MAX_STATE));
        for state in ["", "a", "a=\u{e9}", &long] {
            assert_eq!(Trace::of(Some(PARENT), Some(state)).state, None, "{state}");
        }
        assert_eq!(Trace::of(None, Some("a=b")), Trace::default());
    }
}
