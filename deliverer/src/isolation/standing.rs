//! What is known of one endpoint, and what a delivery to it may do now. Pure: time and chance are arguments; who waits
//! in the process, and how, is the door's business.

use super::{
    bookings::Bookings,
    breaker::{Breaker, Change, Passage, Phase},
    effect::{Ended, Health, Load},
    failing::{Failed, Failing},
    pace::Pace,
    suspicion::{Suspicion, is_slow},
    tempo::Tempo,
    terms::Terms,
    window::Window,
};
use crate::config::BreakerConfig;

/// What can be had within this, in ms, is waited for in the process: a ladder's shortest wait is as long.
pub(crate) const LINGER: f64 = 1_000.0;
/// Where others are booked, who is new waits for no longer than this, in ms: who comes back is to find a queue that he may
/// join.
const BRIEF: f64 = 500.0;
/// So far ahead, in ms, bookings are only as late as no wait can be shorter, and a little: the endpoint keeps up.
const KEEPS_UP: u64 = 2_000;
/// Bookings leave one place in ten free, for what is late and what is new.
const SLACK: f64 = 1.1;
/// For how long a `Retry-After` to one delivery holds up the endpoint's others, at most, in ms. The delivery itself
/// waits for as long as it says: one mistaken answer is not to silence an endpoint for a day.
const LONGEST_HOLD: u64 = 300_000;

/// What is known of one endpoint.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing {
    breaker: Breaker,
    window: Window,
    pace: Pace,
    bookings: Bookings,
    suspicion: Suspicion,
    tempo: Tempo,
    /// Requests that have a place.
    pub(super) under_way: u32,
    /// Deliveries that wait in the process for a place.
    pub(super) queued: u32,
    failing: Failing,
    /// When it last did something, unix ms.
    used_at: u64,
}

/// A delivery that wants to go out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    /// It comes back from a wait, so it goes before those who come for the first time.
    pub(crate) has_waited: bool,
    /// There is room to wait in the process.
    pub(crate) has_room: bool,
}

/// What a delivery may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It has a place: attempt at this time, unix ms.
    Start { at: u64, is_probe: bool },
    /// It gets a place soon.
    Queue,
    /// It comes back then, unix ms.
    Park { until: u64, why: Why },
    /// Too many of them wait already.
    Overflow,
}

/// Why a delivery is put aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// The endpoint is down.
    Breaker,
    /// As many as it bears are under way.
    Cap,
    /// Its `rate_limit`, or what it asked for.
    Rate,
}

impl Standing {
    /// Of one of which nothing is known.
    pub(crate) fn new(breaker: BreakerConfig) -> Self {
        Self { breaker: Breaker::new(breaker), ..Self::default() }
    }

    /// What a delivery may do at `now`, unix ms.
    pub(crate) fn admit(&mut self, arrival: Arrival, terms: &Terms, now: u64) -> Decision {
        self.used_at = now;
        let gap = terms.gap(self.tempo.round_trip());
        // Also a probe keeps to the rate.
        if self.pace.delay(now) > LINGER {
            return self.defer(arrival, Why::Rate, terms, now);
        }
        match self.breaker.ask(now, terms.patience) {
            Passage::Shut(until) => return self.wait_for_breaker(until, terms, now),
            Passage::Probe => {
                self.under_way += 1;
                return Decision::Start { at: self.pace.take(now, gap), is_probe: true };
            }
            Passage::Free => {}
        }
        let is_free = self.queued == 0 && self.under_way < self.window.places(terms.most);
        // Who waited goes first; what is booked would else be late by all who come meanwhile.
        let yields = !arrival.has_waited && self.bookings.are_ahead_of(now + KEEPS_UP);
        let may_wait = match (arrival.has_room, yields) {
            (false, _) => 0.0,
            (true, true) => BRIEF,
            (true, false) => LINGER,
        };
        if is_free && (!yields || self.pace.delay(now) <= may_wait) {
            self.under_way += 1;
            return Decision::Start { at: self.pace.take(now, gap), is_probe: false };
        }
        if self.expected_wait(terms, now) <= may_wait {
            self.queued += 1;
            return Decision::Queue;
        }
        let why = if gap > self.step(terms) / 2.0 { Why::Rate } else { Why::Cap };
        self.defer(arrival, why, terms, now)
    }

    /// A place for the first in the queue, if there is one: when it may start, unix ms.
    pub(crate) fn grant(&mut self, terms: &Terms, now: u64) -> Option<u64> {
        let is_free =
            self.queued > 0 && self.breaker.phase() == Phase::Closed && self.under_way < self.window.places(terms.most);
        if !is_free {
            return None;
        }
        self.queued -= 1;
        self.under_way += 1;
        Some(self.pace.take(now, terms.gap(self.tempo.round_trip())))
    }

    /// An attempt is over.
    pub(crate) fn ended(&mut self, ended: Ended, terms: &Terms, now: u64, chance: f64) -> Option<Change> {
        self.used_at = now;
        let is_slower = self.measure(&ended);
        match ended.load {
            Load::Breaks => self.cut(now),
            _ if is_slower => self.window.ease(now, self.tempo.latency()),
            Load::Bears => self.window.grow(self.under_way, terms.most),
            Load::Neither => {}
        }
        self.under_way = self.under_way.saturating_sub(1);
        if let Some(hold) = ended.hold {
            self.pace.hold(now.saturating_add(hold.min(LONGEST_HOLD)));
        }
        let change = match ended.health {
            Health::Well => self.breaker.well(),
            Health::Ill => self.breaker.ill(ended.was_probe, now, chance),
            Health::Neither => self.breaker.neither(ended.was_probe),
        };
        self.follow(change, now);
        change
    }

