//! Claims about records as bytes.

use super::*;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use uuid::Uuid;

fn broker_id() -> impl Strategy<Value = BrokerId> {
    any::<i32>().prop_map(BrokerId)
}

fn broker_epoch() -> impl Strategy<Value = BrokerEpoch> {
    any::<i64>().prop_map(BrokerEpoch)
}

fn topic_id() -> impl Strategy<Value = TopicId> {
    any::<u128>().prop_map(|bits| TopicId(Uuid::from_u128(bits)))
}

fn brokers() -> impl Strategy<Value = Vec<BrokerId>> {
    vec(broker_id(), 0..4)
}

fn recovery() -> impl Strategy<Value = LeaderRecoveryState> {
    prop_oneof![Just(LeaderRecoveryState::Recovered), Just(LeaderRecoveryState::Recovering)]
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    let protocol = (0..4_i16).prop_map(|code| SecurityProtocol::from_code(code).expect("0 to 3 are defined"));
    (".{0,9}", ".{0,9}", any::<u16>(), protocol).prop_map(|(name, host, port, security_protocol)| Endpoint {
        name,
        host,
        port,
        security_protocol,
    })
}

fn directories() -> impl Strategy<Value = Vec<DirectoryId>> {
    vec(any::<u128>().prop_map(|bits| DirectoryId(Uuid::from_u128(bits))), 0..3)
}

fn registration() -> impl Strategy<Value = Record> {
    let features =
        btree_map(".{0,9}", (any::<i16>(), any::<i16>()).prop_map(|(min, max)| FeatureRange { min, max }), 0..3);
    let flags = (any::<bool>(), any::<bool>());
    (broker_id(), any::<u128>(), vec(endpoint(), 0..3), option::of(".{0,9}"), directories(), flags, features).prop_map(
        |(broker_id, incarnation, listeners, rack, directories, (fenced, controlled_shutdown), features)| {
            Record::RegisterBroker {
                broker_id,
                incarnation_id: IncarnationId(Uuid::from_u128(incarnation)),
                listeners,
                rack,
                directories,
                fenced,
                controlled_shutdown,
                features,
            }
        },
    )
}

fn partition() -> impl Strategy<Value = Record> {
    let members = (brokers(), directories(), brokers(), brokers(), brokers());
    let epochs = (any::<i32>(), any::<i32>());
    (topic_id(), any::<i32>(), members, option::of(broker_id()), epochs, recovery()).prop_map(
        |(topic_id, partition, (replicas, directories, isr, elr, last_known_elr), leader, epochs, recovery)| {
            Record::Partition {
                topic_id,
                partition: PartitionIndex(partition),
                replicas,
                directories,
                isr,
                elr,
                last_known_elr,
                leader,
                leader_epoch: LeaderEpoch(epochs.0),
                partition_epoch: PartitionEpoch(epochs.1),
                leader_recovery_state: recovery,
            }
        },
    )
}

fn partition_change() -> impl Strategy<Value = Record> {
    let members = (option::of(brokers()), option::of(brokers()), option::of(brokers()));
    let assignment = (option::of(brokers()), option::of(brokers()), option::of(brokers()));
    let leader = (option::of(option::of(broker_id())), option::of(recovery()));
    (topic_id(), any::<i32>(), members, leader, assignment).prop_map(
        |(topic_id, partition, (isr, elr, last_known_elr), (leader, leader_recovery_state), assignment)| {
            let (replicas, adding_replicas, removing_replicas) = assignment;
            Record::PartitionChange {
                topic_id,
                partition: PartitionIndex(partition),
                isr,
                elr,
                last_known_elr,
                leader,
                leader_recovery_state,
                replicas,
                adding_replicas,
                removing_replicas,
            }
        },
    )
}

fn config() -> impl Strategy<Value = Record> {
    let resource =
        prop_oneof![".{0,9}".prop_map(ConfigResource::Topic), option::of(broker_id()).prop_map(ConfigResource::Broker)];
    (resource, ".{0,9}", option::of(".{0,9}")).prop_map(|(resource, name, value)| Record::Config {
        resource,
        name,
        value,
    })
}

