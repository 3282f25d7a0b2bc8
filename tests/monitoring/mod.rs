//! The committed rules of Prometheus and dashboards of Grafana, checked without a server: each expression parses, and uses
//! only metrics that are exported. `prometheus.rs` asks a real Prometheus.

mod dashboards;
mod exported;
mod query;
mod rules;

use std::{
    fs,
    path::{Path, PathBuf},
};

pub(crate) use dashboards::dashboards;
pub(crate) use exported::{RABBITMQ, exported};
pub(crate) use rules::rules;

/// The path of a file or folder of the repository.
fn committed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The paths and texts of the files in a folder, sorted by name.
fn texts(folder: &str) -> Vec<(PathBuf, String)> {
    let mut paths: Vec<_> =
        fs::read_dir(committed(folder)).expect(folder).map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{folder} is empty");
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("a text");
        (path, text)
    };
    paths.into_iter().map(read).collect()
}
