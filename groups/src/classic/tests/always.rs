//! What holds of a classic group whatever is asked of it, and whenever.

use super::*;
use proptest::prelude::*;

const CONFIG: Config = Config {
    initial_rebalance_delay_ms: 3_000,
    min_session_timeout_ms: 6_000,
    max_session_timeout_ms: 1_800_000,
    max_size: 4,
    new_member_join_timeout_ms: 20_000,
};

/// Something that happens. A member is named by a number; some numbers name nobody.
#[derive(Clone, Debug)]
enum Step {
    New {
        instance: Option<u8>,
        speaks: u8,
        id_required: bool,
        skips: bool,
        timeouts: (i32, i32),
    },
    Join {
        who: usize,
        with_instance: bool,
        speaks: u8,
        timeouts: (i32, i32),
    },
    Sync {
        who: usize,
        stale: bool,
    },
    Heartbeat {
        who: usize,
    },
    /// Some members join as they are; then, in that order, they ask for their assignments.
    Rebalance {
        order: Vec<usize>,
    },
    /// All say that they live, and time passes.
    Live {
        millis: u64,
    },
    Commit {
        who: usize,
    },
    Leave {
        who: Vec<usize>,
    },
    LeaveInstance {
        instance: u8,
    },
    Pass {
        millis: u64,
    },
    Reload,
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0usize..12;
    let session = prop_oneof![Just(6_000), Just(10_000), Just(90_000)];
    let rebalance = prop_oneof![Just(-1), Just(4_000), Just(60_000), Just(60_000), Just(120_000)];
    let timeouts = (session, rebalance);
    prop_oneof![
        24 => (proptest::option::of(0u8..3), 0u8..4, any::<bool>(), any::<bool>(), timeouts.clone())
            .prop_map(|(instance, speaks, id_required, skips, timeouts)| {
                Step::New { instance, speaks, id_required, skips, timeouts }
            }),
        12 => (who.clone(), any::<bool>(), 0u8..4, timeouts)
            .prop_map(|(who, with_instance, speaks, timeouts)| Step::Join { who, with_instance, speaks, timeouts }),
        24 => (who.clone(), proptest::bool::weighted(0.1)).prop_map(|(who, stale)| Step::Sync { who, stale }),
        10 => who.clone().prop_map(|who| Step::Heartbeat { who }),
        8 => who.clone().prop_map(|who| Step::Commit { who }),
        24 => proptest::collection::vec(0usize..12, 0..10).prop_map(|order| Step::Rebalance { order }),
        20 => (0u64..8_000).prop_map(|millis| Step::Live { millis }),
        3 => proptest::collection::vec(who, 0..3).prop_map(|who| Step::Leave { who }),
        3 => (0u8..3).prop_map(|instance| Step::LeaveInstance { instance }),
        6 => (0u64..8_000).prop_map(|millis| Step::Pass { millis }),
        1 => Just(Step::Reload),
    ]
}

/// A story of random steps, and what is known of it beside what the group says.
struct Run {
    story: Story,
    /// Everybody that was ever given a member id.
    known: Vec<MemberId>,
    /// What was asked, and whether it was a join.
    asked: BTreeMap<Ticket, bool>,
    /// Until when whoever was heard of must not be taken for silent.
    alive_until: BTreeMap<MemberId, u64>,
    generation: Generation,
}

impl Run {
    fn new() -> Self {
        let story = Story::with(CONFIG);
        Self {
            story,
            known: Vec::new(),
            asked: BTreeMap::new(),
            alive_until: BTreeMap::new(),
            generation: Generation(0),
        }
    }

    /// Every other time somebody that is a member now, so that what is asked makes sense often enough.
    fn who(&self, who: usize) -> MemberId {
        let members = self.story.group.roster.ids();
        let from = if who % 4 == 3 || members.is_empty() { &self.known } else { &members };
        from.get(who.checked_rem(from.len()).unwrap_or(0)).cloned().unwrap_or_else(|| "nobody".into())
    }

