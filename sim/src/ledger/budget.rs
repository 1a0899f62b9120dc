//! Pure. What more may be lost without breaking a promise that was made: the fault budget.

use super::Ledger;
use crate::event::Budget;
use metadata::image::PartitionImage;
use protocol::ids::{BrokerId, Offset, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};
use storage::event::LogEvent;

/// A replica of which a bit flipped on the disk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rot {
    /// The first offset of the first such batch.
    at: Offset,
    /// What was damaged is there no more, and its replica has not been in sync since.
    gone: bool,
}

impl Ledger {
    /// Whether a crash of `broker` keeps the promise for each of its partitions: once any replica has lost un-synced bytes,
    /// no more than `min.insync.replicas - 1` may be back from unclean ends and not yet caught up (KIP-966). The controllers
    /// cannot tell a killed process from a power loss, so both count; while nothing was lost, any number may be killed. A
    /// replica that rots has lost something, and counts until it was copied anew.
    ///
    /// `at_risk` names those that may crash by themselves at any time, and whether that may lose what is yet to be written.
    pub fn may_crash(&self, broker: BrokerId, power: bool, at_risk: &BTreeMap<BrokerId, bool>) -> bool {
        let Some(node) = self.nodes.get(&broker).filter(|_| self.budget != Budget::Beyond) else { return true };
        node.replicas.iter().all(|(partition, own)| {
            let others = self.others(broker, *partition, at_risk);
            let lossy = (power && (own.log_end_offset > own.synced || at_risk.get(&broker) == Some(&true)))
                || own.damaged
                || self.rot.contains_key(&(broker, *partition))
                || others.lossy;
            !lossy || 1 + others.unclean < self.promised(*partition)
        })
    }

    /// Whether `broker` may lose everything that it keeps: for each of its partitions it is one more that lost something.
    pub fn may_lose_disk(&self, broker: BrokerId, at_risk: &BTreeMap<BrokerId, bool>) -> bool {
        let Some(node) = self.nodes.get(&broker).filter(|_| self.budget != Budget::Beyond) else { return true };
        let may = |partition| 1 + self.others(broker, partition, at_risk).unclean < self.promised(partition);
        node.replicas.keys().all(|partition| may(*partition))
    }

    /// Whether the cluster can do for ever without `broker`, and without those that are `gone` already: what was acknowledged
    /// is elsewhere, somebody else leads each of its partitions, and enough are left to acknowledge what is written next.
    /// `at_risk` as for [`Self::may_crash`].
    pub fn can_do_without(
        &self,
        broker: BrokerId,
        gone: &BTreeSet<BrokerId>,
        at_risk: &BTreeMap<BrokerId, bool>,
    ) -> bool {
        let is_left = |id: &&BrokerId| **id != broker && !gone.contains(id);
        let is_sound = |leader: BrokerId, of| {
            let replica = self.replica(leader, of).filter(|replica| !replica.unclean);
            replica.is_some() && !self.rot.contains_key(&(leader, of)) && !at_risk.contains_key(&leader)
        };
        let others_do = |(of, state): (TopicPartition, &PartitionImage)| {
            let needs = self.min_isr.get(&of).copied().unwrap_or(state.replicas.len());
            let is_led = |leader| leader != broker && self.is_current(leader) && is_sound(leader, of);
            let are_left = state.replicas.iter().filter(is_left).count();
            state.leader.is_some_and(is_led) && !state.is_reassigning() && are_left >= needs
        };
        let mut its = self.image.partitions().filter(|(_, state)| state.replicas.contains(&broker));
        its.all(others_do)
    }

    /// Whether a replica may rot: it counts as one more that lost something, and another must be in sync that did not.
    pub fn may_rot(&self, broker: BrokerId, partition: TopicPartition, at_risk: &BTreeMap<BrokerId, bool>) -> bool {
        if self.budget == Budget::Beyond {
            return self.replica(broker, partition).is_some();
        }
        self.may_be_copied_from_another(broker, partition)
            && self.replica(broker, partition).is_some()
            && 1 + self.others(broker, partition, at_risk).unclean < self.promised(partition)
    }

    /// Whether another replica is in sync that lost nothing.
    fn may_be_copied_from_another(&self, broker: BrokerId, partition: TopicPartition) -> bool {
        let is_sound = |other: &BrokerId| {
            let replica = self.replica(*other, partition);
            *other != broker
                && self.is_current(*other)
                && !self.rot.contains_key(&(*other, partition))
                && replica.is_some_and(|replica| !replica.unclean)
        };
        self.image.partition(partition).is_some_and(|state| state.isr.iter().any(is_sound))
    }

    /// Where a replica has rotted, and still lies so on its disk.
    pub fn rot_at(&self, broker: BrokerId, partition: TopicPartition) -> Option<Offset> {
        self.rot.get(&(broker, partition)).filter(|rot| !rot.gone).map(|rot| rot.at)
    }

    /// Whether a replica has rotted, and was not copied anew since.
    pub fn has_rotted(&self, broker: BrokerId, partition: TopicPartition) -> bool {
        self.rot.contains_key(&(broker, partition))
    }

    /// Whether the leader of a partition has something rotten that no other replica can give it.
    pub fn has_lost_for_good(&self, of: TopicPartition) -> bool {
        let Some(leader) = self.image.partition(of).and_then(|state| state.leader) else { return false };
        self.budget == Budget::Beyond
            && self.rot_at(leader, of).is_some()
            && !self.may_be_copied_from_another(leader, of)
    }

