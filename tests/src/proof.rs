//! What a run has shown, in figures: kept in `target/proof`, printed by `cargo proof`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::Context;

/// What was shown, and how often.
pub type Figures = BTreeMap<String, u64>;

/// Of this process, by area.
static SHOWN: Mutex<BTreeMap<String, Figures>> = Mutex::new(BTreeMap::new());

/// Adds to a figure of this process, and keeps it, in place of what an earlier run had kept of the area.
pub fn add(area: &str, figure: &str, count: u64) -> anyhow::Result<()> {
    let mut shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let figures = shown.entry(area.to_owned()).or_default();
    *figures.entry(figure.to_owned()).or_default() += count;
    let (folder, text) = (folder(), serde_json::to_string_pretty(figures)?);
    fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{area}.json"));
    fs::write(&path, text + "\n").with_context(|| format!("write {}", path.display()))
}

/// What the last runs have shown, by area.
pub fn read() -> anyhow::Result<BTreeMap<String, Figures>> {
    let folder = folder();
    let mut areas = BTreeMap::new();
    for entry in fs::read_dir(&folder).with_context(|| {
        let folder = folder.display();
        format!("{folder}: run cargo test --workspace and cargo soak first")
    })? {
        let path = entry?.path();
        let area = path.file_stem().unwrap_or_default().display().to_string();
        let text = fs::read_to_string(&path)?;
        let figures =
            serde_json::from_str(&text).with_context(|| format!("read {}", path.display()))?;
        areas.insert(area, figures);
    }
    Ok(areas)
}

/// Where it is kept, and logs of runs that failed: in the repository whose tests these are, wherever cargo builds.
pub fn folder() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/proof")).to_owned()
}
