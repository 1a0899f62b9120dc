//! One clean history of a whole cluster, edited by hand in one place at a time: the right checker must go red each time.
//! What the checkers are told by hand-made stories proves their rules; this proves that they are asked, with real events.

use super::*;
use crate::{
    event::{ClientEvent, MemberEvent, NamedPartition, Tag},
    invariants::Judge,
    observed::{Fact, Observed},
};
use broker::event::ReplicaEvent;
use controller::event::ControllerEvent;
use metadata::record::Record;
use protocol::ids::{BrokerId, Offset};
use runtime::{observe::Envelope, sync::Lock};
use std::{any::Any, sync::Arc};
use storage::event::{LogEvent, Origin};

mod members;

const SCENARIO: &str = r#"
title = "A leader dies and comes back"
lasts = "9s"
timeline = [{ at = "3s", fault = "kill", node = "leader of orders-0", lasts = "3s" }]
[[topic]]
name = "orders"
[[workload]]
kind = "produce"
topic = "orders"
[[workload]]
kind = "consume"
topic = "orders"
"#;

#[derive(Clone, Debug)]
enum Owned {
    Log(LogEvent),
    Replica(ReplicaEvent),
    Controller(ControllerEvent),
    Client(ClientEvent),
    Member(MemberEvent),
    World(WorldEvent),
}

#[derive(Clone, Debug)]
struct Kept {
    at: u64,
    broker: BrokerId,
    event: Owned,
}

type History = Vec<Kept>;

fn kept(envelope: &Envelope, event: &dyn observe::Event) -> Option<Kept> {
    let any: &dyn Any = event;
    let event = if let Some(event) = any.downcast_ref::<LogEvent>() {
        Owned::Log(event.clone())
    } else if let Some(event) = any.downcast_ref::<ReplicaEvent>() {
        Owned::Replica(event.clone())
    } else if let Some(event) = any.downcast_ref::<ControllerEvent>() {
        Owned::Controller(event.clone())
    } else if let Some(event) = any.downcast_ref::<ClientEvent>() {
        Owned::Client(event.clone())
    } else if let Some(event) = any.downcast_ref::<MemberEvent>() {
        Owned::Member(event.clone())
    } else {
        Owned::World(any.downcast_ref::<WorldEvent>()?.clone())
    };
    // Nodes are numbered as they are added, and brokers are the first.
    Some(Kept { at: envelope.at, broker: BrokerId(envelope.node.0 as i32), event })
}

/// What happened in a run that holds.
fn clean(scenario: &str) -> History {
    let scenario = Scenario::parse(scenario).expect("a valid file");
    let history: Arc<Lock<History>> = Arc::new(Lock::new(255, Vec::new()));
    let run = simulation::run(1, simulation::Options::default(), {
        let history = Arc::clone(&history);
        move || {
            simulation::subscribe(Box::new(move |envelope, event| history.lock().extend(kept(envelope, event))));
            play(scenario, None, false, None)
        }
    });
    assert!(run.result.is_ok_and(|outcome| outcome.failure.is_none()), "the run holds");
    let history = std::mem::take(&mut *history.lock());
    assert_eq!(broken(&history), None);
    history
}

#[test]
fn what_a_step_could_wait_for_is_what_has_become_true_and_was_not() {
    let scenario = Scenario::parse(SCENARIO).expect("a valid file");
    let told = run(&scenario, 1, Options::default()).just_true;
    // Nobody has been elected since the beginning, so there is no epoch to wait for.
    let [fact] = &*told[&0] else { panic!("{told:?}") };
    assert!(fact.starts_with("high_watermark(orders-0) >= "), "{fact}");
    assert!(Condition::parse(fact).is_ok() && !fact.ends_with(" 0"), "{fact}");
}

/// Which claim a history breaks first.
fn broken(history: &History) -> Option<&'static str> {
    let mut judge = Judge::default();
    for (ordinal, Kept { at, broker, event }) in history.iter().enumerate() {
        let fact = match event {
            Owned::Log(event) => Fact::Log(event),
            Owned::Replica(event) => Fact::Replica(event),
            Owned::Controller(event) => Fact::Controller(event),
            Owned::Client(event) => Fact::Client(event),
            Owned::Member(event) => Fact::Member(event),
            Owned::World(event) => Fact::World(event),
        };
        judge.observe(&Observed { at: *at, ordinal: ordinal as u64, broker: *broker, fact });
    }
    judge.end(&End { unsettled: None, drained: true });
    judge.violation.map(|violation| violation.invariant)
}

