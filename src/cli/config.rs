//! `carteiro config`: is it valid, and what is in force?

use anyhow::Context as _;
use clap::Subcommand;
use service::Exit;
use store::FileStore;

use super::{print, setup::Setup};

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
}

pub(super) async fn run(setup: &Setup, args: &Args) -> anyhow::Result<Exit> {
    let loaded = setup.load(&[])?;
    match args.command {
        Command::Check => {
            let config = &loaded.config;
            let folder = config.store.folder(&config.data_dir).map_err(|error| loaded.complain("store.url", error))?;
            let store = FileStore::open(&folder).await.context(Exit::Config)?;
            print::line("the configuration can be used")?;
            for warning in config.not_in_force().iter().chain(store.warnings().iter()) {
                print::line(format_args!("note: {warning}"))?;
            }
        }
        Command::Show => print::line(loaded.show()?.trim_end())?,
    }
    Ok(Exit::Done)
}
