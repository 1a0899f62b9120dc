//! Pure. What each event says, in a sentence whose subject is the node: for people who have never seen the code.

use crate::{
    event::{ClientEvent, MemberDid, MemberEvent, NamedPartition},
    observed::Fact,
};
use broker::event::ReplicaEvent;
use controller::event::ControllerEvent;
use protocol::ids::{BrokerId, LeaderEpoch, Offset, TopicPartition};
use runtime::observe::Event;
use std::collections::BTreeSet;
use storage::event::LogEvent;

/// A sentence about an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telling {
    /// The event in one word.
    pub event: &'static str,
    /// Of which partition, as brokers know it.
    pub partition: Option<TopicPartition>,
    /// The sentence.
    pub what: String,
    /// Whether it belongs into a story of a page.
    pub notable: bool,
}

/// Tells an event.
pub fn tell(fact: Fact<'_>) -> Telling {
    match fact {
        Fact::Log(event) => log(event),
        Fact::Replica(event) => replica(event),
        Fact::Controller(event) => controller(event),
        Fact::Client(event) => client(event),
        Fact::Member(event) => member(event),
        Fact::World(event) => {
            Telling { event: event.kind(), partition: None, what: format!("{event:?}"), notable: true }
        }
    }
}

/// The partition that a client's event is about.
pub fn place(event: &ClientEvent) -> &NamedPartition {
    match event {
        ClientEvent::SendInvoked { to, .. }
        | ClientEvent::SendAcknowledged { to, .. }
        | ClientEvent::SendRefused { to, .. }
        | ClientEvent::SendUnknown { to, .. } => to,
        ClientEvent::DeletionInvoked { of, .. } | ClientEvent::DeletionAcknowledged { of, .. } => of,
        ClientEvent::Polled { from, .. }
        | ClientEvent::PolledForeign { from, .. }
        | ClientEvent::GotDamaged { from, .. } => from,
    }
}

