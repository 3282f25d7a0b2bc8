//! `carteiro bench`: how good this build is on this machine, by the measures of the design. A scenario is a file.

mod figures;
mod isolation;
mod stage;

use service::Exit;

use super::setup::{Output, Setup};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Debug, clap::Subcommand)]
enum Scenario {
    /// Some endpoints never answer: what do the others notice?
    Isolation(isolation::Args),
}

pub(super) async fn run(setup: &Setup, args: Args) -> anyhow::Result<Exit> {
    match args.scenario {
        Scenario::Isolation(args) => isolation::run(setup, args).await,
    }
}
