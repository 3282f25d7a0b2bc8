//! `carteiro config`: check the configuration, and show what is in force.

use anyhow::Context as _;
use clap::Subcommand;
use service::Exit;
use store::{FileStore, Location};

use super::{output, setup::Setup};
use crate::{config::DEFAULT_TOML, process};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Check whether the configuration can be used, with its folder of YAML where it names one.
    Check,
    /// Print the settings in force and where each comes from, with secrets masked.
    Show,
    /// Print every key with its default and its meaning, as a start of a carteiro.toml.
    Default,
}

pub(super) async fn run(setup: &Setup, args: &Args) -> anyhow::Result<Exit> {
    match args.command {
        ConfigCommand::Check => check(setup).await?,
        ConfigCommand::Show => output::line(setup.load(&[])?.show()?.trim_end())?,
        ConfigCommand::Default => output::line(DEFAULT_TOML.trim_end())?,
    }
    Ok(Exit::Done)
}

async fn check(setup: &Setup) -> anyhow::Result<()> {
    let loaded = setup.load(&[])?;
    let mut notes: Vec<_> = loaded.deprecations.iter().map(ToString::to_string).collect();
    // The contents of a database were checked when they were written.
    if let Location::Folder(folder) = process::store_location(&loaded.config)? {
        FileStore::open(&folder).await.context(Exit::Config)?;
        if !folder.is_dir() {
            let folder = folder.display();
            notes.push(format!("store.url: there is no folder {folder}; until there is, there are no tenants"));
        }
    }
    output::line("the configuration can be used")?;
    for note in notes {
        output::line(format_args!("note: {note}"))?;
    }
    Ok(())
}
