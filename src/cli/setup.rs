//! What every command begins with: the configuration in force, and where results and logs go.

use std::io::IsTerminal as _;

use clap::ValueEnum;
use service::{
    config::{Deprecation, LoadedConfig},
    telemetry,
};

use crate::config::{Config, Overrides, load};

/// What the command line and the environment say.
pub(super) struct Setup {
    pub(super) overrides: Overrides,
    pub(super) environment: Vec<(String, String)>,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    // For people.
    #[default]
    Table,
    // One JSON object a line.
    Json,
}

impl Setup {
    /// The configuration in force, with what the command itself says on top.
    pub(super) fn load(&self, more: &[(&str, &str)]) -> anyhow::Result<LoadedConfig<Config>> {
        let mut overrides = self.overrides.clone();
        overrides.values.extend(more.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())));
        Ok(load(&overrides, self.environment.iter().cloned())?)
    }

    /// With the given broker instead of the configured one.
    pub(super) fn load_on(&self, broker: Option<&str>) -> anyhow::Result<LoadedConfig<Config>> {
        match broker {
            Some(url) => self.load(&[("broker.url", url)]),
            None => self.load(&[]),
        }
    }

    /// Begins to log to stderr, with warnings about keys that no longer exist.
    pub(super) fn log(&self, config: &Config, deprecations: &[Deprecation]) -> anyhow::Result<()> {
        telemetry::start(&config.telemetry, self.console())?;
        for Deprecation { key, successor, origin } in deprecations {
            tracing::warn!(key, successor, origin, "config.deprecated");
        }
        Ok(())
    }

    /// What stderr is.
    pub(super) fn console(&self) -> telemetry::Console {
        let no_color = self.environment.iter().any(|(name, text)| name == "NO_COLOR" && !text.is_empty());
        telemetry::Console { terminal: std::io::stderr().is_terminal(), color: !no_color }
    }
}
