//! How it happens: one action after the other, with the real programs, over the wire.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use shared::log_file::{LogFile, Version};
use shared::message::Message;

use super::model::{MARIA, Model, id};
use super::processes::Process;
use super::script::{Action, Change, Forgery, Refusal, Script};
use super::tally::Tally;
use crate::proxy::{Injection, Proxy, Service};
use crate::rds::{ANY, FOREVER, Fault, Rotation, Where};
use crate::stack::Stack;
use crate::world::World;
use crate::world::by_hand::{CLUSTER, INSTANCE};

/// Errors that no chaos excuses.
pub(super) const INEXCUSABLE: [&str; 3] = [
    "ended badly",
    "the table was tampered with",
    "the worker does not run",
];

/// One world, and all that happens in it.
pub(super) struct Play {
    pub(super) world: World,
    pub(super) tally: Tally,
    pub(super) running: Vec<Process>,
    /// Bodies that nobody can read.
    pub(super) unreadable: Vec<String>,
    /// Versions that RDS never had, which must be gone.
    pub(super) forged: Vec<Message>,
    /// Instances of which something was given up.
    pub(super) dismissed_of: BTreeSet<&'static str>,
    /// Whether listings may be empty though there are files.
    pub(super) empty_listings: bool,
    /// Shared with RDS, which goes on behind its answers.
    model: Arc<Mutex<Model>>,
    proxies: BTreeMap<Service, Proxy>,
    /// What is wrong on the wire, what it is called, how often it had struck before, and until which action.
    wires: BTreeMap<Service, (Injection, String, u64, u64)>,
    denied_until: Option<u64>,
}

impl Play {
    pub(super) async fn new(stack: &Stack, script: &Script) -> anyhow::Result<Self> {
        let mut world = World::on(stack).await?;
        let settings = script.settings;
        world.add_aurora(CLUSTER, &[INSTANCE]);
        world.add_mariadb(MARIA);
        let (history, digits) = (settings.history, 1);
        world.rds.set_rotation(MARIA, Rotation { history, digits });
        world
            .rds
            .configure(|behaviour| behaviour.page_size = settings.page_size);
        world.set_environment(&[
            ("SETTLE", "1s"),
            ("RESEND_AFTER", "1s"),
            ("OVERLAP", settings.overlap),
            ("LEASE", "3s"),
            ("MAX_ATTEMPTS", &settings.max_attempts.to_string()),
            ("CONCURRENCY", &settings.concurrency.to_string()),
            ("COMPRESSION", settings.compression),
            ("COMPRESSION_LEVEL", "1"),
            ("DOWNLOAD_IDLE_TIMEOUT", "2s"),
            ("SHUTDOWN_GRACE", "1s"),
            // So that they poll often.
            ("EXIT_WHEN_IDLE", "8s"),
        ]);
        let mut proxies = BTreeMap::new();
        for service in Service::all() {
            proxies.insert(service, world.behind_proxy(service)?);
        }
        let model = Model::new(script.seed, &world.rds);
        Ok(Self {
            world,
            tally: Tally::default(),
            running: Vec::new(),
            unreadable: Vec::new(),
            forged: Vec::new(),
            dismissed_of: BTreeSet::new(),
            empty_listings: false,
            model: Arc::new(Mutex::new(model)),
            proxies,
            wires: BTreeMap::new(),
            denied_until: None,
        })
    }

    /// Plays the script, and lets everything settle. `Err`: something is not as it must be.
    pub(super) async fn all(&mut self, script: &Script) -> anyhow::Result<()> {
        let rds = self.world.rds.clone();
        self.model().change(&rds, Change::Rotate);
        for action in &script.actions {
            self.tally.actions += 1;
            self.until_over();
            self.act(*action)
                .await
                .with_context(|| format!("{action:?}"))?;
            self.reap().await?;
        }
        self.settle().await?;
        self.judge().await
    }

