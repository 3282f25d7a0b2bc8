//! The verdict, sentence by sentence.

use schemas::time::Moment;

use super::{
    super::{BrokerStatus, Part, Records, StoreStatus},
    *,
};

fn running(role: &str, pid: u32) -> ProcessStatus {
    ProcessStatus {
        roles: vec![role.into()],
        version: "1.0.0".into(),
        host: "box".into(),
        pid,
        synced_seconds_ago: Some(3),
        ..ProcessStatus::default()
    }
}

fn there(queue: &str) -> QueueStatus {
    QueueStatus {
        queue: queue.into(),
        exists: true,
        waiting: 7,
        consumers: Some(1),
        oldest_seconds: None,
        canary_seconds_ago: None,
    }
}

/// An installation in which all is well.
fn well() -> Status {
    Status {
        well: true,
        problems: vec![],
        notices: vec![],
        at: Moment(0),
        listening_seconds: Some(600),
        processes: ["control", "producer", "router", "deliverer"].map(|role| running(role, 7)).into(),
        broker: BrokerStatus {
            state: BrokerState::Ready,
            detail: None,
            used_bytes: None,
            free_bytes: None,
            max_bytes: None,
        },
        store: StoreStatus { revision: 3, synced_seconds_ago: Some(3) },
        queues: Some(["ingest", "ingest.slow", "deliver.fast", "deliver.slow"].map(there).into()),
        endpoints: FailingEndpoints::default(),
        dead_letters: Some(Records::default()),
        parked: Some(Records::default()),
        quotas: vec![],
    }
}

/// Messages by their codes.
type Told = Vec<(&'static str, String)>;

/// The problems of a well installation after a change, and its notices.
fn after(change: impl FnOnce(&mut Status)) -> (Told, Told) {
    let mut status = well();
    change(&mut status);
    let (problems, notices) = of_installation(&status);
    let told = |all: Vec<StatusMessage>| all.into_iter().map(|one| (one.code, one.message)).collect();
    (told(problems), told(notices))
}

#[track_caller]
fn problem(change: impl FnOnce(&mut Status), code: &'static str, text: &str) {
    assert_eq!(after(change).0, [(code, text.to_owned())]);
}

#[track_caller]
fn notice(change: impl FnOnce(&mut Status), code: &'static str, text: &str) {
    assert_eq!(after(change), (vec![], vec![(code, text.to_owned())]));
}

#[test]
fn all_is_well_without_a_reason_for_the_contrary() {
    assert_eq!(after(|_| {}), (vec![], vec![]));
}

#[test]
fn a_broker_that_is_away_or_blocked_is_a_problem() {
    let broker = |state| {
        move |status: &mut Status| {
            (status.broker.state, status.broker.detail) = (state, Some("low on memory".into()));
            (status.queues, status.listening_seconds) = (None, None);
        }
    };
    problem(broker(BrokerState::Away), "broker_away", "The broker is away: low on memory.");
    problem(broker(BrokerState::Blocked), "broker_blocked", "The broker takes no messages: low on memory.");
}

#[test]
fn a_role_that_nobody_runs_is_a_problem_and_a_producer_need_not_run() {
    let without = |role: &'static str| move |status: &mut Status| status.processes.retain(|one| !one.has_role(role));
    problem(without("router"), "role_missing", "No router is running.");
    problem(without("deliverer"), "role_missing", "No deliverer is running.");
    notice(without("producer"), "no_producer", "No producer is running: events come in over AMQP only.");
    let just_started = |status: &mut Status| {
        without("router")(status);
        status.listening_seconds = Some(2);
    };
    problem(just_started, "role_missing", "No router was heard of in the 2 s since control began to listen.");
}

#[test]
fn a_process_that_is_silent_or_not_ready_is_a_problem() {
    let lost = |status: &mut Status| {
        status.processes.push(ProcessStatus { lost: true, silent_seconds: 40, ..running("deliverer", 47) });
    };
    problem(lost, "process_lost", "The deliverer on box (pid 47) was last heard of 40 s ago.");
    let part = || vec![Part { part: "intake".into(), detail: "no queue is bound.".into() }];
    let not_ready = |status: &mut Status| status.processes[2].missing = part();
    problem(not_ready, "process_not_ready", "The router on box (pid 7) is not ready: intake: no queue is bound.");
    let degraded = |status: &mut Status| status.processes[2].degraded = part();
    problem(
        degraded,
        "process_degraded",
        "The router on box (pid 7) cannot do all it should: intake: no queue is bound.",
    );
}

#[test]
fn a_lost_process_does_not_stand_for_its_role() {
    let (problems, _) = after(|status| (status.processes[3].lost, status.processes[3].silent_seconds) = (true, 20));
    assert_eq!(problems.iter().map(|(code, _)| *code).collect::<Vec<_>>(), ["role_missing", "process_lost"]);
}

#[test]
fn a_store_without_news_for_a_minute_is_a_problem() {
    let control = |status: &mut Status| status.store.synced_seconds_ago = Some(90);
    problem(control, "store_away", "The store has not been read by control for 90 s.");
    let router = |status: &mut Status| status.processes[2].synced_seconds_ago = Some(60);
    problem(router, "store_away", "The store has not been read by the router on box (pid 7).");
    let never = |status: &mut Status| {
        status.store.synced_seconds_ago = None;
        status.processes.iter_mut().for_each(|process| process.synced_seconds_ago = None);
    };
    problem(never, "store_away", "The store has not been read by 4 processes.");
}

#[test]
fn a_queue_that_is_missing_or_has_no_consumer_or_is_late_is_a_problem() {
    let with = |at: usize, change: fn(&mut QueueStatus)| {
        move |status: &mut Status| {
            let queues = status.queues.as_mut().expect("queues");
            change(&mut queues[at]);
        }
    };
    problem(with(0, |queue| queue.exists = false), "queue_missing", "The queue ingest is missing.");
    let text = "Nothing consumes the queue deliver.fast, in which 7 messages wait.";
    problem(with(2, |queue| queue.consumers = Some(0)), "no_consumers", text);
    let wait = "Messages wait 3 min in the queue deliver.fast.";
    problem(with(2, |queue| queue.oldest_seconds = Some(180.0)), "waits_long", wait);
    assert_eq!(after(with(3, |queue| queue.oldest_seconds = Some(180.0))).0, [], "it waits longer on purpose");
    let wait = "Messages wait 10 min in the queue deliver.slow.";
    problem(with(3, |queue| queue.oldest_seconds = Some(600.0)), "waits_long", wait);
    let uncounted = "What waits in the queues could not be counted in time.";
    notice(|status| status.queues = None, "queues_not_counted", uncounted);
}

#[test]
fn what_was_parked_today_is_a_problem_unless_publishers_caused_it() {
    let parked = |reasons: &'static [(&'static str, u64)]| {
        move |status: &mut Status| {
            status.parked = Some(Records { today: reasons.iter().copied().collect(), ..Records::default() });
        }
    };
    let text = "1 message was parked today (UTC): 1 unroutable.";
    problem(parked(&[("unroutable", 1)]), "parked_today", text);
    let (problems, notices) = after(parked(&[("panic", 2), ("schema", 4), ("unroutable", 1)]));
    assert_eq!(problems[0].1, "3 messages were parked today (UTC): 2 panic, 1 unroutable.");
    assert_eq!(notices[0].1, "4 messages were parked today (UTC) as publishers sent them: 4 schema.");
}

