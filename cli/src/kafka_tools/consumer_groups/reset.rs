//! `kafka-consumer-groups --reset-offsets`.

use super::{COLUMN, broken, chosen, failed, line, topics, width};
use crate::{
    consumer_groups::{ConsumerGroups, Correction, Goal, Reset, ResetError, Scope, moment, parse_plan},
    kafka_tools::{options::Options, words},
    output::Failure,
    properties,
};
use protocol::ids::{Offset, WallMillis};
use runtime::time;
use std::path::Path;

/// Where a group can be put.
const GOALS: [&str; 8] = [
    "--to-offset",
    "--to-datetime",
    "--by-duration",
    "--to-earliest",
    "--to-latest",
    "--to-current",
    "--shift-by",
    "--from-file",
];
const NO_EXECUTE: &str = "WARN: No action will be performed as the --execute option is missing. You should add the --dry-run option explicitly if \
     you are scripting this command and want to keep the current default behavior without prompting.";
/// A CSV field that is longer stands in quotes, as Kafka's writer has it.
const BARE_MAX: usize = 24;

pub(super) async fn run(groups: &ConsumerGroups, options: &Options) -> Result<(), Failure> {
    let (scope, asked) = (scope(options)?, asked(options)?);
    if options.has("--dry-run") && options.has("--execute") {
        return Err(Failure::new("Option [reset-offsets] only accepts one of [execute] and [dry-run]"));
    }
    if !options.has("--dry-run") && !options.has("--execute") {
        eprintln!("{NO_EXECUTE}");
    }
    let (mut resets, mut refusals) = (Vec::new(), Vec::new());
    for group in chosen(groups, options).await? {
        match reset(groups, &group, &scope, &goal(options, asked, &group)?, options.has("--execute")).await {
            Ok(plan) => resets.push((group, plan)),
            Err(ResetError::HasMembers { group, state }) => refusals.push(format!(
                "\nError: Assignments can only be reset if the group '{group}' is inactive, but the current state is {state}."
            )),
            Err(error) => return Err(refused(&error)),
        }
    }
    let is_single = options.all("--group").count() == 1;
    match options.has("--export") {
        true => println!("{}", csv(&resets, is_single)),
        false => print!("{}", table(&resets)),
    }
    let last = refusals.pop();
    refusals.iter().for_each(|refusal| eprintln!("{refusal}"));
    last.map_or(Ok(()), |refusal| Err(Failure::new(refusal)))
}

async fn reset(
    groups: &ConsumerGroups,
    group: &str,
    scope: &Scope,
    goal: &Goal,
    is_executed: bool,
) -> Result<Vec<Reset>, ResetError> {
    groups.check_empty(group).await?;
    let plan = match groups.plan(group, scope, goal).await {
        // Nothing is what all that it has committed comes to.
        Err(ResetError::NothingCommitted(_)) => Vec::new(),
        planned => planned?,
    };
    plan.iter().for_each(warn);
    if is_executed {
        groups.carry_out(group, &plan).await?;
    }
    Ok(plan)
}

fn scope(options: &Options) -> Result<Scope, Failure> {
    match (options.has("--all-topics"), options.has("--topic"), options.has("--from-file")) {
        (.., true) => Ok(Scope::Plan),
        (true, ..) => Ok(Scope::Committed),
        (_, true, _) => Ok(Scope::Topics(topics(options)?)),
        _ => Err(Failure::new("One of the reset scopes should be defined: --all-topics, --topic.")),
    }
}

/// The one goal that is asked for.
fn asked(options: &Options) -> Result<&'static str, Failure> {
    let asked: Vec<&str> = GOALS.into_iter().filter(|goal| options.has(goal)).collect();
    let bare = |name: &str| name.trim_start_matches('-').to_owned();
    match asked[..] {
        [goal] => Ok(goal),
        [one, other, ..] => {
            Err(Failure::new(format!("Option \"[{}]\" can't be used with option \"[{}]\"", bare(one), bare(other))))
        }
        [] => {
            let goals: Vec<String> = GOALS.iter().map(|goal| format!("[{}]", bare(goal))).collect();
            let goals = goals.join(", ");
            Err(Failure::new(format!("Option '[reset-offsets]' requires one of the following scenarios: {goals}")))
        }
    }
}

