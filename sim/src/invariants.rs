//! Pure. The claims that every run is judged by: one file each, one line in [`all`] each.
//!
//! An invariant reads events and the [`Ledger`], never a broker.

use crate::{
    event::{Budget, WorldEvent},
    ledger::Ledger,
    observed::{Fact, Observed},
};
use std::fmt;

mod acked_is_kept;
mod acknowledged_is_replicated;
mod commits_are_fenced;
mod commits_are_kept;
mod coordinator_is_its_log;
mod damage_is_never_invented;
mod damage_is_never_sent;
mod deletion_is_allowed;
mod epochs_advance;
mod epochs_are_the_logs;
mod failure_is_final;
mod fenced_leads_nothing;
mod follower_copies_its_leader;
mod follower_high_watermark_is_committed;
mod generations_advance;
mod groups_skip_nothing;
mod high_watermark_is_covered;
mod isr_covers_high_watermark;
mod joiners_fetch;
mod last_values_stay;
mod leader_is_complete;
mod log_is_its_topics;
mod maximal_isr_is_superset;
mod metadata_prefixes_agree;
mod no_truncation_of_committed;
mod nothing_is_uncommitted;
mod offsets_stay;
mod one_broker_epoch;
mod one_coordinator;
mod one_leader_per_epoch;
mod one_offset_per_value;
mod one_owner;
mod one_value_per_offset;
mod out_of_range_is_true;
mod polls_in_order;
mod prefixes_agree;
mod processed_once;
mod producer_sequence;
mod progress_under_minority_fault;
mod reads_are_committed;
mod reads_were_sent;
mod real_time_order;
mod reassignment_ends_in_sync;
mod recovery_keeps_synced;
mod refused_is_never_seen;
mod send_order;
mod settles;
#[cfg(test)]
pub(crate) mod stories;
mod truncation_ends;
mod unclean_election_is_declared;
mod unclean_is_excluded;
mod unclean_is_recovered;
mod waits_end;

/// A claim about the cluster that holds in every run within the fault budget.
pub trait Invariant {
    /// The claim's file name: how reports and mutants name it.
    fn name(&self) -> &'static str;

    /// The claim in one line, with its number in `docs/invariants.md`.
    fn claim(&self) -> &'static str;

    /// Judges an event against what the ledger held before it, where the event itself destroys the evidence.
    ///
    /// # Errors
    /// As [`Invariant::check`].
    fn before(&mut self, _ledger: &Ledger, _observed: &Observed<'_>) -> Result<(), String> {
        Ok(())
    }

    /// Judges one event, after the ledger has accounted for it.
    ///
    /// # Errors
    /// The two facts that contradict each other.
    fn check(&mut self, ledger: &mut Ledger, observed: &Observed<'_>) -> Result<(), String>;

    /// Judges the whole run, after everything was healed and drained.
    ///
    /// # Errors
    /// As [`Invariant::check`].
    fn at_end(&mut self, _ledger: &mut Ledger, _end: &End) -> Result<(), String> {
        Ok(())
    }
}

/// How a run ended.
#[derive(Clone, Debug, Default)]
pub struct End {
    /// Why the cluster did not settle in time, if it did not.
    pub unsettled: Option<String>,
    /// The final drain read every partition to its end.
    pub drained: bool,
}

/// A broken claim.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Which one.
    pub invariant: &'static str,
    /// What it claims.
    pub claim: &'static str,
    /// The contradiction.
    pub what: String,
    /// Virtual nanoseconds since the start.
    pub at: u64,
    /// The event's number.
    pub ordinal: u64,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.at as f64 / 1e9;
        write!(f, "{} at {seconds:.3} s: {} ({})", self.invariant, self.what, self.claim)
    }
}

