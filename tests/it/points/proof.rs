//! What a run has shown, in `target/proof/kill_points.json`.

use std::collections::BTreeSet;
use std::fs;
use std::sync::{Mutex, PoisonError};

use anyhow::Context;
use serde_json::json;
use shared::step::Step;
use tests::programs;

use super::{Case, End, Program, cases, taken};

/// Steps whose every point this run has passed, by the process's end.
static HELD: Mutex<BTreeSet<(Step, End)>> = Mutex::new(BTreeSet::new());

/// Adds that every point of a step held, and writes the file anew.
pub(super) fn add(step: Step, end: End) -> anyhow::Result<()> {
    let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    held.insert((step, end));
    let steps: Vec<Step> = Step::ALL.into_iter().filter(|step| taken(*step)).collect();
    let table = steps.iter().flat_map(|step| {
        let (step, held) = (*step, &held);
        cases(step).into_iter().map(move |case| {
            json!({
                "step": format!("{step:?}"),
                "program": program(case),
                "world": format!("{:?}", case.plot),
                "points": 2,
                "killed_at_both": held.contains(&(step, End::Killed)),
                "slept_at_both": held.contains(&(step, End::Asleep)),
            })
        })
    });
    let table: Vec<_> = table.collect();
    let processes = |end| -> usize {
        let held = steps.iter().filter(|step| held.contains(&(**step, end)));
        held.map(|step| 2 * cases(*step).len()).sum()
    };
    let summary = json!({
        "steps": steps.len(),
        "points": 2 * steps.len(),
        "programs_by_points": 2 * table.len(),
        "killed": processes(End::Killed),
        "slept": processes(End::Asleep),
        "table": table,
    });
    let target = programs::folder()?;
    let folder = target.parent().context("target")?.join("proof");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("kill_points.json"), format!("{summary:#}\n"))?;
    Ok(())
}

fn program(case: Case) -> String {
    match case.program {
        Program::Worker => "auditferry-worker".to_owned(),
        Program::Operator(arguments) => format!("auditferry {}", arguments.join(" ")),
    }
}
