//! `kafka-consumer-groups` (`org.apache.kafka.tools.consumer.group.ConsumerGroupCommand`).

mod describe;
mod reset;

use super::{
    BOOTSTRAP, COMMAND_CONFIG, ClientSettings, Tool, ZOOKEEPER, goes_with, milliseconds,
    options::{Options, Spec},
    words,
};
use crate::{
    consumer_groups::{ConsumerGroups, TopicScope},
    output::Failure,
};
use client::{
    ClientError, PartitionName,
    admin::{GroupState, GroupType},
};
use protocol::error_code::ErrorCode;
use regex::Regex;
use runtime::task::block_on_real;
use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
};

pub const TOOL: Tool = Tool {
    name: "kafka-consumer-groups",
    about: "This tool helps to list all consumer groups, describe a consumer group, delete consumer group info, or reset \
            consumer group offsets.",
    options: OPTIONS,
    instead: &[ZOOKEEPER, ("--new-consumer", "leave it out: there are no other groups any more")],
    log: Some("error"),
    run,
};

const OPTIONS: &[Spec] = &[
    BOOTSTRAP,
    COMMAND_CONFIG,
    Spec::flag(&["--list"], "List all consumer groups."),
    Spec::flag(&["--describe"], "Describe consumer groups: how far they have come, or --members, or --state."),
    Spec::flag(
        &["--reset-offsets"],
        "Reset the offsets of groups without members; a dry run unless --execute is given.",
    ),
    Spec::flag(&["--delete"], "Delete groups without members, and their offsets."),
    Spec::flag(&["--delete-offsets"], "Delete the offsets that a group has of topics that it does not read."),
    Spec::value(&["--validate-regex"], "REGEX", "Say whether a regular expression for subscriptions is valid."),
    Spec::values(&["--group"], "GROUP", "The consumer group; may be given more than once."),
    Spec::flag(&["--all-groups"], "All consumer groups."),
    Spec::values(
        &["--topic"],
        "TOPIC[:PART,..]",
        "With --reset-offsets and --delete-offsets: a topic, or some partitions.",
    ),
    Spec::flag(&["--all-topics"], "With --reset-offsets: every partition that the group has committed."),
    Spec::flag(&["--offsets"], "With --describe: how far each group has come, which is the default."),
    Spec::flag(&["--members"], "With --describe: the members of each group."),
    Spec::optional(
        &["--state"],
        "STATE,..",
        "",
        "With --describe: the state of each group. With --list: show states, or only groups in one of these.",
    ),
    Spec::optional(&["--type"], "TYPE,..", "", "With --list: show types, or only groups of these: classic, consumer."),
    Spec::flag(&["--verbose"], "With --describe: more columns."),
    Spec::flag(&["--to-earliest"], "Reset to the first offset that is left."),
    Spec::flag(&["--to-latest"], "Reset to the end."),
    Spec::flag(&["--to-current"], "Reset to the current offset."),
    Spec::value(&["--to-offset"], "OFFSET", "Reset to this offset."),
    Spec::value(&["--shift-by"], "COUNT", "Reset to the current offset and so many more, or fewer."),
    Spec::value(&["--to-datetime"], "TIME", "Reset to the first record of this time: YYYY-MM-DDTHH:mm:SS.sss"),
    Spec::value(&["--by-duration"], "DURATION", "Reset to the first record not older than this: PnDTnHnMnS"),
    Spec::value(&["--from-file"], "FILE", "Reset to the offsets in a CSV file."),
    Spec::flag(&["--dry-run"], "Only show what --reset-offsets would do: the default."),
    Spec::flag(&["--execute"], "Do it."),
    Spec::flag(&["--export"], "Print what --reset-offsets comes to as CSV."),
    Spec::value(&["--timeout"], "MS", "How long a question may take."),
];

