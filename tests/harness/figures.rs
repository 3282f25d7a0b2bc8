//! Figures that a run states whether it passes or not: they go past the capture of test output.

use std::io::Write as _;

/// States a story's figures, one line.
pub(crate) fn report(story: &str, figures: impl std::fmt::Display) {
    writeln!(std::io::stderr(), "    {story}: {figures}").expect("stderr");
}
