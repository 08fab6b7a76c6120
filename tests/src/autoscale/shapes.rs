//! What a queue can look like.

use std::ops::Range;

/// A log file of 50 MB, in minutes of a vCPU.
const FILE: f64 = 0.01;

/// Files that come, and what they take.
#[derive(Debug, Clone)]
pub struct Shape {
    /// What it is called.
    pub name: &'static str,
    /// Minute, how many, and minutes of one vCPU that each takes.
    pub(super) arrivals: Vec<(usize, usize, f64)>,
    /// Minutes in which every download fails at once.
    pub(super) outage: Range<usize>,
    /// Whether SQS reports one more message in flight than there is.
    pub(super) phantom: bool,
    /// Minutes that it lasts.
    pub(super) minutes: usize,
}

impl Shape {
    /// The most minutes in which messages may be visible and no worker runs: SQS reports them, the alarm sees it, and a worker
    /// starts. The metrics of a queue that nothing has used for six hours begin up to fifteen minutes later.
    pub fn longest_wait(&self) -> usize {
        let from = |minute: usize| {
            self.arrivals
                .iter()
                .filter(move |arrival| arrival.0 >= minute)
        };
        let idle = self.arrivals.iter().any(|(minute, ..)| {
            let next = from(minute + 1).map(|arrival| arrival.0).min();
            next.is_some_and(|next| next - minute > 6 * 60)
        });
        6 + if idle { super::WAKE } else { 0 }
    }
}

/// All of them.
pub fn shapes() -> Vec<Shape> {
    let every = |minutes: usize, count: usize, until: usize| -> Vec<(usize, usize, f64)> {
        (0..until)
            .step_by(minutes)
            .map(|minute| (minute, count, FILE))
            .collect()
    };
    let shape = |name, arrivals, minutes| Shape {
        name,
        arrivals,
        outage: 0..0,
        phantom: false,
        minutes,
    };
    vec![
        shape("burst: 1,500 files each hour", every(60, 1500, 360), 360),
        shape("trickle: 3 files each 15 minutes", every(15, 3, 360), 400),
        shape("bursts: 600 files each half hour", every(30, 600, 360), 390),
        shape("steady: 400 files each 5 minutes", every(5, 400, 360), 410),
        // Five tries of up to 16 s and their files' time: in flight until they are dead letters.
        shape(
            "poison: 5 messages that are tried five times",
            vec![(5, 5, 0.4)],
            120,
        ),
        // Workers take what is visible, fail, and release it with a backoff; the producer goes on sending, and sends again.
        Shape {
            outage: 60..240,
            ..shape(
                "outage: every download fails for three hours",
                every(15, 300, 600),
                660,
            )
        },
        shape(
            "backfill: 60,000 files at once",
            vec![(5, 60_000, FILE)],
            660,
        ),
        // Longer than the cooldown, behind a crowd that asks for more workers than they do.
        shape(
            "giants: 3 files of half an hour behind 1,200 others",
            vec![(5, 1200, FILE), (6, 3, 30.0)],
            180,
        ),
        // No worker, no metric, for longer than SQS takes a queue for active.
        shape(
            "idle: 3 files, nothing for eight hours, 3 files",
            vec![(5, 3, FILE), (485, 3, FILE)],
            600,
        ),
        Shape {
            phantom: true,
            ..shape(
                "phantom: SQS reports a message in flight that is none",
                vec![(5, 3, FILE), (65, 3, FILE)],
                180,
            )
        },
    ]
}
