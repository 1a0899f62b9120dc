//! Pure. A group of the classic protocol, in which the clients assign the partitions: who is a member, which generation it is,
//! whose request waits for the others.
//!
//! It never reads a clock, draws a number or keeps a timer: [`ClassicGroup::next_deadline`] says when [`ClassicGroup::expire`]
//! has something to do. The broker's coordinator drives it, one request after the other, and loads it from its last record
//! when it takes the group over. The rules are those of Kafka's `ClassicGroup` and of the `classicGroup...` methods of
//! `GroupMetadataManager`.
//!
//! ```text
//!            first join                 all have joined, or time is up            the leader's assignment
//!   Empty -------------> PreparingRebalance ---------------------> CompletingRebalance --------------> Stable
//!     ^                    |    ^     ^                               |                                  |
//!     +--------------------+    |     +-------------------------------+                                  |
//!          nobody is left       +-------------------------------------------------------------------------+
//!                                  somebody joins, leaves or falls silent
//! ```
//!
//! There is no way back from an append that fails: whoever drives it then drops the group, tells whoever waits
//! ([`ClassicGroup::unload`]), and loads it again.

mod describe;
mod heartbeat;
mod join;
mod leave;
mod messages;
mod migration;
mod offsets;
mod rebalance;
mod roster;
mod subscription;
mod sync;
#[cfg(test)]
mod tests;

pub use describe::{Description, MemberDescription, Overview};
pub(crate) use join::distinct;
pub use leave::Left;
pub(crate) use messages::rebalance_timeout_ms;
pub use messages::{Answer, JoinAnswer, JoinMember, JoinRequest, MemberIdentity, SyncAnswer, SyncRequest};
pub(crate) use migration::Legacy;
pub use offsets::{CommitClaim, OffsetExpiration};

use crate::effects::Effects;
use crate::ids::{Generation, GroupId, MemberId, TopicName};
use crate::record::{ClassicGroupValue, ClassicMemberValue, Record};
use bytes::Bytes;
use protocol::error_code::ErrorCode;
use protocol::ids::{MonotonicMillis, WallMillis};
use rebalance::JoinPhase;
use roster::{Member, Roster};
use std::collections::BTreeSet;
use std::fmt;

/// The protocol type of consumers, whose metadata the coordinator can read (`ConsumerProtocol.PROTOCOL_TYPE`).
pub const CONSUMER: &str = "consumer";

/// What a broker's settings say of classic groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// How long an empty group waits for more members after the first: `group.initial.rebalance.delay.ms` (KIP-134).
    pub initial_rebalance_delay_ms: i32,
    /// The least session timeout that a member may ask for: `group.min.session.timeout.ms`.
    pub min_session_timeout_ms: i32,
    /// The greatest: `group.max.session.timeout.ms`.
    pub max_session_timeout_ms: i32,
    /// How many members a group may have: `group.max.size` (KIP-389).
    pub max_size: usize,
    /// How long the first join of a member may wait: five minutes in Kafka, where it is no setting
    /// (`CLASSIC_GROUP_NEW_MEMBER_JOIN_TIMEOUT_MS`).
    pub new_member_join_timeout_ms: i32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            initial_rebalance_delay_ms: 3_000,
            min_session_timeout_ms: 6_000,
            max_session_timeout_ms: 1_800_000,
            max_size: usize::MAX,
            new_member_join_timeout_ms: 300_000,
        }
    }
}

/// When something happens, on both clocks.
#[derive(Clone, Copy, Debug)]
struct Moment {
    now: MonotonicMillis,
    wall: WallMillis,
}

/// What a group is doing (`ClassicGroupState`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Nobody is a member. Offsets may be kept, and members may be on their way.
    Empty,
    /// It waits for its members to join.
    PreparingRebalance,
    /// All have joined, and it waits for the leader's assignment.
    CompletingRebalance,
    /// Each member has its assignment.
    Stable,
    /// It is deleted, or another broker coordinates it.
    Dead,
}

