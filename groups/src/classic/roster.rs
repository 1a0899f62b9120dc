//! Pure. Who is in a classic group, who is on the way, whose request waits, and when each must be heard of again.
//!
//! It keeps its counts and orders true, and knows no rule of the protocol. Beside [`Roster::ids`], what takes longer than the
//! logarithm of the members says so.

use super::millis;
use crate::effects::Ticket;
use crate::ids::{InstanceId, MemberId};
use bytes::Bytes;
use protocol::error_code::ErrorCode;
use protocol::ids::MonotonicMillis;
use std::collections::{BTreeMap, BTreeSet};

/// A member (`ClassicGroupMember`).
#[derive(Clone, Debug, Default)]
pub(super) struct Member {
    /// Its name over restarts, if it has one.
    pub(super) instance: Option<InstanceId>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) session_timeout_ms: i32,
    /// What it speaks, best first, each name once.
    pub(super) protocols: Vec<(String, Bytes)>,
    pub(super) assignment: Bytes,
    /// It has not been told of a generation yet.
    pub(super) is_new: bool,
    /// Its JoinGroup that waits.
    pub(super) join: Option<Ticket>,
    /// Its SyncGroup that waits.
    pub(super) sync: Option<Ticket>,
    /// When it must have been heard of; nothing while it waits and that time has passed.
    pub(super) session_ends: Option<MonotonicMillis>,
}

impl Member {
    /// What it said for a protocol.
    pub(super) fn metadata(&self, protocol: &str) -> Option<&Bytes> {
        self.protocols.iter().find(|(name, _)| name == protocol).map(|(_, metadata)| metadata)
    }

    /// Whether its JoinGroup waits.
    pub(super) fn is_joining(&self) -> bool {
        self.join.is_some()
    }

    /// Whether it need not be heard of: its request waits for others. Only what waits for the very first generation may wait
    /// no longer than it was given (`ClassicGroupMember.hasSatisfiedHeartbeat`).
    fn is_excused(&self) -> bool {
        !self.is_new && (self.join.is_some() || self.sync.is_some())
    }
}

/// Why somebody's time is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Silent {
    /// A member was not heard of.
    Member(MemberId),
    /// Somebody did not come back with the member id that it was given. It is forgotten.
    Pending,
}

/// The members of a group, and who is to become one.
#[derive(Clone, Debug, Default)]
pub(super) struct Roster {
    members: BTreeMap<MemberId, Member>,
    /// Who goes by which name over restarts.
    instances: BTreeMap<InstanceId, MemberId>,
    /// Who has been given a member id, and until when it may come back with it (KIP-394).
    pending: BTreeMap<MemberId, MonotonicMillis>,
    /// How many members speak each protocol.
    speakers: BTreeMap<String, usize>,
    /// How many JoinGroups wait.
    joining: usize,
    /// Whose time is up when, members and pending ones alike.
    deadlines: BTreeSet<(MonotonicMillis, MemberId)>,
}

impl Roster {
    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(super) fn get(&self, member: &MemberId) -> Option<&Member> {
        self.members.get(member)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&MemberId, &Member)> {
        self.members.iter()
    }

    pub(super) fn ids(&self) -> Vec<MemberId> {
        self.members.keys().cloned().collect()
    }

    pub(super) fn first(&self) -> Option<&MemberId> {
        self.members.keys().next()
    }

    /// Who goes by a name over restarts.
    pub(super) fn by_instance(&self, instance: &InstanceId) -> Option<&MemberId> {
        self.instances.get(instance)
    }

    /// How many JoinGroups wait.
    pub(super) fn joining(&self) -> usize {
        self.joining
    }

    /// Whether everybody waits for the next generation, and nobody is on the way (`ClassicGroup.hasAllMembersJoined`).
    pub(super) fn all_joined(&self) -> bool {
        self.members.len() == self.joining && self.pending.is_empty()
    }

    /// How long a rebalance waits: the longest that a member asks for. Takes as long as there are members.
    pub(super) fn rebalance_timeout(&self) -> u64 {
        self.members.values().map(|member| millis(member.rebalance_timeout_ms)).max().unwrap_or(0)
    }

