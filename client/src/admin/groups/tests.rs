//! Looking after a group whose coordinator keeps the rules of the wire, over real and simulated sockets.

use super::*;
use crate::PartitionName;
use crate::consumer::group::committing::Offsets;
use crate::consumer::{Consumer, ConsumerOptions, GroupOptions, OffsetAndMetadata};
use crate::fake::{FakeCluster, Fault, GROUP, TOPIC, in_both_worlds};
use protocol::api;
use protocol::compression::Compression;
use protocol::ids::{Offset, PartitionIndex, ProducerEpoch, ProducerId, Sequence, WallMillis};
use protocol::record_batch::BatchBuilder;
use runtime::task;

const LONG: Duration = Duration::from_secs(20);

fn admin(cluster: &FakeCluster) -> Admin {
    Admin::new(cluster.client(), LONG)
}

fn orders(partition: i32) -> PartitionName {
    PartitionName::new(TOPIC, PartitionIndex(partition))
}

fn names<const N: usize>(groups: [&str; N]) -> BTreeSet<String> {
    groups.map(String::from).into()
}

fn at(offset: i64) -> OffsetAndMetadata {
    OffsetAndMetadata { offset: Offset(offset), leader_epoch: None, metadata: String::new() }
}

fn code_of<T>(outcome: &Result<T, ClientError>) -> Option<ErrorCode> {
    outcome.as_ref().err().and_then(ClientError::code)
}

/// A member that reads the whole topic.
async fn member(cluster: &FakeCluster) -> Consumer {
    let options = ConsumerOptions { group: Some(GroupOptions::new(GROUP)), ..ConsumerOptions::default() };
    let consumer = Consumer::new(cluster.client(), options);
    consumer.subscribe([TOPIC]).expect("it has a group");
    let deadline = time::now() + LONG;
    while consumer.assignment().is_empty() {
        assert!(time::now() < deadline, "nothing is assigned");
        consumer.poll(Duration::from_millis(50)).await.expect("no errors");
    }
    consumer
}

#[test]
fn a_group_is_listed_and_described_by_whoever_coordinates_it() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(3, 2).await;
        cluster.group(|group| group.coordinator = BrokerId(3));
        let admin = admin(&cluster);
        assert_eq!(admin.list_groups(&BTreeSet::new(), &BTreeSet::new()).await, Ok(Vec::new()));
        let absent = admin.describe_groups(&names([GROUP])).await;
        assert_eq!(code_of(&absent[GROUP]), Some(ErrorCode::GroupIdNotFound));
        let consumer = member(&cluster).await;
        cluster.script(api::LIST_GROUPS, [Fault::Refuse(ErrorCode::CoordinatorLoadInProgress), Fault::Drop]);
        let listed = admin.list_groups(&BTreeSet::new(), &BTreeSet::new()).await.expect("answers");
        let listed: Vec<_> = listed.iter().map(|group| (&*group.group_id, &group.state, &group.group_type)).collect();
        assert_eq!(listed, [(GROUP, &Some(GroupState::Stable), &Some(GroupType::Classic))]);
        let empty = admin.list_groups(&BTreeSet::from([GroupState::Empty]), &BTreeSet::new()).await;
        assert_eq!(empty, Ok(Vec::new()));
        cluster.script(api::FIND_COORDINATOR, [Fault::Refuse(ErrorCode::CoordinatorNotAvailable), Fault::Drop]);
        cluster.script(api::DESCRIBE_GROUPS, [Fault::Refuse(ErrorCode::NotCoordinator), Fault::Drop]);
        let described = admin.describe_groups(&names([GROUP])).await.remove(GROUP).expect("an outcome").expect("it is");
        assert_eq!((described.coordinator, described.state), (BrokerId(3), GroupState::Stable));
        assert_eq!((described.group_type, described.assignor.as_str()), (GroupType::Classic, "range"));
        assert_eq!(described.members.len(), 1);
        assert_eq!(described.members[0].assignment, [orders(0), orders(1)].into());
        consumer.close(LONG).await;
    });
}

