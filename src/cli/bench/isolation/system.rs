//! The measured process: a sandbox that can be restarted, its client, and its metrics.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{Bench, LOG_LEVEL};
use crate::{
    cli::{
        bench::metrics_page,
        client::Client,
        sandbox::{Sandbox, SandboxOptions, client_of},
    },
    process::Process,
};

/// A sandbox with a running process.
pub(super) struct System<'a> {
    bench: &'a Bench<'a>,
    sandbox: Arc<Sandbox>,
    process: Process,
    stop: CancellationToken,
    pub(super) client: Arc<Client>,
}

impl<'a> System<'a> {
    pub(super) async fn start(
        bench: &'a Bench<'a>,
        tenants: &[Value],
        settings: &[(&'static str, String)],
    ) -> anyhow::Result<Self> {
        let settings: Vec<_> = settings.iter().map(|(key, value)| (*key, value.as_str())).chain([LOG_LEVEL]).collect();
        // JSON is YAML.
        let tenants = json!({"tenants": tenants}).to_string();
        let broker = bench.args.broker.as_deref();
        let options = SandboxOptions { command: "bench", broker, tenants: &tenants, settings: &settings };
        let sandbox = Arc::new(Sandbox::prepare(bench.setup, &options)?);
        let (process, stop, client) = run(bench, &sandbox).await?;
        Ok(Self { bench, sandbox, process, stop, client })
    }

    /// Ends the process and starts it again, with what it has stored.
    pub(super) async fn restart(self) -> anyhow::Result<Self> {
        let Self { bench, sandbox, process, stop, .. } = self;
        stop.cancel();
        process.finish().await?;
        let (process, stop, client) = run(bench, &sandbox).await?;
        Ok(Self { bench, sandbox, process, stop, client })
    }

    /// The sum of a counter's series, in this process since its start.
    pub(super) async fn counter(&self, name: &str) -> anyhow::Result<f64> {
        metrics_page::counter(self.process.ops, name).await
    }

    pub(super) async fn end(self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.process.finish().await?;
        self.sandbox.remove().await
    }
}

/// Starts a process on its runtime.
async fn run(bench: &Bench<'_>, sandbox: &Arc<Sandbox>) -> anyhow::Result<(Process, CancellationToken, Arc<Client>)> {
    let (sandbox, stop) = (sandbox.clone(), CancellationToken::new());
    let stopped = stop.clone();
    let process = bench.process_runtime.spawn(async move { sandbox.start(stopped).await }).await??;
    let client = Arc::new(client_of(&process)?);
    Ok((process, stop, client))
}
