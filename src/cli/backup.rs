//! `carteiro backup` and `restore`: everything that this machine holds, as one file, and back.

use std::path::PathBuf;

use indicatif::HumanBytes;
use service::Exit;
use store::Location;

use super::{
    print,
    setup::{Output, Setup},
};
use crate::{
    backup::{self, Manifest, Part},
    config::Config,
};

#[derive(Debug, clap::Args)]
pub(super) struct BackupArgs {
    /// Where to. Whoever has it has every secret: keep it as you keep the data folder.
    file: PathBuf,
    /// Replace the file, should it be there.
    #[arg(long)]
    force: bool,
    /// How to print what is in it.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Debug, clap::Args)]
pub(super) struct RestoreArgs {
    /// What `backup` has made.
    file: PathBuf,
    /// Replace what is there.
    #[arg(long)]
    force: bool,
    /// How to print what was in it.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

pub(super) async fn backup(setup: &Setup, args: BackupArgs) -> anyhow::Result<Exit> {
    let config = setup.load(&[])?.config;
    for note in left_out(&config) {
        anstream::eprintln!("note: {note}");
    }
    let at = schemas::time::rfc3339(service::clock::system()());
    let work = move || backup::make(&config, &args.file, args.force, at);
    let manifest = tokio::task::spawn_blocking(work).await??;
    tell(&manifest, args.output)
}

pub(super) async fn restore(setup: &Setup, args: RestoreArgs) -> anyhow::Result<Exit> {
    let config = setup.load(&[])?.config;
    let manifest = tokio::task::spawn_blocking(move || backup::restore(&config, &args.file, args.force)).await??;
    anstream::eprintln!("as it was at {}", manifest.at);
    tell(&manifest, args.output)
}

fn tell(manifest: &Manifest, output: Output) -> anyhow::Result<Exit> {
    match output {
        Output::Json => print::json(manifest)?,
        Output::Table => {
            for file in &manifest.files {
                print::line(format_args!("{:12}  {}", file.name, HumanBytes(file.bytes)))?;
            }
        }
    }
    Ok(Exit::Done)
}

/// What somebody might think is in it.
fn left_out(config: &Config) -> Vec<&'static str> {
    let mut notes = Vec::new();
    if Part::Broker.path(config).is_none() {
        notes.push("what waits is in RabbitMQ, and not in this backup");
    }
    match config.store.location(&config.data_dir) {
        Ok(Location::Folder(_)) => notes.push("what is configured is in files of yours, and not in this backup"),
        Ok(Location::Postgres(_)) => notes.push("what is configured is in PostgreSQL, and not in this backup"),
        Ok(Location::Sqlite(_)) if config.store.encryption_key.is_some() => {
            notes.push("secrets are encrypted with store.encryption_key, which is not in this backup");
        }
        Ok(Location::Sqlite(_)) | Err(_) => {}
    }
    notes
}
