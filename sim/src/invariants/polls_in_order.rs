//! Pure. No. 29, poll skip and nonmonotonic poll: a reader with an assignment of its own gets every record of a partition
//! once, in order, but for what was deleted meanwhile (Jepsen, `kafka.clj`). All records that it is asked of have a value, and
//! no offset is a marker's.

use super::Invariant;
use crate::{
    event::{ClientEvent, NamedPartition},
    ledger::Ledger,
    observed::{Fact, Observed},
};
use protocol::ids::Offset;
use std::collections::BTreeMap;

/// See the module.
#[derive(Default)]
pub struct PollsInOrder {
    last: BTreeMap<(u32, NamedPartition), Offset>,
}

impl Invariant for PollsInOrder {
    fn name(&self) -> &'static str {
        "polls_in_order"
    }

    fn claim(&self) -> &'static str {
        "29: a reader gets every record once, in order, but for what was deleted"
    }

    fn check(&mut self, ledger: &mut Ledger, observed: &Observed<'_>) -> Result<(), String> {
        let Fact::Client(
            ClientEvent::Polled { from, offset, reader, .. } | ClientEvent::PolledForeign { from, offset, reader },
        ) = observed.fact
        else {
            return Ok(());
        };
        // A member of a group begins where somebody else was.
        if *reader != ClientEvent::DRAIN && *reader >= ClientEvent::GROUPED {
            return Ok(());
        }
        let last = self.last.insert((*reader, from.clone()), *offset);
        let wanted = last.map_or(Offset::ZERO, |last| last.plus(1));
        let is_gone = |skipped: Offset| skipped < ledger.deleted_by_name(from) || ledger.is_removed(from, skipped);
        if *offset >= wanted && (wanted.0..offset.0).all(|skipped| is_gone(Offset(skipped))) {
            return Ok(());
        }
        Err(format!("{from}: reader {reader} wanted offset {wanted} and got {offset}"))
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::stories::{Story, orders},
        *,
    };
    use storage::event::LogEvent;

    #[test]
    fn a_skipped_or_repeated_record_is_found() {
        let story = || Story::new(PollsInOrder::default()).cluster().polled(1, 0, 7);
        assert!(story().polled(2, 1, 7).polled(1, 0, 8).verdict.is_ok());
        assert!(story().polled(3, 2, 7).verdict.is_err());
        assert!(story().polled(1, 0, 7).verdict.is_err());
    }

    #[test]
    fn what_was_deleted_may_be_skipped_and_no_more() {
        let deleted = || LogEvent::StartAdvanced { partition: orders(), to: Offset(3) };
        let story = || Story::new(PollsInOrder::default()).cluster().polled(1, 0, 7).log(1, deleted());
        assert!(story().polled(4, 3, 7).verdict.is_ok());
        assert!(story().polled(5, 4, 7).verdict.is_err());
    }
}
