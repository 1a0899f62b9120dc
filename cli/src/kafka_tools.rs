//! The names of Kafka's scripts: called by one of them, `gregor` is that tool, with its options and its output.
//!
//! The links are made by `gregor install-tools`. Options and output are those of Apache Kafka 4.3's own tools; what such a
//! tool can do and gregor cannot is refused with a line that says what to write instead.

mod configs;
mod console_consumer;
mod console_producer;
mod consumer_groups;
mod dump_log;
mod get_offsets;
mod options;
mod server_start;
mod server_stop;
mod storage;
mod topics;

use crate::{commands::ADMIN_TIMEOUT, logging::Wish, output::Failure, properties};
use client::{
    ClientError,
    admin::Admin,
    cluster::{Cluster, ClusterOptions},
};
use options::{OptionError, Options, Spec};
use regex::Regex;
use std::{path::Path, process::ExitCode, time::Duration};

/// One of Kafka's tools.
struct Tool {
    /// Its name, without `.sh`.
    name: &'static str,
    /// What it does, in a sentence.
    about: &'static str,
    /// What it takes.
    options: &'static [Spec],
    /// What Kafka's takes, or took, and this one does not: the option, and what to do instead.
    instead: &'static [(&'static str, &'static str)],
    /// What is logged unless asked otherwise; nothing where it starts its log itself.
    log: Option<&'static str>,
    run: fn(&Options) -> Result<ExitCode, Failure>,
}

const TOOLS: &[&Tool] = &[
    &topics::TOOL,
    &configs::TOOL,
    &console_producer::TOOL,
    &console_consumer::TOOL,
    &consumer_groups::TOOL,
    &get_offsets::TOOL,
    &server_start::TOOL,
    &server_stop::TOOL,
    &storage::TOOL,
    &dump_log::TOOL,
];

/// Options that every tool takes.
const HELP: Spec = Spec::flag(&["--help", "-h"], "Print usage information.");
const VERSION: Spec = Spec::flag(&["--version"], "Display gregor's version.");
/// Options of the tools that are clients.
const BOOTSTRAP: Spec =
    Spec::value(&["--bootstrap-server", "--broker-list"], "HOST:PORT,..", "The brokers to ask first.");
const COMMAND_CONFIG: Spec =
    Spec::value(&["--command-config"], "FILE", "Properties of the client: client.id and its timeouts.");
/// What ZooKeeper's address was given by, until Kafka 4.
const ZOOKEEPER: (&str, &str) = ("--zookeeper", "write --bootstrap-server HOST:PORT, there is no ZooKeeper");

/// The names of all tools, without `.sh`.
pub fn names() -> impl Iterator<Item = &'static str> {
    TOOLS.iter().map(|tool| tool.name)
}

/// Runs the tool whose name the program was called by; nothing if it is none of Kafka's.
pub fn run(called: &str, arguments: impl IntoIterator<Item = String>) -> Option<ExitCode> {
    let file = Path::new(called).file_name()?.to_str()?;
    let name = file.strip_suffix(".sh").unwrap_or(file);
    let tool = TOOLS.iter().find(|tool| tool.name == name)?;
    if let Some(default) = tool.log {
        Wish::of_environment().start(default);
    }
    Some(tool.call(arguments).unwrap_or_else(|failure| {
        eprintln!("{failure}");
        // Kafka's tools know no other code.
        ExitCode::FAILURE
    }))
}

impl Tool {
    fn call(&self, arguments: impl IntoIterator<Item = String>) -> Result<ExitCode, Failure> {
        let specs: Vec<Spec> = self.options.iter().copied().chain([HELP, VERSION]).collect();
        let options = Options::parse(&specs, arguments).map_err(|error| self.refusal(&error))?;
        if options.has("--help") {
            print!("{}", self.help(&specs));
            return Ok(ExitCode::SUCCESS);
        }
        if options.has("--version") {
            println!("gregor {}", env!("CARGO_PKG_VERSION"));
            return Ok(ExitCode::SUCCESS);
        }
        (self.run)(&options)
    }

    /// One line that says what is wrong, and what to write instead.
    fn refusal(&self, error: &OptionError) -> Failure {
        let instead = match error {
            OptionError::Unknown(option) => self.instead.iter().find(|(known, _)| known == option),
            _ => None,
        };
        let advice = instead.map_or_else(|| format!("see {} --help", self.name), |(_, text)| (*text).to_owned());
        Failure::new(format!("{error}: {advice}"))
    }

    fn help(&self, specs: &[Spec]) -> String {
        let mut text = format!("{}\n\n", self.about);
        let left = |spec: &Spec| {
            let names = spec.names.join(", ");
            spec.value.map_or(names.clone(), |value| format!("{names} <{value}>"))
        };
        let width = specs.iter().map(|spec| left(spec).len()).max().unwrap_or_default();
        for spec in specs {
            text += &format!("{:<width$}  {}\n", left(spec), spec.help);
        }
        text
    }
}

/// How a tool talks to the cluster, from `--bootstrap-server` and a file of properties.
struct ClientSettings {
    cluster: ClusterOptions,
    /// How long an administrative question may take (`default.api.timeout.ms`).
    timeout: Duration,
}

