//! Jobs that the API runs until they end, whoever watches them.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;
use service::Exit;

use super::{
    client::path_segment,
    logs::{LogClient, Query},
};

/// Pause between two looks at a job.
const POLL: Duration = Duration::from_millis(200);

/// The id of a job that was started.
pub(super) fn id(job: &Value) -> anyhow::Result<String> {
    Ok(job["id"].as_str().context("the answer has no id")?.to_owned())
}

/// Looks at a job of the collection at `path` until it has ended, and returns it as it is then. Ctrl-C does not stop it.
pub(super) async fn ended(
    client: &LogClient,
    path: &str,
    mut job: Value,
    progress: impl Fn(&Value),
) -> anyhow::Result<Value> {
    let path = format!("{path}/{}", path_segment(&id(&job)?));
    while job["state"] == "running" {
        tokio::time::sleep(POLL).await;
        job = client.get(&path, &Query::new()).await?;
        progress(&job);
    }
    Ok(job)
}

/// Success of a command whose job is done, and not stopped.
pub(super) fn exit(job: &Value) -> Exit {
    if job["state"] == "done" { Exit::Done } else { Exit::Failed }
}
