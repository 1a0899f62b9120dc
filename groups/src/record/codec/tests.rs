use super::*;
use crate::ids::TopicName;
use proptest::prelude::*;
use protocol::ids::TopicId;
use std::collections::BTreeSet;
use uuid::Uuid;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
}

fn committed(expires_at: Option<i64>) -> Record {
    Record::Offset {
        group: "g".into(),
        topic: "orders".into(),
        partition: PartitionIndex(2),
        value: Some(CommittedOffset {
            offset: Offset(42),
            leader_epoch: expires_at.is_none().then_some(LeaderEpoch(7)),
            metadata: "note".into(),
            committed_at: WallMillis(1_700_000_000_000),
            expires_at: expires_at.map(WallMillis),
        }),
    }
}

#[test]
fn an_offset_has_kafkas_bytes() {
    let (key, value) = committed(None).encode();
    assert_eq!(hex(&key), "000100016700066f726465727300000002");
    assert_eq!(hex(&value.expect("there is one")), "0003000000000000002a0000000700046e6f74650000018bcfe56800");
    let (_, value) = committed(Some(1_700_000_000_001)).encode();
    let bytes = "0001000000000000002a00046e6f74650000018bcfe568000000018bcfe56801";
    assert_eq!(hex(&value.expect("there is one")), bytes);
}

#[test]
fn what_old_and_new_versions_wrote_is_read() {
    let key = unhex("0000 0001 67 0001 74 00000000");
    let read = |value: &str| Record::decode(&key, Some(&unhex(value)));
    let offset = |read| match read {
        Ok(Record::Offset { value: Some(value), .. }) => (value.offset.0, value.leader_epoch, value.expires_at),
        other => panic!("{other:?}"),
    };
    assert_eq!(offset(read("0000 0000000000000005 0000 0000000000000001")), (5, None, None));
    let ends = read("0001 0000000000000005 0000 0000000000000001 0000000000000009");
    assert_eq!(offset(ends), (5, None, Some(WallMillis(9))));
    assert_eq!(offset(read("0002 0000000000000005 0000 0000000000000001")), (5, None, None));
    // Version 4 is flexible, and has a tagged field that is not known here.
    let newest = read("0004 0000000000000005 00000003 01 0000000000000001 01 00 02 abcd");
    assert_eq!(offset(newest), (5, Some(LeaderEpoch(3)), None));
    assert_eq!(read("0005 00"), Err(RecordError::UnknownValue(5)));
    assert_eq!(Record::decode(&unhex("000b 0001 67"), None), Err(RecordError::UnknownKey(11)));
}

#[test]
fn a_length_that_is_a_lie_costs_nothing() {
    let key = unhex("0002 0001 67");
    let value = unhex("0003 0000 00000001 ffff ffff ffffffffffffffff 7fffffff");
    assert_eq!(Record::decode(&key, Some(&value)), Err(RecordError::TooShort));
}

fn names() -> impl Strategy<Value = String> {
    "[a-zé]{0,9}"
}

fn partitions() -> impl Strategy<Value = super::super::TopicPartitions> {
    let topic = any::<u128>().prop_map(|bits| TopicId(Uuid::from_u128(bits)));
    let indices = proptest::collection::btree_set((0..9).prop_map(PartitionIndex), 0..4);
    proptest::collection::btree_map(topic, indices, 0..4)
}

fn bytes() -> impl Strategy<Value = Bytes> {
    proptest::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from)
}

fn classic_member() -> impl Strategy<Value = ClassicMemberValue> {
    (names(), proptest::option::of(names()), names(), any::<i32>(), any::<i32>(), bytes(), bytes()).prop_map(
        |(member, instance, client, rebalance_timeout_ms, session_timeout_ms, subscription, assignment)| {
            ClassicMemberValue {
                member: member.as_str().into(),
                instance: instance.as_deref().map(Into::into),
                client_id: client.clone(),
                client_host: format!("/{client}"),
                rebalance_timeout_ms,
                session_timeout_ms,
                subscription,
                assignment,
            }
        },
    )
}

