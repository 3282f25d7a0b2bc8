//! The status of a deliverer's consumers while nothing goes on for a good reason: none of these calls for a restart.

use std::time::Duration;

use broker::Lane;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::fixture::{Fixture, delivery, message};

const MINUTE: Duration = Duration::from_secs(60);

impl Fixture {
    /// What the consumers of the lanes complain about.
    fn stuck(&self) -> Vec<String> {
        let lanes = [Lane::Fast, Lane::Slow].map(|lane| self.deliverer.consumer_status(lane));
        lanes.into_iter().filter_map(|status| status.alive(Instant::now()).err()).collect()
    }

    async fn stays_alive_for(&self, minutes: u32) {
        for minute in 0..minutes {
            assert_eq!(self.stuck(), [""; 0], "minute {minute}");
            sleep(MINUTE).await;
        }
    }
}

/// A deliverer whose attempts all fail without a network, so that it has to publish what follows.
fn fixture() -> Fixture {
    Fixture::guarded(
        &json!([{"id": "crm", "url": "http://127.0.0.1:9/", "retry": {"schedule": ["1h"], "max_age": "72h"}}]),
    )
}

#[tokio::test(start_paused = true)]
async fn an_idle_deliverer_is_alive_and_so_is_one_without_a_snapshot() {
    let (idle, waiting) = (fixture(), Fixture::without_snapshot(&super::config()));
    for _ in 0..4 {
        idle.stays_alive_for(60).await;
        assert_eq!(waiting.stuck(), [""; 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_deliverer_is_alive_while_the_broker_takes_nothing_or_is_away_for_hours() {
    let fixture = fixture();
    for away in [false, true] {
        fixture.publish(&message(&delivery("e1"))).await;
        if away {
            fixture.memory.go_away("on purpose");
        } else {
            fixture.memory.block("on purpose");
        }
        // The delivery is held meanwhile.
        fixture.stays_alive_for(90).await;
        fixture.memory.come_back();
        fixture.stays_alive_for(120).await;
    }
}
