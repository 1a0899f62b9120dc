//! Claims about AlterPartition.

use super::super::stories::Story;
use super::*;

const MIN_2: &[(&str, &str)] = &[("min.insync.replicas", "2")];

/// Four brokers, one partition on three of them: 3 leads in leader epoch 1, and all three are in sync.
fn orders() -> Story {
    let mut story = Story::with_brokers(MIN_2, 4);
    story.topic("orders", &[&[2, 3, 1]], &[]);
    story.fence(2);
    story.beat(2);
    story.isr("orders", &[3, 1, 2]);
    story
}

/// The code that a leader gets that asks for `isr`, changed by `edit`.
fn code(isr: &[i32], edit: impl FnOnce(&mut PartitionData)) -> ErrorCode {
    let mut story = orders();
    let (of, mut asked) = story.alteration("orders", isr);
    edit(&mut asked);
    story.alter_as(3, (of, asked))
}

#[test]
fn the_leaders_wish_is_committed_and_told_back() {
    let mut story = orders();
    let before = story.partition("orders").clone();
    story.isr("orders", &[3, 1]);
    let after = story.partition("orders");
    assert_eq!((after.leader_epoch, after.partition_epoch), (before.leader_epoch, before.partition_epoch.next()));
    assert_eq!(after.isr, [BrokerId(3), BrokerId(1)]);
}

#[test]
fn a_wish_for_what_is_changes_nothing() {
    let mut story = orders();
    story.isr("orders", &[3, 1, 2]);
    assert!(story.records.is_empty());
}

#[test]
fn each_thing_that_can_be_wrong_has_its_code() {
    assert_eq!(code(&[3, 1], |_| {}), ErrorCode::None);
    assert_eq!(code(&[3, 1], |asked| asked.leader_epoch += 1), ErrorCode::NotController);
    assert_eq!(code(&[3, 1], |asked| asked.partition_epoch += 1), ErrorCode::NotController);
    assert_eq!(code(&[3, 1], |asked| asked.leader_epoch -= 1), ErrorCode::FencedLeaderEpoch);
    assert_eq!(code(&[3, 1], |asked| asked.partition_epoch -= 1), ErrorCode::InvalidUpdateVersion);
    assert_eq!(code(&[3, 4], |_| {}), ErrorCode::InvalidRequest, "4 is no replica");
    assert_eq!(code(&[3, 1, 1], |_| {}), ErrorCode::InvalidRequest, "twice");
    assert_eq!(code(&[1, 2], |_| {}), ErrorCode::InvalidRequest, "without the leader");
    assert_eq!(code(&[], |_| {}), ErrorCode::InvalidRequest, "nobody");
    assert_eq!(code(&[3], |asked| asked.leader_recovery_state = 1), ErrorCode::InvalidRequest, "never unclean");
    assert_eq!(code(&[3], |asked| asked.leader_recovery_state = 7), ErrorCode::InvalidRequest, "no such state");
    assert_eq!(code(&[3, 1], |asked| asked.partition_index = 1), ErrorCode::UnknownTopicOrPartition);
    assert_eq!(code(&[3, 1], |asked| asked.new_isr_with_epochs[1].broker_epoch += 1), ErrorCode::IneligibleReplica);
    assert_eq!(code(&[3, 1], |asked| asked.new_isr_with_epochs[1].broker_epoch = -1), ErrorCode::None, "not said");
}

#[test]
fn an_unknown_topic_a_stale_sender_and_a_follower_are_refused() {
    let mut story = orders();
    let (mut of, asked) = story.alteration("orders", &[3, 1]);
    assert_eq!(story.alter_as(1, (of, asked.clone())), ErrorCode::InvalidRequest, "1 follows");
    of.topic_id = TopicId(uuid::Uuid::from_u128(99));
    assert_eq!(story.alter_as(3, (of, asked.clone())), ErrorCode::UnknownTopicId);
    of.topic_id = TopicId::ZERO;
    assert_eq!(story.alter_as(3, (of, asked.clone())), ErrorCode::UnknownTopicId);
    assert_eq!(story.alter_as(9, (of, asked)), ErrorCode::StaleBrokerEpoch, "9 is not registered");
}

