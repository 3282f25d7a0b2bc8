//! `carteiro config`: is it valid, and what is in force?

use anyhow::Context as _;
use clap::Subcommand;
use service::Exit;
use store::{FileStore, Location};

use super::{print, setup::Setup};
use crate::config::DEFAULT_TOML;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say whether the configuration can be used, and the folder of YAML with it.
    Check,
    /// Print what is in force and where it comes from, secrets masked.
    Show,
    /// Print every key with its default and what it means, to begin a carteiro.toml with.
    Default,
}

pub(super) async fn run(setup: &Setup, args: &Args) -> anyhow::Result<Exit> {
    match args.command {
        Command::Check => check(setup).await?,
        Command::Show => print::line(setup.load(&[])?.show()?.trim_end())?,
        Command::Default => print::line(DEFAULT_TOML.trim_end())?,
    }
    Ok(Exit::Done)
}

async fn check(setup: &Setup) -> anyhow::Result<()> {
    let loaded = setup.load(&[])?;
    let config = &loaded.config;
    let location = config.store.location(&config.data_dir).map_err(|error| loaded.error("store.url", error))?;
    // A database holds only what was checked before it was written.
    if let Location::Folder(folder) = location {
        FileStore::open(&folder).await.context(Exit::Config)?;
    }
    print::line("the configuration can be used")?;
    for deprecation in &loaded.deprecations {
        print::line(format_args!("note: {deprecation}"))?;
    }
    Ok(())
}