fn goal(options: &Options, asked: &str, group: &str) -> Result<Goal, Failure> {
    let value = options.get(asked).unwrap_or_default();
    Ok(match asked {
        "--to-offset" => Goal::Offset(Offset(options.number("--to-offset")?.unwrap_or_default())),
        "--shift-by" => Goal::Shift(options.number("--shift-by")?.unwrap_or_default()),
        "--to-datetime" => Goal::Time(moment::time(value).map_err(|wrong| broken(&wrong))?),
        "--by-duration" => {
            let ms = moment::duration_ms(value).map_err(|wrong| broken(&wrong))?;
            Goal::Time(WallMillis(time::wall_now().saturating_sub(ms).max(0)))
        }
        "--to-earliest" => Goal::Earliest,
        "--to-latest" => Goal::Latest,
        "--to-current" => Goal::Current,
        _ => {
            let text = properties::read_text(Path::new(value))?;
            let plan = parse_plan(&text, group).map_err(|wrong| broken(&format!("{value}: {wrong}")))?;
            if plan.is_empty() {
                return Err(Failure::new(format!("\nError: No reset plan for group {group} found.")));
            }
            Goal::Plan(plan)
        }
    })
}

fn refused(error: &ResetError) -> Failure {
    let listed =
        |partitions: &[client::PartitionName]| partitions.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    match error {
        ResetError::NoPartitions(absent) => broken(&format!("The partitions \"{}\" do not exist", listed(absent))),
        ResetError::NoLeaders(led) => broken(&format!("The partitions \"{}\" have no leader", listed(led))),
        ResetError::NotShiftable(partition) => {
            broken(&format!("Cannot shift offset for partition {partition} since there is no current committed offset"))
        }
        ResetError::Refused { error, .. } => broken(&words(error)),
        ResetError::Client(error) => failed(error),
        ResetError::HasMembers { .. } | ResetError::NoTopic(_) | ResetError::NothingCommitted(_) => {
            broken(&error.to_string())
        }
    }
}

/// What is said where an offset is another one than was asked for.
fn warn(reset: &Reset) {
    let (partition, to) = (&reset.partition, reset.to);
    match reset.correction {
        Some(Correction::AboveEnd { asked }) => eprintln!(
            "WARN New offset ({asked}) is higher than latest offset for topic partition {partition}. Value will be set to {to}."
        ),
        Some(Correction::BelowStart { asked }) => eprintln!(
            "WARN New offset ({asked}) is lower than earliest offset for topic partition {partition}. Value will be set to {to}."
        ),
        Some(Correction::NothingSoLate) => println!(
            "\nWarn: Partition {} from topic {} is empty. Falling back to latest known offset.",
            partition.partition, partition.topic
        ),
        Some(Correction::NothingCommitted) | None => {}
    }
}

fn table(resets: &[(String, Vec<Reset>)]) -> String {
    let of_topics = resets.iter().flat_map(|(_, plan)| plan.iter().map(|reset| &*reset.partition.topic));
    let widths = [width(resets.iter().map(|(group, _)| &**group), COLUMN), width(of_topics, COLUMN), 10];
    let mut text = match resets.is_empty() {
        true => String::new(),
        false => format!("\n{}", line(&["GROUP", "TOPIC", "PARTITION", "NEW-OFFSET"], &widths)),
    };
    for (group, plan) in resets {
        for reset in plan {
            let (index, to) = (reset.partition.partition.to_string(), reset.to.to_string());
            text += &format!("\n{}", line(&[group, &reset.partition.topic, &index, &to], &widths));
        }
    }
    text + "\n"
}

fn csv(resets: &[(String, Vec<Reset>)], is_single: bool) -> String {
    let field = |text: &str| match text.len() > BARE_MAX || text.chars().any(|symbol| symbol <= ',') {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    };
    let mut text = String::new();
    for (group, plan) in resets {
        for reset in plan {
            if !is_single {
                text += &format!("{},", field(group));
            }
            text += &format!("{},{},{}\n", field(&reset.partition.topic), reset.partition.partition, reset.to);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use client::PartitionName;
    use protocol::ids::PartitionIndex;

    fn resets(group: &str, topic: &str) -> Vec<(String, Vec<Reset>)> {
        let partition = PartitionName::new(topic, PartitionIndex(1));
        vec![(group.to_owned(), vec![Reset { partition, current: None, to: Offset(7), correction: None }])]
    }

    #[test]
    fn what_is_exported_is_read_again() {
        for (group, topic, line) in [
            ("billing", "orders", "orders,1,7\n"),
            ("billing", "orders.of.all.our.customers", "\"orders.of.all.our.customers\",1,7\n"),
        ] {
            let written = csv(&resets(group, topic), true);
            assert_eq!(written, line);
            assert_eq!(parse_plan(&written, group).expect("a plan").len(), 1);
        }
        let written = csv(&resets("a,\"b\"", "orders"), false);
        assert_eq!(written, "\"a,\"\"b\"\"\",orders,1,7\n");
        assert_eq!(parse_plan(&written, "a,\"b\"").expect("a plan").len(), 1);
        assert_eq!(parse_plan(&written, "other").expect("a plan").len(), 0);
    }

    #[test]
    fn a_reset_stands_in_kafkas_columns() {
        assert_eq!(
            table(&resets("billing", "orders")),
            "\nGROUP           TOPIC           PARTITION  NEW-OFFSET\nbilling         orders          1          7\n"
        );
    }
}
