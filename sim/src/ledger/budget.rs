//! Pure. What more may be lost without breaking a promise that was made: the fault budget.

use super::Ledger;
use crate::event::Budget;
use protocol::ids::{BrokerId, Offset, TopicPartition};
use std::collections::BTreeMap;
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
        let Some(node) = self.nodes.get(&broker).filter(|_| self.budget == Budget::Within) else { return true };
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
        let Some(node) = self.nodes.get(&broker).filter(|_| self.budget == Budget::Within) else { return true };
        let may = |partition| 1 + self.others(broker, partition, at_risk).unclean < self.promised(partition);
        node.replicas.keys().all(|partition| may(*partition))
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
