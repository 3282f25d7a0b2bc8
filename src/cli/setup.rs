//! The common begin of the commands: loading the configuration and starting the logs.

use std::io::IsTerminal as _;

use service::{
    config::{Deprecation, LoadedConfig},
    telemetry,
};

use crate::config::{Config, Overrides, load};

/// Settings from the command line and the environment.
pub(super) struct Setup {
    pub(super) overrides: Overrides,
    pub(super) environment: Vec<(String, String)>,
}

impl Setup {
    /// Loads the configuration. The command's own `settings` have the highest priority.
    pub(super) fn load(&self, settings: &[(&str, &str)]) -> anyhow::Result<LoadedConfig<Config>> {
        let mut overrides = self.overrides.clone();
        overrides.values.extend(settings.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())));
        Ok(load(&overrides, self.environment.iter().cloned())?)
    }

    /// A variable of the environment that is set, and not empty: compose files write `${KEY:-}`.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        let set = self.environment.iter().find(|(set, text)| set == name && !text.is_empty());
        set.map(|(_, text)| text.as_str())
    }

    /// Loads the configuration, with the given broker, if any, instead of the configured one.
    pub(super) fn load_with_broker(&self, url: Option<&str>) -> anyhow::Result<LoadedConfig<Config>> {
        match url {
            Some(url) => self.load(&[("broker.url", url)]),
            None => self.load(&[]),
        }
    }

    /// Starts logging to stderr, with warnings about removed keys. At most once per process.
    pub(super) fn start_logging(&self, config: &Config, deprecations: &[Deprecation]) -> anyhow::Result<()> {
        let no_color = self.environment.iter().any(|(name, text)| name == "NO_COLOR" && !text.is_empty());
        let console = telemetry::Console { terminal: std::io::stderr().is_terminal(), color: !no_color };
        telemetry::start(&config.telemetry, console)?;
        for Deprecation { key, successor, origin } in deprecations {
            tracing::warn!(key, successor, origin, "config.deprecated");
        }
        Ok(())
    }
}
