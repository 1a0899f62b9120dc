//! What must hold after every single record, whoever decided it: correctness.md, invariants 6 to 10.

use super::partitions::unclean_election;
use metadata::config::{Properties, TopicConfig};
use metadata::image::{BrokerImage, Image, PartitionImage};
use metadata::record::{LeaderRecoveryState, Record};
use protocol::ids::{BrokerEpoch, BrokerId, DirectoryId, TopicPartition};
use std::collections::BTreeSet;

/// Checks one record with the image before and after it.
pub(super) fn check(before: &Image, record: &Record, after: &Image, properties: &Properties) {
    epochs_only_rise(before, after);
    every_broker_epoch_is_unique(after);
    fenced_brokers_are_in_no_isr_and_lead_nothing(after);
    isr_and_elr_are_what_they_should_be(after, properties);
    a_reassignment_is_of_the_replicas_and_not_yet_complete(after);
    a_leader_from_elsewhere_is_declared(before, record, after);
}

/// 6: no epoch falls; the partition epoch rises by one with each change, the leader epoch by one with each leader.
fn epochs_only_rise(before: &Image, after: &Image) {
    for (of, new) in after.partitions() {
        let Some(old) = before.partition(of).filter(|old| *old != new) else { continue };
        assert_eq!(new.partition_epoch, old.partition_epoch.next(), "partition epoch of {of}");
        let left = old.replicas.iter().any(|replica| !new.replicas.contains(replica));
        let kept = new.leader == old.leader && !left;
        // Of a replica that is lost nothing is to count on that was known before.
        let lost = new.directories.contains(&DirectoryId::LOST);
        let (stays, rises) = (new.leader_epoch == old.leader_epoch, new.leader_epoch == old.leader_epoch.next());
        assert!((kept && stays) || ((!kept || lost) && rises), "leader epoch of {of}: {old:?} -> {new:?}");
    }
    for (id, new) in after.brokers() {
        if let Some(old) = before.broker(id) {
            assert!(new.epoch >= old.epoch, "broker epoch of {id}: {} -> {}", old.epoch, new.epoch);
            let same_life = new.incarnation_id == old.incarnation_id;
            assert_eq!(same_life, new.epoch == old.epoch, "a life of broker {id} and its epoch");
        }
    }
}

/// 7: one registration for each broker, and no broker epoch twice.
fn every_broker_epoch_is_unique(image: &Image) {
    let epochs: BTreeSet<BrokerEpoch> = image.brokers().map(|(_, broker)| broker.epoch).collect();
    assert_eq!(epochs.len(), image.brokers().count(), "broker epochs {epochs:?}");
}

/// 8: a fenced, leaving or unknown broker is in no ISR and leads nothing.
fn fenced_brokers_are_in_no_isr_and_lead_nothing(image: &Image) {
    for (of, state) in image.partitions() {
        for member in state.isr.iter().chain(&state.leader) {
            let active = image.broker(*member).is_some_and(BrokerImage::is_active);
            assert!(active, "broker {member} is not active and in {of}: {state:?}");
        }
    }
}

/// 9: ISR and ELR are of the replicas, have nobody in common and nobody twice; enough in sync leaves nobody eligible; a
/// leader is in sync; and with KIP-966 a last leader is remembered while there is none.
fn isr_and_elr_are_what_they_should_be(image: &Image, properties: &Properties) {
    for topic in image.topics() {
        let config = TopicConfig::resolve(image, properties, &topic.name);
        for (partition, state) in topic.partitions() {
            let of = TopicPartition { topic_id: topic.id, partition };
            let PartitionImage { replicas, isr, elr, leader, last_known_elr, .. } = state;
            let members: Vec<&BrokerId> = isr.iter().chain(elr).collect();
            let unique: BTreeSet<&BrokerId> = members.iter().copied().collect();
            assert_eq!(unique.len(), members.len(), "ISR and ELR of {of}: {state:?}");
            assert!(unique.iter().all(|member| replicas.contains(member)), "ISR and ELR of {of}: {state:?}");
            let enough = isr.len() >= config.effective_min_isr(replicas.len());
            assert!(!enough || elr.is_empty(), "enough in sync in {of}, and still eligible: {state:?}");
            assert!(leader.is_none_or(|leader| isr.contains(&leader)), "the leader of {of} is out of sync: {state:?}");
            assert!(leader.is_some() || isr.is_empty(), "{of} is in sync with nobody: {state:?}");
            assert_eq!(leader.is_none(), last_known_elr.len() == 1, "the last leader of {of}: {state:?}");
        }
    }
}

/// KIP-455: replicas are nobody twice, those who stay come first, who comes and who leaves are of them; and the reassignment
/// goes on because one of those who stay is not in sync yet.
fn a_reassignment_is_of_the_replicas_and_not_yet_complete(image: &Image) {
    for (of, state) in image.partitions() {
        let PartitionImage { replicas, adding_replicas, removing_replicas, isr, directories, .. } = state;
        let unique: BTreeSet<&BrokerId> = replicas.iter().collect();
        assert_eq!((unique.len(), directories.len()), (replicas.len(), replicas.len()), "replicas of {of}: {state:?}");
        assert!(!replicas.is_empty(), "{of} has no replicas");
        let moving: BTreeSet<&BrokerId> = adding_replicas.iter().chain(removing_replicas).collect();
        assert_eq!(moving.len(), adding_replicas.len() + removing_replicas.len(), "comes and leaves: {state:?}");
        assert!(moving.iter().all(|replica| replicas.contains(replica)), "a stranger moves in {of}: {state:?}");
        let (target, leaving) = replicas.split_at(replicas.len() - removing_replicas.len());
        assert!(leaving.iter().all(|replica| removing_replicas.contains(replica)), "who leaves comes last: {state:?}");
        let complete = target.iter().all(|replica| isr.contains(replica));
        assert!(!state.is_reassigning() || !complete, "{of} is moved and does not know: {state:?}");
    }
}

/// 10: who is elected from outside ISR and ELR is declared to be, and is active. A move that is over may give the lead to
/// somebody whom the leader found in sync just now.
fn a_leader_from_elsewhere_is_declared(before: &Image, record: &Record, after: &Image) {
    let Record::PartitionChange { topic_id, partition, leader: Some(Some(leader)), isr, replicas, .. } = record else {
        return;
    };
    let of = TopicPartition { topic_id: *topic_id, partition: *partition };
    let old = before.partition(of).expect("a change is of something");
    let complete = old.isr.contains(leader) || old.elr.contains(leader);
    let new = after.partition(of).expect("a change removes no partition");
    let found = replicas.is_some()
        && new.leader_recovery_state == LeaderRecoveryState::Recovered
        && isr.as_ref().is_some_and(|isr| isr.contains(leader));
    assert_eq!(complete || found, !unclean_election(old, record), "election of {leader} in {of}: {old:?}");
    assert!(after.is_active(*leader), "broker {leader} leads {of} and is not active");
}
