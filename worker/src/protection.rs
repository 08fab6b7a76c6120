//! Asks ECS not to end this task while a file is in flight that would not survive it.
//!
//! Protection holds up deployments as well as scaling in, so a worker with a backlog must not have it all the time. Told to stop, a
//! worker has a grace: what has been in flight for less than that will mostly end within it, and costs little if it does not.
//! Only a file that has outlasted the grace already is worth protecting.
//!
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-scale-in-protection-endpoint.html>

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use shared::aws::chain;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, warn};

/// How long the agent may take. What it is asked for is a courtesy: nothing waits for it but the exit.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(2);

/// How long a protection lasts that nobody renews: no longer than needed, should the worker die with it.
const EXPIRES_IN_MINUTES: u32 = 10;

/// How much is read of an answer.
const ANSWER: usize = 4096;

/// How long after the last request a protection is renewed.
const RENEW: Duration = Duration::from_mins(4);

/// Since when each file has been in flight, in the order in which they were started on.
#[derive(Debug, Default)]
pub(crate) struct Started {
    files: BTreeMap<u64, Instant>,
    next: u64,
}

impl Started {
    /// Since when the oldest has been in flight.
    fn oldest(&self) -> Option<Instant> {
        self.files.values().next().copied()
    }
}

/// A file in flight, until dropped.
#[derive(Debug)]
pub(crate) struct InFlight {
    id: u64,
    started: watch::Sender<Started>,
}

impl InFlight {
    pub(crate) fn new(started: &watch::Sender<Started>) -> Self {
        let mut id = 0;
        started.send_modify(|started| {
            id = started.next;
            started.next += 1;
            started.files.insert(id, Instant::now());
        });
        let started = started.clone();
        Self { id, started }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.started.send_modify(|started| {
            started.files.remove(&self.id);
        });
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

    /// Asks for protection once a file has been in flight for longer than the grace, and for its end when none has, for ever.
    pub(crate) async fn keep(
        &mut self,
        in_flight: watch::Receiver<Started>,
        grace: Duration,
    ) -> Infallible {
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
        keep(in_flight, grace, RENEW, set).await
    }

    /// Ends the protection, if there may be one: before the worker ends.
    pub(crate) async fn end(&mut self) {
        if let Some(agent) = self.agent.as_ref().filter(|_| self.protected) {
            agent.set(false).await;
        }
    }
}

async fn keep(
    mut in_flight: watch::Receiver<Started>,
    grace: Duration,
    renew: Duration,
    mut set: impl AsyncFnMut(bool),
) -> Infallible {
    loop {
        outlasted(&mut in_flight, grace).await;
        set(true).await;
        loop {
            tokio::select! {
                () = none_outlasts(&mut in_flight, grace) => break,
                () = sleep(renew) => set(true).await,
            }
        }
        set(false).await;
    }
}

/// Waits until a file has been in flight for longer than the grace.
async fn outlasted(in_flight: &mut watch::Receiver<Started>, grace: Duration) {
    loop {
        let oldest = in_flight.borrow_and_update().oldest();
        let aged = async {
            match oldest {
                Some(since) => sleep_until(since + grace).await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            changed = in_flight.changed() => if changed.is_err() {
                pending::<()>().await; // there is no worker any more
            },
            () = aged => return,
        }
    }
}

/// Waits until no file has been in flight for longer than the grace: it ends, and others are younger.
async fn none_outlasts(in_flight: &mut watch::Receiver<Started>, grace: Duration) {
    let young = |started: &Started| started.oldest().is_none_or(|since| since.elapsed() < grace);
    if in_flight.wait_for(young).await.is_err() {
        pending::<()>().await; // there is no worker any more
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

    /// Plays while the protection is kept so; `play` sees what is asked for.
    async fn kept(
        grace: Duration,
        renew: Duration,
        play: impl AsyncFnOnce(watch::Sender<Started>, mpsc::UnboundedReceiver<bool>),
    ) {
        let (started, in_flight) = watch::channel(Started::default());
        let (told, asked) = mpsc::unbounded_channel();
        let set = async |wanted| told.send(wanted).unwrap_or_default();
        tokio::select! {
            never = keep(in_flight, grace, renew, set) => match never {},
            () = play(started, asked) => {}
        }
    }

    #[tokio::test]
    async fn protection_lasts_from_the_grace_to_the_end_of_the_last_old_file() {
        kept(SOON, NEVER, async |started, mut asked| {
            for _ in 0..3 {
                let files = [InFlight::new(&started), InFlight::new(&started)];
                assert_eq!(asked.recv().await, Some(true));
                let [first, second] = files;
                sleep(SOON).await;
                drop(second);
                assert!(asked.is_empty(), "the first is still there");
                drop(first);
                assert_eq!(asked.recv().await, Some(false));
            }
            assert!(asked.is_empty());
        })
        .await;
    }

    #[tokio::test]
    async fn files_younger_than_the_grace_are_not_protected_however_many_there_are() {
        const GRACE: Duration = Duration::from_millis(400);
        kept(GRACE, NEVER, async |started, mut asked| {
            // Never without a file for a second, and none is as old as the grace.
            let mut last = InFlight::new(&started);
            let begun = Instant::now();
            while begun.elapsed() < 3 * GRACE {
                let next = InFlight::new(&started);
                sleep(SOON).await;
                drop(std::mem::replace(&mut last, next));
            }
            assert!(asked.is_empty());
            // Younger ones do not hold the protection of an old one that ends.
            assert_eq!(asked.recv().await, Some(true));
            let _young = InFlight::new(&started);
            drop(last);
            assert_eq!(asked.recv().await, Some(false));
        })
        .await;
    }

    #[tokio::test]
    async fn protection_of_a_long_file_is_renewed() {
        kept(SOON, SOON, async |started, mut asked| {
            let _file = InFlight::new(&started);
            for _ in 0..5 {
                assert_eq!(asked.recv().await, Some(true), "first, and then renewed");
            }
        })
        .await;
    }
}
