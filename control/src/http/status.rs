//! How the installation is, for the operator, and how a tenant is.

use std::{collections::HashSet, sync::Arc, time::Duration};

use axum::{
    Json,
    response::{IntoResponse as _, Response},
};
use broker::{ConnectionState, Queue, QueueCounts};
use schemas::{
    EndpointHealth, EndpointState, Quota, Scope,
    process_report::{LaneCanary, ProcessReport},
    time::Moment,
};
use service::{
    openapi::{ApiRouter, get_with},
    problem::{Code, Problem},
};
use store::{Snapshot, TenantSnapshot};
use tokio::time::{Instant, timeout};

use super::{context::RequestContext, describe, resource::object_of, tenants::used};
use crate::{
    Control,
    day_counts::DayCounts,
    fleet::{SeenFleet, SeenProcess},
    settings::Object,
    status::{
        BrokerState, BrokerStatus, FailingEndpoint, FailingEndpoints, ProcessStatus, QueueStatus, QuotaStatus, Records,
        Status, StatusMessage, StoreStatus, TenantStatus, of_installation, of_tenant,
    },
};

/// Endpoints of an answer when `limit` is left out.
const DEFAULT_LIMIT: usize = 50;
/// Most endpoints of an answer.
const MAX_LIMIT: usize = 1_000;
/// Most quotas of an answer.
const MAX_QUOTAS: usize = 50;
/// Part of a quota from which on its end is near.
const NEARLY_USED: f64 = 0.8;
/// Longest wait for the broker's numbers.
const COUNT_TIME: Duration = Duration::from_secs(3);
/// Age up to which the broker's numbers serve several answers.
const COUNT_AGE: Duration = Duration::from_secs(1);

pub(crate) fn routes() -> ApiRouter<Arc<Control>> {
    let limit = || schemars::json_schema!({"type": "integer", "minimum": 1, "maximum": 1000, "default": 50});
    ApiRouter::new()
        .api_route(
            "/v1/status",
            get_with(status, move |op| {
                let op = describe::operation(op, "status", "getStatus", "How the installation is", None);
                let op = describe::more(
                    op,
                    "`well` is false while something needs the operator. Processes and endpoints are as this process has \
                     heard them announced, so that right after its start some may be missing.",
                );
                let op = describe::parameter(op, "limit", "Largest number of endpoints in the answer.", limit());
                describe::answers::<200, Status>(op)
            }),
        )
        .api_route(
            "/v1/tenants/{tenant}/status",
            get_with(tenant_status, move |op| {
                let op = describe::operation(op, "status", "getTenantStatus", "How a tenant is", Some(Scope::Read));
                let op = describe::parameter(op, "limit", "Largest number of endpoints in the answer.", limit());
                describe::answers::<200, TenantStatus>(op)
            }),
        )
}

/// The read-only field `health` of an endpoint, and of what is stored as one.
pub(crate) fn health(control: &Control, tenant: &TenantSnapshot, endpoint_id: &str) -> Object {
    let health = EndpointHealth::from(control.endpoint_health.of(tenant, endpoint_id, Instant::now()));
    [("health".to_owned(), object_of(&health).into())].into_iter().collect()
}

async fn status(request: RequestContext) -> Result<Response, Problem> {
    request.operator().await?;
    let limit = limit(&request)?;
    let control = &request.control;
    let queue_counts = control.queue_counts().await;
    let (now, fleet) = ((control.deps.clock)(), control.fleet.seen(Instant::now()));
    let snapshot = control.deps.store.snapshot();
    let status = Status {
        well: true,
        problems: Vec::new(),
        notices: Vec::new(),
        at: Moment(now),
        listening_seconds: fleet.listening.map(|listening| listening.as_secs()),
        processes: processes(&fleet),
        broker: broker(control, &fleet),
        store: StoreStatus {
            revision: snapshot.as_ref().map_or(0, |snapshot| snapshot.shared_revision()),
            synced_seconds_ago: control.deps.store.sync_status().synced_at.map(|at| at.elapsed().as_secs()),
        },
        queues: queue_counts.map(|counts| queues(&counts, &fleet.canaries, now)),
        endpoints: snapshot.as_deref().map(|all| failing(control, all, None, limit)).unwrap_or_default(),
        dead_letters: records(&control.dead_by_reason, None, now),
        parked: records(&control.parked_by_reason, None, now),
        quotas: snapshot.as_deref().map_or(Vec::new(), |all| quotas(control, all.tenants().map(Arc::as_ref))),
    };
    let (problems, notices) = of_installation(&status);
    Ok(Json(Status { well: problems.is_empty(), problems, notices, ..status }).into_response())
}

