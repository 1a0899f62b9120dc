//! Pure. No. 37: a reader is told that its position is out of range only where the data is really gone, or where it is past the
//! end of a leader's log (KIP-392, KAFKA-9543). Whoever hears it moves.

use super::Invariant;
use crate::{
    ledger::Ledger,
    observed::{Fact, Observed},
};
use broker::event::ReplicaEvent;

/// See the module.
pub struct OutOfRangeIsTrue;

impl Invariant for OutOfRangeIsTrue {
    fn name(&self) -> &'static str {
        "out_of_range_is_true"
    }

    fn claim(&self) -> &'static str {
        "37: no reader is sent away from an offset that is there"
    }

    fn check(&mut self, ledger: &mut Ledger, observed: &Observed<'_>) -> Result<(), String> {
        let Fact::Replica(ReplicaEvent::OutOfRange { partition, offset, leading }) = observed.fact else {
            return Ok(());
        };
        let Some(replica) = ledger.replica(observed.broker, *partition) else { return Ok(()) };
        let (start, end) = (replica.log_start_offset, replica.log_end_offset);
        if *offset < start || (*leading && *offset > end) {
            return Ok(());
        }
        let broker = observed.broker;
        Err(format!("{partition}: broker {broker} calls offset {offset} out of range; its log holds {start} to {end}"))
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::stories::{Story, orders},
        *,
    };
    use protocol::ids::Offset;
    use storage::event::Origin;

    #[test]
    fn an_offset_that_is_there_and_is_called_out_of_range_is_found() {
        let story = |offset, leading| {
            let told = ReplicaEvent::OutOfRange { partition: orders(), offset: Offset(offset), leading };
            Story::new(OutOfRangeIsTrue).append(1, 0, 0, 9, Origin::Leader).replica(1, told).verdict
        };
        assert!(story(2, true).is_ok());
        assert!(story(1, true).is_err());
        assert!(story(2, false).is_err(), "a follower cannot know");
    }
}