const ACTIONS: [&str; 5] = ["--list", "--describe", "--delete", "--reset-offsets", "--delete-offsets"];
const RULES: &[(&str, &[&str])] = &[
    ("--group", &["--describe", "--delete", "--reset-offsets", "--delete-offsets"]),
    ("--all-groups", &["--describe", "--delete", "--reset-offsets"]),
    ("--topic", &["--delete", "--reset-offsets", "--delete-offsets"]),
    ("--offsets", &["--describe"]),
    ("--members", &["--describe"]),
    ("--verbose", &["--describe"]),
    ("--state", &["--describe", "--list"]),
    ("--type", &["--list"]),
];
/// What stands where nothing is known (`MISSING_COLUMN_VALUE`).
const MISSING: &str = "-";
/// The least width of most columns.
const COLUMN: usize = 15;

fn run(options: &Options) -> Result<ExitCode, Failure> {
    if let Some(pattern) = options.get("--validate-regex") {
        println!("{}", validated(pattern));
        return Ok(ExitCode::SUCCESS);
    }
    let mut settings = ClientSettings::new(options, "--command-config")?;
    if let Some(timeout) = options.get("--timeout") {
        settings.timeout = milliseconds("--timeout", timeout)?;
    }
    let words = "--list, --describe, --delete, --reset-offsets, --delete-offsets, --validate-regex";
    let asked = super::action(options, &ACTIONS, words)?;
    goes_with(options, asked, RULES)?;
    check(options, asked)?;
    block_on_real(async {
        let groups = ConsumerGroups::new(settings.cluster.clone(), settings.timeout);
        match asked {
            "--list" => list(&groups, options).await,
            "--describe" => Box::pin(describe::run(&groups, options)).await,
            "--reset-offsets" => Box::pin(reset::run(&groups, options)).await,
            "--delete" => delete(&groups, options).await,
            _ => delete_offsets(&groups, options).await,
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Which options go together (`ConsumerGroupCommandOptions.checkArgs`).
fn check(options: &Options, asked: &str) -> Result<(), Failure> {
    let has = |names: &[&str]| names.iter().filter(|name| options.has(name)).count();
    let bare = asked.trim_start_matches('-');
    if ["--describe", "--delete", "--reset-offsets"].contains(&asked) && has(&["--group", "--all-groups"]) == 0 {
        return Err(Failure::new(format!("Option [{bare}] takes one of these options: [group], [all-groups]")));
    }
    if has(&["--group", "--all-groups"]) == 2 {
        return Err(Failure::new("Option \"[group]\" can't be used with option \"[all-groups]\""));
    }
    if asked == "--describe" && has(&["--members", "--offsets", "--state"]) > 1 {
        return Err(Failure::new(format!(
            "Option [{bare}] takes at most one of these options: [members], [offsets], [state]"
        )));
    }
    if asked == "--describe" && options.get("--state").is_some_and(|state| !state.is_empty()) {
        return Err(Failure::new(format!("Option [{bare}] does not take a value for [state]")));
    }
    if asked == "--delete" && options.has("--topic") {
        return Err(Failure::new(
            "The consumer does not support topic-specific offset deletion from a consumer group.",
        ));
    }
    if asked == "--delete-offsets" && has(&["--group", "--topic"]) < 2 {
        return Err(Failure::new(format!("Option [{bare}] takes the following options: [group], [topic]")));
    }
    Ok(())
}

fn validated(pattern: &str) -> String {
    match Regex::new(pattern) {
        Ok(_) => format!("The regular expression `{pattern}` is valid."),
        Err(error) => {
            let told = error.to_string();
            let cause = told.rsplit("error: ").next().unwrap_or(&told).trim().to_owned();
            format!("The regular expression `{pattern}` is invalid: {cause}.")
        }
    }
}

fn failed(error: &ClientError) -> Failure {
    broken(&words(error))
}

fn broken(what: &str) -> Failure {
    Failure::new(format!("\nError: Executing consumer group command failed due to {what}"))
}

/// A line whose cells are as wide as they are told to be, one blank apart; the last one ends the line.
fn line(cells: &[&str], widths: &[usize]) -> String {
    let padded = cells.iter().zip(widths.iter().chain(std::iter::repeat(&0)));
    padded.map(|(cell, width)| format!("{cell:<width$}")).collect::<Vec<_>>().join(" ")
}

/// How wide a column is: as the longest cell, and no less than so much.
fn width<'a>(cells: impl IntoIterator<Item = &'a str>, least: usize) -> usize {
    cells.into_iter().map(|cell| cell.chars().count()).max().unwrap_or(0).max(least)
}

/// The groups that are asked about.
async fn chosen(groups: &ConsumerGroups, options: &Options) -> Result<BTreeSet<String>, Failure> {
    if !options.has("--all-groups") {
        return Ok(options.all("--group").map(String::from).collect());
    }
    let listed = groups.admin.list_groups(&BTreeSet::new(), &BTreeSet::new()).await.map_err(|error| failed(&error))?;
    Ok(listed.into_iter().filter(|group| group.is_of_consumers()).map(|group| group.group_id).collect())
}

/// What a comma-separated list names; nothing is a failure.
fn named<T: Ord>(
    options: &Options,
    option: &str,
    read: impl Fn(&str) -> Option<T>,
    valid: &str,
) -> Result<BTreeSet<T>, Failure> {
    let Some(list) = options.get(option).filter(|list| !list.is_empty()) else { return Ok(BTreeSet::new()) };
    let what = option.trim_start_matches('-');
    let wrong = || Failure::new(format!("Invalid {what} list '{list}'. Valid {what}s are: {valid}"));
    list.split(',').map(|name| read(name.trim()).ok_or_else(wrong)).collect()
}

async fn list(groups: &ConsumerGroups, options: &Options) -> Result<(), Failure> {
    let valid = GroupState::known().map(|state| state.to_string()).collect::<Vec<_>>().join(", ");
    let state = |name: &str| Some(GroupState::from_name(name)).filter(|state| !matches!(state, GroupState::Other(_)));
    let kind = |name: &str| Some(GroupType::from_name(name)).filter(|kind| !matches!(kind, GroupType::Other(_)));
    let states = named(options, "--state", state, &valid)?;
    let types = named(options, "--type", kind, "Classic, Consumer")?;
    let listed = groups.admin.list_groups(&states, &types).await.map_err(|error| failed(&error))?;
    let listed: Vec<_> = listed.into_iter().filter(|group| group.is_of_consumers()).collect();
    if !options.has("--state") && !options.has("--type") {
        listed.iter().for_each(|group| println!("{}", group.group_id));
        return Ok(());
    }
    let widths = [width(listed.iter().map(|group| &*group.group_id), COLUMN) + 10, 20, 20];
    let print = |group: &str, kind: &str, state: &str| {
        let mut cells = vec![group];
        cells.extend(options.has("--type").then_some(kind));
        cells.extend(options.has("--state").then_some(state));
        println!("{}", line(&cells, &widths));
    };
    print("GROUP", "TYPE", "STATE");
    for group in &listed {
        let kind = group.group_type.as_ref().map_or("Unknown".to_owned(), ToString::to_string);
        let state = group.state.as_ref().map_or("Unknown".to_owned(), ToString::to_string);
        print(&group.group_id, &kind, &state);
    }
    Ok(())
}

async fn delete(groups: &ConsumerGroups, options: &Options) -> Result<(), Failure> {
    let names = chosen(groups, options).await?;
    let outcomes = groups.admin.delete_groups(&names).await;
    let done: Vec<String> =
        outcomes.iter().filter(|(_, outcome)| outcome.is_ok()).map(|(group, _)| format!("'{group}'")).collect();
    let done = done.join(", ");
    if outcomes.values().all(Result::is_ok) {
        println!("Deletion of requested consumer groups ({done}) was successful.");
        return Ok(());
    }
    let mut told = "\nError: Deletion of some consumer groups failed:".to_owned();
    for (group, outcome) in &outcomes {
        if let Err(error) = outcome {
            told += &format!("\n* Group '{group}' could not be deleted due to: {}", words(error));
        }
    }
    if !done.is_empty() {
        told += &format!("\n\nThese consumer groups were deleted successfully: {done}");
    }
    Err(Failure::new(told))
}

/// The topics that are named.
fn topics(options: &Options) -> Result<Vec<TopicScope>, Failure> {
    options.all("--topic").map(TopicScope::parse).collect::<Result<_, _>>().map_err(Failure::new)
}

async fn delete_offsets(groups: &ConsumerGroups, options: &Options) -> Result<(), Failure> {
    let group = options.required("--group")?;
    let topics = topics(options)?;
    let whole: Vec<String> =
        topics.iter().filter(|topic| topic.partitions.is_empty()).map(|topic| topic.topic.clone()).collect();
    let (mut there, mut statuses) = (BTreeSet::new(), BTreeMap::new());
    // Nothing named is everything to a broker.
    if !whole.is_empty() {
        for (name, outcome) in groups.admin.describe_topics(&whole).await.map_err(|error| failed(&error))? {
            match outcome {
                Ok(topic) => {
                    there.extend(topic.partitions.iter().map(|one| PartitionName::new(&name, one.partition)));
                }
                Err(error) => drop(statuses.insert((name, MISSING.to_owned()), Err(error))),
            }
        }
    }
    let partitions = topics.iter().flat_map(|topic| topic.of(there.iter())).collect();
    let outcome = groups.admin.delete_group_offsets(group, &partitions).await;
    let refusal = outcome.as_ref().err().cloned();
    let outcomes = match outcome {
        Ok(outcomes) => outcomes,
        Err(error) => partitions.into_iter().map(|partition| (partition, Err(error.clone()))).collect(),
    };
    let place = |partition: PartitionName| (partition.topic.to_string(), partition.partition.to_string());
    statuses.extend(outcomes.into_iter().map(|(partition, outcome)| (place(partition), outcome)));
    let verdict = match (refusal, statuses.values().any(Result::is_err)) {
        (None, false) => {
            println!("Request succeeded for deleting offsets from group {group}.");
            Ok(())
        }
        (Some(error), _) if error.code() != Some(ErrorCode::UnknownServerError) => {
            Err(Failure::new(format!("\nError: {}", words(&error))))
        }
        _ => Err(Failure::new("\nError: Encountered some partition-level error, see the follow-up details.")),
    };
    let widths = [width(statuses.keys().map(|(topic, _)| &**topic), COLUMN), 10, COLUMN];
    println!("\n{}", line(&["TOPIC", "PARTITION", "STATUS"], &widths));
    for ((topic, partition), outcome) in &statuses {
        let status = outcome.as_ref().map_or_else(|error| format!("Error: {}", words(error)), |()| "Successful".into());
        println!("{}", line(&[topic, partition, &status], &widths));
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> Result<(), String> {
        let options = Options::parse(OPTIONS, text.split(' ').map(String::from)).map_err(|error| error.to_string())?;
        let asked = super::super::action(&options, &ACTIONS, "one").map_err(|failure| failure.what)?;
        goes_with(&options, asked, RULES).and_then(|()| check(&options, asked)).map_err(|failure| failure.what)
    }

    #[test]
    fn options_that_do_not_go_together_are_refused_in_kafkas_words() {
        for (text, said) in [
            ("--describe", "Option [describe] takes one of these options: [group], [all-groups]"),
            ("--describe --group g --members --state", "takes at most one of these options"),
            ("--describe --group g --state Stable", "Option [describe] does not take a value for [state]"),
            ("--list --group g", "Option \"[group]\" can't be used with option \"[list]\""),
            ("--delete --group g --topic t", "does not support topic-specific offset deletion"),
            ("--delete-offsets --group g", "Option [delete-offsets] takes the following options: [group], [topic]"),
            ("--list --describe", "exactly one action"),
            ("--delete --group g --all-groups", "can't be used with option \"[all-groups]\""),
        ] {
            assert!(checked(text).is_err_and(|told| told.contains(said)), "{text}: {:?}", checked(text));
        }
        for text in
            ["--list", "--list --state", "--list --state stable,empty --type", "--describe --all-groups --state"]
        {
            assert_eq!(checked(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn expressions_are_valid_or_not() {
        assert_eq!(validated("or.*"), "The regular expression `or.*` is valid.");
        assert_eq!(validated("("), "The regular expression `(` is invalid: unclosed group.");
    }
}