#[test]
fn checks_come_in_kafkas_order() {
    // A leader epoch that is ahead beats one that is wrong otherwise; a fenced epoch beats who asks; who asks beats the
    // partition epoch; the shape of the ISR beats who is eligible.
    assert_eq!(code(&[4], |asked| asked.leader_epoch += 1), ErrorCode::NotController);
    assert_eq!(code(&[4], |asked| asked.leader_epoch -= 1), ErrorCode::FencedLeaderEpoch);
    let mut story = orders();
    let (of, mut asked) = story.alteration("orders", &[3, 1]);
    asked.partition_epoch -= 1;
    assert_eq!(story.alter_as(1, (of, asked.clone())), ErrorCode::InvalidRequest);
    assert_eq!(story.alter_as(3, (of, asked)), ErrorCode::InvalidUpdateVersion);
    let mut story = orders();
    story.fence(2);
    let asked = story.alteration("orders", &[3, 2, 2]);
    assert_eq!(story.alter_as(3, asked), ErrorCode::InvalidRequest);
    let asked = story.alteration("orders", &[3, 2]);
    assert_eq!(story.alter_as(3, asked), ErrorCode::IneligibleReplica);
}

#[test]
fn a_member_of_an_earlier_life_is_not_eligible() {
    let mut story = orders();
    let (of, asked) = story.alteration("orders", &[3, 1, 2]);
    story.restart(2, 2, None);
    story.beat(2);
    let (_, present) = story.alteration("orders", &[3, 1, 2]);
    let late = asked.with_partition_epoch(present.partition_epoch).with_leader_epoch(present.leader_epoch);
    assert_eq!(story.alter_as(3, (of, late)), ErrorCode::IneligibleReplica);
    assert_eq!(story.alter_as(3, (of, present)), ErrorCode::None);
}

#[test]
fn without_epochs_an_older_leader_is_understood() {
    let mut story = orders();
    let (of, mut asked) = story.alteration("orders", &[]);
    asked.new_isr = vec![WireBrokerId(3), WireBrokerId(2)];
    assert_eq!(story.alter_as(3, (of, asked)), ErrorCode::None);
    assert_eq!(story.partition("orders").isr, [BrokerId(3), BrokerId(2)]);
}

#[test]
fn a_shrink_below_min_isr_makes_eligible_and_an_expansion_clears() {
    let mut story = orders();
    story.isr("orders", &[3, 1]);
    assert_eq!(story.partition("orders").elr, [], "two are enough, so 2 is left behind");
    story.isr("orders", &[3]);
    assert_eq!(story.partition("orders").elr, [BrokerId(1)]);
    story.isr("orders", &[3, 2]);
    assert_eq!(story.partition("orders").elr, []);
}

#[test]
fn a_recovering_leader_is_alone_in_sync_until_it_has_recovered() {
    let mut story = Story::with_brokers(&[], 2);
    story.topic("orders", &[&[1, 2]], &[("unclean.leader.election.enable", "true")]);
    story.fence(2);
    story.fence(1);
    story.beat(2);
    story.beat(1);
    let recovering = |story: &Story, isr: &[i32]| {
        let (of, asked) = story.alteration("orders", isr);
        (of, asked.with_leader_recovery_state(1))
    };
    let asked = recovering(&story, &[2, 1]);
    assert_eq!(story.alter_as(2, asked), ErrorCode::InvalidRequest);
    let asked = recovering(&story, &[2]);
    assert_eq!(story.alter_as(2, asked), ErrorCode::None);
    assert_eq!(story.partition("orders").leader_recovery_state, LeaderRecoveryState::Recovering);
    story.isr("orders", &[2, 1]);
    assert_eq!(story.partition("orders").leader_recovery_state, LeaderRecoveryState::Recovered);
}
