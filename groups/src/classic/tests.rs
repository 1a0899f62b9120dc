//! Claims about classic groups, each a story in which time is a number.

mod always;
mod joins;
mod leaves;
mod loads;
mod offsets;
mod statics;
mod syncs;

use super::subscription::subscription;
use super::*;
use crate::effects::Ticket;
use crate::ids::InstanceId;
use std::collections::BTreeMap;
use uuid::Uuid;

const SESSION: u64 = 10_000;
const REBALANCE: u64 = 60_000;
const DELAY: u64 = 3_000;

/// A group, the time, and everything that it said.
struct Story {
    group: ClassicGroup,
    now: u64,
    tickets: u64,
    answers: BTreeMap<Ticket, Answer>,
    records: Vec<Record>,
}

/// What a member says that joins with this id.
fn consumer(member: &MemberId) -> JoinRequest {
    JoinRequest {
        member: member.clone(),
        instance: None,
        client_id: "client".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        protocol_type: CONSUMER.to_owned(),
        protocols: speaking(&["range"]),
        session_timeout_ms: i32::try_from(SESSION).unwrap(),
        rebalance_timeout_ms: i32::try_from(REBALANCE).unwrap(),
        member_id_required: false,
        may_skip_assignment: true,
    }
}

/// What a client says that joins for the first time.
fn newcomer(name: &str) -> JoinRequest {
    JoinRequest { client_id: name.to_owned(), ..consumer(&MemberId::default()) }
}

/// What a static member says that has just started.
fn restarted(instance: &str) -> JoinRequest {
    JoinRequest { instance: Some(instance.into()), ..newcomer("client") }
}

fn speaking(protocols: &[&str]) -> Vec<(String, Bytes)> {
    protocols.iter().map(|name| ((*name).to_owned(), subscription(&["orders"]))).collect()
}

/// What the leader gives to a member, so that it can be told whose it is and of which generation.
fn share(member: &MemberId, generation: Generation) -> Bytes {
    format!("{member} in {generation}").into()
}

impl Story {
    fn new() -> Self {
        Self::with(Config::default())
    }

    fn with(config: Config) -> Self {
        Self::of(ClassicGroup::new("g".into(), config, WallMillis(0)))
    }

    fn of(group: ClassicGroup) -> Self {
        Self { group, now: 0, tickets: 0, answers: BTreeMap::new(), records: Vec::new() }
    }

    /// A stable group of new members with these names, the first of which leads.
    fn stable(names: &[&str]) -> (Self, Vec<MemberId>) {
        Self::new().stabilized(names.iter().map(|name| newcomer(name)).collect())
    }

    fn stabilized(mut self, joins: Vec<JoinRequest>) -> (Self, Vec<MemberId>) {
        let tickets: Vec<Ticket> = joins.into_iter().map(|join| self.join(join)).collect();
        self.pass(DELAY);
        self.pass(DELAY);
        let ids: Vec<MemberId> = tickets.into_iter().map(|ticket| self.joined(ticket).member).collect();
        self.sync_all(&ids);
        (self, ids)
    }

    /// All ask for their assignments.
    fn sync_all(&mut self, ids: &[MemberId]) {
        let tickets: Vec<Ticket> = ids.iter().map(|id| self.sync(id)).collect();
        for (id, ticket) in ids.iter().zip(tickets) {
            assert_eq!(self.synced(ticket).assignment, share(id, self.group.generation()));
        }
        assert_eq!(self.group.state(), State::Stable);
    }

    fn at(&self) -> MonotonicMillis {
        MonotonicMillis(self.now)
    }

    fn wall(&self) -> WallMillis {
        WallMillis(1_000_000 + i64::try_from(self.now).unwrap())
    }

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    fn take(&mut self, effects: Effects<Answer>) {
        self.records.extend(effects.records);
        for (ticket, answer) in effects.answers {
            assert!(ticket.0 <= self.tickets, "{ticket:?} was never given");
            let earlier = self.answers.insert(ticket, answer);
            assert_eq!(earlier, None, "{ticket:?} is answered twice");
        }
        self.group.assert_sound();
        self.group.roster.assert_consistent();
    }

