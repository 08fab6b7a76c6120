//! Settings that every program has, how values are read, and what becomes of bad ones.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use bytesize::ByteSize;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, Parser};

use crate::roots::Roots;
use crate::telemetry::LogFormat;

/// Exit status for a bad configuration: `EX_USAGE` of BSD's `sysexits.h`.
const EX_USAGE: u8 = 64;

/// Where things are, and how to log.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Settings of all programs")]
pub struct Common {
    /// The work queue's URL
    #[arg(long, env, global = true, value_name = "URL")]
    pub queue_url: Option<String>,
    /// The dead-letter queue's URL
    #[arg(long, env, global = true, value_name = "URL")]
    pub dead_letter_queue_url: Option<String>,
    /// The DynamoDB table that remembers what was shipped
    #[arg(long, env, global = true, value_name = "NAME")]
    pub checkpoint_table: Option<String>,
    /// The archive's bucket
    #[arg(long, env, global = true, value_name = "NAME")]
    pub s3_bucket: Option<String>,
    /// What object keys in the archive begin with; a folder ends in a slash
    #[arg(
        long,
        env,
        global = true,
        value_name = "PREFIX",
        hide_default_value = true,
        default_value = ""
    )]
    pub s3_prefix: String,
    /// A file of the certificates to trust, in PEM [default: the system's]
    #[arg(long, env, global = true, value_name = "FILE")]
    pub aws_ca_bundle: Option<PathBuf>,
    /// CloudWatch namespace of the metrics that worker and Lambda function print for it [default: no metrics]
    #[arg(long, env, global = true, value_name = "NAMESPACE")]
    pub metrics_namespace: Option<String>,
    /// json or text [default: text on a terminal, else json]
    #[arg(
        long,
        env,
        global = true,
        value_enum,
        ignore_case = true,
        value_name = "FORMAT",
        hide_possible_values = true
    )]
    pub log_format: Option<LogFormat>,
    /// What to log, e.g. info or worker=debug,info
    #[arg(long, env, global = true, value_name = "FILTER", default_value = "info", value_parser = log_filter)]
    pub rust_log: String,
}

/// A setting that is missing or makes no sense, said so that it can be mended: names the variable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadSetting(pub String);

impl BadSetting {
    /// What to say of a setting that has no default and no value.
    pub fn missing(variable: &str, meaning: &str) -> Self {
        Self(format!(
            "{variable} is not set (flag --{}): {meaning}",
            variable.to_lowercase().replace('_', "-")
        ))
    }
}

impl Common {
    /// `QUEUE_URL`, which must be set.
    pub fn queue_url(&self) -> Result<String, BadSetting> {
        required("QUEUE_URL", "the work queue's URL", self.queue_url.as_ref())
            .and_then(|url| queue_url("QUEUE_URL", url))
    }

    fn dead_letter_queue_url(&self) -> Result<String, BadSetting> {
        required(
            "DEAD_LETTER_QUEUE_URL",
            "the dead-letter queue's URL",
            self.dead_letter_queue_url.as_ref(),
        )
        .and_then(|url| queue_url("DEAD_LETTER_QUEUE_URL", url))
    }

    /// Both queues, which must be two: else a dead letter would come back as a message.
    pub fn queue_urls(&self) -> Result<(String, String), BadSetting> {
        let (queue, dead_letters) = (self.queue_url()?, self.dead_letter_queue_url()?);
        if queue == dead_letters {
            return Err(BadSetting(
                "DEAD_LETTER_QUEUE_URL is the same as QUEUE_URL".to_owned(),
            ));
        }
        Ok((queue, dead_letters))
    }

    /// `CHECKPOINT_TABLE`, which must be set.
    pub fn checkpoint_table(&self) -> Result<String, BadSetting> {
        required(
            "CHECKPOINT_TABLE",
            "the DynamoDB table's name",
            self.checkpoint_table.as_ref(),
        )
    }

    /// `S3_BUCKET`, which must be set.
    pub fn s3_bucket(&self) -> Result<String, BadSetting> {
        required("S3_BUCKET", "the archive's bucket", self.s3_bucket.as_ref())
    }