impl ClientSettings {
    /// Reads `--bootstrap-server` and the file that `config_option` names.
    fn new(options: &Options, config_option: &str) -> Result<Self, Failure> {
        let servers = options.get("--bootstrap-server");
        let servers = servers.ok_or_else(|| Failure::new("--bootstrap-server must be specified"))?;
        let servers = servers.split(',').map(str::trim).filter(|server| !server.is_empty());
        let mut settings = Self { cluster: ClusterOptions::new(servers), timeout: ADMIN_TIMEOUT };
        if let Some(file) = options.get(config_option) {
            for (key, value) in properties::read(Path::new(file))? {
                settings.set(&key, &value)?;
            }
        }
        Ok(settings)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), Failure> {
        match key {
            "client.id" => self.cluster.connection.client_id = value.to_owned(),
            "request.timeout.ms" => self.cluster.connection.request_timeout = milliseconds(key, value)?,
            "default.api.timeout.ms" => self.timeout = milliseconds(key, value)?,
            "bootstrap.servers" => {}
            "security.protocol" if value != "PLAINTEXT" => {
                return Err(Failure::new(format!("security.protocol {value} is not spoken here: only PLAINTEXT is")));
            }
            "security.protocol" => {}
            other => eprintln!("WARNING: the client property {other} has no effect here"),
        }
        Ok(())
    }

    fn admin(&self) -> Admin {
        Admin::new(Cluster::new(self.cluster.clone()), self.timeout)
    }
}

fn milliseconds(key: &str, value: &str) -> Result<Duration, Failure> {
    let wrong = |_| Failure::new(format!("{key}: '{value}' is not a number of milliseconds"));
    value.trim().parse().map(Duration::from_millis).map_err(wrong)
}

/// What a broker said against something, without the name of the error before it.
fn words(error: &ClientError) -> String {
    match error {
        ClientError::Broker { code, message } => message.clone().unwrap_or_else(|| code.message().to_owned()),
        other => other.to_string(),
    }
}

/// Topics by a regular expression of their whole name, in which a comma means "or" (`IncludableTopicFilter`).
struct TopicFilter {
    include: Option<Regex>,
    exclude_internal: bool,
}

impl TopicFilter {
    fn new(include: Option<&str>, exclude_internal: bool) -> Result<Self, Failure> {
        let compile = |text: &str| {
            let plain = text.replace(',', "|").replace(' ', "");
            let plain = plain.trim_matches(['"', '\'']);
            Regex::new(&format!("^(?:{plain})$")).map_err(|_| Failure::new(format!("{text} is an invalid regex.")))
        };
        Ok(Self { include: include.map(compile).transpose()?, exclude_internal })
    }

    fn allows(&self, name: &str, is_internal: bool) -> bool {
        let named = self.include.as_ref().is_none_or(|include| include.is_match(name));
        named && !(self.exclude_internal && is_internal)
    }

    /// The topics of the cluster that it lets through, in order.
    async fn topics(&self, admin: &Admin) -> Result<Vec<String>, ClientError> {
        let listed = admin.list_topics().await?.into_iter();
        Ok(listed.filter(|topic| self.allows(&topic.name, topic.is_internal)).map(|topic| topic.name).collect())
    }
}

/// Refuses an option that does not go with the action (`CommandLineUtils.checkInvalidArgs`).
fn goes_with(options: &Options, action: &str, rules: &[(&'static str, &[&str])]) -> Result<(), Failure> {
    for (option, actions) in rules {
        if options.has(option) && !actions.contains(&action) {
            let bare = |name: &str| name.trim_start_matches('-').to_owned();
            let (option, action) = (bare(option), bare(action));
            return Err(Failure::new(format!("Option \"[{option}]\" can't be used with option \"[{action}]\"")));
        }
    }
    Ok(())
}

/// The one of several actions that is asked for.
fn action(options: &Options, actions: &[&'static str], words: &str) -> Result<&'static str, Failure> {
    let asked: Vec<&'static str> = actions.iter().copied().filter(|action| options.has(action)).collect();
    match asked[..] {
        [one] => Ok(one),
        _ => Err(Failure::new(format!("Command must include exactly one action: {words}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_a_regular_expression_of_the_whole_name() {
        let filter = |text: &str| TopicFilter::new(Some(text), true).expect("a regular expression");
        assert!(filter("or.*").allows("orders", false));
        assert!(!filter("order").allows("orders", false));
        assert!(filter("a, orders").allows("orders", false));
        assert!(!filter(".*").allows("__consumer_offsets", true));
        assert!(TopicFilter::new(Some("("), true).is_err());
    }

    #[test]
    fn what_kafka_no_longer_takes_is_met_with_what_to_write() {
        let clients =
            [&topics::TOOL, &configs::TOOL, &console_producer::TOOL, &console_consumer::TOOL, &consumer_groups::TOOL];
        for tool in clients {
            let refusal =
                tool.call(["--zookeeper".to_owned(), "x:2181".to_owned()]).expect_err("there is no ZooKeeper");
            let said = refusal.what;
            assert!(said.contains("write --bootstrap-server HOST:PORT") && said.lines().count() == 1, "{said}");
        }
    }

    #[test]
    fn no_option_is_both_taken_and_refused() {
        for tool in TOOLS {
            for (option, _) in tool.instead {
                assert!(!tool.options.iter().any(|spec| spec.names.contains(option)), "{}: {option}", tool.name);
            }
            for spec in tool.options {
                assert!(spec.names.iter().all(|name| name.starts_with('-')), "{}", tool.name);
            }
        }
    }
}
