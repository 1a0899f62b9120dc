//! The same for what members of a group ask and are told, and for what its coordinators write.

use super::*;
use crate::event::MemberDid;
use groups::{
    ids::{Generation, GroupEpoch},
    record::Record as GroupRecord,
    shard::{Config, GroupShard},
};
use std::sync::Arc;

const GROUP: &str = r#"
title = "Two members read while their coordinators die"
lasts = "30s"
timeline = [
  { at = "8s", fault = "kill", node = "leader of __consumer_offsets-0", lasts = "2s" },
  { at = "16s", fault = "kill", node = "leader of __consumer_offsets-1", lasts = "2s" },
]
[[topic]]
name = "orders"
partitions = 2
[[workload]]
kind = "produce"
topic = "orders"
[[workload]]
kind = "group"
topic = "orders"
clients = 2
"#;

/// The last event of a member that `pick` makes something of.
fn last<'a, T>(history: &'a mut History, pick: impl FnMut(&'a mut MemberDid) -> Option<T>) -> T {
    let told = history.iter_mut().rev().filter_map(|kept| match &mut kept.event {
        Owned::Member(event) => Some(&mut event.what),
        _ => None,
    });
    told.filter_map(pick).next().expect("there is such an event")
}

fn a_commit_goes_back(history: &mut History) {
    last(history, |what| match what {
        MemberDid::FetchAnswered { offsets, .. } => {
            let (offset, _) = offsets.values_mut().next()?;
            offset.0 -= 1;
            Some(())
        }
        _ => None,
    });
}

fn an_accepted_commit_is_not_written(history: &mut History) {
    let accepted = last(history, |what| match what {
        MemberDid::CommitAcknowledged { attempt, .. } => Some(*attempt),
        _ => None,
    });
    let text = format!(".{accepted}");
    let is_it = |record: &GroupRecord| matches!(record, GroupRecord::Offset { value: Some(value), .. } if value.metadata.ends_with(&text));
    let is_written = |kept: &Kept| match &kept.event {
        Owned::Replica(ReplicaEvent::GroupsWritten { records, .. }) => records.iter().any(is_it),
        _ => false,
    };
    history.retain(|kept| !is_written(kept));
}

fn a_record_is_passed_over(history: &mut History) {
    let is_members = |event: &Owned| match event {
        Owned::Client(ClientEvent::Polled { reader, .. }) => {
            *reader >= ClientEvent::GROUPED && *reader != ClientEvent::DRAIN
        }
        _ => false,
    };
    let at = middle(history, is_members);
    history.remove(at);
}

fn a_generation_is_counted_anew(history: &mut History) {
    let is_group = |record: &GroupRecord| matches!(record, GroupRecord::ClassicGroup { value: Some(_), .. });
    last_written(history, is_group, |record| {
        if let GroupRecord::ClassicGroup { value: Some(value), .. } = record {
            value.generation = Generation(0);
        }
    });
}

fn two_members_have_a_partition(history: &mut History) {
    let both = NamedPartition { topic: "orders".into(), partition: protocol::ids::PartitionIndex(0) };
    for kept in history.iter_mut() {
        if let Owned::Member(MemberEvent { what: MemberDid::Took { partitions, .. }, .. }) = &mut kept.event
            && !partitions.is_empty()
        {
            *partitions = vec![both.clone()];
        }
    }
}

fn a_commit_of_an_older_generation_is_accepted(history: &mut History) {
    let accepted = last(history, |what| match what {
        MemberDid::CommitAcknowledged { attempt, generation } => {
            *generation = 0;
            Some(*attempt)
        }
        _ => None,
    });
    for kept in history.iter_mut() {
        if let Owned::Member(MemberEvent { what: MemberDid::CommitInvoked { attempt, generation, .. }, .. }) =
            &mut kept.event
            && *attempt == accepted
        {
            *generation = 0;
        }
    }
}

fn a_coordinator_writes_before_it_has_read(history: &mut History) {
    let is_loaded = |kept: &Kept| matches!(kept.event, Owned::Replica(ReplicaEvent::CoordinatorLoaded { .. }));
    history.retain(|kept| !is_loaded(kept));
}

fn a_coordinator_begins_with_nothing(history: &mut History) {
    for kept in history.iter_mut() {
        if let Owned::Replica(ReplicaEvent::CoordinatorLoaded { recorded, .. }) = &mut kept.event {
            *recorded = Arc::new(GroupShard::new(Config::default()).recorded());
        }
    }
}

