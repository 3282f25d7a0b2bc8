//! Clients that released generators make of the served OpenAPI document, each with a story that it tells.

use super::{Api, KEY, Receiver, Recorder, installed, script, succeeds};

/// A generator, and the language of its client.
#[derive(Clone, Copy, Debug)]
pub(crate) enum GeneratedClient {
    /// openapi-python-client.
    Python,
    /// OpenAPI Generator's `typescript-fetch`.
    TypeScript,
    /// OpenAPI Generator's `rust`.
    Rust,
}

impl GeneratedClient {
    /// Generates the client of a process, and runs its story against it. The receiver accepts everything.
    pub(crate) async fn tells_its_story(self, api: &Api, receiver: &Receiver) {
        let language = match self {
            Self::Python => "python",
            Self::TypeScript => "typescript",
            Self::Rust => "rust",
        };
        let mut command = script("clients/run");
        command.arg(language).arg(installed("clients")).arg(api.url()).arg(receiver.url("")).env("CARTEIRO_KEY", KEY);
        succeeds(command).await;
        // The endpoint's test has an id of its own, beside the three events.
        let expected = [("/crm", 4), ("/channel", 3), ("/bot", 3), ("/mended", 3)];
        let all_arrived = |recorder: &Recorder| expected.iter().all(|(path, count)| recorder.delivered(path) == *count);
        receiver.until("what the story published arrives", all_arrived).await;
    }
}
