//! Tenants beside each other, and one that is alone: nobody waits for what another one does, and a tenant that is alone
//! has every slot.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tokio::time::sleep;

use super::{
    fleet::{Fleet, TenantTotals, p99},
    receivers::{ACME, Receivers, Tenant, Trouble},
};
use crate::limits::SlotCounts;

const MIB: usize = 1024 * 1024;
const NEIGHBOUR: Tenant = Tenant { id: "neighbour", body_bytes: 1_000 };
const SLOTS: SlotCounts = SlotCounts { fast: 64, slow: 256 };
const ALWAYS: (Duration, Duration) = (Duration::ZERO, Duration::from_secs(86_400));
const MINUTE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

/// One deliverer, whose first `large` endpoints are `tenant`'s and in trouble. Ten more are the neighbour's and healthy.
fn start(tenant: Tenant, large: usize, trouble: Trouble, slots: SlotCounts, bytes: usize) -> Arc<Fleet> {
    let trouble = |nth| if nth < large { trouble } else { Trouble::Takes(20) };
    let receivers = Receivers::new(large + 10, trouble, ALWAYS, &json!({}))
        .of_tenants(|nth| if nth < large { tenant } else { NEIGHBOUR });
    Fleet::start_with(receivers, 1, slots, bytes)
}

fn of_neighbour(name: &str, fleet: &Fleet) -> TenantTotals {
    let mut totals = fleet.totals();
    let (acme, neighbour) = (totals.of(ACME.id).clone(), totals.of(NEIGHBOUR.id).clone());
    println!(
        "{name}: p99 {} ms and longest {} ms of {} first attempts, {:?} ms of {} retries; acme: {} delivered, {} deferrals",
        p99(&neighbour.delays),
        neighbour.delays.iter().max().unwrap(),
        neighbour.delays.len(),
        neighbour.retry_delays.iter().max(),
        neighbour.retry_delays.len(),
        acme.delivered,
        acme.deferrals,
    );
    neighbour
}

