//! What a process shows at `/metrics`, and what Prometheus' own tools say of it.

use std::{
    collections::BTreeMap,
    io::Write as _,
    process::{Command, Stdio},
};

use reqwest::Method;

use super::{Process, prometheus::tools};

/// One look at a process' metrics.
pub(crate) struct Exposed {
    /// As it was answered.
    pub(crate) text: String,
    /// Every series, by its name and labels as they are written.
    pub(crate) series: BTreeMap<String, f64>,
}

impl Exposed {
    /// By this process, now.
    pub(crate) async fn by(process: &Process) -> Self {
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

    /// The value of a series; 0 when it is not there.
    pub(crate) fn value(&self, series: &str) -> f64 {
        self.series.get(series).copied().unwrap_or_default()
    }
}

/// What `promtool check metrics` finds wrong with a text; nothing when all is well.
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
