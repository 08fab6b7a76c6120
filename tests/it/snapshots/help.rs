//! `--help` of every program and every command.

use std::collections::BTreeMap;
use std::process::Command as Process;

use clap::{Command, CommandFactory};
use producer::cli::Cli;
use tests::programs::{self, Environment};
use tests::regenerate;
use worker::config::Settings;

/// The programs that cargo's aliases run.
const TOOLS: [(&str, &str); 4] = [
    ("bench-fleet", env!("CARGO_BIN_EXE_bench-fleet")),
    ("demo", env!("CARGO_BIN_EXE_demo")),
    ("scale", env!("CARGO_BIN_EXE_scale")),
    ("soak", env!("CARGO_BIN_EXE_soak")),
];

/// The command itself, and all below it: the words that one types.
fn commands(command: &Command) -> Vec<Vec<String>> {
    let mut all = vec![Vec::new()];
    for below in command.get_subcommands() {
        for rest in commands(below) {
            all.push([vec![below.get_name().to_owned()], rest].concat());
        }
    }
    all
}

#[tokio::test]
async fn help_of_every_program_and_command() -> anyhow::Result<()> {
    let mut texts = BTreeMap::new();
    for (program, commands) in [
        ("auditferry", commands(&Cli::command())),
        ("auditferry-worker", commands(&Settings::command())),
        ("bootstrap", vec![Vec::new()]),
    ] {
        for command in commands {
            let name = [&[program.to_owned()], &command[..]].concat().join(" ");
            let mut arguments: Vec<&str> = command.iter().map(String::as_str).collect();
            arguments.push("--help");
            let ended = programs::run(program, &arguments, &Environment::new()).await?;
            assert_eq!(ended.code(), Some(0), "{name}: {ended:?}");
            assert_eq!(ended.stderr, "", "{name}");
            let file = format!("{}.txt", name.replace(' ', "-"));
            texts.insert(file, format!("$ {name} --help\n{}", ended.stdout));
        }
    }
    for (tool, path) in TOOLS {
        let output = Process::new(path).arg("--help").env_clear().output()?;
        assert!(output.status.success(), "{tool}: {output:?}");
        let help = String::from_utf8(output.stdout)?;
        let text = format!("$ cargo {tool} --help\n{help}");
        texts.insert(format!("cargo-{tool}.txt"), text);
    }
    regenerate::snapshots("help", &texts)
}
