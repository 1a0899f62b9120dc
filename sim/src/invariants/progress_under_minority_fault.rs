//! Pure. No. 75: while no more nodes are impaired than every partition and the controller quorum can spare, producers with
//! acks=all go on being acknowledged, with no gap above ten seconds.
//!
//! Impaired is a node under a fault, one that is not back in every in-sync set that it belongs to, and one end of each link
//! that is bad: whichever, the cluster can do without.

use super::Invariant;
use crate::{
    event::{ClientEvent, Impairs, Tag, WorldEvent},
    ledger::Ledger,
    observed::{Fact, Observed},
};
use broker::event::ReplicaEvent;
use controller::event::ControllerEvent;
use metadata::record::{ConfigResource, Record};
use protocol::ids::BrokerId;
use std::collections::{BTreeMap, BTreeSet};

/// The longest time without an acknowledgement, in nanoseconds, where leaders count on a silent follower for no longer than
/// [`LAG`]. Where they do for longer, what they write waits for longer.
const GAP: u64 = 10_000_000_000;
const LAG: u64 = 5_000_000_000;

/// See the module.
#[derive(Default)]
pub struct ProgressUnderMinorityFault {
    faults: BTreeMap<u32, Impairs>,
    outstanding: BTreeMap<Tag, u64>,
    /// The last instant at which progress was made or not owed.
    excused_at: u64,
    min_isr: usize,
    healed: bool,
    /// How much longer than [`LAG`] a leader counts on a silent follower.
    longer: u64,
}

impl ProgressUnderMinorityFault {
    fn within_budget(&self, ledger: &Ledger) -> bool {
        let mut impaired = BTreeSet::new();
        let mut links = Vec::new();
        for impairs in self.faults.values() {
            match impairs {
                Impairs::Nodes(nodes) => impaired.extend(nodes.iter().copied().map(BrokerId)),
                Impairs::Link(one, other) => links.push((BrokerId(*one), BrokerId(*other))),
            }
        }
        let mut spare = usize::MAX;
        for (_, partition) in ledger.image.partitions() {
            impaired.extend(partition.replicas.iter().filter(|replica| !partition.isr.contains(replica)));
            spare = spare.min(partition.replicas.len().saturating_sub(self.min_isr));
        }
        // A quorum of an odd number of controllers spares the smaller half.
        let spare = spare.min(ledger.controllers.saturating_sub(1) / 2);
        impaired.len() <= spare && can_spare(&impaired, &links, spare - impaired.len())
    }

    fn judge(&mut self, ledger: &Ledger, now: u64, was_within_budget: bool) -> Result<(), String> {
        if was_within_budget
            && !self.healed
            && let Some((tag, invoked)) = self.outstanding.first_key_value()
        {
            let since = self.excused_at.max(*invoked);
            if now > since + GAP + self.longer {
                let seconds = (now - since) as f64 / 1e9;
                return Err(format!(
                    "no record was acknowledged for {seconds:.1} s, {tag} is waiting, and a minority is impaired"
                ));
            }
        }
        if !self.within_budget(ledger) {
            self.excused_at = now;
        }
        Ok(())
    }
}

/// Whether all that is wrong with these links is out of the way once this many more nodes are left out.
fn can_spare(left_out: &BTreeSet<BrokerId>, links: &[(BrokerId, BrokerId)], more: usize) -> bool {
    let wrong = links.iter().find(|(one, other)| !left_out.contains(one) && !left_out.contains(other));
    let Some((one, other)) = wrong else { return true };
    more > 0
        && [one, other].into_iter().any(|node| {
            let mut left_out = left_out.clone();
            left_out.insert(*node);
            can_spare(&left_out, links, more - 1)
        })
}

/// How many in sync a topic is to have from now on, if that is what the record says.
fn min_isr(record: &Record) -> Option<usize> {
    match record {
        Record::Config { resource: ConfigResource::Topic(_), name, value } if name == "min.insync.replicas" => {
            value.as_deref()?.parse().ok()
        }
        _ => None,
    }
}

