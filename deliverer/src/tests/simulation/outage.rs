//! One endpoint is down for ten minutes, then up: what that costs, and what comes at it then.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{
    fleet::Fleet,
    town::{Town, Trouble},
};
use crate::limits::SlotCounts;

const MINUTE: Duration = Duration::from_secs(60);
const OUTAGE: (Duration, Duration) = (MINUTE, Duration::from_secs(660));
const PER_SECOND: f64 = 20.0;
const LIMITS: SlotCounts = SlotCounts { fast: 100, slow: 400 };

#[derive(Debug)]
struct Report {
    /// Attempts that failed.
    spent: usize,
    backlog: u64,
    /// Until the first success after the outage, and until nothing was owed any more.
    noticed: Duration,
    drained: Duration,
    /// The most attempts in a second after the outage, and the most at once.
    fastest: usize,
    most_under_way: usize,
    parks_each: f64,
}

impl Report {
    /// What must hold whatever kind of outage it was.
    fn is_orderly(&self) {
        assert!(self.backlog > 11_000 && self.parks_each < 4.0, "{self:?}");
        // The longest a breaker stays open, and a fifth.
        assert!(self.noticed < Duration::from_secs(145) && self.drained < 5 * MINUTE, "{self:?}");
        // What a window of 64 and 120 ms come to, at most.
        assert!(self.most_under_way <= 64 && self.fastest < 530, "{self:?}");
    }
}

async fn outage(trouble: Trouble) -> Report {
    let town = Town::new(1, |_| trouble, OUTAGE, &json!({}));
    let fleet = Fleet::start(town, 2, LIMITS);
    let up = fleet.began() + OUTAGE.1;
    fleet.load(PER_SECOND, OUTAGE.1, None).await;
    let backlog = fleet.owed();
    let parks_each = fleet.parks_each();
    let load = fleet.load(PER_SECOND, 10 * MINUTE, None);
    let drained = async {
        // What comes meanwhile is under way for a moment: that is not owed.
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
        spent: totals.attempts.iter().filter(|(_, is_success)| !is_success).count(),
        backlog,
        noticed: after[0] - up,
        drained,
        fastest: after.iter().step_by(50).map(second).max().unwrap_or_default(),
        most_under_way: totals.most_under_way,
        parks_each,
    };
    println!("{trouble:?}: {report:?}");
    report
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_never_answers_for_ten_minutes_costs_a_few_probes_and_is_drained_within_minutes() {
    let report = outage(Trouble::BlackHole).await;
    assert!(report.spent < 60, "{report:?}");
    report.is_orderly();
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_where_nobody_listens_for_ten_minutes_costs_a_few_probes_and_is_drained_within_minutes() {
    let report = outage(Trouble::Refuses).await;
    assert!(report.spent < 40, "{report:?}");
    report.is_orderly();
}
