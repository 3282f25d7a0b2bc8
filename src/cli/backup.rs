//! `carteiro backup` and `carteiro restore`: everything that this machine holds, as one file, and back.

use std::path::{Path, PathBuf};

use indicatif::HumanBytes;
use service::Exit;
use store::Location;

use super::{
    confirm::ConfirmArgs,
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
    /// Also what happened, where it is on this machine: it may be much more than everything else.
    #[arg(long)]
    history: bool,
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
    #[command(flatten)]
    confirm: ConfirmArgs,
    /// How to print its content.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

pub(super) async fn backup(setup: &Setup, args: BackupArgs) -> anyhow::Result<Exit> {
    check_is_file(&args.file)?;
    let config = setup.load(&[])?.config;
    for note in notes(&config, args.history) {
        anstream::eprintln!("note: {note}");
    }
    let at = schemas::time::rfc3339(service::clock::system()());
    let create = move || backup::create(&config, &args.file, args.force, args.history, at);
    let manifest = tokio::task::spawn_blocking(create).await??;
    show(&manifest, args.output)
}

pub(super) async fn restore(setup: &Setup, args: RestoreArgs) -> anyhow::Result<Exit> {
    check_is_file(&args.file)?;
    let config = setup.load(&[])?.config;
    let existing: Vec<_> =
        BackupPart::ALL.into_iter().filter(|part| part.path(&config).is_some_and(|path| path.exists())).collect();
    let has_history = backup::history_folder(&config).is_some_and(|folder| folder.is_dir());
    if args.force && (has_history || !existing.is_empty()) {
        let mut names: Vec<_> = existing.into_iter().map(BackupPart::name).collect();
        names.extend(has_history.then_some("history (if the backup has one)"));
        let folder = config.data_dir.display();
        args.confirm
            .confirm(&format!("{folder} will lose what it holds now: {} will be replaced", names.join(", ")))?;
    }
    let manifest = tokio::task::spawn_blocking(move || backup::restore(&config, &args.file, args.force)).await??;
    anstream::eprintln!("as it was at {}", manifest.at);
    show(&manifest, args.output)
}

/// Refuses `-`: a backup is a file that appears once it is whole.
fn check_is_file(file: &Path) -> anyhow::Result<()> {
    if file.as_os_str() != "-" {
        return Ok(());
    }
    Err(anyhow::anyhow!("-: a backup is a file, not a stream: give its name").context(Exit::Usage))
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
fn notes(config: &Config, with_history: bool) -> Vec<&'static str> {
    let mut notes = Vec::new();
    match backup::history_folder(config) {
        Some(folder) if !with_history && folder.is_dir() => {
            notes.push("history is not in this backup: --history adds it");
        }
        None if config.history.is_on() => notes.push("history is in PostgreSQL, and not in this backup"),
        _ => {}
    }
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
