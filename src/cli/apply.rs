//! `carteiro apply`: makes what is configured what files say, in one request: all of it, or nothing.

use std::path::PathBuf;

use anstyle::{AnsiColor, Style};
use anyhow::Context as _;
use serde::Deserialize;
use serde_json::{Value, json};
use service::Exit;
use store::Description;

use super::{
    client::{ApiArgs, Client, Method},
    print,
    refused::Refused,
    resources::{once_only, say_so},
    setup::{Output, Setup},
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// YAML as in the folder of the `file:` store, or folders of it; `-` is standard input.
    #[arg(short, long = "file", value_name = "FILE", required = true, num_args = 1..)]
    files: Vec<PathBuf>,
    /// Only say what would be changed.
    #[arg(long)]
    dry_run: bool,
    /// Delete what the files do not name, tenants included.
    #[arg(long)]
    prune: bool,
    #[command(flatten)]
    api: ApiArgs,
    /// How to print what was changed.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// What was changed, or would be.
#[derive(Deserialize)]
struct Applied {
    changes: Vec<Value>,
    #[serde(default)]
    shown_once: Vec<Value>,
}

/// One of the changes.
#[derive(Deserialize)]
struct Change {
    tenant: String,
    kind: String,
    id: String,
    change: String,
    #[serde(default)]
    fields: Vec<String>,
}

pub(super) async fn run(setup: &Setup, args: Args) -> anyhow::Result<Exit> {
    let client = Client::new(&args.api, &setup.load(&[])?.config)?;
    let description = match Description::read(&args.files, std::io::stdin()) {
        Ok(description) => description,
        Err(error) => return broken(error.0.lines()),
    };
    let request = json!({"tenants": description.tenants(), "dry_run": args.dry_run, "prune": args.prune});
    let applied: Applied = match client.call(Method::POST, "/v1/apply", Some(request.to_string())).await {
        Ok(applied) => applied,
        Err(error) => return refused(error, &description),
    };
    for change in &applied.changes {
        match args.output {
            Output::Json => print::json(change)?,
            Output::Table => print::line(Change::deserialize(change).context("reading the answer")?.in_words())?,
        }
    }
    for made in &applied.shown_once {
        match args.output {
            Output::Json => print::json(made)?,
            Output::Table => tell(made)?,
        }
        say_so(made);
    }
    anstream::eprintln!("{}", summary(applied.changes.len(), args.dry_run));
    Ok(Exit::Done)
}

fn summary(changes: usize, dry_run: bool) -> String {
    let plural = if changes == 1 { "" } else { "s" };
    match (changes, dry_run) {
        (0, _) => "nothing to change".to_owned(),
        (_, true) => format!("{changes} change{plural} to make; nothing was changed"),
        (_, false) => format!("{changes} change{plural} made"),
    }
}

/// What the process complains about, as it stands in the files.
fn refused(error: anyhow::Error, description: &Description) -> anyhow::Result<Exit> {
    match error.downcast_ref::<Refused>().map(|refused| refused.problem.errors.as_slice()) {
        None | Some([]) => Err(error),
        Some(errors) => {
            let lines: Vec<_> = errors.iter().map(|at| description.line(&at.pointer, &at.message)).collect();
            broken(lines.iter().map(String::as_str))
        }
    }
}

/// A line for everything that is wrong.
fn broken<'a>(lines: impl Iterator<Item = &'a str>) -> anyhow::Result<Exit> {
    for line in lines {
        anstream::eprintln!("{line}");
    }
    Err(anyhow::anyhow!("nothing was changed").context(Exit::Config))
}

/// What was made, shown this once.
fn tell(made: &Value) -> anyhow::Result<()> {
    let text = |name: &str| made[name].as_str().unwrap_or_default();
    print::line(format_args!("{} {}/{}", text("kind"), text("tenant"), text("id")))?;
    once_only(made)
}

impl Change {
    /// `~ subscription acme/crm-7 (event_types)`.
    fn in_words(&self) -> String {
        let (sign, color) = match self.change.as_str() {
            "created" => ('+', AnsiColor::Green),
            "deleted" => ('-', AnsiColor::Red),
            _ => ('~', AnsiColor::Yellow),
        };
        let color = Style::new().fg_color(Some(color.into()));
        let what = if self.kind == "tenant" { self.id.clone() } else { format!("{}/{}", self.tenant, self.id) };
        let names: Vec<_> =
            self.fields.iter().map(|pointer| pointer.trim_start_matches('/').replace('/', ".")).collect();
        let fields = if names.is_empty() || sign != '~' { String::new() } else { format!(" ({})", names.join(", ")) };
        format!("{color}{sign} {} {what}{fields}{color:#}", self.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(change: Value) -> String {
        let text = Change::deserialize(change).unwrap().in_words();
        anstream::adapter::strip_str(&text).to_string()
    }

    #[test]
    fn a_change_is_one_line() {
        let made = json!({"tenant": "acme", "kind": "endpoint", "id": "crm", "change": "created", "fields": ["/url"]});
        assert_eq!(words(made), "+ endpoint acme/crm");
        let changed = json!({"tenant": "acme", "kind": "endpoint", "id": "crm", "change": "updated",
            "fields": ["/url", "/retry/max_age"]});
        assert_eq!(words(changed), "~ endpoint acme/crm (url, retry.max_age)");
        let gone = json!({"tenant": "acme", "kind": "tenant", "id": "acme", "change": "deleted"});
        assert_eq!(words(gone), "- tenant acme");
    }

    #[test]
    fn the_summary_says_whether_anything_was_done() {
        assert_eq!(summary(0, true), "nothing to change");
        assert_eq!(summary(1, true), "1 change to make; nothing was changed");
        assert_eq!(summary(2, false), "2 changes made");
    }
}
