//! Can one tenant hurt another? Each scenario is a file: what a disturbing tenant does beside healthy tenants under a
//! steady load, in a sandbox, and when that passes. The tenants and their receivers run on a runtime of their own, so
//! that they do not queue behind the tasks of the process that they measure.

mod alone;
mod arrivals;
mod black_holed;
mod comparison;
mod fan_out;
mod flood;
mod large;
mod name_server;
mod names;
mod outage;
mod steady_load;
mod system;
mod tenant;

use clap::ValueEnum;
use schemas::Span;
use serde::Serialize;
use serde_json::Value;
use service::Exit;
use tokio::runtime::{Handle, Runtime};

use self::{black_holed::BlackHoled, fan_out::FanOut, flood::Flood, large::Large, names::Names};
use super::{LOG_LEVEL, progress};
use crate::cli::{
    output::{self, Output},
    setup::Setup,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What to measure, one after the other. Default: all.
    #[arg(value_enum, value_name = "SCENARIO")]
    scenarios: Vec<Scenario>,
    /// Number of healthy tenants. Each has an endpoint that answers 200 after 20 ms.
    #[arg(long, default_value_t = 80, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    tenants: u32,
    /// Events a second of all healthy tenants together.
    #[arg(long, default_value_t = 160, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    per_second: u32,
    /// Seconds for which each phase is measured.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    seconds: u32,
    /// How often a scenario with two phases is measured; the median counts.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Use this RabbitMQ, with a prefix and an exchange of its own, instead of the embedded broker.
    #[arg(long, value_name = "URL")]
    broker: Option<String>,
    /// How to print the results: for people (table), or as a JSON object for each scenario.
    #[arg(long, value_enum, default_value = "table")]
    output: Output,
    /// black-holed: number of endpoints, each with events as often as a healthy one.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(..=10_000), help_heading = SIZES)]
    black_holed: u32,
    /// flood: events a second for an endpoint that takes a tenth of them.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(10..=100_000), help_heading = SIZES)]
    flood_per_second: u32,
    /// fan-out: events of the one call.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000), help_heading = SIZES)]
    fan_out_events: u32,
    /// fan-out: endpoints that get each of them.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000), help_heading = SIZES)]
    fan_out_endpoints: u32,
    /// large: events a second, each for four endpoints.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000), help_heading = SIZES)]
    large_per_second: u32,
    /// large: bytes of a body.
    #[arg(long, default_value_t = 1 << 20, value_parser = clap::value_parser!(u32).range(1_024..=12_000_000), help_heading = SIZES)]
    large_bytes: u32,
    /// names: number of endpoints whose names are never resolved. Each gets an event a second.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=10_000), help_heading = SIZES)]
    silent_names: u32,
    /// alone: fast slots, and as many slow ones.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..), help_heading = SIZES)]
    slots: u16,
    /// outage: how long the receiver is away.
    #[arg(long, default_value = "5m", value_parser = span, help_heading = SIZES)]
    away: Span,
    /// outage: events a second for the receiver that is away.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=100_000), help_heading = SIZES)]
    away_per_second: u32,
}

/// Heading of the scenarios' sizes in the help.
const SIZES: &str = "Sizes of the scenarios";

fn span(text: &str) -> Result<Span, String> {
    Span::try_from(text.to_owned())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
enum Scenario {
    /// A tenant publishes ten times what its endpoint takes.
    Flood,
    /// A tenant publishes many events for many endpoints in one call.
    FanOut,
    /// A tenant has four slow endpoints with large bodies.
    Large,
    /// A tenant has endpoints whose names are never resolved.
    Names,
    /// A tenth of the tenants or more have endpoints that accept requests and never answer.
    BlackHoled,
    /// A tenant without others, with more than can be delivered: are all slots used?
    Alone,
    /// A receiver comes back after an outage that the process has seen from its beginning.
    OutageKnown,
    /// A receiver comes back after an outage during which the process was restarted.
    OutageUnknown,
}

/// What every scenario needs to start a process.
struct Bench<'a> {
    setup: &'a Setup,
    args: &'a Args,
    /// The runtime of the measured process.
    process_runtime: Handle,
}

/// What a scenario found.
struct Findings {
    passed: bool,
    /// An object.
    figures: Value,
    /// The same for people, in lines.
    lines: Vec<String>,
}

#[derive(Serialize)]
struct Line {
    scenario: Scenario,
    broker: &'static str,
    passed: bool,
    #[serde(flatten)]
    figures: Value,
}

pub(super) async fn run(setup: &Setup, args: Args) -> anyhow::Result<Exit> {
    setup.start_logging(&setup.load(&[LOG_LEVEL])?.config, &[])?;
    let bench = Bench { setup, args: &args, process_runtime: Handle::current() };
    let tenants_runtime = Runtime::new()?;
    let exit = tokio::task::block_in_place(|| tenants_runtime.block_on(bench.run()));
    tenants_runtime.shutdown_background();
    exit
}

impl Bench<'_> {
    async fn run(&self) -> anyhow::Result<Exit> {
        let broker = if self.args.broker.is_some() { "rabbitmq" } else { "embedded" };
        let all = Scenario::value_variants();
        let scenarios = if self.args.scenarios.is_empty() { all } else { &self.args.scenarios };
        let mut exit = Exit::Done;
        for &scenario in scenarios {
            let name = scenario.name();
            progress(&name, "starts");
            let Findings { passed, figures, lines } = self.measure(scenario).await?;
            match self.args.output {
                Output::Json => output::json(&Line { scenario, broker, passed, figures })?,
                Output::Table => {
                    output::line(format_args!("{name}: {}", if passed { "passed" } else { "failed" }))?;
                    for line in lines {
                        output::line(format_args!("  {line}"))?;
                    }
                }
            }
            if !passed {
                exit = Exit::Failed;
            }
        }
        Ok(exit)
    }

    async fn measure(&self, scenario: Scenario) -> anyhow::Result<Findings> {
        let name = scenario.name();
        match scenario {
            Scenario::Flood => comparison::run::<Flood>(self, &name).await,
            Scenario::FanOut => comparison::run::<FanOut>(self, &name).await,
            Scenario::Large => comparison::run::<Large>(self, &name).await,
            Scenario::Names => comparison::run::<Names>(self, &name).await,
            Scenario::BlackHoled => comparison::run::<BlackHoled>(self, &name).await,
            Scenario::Alone => alone::run(self, &name).await,
            Scenario::OutageKnown => outage::run(self, &name, outage::Process::StaysUp).await,
            Scenario::OutageUnknown => outage::run(self, &name, outage::Process::IsRestarted).await,
        }
    }
}

impl Scenario {
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}
