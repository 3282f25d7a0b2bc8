//! The verdict: what is not well, in plain sentences. Pure: it looks at nothing but the values of the status.

use std::{collections::BTreeMap, time::Duration};

use schemas::ParkReason;
use service::duration::rough;

use super::{
    BrokerState, FailingEndpoints, ProcessStatus, QueueStatus, QuotaStatus, Status, StatusMessage, TenantStatus,
};

/// Roles without which no event is delivered. Events may come in over AMQP, so a producer need not run.
const NEEDED_ROLES: [&str; 2] = ["router", "deliverer"];
/// Seconds for which this process has to listen until it takes silence for absence.
const LISTENING_SECONDS: u64 = 10;
/// Seconds without news from the store after which it counts as away. Processes ask every ten.
const STORE_AWAY_SECONDS: u64 = 60;
/// Longest usual wait in a queue of new messages, in seconds.
const LONG_WAIT_SECONDS: f64 = 60.0;
/// Longest usual wait in a queue of what has waited before, or gives way, in seconds.
const LONG_SLOW_WAIT_SECONDS: f64 = 600.0;
/// Part of `broker.max_bytes` from which on its end is near.
const NEARLY_FULL: f64 = 0.9;
/// Reasons of parked messages that publishers cause, and not the installation.
const PUBLISHERS_REASONS: [ParkReason; 5] =
    [ParkReason::Decode, ParkReason::Schema, ParkReason::Identity, ParkReason::Tenant, ParkReason::TooLarge];

/// The problems and the notices about a whole installation. What a tenant's endpoint or quota does is a notice: it is the
/// tenant's to repair, and no process can.
pub(crate) fn of_installation(status: &Status) -> (Vec<StatusMessage>, Vec<StatusMessage>) {
    let mut problems = Vec::new();
    problems.extend(broker(status));
    problems.extend(missing_roles(status));
    problems.extend(status.processes.iter().flat_map(process));
    problems.extend(store(status));
    problems.extend(status.queues.iter().flatten().flat_map(queue));
    problems.extend(parked_problem(status));
    problems.extend(storage(status));
    let mut notices = Vec::new();
    notices.extend(uncounted(status));
    notices.extend(failing(&status.endpoints));
    notices.extend(paused(&status.endpoints));
    notices.extend(quotas(&status.quotas));
    notices.extend(parked_notice(status));
    notices.extend(no_producer(status));
    notices.extend(behind(status));
    notices.extend(versions(status));
    (problems, notices)
}

/// The same about one tenant, to whom an endpoint that fails is a problem. `is_all_named` is false while deliverers do not
/// name all endpoints that fail: whose the others are is not known, so that it is no problem of this tenant's.
pub(crate) fn of_tenant(status: &TenantStatus, is_all_named: bool) -> (Vec<StatusMessage>, Vec<StatusMessage>) {
    let mut notices = Vec::new();
    notices.extend((!is_all_named).then(not_all_named));
    notices.extend(paused(&status.endpoints));
    notices.extend(quotas(&status.quotas));
    (failing(&status.endpoints).into_iter().collect(), notices)
}

fn not_all_named() -> StatusMessage {
    message(
        "endpoints_not_all_known",
        "Not all endpoints that fail are known now: more of this tenant's may fail than are shown.".to_owned(),
        "Ask again later. So many endpoints of the installation fail that not all can be named.",
    )
}

fn message(code: &'static str, message: String, hint: impl Into<String>) -> StatusMessage {
    StatusMessage { code, message, hint: hint.into() }
}

fn broker(status: &Status) -> Option<StatusMessage> {
    let why = status.broker.detail.as_deref().unwrap_or("no reason is known");
    match status.broker.state {
        BrokerState::Ready => None,
        BrokerState::Away => Some(message(
            "broker_away",
            format!("The broker is away: {why}."),
            "Nothing comes in and nothing is delivered until it is back; all processes connect again by themselves.",
        )),
        BrokerState::Blocked => Some(message(
            "broker_blocked",
            format!("The broker takes no messages: {why}."),
            "Free memory or disk on the broker's machine. What the broker has is still delivered.",
        )),
    }
}

fn missing_roles(status: &Status) -> Vec<StatusMessage> {
    let Some(listening) = status.listening_seconds else { return Vec::new() };
    let runs = |role: &&str| status.processes.iter().any(|process| !process.lost && process.has_role(role));
    let missing = NEEDED_ROLES.into_iter().filter(|role| !runs(role));
    let message = |role| {
        let text = match listening < LISTENING_SECONDS {
            true => format!("No {role} was heard of in the {listening} s since control began to listen."),
            false => format!("No {role} is running."),
        };
        message("role_missing", text, format!("Start one: carteiro {role}. What waits for it is kept."))
    };
    missing.map(message).collect()
}

