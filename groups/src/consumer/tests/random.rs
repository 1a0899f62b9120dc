//! Any story at all: members that come, go, are slow, are silent, lose answers; topics that come and go; coordinators that move.
//!
//! Of each it is checked at every step that no partition is held twice, that epochs never go back, and that the log says what
//! the group says ([`super::harness`]); that no member reads what it does not hold; and in the end, when all members speak
//! again, that everybody has what it is to have and every partition is read.

use super::harness::{Story, as_instance, held, join, replay, request};
use super::reload::key;
use crate::consumer::{GroupState, HeartbeatRequest, Topics};
use crate::ids::{MemberEpoch, MemberId, TopicName};
use crate::record::{Record, TopicPartitions};
use proptest::prelude::*;
use protocol::error_code::ErrorCode;
use std::collections::BTreeSet;

const TOPICS: [&str; 4] = ["a1", "a2", "b1", "b2"];

/// A consumer, as the clients have it.
#[derive(Clone, Debug)]
struct Client {
    member: MemberId,
    instance: Option<String>,
    subscription: Subscription,
    epoch: i32,
    /// What it reads.
    owned: TopicPartitions,
    /// What it was told to read, while it is not done with giving back and taking.
    told: Option<TopicPartitions>,
    /// Whether it knows that the coordinator knows all about it.
    heard: bool,
}

#[derive(Clone, Debug)]
struct Subscription {
    topics: u8,
    regex: Option<String>,
    range: bool,
}

#[derive(Clone, Debug)]
enum Step {
    Start { slot: usize, subscription: Subscription, is_static: bool },
    Heartbeat { slot: usize, lost: bool },
    Finish { slot: usize },
    Resubscribe { slot: usize, subscription: Subscription },
    Leave { slot: usize },
    LeaveForAWhile { slot: usize },
    Crash { slot: usize },
    Forge { slot: usize, epoch: i32 },
    Pass { millis: u64 },
    Topic { topic: usize, partitions: usize },
    Reload { kept: u64 },
}

fn subscriptions() -> impl Strategy<Value = Subscription> {
    let regex =
        prop_oneof![3 => Just(None), 1 => prop::sample::select(vec!["a*", "b*", "*"]).prop_map(|r| Some(r.to_owned()))];
    (0u8..16, regex, any::<bool>()).prop_map(|(topics, regex, range)| Subscription { topics, regex, range })
}

fn steps() -> impl Strategy<Value = Step> {
    let slot = 0usize..5;
    prop_oneof![
        4 => (slot.clone(), subscriptions(), any::<bool>())
            .prop_map(|(slot, subscription, is_static)| Step::Start { slot, subscription, is_static }),
        16 => (slot.clone(), prop::bool::weighted(0.1)).prop_map(|(slot, lost)| Step::Heartbeat { slot, lost }),
        12 => slot.clone().prop_map(|slot| Step::Finish { slot }),
        2 => (slot.clone(), subscriptions()).prop_map(|(slot, subscription)| Step::Resubscribe { slot, subscription }),
        1 => slot.clone().prop_map(|slot| Step::Leave { slot }),
        1 => slot.clone().prop_map(|slot| Step::LeaveForAWhile { slot }),
        1 => slot.clone().prop_map(|slot| Step::Crash { slot }),
        1 => (slot, -2i32..9).prop_map(|(slot, epoch)| Step::Forge { slot, epoch }),
        3 => (0u64..20_000).prop_map(|millis| Step::Pass { millis }),
        2 => (0usize..4, 0usize..5).prop_map(|(topic, partitions)| Step::Topic { topic, partitions }),
        1 => any::<u64>().prop_map(|kept| Step::Reload { kept }),
    ]
}

struct Run {
    story: Story,
    clients: Vec<Option<Client>>,
    starts: usize,
}

impl Run {
    fn new() -> Self {
        let story = Story::new(&[("a1", 3), ("a2", 2), ("b1", 4)]);
        Self { story, clients: vec![None; 5], starts: 0 }
    }