impl State {
    /// Kafka's name, as it is told to clients.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
            Self::Dead => "Dead",
        }
    }

    /// Whether this state may follow on that (`ClassicGroupState.validPreviousStates`).
    fn may_follow(self, previous: Self) -> bool {
        match self {
            Self::Empty | Self::CompletingRebalance => previous == Self::PreparingRebalance,
            Self::PreparingRebalance => {
                matches!(previous, Self::Empty | Self::CompletingRebalance | Self::Stable)
            }
            Self::Stable => previous == Self::CompletingRebalance,
            Self::Dead => true,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A group of the classic protocol.
#[derive(Clone, Debug)]
pub struct ClassicGroup {
    group: GroupId,
    config: Config,
    state: State,
    /// Since when the state is what it is; nothing where an old record did not say.
    state_since: Option<WallMillis>,
    /// Of the members there are, or of those that were there last.
    protocol_type: Option<String>,
    /// What this generation speaks. Until a rebalance is complete, what the one before spoke.
    protocol: Option<String>,
    generation: Generation,
    /// One of the members, as soon as there are any.
    leader: Option<MemberId>,
    roster: Roster,
    /// Which topics this generation's members subscribed to, if that can be known.
    subscribed: Option<BTreeSet<TopicName>>,
    /// What ends the wait for joins; there while the group prepares a rebalance.
    join_phase: Option<JoinPhase>,
    /// Who has joined this generation and has not asked for its assignment yet.
    pending_sync: BTreeSet<MemberId>,
    /// When whoever still has not is removed; there while there is somebody.
    sync_deadline: Option<MonotonicMillis>,
}

impl ClassicGroup {
    /// A group that nobody has joined. A JoinGroup creates it only if it names no member: for one that does, a group that is
    /// not there is `UNKNOWN_MEMBER_ID` (`GroupMetadataManager.classicGroupJoinToClassicGroup`).
    ///
    /// Nothing is recorded of it until its first rebalance is complete: what is known before is lost with the coordinator in
    /// any case.
    pub fn new(group: GroupId, config: Config, wall: WallMillis) -> Self {
        Self {
            group,
            config,
            state: State::Empty,
            state_since: Some(wall),
            protocol_type: None,
            protocol: None,
            generation: Generation(0),
            leader: None,
            roster: Roster::default(),
            subscribed: None,
            join_phase: None,
            pending_sync: BTreeSet::new(),
            sync_deadline: None,
        }
    }

    /// The group as its last record says, coordinated here from now on: every member's session starts anew. If it has more
    /// members than are allowed, it is rebalanced, and whoever joins last is turned away (`GroupMetadataManager.replay`,
    /// `onLoaded`). It is rebalanced too if it had just been a consumer group.
    pub fn from_value(
        group: GroupId,
        value: &ClassicGroupValue,
        config: Config,
        now: MonotonicMillis,
        wall: WallMillis,
    ) -> Self {
        let mut loaded = Self::new(group, config, wall);
        loaded.state_since = value.state_since;
        loaded.generation = value.generation;
        if runtime::mutant!("S22") {
            runtime::mutant_diverged!("S22");
            loaded.generation = Generation::default();
        }
        loaded.protocol_type = (!value.protocol_type.is_empty()).then(|| value.protocol_type.clone());
        loaded.protocol.clone_from(&value.protocol);
        if !value.members.is_empty() {
            loaded.state = State::Stable;
            let protocol = loaded.protocol.get_or_insert_default().clone();
            for member in &value.members {
                // What is in a log need not be what a coordinator wrote: the first of two that claim one name has it.
                let taken = member.instance.as_ref().is_some_and(|name| loaded.roster.by_instance(name).is_some());
                if taken || loaded.roster.get(&member.member).is_some() {
                    continue;
                }
                loaded.roster.add(member.member.clone(), loaded_member(member, &protocol));
                loaded.roster.keep_alive(&member.member, now);
            }
            let leader = value.leader.as_ref().filter(|leader| loaded.roster.get(leader).is_some());
            loaded.leader = leader.or(loaded.roster.first()).cloned();
        }
        loaded.subscribed = loaded.subscribed_topics();
        // Members without a leader were those of a consumer group, and were about to share what others had left.
        let is_heir = value.leader.is_none() && !loaded.roster.is_empty();
        if is_heir || loaded.roster.len() > config.max_size {
            // Nobody's join or sync waits yet, so that nothing has to be answered.
            loaded.prepare_rebalance(Moment { now, wall }, &mut Effects::default());
        }
        loaded.assert_sound();
        loaded
    }

    /// What is recorded of the group, and loaded again (`GroupCoordinatorRecordHelpers.newGroupMetadataRecord`).
    pub fn to_value(&self) -> ClassicGroupValue {
        let member = |(id, member): (&MemberId, &Member)| ClassicMemberValue {
            member: id.clone(),
            instance: member.instance.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            session_timeout_ms: member.session_timeout_ms,
            subscription: self.metadata(member),
            assignment: member.assignment.clone(),
        };
        ClassicGroupValue {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            state_since: self.state_since,
            members: self.roster.iter().map(member).collect(),
        }
    }

    /// Which group it is.
    pub fn group(&self) -> &GroupId {
        &self.group
    }

    /// What it is doing.
    pub fn state(&self) -> State {
        self.state
    }

    /// Its generation.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// The member that assigns, if there are members.
    pub fn leader(&self) -> Option<&MemberId> {
        self.leader.as_ref()
    }

    /// How many members it has.
    pub fn size(&self) -> usize {
        self.roster.len()
    }

    /// How many have been given a member id and have not joined with it yet (KIP-394).
    pub fn pending(&self) -> usize {
        self.roster.pending()
    }

    /// Whether it was only ever used to keep offsets (`ClassicGroup.isSimpleGroup`).
    pub fn is_simple(&self) -> bool {
        self.protocol_type.is_none() && self.state == State::Empty && self.roster.pending() == 0
    }

    /// Whether it may be deleted (`ClassicGroup.validateDeleteGroup`).
    ///
    /// # Errors
    /// `NON_EMPTY_GROUP` while it has members, `GROUP_ID_NOT_FOUND` once it is dead.
    pub fn check_delete(&self) -> Result<(), ErrorCode> {
        match self.state {
            State::Empty => Ok(()),
            State::PreparingRebalance | State::CompletingRebalance | State::Stable => Err(ErrorCode::NonEmptyGroup),
            State::Dead => Err(ErrorCode::GroupIdNotFound),
        }
    }

    /// Ends an empty group: the record that deletes it. Asserts that [`Self::check_delete`] has nothing against it.
    pub fn delete(&mut self, wall: WallMillis) -> Record {
        assert_eq!(self.check_delete(), Ok(()), "group {} is {}", self.group, self.state);
        self.transition(State::Dead, wall);
        self.roster = Roster::default();
        Record::ClassicGroup { group: self.group.clone(), value: None }
    }

    /// Ends the group here, because another broker coordinates it, or because an append failed: whoever waits is told
    /// `NOT_COORDINATOR` (`GroupMetadataManager.onUnloaded`).
    pub fn unload(&mut self, wall: WallMillis) -> Effects<Answer> {
        self.end(ErrorCode::NotCoordinator, wall)
    }

    /// Ends the group here: whoever waits is told why.
    fn end(&mut self, why: ErrorCode, wall: WallMillis) -> Effects<Answer> {
        let mut out = Effects::default();
        for id in self.roster.ids() {
            self.answer_waiting(&id, &id, why, &mut out);
        }
        self.transition(State::Dead, wall);
        self.roster = Roster::default();
        self.leader = None;
        self.join_phase = None;
        self.clear_pending_sync();
        self.assert_sound();
        out
    }

    /// Goes to another state. Asserts that it may follow on this one.
    fn transition(&mut self, to: State, wall: WallMillis) {
        assert!(to.may_follow(self.state), "group {}: {} -> {to}", self.group, self.state);
        match to {
            State::Empty => runtime::reachable!("a classic group is left by its last member"),
            State::PreparingRebalance => runtime::reachable!("a classic group waits for its members"),
            State::CompletingRebalance => runtime::reachable!("a classic group waits for its leader"),
            State::Stable => runtime::reachable!("a classic group is stable"),
            State::Dead => {}
        }
        self.state = to;
        self.state_since = Some(wall);
    }

    /// The record that says what the group is.
    fn record(&self) -> Record {
        Record::ClassicGroup { group: self.group.clone(), value: Some(self.to_value()) }
    }

    /// What a member said for the chosen protocol.
    fn metadata(&self, member: &Member) -> Bytes {
        self.protocol.as_deref().and_then(|protocol| member.metadata(protocol)).cloned().unwrap_or_default()
    }

    fn is_leader(&self, member: &MemberId) -> bool {
        self.leader.as_ref() == Some(member)
    }

    /// Takes a member out, or one that was to come. If it led, another leads (`ClassicGroup.remove`). Asserts that none of
    /// its requests waits.
    fn forget(&mut self, member: &MemberId) {
        self.roster.remove(member);
        if self.is_leader(member) {
            self.leader = self.roster.first().cloned();
        }
    }

    /// The member need not ask for its assignment any more; once nobody need, nothing is waited for.
    fn settle_sync(&mut self, member: &MemberId) {
        self.pending_sync.remove(member);
        if self.pending_sync.is_empty() {
            self.sync_deadline = None;
        }
    }

    fn clear_pending_sync(&mut self) {
        self.pending_sync.clear();
        self.sync_deadline = None;
    }

    /// Answers what a member waits for with an error. `named` is the member id that an answer to a join gives back.
    fn answer_waiting(&mut self, member: &MemberId, named: &MemberId, error: ErrorCode, out: &mut Effects<Answer>) {
        if let Some(ticket) = self.roster.end_join(member) {
            out.answers.push((ticket, Answer::Join(JoinAnswer::refused(named.clone(), error))));
        }
        if let Some(ticket) = self.roster.end_sync(member) {
            out.answers.push((ticket, Answer::Sync(SyncAnswer::refused(error))));
        }
    }

    /// What holds between any two calls.
    fn assert_sound(&self) {
        let Self { group, state, leader, roster, .. } = self;
        assert_eq!(
            leader.is_some(),
            !roster.is_empty(),
            "group {group}: leader {leader:?} of {} members",
            roster.len()
        );
        assert!(
            leader.as_ref().is_none_or(|leader| roster.get(leader).is_some()),
            "group {group}: leader {leader:?} is no member"
        );
        assert_eq!(
            self.join_phase.is_some(),
            *state == State::PreparingRebalance,
            "group {group}: {state}, {:?}",
            self.join_phase
        );
        assert_eq!(
            self.sync_deadline.is_some(),
            !self.pending_sync.is_empty(),
            "group {group}: {:?} have not synced",
            self.pending_sync
        );
        let joins = roster.joining();
        assert!(joins == 0 || *state == State::PreparingRebalance, "group {group}: {joins} joins wait in {state}");
        let members_fit = match state {
            State::Empty | State::Dead => roster.is_empty(),
            State::PreparingRebalance => true,
            State::CompletingRebalance | State::Stable => !roster.is_empty() && self.protocol.is_some(),
        };
        assert!(members_fit, "group {group}: {} members in {state}", roster.len());
    }
}

/// A member as a record says. A record from before there were rebalance timeouts has none: it is the session timeout then.
fn loaded_member(value: &ClassicMemberValue, protocol: &str) -> Member {
    Member {
        instance: value.instance.clone(),
        client_id: value.client_id.clone(),
        client_host: value.client_host.clone(),
        rebalance_timeout_ms: messages::rebalance_timeout_ms(value.rebalance_timeout_ms, value.session_timeout_ms),
        session_timeout_ms: value.session_timeout_ms,
        protocols: vec![(protocol.to_owned(), value.subscription.clone())],
        assignment: value.assignment.clone(),
        ..Member::default()
    }
}

/// A timeout from the wire or from a setting, where what is negative is none at all.
fn millis(timeout_ms: i32) -> u64 {
    u64::try_from(timeout_ms).unwrap_or(0)
}
