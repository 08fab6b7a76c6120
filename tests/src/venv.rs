//! A Python with exactly the packages that a requirements file lists, beside cargo's other output.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, anyhow, ensure};
use sha2::{Digest, Sha256};

/// Interpreters to try, the usual one first: macOS's `python3` is too old.
const CANDIDATES: [&str; 6] = [
    "python3",
    "python3.14",
    "python3.13",
    "python3.12",
    "python3.11",
    "python3.10",
];

/// Says which Python this is, or on stderr why it cannot make the environment.
const PROBE: &str = "
import sys
if sys.version_info < (3, 10):
    sys.exit('it is Python %d.%d' % sys.version_info[:2])
try:
    import ensurepip, venv
except ImportError as error:
    sys.exit('it has no %s, which Debian and Ubuntu have in the package python3-venv' % error.name)
print(sys.version, sys.base_prefix)
";

/// The interpreter of the environment, which is made when there is none for these requirements and this Python.
///
/// `requirements` is a file that has every package with the hashes of its files. Processes that need the environment at the
/// same time wait for the first one.
pub fn python(requirements: &str) -> anyhow::Result<PathBuf> {
    let (interpreter, identity) = interpreter()?;
    let list = fs::read(requirements).with_context(|| format!("read {requirements}"))?;
    let hash = hex::encode(
        Sha256::new()
            .chain_update(list)
            .chain_update(identity)
            .finalize(),
    );
    let home = target()?.join("stack");
    let name = format!("venv-{hash:.12}");
    let directory = home.join(&name);
    let python = directory.join("bin/python");
    // Written last: without it the directory is a ruin.
    let complete = directory.join("complete");
    if complete.exists() {
        return Ok(python);
    }

    fs::create_dir_all(&home).with_context(|| format!("create {}", home.display()))?;
    let lock = home.join(format!("{name}.lock"));
    let lock = File::create(&lock).with_context(|| format!("create {}", lock.display()))?;
    lock.lock()
        .context("wait for another process that installs")?;
    if complete.exists() {
        return Ok(python);
    }
    output(
        Command::new(interpreter)
            .args(["-m", "venv", "--clear"])
            .arg(&directory),
    )?;
    output(
        Command::new(&python)
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--no-input",
                "--disable-pip-version-check",
            ])
            .args([
                "--require-hashes",
                "--only-binary",
                ":all:",
                "--requirement",
                requirements,
            ]),
    )?;
    File::create(&complete).with_context(|| format!("create {}", complete.display()))?;
    Ok(python)
}

/// A Python that can make environments, and what tells it from others.
fn interpreter() -> anyhow::Result<(&'static str, String)> {
    let mut reasons = Vec::new();
    for candidate in CANDIDATES {
        match output(Command::new(candidate).args(["-c", PROBE])) {
            Ok(identity) => return Ok((candidate, identity)),
            Err(error) => reasons.push(format!("{error:#}")),
        }
    }
    Err(anyhow!(
        "install Python 3.10 or newer with its venv module; none was found:\n{}",
        reasons.join("\n")
    ))
}

/// What a command says on stdout; what it says on stderr when it fails.
fn output(command: &mut Command) -> anyhow::Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("run {program}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{program} failed ({}): {}",
        output.status,
        said.trim_end()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Cargo's target directory: the ancestor of this program that cargo has tagged.
fn target() -> anyhow::Result<PathBuf> {
    let program = env::current_exe().context("find this program")?;
    let tagged = program
        .ancestors()
        .find(|directory| directory.join("CACHEDIR.TAG").is_file());
    let usual = || Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("target");
    Ok(tagged.map_or_else(usual, Path::to_path_buf))
}
