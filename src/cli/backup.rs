//! `carteiro backup` and `carteiro restore`: everything that this machine holds, as one file, and back.

use std::path::PathBuf;

use indicatif::HumanBytes;
use service::Exit;
use store::Location;

use super::{
    output::{self, Output},
    setup::Setup,
};
use crate::{
    backup::{self, BackupPart, Manifest},
    config::Config,
};

#[derive(Debug, clap::Args)]
pub(super) struct BackupArgs {
    /// The file to write. It holds every secret: protect it as you protect the data folder.
    file: PathBuf,
    /// Replace the file if it exists.
    #[arg(long)]
    force: bool,
    /// How to print its content.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Debug, clap::Args)]
pub(super) struct RestoreArgs {
    /// A file that `backup` wrote.
    file: PathBuf,
    /// Replace existing files.
    #[arg(long)]
    force: bool,
    /// How to print its content.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

pub(super) async fn backup(setup: &Setup, args: BackupArgs) -> anyhow::Result<Exit> {
    let config = setup.load(&[])?.config;
    for note in notes(&config) {
        anstream::eprintln!("note: {note}");
    }
    let at = schemas::time::rfc3339(service::clock::system()());
    let create = move || backup::create(&config, &args.file, args.force, at);
    let manifest = tokio::task::spawn_blocking(create).await??;
    show(&manifest, args.output)
}

pub(super) async fn restore(setup: &Setup, args: RestoreArgs) -> anyhow::Result<Exit> {
    let config = setup.load(&[])?.config;
    let manifest = tokio::task::spawn_blocking(move || backup::restore(&config, &args.file, args.force)).await??;
    anstream::eprintln!("as it was at {}", manifest.at);
    show(&manifest, args.output)
}

fn show(manifest: &Manifest, output: Output) -> anyhow::Result<Exit> {
    match output {
        Output::Json => output::json(manifest)?,
        Output::Table => {
            for file in &manifest.files {
                output::line(format_args!("{:12}  {}", file.name, HumanBytes(file.bytes)))?;
            }
        }
    }
    Ok(Exit::Done)
}

/// Notes about data that a reader might expect in a backup, and that is not in it.
fn notes(config: &Config) -> Vec<&'static str> {
    let mut notes = Vec::new();
    if BackupPart::Broker.path(config).is_none() {
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
