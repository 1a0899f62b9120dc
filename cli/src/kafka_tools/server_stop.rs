//! `kafka-server-stop`: asks the nodes that run on this machine to stop in good order.

use super::{
    Tool,
    options::{Options, Spec},
};
use crate::{output::Failure, properties};
use rustix::process::{Pid, Signal, getuid, kill_process};
use std::{
    collections::BTreeMap,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::ExitCode,
};

pub const TOOL: Tool = Tool {
    name: "kafka-server-stop",
    about: "This tool stops the nodes that run on this machine, those of a role or with an id if it is asked.",
    options: OPTIONS,
    instead: &[],
    log: Some("error"),
    run,
};

const OPTIONS: &[Spec] = &[
    Spec::value(&["--process-role"], "ROLE", "Only nodes with this role: broker or controller."),
    Spec::value(&["--node-id"], "ID", "Only the node with this node.id."),
];

fn run(options: &Options) -> Result<ExitCode, Failure> {
    let wanted: Vec<(&str, &str)> = [("--process-role", "process.roles"), ("--node-id", "node.id")]
        .into_iter()
        .filter_map(|(option, key)| Some((key, options.get(option)?)))
        .collect();
    let this = std::env::current_exe()?;
    let mut stopped = 0;
    for entry in
        std::fs::read_dir("/proc").map_err(|_| Failure::new("this tool needs /proc: stop the node with a signal"))?
    {
        let folder = entry?.path();
        let Some(pid) = folder.file_name().and_then(|name| Pid::from_raw(name.to_str()?.parse().ok()?)) else {
            continue;
        };
        let Some(config) = server_config(&folder, &this) else { continue };
        if is_wanted(&config, &wanted) && kill_process(pid, Signal::TERM).is_ok() {
            stopped += 1;
        }
    }
    match (stopped, wanted.is_empty()) {
        (0, true) => Err(Failure::new("No kafka server to stop")),
        (0, false) => Err(Failure::new("No kafka server with this role or id to stop")),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// The properties file of a process, if it is a node of this program and of this user.
fn server_config(folder: &Path, this: &Path) -> Option<PathBuf> {
    if std::fs::metadata(folder).ok()?.uid() != getuid().as_raw() {
        return None;
    }
    let program = std::fs::read_link(folder.join("exe")).ok()?;
    // A program that was replaced since has another name.
    let program = program.to_string_lossy().trim_end_matches(" (deleted)").to_owned();
    if Path::new(&program).file_name() != this.file_name() {
        return None;
    }
    #[allow(clippy::disallowed_methods, reason = "procfs is not a disk")]
    let line = std::fs::read(folder.join("cmdline")).ok()?;
    let arguments: Vec<String> =
        line.split(|byte| *byte == 0).map(|argument| String::from_utf8_lossy(argument).into_owned()).collect();
    let config = config_of(&arguments)?;
    let at = std::fs::read_link(folder.join("cwd")).ok()?;
    Some(at.join(config))
}

/// The properties file that a command line starts a node with.
fn config_of(arguments: &[String]) -> Option<PathBuf> {
    let (called, rest) = arguments.split_first()?;
    let called = Path::new(called).file_name()?.to_str()?;
    if called.strip_suffix(".sh").unwrap_or(called) == super::server_start::TOOL.name {
        let options =
            Options::parse(super::server_start::TOOL.options, rest.iter().filter(|text| !text.is_empty()).cloned());
        return options.ok().filter(|options| !options.has("-daemon"))?.rest.first().map(PathBuf::from);
    }
    let server = rest.iter().position(|argument| argument == "server")?;
    let mut rest = rest[server + 1..].iter();
    while let Some(argument) = rest.next() {
        if argument == "--config" || argument == "-c" {
            return rest.next().map(PathBuf::from);
        }
        if let Some(file) = argument.strip_prefix("--config=") {
            return Some(PathBuf::from(file));
        }
    }
    None
}

fn is_wanted(config: &Path, wanted: &[(&str, &str)]) -> bool {
    if wanted.is_empty() {
        return true;
    }
    let pairs: BTreeMap<String, String> = properties::read(config).unwrap_or_default().into_iter().collect();
    wanted
        .iter()
        .all(|(key, value)| pairs.get(*key).is_some_and(|list| list.split(',').any(|item| item.trim() == *value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_known_by_its_command_line() {
        let config = |line: &str| {
            let arguments: Vec<String> = line.split(' ').map(String::from).collect();
            config_of(&arguments).map(|path| path.to_string_lossy().into_owned())
        };
        assert_eq!(config("/usr/bin/gregor server --config a.properties").as_deref(), Some("a.properties"));
        assert_eq!(config("gregor --log info server -c a.properties").as_deref(), Some("a.properties"));
        assert_eq!(config("/opt/kafka-server-start.sh a.properties --override b=c").as_deref(), Some("a.properties"));
        assert_eq!(config("kafka-server-start.sh -daemon a.properties"), None);
        assert_eq!(config("gregor topic list"), None);
    }
}
