//! Pure. Where a follower cuts its log when it does not agree with its leader's.
//!
//! It compares epochs, never high watermarks: what is below one may still differ (KIP-101), and what is above one may be
//! committed (KIP-279). Driven by [`crate::partition`], under the replica's lock, with what a fetch of the leader answered.

use crate::partition::state::{Cut, EpochEnd};
use protocol::ids::Offset;

/// Where to cut the log when the leader answered that it parts from ours no later than at the end of `leader`'s epoch
/// (`AbstractFetcherThread.getOffsetTruncationState`).
///
/// `local` is where our log ends that epoch, or the largest one below it that we have; nothing when we have none so low.
/// If that is a lower one, the next fetch asks about it, and a second cut may follow: each round the leader's answer names
/// an older epoch, so there are no more rounds than epochs.
pub fn truncate_to(leader: EpochEnd, local: Option<EpochEnd>, log_end_offset: Offset) -> Offset {
    let shared = local.map_or(leader.end_offset, |local| local.end_offset.min(leader.end_offset));
    let to = shared.min(log_end_offset);
    // S07 of the bug zoo: one step back, and another question, as long as it takes.
    let step_back = log_end_offset.plus(-1).max(Offset::ZERO);
    if runtime::mutant!("S07") && to < step_back {
        runtime::mutant_diverged!("S07");
        return step_back;
    }
    to
}

/// What to do when the leader, whose log holds `leader_start` to `leader_end`, answered `OFFSET_OUT_OF_RANGE` to a fetch
/// from our log end (`AbstractFetcherThread.fetchOffsetAndTruncate`).
pub fn on_out_of_range(log_end_offset: Offset, leader_start: Offset, leader_end: Offset) -> Cut {
    if leader_end < log_end_offset {
        Cut::To(leader_end)
    } else if leader_start > log_end_offset {
        Cut::RestartAt(leader_start)
    } else {
        Cut::Nowhere
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use protocol::ids::LeaderEpoch;

    fn end(leader_epoch: i32, end_offset: i64) -> EpochEnd {
        EpochEnd { leader_epoch: LeaderEpoch(leader_epoch), end_offset: Offset(end_offset) }
    }

    /// A log as the epoch of each of its records.
    #[derive(Clone, Debug, PartialEq)]
    struct Log(Vec<i32>);

    impl Log {
        /// As `LeaderEpochFileCache.endOffsetFor`: the largest epoch that is not above the one asked for, or that one
        /// itself where there is none, and the offset at which a higher one begins.
        fn end_of(&self, epoch: i32) -> EpochEnd {
            let higher = self.0.partition_point(|of| *of <= epoch);
            end(self.0[..higher].last().copied().unwrap_or(epoch), higher as i64)
        }

        fn shared_with(&self, other: &Self) -> usize {
            self.0.iter().zip(&other.0).take_while(|(ours, theirs)| ours == theirs).count()
        }
    }

    #[test]
    fn the_cut_is_where_the_shared_epoch_ends_first() {
        assert_eq!(truncate_to(end(3, 20), Some(end(3, 17)), Offset(40)), Offset(17));
        assert_eq!(truncate_to(end(3, 15), Some(end(3, 17)), Offset(40)), Offset(15));
    }

    #[test]
    fn an_epoch_that_we_never_had_is_cut_to_the_one_below() {
        assert_eq!(truncate_to(end(3, 20), Some(end(2, 8)), Offset(40)), Offset(8));
    }

    #[test]
    fn without_any_epoch_so_low_the_leaders_end_counts() {
        assert_eq!(truncate_to(end(3, 20), None, Offset(40)), Offset(20));
        assert_eq!(truncate_to(end(3, 60), None, Offset(40)), Offset(40));
    }

    #[test]
    fn a_follower_that_is_ahead_is_cut_and_one_that_is_far_behind_begins_anew() {
        assert_eq!(on_out_of_range(Offset(50), Offset(10), Offset(40)), Cut::To(Offset(40)));
        assert_eq!(on_out_of_range(Offset(5), Offset(10), Offset(40)), Cut::RestartAt(Offset(10)));
        assert_eq!(on_out_of_range(Offset(20), Offset(10), Offset(40)), Cut::Nowhere);
    }

    /// A log whose epochs rise: how many records each has.
    fn epochs() -> impl Strategy<Value = Vec<usize>> {
        prop::collection::vec(0usize..4, 0..8)
    }

    proptest! {
        /// Two logs that share a prefix and then part, in epochs that only one of them has: rounds of fetch and cut end
        /// with a prefix of the leader's log, and never cut what is shared.
        #[test]
        fn rounds_of_cuts_end_with_the_shared_prefix(shared in epochs(), leader in epochs(), follower in epochs()) {
            let records = |counts: &[usize], epoch_of: &dyn Fn(usize) -> i32| -> Vec<i32> {
                counts.iter().enumerate().flat_map(|(at, count)| vec![epoch_of(at); *count]).collect()
            };
            let base = shared.len() as i32;
            let prefix = records(&shared, &|at| at as i32);
            let tail_of = |counts: &[usize], parity: i32| records(counts, &|at| base + 2 * at as i32 + parity);
            let leader = Log([prefix.clone(), tail_of(&leader, 0)].concat());
            let mut follower = Log([prefix, tail_of(&follower, 1)].concat());
            let common = follower.shared_with(&leader);
            for round in 0.. {
                prop_assert!(round <= 20, "it does not end");
                let Some(last) = follower.0.last().copied() else { break };
                // The leader has written its own epoch down, which is higher than all: it always has an answer.
                let theirs = leader.end_of(last);
                let log_end = Offset(follower.0.len() as i64);
                if theirs.leader_epoch.0 == last && theirs.end_offset >= log_end {
                    break;
                }
                let cut = truncate_to(theirs, Some(follower.end_of(theirs.leader_epoch.0)), log_end);
                follower.0.truncate(cut.0 as usize);
                prop_assert!(follower.0.len() >= common, "cut {cut}, but {common} are shared");
            }
            prop_assert_eq!(follower.shared_with(&leader), follower.0.len());
            prop_assert_eq!(follower.0.len(), common);
        }
    }
}
