//! How many workers the template's step policy asks for, minute by minute, and what becomes of the backlog.
//!
//! CloudWatch and Application Auto Scaling are simulated as their documentation has them: an alarm in ALARM acts each
//! minute; a step policy with `ExactCapacity` goes up at once, and down only when the cooldown since its last change is
//! over.
//! <https://docs.aws.amazon.com/autoscaling/application/userguide/step-scaling-policy-overview.html>

use std::collections::VecDeque;
use std::fmt::Write;

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::template::text;

/// Minutes until an alarm sees what SQS counts.
const METRIC_LAG: usize = 2;

/// Minutes from the decision to a worker that takes messages; Fargate pulls the image each time.
const START: usize = 3;

/// Minutes that are as good as none.
const EPSILON: f64 = 1e-9;

/// Log files in flight at a time on one vCPU, by default.
const IN_FLIGHT: usize = 8;

/// The policy and its two alarms.
#[derive(Debug, Clone)]
pub struct Policy {
    /// From so many messages on, so many workers; ascending.
    steps: Vec<(f64, usize)>,
    /// Minutes between a change and fewer workers.
    cooldown: usize,
    /// Minutes without a message until there are no workers.
    idle: usize,
    /// The most workers.
    max: usize,
}

impl Policy {
    /// As the resolved template has it.
    pub fn of(deployed: &Value) -> anyhow::Result<Self> {
        let property = |path: &str| {
            let value = deployed.pointer(&format!("/Resources/{path}"));
            value.with_context(|| format!("there is no {path}"))
        };
        let number = |path: &str| -> anyhow::Result<usize> { Ok(text(property(path)?).parse()?) };
        let configuration = "WorkerSteps/Properties/StepScalingPolicyConfiguration";
        let adjustments = property(&format!("{configuration}/StepAdjustments"))?;
        let mut steps = Vec::new();
        for step in adjustments.as_array().context("no steps")? {
            let from = step.get("MetricIntervalLowerBound").and_then(Value::as_f64);
            let workers = step.get("ScalingAdjustment").and_then(Value::as_u64);
            let workers = usize::try_from(workers.context("no workers")?)?;
            steps.push((from.unwrap_or(f64::NEG_INFINITY), workers));
        }
        ensure!(!steps.is_empty(), "there are no steps");
        Ok(Self {
            steps,
            cooldown: number(&format!("{configuration}/Cooldown"))? / 60,
            idle: number("NoBacklog/Properties/EvaluationPeriods")?,
            max: number("WorkerCount/Properties/MaxCapacity")?,
        })
    }

    /// Workers for a backlog of so many messages, visible and in flight.
    pub fn workers(&self, backlog: usize) -> usize {
        let steps = self.steps.iter().rev();
        let backlog = u32::try_from(backlog).map_or(f64::INFINITY, f64::from);
        let step = steps.clone().find(|(from, _)| backlog >= *from);
        step.map_or(0, |(_, workers)| (*workers).min(self.max))
    }
}

/// Messages that come, and what they take.
#[derive(Debug, Clone)]
pub struct Shape {
    /// What it is called.
    pub name: &'static str,
    /// Minute, how many, and minutes of one vCPU that each takes.
    arrivals: Vec<(usize, usize, f64)>,
    /// Minutes in which no worker gets anywhere, since RDS does not answer.
    outage: std::ops::Range<usize>,
    /// Minutes that it lasts.
    minutes: usize,
}

/// A log file of 50 MB, in minutes of a vCPU.
const FILE: f64 = 0.01;

