//! What a consumer has in hand: messages that were handed out and are not settled. They bound what the broker may send,
//! which AMQP's prefetch alone cannot: it counts messages, whatever their size.
//!
//! Each session begins with a prefetch of a few messages. It grows by what has come, and when the messages in hand are too
//! large all the same, nothing more is asked for until half of their bytes are settled.

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

/// A consumer that asks for more, by its prefetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Growth {
    /// Instead of those that are open.
    Instead(u16),
    /// Beside those that are open.
    Beside(u16),
}

/// Counts the messages in hand of one consumer, over all sessions.
pub(super) struct InHand {
    limit: Prefetch,
    messages: AtomicUsize,
    bytes: AtomicUsize,
    /// Notified when half of the bytes are free again.
    room: Notify,
}

/// The number of messages in hand that came from the AMQP consumers that are open together. Clones share it.
#[derive(Clone, Default)]
pub(super) struct FromOpen(Arc<AtomicUsize>);

/// One message in hand. Its drop says that the message is settled.
pub(super) struct HeldMessage {
    in_hand: Arc<InHand>,
    from: FromOpen,
    bytes: usize,
}

impl InHand {
    pub(super) fn new(limit: Prefetch) -> Arc<Self> {
        Arc::new(Self { limit, messages: AtomicUsize::new(0), bytes: AtomicUsize::new(0), room: Notify::new() })
    }

