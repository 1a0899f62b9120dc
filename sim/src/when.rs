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

impl Measure {
    /// Its value for a partition now; nothing where there is no such partition.
    fn of(self, ledger: &Ledger, topic: &str, partition: PartitionIndex) -> Option<i64> {
        let topic = ledger.image.topic_by_name(topic)?;
        let state = topic.partition(partition)?;
        let of = TopicPartition { topic_id: topic.id, partition };
        Some(match self {
            Self::HighWatermark => ledger.committed.get(&of).map_or(0, |committed| committed.true_high_watermark.0),
            Self::LeaderEpoch => i64::from(state.leader_epoch.0),
            Self::Isr => state.isr.len() as i64,
        })
    }
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

    /// The partition that it is about.
    pub fn place(&self) -> (&str, PartitionIndex) {
        (&self.topic, self.partition)
    }

    /// Whether it is the high watermark that is compared.
    pub fn wants_high_watermark(&self) -> bool {
        self.measure == Measure::HighWatermark
    }

    /// Whether it is true of a partition with this high watermark, leader epoch and number of replicas in sync.
    pub fn holds_for(&self, high_watermark: i64, leader_epoch: i32, in_sync: usize) -> bool {
        self.is_met_by(match self.measure {
            Measure::HighWatermark => high_watermark,
            Measure::LeaderEpoch => i64::from(leader_epoch),
            Measure::Isr => in_sync as i64,
        })
    }

    fn is_met_by(&self, value: i64) -> bool {
        if self.at_least { value >= self.bound } else { value <= self.bound }
    }

    /// Whether it is true now.
    pub fn holds(&self, ledger: &Ledger) -> bool {
        self.measure.of(ledger, &self.topic, self.partition).is_some_and(|value| self.is_met_by(value))
    }
}

/// The conditions of a partition that are true now and, since these measures only grow, were not before they became so:
/// what a step that happens now could wait for, the most telling first.
pub fn just_true(ledger: &Ledger, topic: &str, partition: PartitionIndex) -> Vec<String> {
    let growing = [("leader_epoch", Measure::LeaderEpoch), ("high_watermark", Measure::HighWatermark)];
    let measured =
        growing.into_iter().filter_map(|(name, measure)| Some((name, measure.of(ledger, topic, partition)?)));
    measured
        .filter(|(_, value)| *value > 0)
        .map(|(name, value)| format!("{name}({topic}-{partition}) >= {value}"))
        .collect()
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
