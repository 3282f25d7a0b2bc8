//! What a consumer has in hand: messages that were handed out and are not settled. They bound what the broker may send,
//! which AMQP's prefetch alone cannot: it counts messages, whatever their size.
//!
//! Each session begins with a prefetch that messages of the largest size fill harmlessly. It grows by what has come, and
//! when the messages in hand are too large all the same, nothing more is asked for until half of their bytes are settled.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use tokio::sync::Notify;

use crate::Prefetch;

/// Largest prefetch of one AMQP consumer. A quorum queue sends one consumer hardly more
/// (docs/rabbitmq.md#the-prefetch-of-a-quorum-queue), so a larger prefetch takes several consumers.
const MAX_PREFETCH: u16 = 500;
/// The first prefetch, before the size of any message is known.
const FIRST_PREFETCH: u16 = 4;
/// A prefetch grows at most by this factor at a time.
const GROWTH: u16 = 10;

/// Counts the messages in hand of one consumer, over all sessions.
pub(super) struct InHand {
    limit: Prefetch,
    messages: AtomicUsize,
    bytes: AtomicUsize,
    /// Notified when half of the bytes are free again.
    room: Notify,
}

/// One message in hand. Its drop says that the message is settled.
pub(super) struct HeldMessage {
    in_hand: Arc<InHand>,
    bytes: usize,
}

impl InHand {
    pub(super) fn new(limit: Prefetch) -> Arc<Self> {
        let limit = Prefetch { messages: limit.messages.max(1), ..limit };
        Arc::new(Self { limit, messages: AtomicUsize::new(0), bytes: AtomicUsize::new(0), room: Notify::new() })
    }

