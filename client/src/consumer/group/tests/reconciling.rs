//! Members by KIP-848 of a group whose coordinator keeps the rules of the wire, over real and simulated sockets.

use super::*;
use crate::consumer::ConsumerProtocol;

fn options() -> GroupOptions {
    let protocol = GroupProtocol::Consumer(ConsumerProtocol::default());
    GroupOptions { protocol, commit_interval: None, ..GroupOptions::new("g") }
}

fn fixed(instance_id: &str) -> GroupOptions {
    GroupOptions { instance_id: Some(Arc::from(instance_id)), ..options() }
}

fn lines(heard: &Heard, beginning: &str) -> Vec<String> {
    heard.all().into_iter().filter(|line| line.starts_with(beginning)).collect()
}

#[test]
fn two_members_share_the_partitions_and_read_everything() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(2, 4).await;
        (0..4).for_each(|partition| append(&cluster, partition, 5));
        let protocol = ConsumerProtocol { remote_assignor: Some(Arc::from("uniform")) };
        let (one, heard) = member(&cluster, GroupOptions { protocol: GroupProtocol::Consumer(protocol), ..options() });
        let read = poll_until(&[&one], |read| read.len() == 20).await;
        assert_eq!(read.len(), 20, "each once");
        assert_eq!(cluster.group(|group| group.assignor().map(str::to_owned)), Some("uniform".to_owned()));
        let (two, _) = member(&cluster, options());
        poll_until(&[&one, &two], |_| owned(&one) == 2 && owned(&two) == 2).await;
        let both: BTreeSet<_> = one.assignment().into_iter().chain(two.assignment()).collect();
        assert_eq!(both.len(), 4, "{both:?}");
        let revoked = lines(&heard, "revoked");
        assert_eq!(revoked.iter().map(|line| line.split(' ').count()).collect::<Vec<_>>(), [3], "two: {revoked:?}");
        one.close(LONG).await;
        poll_until(&[&two], |_| owned(&two) == 4).await;
    });
}

#[test]
fn an_automatic_commit_at_the_end_is_where_the_next_one_begins() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(1, 2).await;
        (0..2).for_each(|partition| append(&cluster, partition, 5));
        let automatic = GroupOptions { commit_interval: Some(LONG), ..options() };
        let (one, heard) = member(&cluster, automatic.clone());
        poll_until(&[&one], |read| read.len() == 10).await;
        one.close(LONG).await;
        assert_eq!(heard.all(), ["assigned 0 1", "revoked 0 1"]);
        assert!(cluster.group(|group| group.members().is_empty()), "it has said goodbye");
        let (two, _) = member(&cluster, automatic);
        append(&cluster, 0, 3);
        let read = poll_until(&[&two], |read| read.len() >= 3).await;
        assert_eq!(read.iter().map(|record| record.offset.0).collect::<Vec<_>>(), [5, 6, 7]);
    });
}

#[test]
fn a_coordinator_that_moves_costs_nobody_a_partition() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(3, 2).await;
        let (one, heard) = member(&cluster, options());
        poll_until(&[&one], |_| owned(&one) == 2).await;
        cluster.group(|group| group.coordinator = BrokerId(2));
        cluster.script(api::FIND_COORDINATOR, [Fault::Refuse(ErrorCode::CoordinatorNotAvailable), Fault::Drop]);
        poll_until(&[&one], |_| cluster.heartbeats_of(BrokerId(2)) > 3).await;
        cluster.stop_broker(BrokerId(2));
        cluster.group(|group| group.coordinator = BrokerId(3));
        poll_until(&[&one], |_| cluster.heartbeats_of(BrokerId(3)) > 3).await;
        assert_eq!(heard.all(), ["assigned 0 1"]);
    });
}

#[test]
fn heartbeats_that_get_lost_on_the_way_there_or_back_cost_nobody_a_partition() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(2, 2).await;
        let refusals = [ErrorCode::CoordinatorLoadInProgress, ErrorCode::NotCoordinator].map(Fault::Refuse);
        cluster.script(api::CONSUMER_GROUP_HEARTBEAT, refusals);
        cluster.script(api::CONSUMER_GROUP_HEARTBEAT, [Fault::Drop, Fault::DoAndDrop]);
        cluster.script(api::OFFSET_FETCH, [Fault::Refuse(ErrorCode::UnstableOffsetCommit), Fault::Drop]);
        let behind = [ErrorCode::StaleMemberEpoch, ErrorCode::UnknownMemberId].map(Fault::Refuse);
        cluster.script(api::OFFSET_FETCH, behind);
        append(&cluster, 0, 2);
        let (one, heard) = member(&cluster, options());
        poll_until(&[&one], |read| read.len() == 2).await;
        assert_eq!(cluster.group(|group| group.members().len()), 1, "it has joined once");
        let (two, others) = member(&cluster, options());
        cluster.script(api::CONSUMER_GROUP_HEARTBEAT, [Fault::DoAndDrop; 3]);
        poll_until(&[&one, &two], |_| owned(&one) == 1 && owned(&two) == 1).await;
        assert_eq!((lines(&heard, "lost"), lines(&others, "lost")), (Vec::new(), Vec::new()));
    });
}

