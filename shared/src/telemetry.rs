//! How the programs speak: one log format, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// The shape of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// For people.
    Text,
}

impl LogFormat {
    /// Text on a terminal, JSON elsewhere.
    pub fn fitting() -> Self {
        if std::io::stderr().is_terminal() {
            Self::Text
        } else {
            Self::Json
        }
    }
}

/// Starts logging to standard error, filtered by `rust_log` (the syntax of `RUST_LOG`).
pub fn init(format: LogFormat, rust_log: &str) {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(rust_log))
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Json => builder
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .init(),
        LogFormat::Text => builder
            .with_ansi(std::io::stderr().is_terminal())
            .with_target(false)
            .init(),
    }
}
