//! Pure. Which leader epochs a log's batches show, with what their file says where batches are missing.

use crate::leader_epochs::LeaderEpochs;
use protocol::{ids::Offset, record_batch::BatchHeader};

/// Where batches are missing before one, so may be the first batch of an epoch: then its file knows where that began, as
/// long as no batch says otherwise. A later beginning would let a follower keep what it must cut.
pub(super) fn adopt_in_gap(
    epochs: &mut LeaderEpochs,
    stored: Option<&LeaderEpochs>,
    from: Offset,
    header: &BatchHeader,
) {
    let Some(stored) = stored.filter(|_| from < header.base_offset) else { return };
    let within = stored.entries().iter().filter(|entry| {
        from <= entry.start_offset
            && entry.start_offset <= header.base_offset
            && entry.leader_epoch <= header.leader_epoch
    });
    for entry in within {
        if epochs.latest().is_none_or(|latest| entry.leader_epoch > latest.leader_epoch) {
            epochs.assign(entry.leader_epoch, entry.start_offset);
        }
    }
}

/// Notes the epoch of a batch, if it is a new one.
pub(super) fn adopt(epochs: &mut LeaderEpochs, header: &BatchHeader) {
    let newer = epochs.latest().is_none_or(|latest| header.leader_epoch > latest.leader_epoch);
    if header.leader_epoch.0 >= 0 && newer {
        epochs.assign(header.leader_epoch, header.base_offset);
    }
}