/// What a queue can look like.
pub fn shapes() -> Vec<Shape> {
    let every = |minutes: usize, count: usize, until: usize| -> Vec<(usize, usize, f64)> {
        (0..until)
            .step_by(minutes)
            .map(|minute| (minute, count, FILE))
            .collect()
    };
    let none = 0..0;
    vec![
        Shape {
            name: "burst: 1,500 files each hour",
            arrivals: every(60, 1500, 360),
            outage: none.clone(),
            minutes: 360,
        },
        Shape {
            name: "trickle: 3 files each 15 minutes",
            arrivals: every(15, 3, 360),
            outage: none.clone(),
            minutes: 360,
        },
        Shape {
            name: "bursts: 600 files each half hour",
            arrivals: every(30, 600, 360),
            outage: none.clone(),
            minutes: 360,
        },
        Shape {
            name: "steady: 400 files each 5 minutes",
            arrivals: every(5, 400, 360),
            outage: none.clone(),
            minutes: 400,
        },
        Shape {
            // Five tries of up to 16 s and their files' time: in flight until they are dead letters.
            name: "poison: 5 messages that are tried five times",
            arrivals: vec![(5, 5, 0.4)],
            outage: none.clone(),
            minutes: 120,
        },
        Shape {
            name: "outage: RDS does not answer for three hours",
            arrivals: every(15, 300, 600),
            outage: 60..240,
            minutes: 600,
        },
        Shape {
            name: "backfill: 60,000 files at once",
            arrivals: vec![(5, 60_000, FILE)],
            outage: none.clone(),
            minutes: 660,
        },
        Shape {
            // Longer than the cooldown, behind a crowd that asks for more workers than they do.
            name: "giants: 3 files of half an hour behind 1,200 others",
            arrivals: vec![(5, 1200, FILE), (6, 3, 30.0)],
            outage: none,
            minutes: 180,
        },
    ]
}

/// What was true at the end of a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Minute {
    /// Messages, visible and in flight.
    pub backlog: usize,
    /// Workers that take messages.
    pub running: usize,
    /// Workers that were asked for.
    pub desired: usize,
    /// Messages that workers took in this minute.
    pub received: usize,
}

/// What came of a shape.
#[derive(Debug, Clone)]
pub struct Course {
    /// Minute by minute.
    pub minutes: Vec<Minute>,
    /// Files that a worker had to give back since it was ended.
    pub interrupted: usize,
    /// The longest that a file had to wait for its end, in minutes.
    pub longest: usize,
    /// When more workers were asked for, having asked for fewer before.
    pub reversals: Vec<usize>,
    /// Minutes of workers, which is what they cost.
    pub worker_minutes: usize,
}

#[derive(Debug, Clone)]
struct File {
    came: usize,
    left: f64,
}

#[derive(Debug)]
struct Worker {
    from: usize,
    files: Vec<File>,
}

impl Worker {
    /// Ships for a minute, from the queue; how many messages it took.
    fn work(&mut self, queue: &mut VecDeque<File>, mut done: impl FnMut(&File)) -> usize {
        let (mut time, mut received) = (1.0, 0);
        while time > EPSILON {
            let free = (IN_FLIGHT - self.files.len()).min(queue.len());
            self.files.extend(queue.drain(..free));
            received += free;
            // All share the processor, so that the shortest ends first.
            let left = self.files.iter().map(|file| file.left);
            let Some(least) = left.min_by(f64::total_cmp) else {
                break;
            };
            let count = u32::try_from(self.files.len()).map_or(1.0, f64::from);
            let spent = (time / count).min(least);
            time -= spent * count;
            for file in &mut self.files {
                file.left -= spent;
            }
            self.files.retain(|file| {
                let unfinished = file.left > EPSILON;
                if !unfinished {
                    done(file);
                }
                unfinished
            });
        }
        received
    }
}

