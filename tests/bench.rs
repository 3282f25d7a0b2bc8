//! `carteiro bench` with the smallest measurements, on both brokers. Its figures are the machine's: what is checked is that
//! each measurement runs to its end, loses nothing, and says what it measured.

use serde_json::Value;

use crate::harness::{Site, node};

const SCENARIOS: [&str; 8] =
    ["flood", "fan-out", "large", "names", "black-holed", "alone", "outage-known", "outage-unknown"];

/// Arguments of scenarios that are as small as they can be.
const SMALLEST: &str = "bench isolation --output json --rounds 1 --seconds 1 --tenants 2 --per-second 20 --black-holed 1 \
    --flood-per-second 20 --fan-out-events 2 --fan-out-endpoints 3 --large-per-second 2 --large-bytes 2048 \
    --silent-names 2 --slots 2 --away 1s --away-per-second 10";

/// Runs a measurement, which must succeed, and returns its lines of JSON.
async fn results(arguments: &str) -> Vec<Value> {
    let arguments = format!("bench {arguments} --output json");
    let output = site().run(&arguments.split_whitespace().collect::<Vec<_>>()).await;
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stderr}");
    let lines: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    for line in &lines {
        let scenario = arguments.split_whitespace().nth(1);
        assert_eq!(line["scenario"].as_str(), scenario, "{line}");
    }
    lines
}

/// Checks that a positive number has each of these names.
fn measured_some(line: &Value, names: &[&str]) {
    for name in names {
        assert!(line[name].as_f64() > Some(0.0), "{name} of {line}");
    }
}

/// Checks that all events were accepted, and that each delivery has arrived once.
fn nothing_is_missing(line: &Value) {
    for name in ["lost", "duplicates", "refused"] {
        assert_eq!(line[name], 0, "{name} of {line}");
    }
}

async fn rabbitmq() -> &'static str {
    tokio::task::spawn_blocking(node::shared).await.expect("a node")
}

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
async fn the_bench_of_throughput_counts_every_delivery() {
    for (broker, options) in [("embedded", String::new()), ("rabbitmq", format!("--broker {}", rabbitmq().await))] {
        let lines = results(&format!("throughput --events 60 --connections 4 {options}")).await;
        let [line] = lines.as_slice() else { panic!("{lines:?}") };
        assert_eq!((line["broker"].as_str(), &line["events"]), (Some(broker), &Value::from(60)));
        measured_some(line, &["deliveries_per_second"]);
        // So short a run may take less than a tick of the kernel's clock.
        assert!(line["cpu_ms_per_1000_deliveries"].is_f64(), "{line}");
        nothing_is_missing(line);
    }
}

#[tokio::test]
async fn the_bench_of_latency_has_the_latency_of_every_delivery() {
    let lines = results("latency --per-second 50 --seconds 1 --connections 4").await;
    let [line] = lines.as_slice() else { panic!("{lines:?}") };
    assert_eq!((&line["events_per_second"], &line["count"]), (&Value::from(50), &Value::from(50)));
    measured_some(line, &["p50_ms", "p99_ms", "max_ms"]);
    nothing_is_missing(line);
}

#[tokio::test]
async fn the_bench_of_fanout_makes_as_many_deliveries_of_fewer_events() {
    let lines = results("fanout --deliveries 12 --endpoints 1,4 --connections 2").await;
    let sizes = |line: &Value| ["endpoints", "events", "deliveries"].map(|name| line[name].as_u64().expect("a number"));
    assert_eq!(lines.iter().map(sizes).collect::<Vec<_>>(), [[1, 12, 12], [4, 3, 12]]);
    lines.iter().for_each(nothing_is_missing);
}

#[tokio::test]
async fn the_bench_of_a_backlog_drains_what_waited_for_its_endpoint() {
    let lines = results("backlog --events 60 --batch 20").await;
    let [line] = lines.as_slice() else { panic!("{lines:?}") };
    assert_eq!(line["tenths_per_second"].as_array().map(Vec::len), Some(10));
    measured_some(line, &["accepted_per_second", "drained_per_second"]);
    measured_some(&line["file_bytes"], &["before", "peak", "after"]);
    for phase in ["filling", "draining"] {
        measured_some(&line["memory_bytes"]["standalone"][phase], &["min", "max"]);
    }
    nothing_is_missing(line);
}

#[tokio::test]
async fn the_bench_of_a_backlog_drains_what_waited_for_a_deliverer() {
    let lines = results(&format!("backlog --events 60 --batch 20 --broker {}", rabbitmq().await)).await;
    let [line] = lines.as_slice() else { panic!("{lines:?}") };
    for role in ["producer", "router", "deliverer"] {
        measured_some(&line["memory_bytes"][role]["draining"], &["min", "max"]);
    }
    // The deliverer was not running before.
    assert_eq!((&line["memory_bytes"]["deliverer"]["filling"], &line["file_bytes"]), (&Value::Null, &Value::Null));
    nothing_is_missing(line);
}

#[tokio::test]
async fn the_bench_of_scale_measures_each_number_of_deliverers() {
    let lines = results(&format!("scale --deliverers 1,2 --slots 2 --seconds 1 --broker {}", rabbitmq().await)).await;
    let [one, two] = lines.as_slice() else { panic!("{lines:?}") };
    assert_eq!((&one["linear"], &one["possible_per_second"]), (&Value::from(1.0), &Value::from(40.0)));
    assert_eq!(two["possible_per_second"], 80.0);
    let processes: Vec<_> = two["cores"].as_array().expect("a list").iter().map(|cores| &cores["process"]).collect();
    assert_eq!(processes, ["producer", "router", "deliverer", "deliverer 2"]);
    for line in &lines {
        measured_some(line, &["deliveries_per_second", "machine_busy"]);
        assert!(["slots", "cores", "unknown"].contains(&line["full"].as_str().expect("a name")), "{line}");
    }
}

#[tokio::test]
async fn the_bench_of_scale_refuses_a_broker_of_one_process() {
    let output = site().run(&["bench", "scale"]).await;
    assert_eq!(output.status.code(), Some(64));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("lives inside one process") && stderr.contains("--broker"), "{stderr}");
}

#[tokio::test]
async fn a_bench_that_is_told_to_ends_with_a_table_in_markdown() {
    let output = site().run(&["bench", "throughput", "--events", "10", "--output", "markdown"]).await;
    let stdout = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<_> = stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{stdout}");
    assert!(lines.iter().all(|line| line.starts_with('|') && line.ends_with('|')), "{stdout}");
}

#[tokio::test]
async fn a_bench_without_its_broker_says_so() {
    let output = site().run(&["bench", "throughput", "--broker", "amqp://guest:guest@127.0.0.1:1/%2f"]).await;
    assert_eq!(output.status.code(), Some(69), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn the_bench_of_isolation_measures_every_scenario() {
    assert_eq!(names(&measured(&site(), "embedded", &[]).await), SCENARIOS);
}

#[tokio::test]
async fn the_bench_of_isolation_measures_a_rabbitmq() {
    let arguments = ["fan-out", "outage-unknown", "--broker", rabbitmq().await];
    assert_eq!(names(&measured(&site(), "rabbitmq", &arguments).await), ["fan-out", "outage-unknown"]);
}
