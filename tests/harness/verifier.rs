//! The official verifiers of Standard Webhooks, in three languages. A test fails where one cannot be installed.

use std::{path::Path, process::Stdio};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use carteiro::receiver::Received;
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt as _, process::Command};

use super::in_time;

/// A library that verifies signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verifier {
    /// The crate `standardwebhooks`.
    Rust,
    /// The package `standardwebhooks` of PyPI.
    Python,
    /// The package `standardwebhooks` of npm.
    JavaScript,
    /// Node's own cryptography, for `v1a`, which the official libraries do not have.
    Ed25519,
}

impl Verifier {
    /// The official libraries, for `v1`.
    pub(crate) const OFFICIAL: [Self; 3] = [Self::Rust, Self::Python, Self::JavaScript];

    /// True when it accepts the request's signature for `body`, with this secret or public key.
    pub(crate) async fn trusts(self, received: &Received, body: &[u8], key: &str) -> bool {
        let name = match self {
            Self::Rust => {
                let webhook = standardwebhooks::Webhook::new(key).expect("a secret");
                return webhook.verify(body, &received.headers).is_ok();
            }
            Self::Python => "python",
            Self::JavaScript => "javascript",
            Self::Ed25519 => "ed25519",
        };
        let headers: Value =
            received.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().expect("ASCII"))).collect();
        let request = json!({"key": key, "headers": headers, "body": BASE64_STANDARD.encode(body)});
        self.ask(name, &request).await
    }

    async fn ask(self, name: &str, request: &Value) -> bool {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/verifiers");
        let mut command = Command::new(root.join("verify"));
        command.arg(name).arg(Path::new(env!("CARGO_TARGET_TMPDIR")).join("verifiers"));
        let mut child = command.stdin(Stdio::piped()).kill_on_drop(true).spawn().expect("the script runs");
        let mut stdin = child.stdin.take().expect("piped");
        stdin.write_all(request.to_string().as_bytes()).await.expect("it reads");
        drop(stdin);
        let status = in_time("it answers", child.wait()).await.expect("it is ours");
        match status.code() {
            Some(0) => true,
            Some(1) => false,
            code => panic!("{self:?} is not to be had ({code:?}); what it said is above"),
        }
    }
}