    fn start(&mut self, slot: usize, subscription: Subscription, is_static: bool) {
        self.starts += 1;
        self.clients[slot] = Some(Client {
            member: format!("m{}-{slot}", self.starts % 10).into(),
            instance: is_static.then(|| format!("i{slot}")),
            subscription,
            epoch: 0,
            owned: TopicPartitions::new(),
            told: None,
            heard: false,
        });
    }

    fn ask(client: &Client) -> HeartbeatRequest {
        let topics: Vec<_> = TOPICS
            .iter()
            .enumerate()
            .filter(|(i, _)| client.subscription.topics & (1 << i) != 0)
            .map(|(_, t)| *t)
            .collect();
        let mut ask = if client.heard { request(&client.member, client.epoch) } else { join(&client.member, &topics) };
        ask.member_epoch = MemberEpoch(client.epoch);
        if !client.heard {
            ask.regex = Some(client.subscription.regex.clone().unwrap_or_default());
            ask.assignor = Some(if client.subscription.range { "range" } else { "uniform" }.to_owned());
        }
        // While it gives back and takes it says nothing of what it owns.
        ask.owned = client.told.is_none().then(|| client.owned.clone());
        match &client.instance {
            Some(instance) => as_instance(ask, instance),
            None => ask,
        }
    }

    fn heartbeat(&mut self, slot: usize, lost: bool) {
        let Some(client) = &mut self.clients[slot] else { return };
        let ask = Self::ask(client);
        let answer = match self.story.speak(&ask) {
            Ok(heartbeat) if !lost => heartbeat.answer,
            Ok(_) => {
                client.heard = false;
                return;
            }
            Err(error) => {
                match error.code() {
                    ErrorCode::FencedMemberEpoch | ErrorCode::UnknownMemberId | ErrorCode::GroupIdNotFound => {
                        client.epoch = 0;
                        client.owned.clear();
                        client.told = None;
                        client.heard = false;
                    }
                    ErrorCode::UnreleasedInstanceId | ErrorCode::FencedInstanceId => self.clients[slot] = None,
                    other => panic!("{other:?} for {client:?}"),
                }
                return;
            }
        };
        // Until all is said at once, an answer that was lost may have told of more.
        client.heard |= ask.is_full();
        client.epoch = answer.member_epoch.0;
        if let Some(assignment) = answer.assignment {
            // It stops to read what it is not to read when it is done, not at once.
            client.told = Some(assignment);
        }
    }

    fn finish(&mut self, slot: usize) {
        let Some(client) = &mut self.clients[slot] else { return };
        if let Some(told) = client.told.take() {
            client.owned = told;
        }
    }

    fn leave(&mut self, slot: usize, member_epoch: i32) {
        let Some(client) = self.clients[slot].take() else { return };
        let ask = request(&client.member, member_epoch);
        // It may be gone already.
        let _ = match &client.instance {
            Some(instance) => self.story.speak(&as_instance(ask, instance)),
            None if member_epoch == -2 => return,
            None => self.story.speak(&ask),
        };
    }

    fn forge(&mut self, slot: usize, epoch: i32) {
        let Some(client) = &self.clients[slot] else { return };
        let ask = request(&client.member, epoch);
        // Whether or not that is taken, what is held twice is looked for.
        if epoch > 0 && epoch != client.epoch {
            let _ = self.story.speak(&ask);
        }
    }

