//! `carteiro bench`: measures this build on this machine. Each scenario is a file.

mod isolation;
mod latencies;

use service::Exit;

use super::setup::Setup;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Debug, clap::Subcommand)]
enum Scenario {
    /// Some endpoints never answer: how much slower are deliveries to the others?
    Isolation(isolation::Args),
}

pub(super) async fn run(setup: &Setup, args: Args) -> anyhow::Result<Exit> {
    match args.scenario {
        Scenario::Isolation(args) => isolation::run(setup, args).await,
    }
}
