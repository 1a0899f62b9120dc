//! Pure. From one generation to the next: what begins a rebalance, what ends the wait for joins, and what time does to it all.

use super::messages::{Answer, SyncAnswer};
use super::roster::{Member, Silent};
use super::{ClassicGroup, Moment, State, millis};
use crate::effects::Effects;
use crate::ids::MemberId;
use bytes::Bytes;
use protocol::error_code::ErrorCode;
use protocol::ids::{MonotonicMillis, WallMillis};

/// The least time in milliseconds that absent static members are waited for again, so that members that want no wait at all
/// do not keep the coordinator busy.
const ANOTHER_WAIT_MS: u64 = 1_000;

/// What ends the wait for joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JoinPhase {
    /// Time alone: the group was empty, and more members may be about to come (KIP-134).
    Initial {
        /// When the wait is over, or goes on.
        ends: MonotonicMillis,
        /// How long this part of the wait is, in milliseconds.
        delay: u64,
        /// How much longer the whole may last, in milliseconds.
        remaining: u64,
        /// Whether somebody came in this part, so that another follows.
        somebody_came: bool,
    },
    /// That all have joined, or else time.
    Until(MonotonicMillis),
}

impl JoinPhase {
    fn ends(&self) -> MonotonicMillis {
        match self {
            Self::Initial { ends, .. } | Self::Until(ends) => *ends,
        }
    }

    /// A member was added.
    pub(super) fn somebody_came(&mut self) {
        match self {
            Self::Initial { somebody_came, .. } => *somebody_came = true,
            Self::Until(_) => {}
        }
    }
}

impl ClassicGroup {
    /// When [`Self::expire`] has something to do, if nothing happens before.
    pub fn next_deadline(&self) -> Option<MonotonicMillis> {
        let join = self.join_phase.as_ref().map(JoinPhase::ends);
        [self.roster.next_deadline(), join, self.sync_deadline].into_iter().flatten().min()
    }

    /// Does what is due: removes who was silent for too long, begins the generation that was waited for, removes who never
    /// asked for its assignment. In the order in which it fell due.
    pub fn expire(&mut self, now: MonotonicMillis, wall: WallMillis) -> Effects<Answer> {
        let at = Moment { now, wall };
        let mut out = Effects::default();
        while let Some(due) = self.next_deadline().filter(|due| *due <= now) {
            if self.roster.next_deadline() == Some(due) {
                self.expire_session(at, &mut out);
            } else if self.sync_deadline == Some(due) {
                self.expire_sync(at, &mut out);
            } else {
                self.expire_join(at, &mut out);
            }
        }
        self.assert_sound();
        out
    }

    /// Somebody's time is up (`GroupMetadataManager.expireClassicGroupMemberHeartbeat`).
    fn expire_session(&mut self, at: Moment, out: &mut Effects<Answer>) {
        match self.roster.expire_next() {
            None => {}
            Some(Silent::Pending) => self.complete_join_once_all_are_there(at, out),
            Some(Silent::Member(id)) => {
                self.dismiss(&id, out);
                match self.state {
                    State::CompletingRebalance | State::Stable => self.prepare_rebalance(at, out),
                    State::PreparingRebalance => self.complete_join_once_all_are_there(at, out),
                    State::Empty | State::Dead => unreachable!("a group that is {} has no member {id}", self.state),
                }
            }
        }
    }

    /// Removes a member; its client may come back as another (`GroupMetadataManager.removeMemberAndUpdateClassicGroup`).
    pub(super) fn dismiss(&mut self, id: &MemberId, out: &mut Effects<Answer>) {
        self.answer_waiting(id, &MemberId::default(), ErrorCode::UnknownMemberId, out);
        self.forget(id);
    }

    /// Who never asked for its assignment is removed (`GroupMetadataManager.expirePendingSync`, KAFKA-12890).
    fn expire_sync(&mut self, at: Moment, out: &mut Effects<Answer>) {
        for id in std::mem::take(&mut self.pending_sync) {
            self.forget(&id);
        }
        self.clear_pending_sync();
        self.prepare_rebalance(at, out);
    }

    /// The wait for joins is over, or a part of it
    /// (`GroupMetadataManager.tryCompleteInitialRebalanceElseSchedule`).
    fn expire_join(&mut self, at: Moment, out: &mut Effects<Answer>) {
        match self.join_phase {
            Some(JoinPhase::Initial { delay, remaining, somebody_came: true, .. }) if remaining > 0 => {
                let next = millis(self.config.initial_rebalance_delay_ms).min(remaining);
                self.join_phase = Some(JoinPhase::Initial {
                    ends: at.now.plus(next),
                    delay: next,
                    remaining: remaining.saturating_sub(delay),
                    somebody_came: false,
                });
            }
            Some(JoinPhase::Initial { .. } | JoinPhase::Until(_)) => self.complete_join(at, out),
            None => unreachable!("no join phase fell due"),
        }
    }

