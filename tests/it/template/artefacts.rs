//! What is built and deployed: the image, and the script that does it all.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tests::venv;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const DOCKERFILE: &str = include_str!("../../../infra/Dockerfile");
const REQUIREMENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/template/requirements.txt");

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
    lint("shellcheck", ".ci/run")
}

#[test]
fn the_image_has_one_program_as_nobody_on_a_base_that_is_pinned() {
    let images: Vec<&str> = DOCKERFILE
        .lines()
        .filter(|line| line.starts_with("ARG "))
        .collect();
    assert_eq!(images.len(), 2);
    for image in images {
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
            "COPY --from=build /source/target/release/auditferry-worker /auditferry-worker",
            "USER 65532:65532",
            "ENTRYPOINT [\"/auditferry-worker\"]",
        ]
    );
    // Whatever is not in the repository is no part of the image.
    assert!(!DOCKERFILE.contains("# syntax="));
}

/// Programs that say what they are asked for, and answer as the real ones would.
fn stand_ins(folder: &Path) -> anyhow::Result<PathBuf> {
    let programs = folder.join("bin");
    fs::create_dir_all(&programs)?;
    for (name, answers) in [
        (
            "aws",
            "case \"$*\" in\n\
             *get-caller-identity*) echo 123456789012 ;;\n\
             *get-role*) exit 254 ;;\n\
             *create-repository*) touch \"$HOME/repository\" ;;\n\
             *describe-repositories*) test -e \"$HOME/repository\" && echo 123456789012.dkr.ecr.us-east-1.amazonaws.com/auditferry-worker ;;\n\
             *get-login-password*) echo password ;;\n\
             *describe-images*) echo sha256:0123 ;;\n\
             esac",
        ),
        ("docker", "if [ \"$1\" = login ]; then cat >/dev/null; fi"),
        ("cargo", ":"),
        ("cargo-lambda", ":"),
        ("sam", ":"),
    ] {
        let path = programs.join(name);
        fs::write(
            &path,
            format!("#!/bin/sh\necho \"{name} $*\" >> \"$HOME/calls\"\n{answers}\n"),
        )?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(programs)
}

fn deploy(folder: &Path, arguments: &[&str]) -> anyhow::Result<(Output, String)> {
    let programs = stand_ins(folder)?;
    drop(fs::remove_file(folder.join("calls")));
    let output = Command::new("infra/deploy")
        .args(arguments)
        .current_dir(ROOT)
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
        assert!(of("cargo lambda").contains(cargo), "{calls}");
        let deployed = of("sam deploy");
        let image = "WorkerImage=123456789012.dkr.ecr.us-east-1.amazonaws.com/auditferry-worker@sha256:0123";
        assert!(
            deployed.contains(image) && deployed.contains("--stack-name logs"),
            "{calls}"
        );
        assert!(deployed.ends_with(arguments[1]), "{calls}");
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
