//! Pure. No. 62: what is deleted from the beginning of a log is committed, and its topic does not retain it, or somebody asked
//! for its deletion; a log's beginning never goes back while its broker runs; and once a deletion is acknowledged, no replica
//! that lived through it leads with the records that were deleted (KAFKA-5634, KIP-107).

use super::Invariant;
use crate::{
    event::{ClientEvent, WorldEvent},
    ledger::Ledger,
    observed::{Fact, Observed},
};
use broker::event::ReplicaEvent;
use metadata::record::{ConfigResource, Record};
use protocol::ids::{BrokerId, Offset, TopicId, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};
use storage::event::LogEvent;

/// See the module.
#[derive(Default)]
pub struct DeletionIsAllowed {
    /// How far deletion was ever asked for.
    asked: BTreeMap<TopicPartition, Offset>,
    /// Topics that ever let go of records by themselves: brokers hear late that one does no more.
    forgetful: BTreeSet<TopicId>,
    /// Where each log begins, in this life of its broker.
    starts: BTreeMap<(BrokerId, TopicPartition), Offset>,
    /// Where each replica that lived through acknowledged deletions must begin if it leads.
    owed: BTreeMap<(BrokerId, TopicPartition), Offset>,
}

impl DeletionIsAllowed {
    fn advanced(&mut self, ledger: &Ledger, broker: BrokerId, of: TopicPartition, to: Offset) -> Result<(), String> {
        let committed = ledger.committed.get(&of).map_or(Offset::ZERO, |committed| committed.true_high_watermark);
        if to > committed {
            return Err(format!(
                "{of}: broker {broker} deletes up to {to}, and offsets from {committed} on are not committed"
            ));
        }
        let before = self.starts.insert((broker, of), to);
        if before.is_some_and(|before| before > to) {
            return Err(format!("{of}: the log start of broker {broker} went back from {before:?} to {to}"));
        }
        let asked = self.asked.get(&of).is_some_and(|asked| *asked >= to);
        if asked || self.forgetful.contains(&of.topic_id) || ledger.image.topic(of.topic_id).is_none() {
            return Ok(());
        }
        Err(format!(
            "{of}: broker {broker} deletes up to {to}, which nobody asked for, and the topic retains everything"
        ))
    }

    /// Notes a topic that lets go of records by itself.
    fn config_changed(&mut self, ledger: &Ledger) {
        if let Some((_, Record::Config { resource: ConfigResource::Topic(topic), name, value: Some(value) }, _)) =
            &ledger.new_record
            && name.starts_with("retention.")
            && value != "-1"
            && let Some(topic) = ledger.image.topic_by_name(topic)
        {
            self.forgetful.insert(topic.id);
        }
    }

    fn acknowledged(&mut self, ledger: &Ledger, of: TopicPartition, low_watermark: Offset) {
        let Some(state) = ledger.image.partition(of) else { return };
        for replica in state.replicas.iter().filter(|replica| ledger.is_current(**replica)) {
            // Only who is live for the controllers is waited for.
            if ledger.image.is_active(*replica) && state.isr.contains(replica) {
                let owed = self.owed.entry((*replica, of)).or_default();
                *owed = (*owed).max(low_watermark);
            }
        }
    }
}

impl Invariant for DeletionIsAllowed {
    fn name(&self) -> &'static str {
        "deletion_is_allowed"
    }

    fn claim(&self) -> &'static str {
        "62: what is deleted is committed and not retained, and stays deleted"
    }

    fn check(&mut self, ledger: &mut Ledger, observed: &Observed<'_>) -> Result<(), String> {
        let broker = observed.broker;
        self.config_changed(ledger);
        match observed.fact {
            Fact::Client(ClientEvent::DeletionInvoked { of, before }) => {
                if let Some(of) = ledger.named(of) {
                    let asked = self.asked.entry(of).or_default();
                    *asked = (*asked).max(before.unwrap_or(Offset(i64::MAX)));
                }
                Ok(())
            }
            Fact::Client(ClientEvent::DeletionAcknowledged { of, low_watermark }) => {
                if let Some(of) = ledger.named(of) {
                    self.acknowledged(ledger, of, *low_watermark);
                }
                Ok(())
            }
            Fact::World(WorldEvent::Started { broker } | WorldEvent::Crashed { broker, .. }) => {
                self.starts.retain(|(of, _), _| of.0 != *broker);
                self.owed.retain(|(of, _), _| of.0 != *broker);
                Ok(())
            }
            Fact::Log(LogEvent::StartAdvanced { partition, to }) => self.advanced(ledger, broker, *partition, *to),
            Fact::Log(LogEvent::Restarted { partition, .. } | LogEvent::Deleted { partition }) => {
                self.starts.remove(&(broker, *partition));
                self.owed.remove(&(broker, *partition));
                Ok(())
            }
            Fact::Replica(ReplicaEvent::BecameLeader { partition, .. }) => {
                let start = ledger.replica(broker, *partition).map_or(Offset::ZERO, |replica| replica.log_start_offset);
                match self.owed.get(&(broker, *partition)) {
                    Some(owed) if start < *owed => Err(format!(
                        "{partition}: records before {owed} were deleted on every live replica, and broker {broker} leads \
                         with those from {start} on"
                    )),
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::stories::{Story, named, orders},
        *,
    };
    use storage::event::Origin;

    fn to(offset: i64) -> LogEvent {
        LogEvent::StartAdvanced { partition: orders(), to: Offset(offset) }
    }

    /// Three records, of which two are committed.
    fn story() -> Story<DeletionIsAllowed> {
        let story = Story::new(DeletionIsAllowed::default()).cluster();
        let story = (0..3).fold(story, |story, offset| story.append(1, offset, 0, 9, Origin::Leader));
        story.high_watermark(1, 0, 2, &[1, 2], &[1, 2])
    }

    fn asked(before: Option<i64>) -> Story<DeletionIsAllowed> {
        story().client(ClientEvent::DeletionInvoked { of: named(), before: before.map(Offset) })
    }

    #[test]
    fn a_deletion_that_nobody_asked_for_is_found() {
        assert!(asked(Some(2)).log(1, to(2)).verdict.is_ok());
        assert!(asked(Some(1)).log(1, to(2)).verdict.is_err());
        assert!(story().log(1, to(1)).verdict.is_err());
        let resource = ConfigResource::Topic("orders".into());
        let retention = Record::Config { resource, name: "retention.ms".into(), value: Some("100".into()) };
        assert!(story().record(retention).log(1, to(1)).verdict.is_ok());
    }

    #[test]
    fn a_deletion_of_what_is_not_committed_is_found() {
        assert!(asked(None).log(1, to(2)).verdict.is_ok());
        assert!(asked(None).log(1, to(3)).verdict.is_err());
    }

    #[test]
    fn a_log_start_that_goes_back_is_found() {
        assert!(asked(None).log(1, to(2)).log(1, to(1)).verdict.is_err());
    }

    #[test]
    fn a_leader_that_still_has_what_was_deleted_is_found() {
        let acknowledged = ClientEvent::DeletionAcknowledged { of: named(), low_watermark: Offset(2) };
        let story = asked(Some(2)).log(1, to(2)).client(acknowledged);
        assert!(story.lead(2, 1, 3).verdict.is_err());
        let acknowledged = ClientEvent::DeletionAcknowledged { of: named(), low_watermark: Offset(2) };
        assert!(asked(Some(2)).log(1, to(2)).log(2, to(2)).client(acknowledged).lead(2, 1, 3).verdict.is_ok());
    }
}
