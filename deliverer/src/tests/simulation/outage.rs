//! One endpoint is down for ten minutes, then up: what the outage costs, and how the backlog is drained.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{
    fleet::Fleet,
    receivers::{Receivers, Trouble},
};
use crate::limits::SlotCounts;

const MINUTE: Duration = Duration::from_secs(60);
/// Beginning and end of the outage, from the beginning of the simulation.
const OUTAGE: (Duration, Duration) = (MINUTE, Duration::from_secs(660));
const PER_SECOND: f64 = 20.0;
const SLOTS: SlotCounts = SlotCounts { fast: 100, slow: 400 };

#[derive(Debug)]
struct Report {
    failed_attempts: usize,
    /// Deliveries owed at the end of the outage.
    backlog: u64,
    /// From the end of the outage to the first attempt.
    noticed: Duration,
    /// From the end of the outage until nothing was owed any more.
    drained: Duration,
    /// Most attempts in one second after the outage.
    fastest: usize,
    most_in_flight: usize,
    deferrals_each: f64,
}

impl Report {
    /// Asserts what holds for every kind of outage.
    fn assert_orderly(&self) {
        assert!(self.backlog > 11_000 && self.deferrals_each < 4.0, "{self:?}");
        // A breaker stays open for two minutes at most, and a fifth of that.
        assert!(self.noticed < Duration::from_secs(145) && self.drained < 5 * MINUTE, "{self:?}");
        // 64 requests of 120 ms come to 533 in a second.
        assert!(self.most_in_flight <= 64 && self.fastest < 530, "{self:?}");
    }
}

async fn outage(trouble: Trouble) -> Report {
    let receivers = Receivers::new(1, |_| trouble, OUTAGE, &json!({}));
    let fleet = Fleet::start(receivers, 2, SLOTS);
    let up = fleet.began() + OUTAGE.1;
    fleet.load(PER_SECOND, OUTAGE.1, None).await;
    let (backlog, deferrals_each) = (fleet.owed(), fleet.totals().deferrals_each());
    let load = fleet.load(PER_SECOND, 10 * MINUTE, None);
    let drained = async {
        // A second's worth of new deliveries may be in flight at any time: that is no backlog.
        while fleet.owed() > PER_SECOND as u64 {
            sleep(Duration::from_secs(1)).await;
        }
        Instant::now() - up
    };
    let (_, drained) = tokio::join!(load, drained);
    let totals = fleet.totals();
    let mut after: Vec<_> = totals.attempts.iter().map(|(began, _)| *began).filter(|began| *began >= up).collect();
    after.sort_unstable();
    let second =
        |from: &Instant| after.iter().filter(|at| (*from..*from + Duration::from_secs(1)).contains(at)).count();
    let report = Report {
        failed_attempts: totals.attempts.iter().filter(|(_, is_success)| !is_success).count(),
        backlog,
        noticed: after[0] - up,
        drained,
        fastest: after.iter().step_by(50).map(second).max().unwrap_or_default(),
        most_in_flight: totals.most_in_flight,
        deferrals_each,
    };
    println!("{trouble:?}: {report:?}");
    report
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_never_answers_for_ten_minutes_costs_a_few_probes_and_is_drained_within_minutes() {
    let report = outage(Trouble::BlackHole).await;
    assert!(report.failed_attempts < 60, "{report:?}");
    report.assert_orderly();
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_refuses_for_ten_minutes_costs_a_few_probes_and_is_drained_within_minutes() {
    let report = outage(Trouble::Refuses).await;
    assert!(report.failed_attempts < 40, "{report:?}");
    report.assert_orderly();
}