async fn tenant_status(request: RequestContext) -> Result<Response, Problem> {
    let authorized = request.tenant(Scope::Read).await?;
    let limit = limit(&request)?;
    let (control, now) = (&request.control, (request.control.deps.clock)());
    let Some(tenant) = &authorized.tenant else { return Err(Code::NotFound.into()) };
    let snapshot = control.deps.store.snapshot().ok_or(Code::Unavailable)?;
    let status = TenantStatus {
        well: true,
        problems: Vec::new(),
        notices: Vec::new(),
        at: Moment(now),
        endpoints: failing(control, &snapshot, Some(&tenant.id), limit),
        dead_letters: records(&control.dead_by_reason, Some(&tenant.id), now),
        quotas: quotas(control, std::iter::once(&**tenant)),
    };
    let (problems, notices): (Vec<StatusMessage>, _) =
        of_tenant(&status, control.endpoint_health.unnamed(Instant::now()) == 0);
    Ok(Json(TenantStatus { well: problems.is_empty(), problems, notices, ..status }).into_response())
}

fn limit(request: &RequestContext) -> Result<usize, Problem> {
    let wrong = || {
        let detail = format!("limit: expected a whole number from 1 to {MAX_LIMIT}");
        Problem::new(Code::InvalidParameter).detail(detail)
    };
    match request.query(&["limit"])?.first() {
        None => Ok(DEFAULT_LIMIT),
        Some((_, text)) => text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit)).ok_or_else(wrong),
    }
}

impl Control {
    /// What waits in the queues; none if the broker is away or does not answer in time. Several askers share an answer.
    async fn queue_counts(&self) -> Option<QueueCounts> {
        let mut latest = self.latest_queue_counts.lock().await;
        if let Some((counts, at)) = &*latest
            && at.elapsed() < COUNT_AGE
        {
            return counts.clone();
        }
        let counts = timeout(COUNT_TIME, self.deps.broker.queue_counts()).await.ok().and_then(Result::ok);
        *latest = Some((counts.clone(), Instant::now()));
        counts
    }
}

fn processes(fleet: &SeenFleet) -> Vec<ProcessStatus> {
    let alive = fleet.processes.iter().filter(|process| !process.is_lost);
    let newest = alive.map(|process| process.report.revision).max().unwrap_or_default();
    let shown = |SeenProcess { report, silent, is_lost, .. }: &SeenProcess| {
        let report: ProcessReport = report.clone();
        ProcessStatus {
            id: report.process,
            roles: report.roles,
            version: report.version,
            host: report.host,
            pid: report.pid,
            started_at: Some(Moment(report.started_at)).filter(|at| at.0 > 0),
            silent_seconds: silent.as_secs(),
            lost: *is_lost,
            revision: report.revision,
            revisions_behind: if report.revision > 0 { newest.saturating_sub(report.revision) } else { 0 },
            synced_seconds_ago: report.synced_ms_ago.map(|ms| ms / 1_000),
            missing: report.missing.into_iter().map(Into::into).collect(),
            degraded: report.degraded.into_iter().map(Into::into).collect(),
        }
    };
    fleet.processes.iter().map(shown).collect()
}

fn broker(control: &Control, fleet: &SeenFleet) -> BrokerStatus {
    let (state, detail) = match &*control.deps.broker.connection_state().borrow() {
        ConnectionState::Ready => (BrokerState::Ready, None),
        ConnectionState::Blocked(why) => (BrokerState::Blocked, Some(why.clone())),
        ConnectionState::Away(why) => (BrokerState::Away, Some(why.clone())),
    };
    let storage = fleet.processes.iter().filter(|process| !process.is_lost).find_map(|process| process.report.storage);
    BrokerStatus {
        state,
        detail,
        used_bytes: storage.map(|storage| storage.used),
        free_bytes: storage.map(|storage| storage.free),
        max_bytes: storage.and_then(|storage| storage.max),
    }
}

/// The queues by their names on RabbitMQ, and the delays.
fn queues(counts: &QueueCounts, canaries: &[LaneCanary], now: u64) -> Vec<QueueStatus> {
    let name = |queue| match queue {
        Queue::Ingest => "ingest".to_owned(),
        Queue::IngestSlow => "ingest.slow".to_owned(),
        Queue::Lane(lane) => format!("deliver.{}", lane.name()),
    };
    let seconds = |from: u64, to: u64| to.saturating_sub(from) as f64 / 1_000.0;
    let shown = |queue: Queue| {
        let Some(count) = counts.queues.iter().find(|count| count.queue == queue) else {
            return QueueStatus {
                queue: name(queue),
                exists: false,
                waiting: 0,
                consumers: None,
                oldest_seconds: None,
                canary_seconds_ago: None,
            };
        };
        let is_of_lane = |canary: &&LaneCanary| matches!(queue, Queue::Lane(lane) if lane.name() == canary.lane);
        let canary = canaries.iter().find(is_of_lane).filter(|_| count.oldest_since.is_none());
        let by_broker = count.oldest_since.map(|since| seconds(since, now));
        QueueStatus {
            queue: name(queue),
            exists: true,
            waiting: count.waiting,
            consumers: count.consumers,
            oldest_seconds: by_broker.or_else(|| canary.map(|canary| canary.took_ms as f64 / 1_000.0)),
            canary_seconds_ago: canary.map(|canary| now.saturating_sub(canary.at) / 1_000),
        }
    };
    let delays = QueueStatus {
        queue: "delays".to_owned(),
        exists: true,
        waiting: counts.delayed,
        consumers: None,
        oldest_seconds: None,
        canary_seconds_ago: None,
    };
    Queue::ALL.into_iter().map(shown).chain([delays]).collect()
}

