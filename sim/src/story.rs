//! Pure. The story of a recorded run as text: a column for each node, and one for clients, operators and faults.

use crate::recording::{Entry, FIRST_CLIENT, Phase, ProcessState, WORLD, What};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

/// What of a run is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only what happened to this node, and what the world did.
    pub node: Option<i32>,
    /// Only what is about this partition, and what is about none.
    pub partition: Option<String>,
}

const TIME_WIDTH: usize = 9;
/// All columns together, where nodes are few; each column has at least [`COLUMN_WIDTH_MIN`].
const PAGE_WIDTH: usize = 150;
const COLUMN_WIDTH_MIN: usize = 24;

/// Tells the story from where the timeline began; of a run that never came so far, from its beginning.
pub fn story(entries: &[Entry], filter: &Filter) -> String {
    let is_story = |entry: &Entry| entry.what == What::Phase { phase: Phase::Story };
    let begin = entries.iter().position(is_story).unwrap_or(0);
    let began_at = entries.get(begin).map_or(0, |entry| entry.at);
    let nodes: BTreeSet<i32> = entries
        .iter()
        .filter(|entry| matches!(entry.what, What::Process { .. }))
        .map(|entry| entry.node)
        .filter(|node| filter.node.is_none_or(|only| only == *node))
        .collect();
    let columns: Vec<i32> = nodes.into_iter().chain([WORLD]).collect();
    let width = (PAGE_WIDTH / columns.len()).max(COLUMN_WIDTH_MIN);
    let heads = columns.iter().map(|node| match *node {
        WORLD => "clients and the world".to_owned(),
        node => format!("node {node}"),
    });
    let mut text = row(&format!("{:>TIME_WIDTH$}", "seconds"), &heads.collect::<Vec<_>>(), width);
    for entry in known_before(&entries[..begin]).into_iter().chain(&entries[begin..]) {
        let Some(words) = words(entry, filter) else { continue };
        let at = entry.at.saturating_sub(began_at) as f64 / 1e9;
        let time = format!("{at:>TIME_WIDTH$.3}");
        if let What::Broken { .. } = entry.what {
            let _ = writeln!(text, "{time}  {words}");
            continue;
        }
        let of = if entry.node >= FIRST_CLIENT { WORLD } else { entry.node };
        let Some(column) = columns.iter().position(|node| *node == of) else { continue };
        for (number, line) in wrapped(&words, width - 2).into_iter().enumerate() {
            let time = if number == 0 { time.clone() } else { " ".repeat(TIME_WIDTH) };
            let mut cells = vec![String::new(); column];
            cells.push(line);
            text.push_str(&row(&time, &cells, width));
        }
    }
    text
}

/// What the controllers had committed of each partition when the timeline began.
fn known_before(entries: &[Entry]) -> Vec<&Entry> {
    let mut last: BTreeMap<&str, &Entry> = BTreeMap::new();
    for entry in entries {
        if let What::Committed { partition, .. } = &entry.what {
            last.insert(partition, entry);
        }
    }
    last.into_values().collect()
}

fn row(time: &str, cells: &[String], width: usize) -> String {
    let cells: String = cells.iter().map(|cell| format!("{cell:<width$}")).collect();
    format!("{}\n", format!("{time}  {cells}").trim_end())
}

