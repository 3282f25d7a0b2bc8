//! Results, on stdout: colours only where a terminal shows them. Unlike `println!`, a reader that has left (`| head`)
//! is an error to return, and no panic.

use std::{
    fmt::Display,
    io::{ErrorKind, Write as _},
};

use serde::Serialize;

/// Whoever read the results has seen enough. The process ends as if it were done.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads the results any more")]
pub(super) struct ReaderLeft;

/// Prints a line.
pub(super) fn line(text: impl Display) -> anyhow::Result<()> {
    match writeln!(anstream::stdout(), "{text}") {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(ReaderLeft.into()),
        result => Ok(result?),
    }
}

/// Prints a value as one line of JSON.
pub(super) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    line(serde_json::to_string(value)?)
}

/// Prints a value as JSON for people.
pub(super) fn pretty(value: &impl Serialize) -> anyhow::Result<()> {
    line(serde_json::to_string_pretty(value)?)
}