    pub(super) fn hold(self: &Arc<Self>, bytes: usize) -> HeldMessage {
        self.messages.fetch_add(1, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
        HeldMessage { in_hand: self.clone(), bytes }
    }

    pub(super) fn messages(&self) -> usize {
        self.messages.load(Relaxed)
    }

    /// True when nothing more should be asked for.
    pub(super) fn is_full(&self) -> bool {
        self.bytes.load(Relaxed) > self.limit.bytes
    }

    /// Returns once at most half of the bytes are in hand.
    pub(super) async fn half_free(&self) {
        while self.bytes.load(Relaxed) > self.limit.bytes / 2 {
            self.room.notified().await;
        }
    }

    /// The prefetch of the first consumer, while `left_over` messages of earlier consumers are in hand.
    pub(super) fn first(&self, left_over: usize) -> u16 {
        FIRST_PREFETCH.min(room_beside(left_over, self.limit.messages)).max(1)
    }

    /// The prefetch of one more consumer, beside consumers whose prefetches add up to `open` and `left_over` messages of
    /// earlier ones; `None` while these suffice or the messages are too large for more.
    pub(super) fn one_more(&self, open: u16, left_over: usize) -> Option<u16> {
        let messages = room_beside(left_over, self.limit.messages);
        let limit = Prefetch { messages, ..self.limit };
        more(open, limit, self.messages(), self.bytes.load(Relaxed))
    }
}

impl Drop for HeldMessage {
    fn drop(&mut self) {
        let (in_hand, half) = (&self.in_hand, self.in_hand.limit.bytes / 2);
        in_hand.messages.fetch_sub(1, Relaxed);
        let before = in_hand.bytes.fetch_sub(self.bytes, Relaxed);
        if before > half && before - self.bytes <= half {
            in_hand.room.notify_one();
        }
    }
}

fn room_beside(left_over: usize, messages: u16) -> u16 {
    messages.saturating_sub(u16::try_from(left_over).unwrap_or(u16::MAX))
}

/// How much to add to a prefetch of `open` that `messages` of `bytes` altogether have filled, so that it is at most
/// `limit.messages`, and as many messages of their mean size have at most `limit.bytes`.
fn more(open: u16, limit: Prefetch, messages: usize, bytes: usize) -> Option<u16> {
    if open >= limit.messages || messages < usize::from(open) {
        return None;
    }
    let fitting = limit.bytes / (bytes / messages.max(1)).max(1);
    let fitting = u16::try_from(fitting).unwrap_or(u16::MAX);
    let wanted = open.saturating_mul(GROWTH).min(limit.messages).min(fitting);
    // A consumer more is not worth a small difference.
    let is_worth_it = wanted >= open.saturating_mul(2) || wanted == limit.messages;
    (wanted > open && is_worth_it).then(|| (wanted - open).min(MAX_PREFETCH))
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use proptest::prelude::*;

    use super::*;

    const MIB: usize = 1024 * 1024;

    /// The prefetch that a full queue of messages of one size leads to, and the number of consumers.
    fn grown(limit: Prefetch, size: usize) -> (u16, usize) {
        let in_hand = InHand::new(limit);
        let (mut open, mut consumers, mut held) = (in_hand.first(0), 1, Vec::new());
        loop {
            held.resize_with(open.into(), || in_hand.hold(size));
            let Some(more) = in_hand.one_more(open, 0) else { return (open, consumers) };
            (open, consumers) = (open + more, consumers + 1);
        }
    }

    #[test]
    fn small_messages_fill_the_whole_prefetch_with_few_consumers() {
        assert_eq!(grown(Prefetch { messages: 400, bytes: 64 * MIB }, 1_000), (400, 3));
        assert_eq!(grown(Prefetch { messages: 2_048, bytes: 128 * MIB }, 1_000), (2_048, 7));
        assert_eq!(grown(Prefetch::from(1), 1_000), (1, 1));
        assert_eq!(grown(Prefetch::from(5), 0), (5, 2));
    }

    #[test]
    fn large_messages_keep_it_small() {
        assert_eq!(grown(Prefetch { messages: 400, bytes: 64 * MIB }, MIB), (40, 2));
        assert_eq!(grown(Prefetch { messages: 400, bytes: 64 * MIB }, 15 * MIB), (4, 1));
    }

    #[test]
    fn a_prefetch_that_is_not_filled_does_not_grow() {
        let in_hand = InHand::new(Prefetch::from(400));
        let _held = [in_hand.hold(1), in_hand.hold(1), in_hand.hold(1)];
        assert_eq!(in_hand.one_more(4, 0), None);
    }

    #[test]
    fn messages_of_earlier_consumers_count_against_the_prefetch() {
        let in_hand = InHand::new(Prefetch::from(400));
        assert_eq!((in_hand.first(0), in_hand.first(398), in_hand.first(400)), (4, 2, 1));
        let _held: Vec<_> = (0..400).map(|_| in_hand.hold(1)).collect();
        assert_eq!(in_hand.one_more(4, 390), Some(6));
        assert_eq!(in_hand.one_more(4, 396), None);
    }

    #[tokio::test]
    async fn room_is_made_when_half_of_the_bytes_are_settled() {
        let in_hand = InHand::new(Prefetch { messages: 9, bytes: 100 });
        let mut held: Vec<_> = (0..5).map(|_| in_hand.hold(30)).collect();
        assert!(in_hand.is_full());
        for _ in 0..3 {
            held.pop();
            assert!(in_hand.half_free().now_or_never().is_none(), "{} of 5 are in hand", held.len());
        }
        let settled = async { drop(held.pop()) };
        tokio::join!(in_hand.half_free(), settled);
    }

    proptest! {
        #[test]
        fn a_prefetch_never_grows_beyond_its_limits(
            open in 1..3_000_u16, most in 1..3_000_u16, bytes in 1..MIB, messages in 1..5_000_usize, size in 0..10_000_usize
        ) {
            let limit = Prefetch { messages: most, bytes };
            if let Some(more) = more(open, limit, messages, messages * size) {
                prop_assert!((1..=MAX_PREFETCH).contains(&more) && open + more <= most);
                prop_assert!(usize::from(open + more) * size <= bytes);
            }
        }
    }
}
