//! A tenant without others has more than can be delivered. Its receivers are healthy, so the slots are the only limit.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use serde_json::json;
use tokio::time::sleep;

use super::{
    Bench, Findings,
    comparison::WARM_UP,
    progress,
    system::System,
    tenant::{BatchPublisher, receiver, tenant_with},
};
use crate::receiver::{Answer, Received};

const TENANT: &str = "alone";
const ENDPOINTS: u32 = 8;
const ANSWER_TIME: Duration = Duration::from_millis(100);
/// How many times what can be delivered is published.
const OVERLOAD: f64 = 1.3;
/// Smallest passing share of what can be delivered.
const SMALLEST_SHARE: f64 = 0.95;

pub(super) async fn run(bench: &Bench<'_>, scenario: &str) -> anyhow::Result<Findings> {
    let delivered = Arc::new(AtomicU64::new(0));
    let counted = delivered.clone();
    let script = move |_: &Received| {
        counted.fetch_add(1, Relaxed);
        Answer::Status(200, ANSWER_TIME)
    };
    let receiver = receiver(script).await?;
    let slots = bench.args.slots;
    let settings = ["deliverer.slots", "deliverer.slow_slots"].map(|key| (key, slots.to_string()));
    let tenants = [tenant_with(TENANT, ENDPOINTS, &receiver.url("/"))];
    let system = System::start(bench, &tenants, &settings).await?;
    let possible = 2.0 * f64::from(slots) / ANSWER_TIME.as_secs_f64();
    let events_per_second = (possible * OVERLOAD / f64::from(ENDPOINTS)).ceil() as u32;
    let publisher = BatchPublisher::new(TENANT, events_per_second, Arc::default());
    let measured = Duration::from_secs(bench.args.seconds.into());
    let mut before = 0;
    let mut after = 0;
    let end = async {
        // Meanwhile the slots are saturated.
        sleep(measured.mul_f64(WARM_UP)).await;
        before = delivered.load(Relaxed);
        progress(scenario, &format!("measures for {} s", measured.as_secs()));
        sleep(measured).await;
        after = delivered.load(Relaxed);
    };
    publisher.run(&system.client, end).await;
    let per_second = (after - before) as f64 / measured.as_secs_f64();
    let deferrals = system.counter("carteiro_deferrals_total").await?;
    let shortened = system.counter("carteiro_timeouts_shortened_total").await?;
    system.end().await?;
    let share = per_second / possible;
    let accepted = publisher.accepted_share();
    Ok(Findings {
        passed: share >= SMALLEST_SHARE && deferrals == 0.0 && shortened == 0.0,
        figures: json!({"per_second": per_second, "possible_per_second": possible, "share": share,
            "deferrals": deferrals, "shortened": shortened, "accepted_share": accepted}),
        lines: vec![format!(
            "{per_second:.0} of {possible:.0} deliveries a second: {share:.2} (at least {SMALLEST_SHARE}), {deferrals} \
             deferrals, {shortened} requests cut short, {:.0} % of the events accepted",
            100.0 * accepted
        )],
    })
}