    /// Reads the group from a log in which some of what was overwritten is missing.
    fn reload(&mut self, kept: u64) {
        let log = &self.story.log;
        let is_last = |i: usize| !log[i + 1..].iter().any(|later| key(later) == key(&log[i]));
        let kept: Vec<Record> =
            (0..log.len()).filter(|i| is_last(*i) || kept >> (i % 64) & 1 == 1).map(|i| log[i].clone()).collect();
        assert_eq!(replay(&kept).state(), self.story.state(), "compacted, the log says something else");
        self.story.log = kept;
        self.story.reload();
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Start { slot, subscription, is_static } if self.clients[slot].is_none() => {
                self.start(slot, subscription, is_static);
            }
            Step::Start { .. } => {}
            Step::Heartbeat { slot, lost } => self.heartbeat(slot, lost),
            Step::Finish { slot } => self.finish(slot),
            Step::Resubscribe { slot, subscription } => {
                if let Some(client) = &mut self.clients[slot] {
                    client.subscription = subscription;
                    client.heard = false;
                }
            }
            Step::Leave { slot } => self.leave(slot, -1),
            Step::LeaveForAWhile { slot } => self.leave(slot, -2),
            Step::Crash { slot } => self.clients[slot] = None,
            Step::Forge { slot, epoch } => self.forge(slot, epoch),
            Step::Pass { millis } => {
                self.story.pass(millis);
            }
            Step::Topic { topic, partitions } => {
                let now = self.story.world.topics.get(TOPICS[topic]).map_or(0, |topic| topic.partitions);
                // Topics do not shrink.
                if partitions == 0 || partitions > now {
                    self.story.change(TOPICS[topic], partitions);
                }
            }
            Step::Reload { kept } => self.reload(kept),
        }
        self.look();
    }

    /// Nobody reads what it does not hold, as long as it is a member.
    fn look(&self) {
        let state = self.story.state();
        for client in self.clients.iter().flatten() {
            let member = &client.member;
            let is_taken_over = client.instance.is_some()
                && state.static_member(&client.instance.clone().unwrap_or_default().into()) != Some(member);
            if client.epoch == 0 || !state.members().contains_key(member) || is_taken_over {
                continue;
            }
            let holds = held(state, member);
            for (topic, partitions) in &client.owned {
                for partition in partitions {
                    assert!(
                        holds.contains(&(*topic, *partition)),
                        "{member} reads {topic}-{partition} and holds {holds:?}"
                    );
                }
            }
        }
    }

    /// All speak and nothing else happens.
    fn settle(&mut self) {
        for _ in 0..40 {
            for slot in 0..self.clients.len() {
                self.heartbeat(slot, false);
                self.finish(slot);
            }
            self.story.pass(5_000);
            self.look();
        }
    }

    fn check_settled(&self) {
        let state = self.story.state();
        let members: BTreeSet<_> = self.clients.iter().flatten().map(|client| client.member.clone()).collect();
        assert_eq!(state.members().keys().cloned().collect::<BTreeSet<_>>(), members);
        if members.is_empty() {
            assert!(matches!(self.story.group.group_state(), GroupState::Empty | GroupState::Dead));
            return;
        }
        assert_eq!(self.story.group.group_state(), GroupState::Stable, "{}", self.story.shown());
        for topic in state.subscribed_topics() {
            let Some(known) = self.story.world.topic(topic) else { continue };
            for partition in 0..known.partitions {
                let partition = i32::try_from(partition).expect("it is small").into();
                assert!(state.owner(known.id, partition).is_some(), "nobody reads {topic}-{partition}");
            }
        }
        for client in self.clients.iter().flatten() {
            let current = state.current(&client.member);
            assert_eq!((client.epoch, &client.owned), (current.member_epoch.0, &current.assigned));
            assert_eq!(current.member_epoch.0, state.group_epoch().0);
        }
        let named: BTreeSet<TopicName> = self.clients.iter().flatten().flat_map(|client| self.asked(client)).collect();
        let read: BTreeSet<TopicName> = state.subscribed_topics().cloned().collect();
        assert!(named.is_subset(&read), "{named:?} is asked for, {read:?} is read");
    }

    /// What a client wants, by the topics that there are.
    fn asked(&self, client: &Client) -> BTreeSet<TopicName> {
        let named = (0..4).filter(|i| client.subscription.topics & (1 << i) != 0).map(|i| TopicName::from(TOPICS[i]));
        let matching = client.subscription.regex.as_ref().map(|regex| self.story.world.matching(regex));
        named.chain(matching.into_iter().flatten().flatten()).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_group_is_right_and_settles(steps in prop::collection::vec(steps(), 1..150)) {
        let mut run = Run::new();
        for step in steps {
            run.take(step);
        }
        run.settle();
        run.check_settled();
    }
}
