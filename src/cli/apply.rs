//! `carteiro apply`: changes the configured tenants to what files describe, in one request: all of it, or nothing.

use std::path::PathBuf;

use anstyle::{AnsiColor, Style};
use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use service::Exit;
use store::Description;

use super::{
    client::{ApiArgs, ApiRefusal, ApiWarning, Client, Method},
    confirm::ConfirmArgs,
    output::{self, Output},
    resources,
    setup::Setup,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Files of YAML as in the folder of the `file:` store, or folders of such files; `-` is standard input.
    #[arg(short, long = "file", value_name = "FILE", required = true, num_args = 1..)]
    files: Vec<PathBuf>,
    /// Only print the changes, and make none.
    #[arg(long)]
    dry_run: bool,
    /// Delete what the files do not name, tenants included.
    #[arg(long)]
    prune: bool,
    /// Change only this tenant. The files may describe no other, and --prune deletes nothing of others.
    #[arg(long)]
    tenant: Option<String>,
    #[command(flatten)]
    confirm: ConfirmArgs,
    #[command(flatten)]
    api: ApiArgs,
    /// How to print the changes.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Deserialize)]
struct AppliedChanges {
    changes: Vec<Value>,
    #[serde(default)]
    shown_once: Vec<IssuedSecret>,
    #[serde(default)]
    warnings: Vec<ApiWarning>,
}

/// A secret that a change issued. The API shows it only in that answer.
#[derive(Deserialize, Serialize)]
struct IssuedSecret {
    tenant: String,
    kind: String,
    id: String,
    field: String,
    value: Value,
}

#[derive(Deserialize)]
struct ChangedResource {
    tenant: String,
    kind: String,
    id: String,
    change: String,
    #[serde(default)]
    fields: Vec<String>,
}

pub(super) async fn run(setup: &Setup, args: Args) -> anyhow::Result<Exit> {
    let client = Client::new(&args.api, setup)?;
    let description = match Description::read(&args.files, std::io::stdin()) {
        Ok(description) => description,
        Err(error) => return nothing_changed(error.0.lines()),
    };
    let apply = async |dry_run: bool| -> anyhow::Result<AppliedChanges> {
        let mut request = json!({"tenants": description.tenants(), "dry_run": dry_run, "prune": args.prune});
        if let Some(tenant) = &args.tenant {
            request["tenant"] = tenant.as_str().into();
        }
        client.call_silently(Method::POST, "/v1/apply", Some(request.to_string())).await
    };
    if args.prune && !args.dry_run {
        let planned = match apply(true).await {
            Ok(planned) => planned,
            Err(error) => return locate_errors(error, &description),
        };
        let deletions = deletions(&planned.changes)?;
        if !deletions.is_empty() {
            args.confirm.confirm(&format!("these will be deleted: {}", deletions.join(", ")))?;
        }
    }
    let applied = match apply(args.dry_run).await {
        Ok(applied) => applied,
        Err(error) => return locate_errors(error, &description),
    };
    for warning in &applied.warnings {
        output::warning(description.line(&warning.pointer, &warning.message));
    }
    for change in &applied.changes {
        match args.output {
            Output::Json => output::json(change)?,
            Output::Table => {
                output::line(ChangedResource::deserialize(change).context("reading the answer")?.to_line())?;
            }
        }
    }
    for secret in &applied.shown_once {
        match args.output {
            Output::Json => output::json(secret)?,
            Output::Table => output::line(secret.to_line())?,
        }
    }
    if !applied.shown_once.is_empty() {
        resources::warn_shown_once();
    }
    anstream::eprintln!("{}", summary(applied.changes.len(), args.dry_run));
    Ok(Exit::Done)
}

/// What the changes delete, such as `endpoint acme/crm`.
fn deletions(changes: &[Value]) -> anyhow::Result<Vec<String>> {
    let changes = changes.iter().map(ChangedResource::deserialize).collect::<Result<Vec<_>, _>>();
    let deleted = changes.context("reading the answer")?.into_iter().filter(|change| change.change == "deleted");
    Ok(deleted.map(|change| change.name()).collect())
}

fn summary(changes: usize, dry_run: bool) -> String {
    let plural = if changes == 1 { "" } else { "s" };
    match (changes, dry_run) {
        (0, _) => "nothing to change".to_owned(),
        (_, true) => format!("{changes} change{plural} to make; nothing was changed"),
        (_, false) => format!("{changes} change{plural} made"),
    }
}

/// Prints the invalid fields of a refusal with their files and lines.
fn locate_errors(error: anyhow::Error, description: &Description) -> anyhow::Result<Exit> {
    match error.downcast_ref::<ApiRefusal>().map(|refusal| refusal.problem.errors.as_slice()) {
        None | Some([]) => Err(error),
        Some(errors) => {
            let lines: Vec<_> = errors.iter().map(|at| description.line(&at.pointer, &at.message)).collect();
            nothing_changed(lines.iter().map(String::as_str))
        }
    }
}

fn nothing_changed<'a>(lines: impl Iterator<Item = &'a str>) -> anyhow::Result<Exit> {
    for line in lines {
        anstream::eprintln!("{line}");
    }
    Err(anyhow::anyhow!("nothing was changed").context(Exit::Config))
}

impl IssuedSecret {
    /// For example `source acme/main token  in_…`.
    fn to_line(&self) -> String {
        let Self { tenant, kind, id, field, value } = self;
        format!("{kind} {tenant}/{id} {field}  {}", output::cell(value))
    }
}

impl ChangedResource {
    /// For example `~ subscription acme/crm-7 (event_types)`.
    fn to_line(&self) -> String {
        let (sign, color) = match self.change.as_str() {
            "created" => ('+', AnsiColor::Green),
            "deleted" => ('-', AnsiColor::Red),
            _ => ('~', AnsiColor::Yellow),
        };
        let color = Style::new().fg_color(Some(color.into()));
        let names: Vec<_> =
            self.fields.iter().map(|pointer| pointer.trim_start_matches('/').replace('/', ".")).collect();
        let fields = if names.is_empty() || sign != '~' { String::new() } else { format!(" ({})", names.join(", ")) };
        format!("{color}{sign} {}{fields}{color:#}", self.name())
    }

    /// For example `endpoint acme/crm`.
    fn name(&self) -> String {
        let Self { tenant, kind, id, .. } = self;
        if kind == "tenant" { format!("tenant {id}") } else { format!("{kind} {tenant}/{id}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(change: Value) -> String {
        let text = ChangedResource::deserialize(change).unwrap().to_line();
        anstream::adapter::strip_str(&text).to_string()
    }

    #[test]
    fn a_change_is_one_line() {
        let made = json!({"tenant": "acme", "kind": "endpoint", "id": "crm", "change": "created", "fields": ["/url"]});
        assert_eq!(line(made), "+ endpoint acme/crm");
        let changed = json!({"tenant": "acme", "kind": "endpoint", "id": "crm", "change": "updated",
            "fields": ["/url", "/retry/max_age"]});
        assert_eq!(line(changed), "~ endpoint acme/crm (url, retry.max_age)");
        let gone = json!({"tenant": "acme", "kind": "tenant", "id": "acme", "change": "deleted"});
        assert_eq!(line(gone), "- tenant acme");
    }

    #[test]
    fn the_summary_says_whether_anything_was_done() {
        assert_eq!(summary(0, true), "nothing to change");
        assert_eq!(summary(1, true), "1 change to make; nothing was changed");
        assert_eq!(summary(2, false), "2 changes made");
    }
}
