//! The command line: the commands and their exit codes. Each command has its own file.

mod apply;
mod audit;
mod backup;
mod bench;
mod client;
mod config;
mod confirm;
mod dead_letters;
mod demo;
mod erase;
mod events;
mod explain;
mod export;
mod help;
mod history;
mod job;
mod listen;
mod listen_tenant;
mod logs;
mod output;
mod parked;
mod problems;
mod publish;
mod replays;
mod resources;
mod sandbox;
mod server;
mod setup;
mod status;
mod topology;
mod usage;
mod words;

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use service::{Exit, config::LoadedConfig};
use tokio::runtime;

use crate::{
    config::Overrides,
    process::{self, Roles},
};
use setup::Setup;

/// Heading of the global flags in the help.
const GLOBAL: &str = "Configuration";

/// Delivers ticket and message events to every webhook that subscribed to them.
#[derive(Debug, Parser)]
#[command(name = "carteiro", version, about, propagate_version = true, after_help = help::CARTEIRO)]
struct Cli {
    /// Configuration file, instead of carteiro.toml in the current folder.
    #[arg(long, global = true, value_name = "FILE", help_heading = GLOBAL)]
    config: Option<PathBuf>,
    /// Folder for data (data_dir).
    #[arg(long, global = true, value_name = "FOLDER", help_heading = GLOBAL)]
    data_dir: Option<String>,
    /// A setting of the configuration, as `section.key=value`; may be repeated.
    #[arg(long = "set", global = true, value_name = "KEY=VALUE", help_heading = GLOBAL)]
    settings: Vec<String>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run all roles in one process (the default).
    Standalone,
    /// Run the role that accepts events.
    Producer,
    /// Run the role that routes events to the endpoints that subscribed to them.
    Router,
    /// Run the role that posts deliveries; any number may run.
    Deliverer,
    /// Run router and deliverer in one process, which saves most deliveries a hop over the broker; any number may run.
    Worker,
    /// Run the role with the administration API.
    Control,
    /// Say whether all is well: processes, queues, failing endpoints, what was parked today.
    Status(status::Args),
    /// Show the whole pipeline at work, with events of every vendor.
    #[command(after_help = help::DEMO)]
    Demo(demo::Args),
    /// Publish events from a file or standard input.
    #[command(after_help = help::PUBLISH)]
    Publish(publish::Args),
    /// Receive webhooks and print them.
    #[command(after_help = help::LISTEN)]
    Listen(listen::Args),
    /// List deliveries, tell the story of one, or send one again.
    #[command(after_help = help::DELIVERIES)]
    Deliveries(history::DeliveriesArgs),
    /// Print events and deliveries as they happen.
    Tail(history::TailArgs),
    /// Count events, deliveries and failures by hour or day.
    Stats(history::StatsArgs),
    /// Erase what is kept of a contact, or of events.
    Erase(erase::Args),
    /// List the endpoints that fail now, and what to do about each.
    Problems(problems::Args),
    /// List deliveries that ended without a 2xx, send them again, or discard them.
    DeadLetters(dead_letters::Args),
    /// List replays, and stop them.
    Replays(replays::Args),
    /// List messages that could not be processed, and publish them again.
    Parked(parked::Args),
    /// Show tenants and change them.
    #[command(after_help = help::TENANTS)]
    Tenants(resources::TenantArgs),
    /// Show a tenant's endpoints and change them: where deliveries are posted.
    #[command(after_help = help::ENDPOINTS)]
    Endpoints(resources::EndpointArgs),
    /// Show a tenant's subscriptions and change them: which events an endpoint gets.
    #[command(after_help = help::SUBSCRIPTIONS)]
    Subscriptions(resources::SubscriptionArgs),
    /// Show a tenant's sources and change them: where vendors' webhooks come in.
    #[command(after_help = help::SOURCES)]
    Sources(resources::SourceArgs),
    /// Show a tenant's keys and change them.
    #[command(after_help = help::KEYS)]
    Keys(resources::KeyArgs),
    /// Show channels' webhooks and change them.
    #[command(after_help = help::CHANNELS)]
    Channels(resources::ChannelArgs),
    /// Show integrations and change them: external flows that queues are bound to.
    #[command(after_help = help::INTEGRATIONS)]
    Integrations(resources::IntegrationArgs),
    /// Show which integrations queues are bound to, and change it.
    #[command(after_help = help::QUEUES)]
    Queues(resources::QueueArgs),
    /// Change the configured tenants to what YAML files describe, all of it or nothing.
    #[command(after_help = help::APPLY)]
    Apply(apply::Args),
    /// Print the configured tenants as YAML.
    Export(export::Args),
    /// Show which subscriptions an event matches, and why the others do not.
    #[command(after_help = help::EXPLAIN)]
    Explain(explain::Args),
    /// Show how much a tenant used, by day.
    Usage(usage::Args),
    /// Show who changed what.
    Audit(audit::Args),
    /// Copy everything that this machine holds into one file. A process may run meanwhile.
    #[command(after_help = help::BACKUP)]
    Backup(backup::BackupArgs),
    /// Replace everything that this machine holds with a backup.
    #[command(after_help = help::RESTORE)]
    Restore(backup::RestoreArgs),
    /// Manage the broker's exchanges and queues.
    Topology(topology::Args),
    /// Check and show the configuration.
    Config(config::Args),
    /// List events and what became of them; print event types, the schema and samples.
    Events(events::Args),
    /// Measure this build on this machine.
    Bench(bench::Args),
    /// Print a shell's completions.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Runs the command of the arguments in the given environment.
pub fn main(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> ExitCode {
    let parsed = named(Cli::command()).try_get_matches_from(arguments);
    let cli = match parsed.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => {
            // clap returns help and version as errors, which go to stdout with code 0.
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
            let _ = error.print();
            return ExitCode::from(exit.code());
        }
    };
    let ran = run(cli, environment.into_iter().collect());
    service::telemetry::flush();
    match ran {
        Ok(exit) => ExitCode::from(exit.code()),
        Err(error) if error.is::<output::StdoutClosed>() => ExitCode::from(Exit::Done.code()),
        Err(error) => {
            anstream::eprintln!("carteiro: {}", describe(&error));
            ExitCode::from(Exit::of(&error).code())
        }
    }
}

/// The command with all below it under the program's name, which `--version` prints.
fn named(command: clap::Command) -> clap::Command {
    command.display_name("carteiro").mut_subcommands(named)
}

/// An error as one line, without its attached exit code.
fn describe(error: &anyhow::Error) -> String {
    // The chain has only the contexts' texts, so the exit code is recognised by its text.
    let exit = error.downcast_ref::<Exit>().map(ToString::to_string);
    let mut parts = Vec::<String>::new();
    for cause in error.chain().map(ToString::to_string).filter(|cause| exit.as_ref() != Some(cause)) {
        // The text of some errors ends with the text of their source.
        if !parts.last().is_some_and(|last| last.ends_with(&cause)) {
            parts.push(cause);
        }
    }
    parts.join(": ")
}

fn run(cli: Cli, environment: Vec<(String, String)>) -> anyhow::Result<Exit> {
    let setup = Setup { overrides: overrides(&cli)?, environment };
    match cli.command.unwrap_or(Command::Standalone) {
        Command::Standalone => run_roles(&setup, Roles::STANDALONE),
        Command::Producer => run_roles(&setup, Roles { producer: true, ..Roles::NONE }),
        Command::Worker => run_roles(&setup, Roles::WORKER),
        Command::Router => run_roles(&setup, Roles { router: true, ..Roles::NONE }),
        Command::Deliverer => run_roles(&setup, Roles { deliverer: true, ..Roles::NONE }),
        Command::Control => run_roles(&setup, Roles { control: true, ..Roles::NONE }),
        Command::Status(args) => block_on(status::run(&setup, args)),
        Command::Demo(args) => block_on(demo::run(&setup, args)),
        Command::Publish(args) => block_on(publish::run(&setup, args)),
        Command::Listen(args) => block_on(listen::run(&setup, args)),
        Command::Deliveries(args) => block_on(history::deliveries(&setup, args)),
        Command::Tail(args) => block_on(history::tail(&setup, args)),
        Command::Stats(args) => block_on(history::stats(&setup, args)),
        Command::Erase(args) => block_on(erase::run(&setup, args)),
        Command::Problems(args) => block_on(problems::run(&setup, args)),
        Command::DeadLetters(args) => block_on(dead_letters::run(&setup, args)),
        Command::Replays(args) => block_on(replays::run(&setup, args)),
        Command::Parked(args) => block_on(parked::run(&setup, args)),
        Command::Tenants(args) => block_on(resources::run(&setup, args)),
        Command::Endpoints(args) => block_on(resources::run(&setup, args)),
        Command::Subscriptions(args) => block_on(resources::run(&setup, args)),
        Command::Sources(args) => block_on(resources::run(&setup, args)),
        Command::Keys(args) => block_on(resources::run(&setup, args)),
        Command::Channels(args) => block_on(resources::run(&setup, args)),
        Command::Integrations(args) => block_on(resources::integrations(&setup, args)),
        Command::Queues(args) => block_on(resources::run(&setup, args)),
        Command::Apply(args) => block_on(apply::run(&setup, args)),
        Command::Export(args) => block_on(export::run(&setup, args)),
        Command::Explain(args) => block_on(explain::run(&setup, args)),
        Command::Usage(args) => block_on(usage::run(&setup, args)),
        Command::Audit(args) => block_on(audit::run(&setup, args)),
        Command::Backup(args) => block_on(backup::backup(&setup, args)),
        Command::Restore(args) => block_on(backup::restore(&setup, args)),
        Command::Topology(args) => block_on(topology::run(&setup, args)),
        Command::Config(args) => block_on(config::run(&setup, &args)),
        Command::Events(args) => block_on(events::run(&setup, args)),
        Command::Bench(args) => block_on(bench::run(&setup, args)),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "carteiro", &mut script);
            output::line(String::from_utf8(script)?.trim_end())?;
            Ok(Exit::Done)
        }
    }
}

