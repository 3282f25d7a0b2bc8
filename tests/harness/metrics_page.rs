//! The `/metrics` page of a process, and promtool's opinion about it.

use std::{
    collections::BTreeMap,
    io::Write as _,
    process::{Command, Stdio},
};

use reqwest::Method;

use super::{Process, prometheus::tools};

/// A process' metrics at one moment.
pub(crate) struct MetricsPage {
    /// The page as it was answered.
    pub(crate) text: String,
    /// The value of every series, by its name and labels as they are written.
    pub(crate) series: BTreeMap<String, f64>,
}

impl MetricsPage {
    /// The page that a process shows now.
    pub(crate) async fn of(process: &Process) -> Self {
        let answer = process.ops().anonymous(Method::GET, "/metrics").send().await.expect("an answer");
        let text = answer.text().await.expect("text");
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let series = lines.map(|line| {
            let (series, value) = line.rsplit_once(' ').expect("a series and its value");
            (series.to_owned(), value.parse().expect("a number"))
        });
        let series = series.collect();
        Self { text, series }
    }

    /// The value of a series, or 0 when it is missing.
    pub(crate) fn value(&self, series: &str) -> f64 {
        self.series.get(series).copied().unwrap_or_default()
    }
}

/// The complaints of `promtool check metrics`; empty when there are none.
pub(crate) fn lint(text: &str) -> String {
    let mut command = Command::new(tools().join("promtool"));
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = command.spawn().expect("promtool runs");
    promtool.stdin.take().expect("piped").write_all(text.as_bytes()).expect("it reads");
    let output = promtool.wait_with_output().expect("it ends");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert_eq!(output.status.success(), said.is_empty(), "{said}");
    said
}
