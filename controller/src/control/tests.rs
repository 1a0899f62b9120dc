//! Claims about decisions that concern more than one room: elections, registrations, random histories.

use super::stories::Story;
use super::*;
use metadata::record::LeaderRecoveryState;
use proptest::prelude::*;

const MIN_2: &[(&str, &str)] = &[("min.insync.replicas", "2")];

#[test]
fn a_new_cluster_is_finalized_once() {
    let mut story = Story::new(&[]);
    assert_eq!(story.image.features.level(METADATA_VERSION), Some(METADATA_VERSION_LEVEL));
    story.decide(ControlRequest::Bootstrap);
    assert!(story.records.is_empty());
}

#[test]
fn a_fenced_broker_leaves_every_isr_and_its_partitions_go_to_the_next_in_sync() {
    let mut story = Story::with_brokers(&[], 3);
    story.topic("orders", &[&[1, 2, 3], &[2, 3, 1]], &[]);
    story.fence(1);
    insta::assert_snapshot!(story.show(), @"
    broker 1  fenced
    broker 2  unfenced
    broker 3  unfenced
    orders-0  leader 2 epoch 1  isr 2,3
    orders-1  leader 2 epoch 0  isr 2,3
    ");
    assert_eq!(story.records.last().map(Record::name), Some("FenceBroker"), "the fence comes last");
}

#[test]
fn the_last_in_sync_replica_stays_eligible_and_leads_again_when_it_returns() {
    let mut story = Story::with_brokers(&[], 2);
    story.topic("orders", &[&[1, 2]], &[]);
    story.fence(2);
    story.fence(1);
    insta::assert_snapshot!(story.show(), @"
    broker 1  fenced
    broker 2  fenced
    orders-0  leader none epoch 1  elr 1  last 1
    ");
    story.beat(2);
    assert_eq!(story.partition("orders").leader, None, "2 left while 1 went on, and may lack its records");
    story.beat(1);
    insta::assert_snapshot!(story.show(), @"
    broker 1  unfenced
    broker 2  unfenced
    orders-0  leader 1 epoch 2  isr 1
    ");
}

#[test]
fn below_min_isr_whoever_leaves_is_eligible() {
    let mut story = Story::with_brokers(MIN_2, 3);
    story.topic("orders", &[&[1, 2, 3]], &[]);
    story.fence(3);
    story.fence(2);
    story.fence(1);
    insta::assert_snapshot!(story.show(), @"
    broker 1  fenced
    broker 2  fenced
    broker 3  fenced
    orders-0  leader none epoch 1  elr 1,2  last 1
    ");
    story.beat(2);
    insta::assert_snapshot!(story.show(), @"
    broker 1  fenced
    broker 2  unfenced
    broker 3  fenced
    orders-0  leader 2 epoch 2  isr 2  elr 1
    ");
    story.isr("orders", &[2]);
    story.beat(3);
    story.isr("orders", &[2, 3]);
    insta::assert_snapshot!(story.show(), @"
    broker 1  fenced
    broker 2  unfenced
    broker 3  unfenced
    orders-0  leader 2 epoch 2  isr 2,3
    ");
}

#[test]
fn a_lower_min_isr_leaves_nobody_eligible() {
    let mut story = Story::with_brokers(MIN_2, 2);
    story.topic("orders", &[&[1, 2]], &[]);
    story.fence(2);
    assert_eq!(story.partition("orders").elr, [BrokerId(2)]);
    story.reconfigured(&[("min.insync.replicas", "1")]);
    insta::assert_snapshot!(story.show(), @"
    broker 1  unfenced
    broker 2  fenced
    orders-0  leader 1 epoch 0  isr 1
    ");
}

#[test]
fn an_unclean_restart_leaves_isr_and_elr_in_the_batch_of_the_registration() {
    let mut story = Story::with_brokers(MIN_2, 3);
    story.topic("orders", &[&[1, 2, 3]], &[]);
    story.topic("audit", &[&[2, 1]], &[]);
    story.fence(3);
    story.fence(2);
    insta::assert_snapshot!(story.show(), @"
    broker 1  unfenced
    broker 2  fenced
    broker 3  fenced
    audit-0  leader 1 epoch 1  isr 1  elr 2
    orders-0  leader 1 epoch 0  isr 1  elr 2
    ");
    story.now = story.now.plus(stories::TIMEOUT);
    story.register(2, 2, None);
    let names: Vec<&str> = story.records.iter().map(Record::name).collect();
    assert_eq!(names, ["PartitionChange", "PartitionChange", "RegisterBroker"]);
    insta::assert_snapshot!(story.show(), @"
    broker 1  unfenced
    broker 2  fenced
    broker 3  fenced
    audit-0  leader 1 epoch 1  isr 1
    orders-0  leader 1 epoch 0  isr 1
    ");
}

#[test]
fn a_clean_restart_stays_eligible() {
    let mut story = Story::with_brokers(MIN_2, 2);
    story.topic("orders", &[&[1, 2]], &[]);
    let epoch = story.epoch(2);
    story.restart(2, 2, Some(epoch));
    insta::assert_snapshot!(story.show(), @"
    broker 1  unfenced
    broker 2  fenced
    orders-0  leader 1 epoch 0  isr 1  elr 2
    ");
    assert_eq!(story.records.len(), 1, "only the registration");
}

#[test]
fn the_epoch_of_an_earlier_life_proves_nothing() {
    let mut story = Story::with_brokers(MIN_2, 2);
    story.topic("orders", &[&[1, 2]], &[]);
    let epoch = story.epoch(2);
    story.restart(2, 2, Some(epoch));
    story.restart(2, 3, Some(epoch));
    assert!(story.partition("orders").elr.is_empty());
}

#[test]
fn a_broker_that_registers_before_it_is_fenced_leaves_its_isrs_first() {
    let mut story = Story::with_brokers(MIN_2, 2);
    story.topic("orders", &[&[1, 2]], &[]);
    story.now = story.now.plus(stories::TIMEOUT);
    story.register(1, 2, None);
    insta::assert_snapshot!(story.show(), @"
    broker 1  fenced
    broker 2  unfenced
    orders-0  leader 2 epoch 1  isr 2
    ");
}

#[test]
fn only_the_last_leader_is_elected_when_nobody_is_known_to_be_complete() {
    let mut story = Story::with_brokers(MIN_2, 2);
    story.topic("orders", &[&[1, 2]], &[]);
    story.restart(2, 2, None);
    story.restart(1, 2, None);
    insta::assert_snapshot!(story.show(), @"
    broker 1  fenced
    broker 2  fenced
    orders-0  leader none epoch 1  last 1
    ");
    story.beat(2);
    assert_eq!(story.partition("orders").leader, None, "2 was not the last leader");
    story.beat(1);
    insta::assert_snapshot!(story.show(), @"
    broker 1  unfenced
    broker 2  unfenced
    orders-0  leader 1 epoch 2  isr 1  recovering
    ");
}

#[test]
fn a_single_node_leads_again_after_a_kill_and_says_that_it_may_have_lost_records() {
    let mut story = Story::with_brokers(&[], 1);
    story.topic("orders", &[&[1]], &[]);
    story.restart(1, 2, None);
    assert_eq!(story.partition("orders").leader, None);
    story.beat(1);
    insta::assert_snapshot!(story.show(), @"
    broker 1  unfenced
    orders-0  leader 1 epoch 2  isr 1  recovering
    ");
    story.isr("orders", &[1]);
    assert_eq!(story.partition("orders").leader_recovery_state, LeaderRecoveryState::Recovered);
}

#[test]
fn with_unclean_elections_anybody_leads() {
    let mut story = Story::with_brokers(&[], 2);
    story.topic("orders", &[&[1, 2]], &[("unclean.leader.election.enable", "true")]);
    story.fence(2);
    story.fence(1);
    story.beat(2);
    insta::assert_snapshot!(story.show(), @"
    broker 1  fenced
    broker 2  unfenced
    orders-0  leader 2 epoch 2  isr 2  recovering
    ");
}

#[test]
fn an_unclean_leader_is_chosen_only_if_no_eligible_one_can_lead() {
    let mut story = Story::with_brokers(MIN_2, 3);
    story.topic("orders", &[&[1, 2, 3]], &[("unclean.leader.election.enable", "true")]);
    story.fence(1);
    story.isr("orders", &[2]);
    insta::assert_snapshot!(story.show(), @"
    broker 1  fenced
    broker 2  unfenced
    broker 3  unfenced
    orders-0  leader 2 epoch 1  isr 2  elr 3
    ");
    story.fence(2);
    insta::assert_snapshot!(story.show(), @"
    broker 1  fenced
    broker 2  fenced
    broker 3  unfenced
    orders-0  leader 3 epoch 2  isr 3  elr 2
    ");
}

#[test]
fn leaders_go_back_to_the_preferred_replica_when_it_is_in_sync_again() {
    let mut story = Story::with_brokers(&[], 3);
    story.topic("orders", &[&[1, 2, 3], &[2, 1, 3]], &[]);
    story.fence(1);
    story.beat(1);
    story.decide(ControlRequest::BalanceLeaders);
    assert!(story.records.is_empty(), "1 is not in sync yet");
    story.isr("orders", &[2, 3, 1]);
    story.decide(ControlRequest::BalanceLeaders);
    insta::assert_snapshot!(story.show(), @"
    broker 1  unfenced
    broker 2  unfenced
    broker 3  unfenced
    orders-0  leader 1 epoch 2  isr 2,3,1
    orders-1  leader 2 epoch 0  isr 2,3
    ");
}

#[test]
fn producer_ids_are_given_in_blocks_and_never_twice() {
    let mut story = Story::with_brokers(&[], 2);
    let mut allocate = |id: i32, epoch: i64| {
        let request = AllocateProducerIdsRequest::default().with_broker_id(id.into_wire()).with_broker_epoch(epoch);
        match story.decide(ControlRequest::AllocateProducerIds(request)) {
            ControlResponse::AllocateProducerIds(response) => {
                (response.error_code, response.producer_id_start.0, response.producer_id_len)
            }
            other => panic!("{other:?}"),
        }
    };
    let (first, second) = (1, 3);
    assert_eq!(allocate(1, first), (0, 0, 1000));
    assert_eq!(allocate(2, second), (0, 1000, 1000));
    assert_eq!(allocate(1, first), (0, 2000, 1000));
    assert_eq!(allocate(1, second).0, ErrorCode::StaleBrokerEpoch as i16);
}

trait IntoWire {
    fn into_wire(self) -> protocol::messages::WireBrokerId;
}

impl IntoWire for i32 {
    fn into_wire(self) -> protocol::messages::WireBrokerId {
        protocol::messages::WireBrokerId(self)
    }
}

/// One thing that may happen to a cluster of five brokers.
#[derive(Clone, Debug)]
enum Step {
    Register { id: i32, start: u128, clean: bool },
    Beat { id: i32, behind: bool, want_fence: bool, leave: bool },
    Fence { id: i32 },
    Unregister { id: i32 },
    Alter { topic: usize, members: Vec<i32>, stale: bool },
    Create { replication_factor: i16, partitions: i32, min_isr: i32, unclean: bool },
    Delete { topic: usize },
    Reassign { topic: usize, replicas: Vec<i32> },
    Balance,
    Wait { millis: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let id = 1..=5_i32;
    prop_oneof![
        2 => (id.clone(), 0..4_u128, any::<bool>()).prop_map(|(id, start, clean)| Step::Register { id, start, clean }),
        8 => (id.clone(), prop::bool::weighted(0.1), prop::bool::weighted(0.1), prop::bool::weighted(0.1))
            .prop_map(|(id, behind, want_fence, leave)| Step::Beat { id, behind, want_fence, leave }),
        3 => id.clone().prop_map(|id| Step::Fence { id }),
        1 => id.clone().prop_map(|id| Step::Unregister { id }),
        8 => (0..4_usize, prop::collection::vec(id, 0..4), prop::bool::weighted(0.1))
            .prop_map(|(topic, members, stale)| Step::Alter { topic, members, stale }),
        2 => (1..4_i16, 1..3_i32, 1..4_i32, prop::bool::weighted(0.2)).prop_map(
            |(replication_factor, partitions, min_isr, unclean)| {
                Step::Create { replication_factor, partitions, min_isr, unclean }
            }
        ),
        1 => (0..4_usize).prop_map(|topic| Step::Delete { topic }),
        // Nobody means: cancel.
        3 => (0..4_usize, prop::collection::vec(1..=5_i32, 0..4))
            .prop_map(|(topic, replicas)| Step::Reassign { topic, replicas }),
        1 => Just(Step::Balance),
        2 => (0..4_000_u64).prop_map(|millis| Step::Wait { millis }),
    ]
}

impl Story {
    fn take(&mut self, step: Step) {
        match step {
            Step::Register { id, start, clean } => {
                let previous = clean.then(|| self.epoch(id));
                self.register(id, start, previous);
            }
            Step::Beat { id, behind, want_fence, leave } => {
                let mut request = self.heartbeat(id).with_want_fence(want_fence).with_want_shut_down(leave);
                if behind {
                    request.current_metadata_offset = request.broker_epoch - 1;
                }
                self.send(request);
            }
            Step::Fence { id } => self.fence(id),
            Step::Unregister { id } => {
                self.decide(ControlRequest::UnregisterBroker { broker_id: BrokerId(id) });
            }
            Step::Alter { topic, members, stale } => self.alter_somehow(topic, members, stale),
            Step::Create { replication_factor, partitions, min_isr, unclean } => {
                self.create_somehow(replication_factor, partitions, min_isr, unclean);
            }
            Step::Delete { topic } => self.delete_somehow(topic),
            Step::Reassign { topic, replicas } => self.reassign_somehow(topic, &replicas),
            Step::Balance => {
                self.decide(ControlRequest::BalanceLeaders);
            }
            Step::Wait { millis } => {
                for effect in self.wait(millis) {
                    if let SessionEffect::Fence { broker_id, broker_epoch, .. } = effect {
                        self.decide(ControlRequest::FenceBroker { broker_id, broker_epoch });
                    }
                }
            }
        }
    }

    fn nth_topic(&self, at: usize) -> Option<String> {
        self.image.topics_by_name().nth(at).map(|topic| topic.name.to_string())
    }

    fn alter_somehow(&mut self, topic: usize, mut members: Vec<i32>, stale: bool) {
        let Some(name) = self.nth_topic(topic) else { return };
        let Some(leader) = self.partition(&name).leader else { return };
        members.push(leader.0);
        members.dedup();
        let (of, mut asked) = self.alteration(&name, &members);
        if stale {
            asked.new_isr_with_epochs[0].broker_epoch -= 1;
        }
        self.alter_as(leader.0, (of, asked));
    }

    fn create_somehow(&mut self, replication_factor: i16, partitions: i32, min_isr: i32, unclean: bool) {
        let name = format!("topic-{}", self.image.offset());
        let (min_isr, unclean) = (min_isr.to_string(), unclean.to_string());
        let configs = [("min.insync.replicas", &*min_isr), ("unclean.leader.election.enable", &*unclean)];
        let topic = protocol::messages::create_topics_request::CreatableTopic::default()
            .with_name(protocol::messages::topic_name(&name))
            .with_num_partitions(partitions)
            .with_replication_factor(replication_factor)
            .with_configs(configs.iter().map(stories::config).collect());
        self.create(CreateTopicsRequest::default().with_topics(vec![topic]));
    }

    fn reassign_somehow(&mut self, topic: usize, replicas: &[i32]) {
        let Some(name) = self.nth_topic(topic) else { return };
        self.reassign(&name, (!replicas.is_empty()).then_some(replicas), true);
    }

    fn delete_somehow(&mut self, topic: usize) {
        let Some(name) = self.nth_topic(topic) else { return };
        let request = DeleteTopicsRequest::default().with_topic_names(vec![protocol::messages::topic_name(&name)]);
        self.decide(ControlRequest::DeleteTopics { request, version: 5 });
    }

    /// Every broker returns and catches up, and every leader takes back who is missing.
    fn heal(&mut self) {
        self.now = self.now.plus(stories::TIMEOUT);
        for id in 1..=5 {
            self.register(id, 100, None);
            self.beat(id);
        }
        let names: Vec<String> = self.image.topics_by_name().map(|topic| topic.name.to_string()).collect();
        for name in names {
            if self.partition(&name).leader.is_some() {
                let replicas: Vec<i32> = self.partition(&name).replicas.iter().map(|replica| replica.0).collect();
                let leader = self.partition(&name).leader.expect("asked just now").0;
                let asked = self.alteration(&name, &replicas);
                let told = self.alter_as(leader, asked);
                assert!(matches!(told, ErrorCode::None | ErrorCode::NewLeaderElected), "{told}");
                assert!(!self.partition(&name).is_reassigning(), "everybody is in sync");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Invariants 6 to 10 are checked after every record, by the story; 70 at the end.
    #[test]
    fn whatever_happens_the_invariants_hold_and_the_cluster_heals(steps in prop::collection::vec(step(), 1..80)) {
        let mut story = Story::with_brokers(&[], 5);
        for step in steps {
            story.take(step);
        }
        story.heal();
        for (of, state) in story.image.partitions() {
            prop_assert!(state.leader.is_some(), "{of} has no leader when all brokers are back: {state:?}");
            prop_assert!(state.elr.is_empty() || of.partition.0 > 0, "{of}: {state:?}");
        }
    }

    #[test]
    fn a_decision_changes_nothing_and_is_made_again_the_same(steps in prop::collection::vec(step(), 1..30)) {
        let mut story = Story::with_brokers(&[], 5);
        for step in steps {
            story.take(step);
        }
        let request = || ControlRequest::Heartbeat(story.heartbeat(1).with_want_shut_down(true));
        let digest = story.image.digest();
        let first = story.control.decide(&story.image, request(), story.now);
        prop_assert_eq!(&story.control.decide(&story.image, request(), story.now), &first);
        prop_assert_eq!(story.image.digest(), digest);
    }
}
