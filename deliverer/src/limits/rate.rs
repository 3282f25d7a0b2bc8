//! When attempts at an endpoint may start: the next one (`RateLimiter`), and deferred ones (`Reservations`). Both are
//! clocks of the generic cell rate algorithm (GCRA) without a burst. Pure. Times are ms of uptime with fractions.

use std::collections::VecDeque;

use super::uptime::Uptime;

/// Factor by which gaps exceed what the rate asks for, because a start that is late by up to 20 ms must not come too close
/// to the next one.
const MARGIN: f64 = 1.02;
/// Longest gap, in ms: rates below one a day count as one a day.
const LONGEST_GAP_MS: f64 = 86_400_000.0;

pub(super) fn gap_ms(per_second: f64) -> f64 {
    (MARGIN * 1_000.0 / per_second).clamp(0.0, LONGEST_GAP_MS)
}

/// Spaces starts, for `rate_limit` and for `Retry-After`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct RateLimiter {
    next: f64,
}

impl RateLimiter {
    /// Takes the next free time from `now` on. The one after it is `gap_ms` later.
    pub(super) fn take(&mut self, now: Uptime, gap_ms: f64) -> Uptime {
        let start = self.next.max(now.as_f64());
        self.next = start + gap_ms;
        Uptime::not_before(start)
    }

    pub(super) fn delay_ms(&self, now: Uptime) -> f64 {
        (self.next - now.as_f64()).max(0.0)
    }

    /// Holds all starts until `until`.
    pub(super) fn hold(&mut self, until: Uptime) {
        self.next = self.next.max(until.as_f64());
    }
}

/// A delivery is counted for up to one part in this many longer than it waits, so that an entry counts many.
const COUNT_PRECISION: u64 = 16;
/// Shortest time, in ms, between two entries that count deferred deliveries.
const MIN_COUNT_GAP_MS: u64 = 128;
/// Steps between two times that stay free for deliveries that returned too early.
const STEPS_PER_SPARE: f64 = 10.0;

/// The times among which one is reserved.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) first: Uptime,
    pub(super) length_ms: f64,
}

impl Window {
    /// The window's last ms of uptime.
    fn last(self) -> f64 {
        self.first.as_f64() + self.length_ms
    }
}

/// Times at which this process' deferred deliveries to one endpoint return. Each gets its own, so that one deferral is
/// usually enough. Only when more are deferred than a window has times, several get the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Reservations {
    next: f64,
    /// Next time between reserved ones that was left free.
    next_spare: f64,
    /// End of the reserved times.
    end: f64,
    /// A time, and the number of deliveries that return between the entry before and that time.
    counts: VecDeque<(Uptime, u64)>,
}

impl Reservations {
    /// Reserves the next free time of `window`. The one after it is `step_ms` later. When none is left, those of the
    /// window are reserved once more, from its first on.
    pub(super) fn reserve(&mut self, window: Window, step_ms: f64) -> Uptime {
        let first = window.first.as_f64();
        let at = if self.next > window.last() { first } else { self.next.max(first) };
        self.next = at + step_ms;
        self.end = self.end.max(self.next);
        Uptime::not_before(at)
    }

    /// Reserves for a delivery that has waited already: a spare time, or the next free time if that is sooner.
    pub(super) fn reserve_again(&mut self, window: Window, step_ms: f64) -> Uptime {
        let at = self.next_spare.max(window.first.as_f64());
        if at >= self.next.min(window.last()) {
            return self.reserve(window, step_ms);
        }
        self.next_spare = at + step_ms * STEPS_PER_SPARE;
        Uptime::not_before(at)
    }

    /// Reserves a time that is not one of a window.
    pub(super) fn reserve_at(&mut self, at: Uptime) {
        self.end = self.end.max(at.as_f64());
    }

    pub(super) fn reach_beyond(&self, at: Uptime) -> bool {
        self.end > at.as_f64()
    }

    /// Begins again at `at`. Earlier reservations are void.
    pub(super) fn restart(&mut self, at: Uptime) {
        (self.next, self.next_spare, self.end) = (at.as_f64(), at.as_f64(), at.as_f64());
    }

