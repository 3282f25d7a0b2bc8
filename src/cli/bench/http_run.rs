//! One run of a standalone process: events in over HTTP, one in a request, and out again to a receiver that answers at once.

use std::{process, sync::Arc, time::Duration};

use serde::Serialize;

use super::{
    Bench,
    deliveries::{Counts, Deliveries},
    latencies::Latencies,
    load::{Load, tenant},
    processes::Processes,
    receiver::Receiver,
    results::whole,
    usage,
};
use crate::cli::output;

/// Longest time without an arrival. What has not arrived then is lost.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Largest number of events that are published before the measured ones: connections are opened.
const MAX_WARM_UP: u64 = 1_000;

/// Sizes of a run.
#[derive(Clone, Copy)]
pub(super) struct HttpRun {
    pub(super) events: u64,
    /// Endpoints that get each event.
    pub(super) endpoints: u32,
    pub(super) connections: u32,
    /// Events a second. None for as many as the connections bear.
    pub(super) per_second: Option<u32>,
}

pub(super) struct Measured {
    pub(super) deliveries: u64,
    pub(super) rates: Rates,
    /// Times from the publish to the arrival.
    pub(super) latencies: Latencies,
}

/// The figures of a run that publishes as fast as it can.
#[derive(Clone, Copy, Serialize)]
pub(super) struct Rates {
    /// Deliveries a second, from the first publish to the last arrival.
    deliveries_per_second: f64,
    /// CPU time of the process, in milliseconds for 1,000 deliveries.
    pub(super) cpu_ms_per_1000_deliveries: f64,
    /// The same of the load and the receiver, which share the cores with it.
    load_cpu_ms_per_1000_deliveries: f64,
    #[serde(flatten)]
    pub(super) counts: Counts,
}

impl Rates {
    pub(super) const HEADINGS: [&str; 6] = ["deliveries/s", "CPU ms per 1,000", "load's", "lost", "twice", "refused"];

    /// The figures as cells of a table, below the headings.
    pub(super) fn cells(self) -> [String; 6] {
        let [cpu, load] =
            [self.cpu_ms_per_1000_deliveries, self.load_cpu_ms_per_1000_deliveries].map(|ms| format!("{ms:.0}"));
        let [lost, duplicates, refused] = self.counts.cells();
        [whole(self.deliveries_per_second), cpu, load, lost, duplicates, refused]
    }
}

impl HttpRun {
    pub(super) async fn measure(self, bench: &Bench<'_>) -> anyhow::Result<Measured> {
        let warm_up = (self.events / 10).clamp(1, MAX_WARM_UP);
        let all = warm_up + self.events;
        let deliveries_of = |events: u64| events * u64::from(self.endpoints);
        let deliveries = Arc::new(Deliveries::new(all, self.endpoints));
        let receiver = Receiver::start(deliveries.clone(), Duration::ZERO).await?;
        let mut processes = Processes::prepare(bench, &tenant(self.endpoints, receiver.address), &[])?;
        processes.start("standalone").await?;
        let (address, key) = (processes.api()?, processes.operator_key()?);
        let load = Load { address, key, connections: self.connections, batch: 1, per_second: self.per_second };
        let bar = output::progress_bar(deliveries_of(all));
        let run = async |events: std::ops::Range<u64>| {
            let end = deliveries_of(events.end);
            let arrive = async {
                deliveries.arrive(end, LONGEST_PAUSE, &bar).await;
                anyhow::Ok(())
            };
            tokio::try_join!(load.publish(events, &deliveries), arrive)
        };
        run(0..warm_up).await?;
        let used = || anyhow::Ok((processes.cpu_time()?, usage::cpu_time(process::id())?));
        let (cpu_before, load_before) = used()?;
        run(warm_up..all).await?;
        let (cpu_after, load_after) = used()?;
        bar.finish_and_clear();
        processes.end().await?;

        let times = deliveries.arrival_times(warm_up);
        let count = times.len().max(1) as f64;
        let took = times.last().copied().unwrap_or_default().saturating_sub(deliveries.first_published(warm_up));
        let per_1000 = |time: Duration| time.as_secs_f64() * 1_000.0 * 1_000.0 / count;
        Ok(Measured {
            deliveries: times.len() as u64,
            rates: Rates {
                deliveries_per_second: times.len() as f64 / took.as_secs_f64().max(f64::MIN_POSITIVE),
                cpu_ms_per_1000_deliveries: per_1000(cpu_after - cpu_before),
                load_cpu_ms_per_1000_deliveries: per_1000(load_after - load_before),
                counts: deliveries.counts(),
            },
            latencies: Latencies::of(deliveries.latencies(warm_up)),
        })
    }
}