impl Invariant for ProgressUnderMinorityFault {
    fn name(&self) -> &'static str {
        "progress_under_minority_fault"
    }

    fn claim(&self) -> &'static str {
        "75: while a minority is impaired, acks=all goes on"
    }

    fn before(&mut self, ledger: &Ledger, observed: &Observed<'_>) -> Result<(), String> {
        match observed.fact {
            Fact::World(WorldEvent::FaultBegan { .. } | WorldEvent::FaultEnded { .. } | WorldEvent::Healed)
            | Fact::Controller(_)
            | Fact::Client(ClientEvent::SendAcknowledged { .. }) => {
                let within = self.within_budget(ledger);
                self.judge(ledger, observed.at, within)
            }
            _ => Ok(()),
        }
    }

    fn check(&mut self, ledger: &mut Ledger, observed: &Observed<'_>) -> Result<(), String> {
        match observed.fact {
            Fact::World(WorldEvent::FaultBegan { id, impairs, .. }) => {
                self.faults.insert(*id, impairs.clone());
            }
            Fact::World(WorldEvent::FaultEnded { id, .. }) => {
                self.faults.remove(id);
                self.excused_at = observed.at;
            }
            Fact::World(WorldEvent::Healed) => self.healed = true,
            Fact::World(WorldEvent::Built { replica_lag_ms, .. }) => {
                self.longer = (replica_lag_ms * 1_000_000).saturating_sub(LAG);
            }
            Fact::Replica(ReplicaEvent::HighWatermark { effective_min_isr, leading: true, .. }) => {
                self.min_isr = self.min_isr.max(*effective_min_isr);
            }
            Fact::Client(ClientEvent::SendInvoked { tag, safe: true, .. }) => {
                self.outstanding.insert(*tag, observed.at);
            }
            Fact::Client(ClientEvent::SendAcknowledged { tag, .. }) => {
                self.outstanding.remove(tag);
                self.excused_at = observed.at;
            }
            Fact::Client(ClientEvent::SendRefused { tag, .. } | ClientEvent::SendUnknown { tag, .. }) => {
                self.outstanding.remove(tag);
            }
            Fact::Controller(ControllerEvent::Applied { record, .. }) => {
                if let Some(asked) = min_isr(record) {
                    self.min_isr = self.min_isr.max(asked);
                }
                if !self.within_budget(ledger) {
                    self.excused_at = observed.at;
                }
            }
            Fact::Controller(_) if !self.within_budget(ledger) => self.excused_at = observed.at,
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::stories::Story, *};
    use crate::event::Budget;

    fn story() -> Story<ProgressUnderMinorityFault> {
        let invariant = ProgressUnderMinorityFault { min_isr: 2, ..Default::default() };
        Story::new(invariant).cluster().invoked(1)
    }

    fn fault(id: u32, impairs: Impairs) -> WorldEvent {
        WorldEvent::FaultBegan { id, kind: "kill", what: String::new(), impairs }
    }

    fn nodes(ids: &[i32]) -> Impairs {
        Impairs::Nodes(ids.to_vec())
    }

    #[test]
    fn a_long_silence_with_one_broker_down_is_found() {
        assert!(story().world(fault(1, nodes(&[1]))).wait(9).acknowledged(1, 0).verdict.is_ok());
        assert!(story().world(fault(1, nodes(&[1]))).wait(11).acknowledged(1, 0).verdict.is_err());
    }

    #[test]
    fn a_leader_that_counts_on_its_followers_for_longer_may_be_silent_for_longer() {
        let lags = |replica_lag_ms| {
            let built = WorldEvent::Built { controllers: 3, budget: Budget::Within, replica_lag_ms };
            story().world(built).world(fault(1, nodes(&[1]))).wait(14).acknowledged(1, 0).verdict
        };
        assert!(lags(10_000).is_ok());
        assert!(lags(8_000).is_err() && lags(2_000).is_err());
    }

    #[test]
    fn a_long_silence_with_two_brokers_down_is_excused() {
        assert!(story().world(fault(1, nodes(&[1, 2]))).wait(11).acknowledged(1, 0).verdict.is_ok());
    }

    #[test]
    fn one_bad_link_can_be_lived_with_and_a_triangle_of_them_cannot() {
        let link = |story: Story<_>, id, one, other| story.world(fault(id, Impairs::Link(one, other)));
        let one = || link(story(), 1, 1, 2);
        assert!(one().wait(11).acknowledged(1, 0).verdict.is_err());
        assert!(link(one(), 2, 3, 2).wait(11).acknowledged(1, 0).verdict.is_err());
        assert!(link(link(one(), 2, 3, 2), 3, 1, 3).wait(11).acknowledged(1, 0).verdict.is_ok());
        assert!(one().world(fault(2, nodes(&[3]))).wait(11).acknowledged(1, 0).verdict.is_ok());
    }
}
