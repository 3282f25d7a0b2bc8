//! The folder as a store: what it reads, what it refuses and where, and what it does when files change.

mod changed;
mod read;
mod refused;

use std::{fs, sync::Arc};

use schemas::{Format, HeaderText, KeyHash};
use tempfile::TempDir;

use super::FileStore;
use crate::{Snapshot, Store as _};

/// A configuration that uses every kind of item, with secrets.
const EXAMPLE: &str = r#"
tenants:
  - id: acme
    name: Acme
    endpoints:
      - {id: crm, url: "https://crm.example/hooks", format: whazing, n8n_api_key: "n8n", retry: {schedule: [5s, 30s], max_age: 72h}}
    subscriptions:
      - {id: crm-7, endpoint_id: crm, channel_ids: [7], event_types: [message.received, "ticket.*"]}
      - {id: bot-12, endpoint_id: crm, queue_ids: [12], event_types: ["message.*"], start_on_transfer: true}
    sources:
      - {id: main, dialect: whazing, channel_id: 7, token: "source-token"}
    keys:
      - {id: backend, scopes: [publish], hash: "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"}
"#;

struct Folder(TempDir);

impl Folder {
    fn with(files: &[(&str, &str)]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for (name, text) in files {
            folder.write(name, text);
        }
        folder
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.path().join(name), text).unwrap();
    }

    async fn open(&self) -> FileStore {
        FileStore::open(self.0.path()).await.unwrap()
    }

    async fn snapshot(&self) -> Arc<Snapshot> {
        self.open().await.snapshot().unwrap()
    }

    /// Lines of the error with which the folder is refused.
    async fn refusal(&self) -> Vec<String> {
        let error = FileStore::open(self.0.path()).await.unwrap_err();
        error.0.lines().map(ToOwned::to_owned).collect()
    }
}

async fn refusal(text: &str) -> Vec<String> {
    Folder::with(&[("acme.yaml", text)]).refusal().await
}

fn tenant(id: &str, url: &str) -> String {
    format!("tenants:\n  - id: {id}\n    endpoints:\n      - {{id: crm, url: \"{url}\"}}\n")
}
