//! Asks ECS not to end this task for the sake of scaling in, while files are in flight.
//!
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-scale-in-protection-endpoint.html>

use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use shared::aws::chain;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

/// How long the agent may take. What it is asked for is a courtesy: nothing waits for it but the exit.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How long a protection lasts that nobody renews: no longer than needed, should the worker die with it.
const EXPIRES_IN_MINUTES: u32 = 10;

/// How much is read of an answer.
const ANSWER: usize = 4096;

/// When the agent is asked.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// How long after the last request a protection is renewed.
    renew: Duration,
    /// How long nothing must be in flight for the protection to end: a busy worker is briefly idle between two files.
    quiet: Duration,
}

const PACE: Pace = Pace {
    renew: Duration::from_mins(4),
    quiet: Duration::from_secs(5),
};

/// A file in flight, until dropped.
#[derive(Debug)]
pub(crate) struct InFlight(watch::Sender<usize>);

impl InFlight {
    pub(crate) fn new(counter: &watch::Sender<usize>) -> Self {
        counter.send_modify(|files| *files += 1);
        Self(counter.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.send_modify(|files| *files -= 1);
    }
}

/// The protection of this task, outside of ECS of none.
#[derive(Debug)]
pub(crate) struct Protection {
    agent: Option<Agent>,
    /// Whether there may be one now.
    protected: bool,
}

#[derive(Debug)]
struct Agent {
    http: reqwest::Client,
    url: String,
}

impl Protection {
    /// `None`: this is no task of ECS. `Err`: the TLS library cannot start.
    pub(crate) fn new(agent_uri: Option<&str>) -> reqwest::Result<Self> {
        let agent = agent_uri.map(Agent::new).transpose()?;
        Ok(Self {
            agent,
            protected: false,
        })
    }

    /// Asks for protection when files come to be in flight, and for its end when there are none, for ever.
    pub(crate) async fn keep(&mut self, in_flight: watch::Receiver<usize>) -> Infallible {
        let Some(agent) = &self.agent else {
            return pending().await;
        };
        let protected = &mut self.protected;
        let set = async |wanted| {
            *protected |= wanted;
            if agent.set(wanted).await {
                *protected = wanted;
            }
        };
        keep(in_flight, PACE, set).await
    }

    /// Ends the protection, if there may be one: before the worker ends.
    pub(crate) async fn end(&mut self) {
        if let Some(agent) = self.agent.as_ref().filter(|_| self.protected) {
            agent.set(false).await;
        }
    }
}

async fn keep(
    mut in_flight: watch::Receiver<usize>,
    pace: Pace,
    mut set: impl AsyncFnMut(bool),
) -> Infallible {
    loop {
        until(&mut in_flight, |files| files > 0).await;
        set(true).await;
        loop {
            tokio::select! {
                () = idle(&mut in_flight, pace.quiet) => break,
                () = sleep(pace.renew) => set(true).await,
            }
        }
        set(false).await;
    }
}

/// Waits until nothing has been in flight for so long.
async fn idle(in_flight: &mut watch::Receiver<usize>, quiet: Duration) {
    loop {
        until(in_flight, |files| files == 0).await;
        if timeout(quiet, until(in_flight, |files| files > 0))
            .await
            .is_err()
        {
            return;
        }
    }
}

async fn until(in_flight: &mut watch::Receiver<usize>, wanted: impl Fn(usize) -> bool) {
    if in_flight.wait_for(|files| wanted(*files)).await.is_err() {
        pending::<()>().await; // nobody counts any more
    }
}

impl Agent {
    fn new(uri: &str) -> reqwest::Result<Self> {
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            // It is on this host.
            .no_proxy()
            .build()?;
        let url = format!("{}/task-protection/v1/state", uri.trim_end_matches('/'));
        Ok(Self { http, url })
    }

    /// Whether the agent has done so. If not, that is said and left at that.
    async fn set(&self, protected: bool) -> bool {
        let put = self.put(protected).await;
        match &put {
            Ok(()) => debug!(protected, "set the task's protection from scale-in"),
            Err(why) => warn!(
                protected,
                "failed to set the task's protection from scale-in: {why}"
            ),
        }
        put.is_ok()
    }

    async fn put(&self, protected: bool) -> Result<(), String> {
        let body = if protected {
            format!(r#"{{"ProtectionEnabled":true,"ExpiresInMinutes":{EXPIRES_IN_MINUTES}}}"#)
        } else {
            r#"{"ProtectionEnabled":false}"#.to_owned()
        };
        let request = self
            .http
            .put(&self.url)
            .header(CONTENT_TYPE, "application/json");
        let mut answer = request
            .body(body)
            .send()
            .await
            .map_err(|error| chain(&error))?;
        let mut said = Vec::new();
        while said.len() < ANSWER
            && let Some(chunk) = answer.chunk().await.map_err(|error| chain(&error))?
        {
            said.extend_from_slice(&chunk);
        }
        let said = String::from_utf8_lossy(&said);
        // What ECS refuses the agent answers with 200, too.
        if answer.status().is_success() && said.contains(r#""protection""#) {
            return Ok(());
        }
        Err(format!("HTTP status {}: {said}", answer.status().as_u16()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    const NEVER: Duration = Duration::from_hours(1);
    const SOON: Duration = Duration::from_millis(10);

    /// Plays while the protection is kept at this pace; `play` sees what is asked for.
    async fn at_pace(
        pace: Pace,
        play: impl AsyncFnOnce(watch::Sender<usize>, mpsc::UnboundedReceiver<bool>),
    ) {
        let (counter, in_flight) = watch::channel(0);
        let (told, asked) = mpsc::unbounded_channel();
        let set = async |wanted| told.send(wanted).unwrap_or_default();
        tokio::select! {
            never = keep(in_flight, pace, set) => match never {},
            () = play(counter, asked) => {}
        }
    }

    #[tokio::test]
    async fn only_edges_are_asked_for() {
        let (renew, quiet) = (NEVER, SOON);
        at_pace(Pace { renew, quiet }, async |counter, mut asked| {
            for _ in 0..3 {
                let files = [InFlight::new(&counter), InFlight::new(&counter)];
                assert_eq!(asked.recv().await, Some(true));
                drop(files);
                assert_eq!(asked.recv().await, Some(false));
            }
            assert!(asked.is_empty());
        })
        .await;
    }

    #[tokio::test]
    async fn a_worker_that_is_busy_but_for_moments_is_protected_throughout() {
        let (renew, quiet) = (SOON, NEVER);
        at_pace(Pace { renew, quiet }, async |counter, mut asked| {
            for _ in 0..5 {
                let file = InFlight::new(&counter);
                assert_eq!(asked.recv().await, Some(true), "first, and then renewed");
                drop(file);
            }
        })
        .await;
    }
}
