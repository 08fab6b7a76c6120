//! `auditferry`, the operator's command.

use std::process::ExitCode;

use producer::cli::{self, Cli, Verdict};
use shared::config::{self, BadSetting};
use tracing::error;

// Nothing here computes for long enough to need a second thread, and threads take time to start.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = match config::read::<Cli>() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    cli.common.start_logging();
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
