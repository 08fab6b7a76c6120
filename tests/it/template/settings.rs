//! The variables of the template are the settings of the programs, and the outputs are those of the operator's command.

use std::collections::BTreeSet;

use clap::{Command, CommandFactory, FromArgMatches};
use producer::cli::Cli;
use serde_json::Value;
use tests::template::{members, template, text};
use worker::config::Settings;

/// Settings that the template leaves alone, and why.
const LEFT: [(&str, &str); 8] = [
    (
        "AWS_CA_BUNDLE",
        "the image has the certificates of its distribution, and Lambda its own",
    ),
    ("ECS_AGENT_URI", "ECS sets it"),
    ("EXIT_WHEN_IDLE", "the service starts and stops workers"),
    ("CONCURRENCY", "the default follows the cores"),
    ("DOWNLOAD_CONNECT_TIMEOUT", "the default fits"),
    ("DOWNLOAD_IDLE_TIMEOUT", "the default fits"),
    ("DOWNLOAD_TIMEOUT", "the default fits"),
    (
        "AUDITFERRY_STACK",
        "names this stack to the operator's command",
    ),
];

fn variables(command: &Command) -> BTreeSet<String> {
    let arguments = command.get_arguments().filter_map(clap::Arg::get_env);
    arguments
        .map(|variable| variable.to_string_lossy().into_owned())
        .collect()
}

fn of_the_producer() -> BTreeSet<String> {
    let cli = Cli::command();
    let mut all = variables(cli.find_subcommand("enumerate").expect("there is one"));
    all.extend(variables(&cli));
    all
}

fn of_the_template() -> anyhow::Result<(BTreeSet<String>, BTreeSet<String>)> {
    let template = template()?;
    let property = |path: &str| {
        template
            .pointer(&format!("/Resources/{path}"))
            .expect("it is there")
    };
    let producer = property("Producer/Properties/Environment/Variables")
        .as_object()
        .expect("an object");
    let worker = property("WorkerTask/Properties/ContainerDefinitions/0/Environment")
        .as_array()
        .expect("a list");
    Ok((
        producer.keys().cloned().collect(),
        worker
            .iter()
            .map(|variable| text(&variable["Name"]))
            .collect(),
    ))
}

#[test]
fn every_variable_in_the_template_is_a_setting_and_the_other_way_round() -> anyhow::Result<()> {
    let (producer, worker) = of_the_template()?;
    let (of_producer, of_worker) = (of_the_producer(), variables(&Settings::command()));
    assert_eq!(
        producer.difference(&of_producer).collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "the producer has no such settings"
    );
    assert_eq!(
        worker.difference(&of_worker).collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "the worker has no such settings"
    );
    let set: BTreeSet<&String> = producer.union(&worker).collect();
    let all: BTreeSet<&String> = of_producer.union(&of_worker).collect();
    let unset: BTreeSet<&str> = all.difference(&set).map(|name| name.as_str()).collect();
    assert_eq!(
        unset,
        BTreeSet::from(LEFT.map(|(name, _why)| name)),
        "neither in the template nor left to a default"
    );
    Ok(())
}

#[test]
fn defaults_of_parameters_are_defaults_of_settings() -> anyhow::Result<()> {
    let template = template()?;
    let default = |name: &str| text(&template["Parameters"][name]["Default"]);
    let worker = Settings::from_arg_matches(&Settings::command().get_matches_from(["worker"]))?;
    let cli = Cli::command();
    let enumerate = cli.find_subcommand("enumerate").expect("there is one");
    let of_producer = |name: &str| {
        let argument = enumerate
            .get_arguments()
            .find(|argument| argument.get_id() == name)
            .expect("there is one");
        argument
            .get_default_values()
            .iter()
            .map(|value| value.to_string_lossy().into_owned())
            .collect::<String>()
    };
    for (parameter, setting) in [
        ("Settle", "settle"),
        ("Overlap", "overlap"),
        ("ResendAfter", "resend_after"),
    ] {
        assert_eq!(default(parameter), of_producer(setting), "{parameter}");
    }
    assert_eq!(default("MaxAttempts"), worker.max_attempts.to_string());
    assert_eq!(
        default("CompressionLevel"),
        worker::compress::Codec::DEFAULT_LEVEL.to_string()
    );
    assert_eq!(default("Compression"), "gzip");
    Ok(())
}

#[test]
fn outputs_are_the_settings_of_the_operators_command() -> anyhow::Result<()> {
    let template = template()?;
    let known = of_the_producer();
    let mut found = BTreeSet::new();
    for (name, output) in members(&template, "Outputs") {
        let description = text(&output["Description"]);
        let Some(variable) = description.strip_prefix("The setting ") else {
            continue;
        };
        assert_eq!(producer::from_stack::variable(name), variable);
        assert!(known.contains(variable), "{variable} is no setting");
        found.insert(variable.to_owned());
    }
    let (producer, worker) = of_the_template()?;
    let own = ["METRICS_NAMESPACE", "LOG_FORMAT", "RUST_LOG"];
    let wanted: BTreeSet<String> = known
        .into_iter()
        .filter(|name| {
            (producer.contains(name) || worker.contains(name)) && !own.contains(&name.as_str())
        })
        .collect();
    assert_eq!(found, wanted);
    assert!(
        matches!(
            template["Outputs"]["S3Prefix"]["Condition"],
            Value::String(_)
        ),
        "an output is never empty"
    );
    Ok(())
}