fn list(brokers: &BTreeSet<BrokerId>) -> String {
    brokers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn log(event: &LogEvent) -> Telling {
    let told = |partition: &TopicPartition, notable, what| Telling {
        event: event.kind(),
        partition: Some(*partition),
        what,
        notable,
    };
    match event {
        LogEvent::Opened { partition, log_start_offset, log_end_offset, cut_bytes } => {
            let cut = if *cut_bytes > 0 { format!(", {cut_bytes} torn bytes cut") } else { String::new() };
            told(partition, true, format!("opens its log: offsets {log_start_offset} to {log_end_offset}{cut}"))
        }
        LogEvent::Recovered { partition, base_offset, last_offset, leader_epoch, .. } => {
            told(partition, false, format!("finds {base_offset} to {last_offset} of epoch {leader_epoch} in its log"))
        }
        LogEvent::Appended { partition, base_offset, last_offset, leader_epoch, origin, .. } => {
            let role = if *origin == storage::event::Origin::Leader { "leader" } else { "follower" };
            let what = format!("appends {base_offset} to {last_offset} in epoch {leader_epoch} as {role}");
            told(partition, false, what)
        }
        LogEvent::Truncated { partition, to, from } => {
            told(partition, true, format!("cuts its log from {from} back to {to}"))
        }
        LogEvent::Emptying { partition, at } => told(partition, true, format!("is to begin its log anew at {at}")),
        LogEvent::Restarted { partition, at } => told(partition, true, format!("begins its log anew at {at}")),
        LogEvent::Synced { partition, up_to } => told(partition, false, format!("has all below {up_to} on its device")),
        LogEvent::Failed { partition, .. } => told(partition, true, "cannot write its log".into()),
        LogEvent::StartAdvanced { partition, to } => told(partition, false, format!("keeps nothing below {to}")),
        LogEvent::Cleaned { partition, from, to, batches } => {
            let removed: usize = batches.iter().map(|batch| batch.removed.len()).sum();
            told(partition, true, format!("cleans its log from {from} to {to}, of {removed} records"))
        }
        LogEvent::Deleted { partition } => told(partition, true, "deletes its log".into()),
        LogEvent::Epochs { partition, entries } => {
            let epochs: Vec<String> =
                entries.iter().map(|entry| format!("{} from {}", entry.leader_epoch, entry.start_offset)).collect();
            told(partition, false, format!("knows the leader epochs {}", epochs.join(", ")))
        }
    }
}

fn replica(event: &ReplicaEvent) -> Telling {
    let told = |partition: Option<&TopicPartition>, notable, what| Telling {
        event: event.kind(),
        partition: partition.copied(),
        what,
        notable,
    };
    match event {
        ReplicaEvent::Registered { broker_epoch } => {
            told(None, true, format!("is registered with broker epoch {broker_epoch}"))
        }
        ReplicaEvent::MetadataApplied { offset, record } => {
            let record = format!("{record:?}");
            let name = record.split([' ', '{', '(']).next().unwrap_or_default();
            told(None, false, format!("learns metadata {offset}: {name}"))
        }
        ReplicaEvent::MetadataSnapshot { next, .. } | ReplicaEvent::MetadataImage { next, .. } => {
            told(None, false, format!("knows all metadata before {next}"))
        }
        ReplicaEvent::BecameLeader { partition, leader_epoch, isr, high_watermark, .. } => {
            let isr = list(isr);
            let what = format!("leads in epoch {leader_epoch}: isr {isr}, high watermark {high_watermark}");
            told(Some(partition), true, what)
        }
        ReplicaEvent::BecameFollower { partition, leader_epoch, leader, log_end_offset, .. } => {
            let leader = leader.map_or("nobody".to_owned(), |leader| leader.to_string());
            let what = format!("follows {leader} in epoch {leader_epoch}: log ends at {log_end_offset}");
            told(Some(partition), true, what)
        }
        ReplicaEvent::HighWatermark { partition, high_watermark, .. } => {
            told(Some(partition), false, format!("has the high watermark {high_watermark}"))
        }
        ReplicaEvent::FollowerFetched { partition, follower, fetch_offset, .. } => {
            told(Some(partition), false, format!("is asked by {follower} for {fetch_offset}"))
        }
        ReplicaEvent::IsrProposed { partition, isr, proposed, .. } => {
            told(Some(partition), true, format!("asks for isr {} instead of {}", list(proposed), list(isr)))
        }
        ReplicaEvent::IsrCommitted { partition, isr, .. } => {
            told(Some(partition), true, format!("is told that the isr is {}", list(isr)))
        }
        ReplicaEvent::ProduceWaits { partition, required, .. } => {
            told(Some(partition), false, format!("holds an answer until the high watermark is {required}"))
        }
        ReplicaEvent::ProduceWaited { partition, required } => {
            told(Some(partition), false, format!("no longer holds the answer for {required}"))
        }
        ReplicaEvent::Acknowledged { partition, base_offset, last_offset, acks, high_watermark, .. } => {
            let acks = if *acks < 0 { "all".to_owned() } else { acks.to_string() };
            let what =
                format!("acknowledges {base_offset} to {last_offset} (acks={acks}, high watermark {high_watermark})");
            told(Some(partition), false, what)
        }
        ReplicaEvent::OutOfRange { partition, offset, .. } => {
            told(Some(partition), true, format!("refuses offset {offset} as out of range"))
        }
        ReplicaEvent::Diverged { partition, truncated_to, .. } => {
            told(Some(partition), true, format!("finds that its log diverges, and keeps what is below {truncated_to}"))
        }
        ReplicaEvent::Damaged { partition } => told(Some(partition), true, "finds its log damaged".into()),
        ReplicaEvent::CoordinatorLoaded { partition, leader_epoch, end, .. } => {
            told(Some(partition), true, format!("coordinates groups in epoch {leader_epoch}: read up to {end}"))
        }
        ReplicaEvent::GroupsWritten { partition, leader_epoch, base_offset, records, .. } => {
            told(Some(partition), false, groups_written(records, *base_offset, *leader_epoch))
        }
        ReplicaEvent::BrokenBatch { partition } => told(Some(partition), true, "is sent a broken batch".into()),
        ReplicaEvent::Stopped { partition } => told(Some(partition), true, "stops".into()),
    }
}

fn controller(event: &ControllerEvent) -> Telling {
    let told = |notable, what| Telling { event: event.kind(), partition: None, what, notable };
    match event {
        ControllerEvent::Activated { term } => told(true, format!("is the active controller, in term {term}")),
        ControllerEvent::Resigned { term } => told(true, format!("is no longer the active controller of term {term}")),
        ControllerEvent::Applied { offset, .. } => told(false, format!("has committed metadata {offset}")),
        ControllerEvent::SnapshotInstalled { next, .. } => {
            told(true, format!("takes a snapshot with all metadata before {next}"))
        }
        ControllerEvent::BrokerDead { broker_id, refused } => {
            let why = if *refused { "it refuses connections" } else { "it is silent" };
            told(true, format!("takes broker {broker_id} for dead: {why}"))
        }
    }
}

fn client(event: &ClientEvent) -> Telling {
    let told = |notable, what| Telling { event: event.kind(), partition: None, what, notable };
    match event {
        ClientEvent::SendInvoked { tag, .. } => told(false, format!("sends record {tag}")),
        ClientEvent::SendAcknowledged { tag, offset: Some(offset), .. } => {
            told(false, format!("is told that record {tag} is at {offset}"))
        }
        ClientEvent::SendAcknowledged { tag, offset: None, .. } => told(false, format!("is done with record {tag}")),
        ClientEvent::SendRefused { tag, error, .. } => told(false, format!("is refused record {tag}: {error}")),
        ClientEvent::SendUnknown { tag, .. } => told(false, format!("does not know whether record {tag} was written")),
        ClientEvent::DeletionInvoked { before, .. } => {
            let what = before.map_or("all that is committed".to_owned(), |before| format!("what is below {before}"));
            told(true, format!("deletes {what}"))
        }
        ClientEvent::DeletionAcknowledged { low_watermark, .. } => {
            told(true, format!("is told that nothing below {low_watermark} is kept"))
        }
        ClientEvent::Polled { offset, tag, .. } => told(false, format!("reads record {tag} at {offset}")),
        ClientEvent::PolledForeign { offset, .. } => told(false, format!("reads a record of another's at {offset}")),
        ClientEvent::GotDamaged { offset, .. } => told(true, format!("gets a damaged batch at {offset}")),
    }
}

fn groups_written(records: &[groups::record::Record], at: Offset, leader_epoch: LeaderEpoch) -> String {
    let groups: BTreeSet<&str> = records.iter().map(|record| &**record.group()).collect();
    let groups = groups.into_iter().collect::<Vec<_>>().join(", ");
    format!("writes of {groups} at {at}, in epoch {leader_epoch}")
}

fn member(event: &MemberEvent) -> Telling {
    let who = &event.member;
    let list = |partitions: Vec<&NamedPartition>| match partitions.as_slice() {
        [] => "nothing".to_owned(),
        some => some.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    };
    let of = list(event.what.partitions());
    let (notable, what) = match &event.what {
        MemberDid::CommitsFirst => (true, format!("as {who} commits everything before it processes it")),
        MemberDid::Took { generation, .. } => (true, format!("as {who} takes {of} in generation {generation}")),
        MemberDid::GaveUp { lost: false, .. } => (true, format!("as {who} gives up {of}")),
        MemberDid::GaveUp { lost: true, .. } => (true, format!("as {who} has lost {of}")),
        MemberDid::CommitInvoked { attempt, .. } => (false, format!("as {who} commits {of} ({attempt})")),
        MemberDid::CommitAcknowledged { attempt, .. } => {
            (false, format!("as {who} is told that {attempt} is committed"))
        }
        MemberDid::FetchInvoked { .. } => (false, format!("as {who} asks where its group is in {of}")),
        MemberDid::FetchAnswered { offsets, .. } => {
            let at = offsets.iter().map(|(of, (offset, _))| format!("{of} at {offset}")).collect::<Vec<_>>();
            (false, format!("as {who} is told where its group is: {}", at.join(", ")))
        }
        MemberDid::Ended => (true, format!("as {who} goes")),
    };
    Telling { event: event.kind(), partition: None, what, notable }
}
