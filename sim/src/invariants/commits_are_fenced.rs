//! Pure. No. 55: no commit of an older generation, or of an older epoch of the member, is accepted once a newer one is committed
//! (`ClassicGroup.validateOffsetCommit`, `ConsumerGroup.validateOffsetCommit`).

use super::Invariant;
use crate::{
    event::{Member, MemberDid, MemberEvent},
    ledger::Ledger,
    observed::{Fact, Observed},
};
use std::collections::BTreeMap;

/// See the module.
#[derive(Default)]
pub struct CommitsAreFenced {
    /// The group's generation or the member's epoch when the commit was invoked, and what the member thought that it is.
    then: BTreeMap<(Member, u64), (i32, i32)>,
}

impl Invariant for CommitsAreFenced {
    fn name(&self) -> &'static str {
        "commits_are_fenced"
    }

    fn claim(&self) -> &'static str {
        "55: no commit of an older generation or member epoch is accepted"
    }

    fn check(&mut self, ledger: &mut Ledger, observed: &Observed<'_>) -> Result<(), String> {
        let Fact::Member(MemberEvent { member, what }) = observed.fact else { return Ok(()) };
        match what {
            MemberDid::CommitInvoked { attempt, id, generation, .. } => {
                let classic = ledger.committed_generation(&member.group).map(|generation| generation.0);
                let epoch = || ledger.committed_member_epoch(&member.group, id).map(|epoch| epoch.0);
                if let Some(then) = classic.or_else(epoch) {
                    self.then.insert((member.clone(), *attempt), (then, *generation));
                }
            }
            MemberDid::CommitAcknowledged { attempt, generation } => {
                let Some((then, invoked_in)) = self.then.remove(&(member.clone(), *attempt)) else { return Ok(()) };
                // Whoever has learned meanwhile that it is no member was one in the generation in which it asked.
                let sent_in = invoked_in.max(*generation);
                if sent_in < then {
                    return Err(format!(
                        "{member} committed in generation {sent_in}, and {then} was there before it asked"
                    ));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::stories::{Story, generation, given, member},
        *,
    };

    fn commits(in_generation: i32, generation: i32) -> [MemberEvent; 2] {
        let (attempt, offsets) = (0, BTreeMap::new());
        let tell = |what| MemberEvent { member: member(1), what };
        let invoked = MemberDid::CommitInvoked { attempt, id: "a".into(), generation: in_generation, offsets };
        [tell(invoked), tell(MemberDid::CommitAcknowledged { attempt, generation })]
    }

    #[test]
    fn a_commit_of_an_older_generation_is_found() {
        let told = |before, after| {
            let story = Story::new(CommitsAreFenced::default()).cluster().groups(0, 1, vec![generation(4)]);
            let story = story.high_watermark(1, 1, 1, &[1, 2, 3], &[1, 2, 3]);
            commits(before, after).into_iter().fold(story, Story::member).verdict
        };
        assert!(told(4, 4).is_ok() && told(3, 5).is_ok() && told(4, -1).is_ok());
        assert!(told(3, 3).is_err() && told(3, -1).is_err());
    }

    #[test]
    fn a_commit_of_an_older_epoch_of_its_member_is_found() {
        let told = |epoch, whose: &str| {
            let story = Story::new(CommitsAreFenced::default()).cluster().groups(0, 1, vec![given(whose, 4, &[], &[])]);
            let story = story.high_watermark(1, 1, 1, &[1, 2, 3], &[1, 2, 3]);
            commits(epoch, epoch).into_iter().fold(story, Story::member).verdict
        };
        assert!(told(4, "a").is_ok() && told(3, "b").is_ok());
        assert!(told(3, "a").is_err());
    }

    #[test]
    fn a_generation_that_came_while_the_commit_was_on_its_way_fences_nothing() {
        let [invoked, acknowledged] = commits(3, 3);
        let story = Story::new(CommitsAreFenced::default()).cluster().groups(0, 1, vec![generation(3)]);
        let story = story.high_watermark(1, 1, 1, &[1, 2, 3], &[1, 2, 3]).member(invoked);
        let story = story.groups(1, 1, vec![generation(4)]).high_watermark(1, 1, 2, &[1, 2, 3], &[1, 2, 3]);
        assert!(story.member(acknowledged).verdict.is_ok());
    }
}
