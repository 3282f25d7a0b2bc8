//! `carteiro bench isolation` with the smallest scenarios, on both brokers. Its figures are the machine's: what is
//! checked is that each scenario runs to its end and says what it measured.

use serde_json::Value;

use crate::harness::{Site, node};

const SCENARIOS: [&str; 8] =
    ["flood", "fan-out", "large", "names", "black-holed", "alone", "outage-known", "outage-unknown"];

/// Arguments of scenarios that are as small as they can be.
const SMALLEST: &str = "bench isolation --output json --rounds 1 --seconds 1 --tenants 2 --per-second 20 --black-holed 1 \
    --flood-per-second 20 --fan-out-events 2 --fan-out-endpoints 3 --large-per-second 2 --large-bytes 2048 \
    --silent-names 2 --slots 2 --away 1s --away-per-second 10";

fn site() -> Site {
    // What failed during an outage of a second is soon tried again.
    Site::embedded("tenants: []").set("deliverer.retry.schedule", &["1s"; 50].join(","))
}

/// Runs the scenarios, checks their lines and the exit code, and returns the lines.
async fn measured(site: &Site, broker: &str, arguments: &[&str]) -> Vec<Value> {
    let arguments: Vec<_> = SMALLEST.split_whitespace().chain(arguments.iter().copied()).collect();
    let output = site.run(&arguments).await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    let lines = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let all_passed = lines.iter().all(|line| line["passed"] == true);
    assert_eq!(output.status.code(), Some(if all_passed { 0 } else { 1 }), "{stderr}");
    assert!(lines.iter().all(|line| line["broker"] == broker), "{lines:?}");
    for line in &lines {
        has_figures(line);
    }
    lines
}

/// Checks that a scenario has measured something. How much depends on the machine.
fn has_figures(line: &Value) {
    let phases = match line["scenario"].as_str().expect("a name") {
        "alone" => return assert!(line["per_second"].as_f64() > Some(0.0), "{line}"),
        "outage-known" | "outage-unknown" => {
            assert!(line["recovered_seconds"].is_number() && line["left"].is_u64(), "{line}");
            assert!(line["waiting"].is_u64(), "{line}");
            &line["healthy"]
        }
        _ => &line["rounds"][0],
    };
    for phase in [&phases["without"], &phases["with"]] {
        assert!(phase["missing"].is_u64() && phase["refused"].is_u64(), "{line}");
        assert!(phase["count"].as_u64() > Some(0), "{line}");
    }
}

fn names(lines: &[Value]) -> Vec<&str> {
    lines.iter().filter_map(|line| line["scenario"].as_str()).collect()
}

#[tokio::test]
async fn the_bench_of_isolation_measures_every_scenario() {
    assert_eq!(names(&measured(&site(), "embedded", &[]).await), SCENARIOS);
}

#[tokio::test]
async fn the_bench_of_isolation_measures_a_rabbitmq() {
    let url = tokio::task::spawn_blocking(node::shared).await.expect("a node");
    let arguments = ["fan-out", "outage-unknown", "--broker", url];
    assert_eq!(names(&measured(&site(), "rabbitmq", &arguments).await), ["fan-out", "outage-unknown"]);
}