fn member() -> impl Strategy<Value = MemberValue> {
    let classic = (any::<i32>(), proptest::collection::vec((names(), bytes()), 0..3))
        .prop_map(|(session_timeout_ms, protocols)| ClassicMember { session_timeout_ms, protocols });
    let said =
        (proptest::option::of(names()), proptest::collection::vec(names(), 0..200), proptest::option::of(classic));
    (said, any::<i32>(), names()).prop_map(|((optional, topics, classic), rebalance_timeout_ms, client_id)| {
        MemberValue {
            instance: optional.as_deref().map(Into::into),
            rack: optional.clone(),
            client_id,
            client_host: "/10.0.0.1".into(),
            topics: topics.iter().map(|topic| topic.as_str().into()).collect(),
            regex: optional.clone(),
            rebalance_timeout_ms,
            assignor: optional,
            classic,
        }
    })
}

fn record() -> impl Strategy<Value = Record> {
    let classic = (proptest::collection::vec(classic_member(), 0..3), any::<i32>(), proptest::option::of(names()))
        .prop_map(|(members, generation, protocol)| ClassicGroupValue {
            protocol_type: "consumer".into(),
            generation: Generation(generation),
            leader: members.first().map(|member| member.member.clone()),
            protocol,
            state_since: Some(WallMillis(5)),
            members,
        });
    let current =
        (any::<i32>(), any::<i32>(), partitions(), partitions()).prop_map(|(epoch, previous, assigned, pending)| {
            CurrentAssignmentValue {
                member_epoch: MemberEpoch(epoch),
                previous_member_epoch: MemberEpoch(previous),
                state: if pending.is_empty() { MemberState::Stable } else { MemberState::UnrevokedPartitions },
                assigned,
                pending_revocation: pending,
            }
        });
    let regex = proptest::collection::btree_set(names(), 0..4).prop_map(|topics| RegularExpressionValue {
        topics: topics.iter().map(|topic| TopicName::from(topic.as_str())).collect::<BTreeSet<_>>(),
        version: 3,
        resolved_at: WallMillis(9),
    });
    let group = crate::ids::GroupId::from("group");
    let of = move || group.clone();
    prop_oneof![
        Just(committed(None)),
        Just(committed(Some(5))),
        proptest::option::of(classic).prop_map({
            let of = of.clone();
            move |value| Record::ClassicGroup { group: of(), value }
        }),
        (any::<i32>(), any::<i64>()).prop_map({
            let of = of.clone();
            move |(epoch, metadata_hash)| Record::ConsumerGroup {
                group: of(),
                value: Some(ConsumerGroupValue { epoch: GroupEpoch(epoch), metadata_hash }),
            }
        }),
        Just(Record::PartitionMetadata { group: of() }),
        proptest::option::of(member()).prop_map({
            let of = of.clone();
            move |value| Record::Member { group: of(), member: "m".into(), value }
        }),
        proptest::option::of(any::<i32>()).prop_map({
            let of = of.clone();
            move |epoch| Record::TargetEpoch { group: of(), value: epoch.map(GroupEpoch) }
        }),
        proptest::option::of(partitions()).prop_map({
            let of = of.clone();
            move |value| Record::TargetAssignment { group: of(), member: "m".into(), value }
        }),
        proptest::option::of(current).prop_map({
            let of = of.clone();
            move |value| Record::CurrentAssignment { group: of(), member: "m".into(), value }
        }),
        proptest::option::of(regex).prop_map(move |value| Record::RegularExpression {
            group: of(),
            regex: "a.*".into(),
            value
        }),
    ]
}

proptest! {
    #[test]
    fn a_record_is_read_as_it_was_written(record in record()) {
        let (key, value) = record.encode();
        prop_assert_eq!(Record::decode(&key, value.as_deref()), Ok(record));
    }

    #[test]
    fn no_bytes_are_too_strange(version in 0_i16..18, key in proptest::collection::vec(any::<u8>(), 0..60), value in proptest::collection::vec(any::<u8>(), 0..90)) {
        let mut bytes = version.to_be_bytes().to_vec();
        bytes.extend(&key);
        let _ = Record::decode(&bytes, Some(&value));
    }

    #[test]
    fn what_is_cut_short_is_refused(record in record(), cut in 1_usize..40) {
        let (key, value) = record.encode();
        if let Some(value) = value.filter(|value| value.len() > 4) {
            let end = value.len().saturating_sub(cut).max(3);
            // What ends before its tagged fields may be whole by chance only where nothing was cut from it.
            let read = Record::decode(&key, Some(&value[..end]));
            prop_assert!(read != Ok(record), "{:?}", read);
        }
    }
}