    /// `S3_PREFIX`, if it is one that keys can begin with.
    pub fn s3_prefix(&self) -> Result<String, BadSetting> {
        let prefix = &self.s3_prefix;
        let folders = prefix.strip_suffix('/').unwrap_or(prefix);
        let sound = prefix.is_empty()
            || folders
                .split('/')
                .all(|part| !matches!(part, "" | "." | ".."));
        if !sound || prefix.contains(char::is_control) {
            return Err(BadSetting(format!(
                "S3_PREFIX is {prefix:?}: it may not begin with a slash, nor have empty segments, segments of dots or control characters"
            )));
        }
        Ok(prefix.clone())
    }

    /// The certificates to trust: those of `AWS_CA_BUNDLE`, if it is set.
    pub fn roots(&self) -> Result<Roots, BadSetting> {
        Roots::read(self.aws_ca_bundle.as_deref())
    }

    /// Starts logging.
    pub fn start_logging(&self) {
        crate::telemetry::init(
            self.log_format.unwrap_or_else(LogFormat::fitting),
            &self.rust_log,
        );
    }
}

fn required(variable: &str, meaning: &str, value: Option<&String>) -> Result<String, BadSetting> {
    value
        .cloned()
        .ok_or_else(|| BadSetting::missing(variable, meaning))
}

fn queue_url(variable: &str, url: String) -> Result<String, BadSetting> {
    if host(&url).is_none() {
        return Err(BadSetting(format!(
            "{variable} is {url:?}: expected a URL such as https://sqs.REGION.amazonaws.com/ACCOUNT/NAME"
        )));
    }
    Ok(url)
}

/// The host of an `http(s)` URL that has a path.
fn host(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_once("://")?;
    let (authority, path) = rest.split_once('/')?;
    let host = authority.split(':').next()?;
    (matches!(scheme, "http" | "https") && !host.is_empty() && !path.is_empty()).then_some(host)
}

/// Checks that a queue whose URL names a region is in the region that requests are signed for.
pub fn check_region(variable: &str, queue_url: &str, region: &str) -> Result<(), BadSetting> {
    match named_region(queue_url) {
        Some(named) if named != region => Err(BadSetting(format!(
            "{variable} is in region {named}, but AWS_REGION is {region}: a worker serves one region"
        ))),
        _ => Ok(()),
    }
}

/// The region in the host of a queue's URL; `None` where the host names none.
///
/// <https://docs.aws.amazon.com/general/latest/gr/sqs-service.html>
fn named_region(queue_url: &str) -> Option<&str> {
    let host = host(queue_url)?;
    let of_aws = [
        ".amazonaws.com",
        ".amazonaws.com.cn",
        ".api.aws",
        ".api.amazonwebservices.com.cn",
    ];
    let name = of_aws.iter().find_map(|suffix| host.strip_suffix(suffix))?;
    let modern = name
        .strip_prefix("sqs.")
        .or_else(|| name.strip_prefix("sqs-fips."));
    modern
        .or_else(|| name.strip_suffix(".queue"))
        .filter(|region| !region.contains('.'))
}

/// Reads a duration: `90s`, `15m`, `1h30m`.
pub fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("{error}; write it like 90s, 15m or 1h"))
}

/// Reads a size: `256MiB`.
pub fn size(text: &str) -> Result<u64, String> {
    text.parse::<ByteSize>()
        .map(|size| size.0)
        .map_err(|error| format!("{error}; write it like 256MiB"))
}

/// Checks what `RUST_LOG` says.
fn log_filter(text: &str) -> Result<String, String> {
    let checked = tracing_subscriber::EnvFilter::builder().parse(text);
    checked
        .map(|_| text.to_owned())
        .map_err(|error| error.to_string())
}

/// The settings of `T` as a command line in which an empty variable is unset.
fn command<T: Parser>(defaults: &BTreeMap<String, String>) -> Command {
    let settle = |arg: Arg| unset_if_empty(with_default(arg, defaults));
    T::command()
        .mut_args(settle)
        .mut_subcommands(|command| command.mut_args(settle))
}

fn with_default(arg: Arg, defaults: &BTreeMap<String, String>) -> Arg {
    let variable = arg.get_env().and_then(|variable| variable.to_str());
    match variable.and_then(|variable| defaults.get(variable)) {
        // clap keeps defaults for as long as the program runs.
        Some(value) => arg.default_value(&*value.clone().leak()),
        None => arg,
    }
}

fn unset_if_empty(arg: Arg) -> Arg {
    #[expect(
        clippy::disallowed_methods,
        reason = "settings are read here and by clap only"
    )]
    let empty = arg
        .get_env()
        .is_some_and(|variable| std::env::var_os(variable).is_some_and(|value| value.is_empty()));
    if empty { arg.env(None) } else { arg }
}

