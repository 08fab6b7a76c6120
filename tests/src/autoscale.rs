//! How many workers the template's scaling asks for, minute by minute, and what becomes of the backlog.
//!
//! SQS, CloudWatch and Application Auto Scaling are simulated as their documentation has them. SQS reports messages in flight and
//! messages received only while there are any, and nothing at all of a queue that nothing has used for six hours. The alarms'
//! own expressions are evaluated, with whatever metric is absent. An alarm in ALARM acts each minute; a step policy
//! with `ExactCapacity` goes up at once, and down only when the cooldown since its last change is over.
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html>,
//! <https://docs.aws.amazon.com/autoscaling/application/userguide/step-scaling-policy-overview.html>

// What alarms compute.
pub mod expression;
// The policy and its alarms, as the template has them.
mod policy;
// What a queue can look like.
mod shapes;
// The work queue, and what SQS reports of it.
mod queue;
// What becomes of it all, to look at.
mod picture;

pub use picture::picture;
pub use policy::Policy;
pub use shapes::{Shape, shapes};

use queue::{Queue, Taken};

/// Minutes until an alarm sees what SQS counts.
const METRIC_LAG: usize = 2;

/// Minutes from the decision to a worker that takes messages; Fargate pulls the image each time.
const START: usize = 3;

/// Minutes until SQS reports a queue that was idle for six hours.
const WAKE: usize = 15;

/// Minutes that are as good as none.
const EPSILON: f64 = 1e-9;

/// Log files in flight at a time on one vCPU, by default.
const IN_FLIGHT: usize = 8;

/// Minutes that files have to end in once a worker is told to stop, the last one begun; and from which on a file protects it.
const GRACE: usize = 2;

/// Minutes of a slot that a try takes that fails at once.
const TRY: f64 = 0.02;

/// What was true at the end of a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Minute {
    /// Messages that wait for a worker.
    pub visible: usize,
    /// Messages in workers' hands, or hidden until their next try.
    pub in_flight: usize,
    /// Workers that take messages.
    pub running: usize,
    /// Workers that were asked for.
    pub desired: usize,
    /// Messages that workers took in this minute.
    pub received: usize,
}

impl Minute {
    /// Messages, visible and in flight.
    pub fn backlog(&self) -> usize {
        self.visible + self.in_flight
    }
}

/// What came of a shape.
#[derive(Debug, Clone, Default)]
pub struct Course {
    /// Minute by minute.
    pub minutes: Vec<Minute>,
    /// Files that a worker had to release since it was ended.
    pub interrupted: usize,
    /// Files that are not archived.
    pub left: usize,
    /// The longest that a file had to wait for its end, in minutes.
    pub longest: usize,
    /// When more workers were asked for, having asked for fewer before.
    pub reversals: Vec<usize>,
    /// Minutes of workers, which is what they cost.
    pub worker_minutes: usize,
}

/// A file in a worker's hands.
#[derive(Debug)]
struct Held {
    file: usize,
    since: usize,
    left: f64,
}

#[derive(Debug)]
struct Worker {
    /// From when on it takes messages.
    from: usize,
    /// Told to stop: until when its files may go on.
    until: Option<usize>,
    files: Vec<Held>,
}

impl Worker {
    fn takes(&self, now: usize) -> bool {
        self.from <= now && self.until.is_none()
    }

    fn is_protected(&self, now: usize) -> bool {
        self.files.iter().any(|held| now - held.since >= GRACE)
    }

    /// Ships for a minute, from the queue.
    fn work(&mut self, now: usize, queue: &mut Queue) {
        let mut time = 1.0;
        while time > EPSILON {
            while self.takes(now)
                && self.files.len() < IN_FLIGHT
                && let Some(taken) = queue.take(now)
            {
                if let Taken::File(file, left) = taken {
                    let since = now;
                    self.files.push(Held { file, since, left });
                }
            }
            // All share the processor, so that the shortest ends first.
            let left = self.files.iter().map(|held| held.left);
            let Some(least) = left.min_by(f64::total_cmp) else {
                break;
            };
            let count = u32::try_from(self.files.len()).map_or(1.0, f64::from);
            let spent = (time / count).min(least);
            time -= spent * count;
            self.files.retain_mut(|held| {
                held.left -= spent;
                let unfinished = held.left > EPSILON;
                if !unfinished {
                    queue.complete(held.file, now);
                }
                unfinished
            });
        }
    }