/// The places of events, and the one in the middle of them.
fn middle(history: &History, is_one: impl Fn(&Owned) -> bool) -> usize {
    let all: Vec<usize> = (0..history.len()).filter(|at| is_one(&history[*at].event)).collect();
    *all.get(all.len() / 2).expect("the history has such an event")
}

fn is_drained(event: &Owned) -> bool {
    matches!(event, Owned::Client(ClientEvent::Polled { reader: ClientEvent::DRAIN, .. }))
}

fn polled(kept: &mut Kept) -> (&mut Offset, &mut Tag) {
    match &mut kept.event {
        Owned::Client(ClientEvent::Polled { offset, tag, .. }) => (offset, tag),
        other => panic!("{other:?} is no poll"),
    }
}

fn a_record_is_lost(history: &mut History) {
    let at = middle(history, is_drained);
    history.remove(at);
}

fn a_record_is_there_twice(history: &mut History) {
    let at = middle(history, is_drained);
    let mut again = history[at].clone();
    polled(&mut again).0.0 += 10_000;
    let last = history.len() - history.iter().rev().position(|kept| is_drained(&kept.event)).expect("there are some");
    history.insert(last, again);
}

fn two_records_are_swapped(history: &mut History) {
    let one = middle(history, is_drained);
    let other = one + 1 + history[one + 1..].iter().position(|kept| is_drained(&kept.event)).expect("more follow");
    let tag = *polled(&mut history[one]).1;
    *polled(&mut history[one]).1 = std::mem::replace(polled(&mut history[other]).1, tag);
}

fn a_refused_record_is_read(history: &mut History) {
    let at = middle(history, |event| matches!(event, Owned::Client(ClientEvent::SendAcknowledged { .. })));
    let Owned::Client(ClientEvent::SendAcknowledged { to, tag, .. }) = &history[at].event else { unreachable!() };
    let refused = ClientEvent::SendRefused { to: to.clone(), tag: *tag, error: "NOT_ENOUGH_REPLICAS".into() };
    history[at].event = Owned::Client(refused);
}

fn the_high_watermark_runs_ahead(history: &mut History) {
    let is_leaders = |event: &Owned| matches!(event, Owned::Replica(ReplicaEvent::HighWatermark { leading: true, .. }));
    let at = middle(history, is_leaders);
    let Owned::Replica(ReplicaEvent::HighWatermark { high_watermark, .. }) = &mut history[at].event else {
        unreachable!()
    };
    high_watermark.0 += 5;
}

fn an_acknowledgement_comes_early(history: &mut History) {
    let at = middle(history, |event| matches!(event, Owned::Replica(ReplicaEvent::Acknowledged { acks: -1, .. })));
    let Owned::Replica(ReplicaEvent::Acknowledged { last_offset, .. }) = &mut history[at].event else { unreachable!() };
    last_offset.0 += 5;
}

fn two_lead_in_one_epoch(history: &mut History) {
    let first = |is_one: fn(&ReplicaEvent) -> bool| {
        let is_one = |kept: &Kept| matches!(&kept.event, Owned::Replica(event) if is_one(event));
        history.iter().position(is_one).expect("a leader has followers")
    };
    let leads = first(|event| matches!(event, ReplicaEvent::BecameLeader { .. }));
    let follows = first(|event| matches!(event, ReplicaEvent::BecameFollower { .. }));
    history[follows].event = history[leads].event.clone();
}

fn a_follower_appends_something_else(history: &mut History) {
    let is_copied = |event: &Owned| matches!(event, Owned::Log(LogEvent::Appended { origin: Origin::Follower, .. }));
    let at = middle(history, is_copied);
    let Owned::Log(LogEvent::Appended { crc, .. }) = &mut history[at].event else { unreachable!() };
    *crc ^= 1;
}

