//! A Prometheus with the committed rules, on a port of its own, that scrapes a site every second.

use std::{
    collections::BTreeMap,
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::{Value, json};
use tokio::process::{Child, Command};

use super::{Process, client, eventually};

/// A Prometheus. It is killed when it is dropped.
pub(crate) struct Prometheus {
    base: String,
    http: reqwest::Client,
    _child: Child,
}

/// One series of an answer.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

impl Prometheus {
    /// Starts one, for these processes by role and for RabbitMQ's plugin at host:port. It keeps its data in `folder`.
    pub(crate) async fn start(folder: &Path, processes: &[(&str, &Process)], rabbitmq: &str) -> Self {
        let config = folder.join("prometheus.json");
        // JSON is YAML.
        fs::write(&config, configuration(processes, rabbitmq).to_string()).expect("its folder");
        let address = free_address();
        let child = Command::new(tools().join("prometheus"))
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("prometheus").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=error")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("prometheus runs");
        let prometheus = Self { base: format!("http://{address}"), http: client(), _child: child };
        eventually("prometheus is ready", || async { prometheus.get("/-/ready").await }).await;
        prometheus
    }

    /// The answer to a query now.
    pub(crate) async fn query(&self, query: &str) -> Vec<Sample> {
        let mut url = reqwest::Url::parse(&format!("{}/api/v1/query", self.base)).expect("a URL");
        url.query_pairs_mut().append_pair("query", query);
        let answer = self.http.get(url).send().await.expect("it answers").text().await.expect("a body");
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        let result = answer["data"]["result"].as_array().unwrap_or_else(|| panic!("{query} gives no vector: {answer}"));
        result.iter().map(sample).collect()
    }

    /// The state of every rule.
    pub(crate) async fn rules(&self) -> Vec<Value> {
        let answer = self.get("/api/v1/rules").await.expect("it answers");
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        let groups = answer["data"]["groups"].as_array().expect("groups").iter();
        groups.flat_map(|group| group["rules"].as_array().expect("rules").clone()).collect()
    }

    async fn get(&self, path: &str) -> Option<String> {
        let answer = self.http.get(format!("{}{path}", self.base)).send().await.ok()?;
        answer.error_for_status().ok()?.text().await.ok()
    }
}

/// The folder of `prometheus` and `promtool`. Blocks while they are downloaded, if need be.
pub(crate) fn tools() -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/prometheus-tools");
    let output = std::process::Command::new(script).stderr(Stdio::inherit()).output().expect("the script runs");
    assert!(output.status.success(), "there are no tools of Prometheus");
    PathBuf::from(String::from_utf8(output.stdout).expect("a path").trim())
}

/// The configuration of deploy/prometheus/prometheus.yml, with fixed addresses that are scraped every second.
fn configuration(processes: &[(&str, &Process)], rabbitmq: &str) -> Value {
    let target = |(role, process): &(&str, &Process)| {
        let address = process.ops().url().replace("http://", "");
        json!({"targets": [address], "labels": {"role": role}})
    };
    let families = ["queue_coarse_metrics", "queue_consumer_count"];
    json!({
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus/rules/*.yml")],
        "scrape_configs": [
            {"job_name": "carteiro", "static_configs": processes.iter().map(target).collect::<Vec<_>>()},
            {"job_name": "rabbitmq", "static_configs": [{"targets": [rabbitmq]}]},
            {"job_name": "rabbitmq-queues", "metrics_path": "/metrics/detailed", "params": {"family": families},
             "static_configs": [{"targets": [rabbitmq]}]},
        ],
    })
}

fn sample(series: &Value) -> Sample {
    let labels = serde_json::from_value(series["metric"].clone()).expect("labels");
    let value = series["value"][1].as_str().expect("a number as text").replace("Inf", "inf");
    Sample { labels, value: value.parse().expect("a number") }
}

/// An address with a free port: Prometheus itself cannot choose one and say which.
fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").to_string()
}