    fn take_step(&mut self, step: Step) {
        match step {
            Step::New { instance, speaks, id_required, skips, timeouts } => {
                let request = JoinRequest {
                    instance: instance.map(|instance| format!("i{instance}").into()),
                    member_id_required: id_required,
                    may_skip_assignment: skips,
                    ..newcomer("client")
                };
                self.join(request, speaks, timeouts);
            }
            Step::Join { who, with_instance, speaks, timeouts } => {
                let member = self.who(who);
                let instance = self.instance_of(&member).filter(|_| with_instance);
                self.join(JoinRequest { instance, ..consumer(&member) }, speaks, timeouts);
            }
            Step::Sync { who, stale } => {
                let member = self.who(who);
                let generation = self.story.group.generation();
                let ticket = if stale {
                    let generation = Generation(generation.0 - 1);
                    self.story.sync_as(SyncRequest {
                        member,
                        instance: None,
                        generation,
                        protocol_type: None,
                        protocol: None,
                        assignments: Vec::new(),
                    })
                } else {
                    self.story.sync(&member)
                };
                self.asked.insert(ticket, false);
            }
            Step::Heartbeat { who } => {
                let member = self.who(who);
                self.beat(member);
            }
            Step::Rebalance { order } => self.rebalance(&order),
            Step::Live { millis } => {
                for member in self.story.group.roster.ids() {
                    self.beat(member);
                }
                self.story.pass(millis);
            }
            Step::Commit { who } => self.commit(who),
            Step::Leave { who } => {
                let leaving = who.into_iter().map(|who| MemberIdentity { member: self.who(who), instance: None });
                let leaving = leaving.collect();
                self.story.leave_all(leaving);
            }
            Step::LeaveInstance { instance } => {
                let instance = Some(format!("i{instance}").into());
                self.story.leave_all(vec![MemberIdentity { member: MemberId::default(), instance }]);
            }
            Step::Pass { millis } => self.story.pass(millis),
            Step::Reload => self.reload(),
        }
    }

    fn beat(&mut self, member: MemberId) {
        if matches!(self.story.heartbeat(&member), Ok(()) | Err(ErrorCode::RebalanceInProgress)) {
            self.hear(member);
        }
    }

    fn rebalance(&mut self, order: &[usize]) {
        let members: Vec<MemberId> = order.iter().map(|who| self.who(*who)).collect();
        for member in &members {
            let Some(as_it_is) = self.story.group.roster.get(member).cloned() else { continue };
            self.alive_until.remove(member);
            let ticket = self.story.join(JoinRequest {
                instance: as_it_is.instance,
                protocols: as_it_is.protocols,
                session_timeout_ms: as_it_is.session_timeout_ms,
                rebalance_timeout_ms: as_it_is.rebalance_timeout_ms,
                ..consumer(member)
            });
            self.asked.insert(ticket, true);
        }
        for member in &members {
            let ticket = self.story.sync(member);
            self.asked.insert(ticket, false);
        }
    }

    fn instance_of(&self, member: &MemberId) -> Option<InstanceId> {
        self.story.group.roster.get(member).and_then(|member| member.instance.clone())
    }

    fn join(&mut self, request: JoinRequest, speaks: u8, timeouts: (i32, i32)) {
        let protocols: &[&str] = [&["a", "b"][..], &["b", "a"], &["a"], &["a", "b", "c"]][usize::from(speaks)];
        let (session_timeout_ms, rebalance_timeout_ms) = timeouts;
        // With another timeout, its session may end earlier than what was said before.
        self.alive_until.remove(&request.member);
        let protocols = speaking(protocols);
        let ticket = self.story.join(JoinRequest { protocols, session_timeout_ms, rebalance_timeout_ms, ..request });
        self.asked.insert(ticket, true);
        let members = self.story.group.roster.ids();
        let given = self.story.answers.get(&ticket).and_then(|answer| match answer {
            Answer::Join(answer) if answer.error == ErrorCode::MemberIdRequired => Some(answer.member.clone()),
            Answer::Join(_) | Answer::Sync(_) => None,
        });
        for id in members.into_iter().chain(given) {
            if !self.known.contains(&id) {
                self.known.push(id);
            }
        }
    }

    /// A member was heard of, and has its whole session timeout again.
    fn hear(&mut self, member: MemberId) {
        let timeout_ms = self.story.group.roster.get(&member).map(|member| member.session_timeout_ms);
        let timeout_ms = timeout_ms.expect("nobody else is heard");
        self.alive_until.insert(member, self.story.now + millis(timeout_ms));
    }