/// Every invariant, fresh.
pub fn all() -> Vec<Box<dyn Invariant>> {
    vec![
        Box::new(metadata_prefixes_agree::MetadataPrefixesAgree::default()),
        Box::new(epochs_advance::EpochsAdvance::default()),
        Box::new(one_broker_epoch::OneBrokerEpoch::default()),
        Box::new(fenced_leads_nothing::FencedLeadsNothing::default()),
        Box::new(unclean_election_is_declared::UncleanElectionIsDeclared),
        Box::new(isr_covers_high_watermark::IsrCoversHighWatermark),
        Box::new(leader_is_complete::LeaderIsComplete),
        Box::new(prefixes_agree::PrefixesAgree),
        Box::new(maximal_isr_is_superset::MaximalIsrIsSuperset),
        Box::new(high_watermark_is_covered::HighWatermarkIsCovered::default()),
        Box::new(joiners_fetch::JoinersFetch::default()),
        Box::new(one_leader_per_epoch::OneLeaderPerEpoch::default()),
        Box::new(no_truncation_of_committed::NoTruncationOfCommitted::default()),
        Box::new(follower_copies_its_leader::FollowerCopiesItsLeader::default()),
        Box::new(acknowledged_is_replicated::AcknowledgedIsReplicated),
        Box::new(unclean_is_excluded::UncleanIsExcluded::default()),
        Box::new(follower_high_watermark_is_committed::FollowerHighWatermarkIsCommitted),
        Box::new(log_is_its_topics::LogIsItsTopics::default()),
        Box::new(acked_is_kept::AckedIsKept::default()),
        Box::new(one_value_per_offset::OneValuePerOffset::default()),
        Box::new(one_offset_per_value::OneOffsetPerValue::default()),
        Box::new(send_order::SendOrder::default()),
        Box::new(real_time_order::RealTimeOrder::default()),
        Box::new(producer_sequence::ProducerSequence::default()),
        Box::new(recovery_keeps_synced::RecoveryKeepsSynced::default()),
        Box::new(nothing_is_uncommitted::NothingIsUncommitted::default()),
        Box::new(reassignment_ends_in_sync::ReassignmentEndsInSync),
        Box::new(epochs_are_the_logs::EpochsAreTheLogs::default()),
        Box::new(polls_in_order::PollsInOrder::default()),
        Box::new(reads_are_committed::ReadsAreCommitted),
        Box::new(reads_were_sent::ReadsWereSent::default()),
        Box::new(commits_are_kept::CommitsAreKept::default()),
        Box::new(offsets_stay::OffsetsStay::default()),
        Box::new(commits_are_fenced::CommitsAreFenced::default()),
        Box::new(one_owner::OneOwner::default()),
        Box::new(generations_advance::GenerationsAdvance),
        Box::new(one_coordinator::OneCoordinator::default()),
        Box::new(coordinator_is_its_log::CoordinatorIsItsLog),
        Box::new(groups_skip_nothing::GroupsSkipNothing::default()),
        Box::new(processed_once::ProcessedOnce::default()),
        Box::new(refused_is_never_seen::RefusedIsNeverSeen::default()),
        Box::new(out_of_range_is_true::OutOfRangeIsTrue),
        Box::new(deletion_is_allowed::DeletionIsAllowed::default()),
        Box::new(last_values_stay::LastValuesStay::default()),
        Box::new(unclean_is_recovered::UncleanIsRecovered::default()),
        Box::new(truncation_ends::TruncationEnds::default()),
        Box::new(waits_end::WaitsEnd::default()),
        Box::new(damage_is_never_sent::DamageIsNeverSent),
        Box::new(damage_is_never_invented::DamageIsNeverInvented),
        Box::new(failure_is_final::FailureIsFinal::default()),
        Box::new(settles::Settles),
        Box::new(progress_under_minority_fault::ProgressUnderMinorityFault::default()),
    ]
}

/// All invariants together with the ledger that they read.
pub struct Judge {
    /// The ledger, for reports and for the fault budget.
    pub ledger: Ledger,
    invariants: Vec<Box<dyn Invariant>>,
    /// The first broken claim.
    pub violation: Option<Violation>,
}