/// Plays a shape. With `protection`, workers that have files in flight are not ended.
pub fn play(policy: &Policy, shape: &Shape, protection: bool) -> Course {
    let mut course = Course {
        minutes: Vec::new(),
        interrupted: 0,
        longest: 0,
        reversals: Vec::new(),
        worker_minutes: 0,
    };
    let (mut visible, mut workers) = (VecDeque::new(), Vec::<Worker>::new());
    let (mut desired, mut changed, mut falling) = (0, None, false);
    for now in 0..shape.minutes {
        for (minute, count, work) in &shape.arrivals {
            if *minute == now {
                visible.extend(vec![
                    File {
                        came: now,
                        left: *work
                    };
                    *count
                ]);
            }
        }

        // The alarms see what was.
        let seen = |ago: usize| {
            let minute = now.checked_sub(METRIC_LAG + ago)?;
            course.minutes.get(minute)
        };
        let idle = (0..policy.idle)
            .all(|ago| seen(ago).is_some_and(|minute| minute.backlog + minute.received == 0));
        let wanted = match seen(0) {
            Some(minute) if minute.backlog > 0 => policy.workers(minute.backlog),
            _ if idle => policy.workers(0),
            _ => desired,
        };
        let cooled = changed.is_none_or(|changed| now - changed >= policy.cooldown);
        if wanted > desired || (wanted < desired && cooled) {
            if wanted > desired && falling {
                course.reversals.push(now);
            }
            falling = wanted < desired;
            (desired, changed) = (wanted, Some(now));
        }

        while workers.len() < desired {
            workers.push(Worker {
                from: now + START,
                files: Vec::new(),
            });
        }
        let mut surplus = workers.len() - desired;
        workers.sort_by_key(|worker| worker.files.len());
        if !protection {
            // ECS does not know which are busy: this is the worst that it could choose.
            workers.reverse();
        }
        workers.retain_mut(|worker| {
            let end = surplus > 0 && (worker.files.is_empty() || !protection);
            if end {
                surplus -= 1;
                course.interrupted += worker.files.len();
                visible.extend(worker.files.drain(..));
            }
            !end
        });

        let mut received = 0;
        if !shape.outage.contains(&now) {
            for worker in workers.iter_mut().filter(|worker| worker.from <= now) {
                received += worker.work(&mut visible, |done| {
                    course.longest = course.longest.max(now - done.came);
                });
            }
        }
        let in_flight: usize = workers.iter().map(|worker| worker.files.len()).sum();
        course.worker_minutes += workers.len();
        course.minutes.push(Minute {
            backlog: visible.len() + in_flight,
            running: workers.iter().filter(|worker| worker.from <= now).count(),
            desired,
            received,
        });
    }
    course
}

/// All shapes as a picture in text, one column for some minutes: the most messages above, the most workers below.
pub fn picture(policy: &Policy) -> String {
    const COLUMNS: usize = 72;
    const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let mut picture = String::new();
    for shape in shapes() {
        let course = play(policy, &shape, true);
        let per_column = shape.minutes.div_ceil(COLUMNS);
        let columns: Vec<(usize, usize)> = course
            .minutes
            .chunks(per_column)
            .map(|chunk| {
                let most =
                    |of: fn(&Minute) -> usize| chunk.iter().map(of).max().unwrap_or_default();
                (most(|minute| minute.backlog), most(|minute| minute.running))
            })
            .collect();
        let most = columns
            .iter()
            .map(|column| column.0)
            .max()
            .unwrap_or_default();
        let bar = |value: usize| {
            // Logarithmic, so that one message can be seen beside 60,000.
            let eighths =
                (8 * (value + 1).ilog2() as usize).div_ceil((most + 1).ilog2().max(1) as usize);
            BARS.get(eighths.min(8)).copied().unwrap_or(' ')
        };
        let backlog: String = columns.iter().map(|column| bar(column.0)).collect();
        let workers: String = columns
            .iter()
            .map(|column| match column.1 {
                0 => '.',
                1..=9 => {
                    char::from_digit(u32::try_from(column.1).unwrap_or_default(), 10).unwrap_or('+')
                }
                _ => '+',
            })
            .collect();
        writeln!(
            picture,
            "{}\n  messages |{backlog}| up to {most}\n  workers  |{workers}| {} min a column; waited up to {} min, {} min of workers\n",
            shape.name, per_column, course.longest, course.worker_minutes
        )
        .expect("a text takes any text");
    }
    picture.trim_end().to_owned() + "\n"
}