#[test]
fn the_embedded_brokers_room_that_nearly_ends_is_a_problem() {
    let used = |used| {
        move |status: &mut Status| {
            (status.broker.used_bytes, status.broker.max_bytes) = (Some(used), Some(1_000));
        }
    };
    problem(used(950), "storage_nearly_full", "The embedded broker has used 95 % of broker.max_bytes.");
    assert_eq!(after(used(899)).0, []);
}

#[test]
fn failing_and_paused_endpoints_and_nearly_used_quotas_are_notices() {
    let failing = |failing, tenants, unnamed| {
        move |status: &mut Status| {
            status.endpoints = FailingEndpoints { failing, tenants, unnamed, ..FailingEndpoints::default() };
        }
    };
    notice(failing(1, 1, 0), "endpoints_failing", "1 endpoint fails.");
    notice(failing(3, 2, 0), "endpoints_failing", "3 endpoints of 2 tenants fail.");
    notice(failing(50, 1, 950), "endpoints_failing", "1000 endpoints of at least 1 tenant fail.");
    notice(failing(0, 0, 7), "endpoints_failing", "7 endpoints fail.");
    let paused = |paused| {
        move |status: &mut Status| status.endpoints = FailingEndpoints { paused, ..FailingEndpoints::default() }
    };
    notice(paused(1), "endpoints_paused", "1 endpoint is paused: what is for it waits.");
    notice(paused(2), "endpoints_paused", "2 endpoints are paused: what is for them waits.");
    let quota = |used| QuotaStatus { tenant: "acme".into(), quota: "endpoints".into(), used, limit: 20.0 };
    let text = "The tenant acme has used 95 % of its quota endpoints, and 1 more is nearly used up.";
    notice(|status| status.quotas = vec![quota(19.0), quota(16.0)], "quota_near", text);
}

#[test]
fn processes_that_are_behind_or_of_several_versions_are_notices() {
    let behind = |status: &mut Status| status.processes[3].revisions_behind = 2;
    let text = "The deliverer on box (pid 7) does not have the latest change of the configuration yet.";
    notice(behind, "snapshot_behind", text);
    let old = |status: &mut Status| status.processes[3].version = "0.9.0".into();
    notice(old, "versions_differ", "Processes of several versions run: 0.9.0, 1.0.0.");
}

#[test]
fn to_a_tenant_a_failing_endpoint_is_a_problem() {
    let status = TenantStatus {
        well: true,
        problems: vec![],
        notices: vec![],
        at: Moment(0),
        endpoints: FailingEndpoints { failing: 1, tenants: 1, ..FailingEndpoints::default() },
        dead_letters: None,
        quotas: vec![],
    };
    let (problems, notices) = of_tenant(&status, true);
    assert_eq!((problems[0].message.as_str(), notices.len()), ("1 endpoint fails.", 0));
}

#[test]
fn a_tenant_is_told_when_not_all_failing_endpoints_are_named() {
    let mut status = TenantStatus {
        well: true,
        problems: vec![],
        notices: vec![],
        at: Moment(0),
        endpoints: FailingEndpoints::default(),
        dead_letters: None,
        quotas: vec![],
    };
    assert_eq!(of_tenant(&status, true), (vec![], vec![]));
    for (failing, problem_count) in [(0, 0), (2, 1)] {
        status.endpoints = FailingEndpoints { failing, tenants: failing.min(1), ..FailingEndpoints::default() };
        let (problems, notices) = of_tenant(&status, false);
        let codes: Vec<_> = notices.iter().map(|notice| notice.code).collect();
        assert_eq!((problems.len(), codes), (problem_count, vec!["endpoints_not_all_known"]));
    }
}
