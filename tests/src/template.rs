//! The CloudFormation template of production: translated and linted by AWS's own tools, and resolved for given parameters.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, bail, ensure};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::stack::{ACCOUNT, REGION};
use crate::venv;

/// The template as it is written.
const TEMPLATE: &str = include_str!("../../infra/template.yaml");

/// Every package that translates and lints, with the hashes of its files.
const REQUIREMENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/template/requirements.txt");

/// Translates and lints.
const CHECK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/template/check.py");

/// What resources are called by whatever refers to the stack.
pub const STACK: &str = "auditferry";

/// The one parameter that has no default.
pub const IMAGE: (&str, &str) = ("WorkerImage", "registry/auditferry-worker:1");

/// Values of parameters, by name; the rest have their defaults.
pub type Parameters<'a> = &'a [(&'a str, &'a str)];

/// What became of a template.
#[derive(Debug, Clone, Deserialize)]
pub struct Checked {
    /// Without AWS SAM; `None` if it could not be translated.
    pub translated: Option<Value>,
    /// What the linter has found.
    pub findings: Vec<String>,
}

/// The template, parsed.
pub fn template() -> anyhow::Result<Value> {
    serde_saphyr::from_str(TEMPLATE).context("parse infra/template.yaml")
}

/// Translates each, and finds nothing else.
pub fn translate(templates: &[Value]) -> anyhow::Result<Vec<Checked>> {
    run("translate", templates)
}

/// Translates and lints each, which takes some seconds. The first time this installs what it needs, which takes a while and the network.
pub fn check(templates: &[Value]) -> anyhow::Result<Vec<Checked>> {
    run("lint", templates)
}

fn run(how: &str, templates: &[Value]) -> anyhow::Result<Vec<Checked>> {
    let python = venv::python(REQUIREMENTS).context("install the linter")?;
    let mut child = Command::new(python)
        .args(["-I", "-B", CHECK, how])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut input = child.stdin.take().context("it has no input")?;
    let templates = serde_json::to_vec(templates)?;
    let written = thread::spawn(move || input.write_all(&templates));
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "check.py failed: {said}");
    written.join().expect("it does not panic")?;
    serde_json::from_slice(&output.stdout).context("read what check.py found")
}

/// The template as CloudFormation would carry it out, for these parameters.
///
/// Conditions and intrinsic functions are replaced by what they stand for. Attributes of resources that are known only
/// later are made up: queues, tables and the like have ARNs of the right form, named by their logical ids.
pub fn resolve(template: &Value, parameters: Parameters<'_>) -> anyhow::Result<Value> {
    let mut values = BTreeMap::new();
    for (name, declared) in members(template, "Parameters") {
        let given = parameters.iter().find(|(of, _)| of == name);
        let default = declared.get("Default").cloned();
        let value = given.map_or(default, |(_, value)| Some(Value::from(*value)));
        let mut value = value.with_context(|| format!("{name} has no value"))?;
        if declared["Type"] == "CommaDelimitedList" {
            value = text(&value).split(',').map(Value::from).collect();
        }
        values.insert(name.as_str(), value);
    }
    if let Some((unknown, _)) = parameters
        .iter()
        .find(|(name, _)| !values.contains_key(name))
    {
        bail!("there is no parameter {unknown}");
    }
    let resolver = Resolver { template, values };
    let mut resolved = Map::new();
    for section in ["Resources", "Outputs"] {
        let mut kept = Map::new();
        for (name, member) in members(template, section) {
            if member
                .get("Condition")
                .map_or(Ok(true), |name| resolver.condition(text(name).as_str()))?
                && let Some(member) = resolver.value(member)?
            {
                kept.insert(name.clone(), member);
            }
        }
        resolved.insert(section.to_owned(), kept.into());
    }
    Ok(resolved.into())
}

/// A section's members.
pub fn members<'t>(
    template: &'t Value,
    section: &str,
) -> impl Iterator<Item = (&'t String, &'t Value)> {
    let section = template.get(section).and_then(Value::as_object);
    section.into_iter().flatten()
}

/// Resources of a type.
pub fn of_type<'t>(
    template: &'t Value,
    kind: &str,
) -> impl Iterator<Item = (&'t String, &'t Value)> {
    members(template, "Resources").filter(move |(_, resource)| resource["Type"] == kind)
}

struct Resolver<'t> {
    template: &'t Value,
    values: BTreeMap<&'t str, Value>,
}