fn failing(control: &Control, snapshot: &Snapshot, of_tenant: Option<&str>, limit: usize) -> FailingEndpoints {
    let now = Instant::now();
    let all = control.endpoint_health.failing(snapshot, of_tenant, now);
    let tenants: HashSet<_> = all.iter().map(|(tenant, ..)| tenant.clone()).collect();
    let item = |(tenant, endpoint_id, failing)| FailingEndpoint {
        tenant,
        endpoint_id,
        health: crate::endpoint_health::Health::Failing(failing).into(),
    };
    FailingEndpoints {
        failing: all.len() as u64,
        tenants: tenants.len() as u64,
        paused: paused(snapshot, of_tenant),
        // Whose the others are is not said: a tenant gets a notice instead of a number.
        unnamed: if of_tenant.is_none() { control.endpoint_health.unnamed(now) } else { 0 },
        items: all.into_iter().take(limit).map(item).collect(),
    }
}

/// Number of endpoints that are paused, of one tenant or of all.
fn paused(snapshot: &Snapshot, of_tenant: Option<&str>) -> u64 {
    let of = |tenant: &TenantSnapshot| {
        let endpoints = tenant.endpoints.values();
        endpoints.filter(|endpoint| endpoint.state == EndpointState::Paused).count() as u64
    };
    match of_tenant {
        Some(tenant) => snapshot.tenant(tenant).map_or(0, |tenant| of(tenant)),
        None => snapshot.tenants().map(|tenant| of(tenant)).sum(),
    }
}

fn records(counts: &DayCounts, tenant: Option<&str>, now: u64) -> Option<Records> {
    Some(Records { today: counts.today(tenant, now)?, last_24_hours: counts.last_day(tenant, now)? })
}

/// The quotas that are nearly used up, those first of which the most is used.
fn quotas<'a>(control: &Control, tenants: impl Iterator<Item = &'a TenantSnapshot>) -> Vec<QuotaStatus> {
    let mut near: Vec<_> = tenants
        .filter(|tenant| tenant.quota != Quota::default())
        .flat_map(|tenant| nearly_used(&tenant.id, &object_of(&tenant.quota), &object_of(&used(tenant, control))))
        .collect();
    near.sort_by(|a, b| (b.used / b.limit).total_cmp(&(a.used / a.limit)).then_with(|| a.tenant.cmp(&b.tenant)));
    near.truncate(MAX_QUOTAS);
    near
}

fn nearly_used(tenant: &str, quota: &Object, used: &Object) -> Vec<QuotaStatus> {
    let near = |(name, limit): (&String, &serde_json::Value)| {
        let (limit, used) = (limit.as_f64().filter(|limit| *limit > 0.0)?, used.get(name)?.as_f64()?);
        let near = QuotaStatus { tenant: tenant.to_owned(), quota: name.clone(), used, limit };
        (used / limit >= NEARLY_USED).then_some(near)
    };
    quota.iter().filter_map(near).collect()
}

#[cfg(test)]
mod tests {
    use broker::{Lane, QueueCount};
    use serde_json::json;

    use super::*;

    #[test]
    fn a_lane_whose_oldest_message_nobody_knows_is_as_late_as_its_latest_canary() {
        let count = |queue, oldest_since| QueueCount { queue, waiting: 5, consumers: Some(1), oldest_since };
        let counts = QueueCounts {
            queues: vec![
                count(Queue::Ingest, None),
                count(Queue::Lane(Lane::Fast), None),
                count(Queue::Lane(Lane::Slow), Some(7_000)),
            ],
            delayed: 9,
        };
        let canaries = ["fast", "slow"].map(|lane| LaneCanary { lane: lane.into(), took_ms: 250, at: 6_000 });
        let shown = queues(&counts, &canaries, 10_000);
        let shown: Vec<_> = shown
            .iter()
            .map(|one| (one.queue.as_str(), one.exists, one.oldest_seconds, one.canary_seconds_ago))
            .collect();
        let expected = [
            ("ingest", true, None, None),
            ("ingest.slow", false, None, None),
            ("deliver.fast", true, Some(0.25), Some(4)),
            ("deliver.slow", true, Some(3.0), None),
            ("delays", true, None, None),
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_quota_is_near_its_end_from_four_fifths_on() {
        let quota = json!({"endpoints": 10, "sources": 10, "keys": 0, "dead_letters": null});
        let used = json!({"endpoints": 8, "sources": 7, "keys": 3, "dead_letters": 9});
        let near = nearly_used("acme", quota.as_object().unwrap(), used.as_object().unwrap());
        assert_eq!(near.iter().map(|one| one.quota.as_str()).collect::<Vec<_>>(), ["endpoints"]);
    }
}