fn process(process: &ProcessStatus) -> Vec<StatusMessage> {
    let name = process.name();
    if process.lost {
        let silent = seconds(process.silent_seconds);
        return vec![message(
            "process_lost",
            format!("The {name} was last heard of {silent} ago."),
            "Look at its machine and its log. It is told of for ten minutes, unless it is started again there.",
        )];
    }
    let missing = process.missing.iter().map(|part| {
        let text = format!("The {name} is not ready: {}: {}.", part.part, trimmed(&part.detail));
        message("process_not_ready", text, "Its /readyz says the same; docs/operations.md says what to do.")
    });
    let degraded = process.degraded.iter().map(|part| {
        let text = format!("The {name} cannot do all it should: {}: {}.", part.part, trimmed(&part.detail));
        message("process_degraded", text, "Its /readyz says the same; docs/operations.md says what to do.")
    });
    missing.chain(degraded).collect()
}

/// The processes that have heard nothing from the store for long, as one problem.
fn store(status: &Status) -> Option<StatusMessage> {
    let is_away = |ago: Option<u64>| ago.is_none_or(|ago| ago >= STORE_AWAY_SECONDS);
    let all = status.processes.iter().filter(|process| !process.lost && !process.version.is_empty());
    let away: Vec<_> = all.filter(|process| is_away(process.synced_seconds_ago)).map(ProcessStatus::name).collect();
    let who = match (is_away(status.store.synced_seconds_ago), away.as_slice()) {
        (true, [] | [_]) => "control".to_owned(),
        (false, []) => return None,
        (_, [one]) => format!("the {one}"),
        (_, several) => format!("{} processes", several.len()),
    };
    let since = match status.store.synced_seconds_ago.filter(|ago| *ago >= STORE_AWAY_SECONDS) {
        Some(ago) => format!(" for {}", seconds(ago)),
        None => String::new(),
    };
    Some(message(
        "store_away",
        format!("The store has not been read by {who}{since}."),
        "Deliveries go on with the last configuration. The log says why: it is away, or a file of it cannot be read.",
    ))
}

fn queue(queue: &QueueStatus) -> Vec<StatusMessage> {
    let name = &queue.queue;
    if !queue.exists {
        let text = format!("The queue {name} is missing.");
        return vec![message("queue_missing", text, "Make it: carteiro topology apply.")];
    }
    let mut problems = Vec::new();
    if queue.consumers == Some(0) {
        let role = if name.starts_with("ingest") { "router" } else { "deliverer" };
        problems.push(message(
            "no_consumers",
            format!("Nothing consumes the queue {name}, in which {} wait.", messages(queue.waiting)),
            format!("Start a {role}, or look at the logs of those that run."),
        ));
    }
    let most = if name.ends_with(".slow") { LONG_SLOW_WAIT_SECONDS } else { LONG_WAIT_SECONDS };
    if let Some(oldest) = queue.oldest_seconds.filter(|oldest| *oldest >= most) {
        let wait = rough(Duration::from_secs_f64(oldest));
        let more = if name.starts_with("ingest") { "routers" } else { "deliverers" };
        problems.push(message(
            "waits_long",
            format!("Messages wait {wait} in the queue {name}."),
            format!("If that lasts, start more {more}; docs/operations.md, \"Work piles up\", says how to tell."),
        ));
    }
    problems
}

fn parked_problem(status: &Status) -> Option<StatusMessage> {
    let (own, _) = parked_today(status);
    told(&own).map(|what| {
        message(
            "parked_today",
            format!("{} parked today (UTC): {what}.", were(&own)),
            "carteiro parked list shows them; once the cause is mended, carteiro parked requeue publishes them again.",
        )
    })
}

fn parked_notice(status: &Status) -> Option<StatusMessage> {
    let (_, publishers) = parked_today(status);
    told(&publishers).map(|what| {
        message(
            "publishers_parked",
            format!("{} parked today (UTC) as publishers sent them: {what}.", were(&publishers)),
            "carteiro parked list shows whose they are, and why.",
        )
    })
}

type Reasons = BTreeMap<&'static str, u64>;

/// What was parked today: because of the installation, and because of what publishers sent.
fn parked_today(status: &Status) -> (Reasons, Reasons) {
    let today = status.parked.iter().flat_map(|parked| &parked.today).map(|(reason, count)| (*reason, *count));
    today.partition(|(reason, _)| !PUBLISHERS_REASONS.iter().any(|known| known.as_str() == *reason))
}

fn told(reasons: &Reasons) -> Option<String> {
    let each: Vec<_> = reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    (!each.is_empty()).then(|| each.join(", "))
}

fn were(reasons: &Reasons) -> String {
    match reasons.values().sum() {
        1 => "1 message was".to_owned(),
        count => format!("{count} messages were"),
    }
}

fn storage(status: &Status) -> Option<StatusMessage> {
    let (used, max) = (status.broker.used_bytes?, status.broker.max_bytes?);
    let part = used as f64 / max.max(1) as f64;
    (part >= NEARLY_FULL).then(|| {
        message(
            "storage_nearly_full",
            format!("The embedded broker has used {:.0} % of broker.max_bytes.", part * 100.0),
            "At its end no events are taken in: find out what waits, or raise broker.max_bytes.",
        )
    })
}

