//! `carteiro bench`: measures this build on this machine.

mod isolation;
mod latencies;

use service::Exit;

use super::setup::Setup;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    measurement: Measurement,
}

#[derive(Debug, clap::Subcommand)]
enum Measurement {
    /// How much slower are deliveries of healthy tenants beside tenants that disturb?
    Isolation(isolation::Args),
}

pub(super) async fn run(setup: &Setup, args: Args) -> anyhow::Result<Exit> {
    match args.measurement {
        Measurement::Isolation(args) => isolation::run(setup, args).await,
    }
}