impl Resolver<'_> {
    /// `None` where the property is as if it were not there.
    fn value(&self, value: &Value) -> anyhow::Result<Option<Value>> {
        Ok(Some(match value {
            Value::Object(object) => match object.iter().next() {
                Some((name, argument))
                    if object.len() == 1 && (name == "Ref" || name.starts_with("Fn::")) =>
                {
                    return self
                        .function(name, argument)
                        .with_context(|| format!("{name} of {argument}"));
                }
                _ => {
                    let mut resolved = Map::new();
                    for (name, member) in object {
                        if let Some(member) = self.value(member)? {
                            resolved.insert(name.clone(), member);
                        }
                    }
                    resolved.into()
                }
            },
            Value::Array(array) => {
                let mut resolved = Vec::new();
                for member in array {
                    resolved.extend(self.value(member)?);
                }
                resolved.into()
            }
            scalar => scalar.clone(),
        }))
    }

    fn function(&self, name: &str, argument: &Value) -> anyhow::Result<Option<Value>> {
        Ok(Some(match name {
            "Ref" => return self.reference(&text(argument)),
            "Fn::GetAtt" => self.attribute(&text(&argument[0]), &text(&argument[1]))?,
            "Fn::Sub" => self.substituted(argument)?.into(),
            "Fn::If" => {
                let branch = 1 + usize::from(!self.condition(&text(&argument[0]))?);
                return self.value(&argument[branch]);
            }
            "Fn::FindInMap" => {
                let keys = self.all(argument)?;
                let found = self
                    .template
                    .pointer(&format!("/Mappings/{}", keys.join("/")));
                found.context("there is no such entry")?.clone()
            }
            "Fn::Select" => self.all(argument)?.concat().into(),
            "Fn::GetAZs" => "zone-".into(),
            _ => bail!("this function is not known here"),
        }))
    }

    fn all(&self, arguments: &Value) -> anyhow::Result<Vec<String>> {
        let mut all = Vec::new();
        for argument in arguments.as_array().context("a list is expected")? {
            all.push(text(
                &self.value(argument)?.context("nothing is no argument")?,
            ));
        }
        Ok(all)
    }

    fn reference(&self, name: &str) -> anyhow::Result<Option<Value>> {
        Ok(Some(match name {
            "AWS::NoValue" => return Ok(None),
            "AWS::AccountId" => ACCOUNT.into(),
            "AWS::Region" => REGION.into(),
            "AWS::Partition" => "aws".into(),
            "AWS::StackName" => STACK.into(),
            "AWS::StackId" => {
                format!("arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{STACK}/1").into()
            }
            name => match self.values.get(name) {
                Some(value) => value.clone(),
                None => match self.resource(name)?["Type"].as_str() {
                    Some("AWS::SQS::Queue") => {
                        format!("https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{name}").into()
                    }
                    Some("AWS::SNS::Topic" | "AWS::ECS::TaskDefinition") => {
                        self.attribute(name, "Arn")?
                    }
                    _ => name.to_lowercase().into(),
                },
            },
        }))
    }

    fn resource(&self, name: &str) -> anyhow::Result<&Value> {
        let resource = self.template.pointer(&format!("/Resources/{name}"));
        resource.with_context(|| format!("there is no {name}"))
    }

    fn attribute(&self, name: &str, attribute: &str) -> anyhow::Result<Value> {
        let kind = text(&self.resource(name)?["Type"]);
        let id = name.to_lowercase();
        if attribute != "Arn" {
            return Ok(match attribute {
                "QueueName" => name.into(),
                _ => format!("{id}.{attribute}").into(),
            });
        }
        let (service, resource) = match kind.as_str() {
            "AWS::S3::Bucket" => return Ok(format!("arn:aws:s3:::{id}").into()),
            "AWS::IAM::Role" => return Ok(format!("arn:aws:iam::{ACCOUNT}:role/{id}").into()),
            "AWS::SQS::Queue" => ("sqs", name.to_owned()),
            "AWS::SNS::Topic" => ("sns", name.to_owned()),
            "AWS::DynamoDB::Table" => ("dynamodb", format!("table/{id}")),
            "AWS::KMS::Key" => ("kms", format!("key/{id}")),
            "AWS::Logs::LogGroup" => ("logs", format!("log-group:{id}:*")),
            "AWS::Lambda::Function" | "AWS::Serverless::Function" => {
                ("lambda", format!("function:{id}"))
            }
            "AWS::CloudWatch::Alarm" => ("cloudwatch", format!("alarm:{id}")),
            "AWS::ECS::TaskDefinition" => ("ecs", format!("task-definition/{id}:1")),
            _ => bail!("the ARN of {kind} is not known here"),
        };
        Ok(format!("arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}").into())
    }

    fn substituted(&self, argument: &Value) -> anyhow::Result<String> {
        let (pattern, own) = match argument.as_array().map(Vec::as_slice) {
            Some([pattern, variables]) => {
                let variables = self.value(variables)?;
                (text(pattern), variables.context("it has no variables")?)
            }
            _ => (text(argument), Value::Null),
        };
        let mut pieces = pattern.split("${");
        let mut whole = pieces.next().unwrap_or_default().to_owned();
        for piece in pieces {
            let (name, rest) = piece.split_once('}').context("a brace is not closed")?;
            if let Some(literal) = name.strip_prefix('!') {
                whole.extend(["${", literal, "}", rest]);
                continue;
            }
            let value = match (own.get(name), name.split_once('.')) {
                (Some(own), _) => own.clone(),
                (None, Some((resource, attribute))) => self.attribute(resource, attribute)?,
                (None, None) => self.reference(name)?.context("nothing is no text")?,
            };
            whole.push_str(&text(&value));
            whole.push_str(rest);
        }
        Ok(whole)
    }

    fn condition(&self, name: &str) -> anyhow::Result<bool> {
        let condition = self.template.pointer(&format!("/Conditions/{name}"));
        self.holds(condition.with_context(|| format!("there is no condition {name}"))?)
    }

    fn holds(&self, condition: &Value) -> anyhow::Result<bool> {
        let (function, argument) = condition
            .as_object()
            .and_then(|object| object.iter().next())
            .with_context(|| format!("{condition} is no condition"))?;
        let each = || argument.as_array().into_iter().flatten();
        match function.as_str() {
            "Condition" => self.condition(&text(argument)),
            "Fn::Equals" => {
                let sides = self.all(argument)?;
                Ok(sides.first() == sides.get(1))
            }
            "Fn::Not" => Ok(!self.holds(&argument[0])?),
            "Fn::And" => each().try_fold(true, |all, one| Ok(all && self.holds(one)?)),
            "Fn::Or" => each().try_fold(false, |any, one| Ok(any || self.holds(one)?)),
            _ => bail!("{function} is no condition"),
        }
    }
}

/// A scalar as text: CloudFormation compares and joins them so.
pub fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}