impl Default for Judge {
    fn default() -> Self {
        Self { ledger: Ledger::default(), invariants: all(), violation: None }
    }
}

/// The claims that are judged by what clients asked and were told, whatever cluster they spoke to.
const OF_HISTORY: [&str; 10] = [
    "acked_is_kept",
    "one_value_per_offset",
    "one_offset_per_value",
    "send_order",
    "real_time_order",
    "polls_in_order",
    "reads_were_sent",
    "refused_is_never_seen",
    "last_values_stay",
    "settles",
];

/// Those of them that hold only where nothing is taken out of a log that no client is told of.
const OF_WHOLE_LOGS: [&str; 2] = ["acked_is_kept", "polls_in_order"];

/// The claims that hold even where faults destroy more than the cluster can bear: what is said is true, however little it is.
const BEYOND_BUDGET: [&str; 20] = [
    "metadata_prefixes_agree",
    "epochs_advance",
    "one_broker_epoch",
    "fenced_leads_nothing",
    "unclean_election_is_declared",
    "one_leader_per_epoch",
    "maximal_isr_is_superset",
    "log_is_its_topics",
    "recovery_keeps_synced",
    "nothing_is_uncommitted",
    "reassignment_ends_in_sync",
    "epochs_are_the_logs",
    "refused_is_never_seen",
    "reads_were_sent",
    "unclean_is_recovered",
    "waits_end",
    "damage_is_never_sent",
    "damage_is_never_invented",
    "failure_is_final",
    "settles",
];

impl Judge {
    /// One that knows nothing but what clients asked and were told, maybe of logs that are compacted.
    pub fn of_history(is_compacted: bool) -> Self {
        let holds = |name| OF_HISTORY.contains(&name) && !(is_compacted && OF_WHOLE_LOGS.contains(&name));
        let invariants = all().into_iter().filter(|invariant| holds(invariant.name())).collect();
        Self { invariants, ..Self::default() }
    }

    /// Only accounts for events from now on.
    pub fn ask_nothing(&mut self) {
        self.invariants.clear();
    }

    /// Accounts for an event and asks every invariant. After the first violation nothing more is asked.
    pub fn observe(&mut self, observed: &Observed<'_>) {
        if self.violation.is_some() {
            return;
        }
        if let Fact::World(WorldEvent::Built { budget: Budget::Beyond, .. }) = observed.fact {
            self.invariants.retain(|invariant| BEYOND_BUDGET.contains(&invariant.name()));
        }
        for invariant in &mut self.invariants {
            if let Err(what) = invariant.before(&self.ledger, observed) {
                let when = (observed.at, observed.ordinal);
                self.violation = Some(violation(&**invariant, &what, &self.ledger, when));
                return;
            }
        }
        self.ledger.apply(observed);
        for invariant in &mut self.invariants {
            if let Err(what) = invariant.check(&mut self.ledger, observed) {
                let when = (observed.at, observed.ordinal);
                self.violation = Some(violation(&**invariant, &what, &self.ledger, when));
                return;
            }
        }
    }

    /// Asks every invariant about the whole run.
    pub fn end(&mut self, end: &End) {
        for invariant in &mut self.invariants {
            if self.violation.is_none()
                && let Err(what) = invariant.at_end(&mut self.ledger, end)
            {
                let when = (self.ledger.now, 0);
                self.violation = Some(violation(&**invariant, &what, &self.ledger, when));
            }
        }
    }
}

fn violation(invariant: &dyn Invariant, what: &str, ledger: &Ledger, (at, ordinal): (u64, u64)) -> Violation {
    // Brokers know topics by their ids; whoever reads this knows names.
    let topics = ledger.image.topics();
    let what = topics.fold(what.to_owned(), |what, topic| what.replace(&topic.id.to_string(), &topic.name));
    Violation { invariant: invariant.name(), claim: invariant.claim(), what, at, ordinal }
}