fn uncounted(status: &Status) -> Option<StatusMessage> {
    (status.queues.is_none() && status.broker.state != BrokerState::Away).then(|| {
        message(
            "queues_not_counted",
            "What waits in the queues could not be counted in time.".to_owned(),
            "Ask again; if that lasts, the broker is busy.",
        )
    })
}

fn failing(endpoints: &FailingEndpoints) -> Option<StatusMessage> {
    let all = endpoints.failing + endpoints.unnamed;
    let tenants = |tenants: u64| if tenants == 1 { "1 tenant".to_owned() } else { format!("{tenants} tenants") };
    let text = match (all, endpoints.tenants) {
        (0, _) => return None,
        (1, _) => "1 endpoint fails.".to_owned(),
        // The tenants are those of the named endpoints.
        (all, 0) => format!("{all} endpoints fail."),
        (all, count) if endpoints.unnamed > 0 => format!("{all} endpoints of at least {} fail.", tenants(count)),
        (all, count) => format!("{all} endpoints of {} fail.", tenants(count)),
    };
    let hint = "carteiro endpoints show says more. What is for them waits and is tried again.";
    Some(message("endpoints_failing", text, hint))
}

fn paused(endpoints: &FailingEndpoints) -> Option<StatusMessage> {
    let text = match endpoints.paused {
        0 => return None,
        1 => "1 endpoint is paused: what is for it waits.".to_owned(),
        count => format!("{count} endpoints are paused: what is for them waits."),
    };
    Some(message(
        "endpoints_paused",
        text,
        "carteiro endpoints list shows which; carteiro endpoints enable resumes one.",
    ))
}

fn quotas(quotas: &[QuotaStatus]) -> Option<StatusMessage> {
    let first = quotas.first()?;
    let part = first.used / first.limit * 100.0;
    let others = match quotas.len() {
        1 => String::new(),
        2 => ", and 1 more is nearly used up".to_owned(),
        all => format!(", and {} more are nearly used up", all - 1),
    };
    Some(message(
        "quota_near",
        format!("The tenant {} has used {part:.0} % of its quota {}{others}.", first.tenant, first.quota),
        "Raise it: carteiro tenants patch. What is beyond a quota is refused or not kept.",
    ))
}

fn no_producer(status: &Status) -> Option<StatusMessage> {
    let runs = status.processes.iter().any(|process| !process.lost && process.has_role("producer"));
    let is_known = status.listening_seconds.is_some_and(|seconds| seconds >= LISTENING_SECONDS);
    (is_known && !runs).then(|| {
        let text = "No producer is running: events come in over AMQP only.".to_owned();
        message("no_producer", text, "If that is not meant, start one: carteiro producer.")
    })
}

fn behind(status: &Status) -> Option<StatusMessage> {
    let behind: Vec<_> = status.processes.iter().filter(|one| !one.lost && one.revisions_behind > 0).collect();
    let name = behind.first()?.name();
    let text = match behind.len() {
        1 => format!("The {name} does not have the latest change of the configuration yet."),
        count => format!("{count} processes do not have the latest change of the configuration yet."),
    };
    Some(message("snapshot_behind", text, "A change takes a second, or ten if an announcement was missed."))
}

fn versions(status: &Status) -> Option<StatusMessage> {
    let all = status.processes.iter().filter(|process| !process.lost);
    let mut versions: Vec<_> = all.map(|process| process.version.as_str()).collect();
    versions.sort_unstable();
    versions.dedup();
    let shown = |version: &&str| if version.is_empty() { "an earlier one" } else { *version }.to_owned();
    (versions.len() > 1).then(|| {
        let versions: Vec<_> = versions.iter().map(shown).collect();
        let text = format!("Processes of several versions run: {}.", versions.join(", "));
        message("versions_differ", text, "During an upgrade that is as it should be.")
    })
}

impl ProcessStatus {
    fn has_role(&self, role: &str) -> bool {
        self.roles.iter().any(|own| own == role)
    }

    /// The process in a sentence: `deliverer on box (pid 47)`.
    fn name(&self) -> String {
        let role = if self.roles.len() == 4 { "standalone".to_owned() } else { self.roles.join("+") };
        match self.host.as_str() {
            "" => role,
            host => format!("{role} on {host} (pid {})", self.pid),
        }
    }
}

fn seconds(seconds: u64) -> String {
    rough(Duration::from_secs(seconds))
}

fn messages(count: u64) -> String {
    if count == 1 { "1 message".to_owned() } else { format!("{count} messages") }
}

/// A reason without the stop at its end, which the sentence around it has.
fn trimmed(detail: &str) -> &str {
    detail.trim_end_matches('.')
}

#[cfg(test)]
mod tests;
