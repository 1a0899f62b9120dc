//! Pure. Under which producer id, producer epoch and sequence a batch is sent, so that the leader appends it once and in order.
//!
//! Source: KIP-98, KIP-360, and Kafka's `TransactionManager` and `TxnPartitionEntry`. Stricter in one place: a batch that may
//! have been appended is never given another sequence, where Java's client would risk a duplicate. Driven by `batches`.

use protocol::ids::{ProducerEpoch, ProducerId, Sequence};

/// Whom the broker takes a batch to be from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerIdentity {
    /// As a broker gave it (InitProducerId).
    pub producer_id: ProducerId,
    /// Zero at first; raised by this side to leave a gap behind.
    pub producer_epoch: ProducerEpoch,
}

impl ProducerIdentity {
    /// What batches carry without idempotence.
    pub const NONE: Self = Self { producer_id: ProducerId::NONE, producer_epoch: ProducerEpoch::NONE };
}

/// What a batch carries in its header: who sent it, and the sequence of its first record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Who sent it.
    pub identity: ProducerIdentity,
    /// The sequence of its first record.
    pub base_sequence: Sequence,
    /// How many batches of the partition were stamped before it under this identity. Not sent.
    pub ordinal: u64,
}

impl Stamp {
    /// What batches carry without idempotence.
    pub const NONE: Self = Self { identity: ProducerIdentity::NONE, base_sequence: Sequence::NONE, ordinal: 0 };
}

/// A fresh start that a partition waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Restart {
    /// The same producer id in its next epoch: brokers forget the old sequences, and refuse what is still under way.
    NextEpoch,
    /// Another producer id.
    OtherId,
}

/// The identity that new stamps are made under, one for the whole producer.
#[derive(Clone, Debug, Default)]
pub struct Identities {
    newest: Option<ProducerIdentity>,
}

impl Identities {
    /// The identity for a partition that begins; nothing until a broker has given one.
    pub fn newest(&self) -> Option<ProducerIdentity> {
        self.newest
    }

    /// Takes the identity that a broker gave.
    pub fn given(&mut self, identity: ProducerIdentity) {
        self.newest = Some(identity);
    }

    /// The identity with which a partition leaves `current` behind; nothing when a broker has to give one first.
    ///
    /// An idempotent producer raises its epoch by itself (KIP-360), as long as there is a next one.
    pub fn after(&mut self, current: ProducerIdentity, restart: Restart) -> Option<ProducerIdentity> {
        let newest = self.newest?;
        if newest != current {
            return Some(newest);
        }
        self.newest = match restart {
            Restart::NextEpoch if newest.producer_epoch.0 < i16::MAX => {
                Some(ProducerIdentity { producer_epoch: ProducerEpoch(newest.producer_epoch.0 + 1), ..newest })
            }
            Restart::NextEpoch | Restart::OtherId => None,
        };
        self.newest
    }
}

/// The sequences of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionSequences {
    identity: ProducerIdentity,
    next: Sequence,
    stamped: u64,
    restart: Option<Restart>,
    has_acknowledged: bool,
}

impl PartitionSequences {
    /// Starts at sequence zero under `identity`.
    pub fn new(identity: ProducerIdentity) -> Self {
        Self { identity, next: Sequence(0), stamped: 0, restart: None, has_acknowledged: false }
    }

    /// Under whom the partition's batches are sent.
    pub fn identity(&self) -> ProducerIdentity {
        self.identity
    }

    /// The fresh start that the partition waits for. Nothing is sent before it.
    pub fn restart(&self) -> Option<Restart> {
        self.restart
    }

    /// Whether another batch may be stamped, while `oldest` is the oldest one whose fate is not known.
    ///
    /// The leader knows again only the last `remembered` batches of a producer: the oldest one must stay among them, or it
    /// could not be sent again. And there is one at a time until the leader is known to remember this producer at all: one that
    /// has never heard of a producer id takes any sequence from it, so were the first batch refused and a second one behind it
    /// accepted, their order would be lost.
    pub fn has_room(&self, oldest: Option<Stamp>, remembered: u64) -> bool {
        let room = if self.has_acknowledged { remembered } else { 1 };
        oldest.is_none_or(|oldest| self.stamped - oldest.ordinal < room)
    }

    /// The next `records` sequences.
    ///
    /// # Panics
    /// While the partition waits for a fresh start.
    pub fn stamp(&mut self, records: i32) -> Stamp {
        assert!(self.restart.is_none(), "no sequence is given while {:?} is awaited", self.restart);
        assert!(records > 0, "a batch has at least one record, not {records}");
        let stamp = Stamp { identity: self.identity, base_sequence: self.next, ordinal: self.stamped };
        self.next = self.next.plus(records);
        self.stamped += 1;
        stamp
    }