#[test]
fn whoever_was_thrown_out_has_lost_its_partitions_and_comes_again_under_its_id() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(1, 2).await;
        let (one, heard) = member(&cluster, options());
        poll_until(&[&one], |_| owned(&one) == 2).await;
        let ids = cluster.group(|group| group.members());
        cluster.group(|group| group.evict(&ids[0]));
        poll_until(&[&one], |_| heard.all().len() == 3 && owned(&one) == 2).await;
        assert_eq!(heard.all(), ["assigned 0 1", "lost 0 1", "assigned 0 1"]);
        assert_eq!(cluster.group(|group| group.members()), ids);
        cluster.script(api::CONSUMER_GROUP_HEARTBEAT, [Fault::Refuse(ErrorCode::FencedMemberEpoch)]);
        poll_until(&[&one], |_| heard.all().len() == 5 && owned(&one) == 2).await;
        assert_eq!(heard.all()[3..], ["lost 0 1", "assigned 0 1"]);
    });
}

/// The group epoch rises, and the next heartbeats of its members are answered late.
async fn raise_epoch_of(cluster: &FakeCluster, consumer: &Consumer) {
    let metadata = consumer.group_metadata().expect("it has a group");
    cluster.script(api::CONSUMER_GROUP_HEARTBEAT, [Fault::DoAndWait(Duration::from_millis(500)); 2]);
    cluster.group(|group| group.raise_group_epoch());
    let is_raised = || cluster.group(|group| group.member_epoch(&metadata.member_id.0)) > metadata.generation.0;
    until("the member epoch has risen", is_raised).await;
}

#[test]
fn a_commit_that_is_older_than_the_member_epoch_is_sent_again_under_the_new_one() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(1, 1).await;
        append(&cluster, 0, 5);
        let (one, heard) = member(&cluster, options());
        poll_until(&[&one], |read| read.len() == 5).await;
        let epoch = || one.group_metadata().expect("it has a group").generation;
        let before = epoch();
        raise_epoch_of(&cluster, &one).await;
        assert_eq!(epoch(), before, "it has not heard of it");
        assert_eq!(one.commit(Duration::from_millis(100)).await, Err(CommitError::StaleMemberEpoch));
        assert_eq!(one.commit(LONG).await, Ok(()));
        assert!(epoch() > before);
        let before = epoch();
        raise_epoch_of(&cluster, &one).await;
        let committed = one.committed(&[orders(0)].into(), LONG).await.expect("asked again under the new one");
        assert_eq!(committed[&orders(0)].offset, Offset(5));
        assert!(epoch() > before, "it was told nothing under the old one");
        cluster.script(api::OFFSET_FETCH, [Fault::Refuse(ErrorCode::UnknownMemberId)]);
        assert!(one.committed(&[orders(0)].into(), LONG).await.is_ok(), "its heartbeat says otherwise");
        raise_epoch_of(&cluster, &one).await;
        cluster.group(|group| group.members().iter().for_each(|id| group.evict(id)));
        cluster.script(api::OFFSET_COMMIT, [Fault::Refuse(ErrorCode::StaleMemberEpoch)]);
        assert_eq!(one.commit(LONG).await, Err(CommitError::NotMember), "others may have read on");
        poll_until(&[&one], |_| heard.all().len() == 3).await;
        assert_eq!(heard.all(), ["assigned 0", "lost 0", "assigned 0"]);
    });
}

#[test]
fn a_partition_that_was_given_up_meanwhile_is_not_committed_late() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(1, 2).await;
        (0..2).for_each(|partition| append(&cluster, partition, 5));
        let (one, _) = member(&cluster, options());
        poll_until(&[&one], |read| read.len() == 10).await;
        let (two, _) = member(&cluster, options());
        // More than there is time for.
        cluster.script(api::OFFSET_COMMIT, [Fault::Refuse(ErrorCode::StaleMemberEpoch); 200]);
        let (everything, one) = (one.consumed(), Arc::new(one));
        let committing = task::spawn({
            let one = one.clone();
            async move { one.commit_offsets(everything, LONG).await }
        });
        poll_until(&[&one, &two], |_| owned(&one) == 1 && owned(&two) == 1).await;
        let told = committing.await.expect("it does not panic");
        assert_eq!(told, Err(CommitError::NotMember));
    });
}

#[test]
fn a_partition_that_was_lost_meanwhile_is_not_committed_late_though_it_was_given_again() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(1, 1).await;
        append(&cluster, 0, 5);
        let (one, heard) = member(&cluster, options());
        poll_until(&[&one], |read| read.len() == 5).await;
        cluster.script(api::OFFSET_COMMIT, [Fault::Refuse(ErrorCode::StaleMemberEpoch); 200]);
        let (everything, one) = (one.consumed(), Arc::new(one));
        let committing = task::spawn({
            let one = one.clone();
            async move { one.commit_offsets(everything, LONG).await }
        });
        until("it is told to come again", || cluster.versions_seen(api::OFFSET_COMMIT).len() == 2).await;
        cluster.group(|group| group.members().iter().for_each(|id| group.evict(id)));
        poll_until(&[&one], |_| heard.all().len() == 3).await;
        assert_eq!(heard.all(), ["assigned 0", "lost 0", "assigned 0"]);
        assert_eq!(committing.await.expect("it does not panic"), Err(CommitError::NotMember));
    });
}