    /// How much there was, and what was said. Whatever still runs is killed.
    pub(super) fn end(self) -> (Tally, String) {
        let mut said = vec![self.world.said()];
        for process in &self.running {
            let log = process.running.log().join("\n");
            said.push(format!("{}, which still runs, said:\n{log}", process.what));
        }
        // What there is to say of them was said.
        drop(self.world.take_unexpected_errors());
        (self.tally, said.join("\n"))
    }

    pub(super) fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests that all services have seen.
    pub(super) fn requests(&self) -> usize {
        let seen = self
            .proxies
            .values()
            .flat_map(|proxy| proxy.seen().into_values());
        seen.map(|count| count as usize).sum()
    }

    async fn act(&mut self, action: Action) -> anyhow::Result<()> {
        let world = &self.world;
        match action {
            Action::Rds(change) => {
                self.look().await?;
                let rds = self.world.rds.clone();
                self.model().change(&rds, change);
            }
            Action::DuringListing(nth, change) => {
                self.later(Where::listing(ANY), nth, change);
            }
            Action::DuringDownload(nth, change) => {
                self.later(Where::download(ANY, ANY), nth, change);
            }
            Action::Refuse(refusal, times) => self.refuse(refusal, times),
            Action::DenyFor(actions) => {
                self.refuse(Refusal::Denied, FOREVER);
                self.denied_until = Some(self.tally.actions + u64::from(actions));
            }
            Action::Mend => self.mend_rds(),
            Action::Wire(service, fault, calls, actions) => {
                self.mend_wire(service);
                let proxy = self.proxies.get(&service).context("there is a proxy")?;
                let until = self.tally.actions + u64::from(actions);
                let before = struck(proxy);
                let injection = proxy.inject(fault, None, calls);
                let kind = format!("{service:?} {fault:?}");
                self.wires.insert(service, (injection, kind, before, until));
            }
            Action::Run(program, way) => self.run_program(program, way).await?,
            Action::Send(signal, which) => self.signal(signal, usize::from(which)).await?,
            Action::ContinueAll => self.continue_all().await?,
            Action::Duplicate(which) => {
                let body = self.model().any(which).map(|had| had.message.to_wire());
                if let Some(body) = body {
                    world.send(&body).await?;
                }
            }
            Action::Lose => self.lose().await?,
            Action::ComeBack => world.come_back(&world.resources.queue_url).await?,
            Action::Forge(forgery) => self.forge(forgery).await?,
            Action::Await(until) => self.await_(until).await?,
        }
        Ok(())
    }

    /// Sees which versions are Complete: whatever RDS deletes of them now is no loss.
    pub(super) async fn look(&self) -> anyhow::Result<()> {
        let rows = self.world.all_versions().await?;
        let complete = rows.iter().filter_map(|row| {
            let text = |name| row.get(name).cloned();
            let is_complete = text("state")? == "Complete";
            let resource_id = text("pk")?.strip_prefix("I#")?.to_owned();
            is_complete.then_some((resource_id, text("sk")?))
        });
        self.model().complete.extend(complete);
        Ok(())
    }

    /// RDS goes on behind an answer to come.
    fn later(&self, at: Where, nth: u8, change: Change) {
        let model = Arc::clone(&self.model);
        self.world.rds.after(at, u32::from(nth), move |rds| {
            let mut model = model.lock().unwrap_or_else(PoisonError::into_inner);
            model.change(rds, change);
        });
    }