    fn commit(&mut self, who: usize) {
        let group = &mut self.story.group;
        let generation = group.generation();
        let now = MonotonicMillis(self.story.now);
        let claim =
            |member: MemberId, generation| CommitClaim { member, instance: None, generation, is_transactional: false };
        let stale = claim("nobody".into(), Generation(generation.0 + 1));
        assert!(group.check_offset_commit(&stale).is_err());
        let member = self.who(who);
        let stale = claim(member.clone(), Generation(generation.0 + 1));
        assert!(self.story.group.check_offset_commit(&stale).is_err());
        if self.story.group.offset_commit(&claim(member.clone(), generation), now).is_ok() {
            self.hear(member);
        }
    }

    /// Another broker takes the group over: whoever waits is told, and only what is recorded is known.
    fn reload(&mut self) {
        let effects = self.story.group.unload(self.story.wall());
        self.story.take(effects);
        let (now, wall) = (self.story.at(), self.story.wall());
        self.story.group = match self.story.records.last() {
            Some(Record::ClassicGroup { value: Some(value), .. }) => {
                assert!(value.generation <= self.generation);
                self.generation = value.generation;
                ClassicGroup::from_value("g".into(), value, CONFIG, now, wall)
            }
            _ => {
                self.generation = Generation(0);
                ClassicGroup::new("g".into(), CONFIG, wall)
            }
        };
        self.alive_until.clear();
    }

    fn check(&mut self) {
        let group = &self.story.group;
        group.assert_sound();
        group.roster.assert_consistent();
        assert!(group.generation() >= self.generation, "{} after {}", group.generation(), self.generation);
        self.generation = group.generation();
        let waiting = self.asked.keys().filter(|ticket| self.story.waits(**ticket)).count();
        assert_eq!(waiting, group.roster.joining() + group.roster.syncing(), "somebody waits and is not known");
        for (ticket, is_join) in &self.asked {
            match self.story.answers.get(ticket) {
                None => {}
                Some(Answer::Join(answer)) => {
                    assert!(is_join, "{ticket:?} got {answer:?}");
                    let leads = answer.error == ErrorCode::None && answer.leader == answer.member;
                    assert_eq!(leads, !answer.members.is_empty(), "{answer:?}");
                }
                Some(Answer::Sync(answer)) => assert!(!is_join, "{ticket:?} got {answer:?}"),
            }
        }
        if group.state() == State::Stable {
            let value = group.to_value();
            for member in &value.members {
                let ends = format!(" in {}", group.generation());
                assert!(
                    member.assignment.ends_with(ends.as_bytes()),
                    "{:?} in {}",
                    member.assignment,
                    group.generation()
                );
            }
            assert_eq!(self.story.recorded(), &value, "a stable group is as it is recorded");
        } else {
            assert!(group.state() == State::PreparingRebalance || group.roster.joining() == 0);
        }
        for (id, member) in group.roster.iter() {
            let ends = member.session_ends;
            assert!(ends.is_none_or(|ends| ends.0 > self.story.now), "{id} is silent since {ends:?}, and is a member");
            let until = self.alive_until.get(id).copied().unwrap_or(0);
            assert!(ends.is_none_or(|ends| ends.0 >= until), "{id} was heard of, and its session ends {ends:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_asked_the_group_stays_sound_and_everybody_is_answered(
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let mut run = Run::new();
        for step in steps {
            run.take_step(step);
            run.check();
        }
        // A rebalance ends with its timeout or with the sessions of whoever is silent, and so does a wait for an assignment.
        run.story.pass(3_600_000);
        run.check();
        for ticket in run.asked.keys() {
            prop_assert!(!run.story.waits(*ticket), "{:?} waits for ever", ticket);
        }
        prop_assert_eq!(run.story.group.state(), State::Empty);
        prop_assert_eq!(run.story.group.next_deadline(), None);
    }
}

#[test]
fn ten_thousand_members_are_rebalanced_without_delay() {
    let mut story = Story::new();
    let tickets: Vec<Ticket> = (0..10_000)
        .map(|at| {
            let ticket = story.ticket();
            let request = newcomer(&format!("client {at}"));
            let effects = story.group.join(request, ticket, Uuid::from_u128(at), MonotonicMillis(0), WallMillis(0));
            story.answers.extend(effects.answers);
            ticket
        })
        .collect();
    story.pass(2 * DELAY);
    let ids: Vec<MemberId> = tickets.iter().map(|ticket| story.joined(*ticket).member).collect();
    for round in 1..10 {
        let now = MonotonicMillis(story.now + round);
        for id in &ids {
            assert_eq!(story.group.heartbeat(id, None, Generation(1), now), Ok(()));
        }
    }
    story.pass(2 * SESSION);
    assert_eq!(story.group.state(), State::Empty);
}