    /// Continues at the end, behind all reserved times.
    pub(super) fn continue_at_end(&mut self) {
        self.next = self.end;
    }

    /// Brings all reservations forward by so many ms.
    pub(super) fn advance(&mut self, ms: u64) {
        let sooner = |at: f64| (at - ms as f64).max(0.0);
        (self.next, self.next_spare, self.end) = (sooner(self.next), sooner(self.next_spare), sooner(self.end));
        self.counts.iter_mut().for_each(|(until, _)| *until = *until - ms);
    }

    /// Counts a delivery that returns at `at`. The farther ahead that is, the farther apart are the entries.
    pub(super) fn count(&mut self, at: Uptime, now: Uptime) {
        let gap_ms = (at.ms_since(now).next_power_of_two() / (2 * COUNT_PRECISION)).max(MIN_COUNT_GAP_MS);
        let at = at.rounded_up(gap_ms);
        let place = self.counts.partition_point(|(until, _)| *until < at);
        match self.counts.get_mut(place) {
            Some((until, count)) if *until == at => *count += 1,
            _ => self.counts.insert(place, (at, 1)),
        }
    }

    pub(super) fn backlog(&mut self, now: Uptime) -> u64 {
        while self.counts.front().is_some_and(|(until, _)| *until <= now) {
            self.counts.pop_front();
        }
        self.counts.iter().map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Uptime = Uptime::of_ms(1_000);

    fn from(first: Uptime) -> Window {
        Window { first, length_ms: 1e9 }
    }

    #[test]
    fn reservations_that_were_brought_forward_are_free_and_count_no_more_once_their_time_has_come() {
        let mut reservations = Reservations::default();
        for _ in 0..8 {
            let at = reservations.reserve(from(NOW), 1_000.0);
            reservations.count(at, NOW);
        }
        reservations.advance(3_500);
        assert_eq!(reservations.backlog(NOW), 4);
        reservations.advance(3_600_000);
        assert_eq!(reservations.backlog(NOW), 0);
        assert_eq!(reservations.reserve(from(NOW), 1_000.0), NOW);
    }

    proptest! {
        #[test]
        fn a_rate_limiter_never_allows_more_than_its_rate_in_any_window(
            arrivals in proptest::collection::vec(0..3_000_u64, 2..400),
            per_second in 0.5..2_000.0_f64,
        ) {
            let (mut rate, mut now) = (RateLimiter::default(), NOW);
            let starts: Vec<_> = arrivals.into_iter().map(|ms| {
                now = now + ms / 50;
                rate.take(now, gap_ms(per_second))
            }).collect();
            for (at, start) in starts.iter().enumerate() {
                for (further, end) in starts[at..].iter().enumerate() {
                    // The window is open at one end, and a ms goes to the rounding.
                    let allowed = (end.ms_since(*start) + 1) as f64 / 1_000.0 * per_second + 1.0;
                    prop_assert!(further as f64 <= allowed, "{further} in {} ms", end.ms_since(*start));
                }
            }
        }
    }

    #[test]
    fn a_rate_limiter_keeps_to_its_rate_although_each_start_may_be_a_little_late() {
        let mut rate = RateLimiter::default();
        let starts: Vec<_> = (0..100).map(|_| rate.take(NOW, gap_ms(10.0))).collect();
        for (at, start) in starts.iter().enumerate() {
            let late = *start + 15;
            let in_second = starts[at + 1..].iter().filter(|other| **other < late + 1_000).count();
            assert!(in_second < 10, "{in_second} and the first");
        }
        assert_eq!(starts[99], NOW + 99 * 102);
    }

    #[test]
    fn a_rate_limiter_starts_nothing_while_it_is_held() {
        let mut rate = RateLimiter::default();
        rate.hold(NOW + 5_000);
        rate.hold(NOW + 1_000);
        assert_eq!(rate.delay_ms(NOW), 5_000.0);
        assert_eq!(rate.take(NOW, 0.0), NOW + 5_000);
    }

    #[test]
    fn a_reservation_is_the_next_free_time() {
        let mut reservations = Reservations::default();
        let times: Vec<_> = (0..4).map(|_| reservations.reserve(from(NOW + 1_000), 250.0).ms_since(NOW)).collect();
        assert_eq!(times, [1_000, 1_250, 1_500, 1_750]);
        assert!(reservations.reach_beyond(NOW + 1_999) && !reservations.reach_beyond(NOW + 2_000));
        assert_eq!(reservations.reserve(from(NOW + 5_000), 250.0), NOW + 5_000, "none before the earliest");
        reservations.restart(NOW + 60_000);
        assert_eq!(reservations.reserve(from(NOW), 1.0), NOW + 60_000);
    }

    #[test]
    fn a_delivery_that_returned_too_early_gets_a_spare_time_or_the_next_free_one_if_that_is_sooner() {
        let mut reservations = Reservations::default();
        (0..40).for_each(|_| _ = reservations.reserve(from(NOW), 100.0));
        let times: Vec<_> = (0..5).map(|_| reservations.reserve_again(from(NOW + 500), 100.0).ms_since(NOW)).collect();
        assert_eq!(times, [500, 1_500, 2_500, 3_500, 4_000]);
    }

    #[test]
    fn the_times_of_a_window_are_reserved_again_and_again_and_evenly() {
        let window = Window { first: NOW, length_ms: 10_000.0 };
        let mut reservations = Reservations::default();
        let times: Vec<_> = (0..1_010).map(|_| reservations.reserve(window, 100.0).ms_since(NOW)).collect();
        for second in 0..10 {
            let count = times.iter().filter(|ms| **ms / 1_000 == second).count();
            assert_eq!(count, 100, "{second}");
        }
        assert!(reservations.reach_beyond(NOW + 10_000) && !reservations.reach_beyond(NOW + 10_101));
    }

    #[test]
    fn a_delivery_that_is_deferred_again_and_again_is_counted_once() {
        let (mut reservations, mut now) = (Reservations::default(), NOW);
        (0..10_000).for_each(|at| reservations.count(now + 120_000 + at, now));
        for _ in 0..20 {
            let again = now + 120_000;
            for at in 0..10_000 {
                now = again + at;
                let counted = reservations.backlog(now);
                // A wait of two minutes is counted for up to eight seconds too long.
                assert!((10_000..18_300).contains(&(counted + 1)), "{counted}");
                reservations.count(now + 120_000, now);
            }
            now = again;
        }
        assert_eq!(reservations.backlog(now + 115_000), 10_000);
    }

    proptest! {
        #[test]
        fn a_reservation_is_in_its_window(
            steps in proptest::collection::vec((any::<bool>(), 0..2_000_u64, 0..60_000_u64), 1..300),
            step_ms in 0.1..10_000.0_f64,
        ) {
            let (mut reservations, mut now) = (Reservations::default(), NOW);
            for (has_waited, ms, length) in steps {
                now = now + ms;
                let window = Window { first: now, length_ms: length as f64 };
                let at = match has_waited {
                    true => reservations.reserve_again(window, step_ms),
                    false => reservations.reserve(window, step_ms),
                };
                prop_assert!(now <= at && at <= now + length + 1, "{} ms of {length}", at.ms_since(now));
            }
        }

        #[test]
        fn the_backlog_is_counted_in_little_memory_and_never_too_small(
            dues in proptest::collection::vec(1..100_000_000_u64, 0..2_000),
            later in 0..100_000_000_u64,
        ) {
            let mut reservations = Reservations::default();
            for due in &dues {
                reservations.count(NOW + *due, NOW);
            }
            prop_assert!(reservations.counts.len() <= 32 * 20, "{} entries", reservations.counts.len());
            prop_assert_eq!(reservations.backlog(NOW), dues.len() as u64);
            let waiting = |since: u64| dues.iter().filter(|due| **due > since).count() as u64;
            let counted = reservations.backlog(NOW + later);
            prop_assert!(counted >= waiting(later));
            prop_assert!(counted <= waiting((later / 17 * 16).saturating_sub(MIN_COUNT_GAP_MS)), "{counted}");
            prop_assert_eq!(reservations.backlog(NOW + 120_000_000), 0);
        }
    }
}
