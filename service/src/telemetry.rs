//! Log lines on stderr: text on a terminal, JSON for a collector.
//!
//! stdout is for results and has no log lines. No traces are exported; `traceparent` travels with the events.

use std::io;
use std::panic::PanicHookInfo;
use std::sync::OnceLock;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{LevelFilter, ParseError};
use tracing_subscriber::fmt::MakeWriter;

use crate::config::ConfigError;
use crate::log_lines::LogLines;

/// Libraries whose `info` lines do not help operators. They log only warnings, unless `telemetry.level` names them.
const NOISY: [&str; 5] = ["h2", "hyper", "hyper_util", "reqwest", "rustls"];

/// Libraries that log nothing, unless `telemetry.level` names them: one writes names of hosts into its lines, and a part of
/// a URL may be a secret; the other reports each error many times over, which `broker.away` and `broker.lost` say once.
const SILENT: &str = "hickory=off,lapin=off";

/// The `telemetry` section of the configuration.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TelemetryConfig {
    /// Format of the lines.
    pub format: LogFormat,
    /// Filter of the lines, as `info` or `info,broker=debug`.
    pub level: String,
}

/// Format of the log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, otherwise JSON.
    Auto,
    /// Readable text.
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Clone, Copy, Debug)]
pub struct Console {
    pub terminal: bool,
    /// True when colours are wanted: `NO_COLOR` is unset or empty.
    pub color: bool,
}

/// The lines of the process.
static LINES: OnceLock<LogLines> = OnceLock::new();

