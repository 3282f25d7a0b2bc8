//! The intake as commands and control's probes announce it: open, or closed. While it is closed, the broker parks events as
//! unroutable, so producers refuse them instead, and neither producers nor routers are ready.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use broker::{BrokerConfig, rabbitmq::Topology};
use tokio::time::Instant;

/// Interval of the probes from the public exchange to the intake.
pub(super) const PROBE_INTERVAL: Duration = Duration::from_secs(30);
/// Time without a word after which the intake counts as open: nobody probes it, so nobody would tell that it is open again.
const WORD_KEPT: Duration = Duration::from_secs(150);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closed {
    /// By `topology drain`.
    Drained,
    /// By somebody who removed the binding.
    Unbound,
}

#[derive(Default)]
pub(super) struct Intake {
    /// The public exchange.
    exchange: String,
    queue: String,
    /// False while nothing was said, so that a publish costs one look.
    is_closed: AtomicBool,
    /// With the time of the last word.
    closed: Mutex<Option<(Closed, Instant)>>,
}

impl Intake {
    pub(super) fn new(config: &BrokerConfig) -> Self {
        let bindings = Topology::plan(config).bindings;
        let queue = bindings.into_iter().find(|binding| binding.from == config.exchange);
        Self {
            exchange: config.exchange.clone(),
            queue: queue.map(|binding| binding.to).unwrap_or_default(),
            is_closed: AtomicBool::new(false),
            closed: Mutex::default(),
        }
    }

    /// Notes that a command has opened or closed the intake.
    pub(super) fn note_command(&self, is_open: bool, now: Instant) {
        self.note((!is_open).then_some(Closed::Drained), now);
    }

    /// Notes what a probe has shown. An intake that was closed by a command stays so until it is bound.
    pub(super) fn note_probe(&self, is_bound: bool, now: Instant) {
        let before = self.closed(now).unwrap_or(Closed::Unbound);
        self.note((!is_bound).then_some(before), now);
    }

    fn note(&self, closed: Option<Closed>, now: Instant) {
        let before = self.closed(now);
        let mut last = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        *last = closed.map(|closed| (closed, now));
        self.is_closed.store(closed.is_some(), Ordering::Relaxed);
        drop(last);
        match (before, closed) {
            (before, Some(closed)) if before != Some(closed) => {
                tracing::warn!(error = self.explain(closed), "intake.closed");
            }
            (Some(_), None) => tracing::info!("intake.opened"),
            _ => {}
        }
    }

    fn closed(&self, now: Instant) -> Option<Closed> {
        if !self.is_closed.load(Ordering::Relaxed) {
            return None;
        }
        let last = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = last.filter(|(_, said)| now.duration_since(*said) < WORD_KEPT);
        self.is_closed.store(kept.is_some(), Ordering::Relaxed);
        kept.map(|(closed, _)| closed)
    }

    pub(super) fn is_closed(&self) -> bool {
        // Most often there is nothing to look up, nor a time to ask for.
        self.is_closed.load(Ordering::Relaxed) && self.closed(Instant::now()).is_some()
    }

    /// Why no event comes in, for `/readyz`.
    pub(super) fn why_closed(&self) -> Option<String> {
        self.closed(Instant::now()).map(|closed| self.explain(closed))
    }

    fn explain(&self, closed: Closed) -> String {
        let Self { exchange, queue, .. } = self;
        match closed {
            Closed::Drained => {
                "the intake is closed by `carteiro topology drain`: `carteiro topology apply` opens it".to_owned()
            }
            Closed::Unbound => {
                format!("the exchange {exchange} is not bound to {queue}: run `carteiro topology apply`")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intake() -> Intake {
        Intake::new(&BrokerConfig {
            url: "amqp://broker".to_owned(),
            prefix: "carteiro".to_owned(),
            exchange: "ticketing.events".to_owned(),
            declare: false,
            max_bytes: 0,
            dead_letters_bytes: 10_000_000_000,
            parked_bytes: 5_000_000_000,
        })
    }

    #[tokio::test(start_paused = true)]
    async fn an_unbound_intake_is_named_until_a_probe_comes_through() {
        let intake = intake();
        assert_eq!((intake.is_closed(), intake.why_closed()), (false, None));
        intake.note_probe(false, Instant::now());
        let why = "the exchange ticketing.events is not bound to carteiro.v1.ingest: run `carteiro topology apply`";
        assert_eq!((intake.is_closed(), intake.why_closed().as_deref()), (true, Some(why)));
        intake.note_probe(true, Instant::now());
        assert_eq!((intake.is_closed(), intake.why_closed()), (false, None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_drained_intake_stays_so_for_probes_until_it_is_applied() {
        let intake = intake();
        intake.note_command(false, Instant::now());
        intake.note_probe(false, Instant::now());
        assert!(intake.why_closed().is_some_and(|why| why.contains("`carteiro topology drain`")));
        intake.note_command(true, Instant::now());
        assert!(!intake.is_closed());
    }

    #[tokio::test(start_paused = true)]
    async fn an_intake_of_which_nobody_speaks_any_more_counts_as_open() {
        let intake = intake();
        intake.note_probe(false, Instant::now());
        tokio::time::advance(WORD_KEPT - Duration::from_secs(1)).await;
        assert!(intake.is_closed());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!intake.is_closed());
    }
}
