//! Pure. No. 59: what a coordinator begins with is what was written of its groups, all of it and in the order in which it was
//! written, whatever cleaners have taken out of the log since (`CoordinatorLoaderImpl`, KAFKA-17306).

use super::Invariant;
use crate::{
    ledger::Ledger,
    observed::{Fact, Observed},
};
use broker::event::ReplicaEvent;
use groups::shard::{Config, GroupShard, Recorded};
use protocol::ids::{BrokerId, Offset, TopicPartition};

/// See the module.
pub struct CoordinatorIsItsLog;

impl Invariant for CoordinatorIsItsLog {
    fn name(&self) -> &'static str {
        "coordinator_is_its_log"
    }

    fn claim(&self) -> &'static str {
        "59: a coordinator begins with what was written of its groups, compacted or not"
    }

    fn check(&mut self, ledger: &mut Ledger, observed: &Observed<'_>) -> Result<(), String> {
        let Fact::Replica(ReplicaEvent::CoordinatorLoaded { partition, end, recorded, .. }) = observed.fact else {
            return Ok(());
        };
        let Some(written) = written(ledger, observed.broker, *partition, *end) else { return Ok(()) };
        match recorded.difference(&written) {
            Some(difference) => Err(format!(
                "{} has read {partition} up to {end}, and {difference}, in what was written",
                observed.broker
            )),
            None => Ok(()),
        }
    }
}

/// What a reading of this replica's log would come to had no cleaner been there. Nothing where it has a batch of which nobody
/// told: whoever wrote it was told that it had failed.
fn written(ledger: &Ledger, broker: BrokerId, partition: TopicPartition, end: Offset) -> Option<Recorded> {
    let mut groups = GroupShard::new(Config::default());
    let log = ledger.replica(broker, partition).map(|replica| replica.log.between(Offset::ZERO, end));
    for batch in log.into_iter().flatten() {
        let records = ledger.groups.written(partition, batch.leader_epoch, batch.base_offset)?;
        records.iter().for_each(|record| groups.load(record.clone()));
    }
    Some(groups.recorded())
}

#[cfg(test)]
mod tests {
    use super::{
        super::stories::{Story, commit, epoch, orders},
        *,
    };
    use groups::record::Record;
    use protocol::ids::LeaderEpoch;
    use std::sync::Arc;
    use storage::event::Origin;

    /// Two batches, of which broker 2 has copied some.
    fn copied(batches: i64) -> Story<CoordinatorIsItsLog> {
        let story = Story::new(CoordinatorIsItsLog).cluster();
        let story = story.groups(0, 1, vec![commit(5, "a")]).groups(1, 1, vec![epoch(3)]);
        (0..batches).fold(story, |story, at| story.append(2, at, 1, at as u32, Origin::Follower))
    }

    fn loads(story: Story<CoordinatorIsItsLog>, end: i64, records: Vec<Record>) -> Result<(), String> {
        let mut groups = GroupShard::new(Config::default());
        records.into_iter().for_each(|record| groups.load(record));
        let (partition, leader_epoch) = (orders(), LeaderEpoch(2));
        let recorded = Arc::new(groups.recorded());
        story
            .replica(2, ReplicaEvent::CoordinatorLoaded { partition, leader_epoch, end: Offset(end), recorded })
            .verdict
    }

    #[test]
    fn a_coordinator_that_begins_with_less_or_with_something_else_is_found() {
        assert!(loads(copied(2), 2, vec![epoch(3), commit(5, "a")]).is_ok());
        assert!(loads(copied(1), 1, vec![commit(5, "a")]).is_ok());
        assert!(loads(copied(2), 2, vec![commit(5, "a")]).is_err());
        assert!(loads(copied(2), 2, vec![commit(5, "a"), epoch(4)]).is_err());
        assert!(loads(copied(1), 1, vec![commit(5, "a"), epoch(3)]).is_err());
        assert!(loads(copied(2), 2, vec![]).is_err());
    }

    #[test]
    fn it_is_its_own_log_that_counts() {
        // The next leader wrote something else there, and another wrote over it again.
        let story = || copied(1).groups(1, 2, vec![epoch(9)]);
        assert!(loads(story().append(2, 1, 2, 7, Origin::Follower), 2, vec![commit(5, "a"), epoch(9)]).is_ok());
        assert!(loads(story().append(2, 1, 1, 1, Origin::Follower), 2, vec![commit(5, "a"), epoch(3)]).is_ok());
        assert!(loads(story().append(2, 1, 2, 7, Origin::Follower), 2, vec![commit(5, "a"), epoch(3)]).is_err());
        // A batch whose writer was told that it had failed may say anything.
        assert!(loads(story().append(2, 1, 3, 7, Origin::Follower), 2, vec![commit(5, "a"), epoch(3)]).is_ok());
    }
}
