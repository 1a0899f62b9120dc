//! `gregor group reset-offsets`: puts a group where it is to go on.

use crate::{
    consumer_groups::{ConsumerGroups, Correction, Goal, Reset, Scope, TopicScope, moment, parse_plan},
    output::{self, Failure, Format},
};
use protocol::ids::{Offset, WallMillis};
use runtime::time;
use serde_json::Value;
use std::path::PathBuf;

/// Puts a group where it is to go on: shows what that would come to, and with --execute does it
///
/// Only while the group has no members: they would commit over it. A group that is not there yet is made, so that its first
/// members begin where you say. An offset before the first record, or beyond the last, becomes the nearest one in the log; a
/// time that no record reaches becomes the end of the log; the table says where that is so.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  gregor group reset-offsets billing --all-topics --to-earliest\n  gregor group reset-offsets billing --topic orders:0,1 --shift-by -100 --execute\n  gregor group reset-offsets billing --topic orders --to-datetime 2026-11-29T08:30:00.000 --execute\n  gregor group reset-offsets billing --from-file offsets.csv --execute"
)]
pub struct ResetOffsets {
    /// The group
    group: String,
    #[command(flatten)]
    whose: Whose,
    #[command(flatten)]
    where_to: WhereTo,
    /// Shows what would be done, and does nothing: so it is without --execute, too
    #[arg(long, conflicts_with = "execute")]
    dry_run: bool,
    /// Does it
    #[arg(long)]
    execute: bool,
}

#[derive(clap::Args)]
#[group(multiple = false)]
struct Whose {
    /// A topic, or some of its partitions; may stand more than once
    #[arg(long = "topic", value_name = "TOPIC[:PARTITION,..]", value_parser = TopicScope::parse)]
    topics: Vec<TopicScope>,
    /// Every partition of which the group has committed something
    #[arg(long)]
    all_topics: bool,
}

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct WhereTo {
    /// At the first record that is left
    #[arg(long)]
    to_earliest: bool,
    /// Behind the last record
    #[arg(long)]
    to_latest: bool,
    /// At this offset of each partition
    #[arg(long, value_name = "OFFSET", allow_negative_numbers = true)]
    to_offset: Option<i64>,
    /// So many offsets further on, or back if below zero
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true)]
    shift_by: Option<i64>,
    /// At the first record of this time or later: 2026-11-29T08:30:00.000, UTC unless it ends in an offset as +01:00
    #[arg(long, value_name = "TIME", value_parser = moment::time)]
    to_datetime: Option<WallMillis>,
    /// At the first record that is not older than this: P1D, PT2H30M, PT45S
    #[arg(long, value_name = "DURATION", value_parser = moment::duration_ms)]
    by_duration: Option<i64>,
    /// Where it is: the offsets are kept for longer, and partitions without one get the end of their log
    #[arg(long)]
    to_current: bool,
    /// At the offsets in a file: TOPIC,PARTITION,OFFSET a line, as kafka-consumer-groups --export writes them
    #[arg(long, value_name = "FILE", conflicts_with_all = ["topics", "all_topics"])]
    from_file: Option<PathBuf>,
}

impl WhereTo {
    fn goal(self, group: &str) -> Result<Goal, Failure> {
        let WhereTo { to_latest, to_offset, shift_by, to_datetime, by_duration, to_current, from_file, .. } = self;
        if let Some(file) = from_file {
            let text = crate::properties::read_text(&file)?;
            let plan =
                parse_plan(&text, group).map_err(|wrong| Failure::usage(format!("{}: {wrong}", file.display())))?;
            if plan.is_empty() {
                return Err(Failure::usage(format!("{}: it says nothing of group {group}", file.display())));
            }
            return Ok(Goal::Plan(plan));
        }
        let ago = |ms: i64| WallMillis(time::wall_now().saturating_sub(ms).max(0));
        Ok(match (to_offset, shift_by, to_datetime.or(by_duration.map(ago))) {
            (Some(offset), ..) => Goal::Offset(Offset(offset)),
            (_, Some(by), _) => Goal::Shift(by),
            (.., Some(at)) => Goal::Time(at),
            _ if to_latest => Goal::Latest,
            _ if to_current => Goal::Current,
            // One of them is there.
            _ => Goal::Earliest,
        })
    }
}

impl ResetOffsets {
    /// Runs the command.
    pub async fn run(self, groups: &ConsumerGroups, format: Format) -> Result<(), Failure> {
        let goal = self.where_to.goal(&self.group)?;
        let scope = match (&goal, self.whose.all_topics, self.whose.topics) {
            (Goal::Plan(_), ..) => Scope::Plan,
            (_, true, _) => Scope::Committed,
            (_, false, topics) if !topics.is_empty() => Scope::Topics(topics),
            _ => return Err(Failure::usage("which topics? write --topic TOPIC[:PARTITION,..] or --all-topics")),
        };
        groups.check_empty(&self.group).await?;
        let plan = groups.plan(&self.group, &scope, &goal).await?;
        if self.execute {
            groups.carry_out(&self.group, &plan).await?;
        }
        let rows: Vec<Vec<Value>> = plan.iter().map(|reset| row(&self.group, reset)).collect();
        output::print_values(
            format,
            &["GROUP", "TOPIC", "PARTITION", "CURRENT-OFFSET", "NEW-OFFSET", "REMARK"],
            &rows,
        )?;
        if !self.execute {
            eprintln!("nothing was changed: this is what --execute would do");
        }
        Ok(())
    }
}

fn row(group: &str, reset: &Reset) -> Vec<Value> {
    let remark = reset.correction.map(|correction| match correction {
        Correction::AboveEnd { asked } => format!("{asked} is beyond the end of the log"),
        Correction::BelowStart { asked } => format!("{asked} is before the first record"),
        Correction::NothingSoLate => "no record is that late: the end of the log".to_owned(),
        Correction::NothingCommitted => "nothing was committed: the end of the log".to_owned(),
    });
    vec![
        group.into(),
        (&*reset.partition.topic).into(),
        reset.partition.partition.0.into(),
        reset.current.map(|offset| offset.0).into(),
        reset.to.0.into(),
        remark.into(),
    ]
}