    pub(super) fn hold(self: &Arc<Self>, from: &FromOpen, bytes: usize) -> HeldMessage {
        from.0.fetch_add(1, Relaxed);
        self.messages.fetch_add(1, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
        HeldMessage { in_hand: self.clone(), from: from.clone(), bytes }
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

    /// The prefetch of the first consumer, beside the messages of earlier ones.
    pub(super) fn first(&self) -> u16 {
        self.only(FIRST_PREFETCH)
    }

    /// The prefetch of an only consumer that should have this one, beside the messages of earlier ones.
    pub(super) fn only(&self, prefetch: u16) -> u16 {
        prefetch.min(self.room_beside(0)).max(1)
    }

    /// How to ask for more, beside consumers whose prefetches add up to `open` and the messages of earlier ones. `None`
    /// while these suffice or the messages are too large for more.
    pub(super) fn growth(&self, open: u16, from: &FromOpen) -> Option<Growth> {
        let (from_open, messages) = (from.0.load(Relaxed), self.messages.load(Relaxed));
        if open >= self.limit.messages || from_open < filled(open) {
            return None;
        }
        let mean = self.bytes.load(Relaxed) / messages.max(1);
        let more = more(open, self.limit, self.room_beside(from_open), mean)?;
        Some(match open + more {
            // Messages of several consumers come in turns, and are acknowledged on as many channels.
            both if both <= MAX_PREFETCH && more >= open => Growth::Instead(both),
            _ => Growth::Beside(more),
        })
    }

    /// How many messages may be in hand beside those that are left of earlier consumers.
    fn room_beside(&self, from_open: usize) -> u16 {
        let left_over = self.messages.load(Relaxed).saturating_sub(from_open);
        self.limit.messages.saturating_sub(u16::try_from(left_over).unwrap_or(u16::MAX))
    }
}

impl Drop for HeldMessage {
    fn drop(&mut self) {
        let (in_hand, half) = (&self.in_hand, self.in_hand.limit.bytes / 2);
        self.from.0.fetch_sub(1, Relaxed);
        in_hand.messages.fetch_sub(1, Relaxed);
        let before = in_hand.bytes.fetch_sub(self.bytes, Relaxed);
        if before > half && before - self.bytes <= half {
            in_hand.room.notify_one();
        }
    }
}

/// Messages in hand that show a prefetch to be used: a quarter, since as many again may be on their way, as
/// acknowledgements or as messages.
fn filled(open: u16) -> usize {
    usize::from(open.div_ceil(4).max(FIRST_PREFETCH.min(open)))
}

/// How much to add to a prefetch of `open`, so that it is at most `room`, and as many messages of `mean` bytes have at most
/// `limit.bytes`.
fn more(open: u16, limit: Prefetch, room: u16, mean: usize) -> Option<u16> {
    let fitting = u16::try_from(limit.bytes / mean.max(1)).unwrap_or(u16::MAX);
    let wanted = open.saturating_mul(GROWTH).min(room).min(fitting);
    // A consumer more is not worth a small difference, unless it is the last one.
    let is_worth_it = wanted >= open.saturating_add(open.div_ceil(4)) || wanted == limit.messages;
    (wanted > open && is_worth_it).then(|| (wanted - open).min(MAX_PREFETCH))
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use proptest::prelude::*;

    use super::*;

    const MIB: usize = 1024 * 1024;

    /// The prefetch that a full queue of messages of one size leads to, and the number of consumers.
    fn grown(in_hand: &Arc<InHand>, size: usize) -> (u16, usize) {
        let from = FromOpen::default();
        let (mut open, mut consumers, mut held) = (in_hand.first(), 1, Vec::new());
        loop {
            held.resize_with(open.into(), || in_hand.hold(&from, size));
            match in_hand.growth(open, &from) {
                Some(Growth::Instead(prefetch)) => (open, consumers) = (prefetch, 1),
                Some(Growth::Beside(more)) => (open, consumers) = (open + more, consumers + 1),
                None => return (open, consumers),
            }
        }
    }

    #[test]
    fn small_messages_fill_the_whole_prefetch_with_few_consumers() {
        assert_eq!(grown(&InHand::new(Prefetch { messages: 400, bytes: 64 * MIB }), 1_000), (400, 1));
        assert_eq!(grown(&InHand::new(Prefetch { messages: 2_048, bytes: 128 * MIB }), 1_000), (2_048, 5));
        assert_eq!(grown(&InHand::new(Prefetch::from(1)), 1_000), (1, 1));
        assert_eq!(grown(&InHand::new(Prefetch::from(5)), 0), (5, 2));
    }

    #[test]
    fn large_messages_keep_it_small() {
        assert_eq!(grown(&InHand::new(Prefetch { messages: 400, bytes: 64 * MIB }), MIB), (64, 2));
        assert_eq!(grown(&InHand::new(Prefetch { messages: 400, bytes: 64 * MIB }), 15 * MIB), (4, 1));
    }

    #[test]
    fn a_prefetch_of_which_less_than_a_quarter_is_used_does_not_grow() {
        let (in_hand, from) = (InHand::new(Prefetch::from(400)), FromOpen::default());
        let mut held: Vec<_> = (0..9).map(|_| in_hand.hold(&from, 1)).collect();
        assert_eq!(in_hand.growth(40, &from), None);
        held.push(in_hand.hold(&from, 1));
        assert_eq!(in_hand.growth(40, &from), Some(Growth::Instead(400)));
        held.truncate(3);
        assert_eq!(in_hand.growth(4, &from), None);
    }

    #[test]
    fn messages_of_earlier_consumers_count_against_the_prefetch_until_they_are_settled() {
        let (in_hand, earlier) = (InHand::new(Prefetch::from(400)), FromOpen::default());
        let mut left_over: Vec<_> = (0..400).map(|_| in_hand.hold(&earlier, 1)).collect();
        assert_eq!((in_hand.first(), grown(&in_hand, 1)), (1, (1, 1)));
        left_over.truncate(300);
        assert_eq!(grown(&in_hand, 1), (100, 1));
        left_over.truncate(280);
        let from = FromOpen::default();
        let _held: Vec<_> = (0..100).map(|_| in_hand.hold(&from, 1)).collect();
        assert_eq!(in_hand.growth(100, &from), None, "no consumer is opened for each that is settled");
        left_over.clear();
        assert_eq!(in_hand.growth(100, &from), Some(Growth::Instead(400)));
    }

    #[tokio::test]
    async fn room_is_made_when_half_of_the_bytes_are_settled() {
        let (in_hand, from) = (InHand::new(Prefetch { messages: 9, bytes: 100 }), FromOpen::default());
        let mut held: Vec<_> = (0..5).map(|_| in_hand.hold(&from, 30)).collect();
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
            open in 1..3_000_u16, most in 1..3_000_u16, left_over in 0..3_000_u16, bytes in 1..MIB, mean in 0..10_000_usize
        ) {
            let (limit, room) = (Prefetch { messages: most, bytes }, most.saturating_sub(left_over));
            if let Some(more) = more(open, limit, room, mean) {
                prop_assert!((1..=MAX_PREFETCH).contains(&more) && open + more <= room);
                prop_assert!(usize::from(open + more) * mean <= bytes);
            }
        }
    }
}
