//! Whatever members of both protocols do, and whenever the coordinator moves: in the end everybody is told that all is well, and
//! each partition is read by one of them.

use super::super::beat;
use super::harness::{Story, Told, joining, orders};
use crate::{
    consumer::HeartbeatRequest,
    ids::{InstanceId, MemberEpoch},
    shard::*,
};
use proptest::prelude::*;

/// A consumer of one of the protocols.
#[derive(Clone, Debug, Default)]
struct Client {
    is_classic: bool,
    instance: Option<InstanceId>,
    member: String,
    /// Its generation or its epoch; none, or zero, before it has joined.
    epoch: i32,
    owned: Vec<i32>,
    waits: Option<Ticket>,
}

#[derive(Clone, Debug)]
enum Step {
    /// Somebody begins in a place, after whoever was there has left, or has fallen silent.
    Begin { slot: usize, is_classic: bool, left: bool },
    /// Whoever is there leaves.
    Leave { slot: usize },
    /// Whoever is there says what it has to say next.
    Speak { slot: usize },
    /// Time passes.
    Pass { millis: u64 },
    /// The coordinator moves.
    Reload,
}

fn steps() -> impl Strategy<Value = Step> {
    let slot = 0..4_usize;
    prop_oneof![
        3 => (slot.clone(), any::<bool>(), any::<bool>())
            .prop_map(|(slot, is_classic, left)| Step::Begin { slot, is_classic, left }),
        1 => slot.clone().prop_map(|slot| Step::Leave { slot }),
        20 => slot.prop_map(|slot| Step::Speak { slot }),
        3 => (0..8_000_u64).prop_map(|millis| Step::Pass { millis }),
        1 => Just(Step::Reload),
    ]
}

struct Run {
    story: Story,
    clients: [Option<Client>; 4],
    ids: usize,
}

impl Run {
    fn take(&mut self, step: Step) {
        match step {
            Step::Begin { slot, is_classic, left } => {
                if left {
                    self.leave(slot);
                }
                self.ids += 1;
                // Two places have names over restarts.
                let instance = (slot < 2).then(|| format!("i{slot}").into());
                let member = if is_classic { String::new() } else { format!("m{}", self.ids) };
                self.clients[slot] = Some(Client { is_classic, instance, member, ..Client::default() });
            }
            Step::Leave { slot } => self.leave(slot),
            Step::Speak { slot } => self.speak(slot),
            Step::Pass { millis } => self.story.pass(millis),
            Step::Reload => {
                self.story.reload();
                // Whoever waited is told to look for the coordinator, and begins as it was.
                for client in self.clients.iter_mut().flatten().filter(|client| client.waits.is_some()) {
                    (client.waits, client.epoch) = (None, 0);
                }
            }
        }
    }

    fn leave(&mut self, slot: usize) {
        let Some(client) = self.clients[slot].take() else { return };
        if client.member.is_empty() || client.epoch == 0 || self.story.shard.list().is_empty() {
            return;
        }
        if client.is_classic {
            let told = self.story.leaves(&[(&client.member, client.instance.as_deref())]);
            assert_eq!(told.len(), 1);
        } else {
            let request = HeartbeatRequest { topics: None, instance: client.instance, ..beat(&client.member, -1) };
            let _ = self.story.hears(&request);
        }
    }

    fn speak(&mut self, slot: usize) {
        let Some(mut client) = self.clients[slot].take() else { return };
        if client.is_classic {
            self.classic(&mut client)
        } else {
            self.modern(&mut client)
        }
        self.clients[slot] = Some(client);
    }

    fn modern(&mut self, client: &mut Client) {
        let request = if client.epoch == 0 {
            beat(&client.member, 0)
        } else {
            let member_epoch = MemberEpoch(client.epoch);
            HeartbeatRequest {
                topics: None,
                member_epoch,
                owned: Some(orders(&client.owned)),
                ..beat(&client.member, 1)
            }
        };
        match self.story.hears(&HeartbeatRequest { instance: client.instance.clone(), ..request }) {
            Ok((epoch, given)) => {
                client.epoch = epoch;
                if let Some(given) = given {
                    client.owned = given.values().flatten().map(|partition| partition.0).collect();
                }
            }
            Err(_) => (client.epoch, client.owned) = (0, Vec::new()),
        }
    }

    /// It gives up everything before it joins.
    fn classic(&mut self, client: &mut Client) {
        let Some(ticket) = client.waits else {
            if client.epoch == 0 {
                client.owned.clear();
                let request = JoinRequest { instance: client.instance.clone(), ..joining(&client.member, &[]) };
                client.waits = Some(self.story.join(request));
            } else if let Err(error) = self.story.beats(&client.member, client.epoch) {
                self.begin_again(client, error);
            }
            return;
        };
        let Some(answer) = self.story.answer(ticket).cloned() else { return };
        client.waits = None;
        match (answer, self.story.told(ticket)) {
            (Answer::Join(join), Told::Joined(generation)) => {
                (client.epoch, client.member) = (generation, join.member.to_string());
                let members: Vec<&str> = join.members.iter().map(|member| &*member.member).collect();
                let mut shares = vec![Vec::new(); members.len()];
                let all = members.len().max(1);
                (0..3).for_each(|partition| {
                    shares.get_mut(partition % all).into_iter().for_each(|share| share.push(partition as i32))
                });
                let given: Vec<(&str, &[i32])> =
                    members.iter().zip(&shares).map(|(member, share)| (*member, &share[..])).collect();
                client.waits = Some(self.story.sync(&client.member, generation, &given));
            }
            (_, Told::Synced(given)) => client.owned = given,
            (_, Told::Refused(error)) => self.begin_again(client, error),
            (_, told) => panic!("{told:?}"),
        }
    }

    fn begin_again(&self, client: &mut Client, error: ErrorCode) {
        client.epoch = 0;
        if matches!(error, ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId) {
            client.member.clear();
        }
    }

    /// All speak and nothing else happens.
    fn settle(&mut self) {
        for _ in 0..150 {
            for slot in 0..self.clients.len() {
                self.speak(slot);
            }
            self.story.pass(1_000);
        }
    }

    fn check_settled(&mut self) {
        let mut read: Vec<i32> =
            self.clients.iter().flatten().flat_map(|client| client.owned.iter().copied()).collect();
        read.sort_unstable();
        let there: Vec<Client> = self.clients.iter().flatten().cloned().collect();
        if !there.is_empty() {
            assert_eq!(read, [0, 1, 2], "{there:?} in {:?}", self.story.is());
            assert_eq!(self.story.is().1, "Stable");
            let is_classic = there.iter().all(|client| client.is_classic);
            let (kind, _) = self.story.is();
            assert!(kind == GroupType::Consumer || is_classic, "{there:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_group_settles(steps in prop::collection::vec(steps(), 1..80)) {
        let mut run = Run { story: Story::new(), clients: Default::default(), ids: 0 };
        for step in steps {
            run.take(step);
        }
        run.settle();
        run.check_settled();
    }
}
