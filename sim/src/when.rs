//! Pure. Facts of the cluster that a step of a timeline may wait for: `high_watermark(orders-0) >= 400`,
//! `leader_epoch(orders-0) >= 3`, `isr(orders-0) <= 2`.

use crate::ledger::Ledger;
use protocol::ids::{PartitionIndex, TopicPartition};

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Measure {
    HighWatermark,
    LeaderEpoch,
    Isr,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    measure: Measure,
    topic: String,
    partition: PartitionIndex,
    at_least: bool,
    bound: i64,
}

impl Condition {
    /// Reads a condition.
    ///
    /// # Errors
    /// Says what a condition looks like.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is not a condition: write it as high_watermark(orders-0) >= 400");
        let mut words = text.split_whitespace();
        let (Some(what), Some(comparison), Some(bound), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(wrong());
        };
        let (measure, place) = what.strip_suffix(')').and_then(|what| what.split_once('(')).ok_or_else(wrong)?;
        let (topic, partition) = place.rsplit_once('-').ok_or_else(wrong)?;
        Ok(Self {
            measure: match measure {
                "high_watermark" => Measure::HighWatermark,
                "leader_epoch" => Measure::LeaderEpoch,
                "isr" => Measure::Isr,
                _ => return Err(wrong()),
            },
            topic: topic.into(),
            partition: PartitionIndex(partition.parse().map_err(|_| wrong())?),
            at_least: match comparison {
                ">=" => true,
                "<=" => false,
                _ => return Err(wrong()),
            },
            bound: bound.parse().map_err(|_| wrong())?,
        })
    }

    /// Whether it is true now.
    pub fn holds(&self, ledger: &Ledger) -> bool {
        let Some(topic) = ledger.image.topic_by_name(&self.topic) else { return false };
        let Some(state) = topic.partition(self.partition) else { return false };
        let of = TopicPartition { topic_id: topic.id, partition: self.partition };
        let value = match self.measure {
            Measure::HighWatermark => ledger.committed.get(&of).map_or(0, |committed| committed.true_high_watermark.0),
            Measure::LeaderEpoch => i64::from(state.leader_epoch.0),
            Measure::Isr => state.isr.len() as i64,
        };
        if self.at_least { value >= self.bound } else { value <= self.bound }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read_or_refused() {
        let condition = Condition::parse("high_watermark(my-topic-3) >= 400").expect("a condition");
        assert_eq!((condition.topic.as_str(), condition.partition), ("my-topic", PartitionIndex(3)));
        for wrong in ["", "high_watermark >= 4", "lag(orders-0) >= 4", "isr(orders) <= 2", "isr(orders-0) = 2"] {
            assert!(Condition::parse(wrong).is_err(), "{wrong}");
        }
    }
}