fn two_append_in_one_epoch(history: &mut History) {
    let is_copied = |event: &Owned| matches!(event, Owned::Log(LogEvent::Appended { origin: Origin::Follower, .. }));
    let at = middle(history, is_copied);
    let Owned::Log(LogEvent::Appended { origin, .. }) = &mut history[at].event else { unreachable!() };
    *origin = Origin::Leader;
}

fn a_recovery_loses_records(history: &mut History) {
    let is_again = |kept: &Kept| match &kept.event {
        Owned::Log(LogEvent::Opened { log_end_offset, .. }) => log_end_offset.0 > 2,
        _ => false,
    };
    let at = history.iter().position(is_again).expect("the killed broker opens its log again");
    let Owned::Log(LogEvent::Opened { log_end_offset, .. }) = &mut history[at].event else { unreachable!() };
    log_end_offset.0 -= 2;
}

fn committed_records_are_cut_off(history: &mut History) {
    let is_leaders = |event: &Owned| matches!(event, Owned::Replica(ReplicaEvent::HighWatermark { leading: true, .. }));
    let at = middle(history, is_leaders);
    let Owned::Replica(ReplicaEvent::HighWatermark { partition, log_end_offset, .. }) = history[at].event else {
        unreachable!()
    };
    let cut = LogEvent::Truncated { partition, to: Offset(1), from: log_end_offset };
    let kept = Kept { event: Owned::Log(cut), ..history[at].clone() };
    history.insert(at + 1, kept);
}

fn a_controller_applies_another_record(history: &mut History) {
    let is_change = |event: &Owned| match event {
        Owned::Controller(ControllerEvent::Applied { record, .. }) => {
            matches!(**record, Record::PartitionChange { .. })
        }
        _ => false,
    };
    // The last of the three to apply it.
    let at = history.iter().rposition(|kept| is_change(&kept.event)).expect("a leader was elected");
    let Owned::Controller(ControllerEvent::Applied { record, .. }) = &mut history[at].event else { unreachable!() };
    *record = Arc::new(Record::FenceBroker { broker_id: BrokerId(1), broker_epoch: protocol::ids::BrokerEpoch(1) });
}

fn a_consumer_reads_ahead(history: &mut History) {
    let is_read = |kept: &Kept| matches!(kept.event, Owned::Client(ClientEvent::Polled { .. }));
    let is_sent = |kept: &Kept| matches!(kept.event, Owned::Client(ClientEvent::SendInvoked { .. }));
    let (read, sent) = (history.iter().position(is_read), history.iter().position(is_sent));
    let read = history.remove(read.expect("the consumer reads"));
    history.insert(sent.expect("the producer writes") + 1, read);
}

/// An edit, and the checkers of which one has to notice.
type Edit = (fn(&mut History), &'static [&'static str]);

const EDITS: &[Edit] = &[
    (a_record_is_lost, &["acked_is_kept", "polls_in_order"]),
    (a_record_is_there_twice, &["one_offset_per_value"]),
    (two_records_are_swapped, &["one_value_per_offset", "one_offset_per_value", "send_order"]),
    (a_refused_record_is_read, &["refused_is_never_seen"]),
    (the_high_watermark_runs_ahead, &["high_watermark_is_covered"]),
    (an_acknowledgement_comes_early, &["acknowledged_is_replicated"]),
    (two_lead_in_one_epoch, &["epochs_advance"]),
    (two_append_in_one_epoch, &["one_leader_per_epoch"]),
    (a_follower_appends_something_else, &["one_leader_per_epoch", "prefixes_agree", "follower_copies_its_leader"]),
    (a_recovery_loses_records, &["recovery_keeps_synced"]),
    (committed_records_are_cut_off, &["no_truncation_of_committed"]),
    (a_controller_applies_another_record, &["metadata_prefixes_agree"]),
    (a_consumer_reads_ahead, &["reads_are_committed"]),
];

#[test]
fn every_edit_of_a_clean_history_is_noticed_by_the_right_checker() {
    try_all(SCENARIO, EDITS);
}

fn try_all(scenario: &str, edits: &[Edit]) {
    let clean = clean(scenario);
    for (number, (edit, expected)) in edits.iter().enumerate() {
        let mut history = clean.clone();
        edit(&mut history);
        let broken = broken(&history);
        assert!(broken.is_some_and(|name| expected.contains(&name)), "edit {number}: {broken:?}, not {expected:?}");
    }
}