    /// An attempt was given up: nothing is known of what came of it.
    pub(crate) fn abandoned(&mut self, was_probe: bool, now: u64) {
        self.under_way = self.under_way.saturating_sub(1);
        if was_probe {
            self.breaker.abandon_probe(now);
        }
    }

    /// Another process says what became of its breaker. True if that changes something here.
    pub(crate) fn hear(&mut self, change: Change, now: u64) -> bool {
        let is_news = self.breaker.hear(change, now);
        if is_news {
            self.used_at = now;
            self.follow(Some(change), now);
        }
        is_news
    }

    /// The endpoint was changed, which may have mended it: it is not held against it how it was.
    pub(crate) fn forgive(&mut self) {
        self.breaker.reset();
        self.suspicion = Suspicion::default();
        self.failing = Failing::default();
    }

    /// A delivery that waits elsewhere comes back then, unix ms: it counts as backlog.
    pub(crate) fn comes_back(&mut self, at: u64) {
        self.bookings.note(at);
    }

    /// There is another reason to be suspicious.
    pub(crate) fn arouse(&mut self, now: u64) {
        self.suspicion.arouse(now);
    }

    /// Whether it may hold up others.
    pub(crate) fn is_suspect(&self, now: u64) -> bool {
        self.suspicion.holds(now)
    }

    /// What can be seen of its breaker.
    pub(crate) fn phase(&self) -> Phase {
        self.breaker.phase()
    }

    /// Average ms of a success; 0 where there was none.
    pub(crate) fn usual(&self) -> f64 {
        self.tempo.success()
    }

    /// An attempt succeeded, or did not: is there something to tell of an endpoint that does nothing but fail?
    pub(crate) fn judge(&mut self, is_success: bool, now: u64) -> Option<Failed> {
        if is_success {
            self.failing.succeeded();
            return None;
        }
        self.failing.failed(now)
    }

    /// Whether it can be forgotten: nothing is under way, and nothing was for `ms`.
    pub(crate) fn is_idle_for(&self, ms: u64, now: u64) -> bool {
        self.under_way == 0 && self.queued == 0 && !self.bookings.are_ahead_of(now) && self.used_at + ms <= now
    }

    /// Answers take so long, in ms.
    #[cfg(test)]
    pub(crate) fn measured_as(&mut self, ms: f64) {
        self.tempo = Tempo::measured_as(ms);
    }

    /// How long one more in the queue would wait, in ms.
    fn expected_wait(&self, terms: &Terms, now: u64) -> f64 {
        let before = f64::from(self.queued);
        let for_place = (before + 1.0) * self.tempo.round_trip() / f64::from(self.window.places(terms.most));
        let for_time = self.pace.delay(now) + before * terms.gap(self.tempo.round_trip());
        for_place.max(for_time)
    }

    /// Ms between two that the endpoint will take.
    fn step(&self, terms: &Terms) -> f64 {
        self.tempo.round_trip() / self.window.prospect(terms.soon.0)
    }

    fn booked_step(&self, terms: &Terms) -> f64 {
        SLACK * self.step(terms).max(terms.gap_soon(self.tempo.round_trip()))
    }

    fn defer(&mut self, arrival: Arrival, why: Why, terms: &Terms, now: u64) -> Decision {
        if self.bookings.waiting(now) >= terms.backlog {
            return Decision::Overflow;
        }
        let earliest = now.saturating_add((self.pace.delay(now).max(LINGER)) as u64);
        let step = self.booked_step(terms);
        let until = match arrival.has_waited {
            true => self.bookings.book_again(earliest, step),
            false => self.bookings.book(earliest, step),
        };
        self.bookings.note(until);
        Decision::Park { until, why }
    }

    /// One comes back when it is open again and may probe; the others when the probe should have told.
    fn wait_for_breaker(&mut self, until: u64, terms: &Terms, now: u64) -> Decision {
        if self.bookings.waiting(now) >= terms.backlog {
            return Decision::Overflow;
        }
        let answer = self.tempo.latency().min(terms.patience);
        let earliest = match self.breaker.phase() {
            Phase::HalfOpen => until.saturating_sub(terms.patience).saturating_add(answer),
            _ if self.bookings.are_ahead_of(until) => until.saturating_add(answer),
            _ => until,
        };
        let earliest = earliest.max(now.saturating_add(LINGER as u64));
        let until = self.bookings.book(earliest, self.booked_step(terms));
        self.bookings.note(until);
        Decision::Park { until, why: Why::Breaker }
    }

    /// Whether it takes much longer of late than it used to.
    fn measure(&mut self, ended: &Ended) -> bool {
        let Some(took) = ended.took else { return false };
        let latency = self.tempo.note(took, ended.health == Health::Well);
        if is_slow(latency) {
            self.suspicion.arouse(self.used_at);
        }
        self.tempo.is_slower()
    }

    fn cut(&mut self, now: u64) {
        self.window.cut(now, self.tempo.latency());
    }

    fn follow(&mut self, change: Option<Change>, now: u64) {
        if let Some(Change::Opened { until, .. }) = change {
            self.window.collapse(now);
            self.bookings.begin_anew(until);
            self.suspicion.arouse(until);
        }
    }
}

#[cfg(test)]
mod tests;
