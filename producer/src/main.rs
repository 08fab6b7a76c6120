//! `auditferry`, the operator's command.

use std::process::ExitCode;

use producer::cli::{self, Cli, Verdict};
use producer::from_stack;
use shared::config::{self, BadSetting};
use tracing::error;

// Threads take time to start; what computes for long starts its own.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut cli = match config::read::<Cli>() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    cli.common.start_logging();
    if let Some(stack) = &cli.from_stack {
        let settings = match cli.common.roots() {
            Ok(roots) => from_stack::read(stack, &roots).await,
            Err(bad) => Err(bad),
        };
        let settings = match settings {
            Ok(settings) => settings,
            Err(bad) => return config::refuse(&bad),
        };
        cli = match config::read_with(&settings) {
            Ok(cli) => cli,
            Err(code) => return code,
        };
    }
    shared::step::arm();
    match cli::run(cli).await {
        Ok(Verdict::Done) => ExitCode::SUCCESS,
        Ok(Verdict::Failed) => ExitCode::FAILURE,
        Ok(Verdict::NeedsAPerson) => ExitCode::from(2),
        Err(error) => match error.downcast::<BadSetting>() {
            Ok(bad) => config::refuse(&bad),
            Err(error) => {
                error!("{error:#}");
                ExitCode::FAILURE
            }
        },
    }
}
