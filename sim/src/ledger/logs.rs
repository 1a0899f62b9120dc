//! Pure. What became of the replicas' logs.

use super::{Batch, Cleaned, Ledger, Replica};
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
        if let LogEvent::StartAdvanced { to, .. } = event {
            let deleted = self.deleted.entry(of).or_default();
            *deleted = (*deleted).max(*to);
        }
        let node = self.nodes.entry(broker).or_default();
        let cleaned = self.cleaned.entry(of).or_default();
        node.replicas.entry(of).or_default().log_event(cleaned, event);
    }
}

impl Replica {
    fn log_event(&mut self, cleaned: &mut Cleaned, event: &LogEvent) {
        match event {
            LogEvent::Opened { log_start_offset, log_end_offset, .. } => {
                // What recovery went through is what the device had: un-synced truncations come undone by a power loss.
                let (recovered, synced) = (std::mem::take(&mut self.recovered), self.synced);
                if let Some(first) = recovered.first() {
                    self.cut(first.base_offset);
                    let end = recovered.last().map_or(first.base_offset, Batch::end);
                    let gone = cleaned.gone_between(end, *log_end_offset);
                    recovered.iter().copied().chain(gone).for_each(|batch| self.log.push(batch));
                }
                self.cut(*log_end_offset);
                (self.cut_from, self.writing, self.emptying) = (None, Offset::ZERO, false);
                self.log_start_offset = *log_start_offset;
                self.log_end_offset = *log_end_offset;
                // To go through what is on the device takes nothing from it.
                self.synced = synced.min(*log_end_offset);
                self.high_watermark = Offset::ZERO;
            }
            LogEvent::Recovered { .. } => {
                let batch = batch_of(event).map(|batch| cleaned.as_written(batch));
                let before = self.recovered.last().map(Batch::end).zip(batch);
                let gone = before.map(|(end, batch)| cleaned.gone_between(end, batch.base_offset));
                self.recovered.extend(gone.into_iter().flatten().chain(batch));
            }
            LogEvent::Appended { last_offset, .. } => {
                if let Some(batch) = batch_of(event).map(|batch| cleaned.as_written(batch)) {
                    let gone = cleaned.gone_between(self.log_end_offset, batch.base_offset);
                    gone.chain([batch]).for_each(|batch| self.log.push(batch));
                }
                self.log_end_offset = last_offset.plus(1);
            }
            LogEvent::Cleaned { from, to, batches, .. } => cleaned.observe(&self.log, (*from, *to), batches),
            LogEvent::Truncated { to, from, .. } => {
                let (lowest, highest) = self.cut_from.unwrap_or((*to, *from));
                self.cut_from = Some((lowest.min(*to), highest.max(*from)));
                self.cut(*to);
                self.log_start_offset = self.log_start_offset.min(*to);
                self.log_end_offset = *to;
            }
            LogEvent::Emptying { .. } => self.emptying = true,
            LogEvent::Restarted { at, .. } => {
                let Replica { unclean, damaged, .. } = *self;
                *self = Replica { log_start_offset: *at, log_end_offset: *at, unclean, damaged, ..Replica::default() };
            }
            LogEvent::Synced { up_to, .. } => {
                self.synced = self.synced.max(*up_to);
                self.cut_from = self.cut_from.filter(|(to, _)| up_to < to);
            }
            LogEvent::StartAdvanced { to, .. } => self.log_start_offset = *to,
            LogEvent::Epochs { .. } | LogEvent::Deleted { .. } => {}
            LogEvent::Failed { writing, .. } => self.writing = self.writing.max(*writing),
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