    /// Begins a rebalance; if there is one already, ends it once all have joined
    /// (`GroupMetadataManager.maybePrepareRebalanceOrCompleteJoin`).
    pub(super) fn prepare_or_complete(&mut self, at: Moment, out: &mut Effects<Answer>) {
        if State::PreparingRebalance.may_follow(self.state) {
            self.prepare_rebalance(at, out);
        } else {
            self.maybe_complete_join(at, out);
        }
    }

    /// Begins a rebalance: whoever waits for an assignment is sent back to join, and the assignments of this generation are
    /// void if they were not complete (`GroupMetadataManager.prepareRebalance`).
    pub(super) fn prepare_rebalance(&mut self, at: Moment, out: &mut Effects<Answer>) {
        if self.state == State::CompletingRebalance {
            for id in self.roster.ids() {
                self.roster.assign(&id, Bytes::new());
                if let Some(ticket) = self.roster.end_sync(&id) {
                    let answer = SyncAnswer::refused(ErrorCode::RebalanceInProgress);
                    out.answers.push((ticket, Answer::Sync(answer)));
                    self.roster.keep_alive(&id, at.now);
                }
            }
        }
        self.clear_pending_sync();
        let timeout = self.roster.rebalance_timeout();
        if self.state == State::Empty {
            let delay = millis(self.config.initial_rebalance_delay_ms);
            let remaining = timeout.saturating_sub(delay);
            let ends = at.now.plus(delay);
            self.join_phase = Some(JoinPhase::Initial { ends, delay, remaining, somebody_came: false });
            self.transition(State::PreparingRebalance, at.wall);
        } else {
            self.join_phase = Some(JoinPhase::Until(at.now.plus(timeout)));
            self.transition(State::PreparingRebalance, at.wall);
            self.complete_join_once_all_are_there(at, out);
        }
    }

    /// Begins the next generation once all have joined, unless the group was empty and time alone decides
    /// (`GroupMetadataManager.maybeCompleteJoinPhase`).
    pub(super) fn maybe_complete_join(&mut self, at: Moment, out: &mut Effects<Answer>) {
        match self.join_phase {
            Some(JoinPhase::Until(_)) => self.complete_join_once_all_are_there(at, out),
            Some(JoinPhase::Initial { .. }) | None => {}
        }
    }

    /// Begins the next generation once all have joined, even if the group was empty: with whoever falls silent goes the
    /// reason to wait.
    fn complete_join_once_all_are_there(&mut self, at: Moment, out: &mut Effects<Answer>) {
        if self.state == State::PreparingRebalance && self.roster.all_joined() {
            self.complete_join(at, out);
        }
    }

    /// Begins the next generation, with whoever has joined and with the static members, which may come back
    /// (`GroupMetadataManager.completeClassicGroupJoin`).
    ///
    /// If only static members are left and none has joined, they are waited for again, until their sessions end.
    fn complete_join(&mut self, at: Moment, out: &mut Effects<Answer>) {
        let late = |(id, member): (&MemberId, &Member)| {
            (member.instance.is_none() && !member.is_joining()).then(|| id.clone())
        };
        for id in self.roster.iter().filter_map(late).collect::<Vec<_>>() {
            self.forget(&id);
        }
        if self.roster.is_empty() {
            self.begin_empty_generation(at, out);
        } else if self.roster.joining() == 0 {
            let timeout = self.roster.rebalance_timeout().max(ANOTHER_WAIT_MS);
            self.join_phase = Some(JoinPhase::Until(at.now.plus(timeout)));
        } else {
            self.elect_a_joined_leader();
            self.begin_generation(at, out);
        }
    }

    /// The leader stays if it has joined; else the first that has leads (`ClassicGroup.maybeElectNewJoinedLeader`).
    fn elect_a_joined_leader(&mut self) {
        let led = self.leader.as_ref().and_then(|leader| self.roster.get(leader));
        if !led.is_some_and(Member::is_joining) {
            self.leader = self.roster.iter().find(|(_, member)| member.is_joining()).map(|(id, _)| id.clone());
        }
    }

    fn begin_empty_generation(&mut self, at: Moment, out: &mut Effects<Answer>) {
        self.generation = self.generation.next();
        self.protocol = None;
        self.subscribed = self.subscribed_topics();
        self.join_phase = None;
        self.transition(State::Empty, at.wall);
        out.records.push(self.record());
    }

    /// Tells everybody of the next generation, and waits for all to ask for their assignments.
    fn begin_generation(&mut self, at: Moment, out: &mut Effects<Answer>) {
        self.generation = self.generation.next();
        self.protocol = self.roster.favourite_protocol().map(ToOwned::to_owned);
        self.subscribed = self.subscribed_topics();
        self.join_phase = None;
        self.transition(State::CompletingRebalance, at.wall);
        for id in self.roster.ids() {
            if let Some(ticket) = self.roster.end_join(&id) {
                out.answers.push((ticket, Answer::Join(self.join_answer(&id))));
            }
            self.roster.keep_alive(&id, at.now);
            self.roster.welcome(&id);
            self.pending_sync.insert(id);
        }
        self.sync_deadline = Some(at.now.plus(self.roster.rebalance_timeout()));
    }
}