#[test]
fn offsets_are_changed_only_while_nobody_is_in_the_group() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(2, 2).await;
        let admin = admin(&cluster);
        let consumer = member(&cluster).await;
        let wanted = Offsets::from([(orders(0), at(7)), (orders(1), at(9))]);
        let refused = admin.alter_group_offsets(GROUP, &wanted).await.expect("answers");
        assert_eq!(refused.values().map(code_of).collect::<Vec<_>>(), [Some(ErrorCode::UnknownMemberId); 2]);
        assert_eq!(admin.group_offsets(&names([GROUP])).await[GROUP], Ok(Offsets::new()));
        consumer.close(LONG).await;
        cluster.script(api::OFFSET_COMMIT, [Fault::Refuse(ErrorCode::CoordinatorLoadInProgress), Fault::DoAndDrop]);
        let altered = admin.alter_group_offsets(GROUP, &wanted).await.expect("answers");
        assert_eq!(altered, [(orders(0), Ok(())), (orders(1), Ok(()))].into());
        assert_eq!(admin.group_offsets(&names([GROUP])).await[GROUP], Ok(wanted));
    });
}

#[test]
fn offsets_and_groups_are_forgotten_once() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(2, 2).await;
        let admin = admin(&cluster);
        let wanted = Offsets::from([(orders(0), at(7))]);
        admin.alter_group_offsets(GROUP, &wanted).await.expect("answers");
        cluster.script(api::OFFSET_DELETE, [Fault::Refuse(ErrorCode::NotCoordinator)]);
        let both = BTreeSet::from([orders(0), orders(1)]);
        let forgotten = admin.delete_group_offsets(GROUP, &both).await.expect("answers");
        assert_eq!(forgotten[&orders(0)], Ok(()));
        assert_eq!(code_of(&forgotten[&orders(1)]), Some(ErrorCode::UnknownTopicOrPartition));
        let nobody = admin.delete_group_offsets(GROUP, &both).await;
        assert_eq!(code_of(&nobody), Some(ErrorCode::GroupIdNotFound));
        admin.alter_group_offsets(GROUP, &wanted).await.expect("answers");
        cluster.script(api::DELETE_GROUPS, [Fault::Refuse(ErrorCode::CoordinatorNotAvailable)]);
        assert_eq!(admin.delete_groups(&names([GROUP])).await[GROUP], Ok(()));
        assert_eq!(code_of(&admin.delete_groups(&names([GROUP])).await[GROUP]), Some(ErrorCode::GroupIdNotFound));
    });
}

#[test]
fn a_coordinator_that_dies_is_followed_to_its_successor() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(2, 1).await;
        cluster.group(|group| group.coordinator = BrokerId(2));
        let admin = admin(&cluster);
        let wanted = Offsets::from([(orders(0), at(7))]);
        admin.alter_group_offsets(GROUP, &wanted).await.expect("answers");
        cluster.stop_broker(BrokerId(2));
        let moving = cluster.clone();
        task::spawn(async move {
            time::sleep(Duration::from_millis(300)).await;
            moving.group(|group| group.coordinator = BrokerId(1));
        });
        assert_eq!(admin.group_offsets(&names([GROUP])).await[GROUP], Ok(wanted));
    });
}

#[test]
fn nobody_to_ask_is_each_groups_outcome() {
    in_both_worlds(|| async {
        let nobody = crate::Cluster::new(crate::ClusterOptions::new(["127.0.0.1:1"]));
        let admin = Admin::new(nobody, Duration::from_millis(300));
        let outcomes = admin.group_offsets(&names(["a", "b"])).await;
        assert_eq!(outcomes.len(), 2);
        assert!(outcomes.values().all(|outcome| matches!(outcome, Err(ClientError::NoBroker { .. }))), "{outcomes:?}");
    });
}

#[test]
fn the_first_unread_record_of_each_partition_is_looked_at() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(1, 3).await;
        for partition in 0..3 {
            let mut builder = BatchBuilder::new(Compression::None);
            // More than one answer holds of one partition.
            (0..5).for_each(|number| builder.push(WallMillis(1000 + number), None, Some(&[0; 10_000]), &[]));
            let batch = builder.finish(ProducerId::NONE, ProducerEpoch::NONE, Sequence::NONE);
            cluster.append(PartitionIndex(partition), &batch);
        }
        let ranges = BTreeMap::from([
            (orders(0), Offset(0)..Offset(5)),
            (orders(1), Offset(3)..Offset(5)),
            (orders(2), Offset(5)..Offset(5)),
        ]);
        let found = admin(&cluster).first_unread(&ranges).await;
        assert_eq!(found, [(orders(0), WallMillis(1000)), (orders(1), WallMillis(1003))].into());
    });
}