    /// On so many replicas an acknowledged record may count.
    fn promised(&self, partition: TopicPartition) -> usize {
        self.min_isr_least.get(&partition).copied().unwrap_or(1)
    }

    fn others(&self, broker: BrokerId, partition: TopicPartition, at_risk: &BTreeMap<BrokerId, bool>) -> Others {
        let mut others = Others { unclean: 0, lossy: false };
        for (id, node) in self.nodes.iter().filter(|(id, _)| **id != broker) {
            let (risk, rotten) = (at_risk.get(id), self.rot.contains_key(&(*id, partition)));
            let Some(replica) = node.replicas.get(&partition) else {
                others.unclean += usize::from(rotten);
                others.lossy |= rotten;
                continue;
            };
            others.unclean += usize::from(replica.unclean || risk.is_some() || rotten);
            others.lossy |= replica.damaged || risk == Some(&true) || rotten;
        }
        others
    }

    pub(super) fn rots(&mut self, broker: BrokerId, partition: TopicPartition, at: Offset) {
        let at = self.rot_at(broker, partition).map_or(at, |known| known.min(at));
        self.rot.insert((broker, partition), Rot { at, gone: false });
    }

    /// What became of a log may have been the end of what rotted in it.
    pub(super) fn rot_event(&mut self, broker: BrokerId, partition: TopicPartition, event: &LogEvent) {
        match event {
            LogEvent::Opened { log_end_offset: to, .. } | LogEvent::Truncated { to, .. } => {
                self.rot_is_cut(broker, partition, *to);
            }
            LogEvent::Restarted { .. } | LogEvent::Deleted { .. } => self.rot_is_cut(broker, partition, Offset::ZERO),
            // What was deleted may lie in a segment of which the rest was not: a recovery goes through all of it.
            LogEvent::StartAdvanced { .. } => {}
            LogEvent::Recovered { .. }
            | LogEvent::Emptying { .. }
            | LogEvent::Appended { .. }
            | LogEvent::Synced { .. }
            | LogEvent::Failed { .. }
            | LogEvent::Cleaned { .. }
            | LogEvent::Epochs { .. } => {}
        }
    }

    /// A log ends at an offset now: what lay past it is there no more.
    fn rot_is_cut(&mut self, broker: BrokerId, partition: TopicPartition, to: Offset) {
        if let Some(rot) = self.rot.get_mut(&(broker, partition)) {
            rot.gone |= to <= rot.at;
        }
    }

    /// A disk is gone, and with it all that rotted there.
    pub(super) fn rot_is_lost(&mut self, broker: BrokerId) {
        let lost = self.rot.iter_mut().filter(|((of, _), _)| *of == broker);
        lost.for_each(|(_, rot)| rot.gone = true);
    }

    /// A log that was thought gone is back, with everything in it.
    pub(super) fn rot_is_back(&mut self, broker: BrokerId, partition: TopicPartition) {
        if let Some(rot) = self.rot.get_mut(&(broker, partition)) {
            rot.gone = false;
        }
    }

    /// A replica is in sync: if what was damaged is gone, it was copied anew.
    pub(super) fn rot_is_mended(&mut self, broker: BrokerId, partition: TopicPartition) {
        if self.rot.get(&(broker, partition)).is_some_and(|rot| rot.gone) {
            self.rot.remove(&(broker, partition));
        }
    }
}

/// What the other replicas of a partition have lost already.
struct Others {
    /// How many may not count as holding what they had.
    unclean: usize,
    /// Whether any did lose something.
    lossy: bool,
}

#[cfg(test)]
mod tests {
    use super::{super::Ledger, *};
    use crate::{
        event::WorldEvent,
        invariants::stories::{Nothing, Story, orders},
    };
    use storage::event::Origin;

    /// Three replicas of one partition, led by 1.
    fn story() -> Story<Nothing> {
        let story = Story::new(Nothing).cluster().lead(1, 1, 0);
        [1, 2, 3].into_iter().fold(story, |story, id| story.append(id, 0, 1, 7, Origin::Leader))
    }

    fn can_do_without(ledger: &Ledger, broker: i32, gone: &[i32]) -> bool {
        let gone = gone.iter().map(|id| BrokerId(*id)).collect();
        ledger.can_do_without(BrokerId(broker), &gone, &BTreeMap::new())
    }

    #[test]
    fn a_cluster_can_do_without_whoever_leads_nothing_while_enough_are_left() {
        let story = story().high_watermark(1, 1, 1, &[1, 2, 3], &[1, 2, 3]);
        let without = |broker, gone| can_do_without(&story.ledger, broker, gone);
        assert!(without(2, &[]) && without(3, &[]));
        assert!(!without(1, &[]), "the leader");
        assert!(!without(3, &[2]), "two must be in sync");
        assert!(without(4, &[2, 3]), "it has no partition");
    }

    #[test]
    fn a_leader_that_cannot_be_counted_on_needs_the_others() {
        let crashed = |story: Story<_>| story.world(WorldEvent::Crashed { broker: 1, power: false });
        let told = || story().high_watermark(1, 1, 1, &[1, 2, 3], &[1, 2, 3]);
        assert!(!can_do_without(&crashed(told()).ledger, 2, &[]));
        let rotted = WorldEvent::Rotted { broker: 1, partition: orders(), offset: Offset(0) };
        assert!(!can_do_without(&told().world(rotted).ledger, 2, &[]));
        let at_risk = BTreeMap::from([(BrokerId(1), false)]);
        assert!(!told().ledger.can_do_without(BrokerId(2), &BTreeSet::new(), &at_risk));
    }
}