/// Runs a command to its end, without waiting for threads that block on an unresponsive name server.
fn block_on(command: impl Future<Output = anyhow::Result<Exit>>) -> anyhow::Result<Exit> {
    run_on(&mut runtime::Builder::new_multi_thread(), command)
}

fn run_on(runtime: &mut runtime::Builder, command: impl Future<Output = anyhow::Result<Exit>>) -> anyhow::Result<Exit> {
    let runtime = runtime.enable_all().build()?;
    let result = runtime.block_on(command);
    runtime.shutdown_background();
    result
}

/// Runs roles until a signal, on as many threads as the configuration says.
fn run_roles(setup: &Setup, roles: Roles) -> anyhow::Result<Exit> {
    let LoadedConfig { config, deprecations, .. } = setup.load(&[])?;
    setup.start_logging(&config, &deprecations)?;
    run_on(runtime::Builder::new_multi_thread().worker_threads(config.worker_threads()), async {
        let shutdown = service::shutdown::on_signals()?;
        let process = process::start(&config, roles, shutdown).await?;
        process.supervise(&config.ops)?;
        process.finish().await?;
        Ok(Exit::Done)
    })
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
    fn every_command_prints_the_programs_own_name_and_version() {
        for arguments in
            [&["carteiro", "-V"][..], &["carteiro", "endpoints", "-V"], &["carteiro", "keys", "list", "-V"]]
        {
            let version = named(Cli::command()).try_get_matches_from(arguments).unwrap_err().to_string();
            assert_eq!(version, format!("carteiro {}\n", env!("CARGO_PKG_VERSION")), "{arguments:?}");
        }
    }

    #[test]
    fn every_example_of_the_help_is_a_command_line() {
        fn check(command: &clap::Command, seen: &mut usize) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let examples = help.lines().filter_map(|line| line.strip_prefix("  "));
            for example in examples.flat_map(|line| line.split("  ").next()).flat_map(|line| line.split(" | ")) {
                if example.starts_with("carteiro") {
                    let words = example.replace('\'', "");
                    let parsed = named(Cli::command()).try_get_matches_from(words.split(' '));
                    // A secret's file is not there.
                    assert!(parsed.is_ok() || example.contains('@'), "{example}: {}", parsed.unwrap_err());
                    *seen += 1;
                }
            }
            command.get_subcommands().for_each(|below| check(below, seen));
        }
        let mut seen = 0;
        check(&Cli::command(), &mut seen);
        assert!(seen > 20, "{seen}");
    }

    #[test]
    fn an_attached_exit_code_is_not_part_of_the_text() {
        let error = anyhow::anyhow!("nobody listens").context(Exit::Unavailable).context("listing");
        assert_eq!((describe(&error), Exit::of(&error)), ("listing: nobody listens".to_owned(), Exit::Unavailable));
    }

    #[test]
    fn a_cause_that_its_error_repeats_is_printed_once() {
        let error = Err::<(), _>(std::io::Error::other("refused")).context("connecting: refused").unwrap_err();
        assert_eq!(describe(&error), "connecting: refused");
    }
}
