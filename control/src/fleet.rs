//! The processes that announce themselves, as far as this one has heard. It is kept in memory: whoever runs says so again
//! within seconds.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use broker::ConnectionState;
use schemas::{
    Finding, Notice,
    process_report::{LaneCanary, ProcessReport},
};
use store::ItemKind;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::Control;

/// Silence after which a process counts as lost: it announces itself every five seconds.
pub(crate) const LOST_AFTER: Duration = Duration::from_secs(15);
/// Time for which a lost process is told of.
pub(crate) const FORGET_AFTER: Duration = Duration::from_secs(600);
/// Most processes that are remembered.
const MAX_PROCESSES: usize = 1_000;
/// Milliseconds by which the clocks of two machines may differ.
const CLOCK_SLACK_MS: u64 = 5_000;
/// Time between two sweeps of what is forgotten.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(crate) struct Fleet(Mutex<FleetState>);

#[derive(Debug, Default)]
struct FleetState {
    /// None while the broker is away, as nobody can be heard then.
    listening_since: Option<Instant>,
    processes: HashMap<String, HeardProcess>,
    /// The latest canary of each lane that any process got.
    canaries: BTreeMap<String, LaneCanary>,
}

#[derive(Debug)]
struct HeardProcess {
    report: ProcessReport,
    at: Instant,
    /// The same time in unix milliseconds.
    wall: u64,
}

/// What is known of all processes at one time.
#[derive(Clone, Debug, Default)]
pub(crate) struct SeenFleet {
    /// How long this process has listened without interruption; none while the broker is away.
    pub(crate) listening: Option<Duration>,
    /// By role, host and start.
    pub(crate) processes: Vec<SeenProcess>,
    pub(crate) canaries: Vec<LaneCanary>,
}

#[derive(Clone, Debug)]
pub(crate) struct SeenProcess {
    pub(crate) report: ProcessReport,
    pub(crate) silent: Duration,
    /// Time of its last report, in unix milliseconds.
    pub(crate) heard_at: u64,
    pub(crate) is_lost: bool,
}

impl Fleet {
    fn listen(&self, is_listening: bool, now: Instant) {
        let mut state = self.lock();
        state.listening_since = is_listening.then(|| state.listening_since.unwrap_or(now));
    }

    pub(crate) fn note(&self, report: ProcessReport, wall: u64, now: Instant) {
        let mut state = self.lock();
        if report.leaves {
            state.processes.remove(&report.process);
        } else if state.processes.len() < MAX_PROCESSES || state.processes.contains_key(&report.process) {
            state.processes.insert(report.process.clone(), HeardProcess { report, at: now, wall });
        }
    }

    /// Notes a deliverer's heartbeat. Deliverers of earlier versions announce nothing else.
    fn note_deliverer(&self, process: String, leaves: bool, canaries: Vec<LaneCanary>, wall: u64, now: Instant) {
        let mut state = self.lock();
        for canary in canaries {
            let latest = state.canaries.entry(canary.lane.clone()).or_insert_with(|| canary.clone());
            if latest.at <= canary.at {
                *latest = canary;
            }
        }
        if state.processes.get(&process).is_none_or(|known| known.report.version.is_empty()) {
            drop(state);
            let roles = vec!["deliverer".to_owned()];
            self.note(ProcessReport { process, leaves, roles, ..ProcessReport::default() }, wall, now);
        }
    }

    fn sweep(&self, now: Instant) {
        self.lock().processes.retain(|_, process| now.duration_since(process.at) < FORGET_AFTER);
    }

    pub(crate) fn seen(&self, now: Instant) -> SeenFleet {
        let state = self.lock();
        let listening = state.listening_since.map(|since| now.duration_since(since));
        let seen = |process: &HeardProcess| {
            let silent = now.duration_since(process.at);
            let is_lost = listening.is_some_and(|listening| silent.min(listening) >= LOST_AFTER);
            SeenProcess { report: process.report.clone(), silent, heard_at: process.wall, is_lost }
        };
        let all = state.processes.values().filter(|process| now.duration_since(process.at) < FORGET_AFTER);
        let mut processes: Vec<_> = all.map(seen).collect();
        let replaced: Vec<_> = processes.iter().filter(|lost| lost.is_lost && replaces(&processes, lost)).collect();
        let replaced: Vec<_> = replaced.into_iter().map(|lost| lost.report.process.clone()).collect();
        processes.retain(|process| !replaced.contains(&process.report.process));
        processes.sort_by_cached_key(|process| {
            let ProcessReport { roles, host, started_at, process, .. } = &process.report;
            let rank = ["control", "producer", "router"].iter().position(|role| roles.iter().any(|own| own == role));
            (rank.unwrap_or(3), host.clone(), *started_at, process.clone())
        });
        SeenFleet { listening, processes, canaries: state.canaries.values().cloned().collect() }
    }

