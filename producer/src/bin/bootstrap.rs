//! The Lambda: one enumeration per event, on a schedule.

use std::process::ExitCode;
use std::time::SystemTime;

use clap::Parser;
use jiff::Timestamp;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use producer::config::{Clients, Enumeration, Targets};
use producer::run::{Summary, Window, run_once};
use shared::config::{self, BadSetting, Common};
use shared::metrics;
use tokio::time::Instant;
use tracing::error;

/// The scheduled producer of Auditferry, for AWS Lambda; configured by environment variables
#[derive(Debug, Parser)]
#[command(name = "bootstrap", version)]
struct Settings {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    enumeration: Enumeration,
    /// Set by AWS Lambda, without which there is nothing to answer to.
    #[arg(long, env = "AWS_LAMBDA_RUNTIME_API", hide = true)]
    runtime_api: Option<String>,
}

// Nothing here computes for long enough to need a second thread, and threads take time to start.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let settings = match config::read::<Settings>() {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    settings.common.start_logging();
    shared::step::arm();
    let clients = match connect(&settings).await {
        Ok(clients) => clients,
        Err(bad) => return config::refuse(&bad),
    };
    let handler = service_fn(async |event: LambdaEvent<serde_json::Value>| {
        let namespace = settings.common.metrics_namespace.as_deref();
        handle(&clients, &settings.enumeration, namespace, &event).await
    });
    match lambda_runtime::run(handler).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!(
                "the Lambda runtime stopped: {}",
                shared::aws::chain(error.as_ref())
            );
            ExitCode::FAILURE
        }
    }
}

async fn connect(settings: &Settings) -> Result<Clients, BadSetting> {
    settings.enumeration.check()?;
    let clients = Targets::check(&settings.common)?.connect().await?;
    if settings.runtime_api.is_none() {
        return Err(BadSetting::missing(
            "AWS_LAMBDA_RUNTIME_API",
            "this program runs in AWS Lambda; elsewhere use auditferry enumerate",
        ));
    }
    Ok(clients)
}

/// Enumerates once; whatever the event says, it means "now". Failures are errors, so that Lambda counts them.
async fn handle(
    clients: &Clients,
    settings: &Enumeration,
    namespace: Option<&str>,
    event: &LambdaEvent<serde_json::Value>,
) -> Result<Summary, Diagnostic> {
    let left = event
        .context
        .deadline()
        .duration_since(SystemTime::now())
        .unwrap_or_default();
    let summary = run_once(
        clients,
        settings,
        &Window::New,
        false,
        Some(Instant::now() + left),
    )
    .await;
    if let (Ok(summary), Some(namespace)) = (&summary, namespace) {
        metrics::report(namespace, &summary.figures(Timestamp::now()));
    }
    match summary {
        Ok(summary) if summary.ok() => Ok(summary),
        Ok(summary) => {
            let errors = summary.instances.iter().filter_map(|report| {
                Some(format!("{}: {}", report.instance, report.error.as_ref()?))
            });
            let failures: Vec<String> = summary
                .problems
                .iter()
                .chain(&summary.vanished)
                .cloned()
                .chain(errors)
                .collect();
            Err(diagnostic("EnumerationIncomplete", failures.join("; ")))
        }
        // The runtime logs it.
        Err(error) => Err(diagnostic("EnumerationFailed", error.to_string())),
    }
}

fn diagnostic(error_type: &str, error_message: String) -> Diagnostic {
    Diagnostic {
        error_type: error_type.to_owned(),
        error_message,
    }
}
