//! Insisting, against the memory broker's faults and under paused time.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use super::*;
use crate::{BODY_LIMIT, Inlet, Lane, memory::Memory};

const TO: Target = Target::Lane(Lane::Fast, None);
const FAST: Inlet = Inlet::Lane(Lane::Fast);

fn calm() -> Memory {
    Memory::calm(Arc::new(|| 1_790_000_000_000))
}

/// Patience, and what ends it.
fn patience(limit: Option<Duration>) -> (Patience, watch::Sender<bool>) {
    let (sender, stop) = watch::channel(false);
    (Patience { stop, limit }, sender)
}

#[tokio::test(start_paused = true)]
async fn a_message_refused_some_times_gets_there_in_the_end() {
    let memory = calm();
    for nth in 1..=5 {
        memory.nack_confirm(nth);
    }
    let (patience, _stop) = patience(None);
    assert_eq!(insist(&memory, &TO, &Message::default(), patience).await, Ok(()));
    assert_eq!(memory.depth(FAST), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lost_confirm_makes_a_second_copy_rather_than_none() {
    let memory = calm();
    memory.lose_confirm(1);
    let (patience, _stop) = patience(None);
    assert_eq!(insist(&memory, &TO, &Message::default(), patience).await, Ok(()));
    assert_eq!(memory.depth(FAST), 2);
}

#[tokio::test(start_paused = true)]
async fn while_the_broker_is_blocked_it_waits_for_the_end_of_that() {
    let memory = calm();
    memory.block("alarm");
    let (patience, _stop) = patience(None);
    let start = Instant::now();
    let unblocked = async {
        tokio::time::sleep(Duration::from_secs(3600)).await;
        memory.unblock();
    };
    let message = Message::default();
    let (sent, ()) = tokio::join!(insist(&memory, &TO, &message, patience), unblocked);
    assert_eq!(sent, Ok(()));
    assert!(start.elapsed() < Duration::from_secs(3601), "it notices at once");
}

#[tokio::test(start_paused = true)]
async fn patience_with_a_limit_ends_with_the_last_error() {
    let memory = calm();
    memory.go_away("cut");
    let (patience, _stop) = patience(Some(Duration::from_secs(10)));
    let start = Instant::now();
    let gave_up = insist(&memory, &TO, &Message::default(), patience).await;
    assert_eq!(gave_up, Err(PublishError::Away("cut".into())));
    assert_eq!(start.elapsed(), Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_patience_at_once() {
    let memory = calm();
    memory.go_away("cut");
    let (patience, stop) = patience(None);
    stop.send_replace(true);
    let start = Instant::now();
    assert!(insist(&memory, &TO, &Message::default(), patience).await.is_err());
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_confirm_that_does_not_come_ends_with_the_limit() {
    let memory = calm();
    memory.delay_confirms(Duration::from_secs(3600));
    let (patience, _stop) = patience(Some(Duration::from_secs(60)));
    let start = Instant::now();
    let gave_up = insist(&memory, &TO, &Message::default(), patience).await;
    assert!(matches!(gave_up, Err(PublishError::Lost(_))), "{gave_up:?}");
    assert_eq!(start.elapsed(), Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_for_a_confirm_only_while_the_broker_flows() {
    let memory = calm();
    memory.delay_confirms(Duration::from_secs(3600));
    let (patience, stop) = patience(None);
    stop.send_replace(true);
    let start = Instant::now();
    let blocked = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        memory.block("alarm");
    };
    let message = Message::default();
    let (gave_up, ()) = tokio::join!(insist(&memory, &TO, &message, patience), blocked);
    assert!(matches!(gave_up, Err(PublishError::Lost(_))), "{gave_up:?}");
    assert_eq!(start.elapsed(), Duration::from_secs(5));
}

#[tokio::test]
async fn nobody_insists_on_what_is_too_large() {
    let memory = calm();
    let giant = Message { body: Bytes::from(vec![b' '; BODY_LIMIT + 1]), ..Message::default() };
    let (patience, _stop) = patience(None);
    assert_eq!(insist(&memory, &TO, &giant, patience).await, Err(PublishError::TooLarge));
}
