//! The command line: what can be asked, and with which code it ends. Each command has a file of its own.

mod apply;
mod backup;
mod bench;
mod books;
mod client;
mod config;
mod contained;
mod dead_letters;
mod demo;
mod events;
mod explain;
mod export;
mod listen;
mod logs;
mod ndjson;
mod parked;
mod print;
mod progress;
mod publish;
mod refused;
mod resources;
mod roles;
mod setup;
mod table;
mod topology;

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use clap::{CommandFactory as _, Parser, Subcommand};
use service::Exit;

use crate::{config::Overrides, process::Roles};
use setup::Setup;

/// The heading of what every command takes.
const GLOBAL: &str = "Configuration";

/// Brings ticket and message events to every webhook that asked for them.
#[derive(Debug, Parser)]
#[command(name = "carteiro", version, about, propagate_version = true)]
struct Cli {
    /// Configuration file, instead of carteiro.toml in the current folder.
    #[arg(long, global = true, value_name = "FILE", help_heading = GLOBAL)]
    config: Option<PathBuf>,
    /// Where data is kept (data_dir).
    #[arg(long, global = true, value_name = "FOLDER", help_heading = GLOBAL)]
    data_dir: Option<String>,
    /// A setting, as `section.key=value`; may be repeated.
    #[arg(long = "set", global = true, value_name = "KEY=VALUE", help_heading = GLOBAL)]
    settings: Vec<String>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run all roles in one process (the default).
    Standalone,
    /// Run the role that takes events in.
    Producer,
    /// Run the role that fans events out.
    Router,
    /// Run a role that delivers; any number may run.
    Deliverer,
    /// Run the role that answers operators.
    Control,
    /// Show the whole pipeline at work, with every vendor's events.
    Demo(demo::Args),
    /// Publish events from a file or standard input.
    Publish(publish::Args),
    /// Receive webhooks and print them.
    Listen(listen::Args),
    /// Look at deliveries that ended without a 2xx, and send them again.
    DeadLetters(dead_letters::Args),
    /// Look at what could not be processed, and publish it again.
    Parked(parked::Args),
    /// Look at tenants and change them.
    Tenants(resources::Args<resources::Tenants>),
    /// Look at a tenant's endpoints and change them: where deliveries are posted.
    Endpoints(resources::Args<resources::Endpoints>),
    /// Look at a tenant's subscriptions and change them: which events an endpoint gets.
    Subscriptions(resources::Args<resources::Subscriptions>),
    /// Look at a tenant's sources and change them: where vendors' webhooks come in.
    Sources(resources::Args<resources::Sources>),
    /// Look at a tenant's keys and change them.
    Keys(resources::Args<resources::Keys>),
    /// Look at a channel's webhook and change it.
    Channels(resources::ChannelArgs),
    /// Look at integrations, change them, and bind queues to them.
    Integrations(resources::IntegrationArgs),
    /// Make what is configured what YAML files say, all of it or nothing.
    Apply(apply::Args),
    /// Print what is configured as YAML.
    Export(export::Args),
    /// Say which subscriptions an event matches, and why the others do not.
    Explain(explain::Args),
    /// Say how much a tenant used, by day.
    Usage(books::UsageArgs),
    /// Say who changed what.
    Audit(books::AuditArgs),
    /// Copy everything that this machine holds into one file, also while a process runs.
    Backup(backup::BackupArgs),
    /// Put a backup in the place of everything that this machine holds.
    Restore(backup::RestoreArgs),
    /// Look after the broker's exchanges and queues.
    Topology(topology::Args),
    /// Look at the configuration.
    Config(config::Args),
    /// Print the schema or a sample of the canonical event.
    Events(events::Args),
    /// Measure how good this build is on this machine.
    Bench(bench::Args),
    /// Print a shell's completions.
    Completions {
        /// For which shell.
        shell: clap_complete::Shell,
    },
}

/// Runs what the arguments ask for, in an environment that is passed in.
pub fn main(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are errors to clap, and go to stdout with code 0.
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
            let _ = error.print();
            return ExitCode::from(exit.code());
        }
    };
    match run(cli, environment.into_iter().collect()) {
        Ok(exit) => ExitCode::from(exit.code()),
        Err(error) if error.is::<print::ReaderLeft>() => ExitCode::from(Exit::Done.code()),
        Err(error) => {
            anstream::eprintln!("carteiro: {}", describe(&error));
            ExitCode::from(Exit::of(&error).code())
        }
    }
}

