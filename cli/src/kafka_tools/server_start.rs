//! `kafka-server-start`: `gregor server` under its other name, in the foreground or behind.

use super::{
    Tool,
    options::{Options, Spec},
};
use crate::{commands::server::Server, logging::Wish, output::Failure};
use runtime::disk::Disk;
use std::{
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
};

pub const TOOL: Tool = Tool {
    name: "kafka-server-start",
    about: "USAGE: kafka-server-start [-daemon] server.properties [--override property=value]*",
    options: OPTIONS,
    instead: &[
        ("-name", "leave it out: a node is known by its node.id"),
        ("-loggc", "leave it out: there is no garbage collector"),
    ],
    log: None,
    run,
};

const OPTIONS: &[Spec] = &[
    Spec::flag(&["-daemon"], "Start it behind; what it says goes to kafkaServer.out in $LOG_DIR, or in ./logs."),
    Spec::values(&["--override"], "KEY=VALUE", "A property that overrides the file's."),
];
const OUTPUT: &str = "kafkaServer.out";

fn run(options: &Options) -> Result<ExitCode, Failure> {
    let [config] = &options.rest[..] else { return Err(Failure::new(TOOL.about)) };
    let overrides: Vec<String> = options.all("--override").map(String::from).collect();
    if options.has("-daemon") {
        return daemon(config, &overrides);
    }
    Server { config: Some(config.into()), container: false, overrides }.run(Wish::of_environment())
}

/// Starts the server detached from this process, as `kafka-run-class.sh` does.
fn daemon(config: &str, overrides: &[String]) -> Result<ExitCode, Failure> {
    if !PathBuf::from(config).is_file() {
        return Err(Failure::new(format!("{config} is not there")));
    }
    let folder = std::env::var_os("LOG_DIR").map_or_else(|| PathBuf::from("logs"), PathBuf::from);
    Disk::real(&folder)?;
    let script = "out=$1; config=$2; shift 2; exec nohup setsid \"$0\" server --config \"$config\" \"$@\" >\"$out\" 2>&1 </dev/null &";
    let started = Command::new("sh")
        .args(["-c", script])
        .arg(std::env::current_exe()?)
        .arg(folder.join(OUTPUT))
        .arg(std::path::absolute(config)?)
        .args(overrides.iter().map(|pair| format!("--override={pair}")))
        .stdin(Stdio::null())
        .status()?;
    if started.success() { Ok(ExitCode::SUCCESS) } else { Err(Failure::new("the server could not be started")) }
}
