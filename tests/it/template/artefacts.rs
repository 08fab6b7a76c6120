//! What is built and deployed: the image, and the script that does it all.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tests::template::template;
use tests::venv;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const DOCKERFILE: &str = include_str!("../../../infra/Dockerfile");
const REQUIREMENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/template/requirements.txt");
const STAND_IN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/template/stand_in.sh");

fn lint(program: &str, file: &str) -> anyhow::Result<()> {
    let program = venv::python(REQUIREMENTS)?.with_file_name(program);
    let output = Command::new(program).arg(file).current_dir(ROOT).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

#[test]
fn linters_find_nothing_in_the_dockerfile_and_the_scripts() -> anyhow::Result<()> {
    lint("hadolint", "infra/Dockerfile")?;
    lint("shellcheck", "infra/deploy")?;
    lint("shellcheck", "tests/template/stand_in.sh")?;
    lint("shellcheck", ".ci/run")
}

#[test]
fn the_image_has_one_program_as_nobody_on_a_base_that_is_pinned() {
    let images = || {
        DOCKERFILE
            .lines()
            .filter(|line| line.starts_with("ARG ") && line.contains('='))
    };
    assert_eq!(images().count(), 2);
    for image in images() {
        let digest = image
            .split_once("@sha256:")
            .map(|(_, digest)| digest)
            .unwrap_or_default();
        assert!(
            digest.len() == 64 && digest.chars().all(|letter| letter.is_ascii_hexdigit()),
            "{image}"
        );
    }
    let last = DOCKERFILE
        .split("FROM ${BASE}")
        .nth(1)
        .expect("a last stage");
    let steps: Vec<&str> = last
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    assert_eq!(
        steps,
        [
            "COPY --from=build /auditferry-worker /auditferry-worker",
            "USER 65532:65532",
            "ENTRYPOINT [\"/auditferry-worker\"]",
        ]
    );
    // Whatever is not in the repository is no part of the image.
    assert!(!DOCKERFILE.contains("# syntax="));
}

/// A folder of programs that stand in for those that the script calls.
fn stand_ins(folder: &Path) -> anyhow::Result<PathBuf> {
    let programs = folder.join("bin");
    fs::create_dir_all(&programs)?;
    for name in [
        "aws",
        "cargo",
        "cargo-auditable",
        "cargo-lambda",
        "docker",
        "git",
        "sam",
    ] {
        let program = programs.join(name);
        if !program.exists() {
            symlink(STAND_IN, program)?;
        }
    }
    Ok(programs)
}

/// Runs the script as of a checkout with nothing else in it; what it said, and what it called.
fn deploy(folder: &Path, arguments: &[&str]) -> anyhow::Result<(Output, String)> {
    let programs = stand_ins(folder)?;
    drop(fs::remove_file(folder.join("calls")));
    let script = folder.join("infra/deploy");
    fs::create_dir_all(folder.join("infra"))?;
    fs::copy(Path::new(ROOT).join("infra/deploy"), &script)?;
    // Not by itself: it may be busy still, for a process that another test has just begun.
    let output = Command::new("bash")
        .arg(script)
        .args(arguments)
        .env_clear()
        .env("HOME", folder)
        .env(
            "PATH",
            format!("{}:/usr/local/bin:/usr/bin:/bin", programs.display()),
        )
        .env("AWS_REGION", "us-east-1")
        .output()?;
    let calls = fs::read_to_string(folder.join("calls")).unwrap_or_default();
    Ok((output, calls))
}

#[test]
fn one_command_builds_pushes_and_deploys_and_can_be_run_again() -> anyhow::Result<()> {
    let folder = std::env::temp_dir().join(format!("deploy-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    for (nth, (arguments, docker, cargo)) in [
        (
            &["logs", "Clusters=*"][..],
            "--platform linux/arm64 ",
            "--arm64 ",
        ),
        (
            &["logs", "Architecture=x86_64"],
            "--platform linux/amd64 ",
            "--x86-64 ",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let (output, calls) = deploy(&folder, arguments)?;
        assert!(output.status.success(), "{output:?}");
        assert_eq!(calls.contains("create-repository"), nth == 0, "{calls}");
        assert!(calls.contains("create-service-linked-role"), "{calls}");
        let of = |program: &str| {
            calls
                .lines()
                .rfind(|line| line.starts_with(program))
                .unwrap_or_default()
        };
        assert!(of("docker buildx").contains(docker), "{calls}");
        assert!(of("cargo auditable lambda").contains(cargo), "{calls}");
        let deployed = of("sam deploy");
        let image = "WorkerImage=123456789012.dkr.ecr.us-east-1.amazonaws.com/auditferry-worker@sha256:0123";
        assert!(
            deployed.contains(image) && deployed.contains("--stack-name logs"),
            "{calls}"
        );
        assert!(deployed.ends_with(arguments[1]), "{calls}");
        let said = String::from_utf8_lossy(&output.stdout);
        let sizes = "the image has 24 MB compressed, the function 12 MB";
        assert!(said.contains(sizes), "{said}");
    }
    for arguments in [
        &[][..],
        &["--help"],
        &["Clusters=*"],
        &["logs", "WorkerImage=x"],
        &["logs", "Clusters"],
    ] {
        let (output, calls) = deploy(&folder, arguments)?;
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {output:?}");
        assert_eq!(calls, "", "{arguments:?}");
    }
    fs::remove_dir_all(&folder)?;
    Ok(())
}

#[test]
fn the_commands_of_the_readme_name_resources_that_there_are() -> anyhow::Result<()> {
    const README: &str = include_str!("../../../infra/README.md");
    let template = template()?;
    let named: BTreeSet<&str> = README
        .split("$(resource ")
        .skip(1)
        .filter_map(|after| after.split(')').next())
        .collect();
    assert!(named.len() > 4, "{named:?}");
    for name in named {
        assert!(template["Resources"][name].is_object(), "{name}");
    }
    Ok(())
}
