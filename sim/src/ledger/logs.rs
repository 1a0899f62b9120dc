//! Pure. What became of the replicas' logs.

use super::{Batch, Ledger, Replica};
use protocol::ids::{BrokerId, Offset, TopicPartition};
use storage::event::LogEvent;

impl Ledger {
    /// A sync that was under way when its log was deleted comes to its end.
    fn is_late(&self, broker: BrokerId, event: &LogEvent) -> bool {
        matches!(event, LogEvent::Synced { .. }) && self.replica(broker, partition_of(event)).is_none()
    }

    pub(super) fn log_event(&mut self, broker: BrokerId, event: &LogEvent) {
        let of = partition_of(event);
        let node = self.nodes.entry(broker).or_default();
        let is_back = match event {
            LogEvent::Opened { log_start_offset, log_end_offset, .. } => log_end_offset > log_start_offset,
            _ => matches!(event, LogEvent::Recovered { .. }),
        };
        // A power loss undoes a deletion that was not on the device.
        if is_back && let Some(replica) = node.deleted.remove(&of) {
            node.replicas.entry(of).or_insert(replica);
            self.rot_is_back(broker, of);
        }
        let node = self.nodes.entry(broker).or_default();
        if let LogEvent::Deleted { .. } = event {
            node.deleted.extend(node.replicas.remove_entry(&of));
            self.left(broker, of);
        }
        self.rot_event(broker, of, event);
        if matches!(event, LogEvent::Deleted { .. }) || self.is_late(broker, event) {
            return;
        }
        let node = self.nodes.entry(broker).or_default();
        let replica = node.replicas.entry(of).or_default();
        match event {
            LogEvent::Opened { log_start_offset, log_end_offset, .. } => {
                // What recovery went through is what the device had: un-synced truncations come undone by a power loss.
                let (recovered, synced) = (std::mem::take(&mut replica.recovered), replica.synced);
                if let Some(first) = recovered.first() {
                    replica.cut(first.base_offset);
                    recovered.into_iter().for_each(|batch| replica.log.push(batch));
                }
                replica.cut(*log_end_offset);
                (replica.cut_from, replica.writing, replica.emptying) = (None, Offset::ZERO, false);
                replica.log_start_offset = *log_start_offset;
                replica.log_end_offset = *log_end_offset;
                // To go through what is on the device takes nothing from it.
                replica.synced = synced.min(*log_end_offset);
                replica.high_watermark = Offset::ZERO;
            }
            LogEvent::Recovered { .. } => replica.recovered.extend(batch_of(event)),
            LogEvent::Appended { last_offset, .. } => {
                batch_of(event).into_iter().for_each(|batch| replica.log.push(batch));
                replica.log_end_offset = last_offset.plus(1);
            }
            LogEvent::Truncated { to, from, .. } => {
                let (lowest, highest) = replica.cut_from.unwrap_or((*to, *from));
                replica.cut_from = Some((lowest.min(*to), highest.max(*from)));
                replica.cut(*to);
                replica.log_start_offset = replica.log_start_offset.min(*to);
                replica.log_end_offset = *to;
            }
            LogEvent::Emptying { .. } => replica.emptying = true,
            LogEvent::Restarted { at, .. } => {
                let Replica { unclean, damaged, .. } = *replica;
                *replica =
                    Replica { log_start_offset: *at, log_end_offset: *at, unclean, damaged, ..Replica::default() };
            }
            LogEvent::Synced { up_to, .. } => {
                replica.synced = replica.synced.max(*up_to);
                replica.cut_from = replica.cut_from.filter(|(to, _)| up_to < to);
            }
            LogEvent::StartAdvanced { to, .. } => {
                replica.log_start_offset = *to;
                let deleted = self.deleted.entry(of).or_default();
                *deleted = (*deleted).max(*to);
            }
            LogEvent::Epochs { .. } | LogEvent::Cleaned { .. } | LogEvent::Deleted { .. } => {}
            LogEvent::Failed { writing, .. } => replica.writing = replica.writing.max(*writing),
        }
    }
}

/// The batch that an event tells of.
fn batch_of(event: &LogEvent) -> Option<Batch> {
    let (LogEvent::Appended {
        base_offset,
        last_offset,
        leader_epoch,
        crc,
        producer_id,
        producer_epoch,
        base_sequence,
        ..
    }
    | LogEvent::Recovered {
        base_offset,
        last_offset,
        leader_epoch,
        crc,
        producer_id,
        producer_epoch,
        base_sequence,
        ..
    }) = event
    else {
        return None;
    };
    Some(Batch {
        base_offset: *base_offset,
        last_offset: *last_offset,
        leader_epoch: *leader_epoch,
        crc: *crc,
        producer_id: *producer_id,
        producer_epoch: *producer_epoch,
        base_sequence: *base_sequence,
    })
}

/// Whose log.
fn partition_of(event: &LogEvent) -> TopicPartition {
    match event {
        LogEvent::Opened { partition, .. }
        | LogEvent::Recovered { partition, .. }
        | LogEvent::Appended { partition, .. }
        | LogEvent::Truncated { partition, .. }
        | LogEvent::Emptying { partition, .. }
        | LogEvent::Restarted { partition, .. }
        | LogEvent::Synced { partition, .. }
        | LogEvent::StartAdvanced { partition, .. }
        | LogEvent::Cleaned { partition, .. }
        | LogEvent::Deleted { partition }
        | LogEvent::Failed { partition, .. }
        | LogEvent::Epochs { partition, .. } => *partition,
    }
}