    /// The leader has a batch of these.
    pub fn acknowledged(&mut self, stamp: Stamp) {
        self.has_acknowledged |= stamp.identity == self.identity;
    }

    /// Gives back the newest stamp, of a batch that was certainly not appended. False when it is not the newest.
    pub fn take_back(&mut self, stamp: Stamp, records: i32) -> bool {
        let is_newest = stamp.identity == self.identity && stamp.base_sequence.plus(records) == self.next;
        if is_newest {
            self.next = stamp.base_sequence;
            self.stamped = stamp.ordinal;
        }
        is_newest
    }

    /// Sequences have been lost: nothing more can be sent under them.
    pub fn ask_restart(&mut self, restart: Restart) {
        self.restart = self.restart.max(Some(restart));
    }

    /// Starts again at zero.
    pub fn restarted(&mut self, identity: ProducerIdentity) {
        assert_ne!(identity, self.identity, "a fresh start needs another identity");
        *self = Self::new(identity);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(producer_id: i64, producer_epoch: i16) -> ProducerIdentity {
        ProducerIdentity { producer_id: ProducerId(producer_id), producer_epoch: ProducerEpoch(producer_epoch) }
    }

    #[test]
    fn sequences_follow_one_another_and_wrap() {
        let mut sequences = PartitionSequences::new(identity(7, 0));
        assert_eq!(sequences.stamp(i32::MAX).base_sequence, Sequence(0));
        assert_eq!(sequences.stamp(3).base_sequence, Sequence(i32::MAX));
        assert_eq!(sequences.stamp(1).base_sequence, Sequence(2));
    }

    #[test]
    fn one_batch_at_a_time_until_the_leader_remembers_the_producer() {
        let mut sequences = PartitionSequences::new(identity(7, 0));
        let first = sequences.stamp(1);
        assert!(!sequences.has_room(Some(first), 5));
        sequences.acknowledged(first);
        let second = sequences.stamp(1);
        assert!(sequences.has_room(Some(second), 5));
        sequences.ask_restart(Restart::NextEpoch);
        sequences.restarted(identity(7, 1));
        sequences.acknowledged(second);
        let third = sequences.stamp(1);
        assert!(!sequences.has_room(Some(third), 5), "an answer under the old epoch says nothing of the new one");
    }

    #[test]
    fn the_oldest_open_batch_stays_among_those_that_a_leader_remembers() {
        let mut sequences = PartitionSequences::new(identity(7, 0));
        let first = sequences.stamp(1);
        sequences.acknowledged(first);
        let oldest = sequences.stamp(1);
        let room = (0..5).map(|_| {
            let has_room = sequences.has_room(Some(oldest), 5);
            sequences.stamp(1);
            has_room
        });
        assert_eq!(room.collect::<Vec<_>>(), [true, true, true, true, false]);
        assert!(sequences.has_room(None, 5));
    }

    #[test]
    fn a_refused_stamp_is_used_again() {
        let mut sequences = PartitionSequences::new(identity(7, 0));
        sequences.stamp(4);
        let refused = sequences.stamp(2);
        assert!(sequences.take_back(refused, 2));
        assert!(!sequences.take_back(refused, 2), "it is not the newest any more");
        assert_eq!(sequences.stamp(9).base_sequence, Sequence(4));
    }

    #[test]
    fn partitions_share_one_raise_of_the_epoch() {
        let mut identities = Identities::default();
        assert_eq!(identities.after(identity(7, 0), Restart::NextEpoch), None, "no broker has given an identity yet");
        identities.given(identity(7, 0));
        assert_eq!(identities.after(identity(7, 0), Restart::NextEpoch), Some(identity(7, 1)));
        assert_eq!(identities.after(identity(7, 0), Restart::NextEpoch), Some(identity(7, 1)));
        assert_eq!(identities.after(identity(7, 1), Restart::NextEpoch), Some(identity(7, 2)));
    }

    #[test]
    fn the_last_epoch_is_followed_by_another_producer_id() {
        let mut identities = Identities::default();
        identities.given(identity(7, i16::MAX));
        assert_eq!(identities.after(identity(7, i16::MAX), Restart::NextEpoch), None);
        identities.given(identity(8, 0));
        assert_eq!(identities.after(identity(7, i16::MAX), Restart::NextEpoch), Some(identity(8, 0)));
    }

    #[test]
    fn a_fenced_producer_id_is_left() {
        let mut identities = Identities::default();
        identities.given(identity(7, 3));
        assert_eq!(identities.after(identity(7, 3), Restart::OtherId), None);
        assert_eq!(identities.newest(), None);
    }
}