    fn lock(&self) -> MutexGuard<'_, FleetState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// True if a process with the same roles was started on the same host after another was last heard of: as a service manager
/// starts what has died again.
fn replaces(all: &[SeenProcess], lost: &SeenProcess) -> bool {
    let former = &lost.report;
    all.iter().any(|SeenProcess { report, is_lost, .. }| {
        let is_alike = (&report.roles, &report.host) == (&former.roles, &former.host);
        !is_lost && is_alike && report.started_at.saturating_add(CLOCK_SLACK_MS) > lost.heard_at
    })
}

impl Control {
    /// Follows what processes announce of themselves and of endpoints, until the future is dropped.
    pub async fn watch_fleet(self: &Arc<Self>) {
        let (mut notices, mut connection) = (self.deps.broker.notices(), self.deps.broker.connection_state());
        // The others answer with how they are.
        self.deps.broker.announce(Notice::Hello.write().into());
        let mut sweeps = interval(SWEEP_INTERVAL);
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_listening = !matches!(*connection.borrow_and_update(), ConnectionState::Away(_));
            self.fleet.listen(is_listening, Instant::now());
            tokio::select! {
                notice = notices.next() => match notice {
                    Some(notice) => self.observe(&notice),
                    None => return,
                },
                Ok(()) = connection.changed() => {}
                _ = sweeps.tick() => {
                    self.fleet.sweep(Instant::now());
                    if let Some(snapshot) = self.deps.store.snapshot() {
                        self.endpoint_health.sweep(&snapshot, Instant::now());
                    }
                }
            }
        }
    }

    fn observe(self: &Arc<Self>, notice: &[u8]) {
        let (now, wall) = (Instant::now(), (self.deps.clock)());
        match Notice::read(notice) {
            Some(Notice::Process(report)) => self.fleet.note(*report, wall, now),
            Some(Notice::Deliverer { process, leaves, canaries, .. }) => {
                self.fleet.note_deliverer(process, leaves, canaries, wall, now);
            }
            Some(Notice::Endpoints { process, failing, recovered, unnamed }) => {
                let changes = self.endpoint_health.note(&process, failing, recovered, unnamed, now);
                changes.into_iter().for_each(|change| self.health_changed(change));
            }
            Some(Notice::Findings { process, findings, .. }) => {
                let snapshot = self.deps.store.snapshot();
                for finding in findings {
                    let Finding::Usage { tenant, endpoint_id: Some(endpoint), day, counts } = finding else { continue };
                    let Some(owner) = snapshot.as_ref().and_then(|snapshot| snapshot.tenant(&tenant)) else { continue };
                    let version = owner.versions.of(ItemKind::Endpoint, &endpoint);
                    let counted = (day.as_str(), counts.delivered);
                    let change = self.endpoint_health.delivered(&process, (&tenant, &endpoint, version), counted, wall);
                    change.into_iter().for_each(|change| self.health_changed(change));
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_790_000_000_000;

    fn report(process: &str, role: &str, started_at: u64) -> ProcessReport {
        let (roles, version) = (vec![role.to_owned()], "1".to_owned());
        ProcessReport {
            process: process.into(),
            roles,
            version,
            host: "box".into(),
            started_at,
            ..ProcessReport::default()
        }
    }

    fn names(seen: &SeenFleet) -> Vec<(&str, bool)> {
        seen.processes.iter().map(|process| (process.report.process.as_str(), process.is_lost)).collect()
    }

    #[test]
    fn a_silent_process_is_lost_after_three_reports_and_forgotten_after_ten_minutes() {
        let (fleet, start) = (Fleet::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        fleet.listen(true, start);
        fleet.note(report("a", "router", NOW), NOW, start);
        fleet.note(report("b", "deliverer", NOW), NOW, start);
        fleet.note(report("b", "deliverer", NOW), NOW + 10_000, at(10));
        assert_eq!(names(&fleet.seen(at(14))), [("a", false), ("b", false)]);
        assert_eq!(names(&fleet.seen(at(15))), [("a", true), ("b", false)]);
        assert_eq!(names(&fleet.seen(at(600))), [("b", true)]);
        fleet.note(ProcessReport { leaves: true, ..report("b", "deliverer", NOW) }, NOW, at(601));
        assert_eq!(names(&fleet.seen(at(601))), [], "it said that it ends");
    }

    #[test]
    fn nobody_is_lost_while_nobody_can_be_heard() {
        let (fleet, start) = (Fleet::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        fleet.listen(true, start);
        fleet.note(report("a", "router", NOW), NOW, start);
        fleet.listen(false, at(5));
        assert_eq!((names(&fleet.seen(at(60))), fleet.seen(at(60)).listening), (vec![("a", false)], None));
        fleet.listen(true, at(60));
        assert_eq!(names(&fleet.seen(at(74))), [("a", false)]);
        assert_eq!(names(&fleet.seen(at(75))), [("a", true)]);
    }

    #[test]
    fn a_process_that_was_started_again_takes_the_place_of_the_lost_one() {
        let (fleet, start) = (Fleet::default(), Instant::now());
        let later = start + Duration::from_secs(30);
        fleet.listen(true, start);
        for process in ["beside", "killed"] {
            fleet.note(report(process, "deliverer", NOW - 60_000), NOW, start);
        }
        fleet.note(report("beside", "deliverer", NOW - 60_000), NOW + 30_000, later);
        assert_eq!(names(&fleet.seen(later)), [("beside", false), ("killed", true)], "it ran beside it");
        fleet.note(report("again", "deliverer", NOW + 1_000), NOW + 30_000, later);
        assert_eq!(names(&fleet.seen(later)), [("beside", false), ("again", false)]);
    }

    #[test]
    fn a_deliverer_of_an_earlier_version_is_known_by_its_heartbeat() {
        let (fleet, now) = (Fleet::default(), Instant::now());
        fleet.note_deliverer("old".into(), false, vec![], NOW, now);
        fleet.note(report("new", "deliverer", NOW), NOW, now);
        fleet.note_deliverer("new".into(), true, vec![], NOW, now);
        let seen = fleet.seen(now);
        assert_eq!(seen.processes.len(), 2, "the process says itself when it ends");
        fleet.note_deliverer("old".into(), true, vec![], NOW, now);
        assert_eq!(names(&fleet.seen(now)), [("new", false)]);
    }
}
