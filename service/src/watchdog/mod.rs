//! The watchdog of a loop that should run for ever. The loop reports its turns and its pending messages, and liveness
//! probes ask whether it makes progress. An idle loop is alive, and so is one that waits for the broker: the loop says
//! at each turn whether messages can flow.

mod age_counter;

use std::{
    cell::Cell,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use schemas::time::millis;
use tokio::time::Instant;

pub use age_counter::{AgeCounter, EntryRound};

/// Interval between two turns of a watched loop, also when nothing happens.
pub const TURN: Duration = Duration::from_secs(10);

/// Longest time of one turn: the loop only accepts work and hands it on.
const LONGEST_TURN: Duration = Duration::from_secs(60);

/// Longest time that a message is pending while messages flow: an attempt takes a minute at most, waiting for a slot a
/// few minutes, and a publish that is refused counts anew with each try. RabbitMQ closes a consumer that has held a
/// message for twice as long.
const LONGEST_HANDLING: Duration = Duration::from_secs(15 * 60);

const ROUNDS: usize = (LONGEST_HANDLING.as_secs() / TURN.as_secs()) as usize + 1;

tokio::task_local! {
    /// The message that this task handles.
    static IN_HAND: InHand;
}

/// Progress of one loop. Times are arguments.
pub struct Watchdog {
    start: Instant,
    /// Milliseconds from the start to the last turn, plus one; 0 before the first turn.
    turned: AtomicU64,
    in_hand: AgeCounter<ROUNDS>,
}

/// One pending message; its drop ends the count.
struct InHand {
    watchdog: Arc<Watchdog>,
    since: Cell<EntryRound>,
}

impl Watchdog {
    pub fn new(now: Instant) -> Arc<Self> {
        Arc::new(Self { start: now, turned: AtomicU64::new(0), in_hand: AgeCounter::default() })
    }

    /// Notes a turn of the loop, which is due every [`TURN`]. Pending messages age only while messages `flow`.
    pub fn turn(&self, now: Instant, flow: bool) {
        self.turned.store(self.ms(now), Relaxed);
        if flow {
            self.in_hand.turn();
        }
    }

    /// Counts one message as pending until `handling` ends.
    pub fn hold<F: Future>(self: Arc<Self>, handling: F) -> impl Future<Output = F::Output> {
        let since = Cell::new(self.in_hand.enter());
        IN_HAND.scope(InHand { watchdog: self, since }, handling)
    }

    /// Fails when the loop is stuck, with the reason. A loop that has not begun waits for something else, and is alive.
    pub fn alive(&self, now: Instant) -> Result<(), String> {
        let turned = self.turned.load(Relaxed);
        let since = self.ms(now).saturating_sub(turned);
        if turned > 0 && Duration::from_millis(since) > LONGEST_TURN {
            return Err(format!("its loop has not turned for {} s", since / 1_000));
        }
        match self.in_hand.overdue() {
            0 => Ok(()),
            count => Err(format!("{count} in hand for more than {} min", LONGEST_HANDLING.as_secs() / 60)),
        }
    }

    fn ms(&self, now: Instant) -> u64 {
        millis(now.saturating_duration_since(self.start)).saturating_add(1)
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.watchdog.in_hand.leave(self.since.get());
    }
}

/// Resets the age of the message that this task handles, for a handler that repeats a request: every answer, also a
/// refusal, shows progress. Outside of [`Watchdog::hold`] it does nothing.
pub fn renew() {
    let _ = IN_HAND.try_with(|InHand { watchdog, since }| {
        watchdog.in_hand.leave(since.get());
        since.set(watchdog.in_hand.enter());
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_stops_turning_is_reported_after_a_minute() {
        let start = Instant::now();
        let (watchdog, at) = (Watchdog::new(start), |seconds| start + Duration::from_secs(seconds));
        assert_eq!(watchdog.alive(at(3_600)), Ok(()), "it has not begun");
        watchdog.turn(at(3_600), true);
        assert_eq!(watchdog.alive(at(3_660)), Ok(()));
        assert_eq!(watchdog.alive(at(3_661)), Err("its loop has not turned for 61 s".to_owned()));
        watchdog.turn(at(3_662), true);
        assert_eq!(watchdog.alive(at(3_662)), Ok(()));
    }

    #[tokio::test]
    async fn a_message_in_hand_grows_older_only_while_messages_flow_and_young_again_when_renewed() {
        let start = Instant::now();
        let (watchdog, mut seconds) = (Watchdog::new(start), 0);
        let mut turn_for = |minutes: u64, flow| {
            let end = seconds + minutes * 60;
            while seconds < end {
                seconds += TURN.as_secs();
                watchdog.turn(start + Duration::from_secs(seconds), flow);
            }
            watchdog.alive(start + Duration::from_secs(seconds))
        };
        let overdue = Err("1 in hand for more than 15 min".to_owned());
        let handling = async {
            assert_eq!(turn_for(10, true), Ok(()));
            assert_eq!(turn_for(60, false), Ok(()), "nothing flows");
            renew();
            assert_eq!(turn_for(10, true), Ok(()), "it was renewed");
            assert_eq!(turn_for(6, true), overdue);
        };
        watchdog.clone().hold(handling).await;
        assert_eq!(turn_for(1, true), Ok(()), "it is done");
    }
}