/// Any record at all.
fn record() -> impl Strategy<Value = Record> {
    let life = || (broker_id(), broker_epoch());
    prop_oneof![
        registration(),
        life().prop_map(|(broker_id, broker_epoch)| Record::FenceBroker { broker_id, broker_epoch }),
        life().prop_map(|(broker_id, broker_epoch)| Record::UnfenceBroker { broker_id, broker_epoch }),
        life().prop_map(|(broker_id, broker_epoch)| Record::BrokerControlledShutdown { broker_id, broker_epoch }),
        life().prop_map(|(broker_id, broker_epoch)| Record::UnregisterBroker { broker_id, broker_epoch }),
        (".{0,9}", topic_id()).prop_map(|(name, topic_id)| Record::Topic { name, topic_id }),
        topic_id().prop_map(|topic_id| Record::RemoveTopic { topic_id }),
        partition(),
        partition_change(),
        (topic_id(), 0..9i32, broker_id(), any::<u128>()).prop_map(|(topic_id, partition, broker_id, directory)| {
            let (partition, directory) = (PartitionIndex(partition), DirectoryId(Uuid::from_u128(directory)));
            Record::ReplicaDirectory { topic_id, partition, broker_id, directory }
        }),
        config(),
        (life(), any::<i64>()).prop_map(|((broker_id, broker_epoch), next)| Record::ProducerIds {
            broker_id,
            broker_epoch,
            next_producer_id: ProducerId(next)
        }),
        (".{0,9}", any::<i16>()).prop_map(|(name, level)| Record::FeatureLevel { name, level }),
        Just(Record::NoOp),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(record in record()) {
        let bytes = record.encode();
        prop_assert_eq!(Record::decode(&bytes).expect("its own bytes"), record);
    }

    #[test]
    fn a_cut_record_is_refused(record in record(), cut in any::<prop::sample::Index>()) {
        let bytes = record.encode();
        let cut = cut.index(bytes.len());
        prop_assert!(Record::decode(&bytes[..cut]).is_err(), "{} of {} bytes", cut, bytes.len());
    }

    #[test]
    fn any_bytes_are_read_or_refused_and_never_panic(bytes in vec(any::<u8>(), 0..64)) {
        let _ = Record::decode(&bytes);
    }

    #[test]
    fn a_known_type_with_any_body_is_read_or_refused(record_type in 0..14_u16, body in vec(any::<u8>(), 0..64)) {
        let bytes = [&record_type.to_be_bytes()[..], &[0, 0], &body].concat();
        let _ = Record::decode(&bytes);
    }
}

#[test]
fn an_unknown_type_is_an_error_that_names_type_and_version() {
    let error = Record::decode(&[0x7f, 0xff, 0, 3, 1, 2]).expect_err("no such type");
    insta::assert_snapshot!(error, @"metadata record of unknown type 32767 version 3");
}

#[test]
fn an_unknown_version_is_an_error_that_names_type_and_version() {
    let error = Record::decode(&[0, 6, 0, 9]).expect_err("no such version");
    insta::assert_snapshot!(error, @"metadata record RemoveTopic (type 6) has unknown version 9, the newest known is 0");
}

#[test]
fn bytes_left_over_are_an_error() {
    let mut bytes = Record::NoOp.encode().to_vec();
    bytes.push(1);
    let error = Record::decode(&bytes).expect_err("one byte too many");
    insta::assert_snapshot!(error, @"metadata record NoOp version 0 is followed by 1 bytes that belong to nothing");
}

#[test]
fn a_count_beyond_the_bytes_allocates_nothing_and_is_refused() {
    // A partition record whose list of replicas announces 2^32 - 1 members.
    let mut bytes = vec![0, 7, 0, 0, 16];
    bytes.extend([0; 16]);
    bytes.push(0);
    bytes.extend([0xff, 0xff, 0xff, 0xff, 0x0f]);
    assert!(matches!(Record::decode(&bytes), Err(RecordError::Malformed { name: "Partition", .. })));
}

#[test]
fn the_bytes_of_a_record_do_not_change_from_build_to_build() {
    let hex = |record: Record| record.encode().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let topic_id = TopicId(Uuid::from_u128(7));
    let change = Record::PartitionChange {
        topic_id,
        partition: PartitionIndex(3),
        isr: Some(vec![BrokerId(1), BrokerId(2)]),
        elr: None,
        last_known_elr: None,
        leader: Some(None),
        leader_recovery_state: None,
        replicas: None,
        adding_replicas: None,
        removing_replicas: None,
    };
    insta::assert_snapshot!(hex(change), @"00080000100000000000000000000000000000000706010202040000010000");
    let moved = Record::PartitionChange {
        topic_id,
        partition: PartitionIndex(3),
        isr: None,
        elr: None,
        last_known_elr: None,
        leader: None,
        leader_recovery_state: None,
        replicas: Some(vec![BrokerId(2), BrokerId(1)]),
        adding_replicas: Some(vec![BrokerId(2)]),
        removing_replicas: Some(vec![]),
    };
    insta::assert_snapshot!(hex(moved), @"000800011000000000000000000000000000000007060000000000010204020101040100");
    insta::assert_snapshot!(hex(Record::Topic { name: "orders".into(), topic_id }), @"00050000066f72646572731000000000000000000000000000000007");
    insta::assert_snapshot!(hex(Record::NoOp), @"000c0000");
}
