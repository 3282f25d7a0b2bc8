//! Deliverers with few slots, and receivers that take their time: twice as many deliverers should deliver twice as much,
//! until something is full.

use std::{sync::Arc, time::Duration};

use serde::Serialize;
use service::Exit;
use tokio::time::{Instant, sleep};

use super::{
    Bench, Options,
    deliveries::Deliveries,
    load::{Load, tenant},
    processes::Processes,
    progress,
    receiver::Receiver,
    results::{Results, whole},
    usage,
};
use crate::cli::output;

/// Endpoints that get each event.
const ENDPOINTS: u32 = 8;
const ANSWER_TIME: Duration = Duration::from_millis(100);
/// Part of the measured time for which the deliverers run before it.
const WARM_UP: f64 = 0.5;
/// How many times what can be delivered is queued.
const RESERVE: f64 = 1.2;
const CONNECTIONS: u32 = 8;
/// Events of a request.
const BATCH: u64 = 100;
/// Share of what the slots bear from which on they count as full: a slot is in use for somewhat longer than the answer takes.
const FULL_SLOTS: f64 = 0.9;
/// Share of all cores from which on they count as full.
const FULL_CORES: f64 = 0.95;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) options: Options,
    /// Numbers of deliverers. Each is measured, one after the other; what is linear follows from the first.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 4], value_parser = clap::value_parser!(u32).range(1..=64))]
    deliverers: Vec<u32>,
    /// Fast slots of each deliverer, and as many slow ones. Endpoints that answer within a second use both.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    slots: u16,
    /// Seconds for which deliveries are counted.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    seconds: u32,
}

#[derive(Serialize)]
struct Scale {
    scenario: &'static str,
    broker: &'static str,
    deliverers: u32,
    deliveries_per_second: f64,
    /// What the slots of all deliverers bear, in deliveries a second.
    possible_per_second: f64,
    /// Deliveries a second, divided by those of the first number of deliverers times as many as there are more.
    linear: f64,
    /// Cores that each process keeps busy.
    cores: Vec<ProcessCores>,
    /// Share of all cores that is busy with anything, the receivers and a broker on this machine included.
    machine_busy: f64,
    full: Resource,
}

#[derive(Serialize)]
struct ProcessCores {
    process: String,
    cores: f64,
}

/// What bounds the deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Resource {
    Slots,
    Cores,
    /// Neither: the broker, the network, or a limit of the deliverers.
    Unknown,
}

struct Measured {
    per_second: f64,
    cores: Vec<ProcessCores>,
    machine_busy: f64,
}

pub(super) async fn run(bench: &Bench<'_>, args: &Args) -> anyhow::Result<Exit> {
    if bench.broker.is_none() {
        let why =
            "the embedded broker lives inside one process, so that there is nothing to scale: give --broker amqp://…";
        return Err(anyhow::anyhow!(why).context(Exit::Usage));
    }
    let headings =
        ["deliverers", "deliveries/s", "of linear", "slots bear", "cores of each process", "machine busy", "full"];
    let mut results = Results::new(args.options.output, headings);
    let mut first = None;
    for &deliverers in &args.deliverers {
        let possible = args.possible(deliverers);
        let Measured { per_second, cores, machine_busy } = measure(bench, args, deliverers).await?;
        let of_one = *first.get_or_insert(per_second / f64::from(deliverers));
        let linear = per_second / (of_one * f64::from(deliverers));
        let full = Resource::full(per_second / possible, machine_busy);
        let each: Vec<_> =
            cores.iter().map(|ProcessCores { process, cores }| format!("{process} {cores:.2}")).collect();
        let row = [
            deliverers.to_string(),
            whole(per_second),
            format!("{linear:.2}"),
            whole(possible),
            each.join(", "),
            format!("{:.0} % of {}", 100.0 * machine_busy, usage::cores()),
            format!("{full:?}").to_lowercase(),
        ];
        let figures = Scale {
            scenario: "scale",
            broker: bench.broker_name(),
            deliverers,
            deliveries_per_second: per_second,
            possible_per_second: possible,
            linear,
            cores,
            machine_busy,
            full,
        };
        results.push(&figures, [row])?;
    }
    results.end()?;
    Ok(Exit::Done)
}

