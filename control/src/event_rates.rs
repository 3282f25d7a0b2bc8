//! How many events each tenant published lately, from the usage that routers report.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Time over which a rate is measured: several reports of usage.
const WINDOW: Duration = Duration::from_secs(60);
/// Time after which a process that reports nothing is forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(60 * 60);

#[derive(Debug, Default)]
pub(crate) struct EventRates(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    processes: HashMap<String, Process>,
    /// Events of each tenant within the window, by the time of their report.
    recent: HashMap<String, VecDeque<(Instant, u64)>>,
    swept: Option<Instant>,
}

#[derive(Debug)]
struct Process {
    seen: Instant,
    /// True when its first report of all was heard, so that nothing was counted before.
    is_whole: bool,
    /// The last report of each tenant: a day, and the events of that day since the process started.
    reports: HashMap<String, (String, u64)>,
}

impl EventRates {
    /// Notes a report of usage. Reports are cumulative, so a tenant's first one is as new as it looks only where the process
    /// was heard from its beginning on.
    pub(crate) fn note(&self, process: &str, sequence: u64, tenant: &str, day: &str, events: u64, now: Instant) {
        let mut state = self.lock();
        state.sweep(now);
        let new = Process { seen: now, is_whole: sequence == 1, reports: HashMap::new() };
        let reporter = state.processes.entry(process.to_owned()).or_insert(new);
        reporter.seen = now;
        let is_new = reporter.is_whole || reporter.reports.contains_key(tenant);
        let (before, was) = reporter.reports.entry(tenant.to_owned()).or_default();
        let more = if before == day { events.saturating_sub(*was) } else { events };
        if before != day || more > 0 {
            (*before, *was) = (day.to_owned(), events);
        }
        if is_new && more > 0 {
            state.recent.entry(tenant.to_owned()).or_default().push_back((now, more));
        }
    }

    /// Returns a tenant's events per second over the last minute, in hundredths.
    pub(crate) fn per_second(&self, tenant: &str, now: Instant) -> f64 {
        let state = self.lock();
        let reports = state.recent.get(tenant).into_iter().flatten();
        let events: u64 = reports.filter(|(at, _)| is_recent(*at, now)).map(|(_, events)| events).sum();
        (events as f64 * 100.0 / WINDOW.as_secs_f64()).round() / 100.0
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Forgets what is too old, once in a window.
    fn sweep(&mut self, now: Instant) {
        if self.swept.is_some_and(|swept| is_recent(swept, now)) {
            return;
        }
        self.swept = Some(now);
        self.processes.retain(|_, process| now.duration_since(process.seen) < FORGET_AFTER);
        self.recent.retain(|_, reports| {
            reports.retain(|(at, _)| is_recent(*at, now));
            !reports.is_empty()
        });
    }
}

fn is_recent(at: Instant, now: Instant) -> bool {
    now.duration_since(at) < WINDOW
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_of_what_all_processes_report_anew_within_a_minute() {
        let (rates, start) = (EventRates::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        rates.note("old", 70, "acme", "2026-11-29", 1_000_000, at(0));
        rates.note("old", 70, "zeta", "2026-11-29", 1_000_000, at(0));
        assert_eq!(
            (rates.per_second("acme", at(0)), rates.per_second("zeta", at(0))),
            (0.0, 0.0),
            "since when is unknown"
        );
        rates.note("old", 71, "acme", "2026-11-29", 1_000_300, at(15));
        rates.note("old", 71, "acme", "2026-11-29", 1_000_300, at(16));
        rates.note("new", 1, "acme", "2026-11-29", 60, at(20));
        rates.note("new", 1, "free", "2026-11-29", 60, at(20));
        assert_eq!((rates.per_second("acme", at(20)), rates.per_second("free", at(20))), (6.0, 1.0));
        assert_eq!(rates.per_second("zeta", at(20)), 0.0);
        rates.note("old", 72, "acme", "2026-11-30", 30, at(30));
        rates.note("old", 73, "zeta", "2026-11-30", 1, at(30));
        assert_eq!((rates.per_second("acme", at(74)), rates.per_second("zeta", at(74))), (6.5, 0.02));
        assert_eq!(rates.per_second("acme", at(75)), 1.5);
        rates.note("old", 74, "zeta", "2026-11-30", 1, at(100));
        assert_eq!((rates.per_second("acme", at(100)), rates.lock().recent.len()), (0.0, 0), "it is forgotten");
    }
}
