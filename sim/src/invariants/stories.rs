//! Hand-made stories for the tests of invariants: events in a row, and the first claim that they break.

use super::{End, Invariant};
use crate::{
    event::{Budget, ClientEvent, Member, MemberEvent, NamedPartition, Tag, WorldEvent},
    ledger::Ledger,
    observed::{Fact, Observed},
};
use broker::event::ReplicaEvent;
use controller::event::ControllerEvent;
use groups::{
    ids::{Generation, GroupEpoch, MemberEpoch},
    record::{
        ClassicGroupValue, CommittedOffset, ConsumerGroupValue, CurrentAssignmentValue, MemberState,
        Record as GroupRecord,
    },
};
use metadata::record::Record;
use protocol::ids::*;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use storage::event::{LogEvent, Origin};
use uuid::Uuid;

/// A story under one invariant.
pub struct Story<I> {
    invariant: I,
    /// What is true so far.
    pub ledger: Ledger,
    at: u64,
    offset: i64,
    /// What the invariant said first.
    pub verdict: Result<(), String>,
}

/// Claims nothing: for stories of the ledger alone.
pub struct Nothing;

impl Invariant for Nothing {
    fn name(&self) -> &'static str {
        "nothing"
    }

    fn claim(&self) -> &'static str {
        "nothing"
    }

    fn check(&mut self, _ledger: &mut Ledger, _observed: &Observed<'_>) -> Result<(), String> {
        Ok(())
    }
}

/// The one partition of most stories.
pub fn orders() -> TopicPartition {
    TopicPartition { topic_id: TopicId(Uuid::from_u128(7)), partition: PartitionIndex(0) }
}

/// The same, as clients name it.
pub fn named() -> NamedPartition {
    NamedPartition { topic: "orders".into(), partition: PartitionIndex(0) }
}

/// A set of brokers.
pub fn set(ids: &[i32]) -> BTreeSet<BrokerId> {
    ids.iter().copied().map(BrokerId).collect()
}

impl<I: Invariant> Story<I> {
    pub fn new(invariant: I) -> Self {
        Self { invariant, ledger: Ledger::default(), at: 0, offset: 0, verdict: Ok(()) }
    }

    /// One event of one node.
    pub fn tell(mut self, broker: i32, fact: Fact<'_>) -> Self {
        self.at += 1_000_000;
        let observed = Observed { at: self.at, ordinal: self.at, broker: BrokerId(broker), fact };
        if self.verdict.is_ok() {
            self.verdict = self.invariant.before(&self.ledger, &observed);
            self.ledger.apply(&observed);
            if self.verdict.is_ok() {
                self.verdict = self.invariant.check(&mut self.ledger, &observed);
            }
        }
        self
    }

    /// Lets virtual time pass.
    pub fn wait(mut self, seconds: u64) -> Self {
        self.at += seconds * 1_000_000_000;
        self
    }

    /// The end of the run.
    pub fn end(mut self, end: &End) -> Result<(), String> {
        self.verdict.clone()?;
        self.invariant.at_end(&mut self.ledger, end)
    }

    pub fn log(self, broker: i32, event: LogEvent) -> Self {
        self.tell(broker, Fact::Log(&event))
    }

    pub fn replica(self, broker: i32, event: ReplicaEvent) -> Self {
        self.tell(broker, Fact::Replica(&event))
    }

    pub fn world(self, event: WorldEvent) -> Self {
        self.tell(-1, Fact::World(&event))
    }

    pub fn client(self, event: ClientEvent) -> Self {
        self.tell(-1, Fact::Client(&event))
    }

    pub fn member(self, event: MemberEvent) -> Self {
        self.tell(-1, Fact::Member(&event))
    }

    /// What the coordinator on 1 writes, in one batch at this offset.
    pub fn groups(self, offset: i64, leader_epoch: i32, records: Vec<GroupRecord>) -> Self {
        let (base_offset, end) = (Offset(offset), Offset(offset + records.len() as i64));
        let (partition, leader_epoch) = (orders(), LeaderEpoch(leader_epoch));
        let records = records.into();
        self.replica(1, ReplicaEvent::GroupsWritten { partition, leader_epoch, base_offset, end, records })
    }

