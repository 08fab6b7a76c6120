//! The CloudFormation template: what linters find, what they overlook, who may do what, and whether it fits the programs.

// What must be true of it that no linter knows.
mod rules;
// Mistakes, planted to see that something finds them.
mod plants;
// What the trade makes rules of.
mod policy;
// The image and the script.
mod artefacts;
// Who may do what, and who may not.
mod access;
// What the programs really ask for.
mod requests;
// The variables of the template are the settings of the programs.
mod settings;
// How many workers there are, minute by minute.
mod scaling;
// Queues, table and bucket as CloudFormation makes them, and a journey through them.
mod stack;

use std::sync::OnceLock;

use serde_json::Value;
use tests::template::{check, template, translate};

#[test]
fn linters_find_nothing_in_the_template_and_its_translation() -> anyhow::Result<()> {
    let checked = check(&[template()?])?.remove(0);
    assert_eq!(checked.findings, Vec::<String>::new());
    let translated = checked.translated.expect("nothing was found");
    assert_eq!(rules::broken(&translated)?, Vec::<String>::new());
    Ok(())
}

/// The one that is deployed, without AWS SAM; translated once for all tests.
fn translated() -> anyhow::Result<Value> {
    static TRANSLATED: OnceLock<Result<Value, String>> = OnceLock::new();
    let translate = || {
        let template = template().map_err(|error| format!("{error:#}"))?;
        let checked = translate(&[template]).map_err(|error| format!("{error:#}"))?;
        let checked = checked.into_iter().next().ok_or("nothing was checked")?;
        checked
            .translated
            .ok_or(format!("it cannot be translated: {:?}", checked.findings))
    };
    let translated = TRANSLATED.get_or_init(translate).clone();
    translated.map_err(anyhow::Error::msg)
}
