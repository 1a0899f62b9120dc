//! How old the records are that a group has not read: the first one of each partition is fetched, and looked at.

use super::Admin;
use crate::PartitionName;
use crate::consumer::{Consumer, ConsumerError, ConsumerOptions, ResetTo};
use protocol::ids::{Offset, WallMillis};
use runtime::time;
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

/// Bytes that are fetched of each partition at a time: the first record is in its first batch, which comes whole in any case.
const PARTITION_BYTES: i32 = 16 << 10;
/// How long a poll may find nothing before the partitions are looked at again.
const POLL: Duration = Duration::from_millis(200);

impl Admin {
    /// The timestamp of the first record in each of these ranges of offsets: from the next offset that a reader wants to where
    /// the log ends. Of records that were deleted meanwhile nothing is known, and the first one that is left counts.
    ///
    /// A partition is left out where there is no record, where its records have no timestamp, and where it was not told in time.
    pub async fn first_unread(
        &self,
        ranges: &BTreeMap<PartitionName, Range<Offset>>,
    ) -> BTreeMap<PartitionName, WallMillis> {
        let deadline = time::now() + self.timeout;
        let options = ConsumerOptions {
            reset: Some(ResetTo::Earliest),
            partition_bytes_max: PARTITION_BYTES,
            // One record of a partition is enough, and then others come first.
            poll_records_max: 1,
            ..ConsumerOptions::default()
        };
        let consumer = Consumer::new(self.cluster.clone(), options);
        let mut left: BTreeMap<&PartitionName, Offset> = ranges.iter().map(|(name, range)| (name, range.end)).collect();
        consumer.assign(left.keys().map(|name| (*name).clone()));
        for (name, range) in ranges {
            consumer.seek(name, range.start);
        }
        let mut found = BTreeMap::new();
        while !left.is_empty() && time::now() < deadline {
            match consumer.poll(POLL).await {
                Ok(records) => {
                    for record in records {
                        let name = PartitionName { topic: record.topic, partition: record.partition };
                        left.remove(&name);
                        consumer.pause(&name);
                        if record.timestamp.0 >= 0 {
                            found.insert(name, record.timestamp);
                        }
                    }
                }
                Err(ConsumerError::Position { partition, .. } | ConsumerError::Damaged { partition, .. }) => {
                    left.remove(&partition);
                    consumer.pause(&partition);
                }
                Err(error) => {
                    tracing::debug!(%error, "the age of unread records is not known");
                    return found;
                }
            }
            // What is left up to the end may be nothing but marks of transactions, or have been compacted.
            left.retain(|name, end| consumer.position(name).is_none_or(|position| position.offset < *end));
        }
        found
    }
}
