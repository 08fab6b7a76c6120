//! `auditferry-worker`: parse, log, run until a signal, exit.

use std::net::SocketAddr;
use std::process::ExitCode;

use shared::aws::Aws;
use shared::config::{self, BadSetting};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};
use worker::config::{Command, Config, Settings};
use worker::health;
use worker::run::run;

#[tokio::main]
async fn main() -> ExitCode {
    let settings = match config::read::<Settings>() {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    let common = settings.common.clone();
    if settings.command == Some(Command::Health) {
        let Some(address) = settings.health_address else {
            let what = "where the worker answers health checks";
            return config::refuse(&BadSetting::missing("HEALTH_ADDRESS", what));
        };
        common.start_logging();
        return check(address).await;
    }
    let config = match settings.check() {
        Ok(config) => config,
        Err(bad) => return config::refuse(&bad),
    };
    common.start_logging();
    shared::step::arm();
    let aws = match connect(&config).await {
        Ok(aws) => aws,
        Err(bad) => return config::refuse(&bad),
    };
    match work(&config, aws).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("worker stopped: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn check(address: SocketAddr) -> ExitCode {
    match health::check(address).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            error!("the worker does not run: {why}");
            ExitCode::FAILURE
        }
    }
}

async fn connect(config: &Config) -> Result<Aws, BadSetting> {
    let sdk_config = shared::aws::load(&config.roots).await;
    if let Some(region) = sdk_config.region() {
        config.check_region(region.as_ref())?;
    }
    Aws::new(&sdk_config)
        .await
        .map_err(|unusable| BadSetting(unusable.to_string()))
}

/// Runs until SIGTERM or SIGINT.
async fn work(config: &Config, aws: Aws) -> anyhow::Result<()> {
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let stop = CancellationToken::new();
    let working = run(config, aws, stop.clone());
    tokio::pin!(working);
    let told = async {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    };
    tokio::select! {
        ended = &mut working => return ended,
        signal = told => info!("{signal} received"),
    }
    stop.cancel();
    working.await
}
