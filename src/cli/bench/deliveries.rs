//! The deliveries that a measurement expects: which have arrived, when, and how often.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use indicatif::ProgressBar;
use serde::Serialize;
use service::Exit;
use tokio::time::sleep;

/// Prefix of the events' ids, which end with their number.
const ID_PREFIX: &str = "bench-";
/// Interval at which the number of arrived deliveries is looked at.
const POLL: Duration = Duration::from_millis(20);

/// Deliveries of events that are numbered from 0 to endpoints that are numbered from 0. Times are nanoseconds since `begin`,
/// and 0 for what has not happened.
pub(super) struct Deliveries {
    begin: Instant,
    endpoints: usize,
    published: Vec<AtomicU64>,
    /// First arrival of each delivery; those of an event are side by side.
    arrived: Vec<AtomicU64>,
    arrivals: AtomicU64,
    duplicates: AtomicU64,
    unexpected: AtomicU64,
    /// Events that were not accepted.
    refused: AtomicU64,
}

/// What has become of the deliveries of some events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Counts {
    /// Deliveries of accepted events that have not arrived.
    pub(super) lost: u64,
    /// Arrivals beyond the first of each delivery.
    pub(super) duplicates: u64,
    /// Events that were not accepted.
    pub(super) refused: u64,
}

impl Counts {
    /// The counts as cells of a table, in the order of the fields.
    pub(super) fn cells(self) -> [String; 3] {
        [self.lost, self.duplicates, self.refused].map(|count| count.to_string())
    }

    /// Failed when something was lost.
    pub(super) fn exit(self) -> Exit {
        if self.lost == 0 { Exit::Done } else { Exit::Failed }
    }
}

impl Deliveries {
    pub(super) fn new(events: u64, endpoints: u32) -> Self {
        let (events, endpoints) = (events as usize, endpoints as usize);
        let zeros = |count| std::iter::repeat_with(AtomicU64::default).take(count).collect();
        Self {
            begin: Instant::now(),
            endpoints,
            published: zeros(events),
            arrived: zeros(events * endpoints),
            arrivals: AtomicU64::default(),
            duplicates: AtomicU64::default(),
            unexpected: AtomicU64::default(),
            refused: AtomicU64::default(),
        }
    }

    pub(super) fn id(event: u64) -> String {
        format!("{ID_PREFIX}{event}")
    }

    /// Notes that an event is about to be published.
    pub(super) fn publishing(&self, event: u64) {
        self.published[event as usize].store(self.now(), Relaxed);
    }

    pub(super) fn refused(&self, events: u64) {
        self.refused.fetch_add(events, Relaxed);
    }

    /// Notes a request with a `webhook-id` to the path of an endpoint.
    pub(super) fn arrived(&self, webhook_id: &str, path: &str) {
        let event = webhook_id.strip_prefix(ID_PREFIX).and_then(|number| number.parse::<usize>().ok());
        let endpoint = path.strip_prefix('/').and_then(|number| number.parse::<usize>().ok());
        let place = event.zip(endpoint).filter(|(_, endpoint)| *endpoint < self.endpoints);
        match place.and_then(|(event, endpoint)| self.arrived.get(event * self.endpoints + endpoint)) {
            None => self.unexpected.fetch_add(1, Relaxed),
            Some(first) => match first.compare_exchange(0, self.now(), Relaxed, Relaxed) {
                Ok(_) => self.arrivals.fetch_add(1, Relaxed),
                Err(_) => self.duplicates.fetch_add(1, Relaxed),
            },
        };
    }

    /// Number of deliveries that have arrived.
    pub(super) fn arrivals(&self) -> u64 {
        self.arrivals.load(Relaxed)
    }

    /// Waits until this many deliveries have arrived, less those of refused events, or none arrives for as long as
    /// `longest_pause`.
    pub(super) async fn arrive(&self, deliveries: u64, longest_pause: Duration, bar: &ProgressBar) {
        let (mut last, mut since) = (self.arrivals(), Instant::now());
        loop {
            let arrivals = self.arrivals();
            bar.set_position(arrivals);
            if arrivals + self.refused.load(Relaxed) * self.endpoints as u64 >= deliveries {
                return;
            }
            if arrivals != last {
                (last, since) = (arrivals, Instant::now());
            } else if since.elapsed() > longest_pause {
                return;
            }
            sleep(POLL).await;
        }
    }

    /// Counts of all events. What is unexpected counts as a duplicate: nothing but this measurement's events has the ids.
    pub(super) fn counts(&self) -> Counts {
        let refused = self.refused.load(Relaxed);
        let expected = self.arrived.len() as u64 - refused * self.endpoints as u64;
        Counts {
            lost: expected.saturating_sub(self.arrivals()),
            duplicates: self.duplicates.load(Relaxed) + self.unexpected.load(Relaxed),
            refused,
        }
    }

    /// Time since the measurement began.
    pub(super) fn elapsed(&self) -> Duration {
        self.begin.elapsed()
    }

    /// Time at which the first event but the first `warm_up` was published.
    pub(super) fn first_published(&self, warm_up: u64) -> Duration {
        let published = self.published[warm_up as usize..].iter().map(|at| at.load(Relaxed)).filter(|at| *at > 0);
        Duration::from_nanos(published.min().unwrap_or_default())
    }

    /// Times of the first arrivals of all events but the first `warm_up`, in order.
    pub(super) fn arrival_times(&self, warm_up: u64) -> Vec<Duration> {
        let arrived = self.arrived[warm_up as usize * self.endpoints..].iter().map(|at| at.load(Relaxed));
        let mut times: Vec<_> = arrived.filter(|at| *at > 0).map(Duration::from_nanos).collect();
        times.sort_unstable();
        times
    }

    /// The time of each arrival of all events but the first `warm_up`, counted from when its event was published.
    pub(super) fn latencies(&self, warm_up: u64) -> Vec<Duration> {
        let events = self.published.iter().zip(self.arrived.chunks(self.endpoints)).skip(warm_up as usize);
        let latencies = events.flat_map(|(published, arrived)| {
            let published = published.load(Relaxed);
            let arrived = arrived.iter().map(|at| at.load(Relaxed)).filter(|at| *at > 0);
            arrived.map(move |at| Duration::from_nanos(at.saturating_sub(published)))
        });
        latencies.collect()
    }

    fn now(&self) -> u64 {
        (self.elapsed().as_nanos() as u64).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deliveries_are_lost_or_come_twice() {
        let deliveries = Deliveries::new(3, 2);
        for event in 0..3 {
            deliveries.publishing(event);
        }
        deliveries.refused(1);
        for (id, path) in
            [("bench-0", "/0"), ("bench-0", "/1"), ("bench-0", "/1"), ("bench-1", "/0"), ("x", "/0"), ("bench-0", "/2")]
        {
            deliveries.arrived(id, path);
        }
        assert_eq!(deliveries.counts(), Counts { lost: 1, duplicates: 3, refused: 1 });
        assert_eq!((deliveries.arrival_times(0).len(), deliveries.arrival_times(1).len()), (3, 1));
        assert_eq!(deliveries.latencies(0).len(), 3);
        assert!(deliveries.first_published(0) < deliveries.first_published(1));
    }
}
