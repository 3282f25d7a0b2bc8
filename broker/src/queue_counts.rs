//! How much waits in the queues, for people to see.

use schemas::{Headers, wire};

use crate::Queue;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueCounts {
    /// The queues that are there, in the order of [`Queue::ALL`].
    pub queues: Vec<QueueCount>,
    /// Deliveries that wait for their due time.
    pub delayed: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueCount {
    pub queue: Queue,
    /// Messages that can be handed out, without those in consumers' hands.
    pub waiting: u64,
    /// None where only this process can consume (SQLite).
    pub consumers: Option<u32>,
    /// Unix milliseconds since which the oldest of them waits; none where nobody can know, and while nothing waits.
    pub oldest_since: Option<u64>,
}

/// Since when a message waits, in unix milliseconds: since it was accepted, or due. What was published again has waited
/// elsewhere before.
pub(crate) fn waits_since(headers: &Headers) -> Option<u64> {
    let time = |name| headers.int(name).and_then(|at| u64::try_from(at).ok());
    let was_elsewhere = headers.text(wire::REPLAY).is_some() || headers.int(wire::REQUEUED).is_some();
    time(wire::DUE).or_else(|| time(wire::ACCEPTED_AT).filter(|_| !was_elsewhere))
}

#[cfg(test)]
mod tests {
    use schemas::HeaderValue;

    use super::*;

    #[test]
    fn a_message_waits_since_it_was_due_or_accepted_and_a_replay_since_nobody_knows_when() {
        let mut headers = Headers::default();
        assert_eq!(waits_since(&headers), None);
        headers.set(wire::ACCEPTED_AT, HeaderValue::Int(5));
        assert_eq!(waits_since(&headers), Some(5));
        headers.set(wire::REPLAY, HeaderValue::Text("r".into()));
        assert_eq!(waits_since(&headers), None);
        headers.set(wire::DUE, HeaderValue::Int(9));
        assert_eq!(waits_since(&headers), Some(9));
    }
}
