//! Events that are published while nothing can be delivered, and then are delivered all at once. On the embedded broker the
//! endpoint answers 503 meanwhile, so what the deliverer has deferred by then returns when its time comes; on a RabbitMQ the
//! deliverer is not running yet.

use std::{collections::BTreeMap, future::Future, pin::pin, sync::Arc, time::Duration};

use anyhow::Context as _;
use indicatif::ProgressBar;
use schemas::Endpoint;
use serde::Serialize;
use service::Exit;
use tokio::time::interval;

use super::{
    Bench, Options,
    deliveries::{Counts, Deliveries},
    load::{Load, tenant},
    processes::Processes,
    progress,
    receiver::Receiver,
    results::{Results, mib, whole},
    usage,
};
use crate::cli::output;

/// Interval at which memory and file are looked at.
const SAMPLE: Duration = Duration::from_millis(100);
/// Longest time without an arrival: what is deferred waits for ten minutes at once. What has not arrived then is lost.
const LONGEST_PAUSE: Duration = Duration::from_secs(660);
/// Connections that publish. Each request has many events.
const CONNECTIONS: u32 = 8;
/// A breaker that opens for a second only: how long it stays open is a setting, and not what is measured.
const SETTINGS: [(&str, &str); 2] = [("deliverer.breaker.first", "1s"), ("deliverer.breaker.longest", "1s")];

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) options: Options,
    /// Number of events, each for one endpoint.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(10..=10_000_000))]
    events: u64,
    /// Events of a request.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(2..=1_000))]
    batch: u64,
}

#[derive(Serialize)]
struct Backlog {
    scenario: &'static str,
    broker: &'static str,
    events: u64,
    accepted_per_second: f64,
    /// From when deliveries were possible to the last arrival.
    drained_per_second: f64,
    /// Deliveries a second of each tenth of the deliveries, in the order of their arrival.
    tenths_per_second: [f64; 10],
    /// Memory of each process, by its role, in bytes.
    memory_bytes: BTreeMap<String, Memory>,
    /// Size of the embedded broker's file; none on a RabbitMQ.
    file_bytes: Option<FileBytes>,
    #[serde(flatten)]
    counts: Counts,
}

#[derive(Clone, Copy, Default, Serialize)]
struct Memory {
    /// None of a process that was not running then.
    filling: Option<Range>,
    draining: Option<Range>,
}

#[derive(Clone, Copy, Serialize)]
struct Range {
    min: u64,
    max: u64,
}

#[derive(Clone, Copy, Serialize)]
struct FileBytes {
    before: u64,
    peak: u64,
    after: u64,
}

/// What was seen of the processes during a phase.
#[derive(Default)]
struct Samples {
    memory: BTreeMap<String, Range>,
    largest_file: u64,
}

pub(super) async fn run(bench: &Bench<'_>, args: &Args) -> anyhow::Result<Exit> {
    let backlog = measure(bench, args).await?;
    let mut results = Results::new(args.options.output, ["backlog", bench.broker_name()]);
    results.push(&backlog, backlog.rows())?;
    results.end()?;
    Ok(backlog.counts.exit())
}

async fn measure(bench: &Bench<'_>, args: &Args) -> anyhow::Result<Backlog> {
    // The first event makes the endpoint known to the process.
    let (known, is_embedded) = (u64::from(bench.broker.is_none()), bench.broker.is_none());
    let all = known + args.events;
    let deliveries = Arc::new(Deliveries::new(all, 1));
    let receiver = Receiver::start(deliveries.clone(), Duration::ZERO).await?;
    let mut tenant = tenant(1, receiver.address);
    // Beyond it, what waits for an endpoint becomes dead letters.
    tenant["endpoints"][0]["max_backlog"] = all.max(Endpoint::MAX_BACKLOG).into();
    let mut processes = Processes::prepare(bench, &tenant, &SETTINGS)?;
    let roles: &[_] = if is_embedded { &["standalone"] } else { &["producer", "router"] };
    for role in roles {
        processes.start(role).await?;
    }
    let (address, key) = (processes.api()?, processes.operator_key()?);
    let load = Load { address, key, connections: CONNECTIONS, batch: args.batch, per_second: None };
    load.publish(0..known, &deliveries).await?;
    deliveries.arrive(known, LONGEST_PAUSE, &ProgressBar::hidden()).await;
    let before = processes.broker_bytes();

    progress("backlog", &format!("publishes {} events", args.events));
    receiver.set_away(true);
    let mut accepted_after = Duration::ZERO;
    let fill = async {
        let begin = deliveries.elapsed();
        load.publish(known..all, &deliveries).await?;
        accepted_after = deliveries.elapsed() - begin;
        processes.routed(all - deliveries.counts().refused, &ProgressBar::hidden()).await
    };
    let (filled, filling) = sampled(&processes, fill).await?;
    filled?;

    progress("backlog", "delivers them");
    receiver.set_away(false);
    let begin = deliveries.elapsed();
    if !is_embedded {
        processes.start("deliverer").await?;
    }
    let bar = output::progress_bar(all);
    let ((), draining) = sampled(&processes, deliveries.arrive(all, LONGEST_PAUSE, &bar)).await?;
    bar.finish_and_clear();
    let after = processes.broker_bytes();
    processes.end().await?;

    let times = deliveries.arrival_times(known);
    let took = times.last().context("nothing has arrived")?.saturating_sub(begin);
    let counts = deliveries.counts();
    let peak = filling.largest_file.max(draining.largest_file);
    Ok(Backlog {
        scenario: "backlog",
        broker: bench.broker_name(),
        events: args.events,
        accepted_per_second: (args.events - counts.refused) as f64 / accepted_after.as_secs_f64(),
        drained_per_second: times.len() as f64 / took.as_secs_f64(),
        tenths_per_second: tenths(begin, &times),
        memory_bytes: memory(&filling, &draining),
        file_bytes: before.zip(after).map(|(before, after)| FileBytes { before, peak, after }),
        counts,
    })
}

