//! Publishing until confirmed, against the memory broker's faults and under paused time.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{BODY_LIMIT, Lane, Queue, memory::Memory};

const TO: Target = Target::Lane(Lane::Fast, None);
const FAST_LANE: Queue = Queue::Lane(Lane::Fast);

fn calm_broker() -> Memory {
    Memory::calm(Arc::new(|| 1_790_000_000_000))
}

/// A deadline, and the token whose cancellation ends it early.
fn deadline(limit: Option<Duration>) -> (Deadline, CancellationToken) {
    let stop = CancellationToken::new();
    (Deadline { stop: stop.clone(), limit }, stop)
}

#[tokio::test(start_paused = true)]
async fn a_message_refused_some_times_gets_there_in_the_end() {
    let memory = calm_broker();
    for nth in 1..=5 {
        memory.nack_confirm(nth);
    }
    let (deadline, _stop) = deadline(None);
    assert_eq!(publish_until_confirmed(&memory, &TO, &Message::default(), deadline).await, Ok(()));
    assert_eq!(memory.depth(FAST_LANE), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lost_confirm_makes_a_second_copy_rather_than_none() {
    let memory = calm_broker();
    memory.lose_confirm(1);
    let (deadline, _stop) = deadline(None);
    assert_eq!(publish_until_confirmed(&memory, &TO, &Message::default(), deadline).await, Ok(()));
    assert_eq!(memory.depth(FAST_LANE), 2);
}

#[tokio::test(start_paused = true)]
async fn while_the_broker_is_blocked_it_waits_for_the_end_of_that() {
    let memory = calm_broker();
    memory.block("alarm");
    let (deadline, _stop) = deadline(None);
    let start = Instant::now();
    let unblocked = async {
        tokio::time::sleep(Duration::from_secs(3600)).await;
        memory.unblock();
    };
    let message = Message::default();
    let (sent, ()) = tokio::join!(publish_until_confirmed(&memory, &TO, &message, deadline), unblocked);
    assert_eq!(sent, Ok(()));
    assert!(start.elapsed() < Duration::from_secs(3601), "it notices at once");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_with_the_last_error() {
    let memory = calm_broker();
    memory.go_away("cut");
    let (deadline, _stop) = deadline(Some(Duration::from_secs(10)));
    let start = Instant::now();
    let gave_up = publish_until_confirmed(&memory, &TO, &Message::default(), deadline).await;
    assert_eq!(gave_up, Err(PublishError::Away("cut".into())));
    assert_eq!(start.elapsed(), Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_publishing_at_once() {
    let memory = calm_broker();
    memory.go_away("cut");
    let (deadline, stop) = deadline(None);
    stop.cancel();
    let start = Instant::now();
    assert!(publish_until_confirmed(&memory, &TO, &Message::default(), deadline).await.is_err());
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_confirm_that_does_not_come_ends_with_the_limit() {
    let memory = calm_broker();
    memory.delay_confirms(Duration::from_secs(3600));
    let (deadline, _stop) = deadline(Some(Duration::from_secs(60)));
    let start = Instant::now();
    let gave_up = publish_until_confirmed(&memory, &TO, &Message::default(), deadline).await;
    assert!(matches!(gave_up, Err(PublishError::Lost(_))), "{gave_up:?}");
    assert_eq!(start.elapsed(), Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_for_a_confirm_only_while_the_broker_flows() {
    let memory = calm_broker();
    memory.delay_confirms(Duration::from_secs(3600));
    let (deadline, stop) = deadline(None);
    stop.cancel();
    let start = Instant::now();
    let blocked = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        memory.block("alarm");
    };
    let message = Message::default();
    let (gave_up, ()) = tokio::join!(publish_until_confirmed(&memory, &TO, &message, deadline), blocked);
    assert!(matches!(gave_up, Err(PublishError::Lost(_))), "{gave_up:?}");
    assert_eq!(start.elapsed(), Duration::from_secs(5));
}

#[tokio::test]
async fn a_message_that_is_too_large_is_not_tried_again() {
    let memory = calm_broker();
    let giant = Message { body: Bytes::from(vec![b' '; BODY_LIMIT + 1]), ..Message::default() };
    let (deadline, _stop) = deadline(None);
    assert_eq!(publish_until_confirmed(&memory, &TO, &giant, deadline).await, Err(PublishError::TooLarge));
}