/// An error as one line. An attached exit code speaks through the code, not in words.
fn describe(error: &anyhow::Error) -> String {
    // A context hides its type, so the code is known by its text.
    let exit = error.downcast_ref::<Exit>().map(ToString::to_string);
    let mut words = Vec::<String>::new();
    for cause in error.chain().map(ToString::to_string).filter(|cause| exit.as_ref() != Some(cause)) {
        // Some errors repeat their source in their own words.
        if !words.last().is_some_and(|last| last.ends_with(&cause)) {
            words.push(cause);
        }
    }
    words.join(": ")
}

/// Ends when what was asked for has: not when the last thread has that still waits for a silent resolver, whose answer
/// nobody needs any more.
fn run(cli: Cli, environment: Vec<(String, String)>) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Runtime::new()?;
    let ended = runtime.block_on(carry_out(cli, environment));
    runtime.shutdown_background();
    ended
}

async fn carry_out(cli: Cli, environment: Vec<(String, String)>) -> anyhow::Result<Exit> {
    let setup = Setup { overrides: overrides(&cli)?, environment };
    let only = |roles| roles::run(&setup, roles);
    match cli.command.unwrap_or(Command::Standalone) {
        Command::Standalone => only(Roles::STANDALONE).await,
        Command::Producer => only(Roles { producer: true, ..Roles::NONE }).await,
        Command::Router => only(Roles { router: true, ..Roles::NONE }).await,
        Command::Deliverer => only(Roles { deliverer: true, ..Roles::NONE }).await,
        Command::Control => only(Roles { control: true, ..Roles::NONE }).await,
        Command::Demo(args) => demo::run(&setup, args).await,
        Command::Publish(args) => publish::run(&setup, args).await,
        Command::Listen(args) => listen::run(args).await,
        Command::DeadLetters(args) => dead_letters::run(&setup, args).await,
        Command::Parked(args) => parked::run(&setup, args).await,
        Command::Tenants(args) => resources::run(&setup, args).await,
        Command::Endpoints(args) => resources::run(&setup, args).await,
        Command::Subscriptions(args) => resources::run(&setup, args).await,
        Command::Sources(args) => resources::run(&setup, args).await,
        Command::Keys(args) => resources::run(&setup, args).await,
        Command::Channels(args) => resources::channels(&setup, args).await,
        Command::Integrations(args) => resources::integrations(&setup, args).await,
        Command::Apply(args) => apply::run(&setup, args).await,
        Command::Export(args) => export::run(&setup, args).await,
        Command::Explain(args) => explain::run(&setup, args).await,
        Command::Usage(args) => books::usage(&setup, args).await,
        Command::Audit(args) => books::audit(&setup, args).await,
        Command::Backup(args) => backup::backup(&setup, args).await,
        Command::Restore(args) => backup::restore(&setup, args).await,
        Command::Topology(args) => topology::run(&setup, args).await,
        Command::Config(args) => config::run(&setup, &args).await,
        Command::Events(args) => events::run(&args),
        Command::Bench(args) => bench::run(&setup, args).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "carteiro", &mut script);
            print::line(String::from_utf8(script)?.trim_end())?;
            Ok(Exit::Done)
        }
    }
}

fn overrides(cli: &Cli) -> anyhow::Result<Overrides> {
    let mut values = Vec::new();
    for setting in &cli.settings {
        let (key, text) = setting
            .split_once('=')
            .ok_or_else(|| anyhow::anyhow!("--set {setting}: expected KEY=VALUE").context(Exit::Usage))?;
        values.push((key.to_owned(), text.to_owned()));
    }
    values.extend(cli.data_dir.iter().map(|folder| ("data_dir".to_owned(), folder.clone())));
    Ok(Overrides { file: cli.config.clone(), values })
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_attached_code_speaks_through_the_code_alone() {
        let error = anyhow::anyhow!("nobody listens").context(Exit::Unavailable).context("listing");
        assert_eq!((describe(&error), Exit::of(&error)), ("listing: nobody listens".to_owned(), Exit::Unavailable));
    }

    #[test]
    fn a_cause_that_its_error_repeats_is_said_once() {
        let error = Err::<(), _>(std::io::Error::other("refused")).context("connecting: refused").unwrap_err();
        assert_eq!(describe(&error), "connecting: refused");
    }
}