    /// Whether somebody is who it says it is (`ClassicGroup.validateMember`).
    ///
    /// # Errors
    /// `FENCED_INSTANCE_ID` if another goes by its name over restarts, `UNKNOWN_MEMBER_ID` if it is no member.
    pub(super) fn check(&self, member: &MemberId, instance: Option<&InstanceId>) -> Result<(), ErrorCode> {
        match instance.map(|instance| self.instances.get(instance)) {
            Some(None) => Err(ErrorCode::UnknownMemberId),
            Some(Some(current)) if current != member => Err(ErrorCode::FencedInstanceId),
            Some(Some(_)) | None if !self.members.contains_key(member) => Err(ErrorCode::UnknownMemberId),
            Some(Some(_)) | None => Ok(()),
        }
    }

    /// Whether one of these protocols is spoken by every member.
    pub(super) fn speak_one_of(&self, protocols: &[(String, Bytes)]) -> bool {
        protocols.iter().any(|(name, _)| self.speakers.get(name).copied().unwrap_or(0) == self.members.len())
    }

    /// The protocol that most members like best among those that all speak; of several such, the first by name
    /// (`ClassicGroup.selectProtocol`). Nothing without members. Takes as long as there are members.
    pub(super) fn favourite_protocol(&self) -> Option<&str> {
        let is_candidate = |name: &str| self.speakers.get(name) == Some(&self.members.len());
        let mut votes = BTreeMap::<&str, usize>::new();
        for member in self.members.values() {
            let vote = member.protocols.iter().map(|(name, _)| name.as_str()).find(|name| is_candidate(name));
            *votes.entry(vote.expect("nobody joins who does not share a protocol with all")).or_default() += 1;
        }
        let most = votes.values().copied().max();
        votes.into_iter().find(|(_, count)| Some(*count) == most).map(|(name, _)| name)
    }

    /// Takes in a member, pending until now or not. Asserts that it is new, and so is its name over restarts, and that
    /// neither a request of it waits nor its session has begun.
    pub(super) fn add(&mut self, id: MemberId, member: Member) {
        assert_eq!(
            (member.join, member.sync, member.session_ends),
            (None, None, None),
            "{id} comes with more than itself"
        );
        self.remove_pending(&id);
        if let Some(instance) = &member.instance {
            let other = self.instances.insert(instance.clone(), id.clone());
            assert_eq!(other, None, "{instance} is taken");
        }
        self.count_speaker(&member.protocols);
        let other = self.members.insert(id.clone(), member);
        assert!(other.is_none(), "{id} is a member already");
    }

    /// Takes out a member, or one that was to come. Asserts that none of its requests waits.
    pub(super) fn remove(&mut self, id: &MemberId) {
        self.remove_pending(id);
        let Some(member) = self.members.remove(id) else { return };
        assert_eq!((member.join, member.sync), (None, None), "{id} waits");
        if let Some(ends) = member.session_ends {
            self.deadlines.remove(&(ends, id.clone()));
        }
        if let Some(instance) = &member.instance {
            self.instances.remove(instance);
        }
        self.discount_speaker(&member.protocols);
    }

    /// Gives a static member another member id, and nothing else; its session is to be kept alive under it. Asserts that it
    /// is there, and that none of its requests waits.
    pub(super) fn rename(&mut self, from: &MemberId, to: MemberId) {
        let mut member = self.members.get(from).cloned().expect("a name over restarts leads to a member");
        self.remove(from);
        member.session_ends = None;
        member.is_new = false;
        self.add(to, member);
    }

    /// Changes what a member speaks, and its timeouts.
    pub(super) fn update(
        &mut self,
        id: &MemberId,
        protocols: Vec<(String, Bytes)>,
        session_timeout_ms: i32,
        rebalance_timeout_ms: i32,
    ) {
        self.count_speaker(&protocols);
        let member = self.member(id);
        member.session_timeout_ms = session_timeout_ms;
        member.rebalance_timeout_ms = rebalance_timeout_ms;
        let before = std::mem::replace(&mut member.protocols, protocols);
        self.discount_speaker(&before);
    }

    pub(super) fn assign(&mut self, id: &MemberId, assignment: Bytes) {
        self.member(id).assignment = assignment;
    }

    /// The member is told of a generation: from now on it can say that it lives.
    pub(super) fn welcome(&mut self, id: &MemberId) {
        self.member(id).is_new = false;
    }

    /// A member's JoinGroup waits. Returns an earlier one that did.
    pub(super) fn begin_join(&mut self, id: &MemberId, ticket: Ticket) -> Option<Ticket> {
        let earlier = self.member(id).join.replace(ticket);
        self.joining += usize::from(earlier.is_none());
        earlier
    }

    /// A member's JoinGroup waits no more.
    pub(super) fn end_join(&mut self, id: &MemberId) -> Option<Ticket> {
        let ticket = self.member(id).join.take();
        self.joining -= usize::from(ticket.is_some());
        ticket
    }

