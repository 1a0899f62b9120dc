//! `kafka-storage` (`kafka.tools.StorageTool`): cluster ids, the formatting of log directories, and what is in them.

use super::{
    Tool,
    options::{OptionError, Options, Spec},
};
use crate::{
    commands::{server, storage::found},
    node::{Node, random_cluster_id},
    output::Failure,
};
use metadata::config::Properties;
use runtime::{disk::Disk, task::block_on_real};
use std::{path::Path, process::ExitCode};
use storage::directory::MetaProperties;

/// What a new cluster's `metadata.version` is called (`MetadataVersion.IBP_4_1_IV1`).
const METADATA_VERSION_NAME: &str = "4.1-IV1";

pub const TOOL: Tool = Tool {
    name: "kafka-storage",
    about: "The Kafka storage tool: kafka-storage random-uuid, format -t ID -c FILE, or info -c FILE.",
    options: OPTIONS,
    instead: &[
        ("--initial-controllers", "write controller.quorum.voters into the file: quorums do not change at run time"),
        ("-I", "write controller.quorum.voters into the file: quorums do not change at run time"),
        ("--no-initial-controllers", "write controller.quorum.voters into the file: quorums do not change at run time"),
        ("-N", "write controller.quorum.voters into the file: quorums do not change at run time"),
        ("--release-version", "leave it out: a new cluster is at metadata.version 4.1-IV1"),
        ("-r", "leave it out: a new cluster is at metadata.version 4.1-IV1"),
        ("--feature", "leave it out: a new cluster has metadata.version 4.1-IV1 and no other feature"),
        ("-f", "leave it out: a new cluster has metadata.version 4.1-IV1 and no other feature"),
        ("--add-scram", "leave it out: users are not served"),
        ("-S", "leave it out: users are not served"),
    ],
    log: Some("error"),
    run,
};

const OPTIONS: &[Spec] = &[
    Spec::value(&["--config", "-c"], "FILE", "The configuration file of the node."),
    Spec::value(&["--cluster-id", "-t"], "ID", "The id of the cluster."),
    Spec::flag(&["--ignore-formatted", "-g"], "Leave directories alone that are formatted already."),
    Spec::flag(&["--standalone", "-s"], "For a controller that is the only one: it needs no controller.quorum.voters."),
];

fn run(options: &Options) -> Result<ExitCode, Failure> {
    let [command] = &options.rest[..] else {
        return Err(Failure::new("write one of random-uuid, format, info"));
    };
    match command.as_str() {
        "random-uuid" => println!("{}", random_cluster_id()),
        "format" => format(options)?,
        "info" => return info(options),
        other => {
            let known = "write one of random-uuid, format, info";
            return Err(Failure::new(format!("{other} is not served: {known}")));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn properties(options: &Options) -> Result<Properties, Failure> {
    let file = options.get("--config").ok_or(OptionError::Missing("--config/-c"))?;
    server::load(Path::new(file))
}

fn format(options: &Options) -> Result<(), Failure> {
    let properties = properties(options)?;
    let cluster_id = options.get("--cluster-id").ok_or(OptionError::Missing("--cluster-id/-t"))?;
    if options.has("--standalone") && properties.get("controller.quorum.voters").is_some() {
        let what = "You cannot specify controller.quorum.voters and format the node with --standalone.";
        return Err(Failure::new(what));
    }
    let node = Node::new(properties)?;
    let again = options.has("--ignore-formatted");
    for directory in node.directories() {
        let place = directory.display();
        let known = MetaProperties::read(&Disk::real(&directory)?)?;
        if known.is_some_and(|meta| meta.cluster_id == cluster_id) && !again {
            return Err(Failure::new(format!(
                "Log directory {place} is already formatted. Use --ignore-formatted to ignore this directory and format the others."
            )));
        }
    }
    let formatted = block_on_real(node.format(cluster_id, true))?;
    if formatted.is_empty() {
        println!("All of the log directories are already formatted.");
    }
    for directory in formatted {
        let kind = if directory == node.metadata_directory { "metadata" } else { "data" };
        let place = directory.display();
        println!("Formatting {kind} directory {place} with metadata.version {METADATA_VERSION_NAME}.");
    }
    Ok(())
}

/// As `StorageTool.infoCommand` prints it.
fn info(options: &Options) -> Result<ExitCode, Failure> {
    let node = Node::new(properties(options)?)?;
    let (mut places, mut problems, mut metadata) = (Vec::new(), Vec::new(), None);
    for (directory, meta) in found(&node)? {
        match meta {
            Some(meta) => {
                let own = meta.directory_id.map(|id| format!(", directory.id={id}")).unwrap_or_default();
                let text = format!("{{cluster.id={}{own}, node.id={}, version=1}}", meta.cluster_id, meta.node_id);
                metadata.get_or_insert(text);
            }
            None => problems.push(format!("{} is not formatted.", directory.display())),
        }
        places.push(directory.display().to_string());
    }
    let list = |heading: &str, ending: &str, lines: &[String]| {
        if !lines.is_empty() {
            println!("{heading}{}:", if lines.len() == 1 { "" } else { ending });
            lines.iter().for_each(|line| println!("  {line}"));
            println!();
        }
    };
    let plural = if places.len() == 1 { "Found log directory" } else { "Found log directories" };
    list(plural, "", &places);
    if let Some(metadata) = metadata {
        println!("Found metadata: {metadata}\n");
    }
    list("Found problem", "s", &problems);
    Ok(ExitCode::from(u8::from(!problems.is_empty())))
}
