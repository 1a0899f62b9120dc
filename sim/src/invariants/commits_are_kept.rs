//! Pure. No. 57: what a coordinator has accepted is committed in its log, and whoever asks later is told it or something newer
//! (`GroupCoordinatorService.commitOffsets`, A20: an answer leaves once its records are below the high watermark).

use super::Invariant;
use crate::{
    event::{Committed, Member, MemberDid, MemberEvent, NamedPartition},
    ledger::Ledger,
    observed::{Fact, Observed},
};
use groups::record::CommittedOffset;
use protocol::ids::Offset;
use std::collections::BTreeMap;

/// See the module.
#[derive(Default)]
pub struct CommitsAreKept {
    invoked: BTreeMap<(Member, u64), BTreeMap<NamedPartition, Committed>>,
    /// Where the batch with the last commit ended that was committed when somebody asked.
    floors: BTreeMap<(Member, u64), BTreeMap<NamedPartition, Option<Offset>>>,
}

impl Invariant for CommitsAreKept {
    fn name(&self) -> &'static str {
        "commits_are_kept"
    }

    fn claim(&self) -> &'static str {
        "57: a commit that was accepted is committed, and whoever asks later is told it or a newer one"
    }

    fn check(&mut self, ledger: &mut Ledger, observed: &Observed<'_>) -> Result<(), String> {
        let Fact::Member(MemberEvent { member, what }) = observed.fact else { return Ok(()) };
        match what {
            MemberDid::CommitInvoked { attempt, offsets, .. } => {
                self.invoked.insert((member.clone(), *attempt), offsets.clone());
                Ok(())
            }
            MemberDid::CommitAcknowledged { attempt, .. } => {
                let offsets = self.invoked.remove(&(member.clone(), *attempt)).unwrap_or_default();
                offsets.iter().try_for_each(|(of, said)| is_committed(ledger, (member, *attempt), of, said))
            }
            MemberDid::FetchInvoked { attempt, partitions } => {
                let committed = ledger.group_committed(&member.group);
                let floor = |of: &NamedPartition| {
                    let commits = ledger.groups.commits(&member.group, of);
                    commits.rev().map(|(end, _)| end).find(|end| *end <= committed)
                };
                let floors = partitions.iter().map(|of| (of.clone(), floor(of))).collect();
                self.floors.insert((member.clone(), *attempt), floors);
                Ok(())
            }
            MemberDid::FetchAnswered { attempt, offsets } => {
                let floors = self.floors.remove(&(member.clone(), *attempt)).unwrap_or_default();
                floors.iter().try_for_each(|(of, floor)| is_fresh(ledger, member, of, *floor, offsets.get(of)))
            }
            MemberDid::CommitsFirst | MemberDid::Took { .. } | MemberDid::GaveUp { .. } | MemberDid::Ended => Ok(()),
        }
    }
}

fn says(written: &CommittedOffset, (offset, metadata): &Committed) -> bool {
    written.offset == *offset && written.metadata == *metadata
}

fn is_committed(
    ledger: &Ledger,
    (member, attempt): (&Member, u64),
    of: &NamedPartition,
    said: &Committed,
) -> Result<(), String> {
    let committed = ledger.group_committed(&member.group);
    // A client that has committed something newer leaves out what it had still to send.
    let is_newer = |written: &CommittedOffset| member.attempt_of(&written.metadata) > Some(attempt);
    let holds = |written: &CommittedOffset| says(written, said) || is_newer(written);
    let mut commits = ledger.groups.commits(&member.group, of);
    if commits.any(|(end, written)| end <= committed && written.is_some_and(holds)) {
        return Ok(());
    }
    let (offset, metadata) = said;
    Err(format!(
        "{member} was told that offset {offset} ({metadata}) of {of} is committed, and up to {committed} it is not"
    ))
}

fn is_fresh(
    ledger: &Ledger,
    member: &Member,
    of: &NamedPartition,
    floor: Option<Offset>,
    told: Option<&Committed>,
) -> Result<(), String> {
    let mut newer = ledger.groups.commits(&member.group, of).filter(|(end, _)| floor.is_none_or(|floor| *end >= floor));
    let fits = match told {
        None => floor.is_none() || newer.any(|(_, written)| written.is_none()),
        Some(told) => newer.any(|(_, written)| written.is_some_and(|written| says(written, told))),
    };
    if fits {
        return Ok(());
    }
    let told = told.map_or("nothing".to_owned(), |(offset, metadata)| format!("{offset} ({metadata})"));
    let floor = floor.map_or("nothing".to_owned(), |floor| format!("what ends at {floor}"));
    Err(format!("{member} was told {told} of {of}, and when it asked {floor} was committed already"))
}