    /// A metadata record, applied by a controller.
    pub fn record(mut self, record: Record) -> Self {
        let offset = MetadataOffset(self.offset);
        self.offset += 1;
        self.tell(1, Fact::Controller(&ControllerEvent::Applied { offset, record: Arc::new(record) }))
    }

    /// One record per batch: offset, epoch, and a number that stands for its bytes.
    pub fn append(self, broker: i32, offset: i64, leader_epoch: i32, crc: u32, origin: Origin) -> Self {
        self.log(
            broker,
            LogEvent::Appended {
                partition: orders(),
                base_offset: Offset(offset),
                last_offset: Offset(offset),
                leader_epoch: LeaderEpoch(leader_epoch),
                crc,
                producer_id: ProducerId::NONE,
                producer_epoch: ProducerEpoch::NONE,
                base_sequence: Sequence::NONE,
                origin,
            },
        )
    }

    pub fn truncate(self, broker: i32, from: i64, to: i64) -> Self {
        self.log(broker, LogEvent::Truncated { partition: orders(), to: Offset(to), from: Offset(from) })
    }

    /// The leader's high watermark, with all of 1, 2, 3 in sync unless said otherwise.
    pub fn high_watermark(self, broker: i32, leader_epoch: i32, to: i64, isr: &[i32], maximal: &[i32]) -> Self {
        self.replica(
            broker,
            ReplicaEvent::HighWatermark {
                partition: orders(),
                leader_epoch: LeaderEpoch(leader_epoch),
                leading: true,
                high_watermark: Offset(to),
                log_end_offset: Offset(to),
                isr: set(isr),
                maximal_isr: set(maximal),
                effective_min_isr: 2,
            },
        )
    }

    pub fn follower_high_watermark(self, broker: i32, leader_epoch: i32, to: i64) -> Self {
        self.replica(
            broker,
            ReplicaEvent::HighWatermark {
                partition: orders(),
                leader_epoch: LeaderEpoch(leader_epoch),
                leading: false,
                high_watermark: Offset(to),
                log_end_offset: Offset(to),
                isr: BTreeSet::new(),
                maximal_isr: BTreeSet::new(),
                effective_min_isr: 2,
            },
        )
    }

    pub fn lead(self, broker: i32, leader_epoch: i32, log_end_offset: i64) -> Self {
        self.replica(
            broker,
            ReplicaEvent::BecameLeader {
                partition: orders(),
                leader_epoch: LeaderEpoch(leader_epoch),
                partition_epoch: PartitionEpoch(leader_epoch),
                isr: set(&[1, 2, 3]),
                leader_epoch_start_offset: Offset(log_end_offset),
                high_watermark: Offset(0),
            },
        )
    }

    /// Three registered, running brokers and the topic `orders` with one partition on them, led by 1.
    pub fn cluster(mut self) -> Self {
        self = self.world(WorldEvent::Built { controllers: 3, budget: Budget::Within, replica_lag_ms: 2_000 });
        for id in 1..=3 {
            let epoch = BrokerEpoch(self.offset);
            self = self
                .world(WorldEvent::Started { broker: id })
                .record(register(id))
                .replica(id, ReplicaEvent::Registered { broker_epoch: epoch });
        }
        self.record(Record::Topic { name: "orders".into(), topic_id: orders().topic_id })
            .record(partition_record(&[1, 2, 3]))
    }

    pub fn acknowledged(self, operation: u64, offset: i64) -> Self {
        self.client(ClientEvent::SendAcknowledged {
            to: named(),
            tag: tag(operation),
            offset: Some(Offset(offset)),
            safe: true,
        })
    }

    pub fn invoked(self, operation: u64) -> Self {
        self.client(ClientEvent::SendInvoked { to: named(), tag: tag(operation), safe: true, keyed: None })
    }

