//! What each service can do to us, and what it must not come to.

// Answers get lost between us and S3, the table, the queue.
mod answers;
// Credentials end.
mod credentials;
// RDS answers late, wrongly, or half.
mod download;
// Something is missing or forbidden: nothing may be lost, and nobody flooded with errors.
mod environment;
// RDS says that a file or an instance is not there.
mod gone;
// A service is overrun.
mod retries;

use tests::programs::Running;
use tests::rds::Fault;
use tests::world::World;

/// An error answer.
pub(crate) fn refusal(status: u16, code: &str, message: &str) -> Fault {
    Fault::Status {
        status,
        code: code.to_owned(),
        message: message.to_owned(),
    }
}

/// Ends a worker, which must go well; the errors it has logged.
async fn errors_stopped(world: &World, worker: Running) -> anyhow::Result<Vec<String>> {
    worker.signal("TERM").await?;
    Ok(world.finish_worker(worker).await?.logged("ERROR"))
}