/// What a story says of an entry; nothing of most.
fn words(entry: &Entry, filter: &Filter) -> Option<String> {
    let is_asked_for = |partition: &str| filter.partition.as_deref().is_none_or(|only| only == partition);
    match &entry.what {
        What::Fault { what, .. } => Some(format!("FAULT: {what}")),
        What::FaultOver { fault, .. } => Some(format!("{fault} is over")),
        What::Process { state } => Some(
            match state {
                ProcessState::Started => "starts",
                ProcessState::Killed => "IS KILLED",
                ProcessState::LostPower => "LOSES POWER",
                ProcessState::EndedItself => "ENDS ITSELF",
                ProcessState::Stopped => "has stopped",
            }
            .to_owned(),
        ),
        What::Committed { partition, leader, leader_epoch, isr } if is_asked_for(partition) => {
            let leader = leader.map_or("nobody".to_owned(), |leader| leader.to_string());
            let isr: Vec<String> = isr.iter().map(ToString::to_string).collect();
            Some(format!("{partition}: {leader} leads in epoch {leader_epoch}, isr {}", isr.join(",")))
        }
        What::Said { partition, what, notable: true, .. } => match partition {
            Some(partition) if !is_asked_for(partition) => None,
            Some(partition) => Some(format!("{partition}: {what}")),
            None => Some(what.clone()),
        },
        What::Phase { phase: Phase::Story } => Some("the timeline begins".into()),
        What::Phase { phase: Phase::Healed } => Some("EVERYTHING IS HEALED".into()),
        What::Phase { phase: Phase::Settled } => Some("every partition is whole".into()),
        What::Broken { claim, what } => Some(format!("BROKEN {claim}: {what}")),
        _ => None,
    }
}

/// Lines of at most so many characters, broken between words where that can be.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is always a line");
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(format!("  {word}"));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(at_ms: u64, node: i32, partition: Option<&str>, what: &str) -> Entry {
        let partition = partition.map(str::to_owned);
        let what = What::Said { event: "said".into(), partition, what: what.into(), notable: true };
        Entry { at: at_ms * 1_000_000, node, what }
    }

    fn entries() -> Vec<Entry> {
        let started = |node| Entry { at: 0, node, what: What::Process { state: ProcessState::Started } };
        let nodes = vec![1, 2];
        let fault = What::Fault { id: 1, fault: "partition".into(), what: "cut 1 from 2".into(), nodes };
        let killed = What::Process { state: ProcessState::Killed };
        let (partition, isr) = ("orders-0".into(), vec![1, 2]);
        let committed = What::Committed { partition, leader: Some(1), leader_epoch: 0, isr };
        let broken = What::Broken { claim: "acked_is_kept".into(), what: "it is gone".into() };
        let mut entries = vec![
            started(1),
            started(2),
            said(900, 1, None, "is before the story"),
            Entry { at: 950_000_000, node: WORLD, what: committed },
            Entry { at: 1_000_000_000, node: WORLD, what: What::Phase { phase: Phase::Story } },
            Entry { at: 2_000_000_000, node: WORLD, what: fault },
            Entry { at: 2_500_000_000, node: 2, what: killed },
            said(
                2_600,
                1,
                Some("orders-0"),
                "asks for isr 1 instead of 1,2, for the other one has not fetched for long",
            ),
            said(2_700, 1, Some("orders-1"), "leads"),
            said(2_800, 1_002, None, "deletes everything"),
        ];
        entries.push(Entry { at: 3_000_000_000, node: WORLD, what: broken });
        entries
    }

    #[test]
    fn each_node_has_its_column() {
        insta::assert_snapshot!(story(&entries(), &Filter::default()));
    }

    #[test]
    fn a_filter_leaves_what_is_asked_for_and_what_the_world_did() {
        let of_node = story(&entries(), &Filter { node: Some(2), partition: None });
        assert!(
            of_node.contains("IS KILLED") && of_node.contains("FAULT") && !of_node.contains("orders-1"),
            "{of_node}"
        );
        let of_partition = story(&entries(), &Filter { node: None, partition: Some("orders-1".into()) });
        assert!(of_partition.contains("orders-1: leads") && !of_partition.contains("asks for isr"), "{of_partition}");
        assert!(of_partition.contains("BROKEN acked_is_kept"));
    }

    #[test]
    fn lines_are_no_longer_than_their_column() {
        let lines = wrapped("one two three four five six seven eight nine ten", 12);
        assert!(lines.iter().all(|line| line.len() <= 14) && lines.len() > 3, "{lines:?}");
    }
}
