//! The demo's output: coloured lines with a table at the end, or lines of JSON.

use std::collections::BTreeMap;

use anstyle::{AnsiColor, Style};
use schemas::{DeadLetter, Format, body_as_json};
use serde::Serialize;
use serde_json::value::RawValue;

use super::expected::ExpectedDeliveries;
use crate::{
    cli::output::{self, Output, table},
    config::Config,
    process::Process,
    receiver::{Received, Receiver},
};

/// Prints the progress.
pub(super) struct Report {
    output: Output,
    rows: BTreeMap<(String, String), EndpointRow>,
}

#[derive(Default)]
struct EndpointRow {
    format: String,
    accepted: u64,
    refused: u64,
    dead: u64,
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum ReportLine<'a> {
    Delivered {
        tenant: &'a str,
        endpoint: &'a str,
        format: Option<Format>,
        event_type: &'a str,
        webhook_id: &'a str,
        attempts: u32,
        body: Option<Box<RawValue>>,
    },
    DeadLetter {
        tenant: &'a str,
        endpoint: &'a str,
        event_type: &'a str,
        webhook_id: &'a str,
        reason: &'a str,
        attempts: u32,
    },
    Summary {
        published: u64,
        delivered: u64,
        dead_letters: u64,
        /// Deliveries that waited for a retry when someone ended the demo.
        waiting: u64,
        lost: u64,
    },
}

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

const fn color(color: AnsiColor) -> Style {
    Style::new().fg_color(Some(anstyle::Color::Ansi(color)))
}

impl Report {
    pub(super) fn new(output: Output) -> Self {
        Self { output, rows: BTreeMap::new() }
    }

    fn is_text(&self) -> bool {
        self.output == Output::Table
    }

    pub(super) fn begin(&self, config: &Config, process: &Process, receiver: &Receiver) -> anyhow::Result<()> {
        if self.is_text() {
            let broker = if config.broker.is_embedded() { "the embedded broker" } else { "RabbitMQ" };
            output::line(format_args!("{BOLD}carteiro{BOLD:#} runs all its roles here, on {broker}."))?;
            if let Some(http) = process.http {
                output::line(format_args!(
                    "  events go in at   http://{http}/v1/tenants/<tenant>/events and /v1/in/<token>"
                ))?;
            }
            output::line(format_args!("  endpoints are at  {}", receiver.url("/<tenant>/<endpoint>")))?;
            output::line(format_args!("  metrics are at    http://{}/metrics\n", process.ops))?;
        }
        Ok(())
    }

    pub(super) fn published(&self, tenant: &str, fixture: &str, id: &str) -> anyhow::Result<()> {
        if self.is_text() {
            let blue = color(AnsiColor::Blue);
            output::line(format_args!("{blue}→ in  {blue:#} {tenant:<10} {fixture} {DIM}{id}{DIM:#}"))?;
        }
        Ok(())
    }

    pub(super) fn received(
        &mut self,
        received: &Received,
        tenant: &str,
        endpoint: &str,
        format: Option<Format>,
    ) -> anyhow::Result<()> {
        let attempts = received.header("carteiro-attempt").parse().unwrap_or_default();
        let (event_type, webhook_id) = (received.header("carteiro-event-type"), received.header("webhook-id"));
        let row = self.rows.entry((tenant.to_owned(), endpoint.to_owned())).or_default();
        row.format = format.map_or_else(String::new, |format| format!("{format:?}").to_lowercase());
        if received.is_accepted() {
            row.accepted += 1;
        } else {
            row.refused += 1;
        }
        if self.is_text() {
            let tone = color(if received.is_accepted() { AnsiColor::Green } else { AnsiColor::Yellow });
            let status = received.status.unwrap_or_default();
            output::line(format_args!(
                "{tone}← {status} {tone:#} {tenant:<10} {endpoint:<10} {event_type} {DIM}attempt {attempts} {webhook_id}{DIM:#}"
            ))?;
        } else if received.is_accepted() {
            let body = body_as_json(&received.body);
            output::json(&ReportLine::Delivered { tenant, endpoint, format, event_type, webhook_id, attempts, body })?;
        }
        Ok(())
    }

    pub(super) fn dead(&mut self, letter: &DeadLetter, webhook_id: &str) -> anyhow::Result<()> {
        let (tenant, endpoint) = (letter.tenant.as_str(), letter.endpoint_id.as_str());
        self.rows.entry((tenant.to_owned(), endpoint.to_owned())).or_default().dead += 1;
        let (event_type, reason, attempts) = (letter.event_type.as_str(), letter.reason.as_str(), letter.attempts);
        if self.is_text() {
            let red = color(AnsiColor::Red);
            output::line(format_args!(
                "{red}✝ dead{red:#} {tenant:<10} {endpoint:<10} {event_type} {reason} {DIM}after {attempts} attempts {webhook_id}{DIM:#}"
            ))?;
            return Ok(());
        }
        output::json(&ReportLine::DeadLetter { tenant, endpoint, event_type, webhook_id, reason, attempts })
    }

    /// Prints the sums. What is awaited is lost, unless someone ended the demo early: then it only waits for its turn.
    pub(super) fn end(&self, expected: &ExpectedDeliveries, is_interrupted: bool) -> anyhow::Result<()> {
        let ExpectedDeliveries { published, delivered, dead_letters, .. } = *expected;
        let (waiting, lost) = match expected.awaited() {
            awaited if is_interrupted => (awaited, 0),
            awaited => (0, awaited),
        };
        if !self.is_text() {
            return output::json(&ReportLine::Summary { published, delivered, dead_letters, waiting, lost });
        }
        let mut rows = table(["tenant", "endpoint", "format", "accepted", "refused, tried again", "dead letters"]);
        for ((tenant, endpoint), row) in &self.rows {
            let [accepted, refused, dead] = [row.accepted, row.refused, row.dead].map(|count| count.to_string());
            rows.add_row([tenant, endpoint, &row.format, &accepted, &refused, &dead]);
        }
        output::line(format_args!("\n{rows}"))?;
        let (tone, missing) = match (is_interrupted, lost) {
            (true, _) => (Style::new(), format!("ended early: {waiting} waited for a retry")),
            (false, 0) => (color(AnsiColor::Green), "0 lost".to_owned()),
            (false, lost) => (color(AnsiColor::Red), format!("{lost} lost")),
        };
        output::line(format_args!(
            "{published} events in, {delivered} bodies delivered, {dead_letters} dead letters, {tone}{missing}{tone:#}"
        ))?;
        Ok(())
    }

    /// Says what can be tried while the demo stays up.
    pub(super) fn stay(&self, process: &Process) -> anyhow::Result<()> {
        if let (true, Some(http), Some(key)) = (self.is_text(), process.http, &process.operator_key) {
            // The name by which the demo was started starts it again from the same folder.
            let carteiro = std::env::args().next().unwrap_or_else(|| "carteiro".to_owned());
            let api = format!("--server http://{http} --key {}", key.reveal());
            output::line("\nIt stays up, and shows what arrives; Ctrl-C ends it. In another terminal:")?;
            output::line(format_args!("  {carteiro} events sample | {carteiro} publish --tenant whazing {api}"))?;
            output::line(format_args!("  {carteiro} dead-letters list {api}"))?;
            output::line(format_args!("The API is described at http://{http}/docs\n"))?;
        }
        Ok(())
    }
}
