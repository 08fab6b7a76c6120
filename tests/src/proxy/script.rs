//! What becomes of which request, and what became of those that came.

use std::collections::BTreeMap;

use super::Answer;

/// How often each operation meets something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calls {
    /// In so many calls, the first ones.
    First(u32),
    /// In every other call, the first one included, and in so many at most.
    EveryOther(u32),
    /// In all calls.
    All,
}

impl Calls {
    /// Whether the `nth` call, counted from 1, is one of them.
    fn include(self, nth: u32) -> bool {
        match self {
            Self::First(most) => nth <= most,
            Self::EveryOther(most) => nth % 2 == 1 && nth.div_ceil(2) <= most,
            Self::All => true,
        }
    }
}

#[derive(Debug)]
struct Rule {
    id: u64,
    /// `None` stands for every operation.
    operation: Option<String>,
    answer: Answer,
    calls: Calls,
    /// Calls that came this far, by operation.
    seen: BTreeMap<String, u32>,
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Script {
    rules: Vec<Rule>,
    last_id: u64,
    seen: BTreeMap<String, u32>,
    faults: BTreeMap<String, u32>,
}

impl Script {
    /// Adds a rule, behind those that are there; what to remove it by.
    pub(super) fn add(&mut self, operation: Option<&str>, answer: Answer, calls: Calls) -> u64 {
        self.last_id += 1;
        self.rules.push(Rule {
            id: self.last_id,
            operation: operation.map(str::to_owned),
            answer,
            calls,
            seen: BTreeMap::new(),
        });
        self.last_id
    }

    pub(super) fn remove(&mut self, id: u64) {
        self.rules.retain(|rule| rule.id != id);
    }

    pub(super) fn clear(&mut self) {
        self.rules.clear();
    }

    /// What becomes of the next call of an operation. The first rule that means it decides; the others do not count it.
    pub(super) fn next(&mut self, operation: &str) -> Answer {
        *self.seen.entry(operation.to_owned()).or_default() += 1;
        for rule in &mut self.rules {
            if rule
                .operation
                .as_deref()
                .is_some_and(|meant| meant != operation)
            {
                continue;
            }
            let nth = rule.seen.entry(operation.to_owned()).or_default();
            *nth += 1;
            if rule.calls.include(*nth) {
                if !matches!(rule.answer, Answer::Pass) {
                    *self.faults.entry(operation.to_owned()).or_default() += 1;
                }
                return rule.answer.clone();
            }
        }
        Answer::Pass
    }

    /// Calls so far, by operation.
    pub(super) fn seen(&self) -> &BTreeMap<String, u32> {
        &self.seen
    }

    /// Those of them that were not simply passed on.
    pub(super) fn faults(&self) -> &BTreeMap<String, u32> {
        &self.faults
    }
}