/// Looks at the processes until `phase` ends.
async fn sampled<T>(processes: &Processes<'_>, phase: impl Future<Output = T>) -> anyhow::Result<(T, Samples)> {
    let (mut samples, mut ticks, mut phase) = (Samples::default(), interval(SAMPLE), pin!(phase));
    loop {
        tokio::select! {
            // A look comes first, so that a phase that has ended already has one.
            biased;
            _ = ticks.tick() => {
                samples.largest_file = samples.largest_file.max(processes.broker_bytes().unwrap_or_default());
                for process in &processes.running {
                    let bytes = usage::resident_bytes(process.pid)?;
                    let range = samples.memory.entry(process.name.clone()).or_insert(Range { min: bytes, max: bytes });
                    *range = Range { min: range.min.min(bytes), max: range.max.max(bytes) };
                }
            }
            ended = &mut phase => return Ok((ended, samples)),
        }
    }
}

fn memory(filling: &Samples, draining: &Samples) -> BTreeMap<String, Memory> {
    let of = |name: &String| Memory {
        filling: filling.memory.get(name).copied(),
        draining: draining.memory.get(name).copied(),
    };
    draining.memory.keys().map(|name| (name.clone(), of(name))).collect()
}

/// Deliveries a second of each tenth of the arrivals, whose times are in order. The first tenth begins at `begin`.
fn tenths(begin: Duration, times: &[Duration]) -> [f64; 10] {
    let mut since = begin;
    std::array::from_fn(|nth| {
        let (first, end) = (nth * times.len() / 10, (nth + 1) * times.len() / 10);
        let Some(last) = times[first..end].last() else { return 0.0 };
        let took = last.saturating_sub(since).as_secs_f64();
        since = *last;
        (end - first) as f64 / took.max(1e-9)
    })
}

impl Backlog {
    fn rows(&self) -> Vec<[String; 2]> {
        let row = |name: &str, value: String| [name.to_owned(), value];
        let slowest = self.tenths_per_second.into_iter().fold(f64::INFINITY, f64::min);
        let mut rows = vec![
            row("events", whole(self.events as f64)),
            row("accepted, events/s", whole(self.accepted_per_second)),
            row("drained, deliveries/s", whole(self.drained_per_second)),
            row("its first tenth", whole(self.tenths_per_second[0])),
            row("its slowest tenth", whole(slowest)),
            row("its last tenth", whole(self.tenths_per_second[9])),
        ];
        let range = |range: Range| format!("{} to {}", mib(range.min), mib(range.max));
        for (name, memory) in &self.memory_bytes {
            let phases = [("filling", memory.filling), ("draining", memory.draining)];
            let seen = phases.into_iter().filter_map(|(phase, seen)| Some((phase, seen?)));
            rows.extend(seen.map(|(phase, seen)| row(&format!("{name}, {phase}, MiB"), range(seen))));
        }
        if let Some(FileBytes { before, peak, after }) = self.file_bytes {
            let sizes = [("before", before), ("at its largest", peak), ("after", after)];
            rows.extend(sizes.map(|(when, bytes)| row(&format!("file {when}, MiB"), mib(bytes))));
        }
        let [lost, duplicates, refused] = self.counts.cells();
        rows.extend([row("lost", lost), row("twice", duplicates), row("refused", refused)]);
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_lasts_from_the_arrival_before_it() {
        let seconds = |seconds: &[u64]| seconds.iter().copied().map(Duration::from_secs).collect::<Vec<_>>();
        let times = seconds(&[2, 3, 4, 5, 6, 7, 8, 9, 10, 14]);
        let rates = tenths(Duration::ZERO, &times);
        assert_eq!(rates, [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.25]);
    }
}
