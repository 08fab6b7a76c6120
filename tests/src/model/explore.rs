//! Whether from every state a state without unfinished work stays in reach (AG EF): the graph of all states, walked backwards
//! from those.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};

use stateright::Model;

/// The graph of all states of a model.
#[derive(Debug)]
pub struct Explored<A> {
    /// How many there are.
    pub states: usize,
    /// How many steps lead from one to another.
    pub steps: usize,
    /// How many of the states have no way to an end.
    pub stuck: usize,
    /// What leads to the first of those, if there is one.
    pub trace: Vec<A>,
}

/// Finds the states from which no `end` can be reached.
pub fn explore<M>(model: &M, end: impl Fn(&M::State) -> bool) -> Explored<M::Action>
where
    M: Model,
    M::State: Clone + Hash + PartialEq,
    M::Action: Copy,
{
    let mut found = Found {
        ids: HashMap::new(),
        states: Vec::new(),
        from: Vec::new(),
    };
    for state in model.init_states() {
        found.id(state, None);
    }
    let (mut steps, mut actions) = (Vec::new(), Vec::new());
    let mut at = 0;
    while let Some(state) = found.states.get(at as usize).cloned() {
        model.actions(&state, &mut actions);
        for action in actions.drain(..) {
            if let Some(next) = model.next_state(&state, action) {
                steps.push((found.id(next, Some((at, action))), at));
            }
        }
        at += 1;
    }
    // Sorted by where they lead, they can be walked backwards.
    steps.sort_unstable();
    let mut ends: Vec<bool> = found.states.iter().map(end).collect();
    let mut open: Vec<u32> = (0..at).filter(|id| ends[*id as usize]).collect();
    while let Some(to) = open.pop() {
        let first = steps.partition_point(|step| step.0 < to);
        for (_, from) in steps[first..].iter().take_while(|step| step.0 == to) {
            if !std::mem::replace(&mut ends[*from as usize], true) {
                open.push(*from);
            }
        }
    }
    let mut trace = Vec::new();
    let mut stuck = ends.iter().position(|in_reach| !in_reach);
    while let Some((from, action)) = stuck.and_then(|id| found.from[id]) {
        trace.push(action);
        stuck = Some(from as usize);
    }
    trace.reverse();
    Explored {
        states: ends.len(),
        steps: steps.len(),
        stuck: ends.iter().filter(|in_reach| !**in_reach).count(),
        trace,
    }
}

/// The states that were found, each by its hash, and the step by which it was found first.
struct Found<S, A> {
    ids: HashMap<u64, u32>,
    states: Vec<S>,
    from: Vec<Option<(u32, A)>>,
}

impl<S: Hash + PartialEq, A> Found<S, A> {
    fn id(&mut self, state: S, from: Option<(u32, A)>) -> u32 {
        let mut hasher = Mixed(0);
        state.hash(&mut hasher);
        let new = u32::try_from(self.states.len()).expect("fewer than fit in memory");
        let id = *self.ids.entry(hasher.finish()).or_insert(new);
        if id == new {
            self.states.push(state);
            self.from.push(from);
        } else {
            assert!(
                self.states[id as usize] == state,
                "two states have one hash"
            );
        }
        id
    }
}

/// Quick, which is all that is asked of it: states are compared where hashes are equal.
struct Mixed(u64);

impl Hasher for Mixed {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u8(*byte);
        }
    }

    fn write_u8(&mut self, byte: u8) {
        self.write_u64(byte.into());
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    fn write_isize(&mut self, word: isize) {
        self.write_u64(word.cast_unsigned() as u64);
    }

    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }
}