    /// A member's SyncGroup waits. Returns an earlier one that did.
    pub(super) fn begin_sync(&mut self, id: &MemberId, ticket: Ticket) -> Option<Ticket> {
        self.member(id).sync.replace(ticket)
    }

    /// A member's SyncGroup waits no more.
    pub(super) fn end_sync(&mut self, id: &MemberId) -> Option<Ticket> {
        self.member(id).sync.take()
    }

    /// How many are on the way.
    pub(super) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Whether somebody was given this member id and has not come back with it yet.
    pub(super) fn is_pending(&self, id: &MemberId) -> bool {
        self.pending.contains_key(id)
    }

    /// Somebody is to come back with this member id. Asserts that nobody has it.
    pub(super) fn add_pending(&mut self, id: MemberId, until: MonotonicMillis) {
        assert!(!self.members.contains_key(&id) && !self.pending.contains_key(&id), "{id} is taken");
        self.deadlines.insert((until, id.clone()));
        self.pending.insert(id, until);
    }

    fn remove_pending(&mut self, id: &MemberId) {
        if let Some(until) = self.pending.remove(id) {
            self.deadlines.remove(&(until, id.clone()));
        }
    }

    /// A member was heard of: its session lasts its whole timeout again.
    pub(super) fn keep_alive(&mut self, id: &MemberId, now: MonotonicMillis) {
        let timeout_ms = self.member(id).session_timeout_ms;
        self.keep_alive_for(id, now, timeout_ms);
    }

    /// A member need not be heard of for so long.
    pub(super) fn keep_alive_for(&mut self, id: &MemberId, now: MonotonicMillis, timeout_ms: i32) {
        let ends = now.plus(millis(timeout_ms));
        if let Some(before) = self.member(id).session_ends.replace(ends) {
            self.deadlines.remove(&(before, id.clone()));
        }
        self.deadlines.insert((ends, id.clone()));
    }

    /// When somebody's time is up.
    pub(super) fn next_deadline(&self) -> Option<MonotonicMillis> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Whose time is up first. A member whose request waits is excused until it is answered. Asserts that there is one.
    pub(super) fn expire_next(&mut self) -> Option<Silent> {
        let (_, id) = self.deadlines.pop_first().expect("somebody's time is up");
        if self.pending.remove(&id).is_some() {
            return Some(Silent::Pending);
        }
        let member = self.member(&id);
        member.session_ends = None;
        (!member.is_excused()).then_some(Silent::Member(id))
    }

    fn member(&mut self, id: &MemberId) -> &mut Member {
        self.members.get_mut(id).expect("whoever asks has seen that it is a member")
    }

    fn count_speaker(&mut self, protocols: &[(String, Bytes)]) {
        for (name, _) in protocols {
            *self.speakers.entry(name.clone()).or_default() += 1;
        }
    }

    fn discount_speaker(&mut self, protocols: &[(String, Bytes)]) {
        for (name, _) in protocols {
            let count = self.speakers.get_mut(name).expect("it was counted when the member came");
            *count -= 1;
            if *count == 0 {
                self.speakers.remove(name);
            }
        }
    }
}

#[cfg(test)]
impl Roster {
    /// Checks every count and order against the members themselves.
    pub(super) fn assert_consistent(&self) {
        let mut speakers = BTreeMap::<String, usize>::new();
        let mut deadlines = BTreeSet::new();
        for (id, member) in &self.members {
            for (name, _) in &member.protocols {
                *speakers.entry(name.clone()).or_default() += 1;
            }
            deadlines.extend(member.session_ends.map(|ends| (ends, id.clone())));
            assert!(member.session_ends.is_some() || member.is_excused(), "{id} could be silent for ever");
            assert!(member.join.is_none() || member.sync.is_none(), "{id} waits twice");
            assert!(!self.pending.contains_key(id), "{id} is a member and pending");
        }
        deadlines.extend(self.pending.iter().map(|(id, until)| (*until, id.clone())));
        assert_eq!(self.speakers, speakers);
        assert_eq!(self.deadlines, deadlines);
        assert_eq!(self.joining, self.members.values().filter(|member| member.join.is_some()).count());
        let instances = self.members.iter().filter_map(|(id, member)| Some((member.instance.clone()?, id.clone())));
        assert_eq!(self.instances, instances.collect());
    }

    /// Whose SyncGroup waits.
    pub(super) fn syncing(&self) -> usize {
        self.members.values().filter(|member| member.sync.is_some()).count()
    }
}