    /// Tries for a minute, and releases each: whatever it downloads fails at once. What it had in hand fails, too.
    fn fail(&mut self, now: usize, queue: &mut Queue) {
        for held in self.files.drain(..) {
            queue.release(held.file, now, true);
        }
        let mut time = if self.takes(now) { 1.0 } else { 0.0 };
        while time > EPSILON
            && let Some(taken) = queue.take(now)
        {
            time -= TRY / f64::from(u8::try_from(IN_FLIGHT).unwrap_or(u8::MAX));
            if let Taken::File(file, _) = taken {
                queue.release(file, now, true);
            }
        }
    }
}

/// Plays a shape. With `protection`, workers that have a file in flight for longer than the grace are not ended.
pub fn play(policy: &Policy, shape: &Shape, protection: bool) -> anyhow::Result<Course> {
    let mut course = Course::default();
    let (mut queue, mut workers) = (Queue::new(shape.phantom), Vec::<Worker>::new());
    let (mut desired, mut changed, mut falling) = (0, None, false);
    for now in 0..shape.minutes {
        for (_, count, work) in shape.arrivals.iter().filter(|arrival| arrival.0 == now) {
            queue.arrive(now, *count, *work);
        }
        queue.tick(now);

        // The alarms see what was.
        let seen = now.checked_sub(METRIC_LAG);
        let reported = seen.and_then(|seen| queue.reported.get(..=seen));
        let wanted = policy
            .wanted(reported.unwrap_or_default())?
            .unwrap_or(desired);
        let cooled = changed.is_none_or(|changed| now - changed >= policy.cooldown);
        if wanted > desired || (wanted < desired && cooled) {
            if wanted > desired && falling {
                course.reversals.push(now);
            }
            falling = wanted < desired;
            (desired, changed) = (wanted, Some(now));
        }

        let staying = workers
            .iter()
            .filter(|worker| worker.until.is_none())
            .count();
        for _ in staying..desired {
            workers.push(Worker {
                from: now + START,
                until: None,
                files: Vec::new(),
            });
        }
        // ECS does not know which are busy: of those that it may end, this is the worst that it could choose.
        workers.sort_by_key(|worker| std::cmp::Reverse(worker.files.len()));
        let mut surplus = staying.saturating_sub(desired);
        for worker in &mut workers {
            let may_end = worker.until.is_none() && !(protection && worker.is_protected(now));
            if surplus > 0 && may_end {
                surplus -= 1;
                worker.until = Some(now + GRACE);
            }
        }
        workers.retain_mut(|worker| {
            let cut_off = worker.until.is_some_and(|until| until <= now);
            if cut_off {
                course.interrupted += worker.files.len();
                for held in worker.files.drain(..) {
                    queue.release(held.file, now, false);
                }
            }
            !cut_off && (worker.until.is_none() || !worker.files.is_empty())
        });

        for worker in workers.iter_mut().filter(|worker| worker.from <= now) {
            if shape.outage.contains(&now) {
                worker.fail(now, &mut queue);
            } else {
                worker.work(now, &mut queue);
            }
        }
        let running = workers.iter().filter(|worker| worker.takes(now)).count();
        course.worker_minutes += workers.len();
        let received = queue.report(now, running > 0);
        course.minutes.push(Minute {
            visible: queue.visible(),
            in_flight: queue.in_flight(),
            running,
            desired,
            received,
        });
    }
    course.longest = queue.longest();
    course.left = queue.left();
    Ok(course)
}
