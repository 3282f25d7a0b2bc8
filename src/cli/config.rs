//! `carteiro config`: is it valid, and what is in force?

use clap::Subcommand;
use service::Exit;

use super::setup::Setup;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say whether the configuration can be used.
    Check,
    /// Print what is in force and where it comes from, secrets masked.
    Show,
}

pub(super) fn run(setup: &Setup, args: &Args) -> anyhow::Result<Exit> {
    let loaded = setup.load(&[])?;
    match args.command {
        Command::Check => {
            let config = &loaded.config;
            service::telemetry::check(&config.telemetry)?;
            config.store.folder(&config.data_dir).map_err(|error| loaded.complain("store.url", error))?;
            println!("the configuration can be used");
            for warning in config.http.warnings().into_iter().chain(config.store.not_in_force()) {
                println!("note: {warning}");
            }
        }
        Command::Show => print!("{}", loaded.show()),
    }
    Ok(Exit::Done)
}