/// Queues more than can be delivered, starts the deliverers, and counts what arrives once their slots are in use.
async fn measure(bench: &Bench<'_>, args: &Args, deliverers: u32) -> anyhow::Result<Measured> {
    let seconds = f64::from(args.seconds) * (1.0 + WARM_UP) * RESERVE;
    let events = (args.possible(deliverers) * seconds / f64::from(ENDPOINTS)).ceil() as u64;
    let deliveries = Arc::new(Deliveries::new(events, ENDPOINTS));
    let receiver = Receiver::start(deliveries.clone(), ANSWER_TIME).await?;
    let slots = args.slots.to_string();
    let settings = [("deliverer.slots", slots.as_str()), ("deliverer.slow_slots", &slots)];
    let mut processes = Processes::prepare(bench, &tenant(ENDPOINTS, receiver.address), &settings)?;
    for role in ["producer", "router"] {
        processes.start(role).await?;
    }
    progress("scale", &format!("queues {events} events for {ENDPOINTS} endpoints"));
    let (address, key) = (processes.api()?, processes.operator_key()?);
    let load = Load { address, key, connections: CONNECTIONS, batch: BATCH, per_second: None };
    load.publish(0..events, &deliveries).await?;
    let accepted = events - deliveries.counts().refused;
    let bar = output::progress_bar(accepted);
    processes.routed(accepted, &bar).await?;
    bar.finish_and_clear();
    progress("scale", &format!("delivers them, deliverers: {deliverers}"));
    for _ in 0..deliverers {
        processes.start("deliverer").await?;
    }
    sleep(Duration::from_secs(args.seconds.into()).mul_f64(WARM_UP)).await;

    let cpu_times =
        || -> anyhow::Result<Vec<_>> { processes.running.iter().map(|process| usage::cpu_time(process.pid)).collect() };
    let (begin, before) = (Instant::now(), (deliveries.arrivals(), usage::busy_time()?, cpu_times()?));
    sleep(Duration::from_secs(args.seconds.into())).await;
    let (took, after) = (begin.elapsed().as_secs_f64(), (deliveries.arrivals(), usage::busy_time()?, cpu_times()?));
    let cores_of = |before: Duration, after: Duration| after.saturating_sub(before).as_secs_f64() / took;
    let cores = processes.running.iter().zip(before.2.into_iter().zip(after.2));
    let cores = cores
        .map(|(process, (before, after))| ProcessCores {
            process: process.name.clone(),
            cores: cores_of(before, after),
        })
        .collect();
    let measured = Measured {
        per_second: (after.0 - before.0) as f64 / took,
        cores,
        machine_busy: cores_of(before.1, after.1) / usage::cores() as f64,
    };
    // Requests that wait for their answers would delay the end of the deliverers, so their receiver ends first.
    drop(receiver);
    processes.end().await?;
    Ok(measured)
}

impl Args {
    /// Deliveries a second that the slots of so many deliverers bear.
    fn possible(&self, deliverers: u32) -> f64 {
        f64::from(deliverers) * 2.0 * f64::from(self.slots) / ANSWER_TIME.as_secs_f64()
    }
}

impl Resource {
    /// The resource that is full, by the shares of the slots and of the cores that are in use.
    fn full(slots: f64, cores: f64) -> Self {
        match (slots >= FULL_SLOTS, cores >= FULL_CORES) {
            (true, _) => Self::Slots,
            (false, true) => Self::Cores,
            (false, false) => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_that_are_all_in_use_bound_the_deliveries_whatever_the_cores_do() {
        assert_eq!(Resource::full(0.97, 1.0), Resource::Slots);
        assert_eq!(Resource::full(0.8, 0.99), Resource::Cores);
        assert_eq!(Resource::full(0.8, 0.6), Resource::Unknown);
    }
}