    pub fn polled(self, operation: u64, offset: i64, reader: u32) -> Self {
        self.client(ClientEvent::Polled { from: named(), offset: Offset(offset), tag: tag(operation), reader })
    }
}

/// A member of the one group of most stories.
pub fn member(reader: u32) -> Member {
    Member { group: "readers".into(), reader: ClientEvent::GROUPED + reader }
}

/// What it has committed of the one partition.
pub fn commit(offset: i64, metadata: &str) -> GroupRecord {
    let value = CommittedOffset {
        offset: Offset(offset),
        leader_epoch: None,
        metadata: metadata.into(),
        committed_at: WallMillis(0),
        expires_at: None,
    };
    let NamedPartition { topic, partition } = named();
    GroupRecord::Offset { group: "readers".into(), topic: topic.into(), partition, value: Some(value) }
}

/// It is in this generation.
pub fn generation(generation: i32) -> GroupRecord {
    let value = ClassicGroupValue {
        protocol_type: "consumer".into(),
        generation: Generation(generation),
        protocol: None,
        leader: None,
        state_since: None,
        members: Vec::new(),
    };
    GroupRecord::ClassicGroup { group: "readers".into(), value: Some(value) }
}

/// What a member of the group, a consumer group, has of the topic and is to give back.
pub fn given(member: &str, epoch: i32, assigned: &[i32], pending_revocation: &[i32]) -> GroupRecord {
    let partitions = |of: &[i32]| {
        let of: BTreeSet<_> = of.iter().copied().map(PartitionIndex).collect();
        BTreeMap::from([(orders().topic_id, of)])
    };
    let value = CurrentAssignmentValue {
        member_epoch: MemberEpoch(epoch),
        previous_member_epoch: MemberEpoch(epoch),
        state: MemberState::Stable,
        assigned: partitions(assigned),
        pending_revocation: partitions(pending_revocation),
    };
    GroupRecord::CurrentAssignment { group: "readers".into(), member: member.into(), value: Some(value) }
}

/// The group, a consumer group, is in this epoch.
pub fn epoch(epoch: i32) -> GroupRecord {
    let value = ConsumerGroupValue { epoch: GroupEpoch(epoch), metadata_hash: 0 };
    GroupRecord::ConsumerGroup { group: "readers".into(), value: Some(value) }
}

pub fn tag(operation: u64) -> Tag {
    Tag { writer: 1, operation }
}

/// A registration of a broker that is not fenced.
pub fn register(id: i32) -> Record {
    Record::RegisterBroker {
        broker_id: BrokerId(id),
        incarnation_id: IncarnationId(Uuid::from_u128(id as u128)),
        listeners: vec![],
        rack: None,
        directories: vec![],
        fenced: false,
        controlled_shutdown: false,
        features: Default::default(),
    }
}

/// The one partition, with these replicas, all in sync, led by the first.
/// The one partition has these replicas in sync now.
pub fn in_sync(members: &[i32]) -> Record {
    Record::PartitionChange {
        topic_id: orders().topic_id,
        partition: orders().partition,
        isr: Some(members.iter().copied().map(BrokerId).collect()),
        elr: None,
        last_known_elr: None,
        leader: None,
        leader_recovery_state: None,
        replicas: None,
        adding_replicas: None,
        removing_replicas: None,
    }
}

pub fn partition_record(replicas: &[i32]) -> Record {
    Record::Partition {
        topic_id: orders().topic_id,
        partition: orders().partition,
        replicas: replicas.iter().copied().map(BrokerId).collect(),
        directories: vec![DirectoryId::ZERO; replicas.len()],
        isr: replicas.iter().copied().map(BrokerId).collect(),
        elr: Default::default(),
        last_known_elr: Default::default(),
        leader: Some(BrokerId(replicas[0])),
        leader_epoch: LeaderEpoch(0),
        partition_epoch: PartitionEpoch(0),
        leader_recovery_state: Default::default(),
    }
}
