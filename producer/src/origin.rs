//! Reads from a request's headers where its events come from: a trace context, and through how many deliveries.

use axum::http::HeaderMap;
use schemas::{
    TraceContext,
    wire::{HOPS, MAX_TRACESTATE_BYTES, TRACEPARENT, TRACESTATE},
};

/// Where an event comes from. It is passed on to the event's deliveries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventOrigin {
    /// Through how many deliveries the event has come.
    pub hops: u32,
    pub trace: TraceContext,
}

impl EventOrigin {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        Self { hops: text(HOPS).map_or(0, hops), trace: trace_context(text(TRACEPARENT), text(TRACESTATE)) }
    }
}

/// The hops in a header: digits, or 0 for any other text. What no number can hold is the most.
fn hops(text: &str) -> u32 {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.parse().unwrap_or(u32::MAX) } else { 0 }
}

/// The context of the headers `traceparent` and `tracestate`. A well-formed one is passed on, any other is dropped, and
/// none is made here. A state without a valid parent is dropped.
fn trace_context(parent: Option<&str>, state: Option<&str>) -> TraceContext {
    let Some(parent) = parent.filter(|parent| is_parent(parent)) else { return TraceContext::default() };
    let state = state.filter(|state| is_state(state)).map(str::to_owned);
    TraceContext { parent: Some(parent.to_owned()), state }
}

/// True for `<version>-<trace id>-<parent id>-<flags>` in lower-case hex. Only version 00 is known and passed on.
fn is_parent(text: &str) -> bool {
    let is_hex = |part: &str, digits: usize| {
        part.len() == digits && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let is_not_zero = |part: &str| part.bytes().any(|b| b != b'0');
    match text.split('-').collect::<Vec<_>>()[..] {
        ["00", trace, parent, flags] => {
            is_hex(trace, 32) && is_not_zero(trace) && is_hex(parent, 16) && is_not_zero(parent) && is_hex(flags, 2)
        }
        _ => false,
    }
}

fn is_state(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= MAX_TRACESTATE_BYTES
        && text.bytes().all(|b| (b' '..=b'~').contains(&b))
        && text.contains('=')
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn hops_that_are_missing_or_no_number_are_none_and_no_number_is_too_large() {
        for (text, expected) in [
            (None, 0),
            (Some("3"), 3),
            (Some("004"), 4),
            (Some("99999999999999999999999"), u32::MAX),
            (Some("-4"), 0),
            (Some("+4"), 0),
            (Some("4.5"), 0),
            (Some("four"), 0),
            (Some(""), 0),
        ] {
            let headers = text.map(|text| (HOPS.parse().unwrap(), text.parse().unwrap())).into_iter().collect();
            assert_eq!(EventOrigin::of(&headers).hops, expected, "{text:?}");
        }
    }

    #[test]
    fn a_well_formed_context_is_kept() {
        let trace = trace_context(Some(PARENT), Some("congo=t61rcWkgMzE,rojo=00f067"));
        assert_eq!(trace.parent.as_deref(), Some(PARENT));
        assert_eq!(trace.state.as_deref(), Some("congo=t61rcWkgMzE,rojo=00f067"));
    }

    #[test]
    fn a_malformed_context_is_dropped() {
        for parent in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        ] {
            assert_eq!(trace_context(Some(parent), Some("a=b")), TraceContext::default(), "{parent}");
        }
        let long = format!("a={}", "x".repeat(MAX_TRACESTATE_BYTES));
        for state in ["", "a", "a=\u{e9}", &long] {
            assert_eq!(trace_context(Some(PARENT), Some(state)).state, None, "{state}");
        }
        assert_eq!(trace_context(None, Some("a=b")), TraceContext::default());
    }
}
