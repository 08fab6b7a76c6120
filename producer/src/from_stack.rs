//! Settings as a deployed stack has them, so that people need not copy them.

use std::collections::BTreeMap;

use aws_sdk_cloudformation::types::Stack;
use shared::aws::{self, CallError};
use shared::config::BadSetting;
use shared::roots::Roots;

/// What the outputs of a stack say, by variable. Some may be no settings. `Err`: there is no such stack here, or we may
/// not ask.
pub async fn read(stack: &str, roots: &Roots) -> Result<BTreeMap<String, String>, BadSetting> {
    let unreadable = |why: String| BadSetting(format!("--from-stack {stack}: {why}"));
    let sdk_config = aws::load(roots).await;
    if sdk_config.region().is_none() {
        return Err(unreadable(aws::Unusable::NoRegion.to_string()));
    }
    let cloudformation = aws::cloudformation(&sdk_config);
    let answer = cloudformation.describe_stacks().stack_name(stack).send();
    let answer = answer
        .await
        .map_err(|error| unreadable(CallError::new("DescribeStacks", &error).to_string()))?;
    let outputs = answer.stacks().iter().flat_map(Stack::outputs);
    let outputs: BTreeMap<String, String> = outputs
        .filter_map(|output| {
            Some((
                variable(output.output_key()?),
                output.output_value()?.to_owned(),
            ))
        })
        .collect();
    if outputs.contains_key("QUEUE_URL") {
        Ok(outputs)
    } else {
        Err(unreadable(
            "it has no output QueueUrl, so it is not Auditferry's, or not deployed yet".to_owned(),
        ))
    }
}

/// The variable of an output: `DeadLetterQueueUrl` is `DEAD_LETTER_QUEUE_URL`.
pub fn variable(output: &str) -> String {
    let mut variable = String::new();
    for (place, letter) in output.char_indices() {
        if letter.is_uppercase() && place > 0 {
            variable.push('_');
        }
        variable.push(letter.to_ascii_uppercase());
    }
    variable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_named_like_variables() {
        for (output, name) in [
            ("QueueUrl", "QUEUE_URL"),
            ("DeadLetterQueueUrl", "DEAD_LETTER_QUEUE_URL"),
            ("S3Bucket", "S3_BUCKET"),
            ("Clusters", "CLUSTERS"),
        ] {
            assert_eq!(variable(output), name);
        }
    }
}