#[test]
fn a_cluster_without_the_protocol_is_called_so_by_polls() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(1, 1).await;
        cluster.set_version_max(api::CONSUMER_GROUP_HEARTBEAT, None);
        let (one, _) = member(&cluster, options());
        let error = one.poll(LONG).await.expect_err("it is no member");
        assert!(matches!(error, ConsumerError::Group(GroupError::Unsupported { .. })), "{error}");
        let cluster = FakeCluster::start(1, 1).await;
        cluster.set_version_max(api::CONSUMER_GROUP_HEARTBEAT, Some(0));
        let (one, _) = member(&cluster, options());
        poll_until(&[&one], |_| owned(&one) == 1).await;
        one.subscribe_remote_pattern("or.*").expect("it has a group");
        let error = one.poll(LONG).await.expect_err("it takes version 1");
        assert!(matches!(error, ConsumerError::Group(GroupError::Unsupported { .. })), "{error}");
        one.subscribe([TOPIC]).expect("it has a group");
        poll_until(&[&one], |_| owned(&one) == 1).await;
    });
}

#[test]
fn the_coordinator_says_what_matches_a_pattern_and_the_metadata_what_that_is_called() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(1, 2).await;
        cluster.leave_out_of_listings(2);
        let group = Some(options());
        let consumer = Consumer::new(cluster.client(), ConsumerOptions { group, ..ConsumerOptions::default() });
        consumer.subscribe_remote_pattern("or.*s").expect("it has a group");
        poll_until(&[&consumer], |_| owned(&consumer) == 2).await;
        consumer.subscribe_remote_pattern("(").expect("only the coordinator knows what it understands");
        let error = consumer.poll(LONG).await.expect_err("it does not");
        let code = ErrorCode::InvalidRegularExpression;
        assert!(matches!(&error, ConsumerError::Group(GroupError::Refused { code: c, .. }) if *c == code), "{error}");
        consumer.subscribe_pattern("or.*s").expect("this client understands it");
        poll_until(&[&consumer], |_| owned(&consumer) == 2).await;
        let classic = ConsumerOptions { group: Some(super::options(Assignor::Range)), ..ConsumerOptions::default() };
        let classic = Consumer::new(cluster.client(), classic);
        assert_eq!(classic.subscribe_remote_pattern("or.*s"), Err(ConsumerError::PatternOfClassicGroup));
        let none = Consumer::new(cluster.client(), ConsumerOptions::default());
        assert_eq!(none.subscribe_remote_pattern("or.*s"), Err(ConsumerError::NoGroup));
    });
}

#[test]
fn a_static_member_is_waited_for_and_no_other_may_take_its_place_before_it_leaves() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(1, 2).await;
        let (one, heard) = member(&cluster, fixed("i"));
        let (two, others) = member(&cluster, fixed("j"));
        poll_until(&[&one, &two], |_| owned(&one) == 1 && owned(&two) == 1).await;
        let (same, _) = member(&cluster, fixed("i"));
        let error = same.poll(LONG).await.expect_err("the instance id is in use");
        let code = ErrorCode::UnreleasedInstanceId;
        assert!(matches!(&error, ConsumerError::Group(GroupError::Refused { code: c, .. }) if *c == code), "{error}");
        let before = (one.assignment(), others.all());
        one.close(LONG).await;
        assert_eq!(lines(&heard, "revoked").len(), lines(&heard, "assigned").len(), "{:?}", heard.all());
        poll_until(&[&same, &two], |_| owned(&same) == 1).await;
        assert_eq!((same.assignment(), others.all()), before);
        cluster.script(api::CONSUMER_GROUP_HEARTBEAT, [Fault::Refuse(ErrorCode::FencedInstanceId); 2]);
        let fenced = ConsumerError::Group(GroupError::Fenced { instance_id: Arc::from("i") });
        assert_eq!(same.poll(LONG).await, Err(fenced));
    });
}

#[test]
fn whoever_does_not_poll_leaves_and_may_come_again() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(1, 1).await;
        let hasty = GroupOptions { poll_interval_max: Duration::from_millis(500), ..options() };
        let (one, heard) = member(&cluster, hasty);
        poll_until(&[&one], |_| owned(&one) == 1).await;
        assert_eq!(one.poll(Duration::from_millis(800)).await, Ok(Vec::new()), "a long poll is no absence");
        assert_eq!(owned(&one), 1);
        until("it has left", || cluster.group(|group| group.members().is_empty())).await;
        poll_until(&[&one], |_| heard.all().len() == 3).await;
        assert_eq!(heard.all(), ["assigned 0", "lost 0", "assigned 0"]);
    });
}