/// Lets one tenant saturate the slots with endpoints that answer after so many ms, and returns the part of the slots
/// that it uses.
async fn alone(endpoints: usize, max_in_flight: u32, takes_ms: u64, slots: SlotCounts) -> f64 {
    let conf = json!({"max_in_flight": max_in_flight});
    let receivers = Receivers::new(endpoints, |_| Trouble::Takes(takes_ms), ALWAYS, &conf);
    let fleet = Fleet::start(receivers, 1, slots);
    let most = f64::from(slots.fast + slots.slow) * 1_000.0 / takes_ms as f64;
    fleet.load_any(most / 2.0, 5 * SECOND, 0..endpoints).await;
    let totals = || {
        let totals = fleet.totals();
        (totals.delivered, totals.deferrals, totals.cut_short)
    };
    // More than can be delivered.
    let load = fleet.load_any(most * 1.2, 15 * SECOND, 0..endpoints);
    let measured = async {
        sleep(5 * SECOND).await;
        let before = totals();
        sleep(10 * SECOND).await;
        (before, totals())
    };
    let (_, (before, after)) = tokio::join!(load, measured);
    let used = (after.0 - before.0) as f64 / 10.0 / most;
    println!("{endpoints} endpoints of {takes_ms} ms on {slots:?}: {used:.3} of the slots");
    assert_eq!((after.1 - before.1, after.2), (0, 0), "deferred and cut short");
    used
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_is_alone_has_every_slot() {
    for slots in [SlotCounts { fast: 64, slow: 64 }, SlotCounts { fast: 64, slow: 256 }] {
        for (endpoints, max_in_flight) in [(1, 1_000), (8, 64)] {
            let used = alone(endpoints, max_in_flight, 100, slots).await;
            assert!(used >= 0.95, "{used}");
        }
    }
}

/// A tenant that is alone, with this many new endpoints that answer in `takes_ms`. Each tenth of a second brings 1.3 times
/// what can be delivered until the next one. For the first ones, the deliverer does not know yet that there are no others.
async fn defers_nothing(endpoints: usize, max_in_flight: u32, takes_ms: u64, slots: SlotCounts, as_newcomer: usize) {
    let conf = json!({"max_in_flight": max_in_flight});
    let receivers = Receivers::new(endpoints, |_| Trouble::Takes(takes_ms), ALWAYS, &conf);
    let fleet = Fleet::start(receivers, 1, slots);
    let most = usize::from(slots.fast + slots.slow) * 1_000 / takes_ms as usize;
    for batch in 0..50 {
        fleet.assume(if batch < as_newcomer { 16 } else { 1 });
        (0..most * 13 / 100).for_each(|nth| fleet.publish(Some(nth % endpoints)));
        sleep(SECOND / 10).await;
    }
    let totals = fleet.totals();
    assert!(totals.delivered as usize > most * 3, "{} of {most} a second", totals.delivered);
    assert_eq!((totals.deferrals, totals.cut_short), (0, 0), "{endpoints} of {takes_ms} ms on {slots:?}");
}

#[tokio::test(start_paused = true)]
async fn nothing_of_a_tenant_that_is_alone_is_deferred_while_its_healthy_endpoints_are_new() {
    for slots in [SlotCounts { fast: 64, slow: 64 }, SlotCounts { fast: 64, slow: 256 }] {
        for (endpoints, max_in_flight, takes_ms) in [(1, 1_000, 100), (8, 64, 100), (8, 64, 20), (100, 64, 300)] {
            defers_nothing(endpoints, max_in_flight, takes_ms, slots, 0).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_of_a_tenant_that_is_alone_is_deferred_by_a_new_deliverer() {
    let slots = SlotCounts { fast: 64, slow: 64 };
    for (endpoints, takes_ms) in [(8, 100), (8, 20), (100, 300)] {
        defers_nothing(endpoints, 64, takes_ms, slots, 13).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_endpoint_that_never_answers_holds_up_others_of_a_tenant_that_is_alone_for_a_moment() {
    let trouble = |nth| if nth == 0 { Trouble::BlackHole } else { Trouble::None };
    let fleet = Fleet::start(Receivers::new(11, trouble, ALWAYS, &json!({})), 1, SLOTS);
    fleet.load_any(50.0, MINUTE / 6, 1..11).await;
    (0..10_000).for_each(|_| fleet.publish(Some(0)));
    tokio::join!(fleet.load_any(100.0, MINUTE, 0..1), fleet.load_any(50.0, MINUTE, 1..11));
    let delays = fleet.totals().delays.clone();
    let late = delays.iter().filter(|delay| **delay > 0).count();
    assert!(late * 20 < delays.len() && delays.iter().max() < Some(&2_500), "{late} of {}", delays.len());
}

#[tokio::test(start_paused = true)]
async fn large_bodies_to_slow_endpoints_of_one_tenant_delay_no_first_attempt_of_another() {
    let large = Tenant { body_bytes: MIB, ..ACME };
    for is_direct in [false, true] {
        let fleet = start(large, 4, Trouble::Takes(9_000), SLOTS, 32 * MIB).deliver_directly(is_direct);
        tokio::join!(fleet.load_any(40.0, MINUTE, 0..4), fleet.load_any(50.0, MINUTE, 4..14));
        let neighbour = of_neighbour("large bodies", &fleet);
        assert!(p99(&neighbour.delays) == 0, "{}", p99(&neighbour.delays));
    }
}

#[tokio::test(start_paused = true)]
async fn thousands_of_dead_endpoints_of_one_tenant_delay_no_first_attempt_of_another() {
    for is_direct in [false, true] {
        let fleet = start(ACME, 5_000, Trouble::BlackHole, SLOTS, usize::MAX).deliver_directly(is_direct);
        fleet.load_any(300.0, MINUTE / 2, 0..5_000).await;
        let acme = fleet.load_any(300.0, MINUTE, 0..5_000);
        tokio::join!(acme, fleet.load_any(50.0, MINUTE, 5_000..5_010));
        let neighbour = of_neighbour("dead endpoints", &fleet);
        assert!(p99(&neighbour.delays) < 50, "{}", p99(&neighbour.delays));
    }
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_starts_at_once_beside_requests_that_hang_in_every_slot() {
    for is_direct in [false, true] {
        newcomer_beside_requests_that_hang(is_direct).await;
    }
}

async fn newcomer_beside_requests_that_hang(is_direct: bool) {
    // Each of these endpoints answered quickly before, so its requests take whatever slot is free.
    let receivers = Receivers::new(
        210,
        |nth| match nth {
            0..200 => Trouble::BlackHole,
            _ => Trouble::Takes(20),
        },
        (MINUTE, ALWAYS.1),
        &json!({}),
    )
    .of_tenants(|nth| if nth < 200 { ACME } else { NEIGHBOUR });
    let fleet = Fleet::start_with(receivers, 1, SLOTS, usize::MAX).deliver_directly(is_direct);
    fleet.load_any(1_500.0, MINUTE, 0..200).await;
    let acme = fleet.load_any(1_500.0, MINUTE / 2, 0..200);
    let newcomer = async {
        sleep(Duration::from_secs(3)).await;
        fleet.load_any(50.0, Duration::from_secs(20), 200..210).await;
    };
    tokio::join!(acme, newcomer);
    let neighbour = of_neighbour("hanging requests in every slot", &fleet);
    assert!(*neighbour.delays.iter().max().unwrap() < 1_000, "longest");
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_one_tenant_on_the_slow_lane_delays_no_retry_of_another() {
    let trouble = |nth| if nth < 8 { Trouble::Takes(3_000) } else { Trouble::Rejects };
    let receivers =
        Receivers::new(60, trouble, ALWAYS, &json!({})).of_tenants(|nth| if nth < 8 { ACME } else { NEIGHBOUR });
    let fleet = Fleet::start_with(receivers, 1, SLOTS, usize::MAX);
    let acme = fleet.load_any(400.0, 2 * MINUTE, 0..8);
    tokio::join!(acme, fleet.load_any(2.0, 2 * MINUTE, 8..60));
    let neighbour = of_neighbour("a flood on the slow lane", &fleet);
    assert!(neighbour.retry_delays.len() > 100 && p99(&neighbour.retry_delays) < 1_000);
}

#[tokio::test(start_paused = true)]
async fn ten_endpoints_of_one_tenant_that_are_down_together_delay_no_retry_of_another() {
    // One of ten deliverers, each with a tenth of everything: 40,000 deliveries wait for ten endpoints.
    let trouble = |nth| if nth < 10 { Trouble::Refuses } else { Trouble::Rejects };
    let receivers =
        Receivers::new(60, trouble, ALWAYS, &json!({})).of_tenants(|nth| if nth < 10 { ACME } else { NEIGHBOUR });
    let fleet = Fleet::start_one_of(receivers, 10, SLOTS, 600);
    fleet.load_any(400.0, 100 * SECOND, 0..10).await;
    fleet.load_any(2.0, 3 * MINUTE, 10..60).await;
    let neighbour = of_neighbour("ten endpoints down", &fleet);
    assert!(neighbour.retry_delays.len() > 100 && p99(&neighbour.retry_delays) < 1_000);
}