    fn join(&mut self, request: JoinRequest) -> Ticket {
        let ticket = self.ticket();
        let fresh = Uuid::from_u128(u128::from(ticket.0));
        let effects = self.group.join(request, ticket, fresh, self.at(), self.wall());
        self.take(effects);
        ticket
    }

    /// Asks for an assignment of this generation; the leader gives everybody its share.
    fn sync(&mut self, member: &MemberId) -> Ticket {
        let generation = self.group.generation();
        let shares = self.group.roster.ids().iter().map(|id| (id.clone(), share(id, generation))).collect();
        let assignments = if self.group.is_leader(member) { shares } else { Vec::new() };
        self.sync_as(SyncRequest {
            member: member.clone(),
            instance: None,
            generation,
            protocol_type: None,
            protocol: None,
            assignments,
        })
    }

    fn sync_as(&mut self, request: SyncRequest) -> Ticket {
        let ticket = self.ticket();
        let effects = self.group.sync(request, ticket, self.at(), self.wall());
        self.take(effects);
        ticket
    }

    fn heartbeat(&mut self, member: &MemberId) -> Result<(), ErrorCode> {
        let generation = self.group.generation();
        let now = self.at();
        self.group.heartbeat(member, None, generation, now)
    }

    fn leave(&mut self, member: &MemberId) -> ErrorCode {
        let identity = MemberIdentity { member: member.clone(), instance: None };
        self.leave_all(vec![identity])[0].error
    }

    fn leave_all(&mut self, identities: Vec<MemberIdentity>) -> Vec<Left> {
        let (left, effects) = self.group.leave(identities, self.at(), self.wall()).expect("the group lives");
        self.take(effects);
        left
    }

    /// Lets time pass, step by step, so that everything happens when it falls due.
    fn pass(&mut self, millis: u64) {
        let until = self.now + millis;
        while let Some(due) = self.group.next_deadline().filter(|due| due.0 <= until) {
            self.now = self.now.max(due.0);
            let effects = self.group.expire(self.at(), self.wall());
            self.take(effects);
        }
        self.now = until;
    }

    /// Lets time pass while these members say that they live.
    fn pass_alive(&mut self, millis: u64, members: &[&MemberId]) {
        for _ in 0..millis / 1_000 {
            self.pass(1_000);
            for member in members {
                let _ = self.heartbeat(member);
            }
        }
    }

    fn waits(&self, ticket: Ticket) -> bool {
        !self.answers.contains_key(&ticket)
    }

    fn join_answer(&self, ticket: Ticket) -> &JoinAnswer {
        match self.answers.get(&ticket) {
            Some(Answer::Join(answer)) => answer,
            other => panic!("{ticket:?} got {other:?}"),
        }
    }

    fn sync_answer(&self, ticket: Ticket) -> &SyncAnswer {
        match self.answers.get(&ticket) {
            Some(Answer::Sync(answer)) => answer,
            other => panic!("{ticket:?} got {other:?}"),
        }
    }

    /// The answer to a join that must have succeeded.
    fn joined(&self, ticket: Ticket) -> JoinAnswer {
        let answer = self.join_answer(ticket).clone();
        assert_eq!(answer.error, ErrorCode::None);
        answer
    }

    /// The answer to a sync that must have succeeded.
    fn synced(&self, ticket: Ticket) -> SyncAnswer {
        let answer = self.sync_answer(ticket).clone();
        assert_eq!(answer.error, ErrorCode::None);
        answer
    }

    fn refused_join(&self, ticket: Ticket) -> ErrorCode {
        self.join_answer(ticket).error
    }

    fn refused_sync(&self, ticket: Ticket) -> ErrorCode {
        self.sync_answer(ticket).error
    }

    /// What was recorded last.
    fn recorded(&self) -> &ClassicGroupValue {
        match self.records.last() {
            Some(Record::ClassicGroup { value: Some(value), .. }) => value,
            other => panic!("{other:?} was recorded"),
        }
    }
}
