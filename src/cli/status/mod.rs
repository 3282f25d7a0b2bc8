//! `carteiro status`: whether all is well, on one screen.

mod screen;

use std::{
    io::{IsTerminal as _, stdout},
    time::Duration,
};

use serde_json::Value;
use service::Exit;

use super::{
    client::{ApiArgs, Client, Method, path_segment},
    describe,
    output::{self, Output},
    setup::Setup,
};

/// Time between two looks of `--watch`.
const INTERVAL: Duration = Duration::from_secs(2);
/// Failing endpoints that the screen has room for.
const ENDPOINTS: usize = 10;
/// Puts the cursor to the top of the terminal, and clears what is below it.
const CLEAR: &str = "\x1b[H\x1b[J";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Show one tenant only; its own key may do that.
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    /// Look again every two seconds, until Ctrl-C.
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    api: ApiArgs,
    /// How to print it.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

pub(super) async fn run(setup: &Setup, args: Args) -> anyhow::Result<Exit> {
    let client = Client::new(&args.api, setup)?;
    let path = path(args.tenant.as_deref(), args.output);
    let mut status: anyhow::Result<Value> = Ok(client.call(Method::GET, &path, None).await?);
    if !args.watch {
        let status = status?;
        print(&status, args.output)?;
        return Ok(if status["well"] == true { Exit::Done } else { Exit::Failed });
    }
    let stop = service::shutdown::on_signals()?;
    let is_redrawn = stdout().is_terminal() && args.output == Output::Table;
    loop {
        if is_redrawn {
            anstream::print!("{CLEAR}");
        }
        match &status {
            Ok(status) => print(status, args.output)?,
            // A process that is being restarted answers again.
            Err(error) => anstream::eprintln!("carteiro: {}", describe(error)),
        }
        if !is_redrawn && args.output == Output::Table {
            output::line("")?;
        }
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            () = stop.cancelled() => return Ok(Exit::Done),
        }
        status = tokio::select! {
            answer = client.call(Method::GET, &path, None) => answer,
            () = stop.cancelled() => return Ok(Exit::Done),
        };
    }
}

/// The screen shows fewer endpoints than the API answers by default.
fn path(tenant: Option<&str>, output: Output) -> String {
    let query = if output == Output::Table { format!("?limit={ENDPOINTS}") } else { String::new() };
    match tenant {
        Some(tenant) => format!("/v1/tenants/{}/status{query}", path_segment(tenant)),
        None => format!("/v1/status{query}"),
    }
}

fn print(status: &Value, output: Output) -> anyhow::Result<()> {
    match output {
        Output::Json => output::json(status),
        Output::Table => output::line(screen::screen(status)),
    }
}