/// Reads flags and environment; `Err` is the exit code after what there was to say has been said.
pub fn read<T: Parser>() -> Result<T, ExitCode> {
    read_with(&BTreeMap::new())
}

/// The same, with other defaults, by variable.
pub fn read_with<T: Parser>(defaults: &BTreeMap<String, String>) -> Result<T, ExitCode> {
    let parsed = command::<T>(defaults)
        .try_get_matches()
        .and_then(|matches| T::from_arg_matches(&matches));
    parsed.map_err(|error| {
        if !error.use_stderr() {
            print_help(&error);
            return ExitCode::SUCCESS;
        }
        refuse(&BadSetting(one_line(&error)))
    })
}

#[expect(clippy::print_stdout, reason = "--help and --version are asked for")]
fn print_help(help: &clap::Error) {
    print!("{help}");
}

/// Says what is wrong with the configuration, on one line; the exit code for it.
#[expect(clippy::print_stderr, reason = "before logging exists")]
pub fn refuse(bad: &BadSetting) -> ExitCode {
    eprintln!("bad configuration: {bad}");
    ExitCode::from(EX_USAGE)
}

/// clap's first paragraph on one line, behind the variable that it is about.
fn one_line(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "no command is given; try --help".to_owned();
    }
    let report = error.render().to_string();
    let paragraph = report.split("\n\n").next().unwrap_or_default();
    let words: Vec<&str> = paragraph
        .trim_start_matches("error: ")
        .split_whitespace()
        .collect();
    let flag = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(flag)) if error.kind() != ErrorKind::UnknownArgument => {
            flag.trim_start_matches("--")
        }
        _ => return words.join(" "),
    };
    let variable = flag
        .split(' ')
        .next()
        .unwrap_or_default()
        .to_uppercase()
        .replace('-', "_");
    format!("{variable}: {}", words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_read_where_the_host_names_one() {
        for (url, region) in [
            (
                "https://sqs.eu-central-1.amazonaws.com/123456789012/q",
                Some("eu-central-1"),
            ),
            (
                "https://sqs.cn-north-1.amazonaws.com.cn/123456789012/q",
                Some("cn-north-1"),
            ),
            (
                "https://sqs-fips.us-gov-west-1.amazonaws.com/1/q",
                Some("us-gov-west-1"),
            ),
            ("https://sqs.us-east-1.api.aws/1/q", Some("us-east-1")),
            (
                "https://eu-west-1.queue.amazonaws.com/1/q",
                Some("eu-west-1"),
            ),
            ("https://queue.amazonaws.com/1/q", None),
            ("https://vpce-1.sqs.eu-west-1.vpce.amazonaws.com/1/q", None),
            ("http://127.0.0.1:4566/000000000000/q", None),
            ("http://sqs.us-east-1.localhost:4566/1/q", None),
        ] {
            assert_eq!(named_region(url), region, "{url}");
        }
        let error = check_region(
            "QUEUE_URL",
            "https://sqs.eu-central-1.amazonaws.com/1/q",
            "us-east-1",
        )
        .unwrap_err();
        assert!(error.to_string().contains("QUEUE_URL"), "{error}");
    }

    #[test]
    fn prefixes_are_checked() {
        let common = |prefix: &str| Common {
            queue_url: None,
            dead_letter_queue_url: None,
            checkpoint_table: None,
            s3_bucket: None,
            s3_prefix: prefix.to_owned(),
            aws_ca_bundle: None,
            metrics_namespace: None,
            log_format: None,
            rust_log: String::new(),
        };
        for (prefix, sound) in [
            ("", true),
            ("logs/", true),
            ("team-", true),
            ("a/b/c-", true),
            ("/", false),
            ("/logs/", false),
            ("a//b", false),
            ("../", false),
            ("a/..", false),
            ("a\n", false),
        ] {
            assert_eq!(common(prefix).s3_prefix().is_ok(), sound, "{prefix:?}");
        }
    }

    #[test]
    fn values_are_read() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1h"), Ok(Duration::from_hours(1)));
        assert!(duration("90").unwrap_err().contains("90s, 15m or 1h"));
        assert_eq!(size("256MiB"), Ok(256 << 20));
        assert!(size("lots").unwrap_err().contains("256MiB"));
    }
}
