//! Pure. Whether a batch that recovery finds is where it belongs and what was written.

use crate::segment::Segment;
use protocol::{
    ids::{LeaderEpoch, Offset},
    record_batch::{BatchHeader, check_crc},
};

/// Whether a batch ends before the next segment begins, or why not.
pub(super) fn within(header: BatchHeader, next: Option<Offset>) -> Result<BatchHeader, String> {
    match next.filter(|next| header.next_offset() > *next) {
        Some(next) => Err(format!("offset {} in a segment after which one begins at {next}", header.base_offset)),
        None => Ok(header),
    }
}

/// Whether a batch continues its segment, or why not.
pub(super) fn sound(
    header: &BatchHeader,
    batch: &[u8],
    segment: &Segment,
    last_epoch: Option<LeaderEpoch>,
    gaps: bool,
) -> Result<BatchHeader, String> {
    let expected = segment.end_offset;
    if header.base_offset != expected && !(gaps && header.base_offset > expected) {
        return Err(format!("offset {} where {expected} was expected", header.base_offset));
    }
    if header.last_offset_delta < 0 || header.last_offset().0 - segment.base_offset.0 > i64::from(i32::MAX) {
        return Err(format!(
            "last offset {} in a segment that begins at {}",
            header.last_offset(),
            segment.base_offset
        ));
    }
    if let Some(last) = last_epoch.filter(|last| header.leader_epoch < *last) {
        return Err(format!("leader epoch {} after {last}", header.leader_epoch));
    }
    check_crc(header, batch).map_err(|error| error.to_string())?;
    Ok(*header)
}