/// Starts logging for the process, including panics. Call it once, before anything logs, and [`flush`] at the end. Fails
/// when `telemetry.level` is not a filter, or a logger is set already.
pub fn start(config: &TelemetryConfig, console: Console) -> Result<(), ConfigError> {
    let lines = LogLines::start(io::stderr()).map_err(|why| ConfigError::new("telemetry", why))?;
    let subscriber = subscriber(config, console, LINES.get_or_init(|| lines).clone())?;
    tracing::subscriber::set_global_default(subscriber).map_err(|why| ConfigError::new("telemetry", why))?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// Writes the lines that wait. Without it the end of the process loses those of its last 10 ms, except for warnings and
/// errors.
pub fn flush() {
    if let Some(lines) = LINES.get() {
        lines.flush();
    }
}

pub fn check(config: &TelemetryConfig) -> Result<(), ConfigError> {
    filter(&config.level).map(drop)
}

fn subscriber<W>(config: &TelemetryConfig, console: Console, writer: W) -> Result<impl Subscriber + use<W>, ConfigError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = filter(&config.level)?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    let json = match config.format {
        LogFormat::Auto => !console.terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    Ok(if json {
        Box::new(lines.json().flatten_event(true).with_span_list(false).finish()) as Box<dyn Subscriber + Send + Sync>
    } else {
        Box::new(lines.with_ansi(console.terminal && console.color).finish())
    })
}

/// Joins the built-in directives and those of the operator, which win.
fn filter(level: &str) -> Result<EnvFilter, ConfigError> {
    let quiet = general_level(level)?.min(LevelFilter::WARN);
    let ours = NOISY.map(|target| format!("{target}={quiet}")).join(",");
    EnvFilter::builder().parse(format!("{SILENT},{ours},{level}")).map_err(|why: ParseError| {
        let why = format!("`{level}` is not a filter such as info,broker=debug: {why}");
        ConfigError::new("telemetry.level", why)
    })
}

/// The level of targets that are not named; off if there is none. A single word must be a level, because the filter
/// syntax would take the typing error `infoo` for a target and log nothing else.
fn general_level(level: &str) -> Result<LevelFilter, ConfigError> {
    let words = level.split(',').map(str::trim).filter(|part| !part.contains('='));
    let levels = words.map(|word| {
        word.parse().ok().filter(|_| !word.is_empty()).ok_or_else(|| {
            let why = format!("`{word}` is neither a level (error, warn, info, debug, trace) nor target=level");
            ConfigError::new("telemetry.level", why)
        })
    });
    levels.collect::<Result<Vec<_>, _>>().map(|levels| levels.last().copied().unwrap_or(LevelFilter::OFF))
}

/// Logs the location of a panic without its message, which may quote a part of a body.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let at = panic.location().map(ToString::to_string);
    tracing::error!(at, thread = std::thread::current().name(), "process.panicked");
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is written when `log` runs under this configuration.
    fn logged(format: LogFormat, level: &str, console: Console, log: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let config = TelemetryConfig { format, level: level.into() };
        let subscriber = subscriber(&config, console, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, log);
        String::from_utf8(lines.0.lock().unwrap().clone()).unwrap()
    }

    const TERMINAL: Console = Console { terminal: true, color: true };
    const PIPE: Console = Console { terminal: false, color: true };

    #[test]
    fn a_collector_gets_json_with_the_fields_at_the_top() {
        let line = logged(LogFormat::Auto, "info", PIPE, || {
            let request = tracing::info_span!("request", request_id = "r-1");
            request.in_scope(|| tracing::info!(duration_ms = 7, "delivery.attempted"));
        });
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&line["message"], &line["duration_ms"]), (&"delivery.attempted".into(), &7.into()));
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["span"], serde_json::json!({"name": "request", "request_id": "r-1"}));
    }

    #[test]
    fn a_person_gets_text_and_colours_unless_they_refuse_them() {
        let log = || tracing::info!("event.routed");
        assert!(logged(LogFormat::Auto, "info", TERMINAL, log).contains("\u{1b}["));
        let plain = logged(LogFormat::Auto, "info", Console { color: false, ..TERMINAL }, log);
        assert!(plain.contains("event.routed") && !plain.contains('\u{1b}'), "{plain:?}");
        assert!(!logged(LogFormat::Text, "info", PIPE, log).contains(['{', '\u{1b}']));
    }

    #[test]
    fn noisy_libraries_are_quiet_until_asked_by_name() {
        let log = || tracing::info!(target: "hyper::client", "noise");
        let warn = || tracing::warn!(target: "hyper::client", "warning");
        assert_eq!(logged(LogFormat::Text, "debug", PIPE, log), "");
        assert!(logged(LogFormat::Text, "info,hyper=debug", PIPE, log).contains("noise"));
        let host = || tracing::error!(target: "hickory_net::udp", "s3cret.example");
        assert_eq!(logged(LogFormat::Text, "debug", PIPE, host), "");
        assert!(logged(LogFormat::Text, "info,hickory_net=warn", PIPE, host).contains("s3cret"));
        let error = || tracing::error!(target: "lapin::io_loop", "aborting recovery");
        assert_eq!(logged(LogFormat::Text, "debug", PIPE, error), "");
        assert!(logged(LogFormat::Text, "lapin=error", PIPE, error).contains("recovery"));
        assert!(logged(LogFormat::Text, "debug", PIPE, warn).contains("warning"));
        assert_eq!(logged(LogFormat::Text, "off", PIPE, warn), "");
    }

    #[test]
    fn a_panic_is_logged_with_its_place_and_without_its_words() {
        let log = || {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(log_panic));
            let panicked = std::panic::catch_unwind(|| panic!("a word of a body"));
            std::panic::set_hook(before);
            assert!(panicked.is_err());
        };
        let line = logged(LogFormat::Json, "info", PIPE, log);
        assert!(line.contains("process.panicked") && line.contains("telemetry.rs:"), "{line}");
        assert!(!line.contains("a word of a body"), "{line}");
    }

    #[test]
    fn a_misspelt_level_is_refused_with_its_key() {
        for level in ["infoo", "", "info,broker=loud"] {
            let error = filter(level).unwrap_err();
            assert_eq!(error.key(), "telemetry.level");
        }
    }
}