#[cfg(test)]
mod tests {
    use super::{
        super::stories::{Story, commit, member, named},
        *,
    };

    fn offsets(offset: i64, text: &str) -> BTreeMap<NamedPartition, Committed> {
        [(named(), (Offset(offset), text.to_owned()))].into()
    }

    fn invoked(attempt: u64, offset: i64, text: &str) -> MemberEvent {
        let offsets = offsets(offset, text);
        MemberEvent {
            member: member(1),
            what: MemberDid::CommitInvoked { attempt, id: String::new(), generation: 1, offsets },
        }
    }

    fn acknowledged(attempt: u64) -> MemberEvent {
        MemberEvent { member: member(1), what: MemberDid::CommitAcknowledged { attempt, generation: 1 } }
    }

    fn asks() -> MemberEvent {
        MemberEvent { member: member(2), what: MemberDid::FetchInvoked { attempt: 0, partitions: vec![named()] } }
    }

    fn is_told(offsets: BTreeMap<NamedPartition, Committed>) -> MemberEvent {
        MemberEvent { member: member(2), what: MemberDid::FetchAnswered { attempt: 0, offsets } }
    }

    fn story() -> Story<CommitsAreKept> {
        Story::new(CommitsAreKept::default()).cluster()
    }

    #[test]
    fn what_is_acknowledged_is_below_the_high_watermark() {
        let written = || story().member(invoked(0, 5, "a")).groups(0, 1, vec![commit(5, "a")]);
        assert!(written().high_watermark(1, 1, 1, &[1, 2, 3], &[1, 2, 3]).member(acknowledged(0)).verdict.is_ok());
        assert!(written().member(acknowledged(0)).verdict.is_err());
        let other = story().member(invoked(0, 5, "a")).groups(0, 1, vec![commit(5, "b")]);
        assert!(other.high_watermark(1, 1, 1, &[1, 2, 3], &[1, 2, 3]).member(acknowledged(0)).verdict.is_err());
    }

    #[test]
    fn a_commit_that_a_newer_one_overtook_need_not_be_written() {
        let overtaken = |text: &str| {
            let story = story().member(invoked(3, 5, "a")).groups(0, 1, vec![commit(5, text)]);
            story.high_watermark(1, 1, 1, &[1, 2, 3], &[1, 2, 3]).member(acknowledged(3)).verdict
        };
        assert!(overtaken(&member(1).text(4)).is_ok());
        assert!(overtaken(&member(1).text(2)).is_err());
        assert!(overtaken(&member(2).text(4)).is_err());
    }

    #[test]
    fn whoever_asks_is_told_the_last_commit_or_a_newer_one() {
        let asked = || {
            let two = story().groups(0, 1, vec![commit(5, "a")]).groups(1, 1, vec![commit(7, "b")]);
            two.high_watermark(1, 1, 2, &[1, 2, 3], &[1, 2, 3]).member(asks())
        };
        assert!(asked().member(is_told(offsets(7, "b"))).verdict.is_ok());
        assert!(asked().groups(2, 1, vec![commit(9, "c")]).member(is_told(offsets(9, "c"))).verdict.is_ok());
        assert!(asked().member(is_told(offsets(5, "a"))).verdict.is_err());
        assert!(asked().member(is_told(offsets(7, ""))).verdict.is_err());
        assert!(asked().member(is_told(BTreeMap::new())).verdict.is_err());
        assert!(story().member(asks()).member(is_told(BTreeMap::new())).verdict.is_ok());
    }

    #[test]
    fn what_a_new_coordinator_wrote_over_is_told_to_nobody() {
        let replaced = story().groups(0, 1, vec![commit(5, "a")]).groups(0, 2, vec![commit(7, "b")]).member(asks());
        assert!(replaced.member(is_told(offsets(5, "a"))).verdict.is_err());
    }
}
