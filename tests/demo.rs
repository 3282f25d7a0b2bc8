//! `carteiro demo`: every vendor's bodies in every format, on both brokers.

use std::{collections::HashMap, fs, path::Path, process::Stdio};

use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use crate::harness::{Rabbit, Site, in_time, report};

/// A line of `demo --output json`, with the body's exact text.
#[derive(Deserialize)]
struct DemoLine {
    kind: String,
    #[serde(default)]
    endpoint: String,
    #[serde(default)]
    format: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    attempts: u32,
    body: Option<Box<RawValue>>,
    delivered: Option<usize>,
    dead_letters: Option<usize>,
    lost: Option<usize>,
}

#[derive(Deserialize)]
struct Pairs {
    pairs: Vec<Pair>,
}

#[derive(Deserialize)]
struct Pair {
    vendor: String,
    renderer: String,
    options: HashMap<String, Value>,
    ingest: bool,
}

#[tokio::test]
async fn the_demo_delivers_every_vendors_bodies_byte_for_byte() {
    let site = Site::embedded("tenants: []");
    check(&run_demo(&site, &["demo", "--exit", "--output", "json"]).await);
}

#[tokio::test]
async fn the_demo_does_the_same_on_rabbitmq_and_leaves_nothing_there() {
    let rabbit = Rabbit::start().await;
    let site = Site::on(rabbit.url(), "tenants: []");
    // Exchanges and queues that are not the demo's, and must stay.
    assert!(site.run(&["topology", "apply"]).await.status.success());
    let before = rabbit.inventory().await;
    assert!(before.contains(&site.broker().exchange), "{before:?}");
    check(&run_demo(&site, &["demo", "--exit", "--output", "json", "--broker", rabbit.url()]).await);
    assert_eq!(rabbit.inventory().await, before);
}

#[tokio::test]
async fn the_line_that_the_demo_prints_publishes_an_event_that_it_shows() {
    let site = Site::embedded("tenants: []");
    let mut demo = Demo::start(&site);
    let publish = demo.line("events sample | ").await;
    let output = Command::new("sh").args(["-c", &publish]).output().await.expect("a shell");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let arrived = demo.line("← 200").await;
    assert!(arrived.contains("message.received attempt 1"), "{arrived}");
    assert_eq!(demo.interrupt().await, Some(0));
}

#[tokio::test]
async fn the_demo_ends_well_when_it_is_interrupted_in_its_story() {
    let site = Site::embedded("tenants: []");
    let mut demo = Demo::start(&site);
    demo.line("→ in").await;
    assert_eq!(demo.interrupt().await, Some(0));
    demo.line("ended early").await;
}

/// A demo that somebody watches.
struct Demo {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Demo {
    fn start(site: &Site) -> Self {
        let mut child = site.command().arg("demo").stdout(Stdio::piped()).spawn().expect("the binary runs");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { child, lines }
    }

    /// Waits for the next line that has this text.
    async fn line(&mut self, text: &str) -> String {
        let lines = &mut self.lines;
        in_time(text, async {
            while let Some(line) = lines.next_line().await.expect("text") {
                if line.contains(text) {
                    return line;
                }
            }
            panic!("the demo ended without: {text}")
        })
        .await
    }

    /// Presses Ctrl-C, and waits for the end. Returns the exit code.
    async fn interrupt(&mut self) -> Option<i32> {
        let id = self.child.id().expect("it runs").to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().await.expect("kill runs").success());
        in_time("it ends", self.child.wait()).await.expect("it is ours").code()
    }
}

async fn run_demo(site: &Site, arguments: &[&str]) -> Vec<DemoLine> {
    let output = site.run(arguments).await;
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    stdout.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

fn check(lines: &[DemoLine]) {
    let bodies = every_pair_is_delivered(lines);
    let of = |kind: &str| lines.iter().filter(|line| line.kind == kind).collect::<Vec<_>>();
    let (delivered, dead) = (of("delivered"), of("dead_letter"));
    assert!(!lines.iter().any(|line| line.endpoint == "unticked"), "an endpoint without event types got something");

    let flaky: Vec<_> = delivered.iter().filter(|line| line.endpoint == "flaky").map(|line| line.attempts).collect();
    assert!(!flaky.is_empty() && flaky.iter().all(|attempts| *attempts == 3), "{flaky:?}");

    assert!(!dead.is_empty() && !delivered.iter().any(|line| line.endpoint == "broken"));
    for letter in &dead {
        let letter = (letter.endpoint.as_str(), letter.reason.as_str(), letter.attempts);
        assert_eq!(letter, ("broken", "exhausted", 3));
    }

    let summary = lines.last().expect("a summary");
    assert_eq!(summary.kind, "summary");
    let figures = (summary.delivered, summary.dead_letters, summary.lost);
    assert_eq!(figures, (Some(delivered.len()), Some(dead.len()), Some(0)));
    report("demo", format!("{bodies} pairs, {} delivered, {} dead letters, 0 lost", delivered.len(), dead.len()));
}

/// Every pair is delivered in the vendor's own format: an `original` endpoint only gets the body that came in.
fn every_pair_is_delivered(lines: &[DemoLine]) -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let pairs: Pairs = serde_json::from_str(&read(&folder.join("pairs.json"))).expect("pairs");
    let due: Vec<_> = pairs.pairs.iter().filter(|pair| pair.options.is_empty() && pair.ingest).collect();
    assert!(!due.is_empty());
    for pair in &due {
        let format = pair.renderer.split('-').next().expect("a vendor");
        let text = read(&folder.join("vendor").join(&pair.vendor));
        let compact = serde_json::from_str::<Value>(&text).expect("JSON").to_string();
        let is_it =
            |line: &&DemoLine| line.format == format && line.body.as_ref().is_some_and(|body| body.get() == compact);
        assert!(lines.iter().any(|line| is_it(&line)), "{} was not delivered as {format}: {compact}", pair.vendor);
    }
    due.len()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