fn offsets_of_readers_are_forgotten(history: &mut History) {
    last_written(
        history,
        |record| matches!(record, GroupRecord::Offset { value: Some(_), .. }),
        |record| {
            if let GroupRecord::Offset { value, .. } = record {
                *value = None;
            }
        },
    );
}

const EDITS: &[Edit] = &[
    (a_commit_goes_back, &["commits_are_kept"]),
    (an_accepted_commit_is_not_written, &["commits_are_kept"]),
    (a_record_is_passed_over, &["groups_skip_nothing"]),
    (a_generation_is_counted_anew, &["generations_advance"]),
    (two_members_have_a_partition, &["one_owner"]),
    (a_commit_of_an_older_generation_is_accepted, &["commits_are_fenced"]),
    (a_coordinator_writes_before_it_has_read, &["one_coordinator"]),
    (a_coordinator_begins_with_nothing, &["coordinator_is_its_log"]),
    (offsets_of_readers_are_forgotten, &["offsets_stay"]),
];

fn a_record_is_processed_again(history: &mut History) {
    let at = middle(history, |event| match event {
        Owned::Client(ClientEvent::Polled { reader, .. }) => {
            *reader >= ClientEvent::GROUPED && *reader != ClientEvent::DRAIN
        }
        _ => false,
    });
    let again = history[at].clone();
    history.insert(at + 1, again);
}

#[test]
fn a_record_that_is_processed_again_is_noticed_where_each_is_processed_once() {
    let at_most_once = GROUP.replace("clients = 2\n", "clients = 2\ndelivers = \"at-most-once\"\n");
    try_all(&at_most_once, &[(a_record_is_processed_again, &["processed_once"])]);
}

/// The last batch of a coordinator in which `is_it` finds something, to change.
fn last_written(history: &mut History, is_it: impl Fn(&GroupRecord) -> bool, change: impl Fn(&mut GroupRecord)) {
    let found = history.iter_mut().rev().find_map(|kept| match &mut kept.event {
        Owned::Replica(ReplicaEvent::GroupsWritten { records, .. }) if records.iter().any(&is_it) => Some(records),
        _ => None,
    });
    let records = found.expect("there is such a batch");
    let mut changed = records.to_vec();
    changed.iter_mut().filter(|record| is_it(record)).for_each(change);
    *records = changed.into();
}

fn a_member_is_given_what_another_has(history: &mut History) {
    let has_some = |record: &GroupRecord| matches!(record, GroupRecord::CurrentAssignment { value: Some(value), .. } if value.assigned.values().any(|some| !some.is_empty()));
    last_written(history, has_some, |record| {
        if let GroupRecord::CurrentAssignment { value: Some(value), .. } = record {
            let all = [0, 1].map(protocol::ids::PartitionIndex);
            value.assigned.values_mut().for_each(|some| some.extend(all));
        }
    });
}

fn an_epoch_is_counted_anew(history: &mut History) {
    let is_epoch = |record: &GroupRecord| matches!(record, GroupRecord::ConsumerGroup { value: Some(_), .. });
    last_written(history, is_epoch, |record| {
        if let GroupRecord::ConsumerGroup { value: Some(value), .. } = record {
            value.epoch = GroupEpoch(0);
        }
    });
}

const EDITS_OF_CONSUMER_GROUPS: &[Edit] = &[
    (a_commit_goes_back, &["commits_are_kept"]),
    (a_record_is_passed_over, &["groups_skip_nothing"]),
    (an_epoch_is_counted_anew, &["generations_advance"]),
    (a_member_is_given_what_another_has, &["one_owner"]),
    (a_commit_of_an_older_generation_is_accepted, &["commits_are_fenced"]),
];

#[test]
fn every_edit_of_what_members_by_kip_848_were_told_is_noticed_by_the_right_checker() {
    let of_consumers = GROUP.replace("clients = 2\n", "clients = 2\nassigning = \"coordinator\"\n");
    try_all(&of_consumers, EDITS_OF_CONSUMER_GROUPS);
}

#[test]
fn every_edit_of_what_members_were_told_is_noticed_by_the_right_checker() {
    try_all(GROUP, EDITS);
}
