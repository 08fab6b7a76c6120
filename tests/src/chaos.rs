//! All that goes wrong at once, in any order: producers, workers, operators and RDS in one small world, with every fault
//! that there is.
//!
//! What happens follows from a seed, and a seed that fails is printed. It plays the same script again, with the same
//! settings; only the machine decides how the processes interleave, so it may take a few tries to fail again.

// What happens, action by action.
pub mod script;
// What is rare by chance and hard to survive.
mod motifs;
// What RDS has had, and what may have become of it.
mod model;
// How it happens.
mod play;
// What our programs do meanwhile.
mod processes;
// How it ends: everything is mended, and finished.
mod settle;
// How much of it there was.
mod tally;

use std::fmt::Write as _;
use std::fs;

use anyhow::anyhow;

use self::play::Play;
use self::script::Script;
pub use self::tally::Tally;
use crate::stack::Stack;
use crate::{programs, proof};

/// Plays the script of a seed in a world of its own, lets everything settle, and holds that nothing is lost or doubled.
pub async fn run(stack: &Stack, seed: u64) -> anyhow::Result<Tally> {
    // This may build them, and must hold nobody up.
    tokio::task::spawn_blocking(programs::folder).await??;
    let script = Script::of(seed);
    let mut play = Play::new(stack, &script).await?;
    // On the heap: futures of the SDK are large.
    let played = Box::pin(play.all(&script)).await;
    let (done, said) = play.end();
    match played {
        Ok(()) => Ok(done),
        Err(error) => {
            let kept = keep(&script, &said, &error);
            let kept = kept.unwrap_or_else(|error| format!("lost: {error:#}"));
            Err(anyhow!(
                "seed {seed}, after {} of {} actions: {error:#}\n\n{script}\nThe log is {kept}; to play it again:\n\n  \
                 cargo soak --seed {seed} --worlds 1 --for 1s\n",
                done.actions,
                script.actions.len(),
            ))
        }
    }
}

/// Keeps what the programs have said; where.
fn keep(script: &Script, said: &str, error: &anyhow::Error) -> anyhow::Result<String> {
    let folder = proof::folder();
    fs::create_dir_all(&folder)?;
    let path = folder.join(format!("chaos-{}.log", script.seed));
    let mut text = String::new();
    write!(text, "{script}\n{said}\n{error:#}\n")?;
    fs::write(&path, text)?;
    Ok(path.display().to_string())
}