    fn refuse(&mut self, refusal: Refusal, times: u32) {
        let (downloads, listings) = (Where::download(ANY, ANY), Where::listing(ANY));
        let status = |status, code: &str| Fault::Status {
            status,
            code: code.to_owned(),
            message: "chaos".to_owned(),
        };
        let after_bytes = 100;
        let (at, fault) = match refusal {
            Refusal::Broken => {
                // Once is enough: the SDK asks again, ever more slowly.
                let broken = status(500, "InternalFailure");
                self.world.rds.fail(listings, broken.clone(), 1);
                (downloads, broken)
            }
            Refusal::NoFile => (downloads, status(404, "DBLogFileNotFoundFault")),
            Refusal::NoInstance => (downloads, status(404, "DBInstanceNotFound")),
            Refusal::Denied => (downloads, status(403, "AccessDenied")),
            Refusal::Empty => {
                self.empty_listings = true;
                (listings, Fault::EmptyListing)
            }
            Refusal::Stall => (downloads, Fault::Stall { after_bytes }),
            Refusal::Truncate => (downloads, Fault::Truncate { after_bytes }),
            Refusal::Reset => (downloads, Fault::Reset { after_bytes }),
        };
        self.tally.fault(
            &format!("Rds {refusal:?}"),
            u64::from(if times == FOREVER { 1 } else { times }),
        );
        self.world.rds.fail(at, fault, times);
    }

    fn mend_rds(&mut self) {
        self.world.rds.clear_faults();
        self.world.rds.release_stalls();
        self.empty_listings = false;
        self.denied_until = None;
    }

    fn mend_wire(&mut self, service: Service) {
        if let Some((injection, kind, before, _)) = self.wires.remove(&service) {
            drop(injection);
            let struck = self.proxies.get(&service).map_or(0, struck);
            self.tally.fault(&kind, struck.saturating_sub(before));
        }
    }

    /// Everything works from now on.
    pub(super) fn mend(&mut self) {
        self.mend_rds();
        for service in Service::all() {
            self.mend_wire(service);
        }
    }

    /// Ends the faults whose time is over.
    fn until_over(&mut self) {
        let now = self.tally.actions;
        for service in Service::all() {
            if self.wires.get(&service).is_some_and(|wire| wire.3 < now) {
                self.mend_wire(service);
            }
        }
        if self.denied_until.is_some_and(|until| until < now) {
            self.mend_rds();
        }
    }

    /// Takes a message off the queue for good. One that nobody but the queue knows of is no loss to play with.
    async fn lose(&self) -> anyhow::Result<()> {
        let (sqs, url) = (&self.world.sqs, &self.world.resources.queue_url);
        let received = sqs.receive_message().queue_url(url).send().await?;
        for message in received.messages() {
            let body = message.body().unwrap_or_default();
            let had = Message::from_wire(body).is_ok_and(|message| {
                let model = self.model();
                model.had.contains_key(&id(&message))
            });
            if !had {
                self.world.send(body).await?;
            }
            let receipt = message.receipt_handle().context("no receipt")?;
            let delete = sqs.delete_message().queue_url(url).receipt_handle(receipt);
            delete.send().await?;
        }
        Ok(())
    }

    async fn forge(&mut self, forgery: Forgery) -> anyhow::Result<()> {
        let nth = self.tally.actions;
        let name = match forgery {
            Forgery::Unreadable | Forgery::FromTheFuture => {
                let body = match forgery {
                    Forgery::Unreadable => format!("chaos {nth}"),
                    _ => format!(r#"{{"v":2,"chaos":{nth}}}"#),
                };
                self.unreadable.push(body.clone());
                return self.world.send(&body).await;
            }
            Forgery::NoSuchFile => format!("audit/chaos-{nth}"),
        };
        let (instance, now) = {
            let model = self.model();
            (model.instance(INSTANCE), model.now())
        };
        let file = LogFile {
            name,
            version: Version::new(now, 1000).context("a time")?,
            twins: 1,
        };
        let message = Message { instance, file };
        self.world.send(&message.to_wire()).await?;
        self.forged.push(message);
        Ok(())
    }
}

/// How many requests a proxy did not simply pass on.
fn struck(proxy: &Proxy) -> u64 {
    proxy.faults().into_values().map(u64::from).sum()
}

/// How often to look while programs finish.
pub(super) const PERIOD: Duration = Duration::from_millis(500);
