use super::*;
use crate::partition::isr::{JoinFloor, refusal};
use proptest::prelude::*;
use protocol::error_code::ErrorCode;
use protocol::ids::BrokerEpoch;
use std::collections::BTreeMap;
use std::fmt::Write;

const LAG_MAX: Duration = Duration::from_secs(30);

/// What the metadata says of brokers, in a test.
#[derive(Clone, Debug)]
struct Cluster(BTreeMap<BrokerId, (BrokerEpoch, bool)>);

impl Cluster {
    fn of(brokers: impl IntoIterator<Item = i32>) -> Self {
        Self(brokers.into_iter().map(|id| (BrokerId(id), (BrokerEpoch(i64::from(id) * 100), true))).collect())
    }
}

impl Brokers for Cluster {
    fn broker_epoch(&self, broker_id: BrokerId) -> Option<BrokerEpoch> {
        self.0.get(&broker_id).map(|(broker_epoch, _)| *broker_epoch)
    }

    fn is_active(&self, broker_id: BrokerId) -> bool {
        self.0.get(&broker_id).is_some_and(|(_, active)| *active)
    }
}

/// A replica with a story: each step changes it, and adds what it led to.
#[derive(Clone)]
struct Story {
    state: PartitionState,
    cluster: Cluster,
    replicas: Vec<BrokerId>,
    now: MonotonicMillis,
    proposal: Option<IsrProposal>,
    told: String,
}

fn ids(of: &[i32]) -> Vec<BrokerId> {
    of.iter().copied().map(BrokerId).collect()
}

fn list(of: impl IntoIterator<Item = BrokerId>) -> String {
    of.into_iter().map(|id| id.to_string()).collect::<Vec<_>>().join(",")
}

/// Broker 1, with a log of `log_end` records, knowing that `high_watermark` of them are committed.
fn replica(replicas: &[i32], log_end: i64, high_watermark: i64) -> Story {
    let state = PartitionState::new(
        BrokerId(1),
        LAG_MAX,
        JoinFloor::EpochStart,
        (Offset(0), Offset(log_end)),
        Offset(high_watermark),
    );
    let cluster = Cluster::of(replicas.iter().copied());
    let now = MonotonicMillis(1_000_000);
    Story { state, cluster, replicas: ids(replicas), now, proposal: None, told: String::new() }
}

/// Broker 1 leading in leader epoch 0, everybody in sync, the log empty.
fn leader_of(replicas: &[i32]) -> Story {
    let mut story = replica(replicas, 0, 0).metadata(1, 0, 0, replicas).durable(0);
    story.told.clear();
    story
}

impl Story {
    fn min_isr(mut self, min_insync_replicas: usize) -> Self {
        self.state.set_min_insync_replicas(min_insync_replicas);
        self
    }

    fn at(mut self, seconds: u64) -> Self {
        self.now = MonotonicMillis(1_000_000 + seconds * 1000);
        self
    }

    fn broker(mut self, id: i32, broker_epoch: i64, active: bool) -> Self {
        self.cluster.0.insert(BrokerId(id), (BrokerEpoch(broker_epoch), active));
        self
    }

    fn metadata(mut self, leader: i32, leader_epoch: i32, partition_epoch: i32, isr: &[i32]) -> Self {
        let isr = ids(isr);
        let update = PartitionUpdate {
            leader: BrokerId::from_wire(leader),
            leader_epoch: LeaderEpoch(leader_epoch),
            partition_epoch: PartitionEpoch(partition_epoch),
            replicas: &self.replicas,
            isr: &isr,
        };
        match self.state.on_metadata(&update, self.now) {
            Transition::StillLeads => {
                let effects = self.state.reconsider(self.now, &self.cluster);
                self.effects(effects);
            }
            other => writeln!(self.told, "-> {other:?}").unwrap(),
        }
        self
    }

    fn durable(mut self, leader_epoch: i32) -> Self {
        match self.state.on_epoch_durable(LeaderEpoch(leader_epoch), self.now, &self.cluster) {
            Some(effects) => self.effects(effects),
            None => writeln!(self.told, "-> too late").unwrap(),
        }
        self
    }

    fn appended(mut self, log_end: i64) -> Self {
        let high_watermark = self.state.on_leader_append(Offset(log_end), self.now, &self.cluster);
        self.effects(Effects { high_watermark, propose: None });
        self
    }

    fn fetched(self, follower: i32, offset: i64) -> Self {
        let broker_epoch = self.cluster.0[&BrokerId(follower)].0;
        self.fetched_as(follower, offset, broker_epoch)
    }

    fn fetched_as(mut self, follower: i32, offset: i64, broker_epoch: BrokerEpoch) -> Self {
        let fetch = fetch_of(follower, offset, broker_epoch);
        let effects = self.state.on_follower_fetch(&fetch, self.now, &self.cluster);
        self.effects(effects);
        self
    }

    fn tick(mut self) -> Self {
        let propose = self.state.on_tick(self.now);
        self.effects(Effects { high_watermark: None, propose });
        let effects = self.state.reconsider(self.now, &self.cluster);
        self.effects(effects);
        self
    }

    fn answered(mut self, answer: IsrAnswer) -> Self {
        let proposal = self.proposal.clone().expect("something was proposed");
        let answered = self.state.on_isr_answer(proposal.id, proposal.leader_epoch, &answer, self.now);
        writeln!(self.told, "-> {}", format!("{answered:?}").split('(').next().unwrap()).unwrap();
        let effects = self.state.reconsider(self.now, &self.cluster);
        self.effects(effects);
        self
    }

    fn committed(self, partition_epoch: i32) -> Self {
        let proposal = self.proposal.clone().expect("something was proposed");
        let (leader_epoch, partition_epoch) = (proposal.leader_epoch, PartitionEpoch(partition_epoch));
        self.answered(IsrAnswer::Committed { leader_epoch, partition_epoch, isr: proposal.isr() })
    }

    fn refused(self, error: ErrorCode) -> Self {
        self.answered(IsrAnswer::Refused(error))
    }

    fn effects(&mut self, effects: Effects) {
        if let Some(high_watermark) = effects.high_watermark {
            writeln!(self.told, "-> high_watermark {high_watermark}").unwrap();
        }
        if let Some(proposal) = effects.propose {
            writeln!(self.told, "-> propose {}", list(proposal.isr())).unwrap();
            self.proposal = Some(proposal);
        }
    }

    fn print(&self) -> String {
        let state = &self.state;
        let role = match state.role() {
            Role::Follower => "follows",
            Role::Becoming(_) => "becomes leader",
            Role::Leader(_) => "leads",
            Role::Offline => "offline",
        };
        let mut text = format!(
            "{role}  leader_epoch {}  partition_epoch {}  high_watermark {}  log_end_offset {}",
            state.leader_epoch(),
            state.partition_epoch(),
            state.high_watermark(),
            state.log_end_offset()
        );
        if let Some(in_sync) = state.in_sync() {
            write!(text, "\nisr {}  maximal {}", list(in_sync.isr().clone()), list(in_sync.maximal_isr())).unwrap();
        }
        text + "\n" + &self.told
    }
}

fn fetch_of(follower: i32, offset: i64, broker_epoch: BrokerEpoch) -> FollowerFetch {
    FollowerFetch {
        follower: BrokerId(follower),
        broker_epoch,
        fetch_offset: Offset(offset),
        log_start_offset: Offset(0),
        high_watermark: None,
    }
}

macro_rules! check {
    ($story:expr, @$expected:literal) => {
        insta::assert_snapshot!($story.print(), @$expected)
    };
}

#[test]
fn the_high_watermark_is_what_everybody_in_sync_has() {
    check!(leader_of(&[1, 2, 3]).appended(10).fetched(2, 10).fetched(3, 4).fetched(3, 10), @"
    leads  leader_epoch 0  partition_epoch 0  high_watermark 10  log_end_offset 10
    isr 1,2,3  maximal 1,2,3
    -> high_watermark 4
    -> high_watermark 10
    ");
}

#[test]
fn a_leader_alone_in_sync_commits_as_it_appends() {
    check!(leader_of(&[1]).appended(3), @"
    leads  leader_epoch 0  partition_epoch 0  high_watermark 3  log_end_offset 3
    isr 1  maximal 1
    -> high_watermark 3
    ");
}

#[test]
fn nothing_is_committed_below_the_minimum_in_sync() {
    // One replica of two that are needed: acks=1 still appends, and the high watermark stands (KAFKA-15583).
    let story = replica(&[1, 2, 3], 0, 0).min_isr(2).metadata(1, 0, 0, &[1]).durable(0).appended(5);
    check!(story, @"
    leads  leader_epoch 0  partition_epoch 0  high_watermark 0  log_end_offset 5
    isr 1  maximal 1
    -> Elected { leader_epoch: LeaderEpoch(0), start: Offset(0) }
    ");
}

#[test]
fn more_in_sync_than_replicas_is_never_asked_for() {
    check!(leader_of(&[1]).min_isr(2).appended(5), @"
    leads  leader_epoch 0  partition_epoch 0  high_watermark 5  log_end_offset 5
    isr 1  maximal 1
    -> high_watermark 5
    ");
}

#[test]
fn slow_follower_leaves_the_isr() {
    let story = leader_of(&[1, 2, 3]).appended(10).fetched(2, 10).fetched(3, 4).at(31).fetched(2, 10).tick();
    check!(story.clone(), @"
    leads  leader_epoch 0  partition_epoch 0  high_watermark 4  log_end_offset 10
    isr 1,2,3  maximal 1,2,3
    -> high_watermark 4
    -> propose 1,2
    ");
    check!(story.committed(1).metadata(1, 0, 1, &[1, 2]), @"
    leads  leader_epoch 0  partition_epoch 1  high_watermark 10  log_end_offset 10
    isr 1,2  maximal 1,2
    -> high_watermark 4
    -> propose 1,2
    -> AwaitsMetadata
    -> high_watermark 10
    ");
}

#[test]
fn fewer_in_sync_are_taken_from_the_metadata_which_says_first_how_many_must_be() {
    let story = || leader_of(&[1, 2]).min_isr(1).appended(5).at(31).tick().committed(1);
    check!(story(), @"
    leads  leader_epoch 0  partition_epoch 0  high_watermark 0  log_end_offset 5
    isr 1,2  maximal 1,2
    -> propose 1
    -> AwaitsMetadata
    ");
    // The controller keeps 2 eligible, for two must be in sync since before the proposal was decided.
    let story = story().min_isr(2).metadata(1, 0, 1, &[1]);
    assert_eq!(story.state.high_watermark(), Offset(0));
}

#[test]
fn a_silent_follower_that_has_everything_stays() {
    check!(leader_of(&[1, 2]).appended(10).fetched(2, 10).at(3600).tick(), @"
    leads  leader_epoch 0  partition_epoch 0  high_watermark 10  log_end_offset 10
    isr 1,2  maximal 1,2
    -> high_watermark 10
    ");
}

#[test]
fn a_follower_that_keeps_up_with_constant_appends_stays() {
    // Never at the log end, but each fetch is where the log ended at the fetch before.
    let mut story = leader_of(&[1, 2]).appended(10).fetched(2, 0);
    for round in 1..40 {
        story = story.at(round).appended(10 + round as i64 * 10).fetched(2, round as i64 * 10);
    }
    story.told.clear();
    check!(story.tick(), @"
    leads  leader_epoch 0  partition_epoch 0  high_watermark 390  log_end_offset 400
    isr 1,2  maximal 1,2
    ");
}

#[test]
fn follower_rejoins_only_past_the_epoch_start() {
    // The new leader has 10 records and knows of 4 committed ones; all may be (KAFKA-7128).
    let story = replica(&[1, 2], 10, 4).metadata(1, 1, 1, &[1]).min_isr(2).durable(1);
    check!(story.clone().fetched(2, 4).fetched(2, 9), @"
    leads  leader_epoch 1  partition_epoch 1  high_watermark 4  log_end_offset 10
    isr 1  maximal 1
    -> Elected { leader_epoch: LeaderEpoch(1), start: Offset(10) }
    ");
    check!(story.fetched(2, 10), @"
    leads  leader_epoch 1  partition_epoch 1  high_watermark 4  log_end_offset 10
    isr 1  maximal 1,2
    -> Elected { leader_epoch: LeaderEpoch(1), start: Offset(10) }
    -> propose 1,2
    ");
}

#[test]
fn who_has_fallen_silent_does_not_come_back_by_what_it_fetched_before() {
    // Fewer are in sync than are needed: the high watermark stays where the follower was.
    let silent = leader_of(&[1, 2]).min_isr(2).fetched(2, 0).appended(5).at(31).tick();
    let silent = silent.metadata(1, 0, 1, &[1]);
    check!(silent.clone(), @"
    leads  leader_epoch 0  partition_epoch 1  high_watermark 0  log_end_offset 5
    isr 1  maximal 1
    -> propose 1
    ");
    check!(silent.at(40).fetched(2, 0), @"
    leads  leader_epoch 0  partition_epoch 1  high_watermark 0  log_end_offset 5
    isr 1  maximal 1,2
    -> propose 1
    -> propose 1,2
    ");
}

#[test]
fn a_proposed_member_counts_before_the_answer_and_a_dropped_one_until_it() {
    let joining = replica(&[1, 2], 0, 0).metadata(1, 0, 0, &[1]).durable(0).fetched(2, 0).appended(5);
    check!(joining, @"
    leads  leader_epoch 0  partition_epoch 0  high_watermark 0  log_end_offset 5
    isr 1  maximal 1,2
    -> Elected { leader_epoch: LeaderEpoch(0), start: Offset(0) }
    -> propose 1,2
    ");
    let leaving = leader_of(&[1, 2]).appended(5).at(31).tick().appended(6);
    check!(leaving, @"
    leads  leader_epoch 0  partition_epoch 0  high_watermark 0  log_end_offset 6
    isr 1,2  maximal 1,2
    -> propose 1
    ");
}

#[test]
fn an_ineligible_replica_is_rolled_back_and_proposed_again_later() {
    let story = replica(&[1, 2], 0, 0).metadata(1, 0, 0, &[1]).durable(0).appended(5).fetched(2, 5);
    let story = story.refused(ErrorCode::IneligibleReplica).fetched(2, 5);
    check!(story.clone(), @"
    leads  leader_epoch 0  partition_epoch 0  high_watermark 5  log_end_offset 5
    isr 1  maximal 1
    -> Elected { leader_epoch: LeaderEpoch(0), start: Offset(0) }
    -> high_watermark 5
    -> propose 1,2
    -> RolledBack
    ");
    check!(story.at(1).fetched(2, 5), @"
    leads  leader_epoch 0  partition_epoch 0  high_watermark 5  log_end_offset 5
    isr 1  maximal 1,2
    -> Elected { leader_epoch: LeaderEpoch(0), start: Offset(0) }
    -> high_watermark 5
    -> propose 1,2
    -> RolledBack
    -> propose 1,2
    ");
}

#[test]
fn after_an_answer_that_leaves_doubt_the_proposal_stays_in_flight() {
    let doubtful = [ErrorCode::FencedLeaderEpoch, ErrorCode::InvalidUpdateVersion, ErrorCode::UnknownTopicId];
    for error in doubtful.into_iter().chain([ErrorCode::NewLeaderElected, ErrorCode::InvalidRequest]) {
        assert_eq!(refusal(error), Refusal::MetadataBehind);
        let story = leader_of(&[1, 2]).appended(5).at(31).tick().refused(error);
        assert!(story.state.in_sync().unwrap().is_in_flight(), "{error}");
        let story = story.metadata(1, 0, 1, &[1]);
        assert!(!story.state.in_sync().unwrap().is_in_flight(), "{error}");
        assert_eq!(story.state.high_watermark(), Offset(5));
    }
    let story = leader_of(&[1, 2]).appended(5).at(31).tick().refused(ErrorCode::NotController);
    check!(story, @"
    leads  leader_epoch 0  partition_epoch 0  high_watermark 0  log_end_offset 5
    isr 1,2  maximal 1,2
    -> propose 1
    -> Repeat
    ");
}

#[test]
fn metadata_that_an_answer_has_overtaken_does_not_forget_the_next_proposal() {
    let story = leader_of(&[1, 2, 3]).metadata(1, 0, 1, &[1, 2]).appended(5).fetched(2, 5).fetched(3, 5).committed(2);
    let story = story.appended(8).at(31).fetched(2, 8).tick();
    // Partition epoch 2 arrives by metadata while 3 is being dropped on top of it.
    check!(story.metadata(1, 0, 2, &[1, 2, 3]), @"
    leads  leader_epoch 0  partition_epoch 2  high_watermark 5  log_end_offset 8
    isr 1,2,3  maximal 1,2,3
    -> high_watermark 5
    -> propose 1,2,3
    -> Committed
    -> propose 1,2
    ");
}

#[test]
fn an_answer_to_what_is_no_longer_in_flight_changes_nothing() {
    let story = leader_of(&[1, 2]).appended(5).at(31).tick().metadata(1, 0, 1, &[1, 2]).committed(1);
    check!(story, @"
    leads  leader_epoch 0  partition_epoch 1  high_watermark 0  log_end_offset 5
    isr 1,2  maximal 1,2
    -> propose 1
    -> Late
    ");
}

#[test]
fn a_broker_joins_only_under_the_registration_that_the_metadata_holds() {
    let leads = || replica(&[1, 2], 0, 0).metadata(1, 0, 0, &[1]).durable(0);
    let proposes = |story: Story| story.proposal.is_some();
    assert!(proposes(leads().fetched(2, 0)));
    assert!(!proposes(leads().broker(2, 200, false).fetched(2, 0)), "fenced");
    assert!(!proposes(leads().fetched_as(2, 0, BrokerEpoch(201))), "the metadata is behind");
    assert!(!proposes(leads().fetched_as(2, 0, BrokerEpoch::UNKNOWN)), "an old request");
}

#[test]
fn a_follower_about_to_join_is_waited_for_only_while_it_catches_up() {
    let story = replica(&[1, 2], 0, 0).metadata(1, 0, 0, &[1]).durable(0).broker(2, 200, false);
    let story = story.fetched(2, 0).broker(2, 200, true).appended(5);
    check!(story.clone(), @"
    leads  leader_epoch 0  partition_epoch 0  high_watermark 0  log_end_offset 5
    isr 1  maximal 1
    -> Elected { leader_epoch: LeaderEpoch(0), start: Offset(0) }
    ");
    check!(story.at(31).tick(), @"
    leads  leader_epoch 0  partition_epoch 0  high_watermark 5  log_end_offset 5
    isr 1  maximal 1
    -> Elected { leader_epoch: LeaderEpoch(0), start: Offset(0) }
    -> high_watermark 5
    ");
}

#[test]
fn a_new_leader_epoch_forgets_what_followers_had_even_under_the_same_leader() {
    let story = leader_of(&[1, 2]).appended(5).fetched(2, 5).metadata(1, 1, 1, &[1, 2]).durable(1).appended(6);
    check!(story, @"
    leads  leader_epoch 1  partition_epoch 1  high_watermark 5  log_end_offset 6
    isr 1,2  maximal 1,2
    -> high_watermark 5
    -> Elected { leader_epoch: LeaderEpoch(1), start: Offset(5) }
    ");
}

#[test]
fn older_metadata_is_ignored_and_a_late_fsync_elects_nobody() {
    let story = replica(&[1, 2], 5, 5).metadata(1, 3, 7, &[1, 2]).metadata(2, 4, 8, &[2]).durable(3);
    check!(story.metadata(1, 3, 7, &[1, 2]), @"
    follows  leader_epoch 4  partition_epoch 8  high_watermark 5  log_end_offset 5
    -> Elected { leader_epoch: LeaderEpoch(3), start: Offset(5) }
    -> Follows { new_epoch: true, leader: Some(BrokerId(2)) }
    -> too late
    -> Ignored
    ");
}

#[test]
fn a_produce_is_refused_in_kafkas_order() {
    let follower = replica(&[1, 2], 0, 0).min_isr(2).metadata(2, 0, 0, &[2]);
    let becoming = replica(&[1, 2], 0, 0).min_isr(2).metadata(1, 0, 0, &[1]);
    let alone = becoming.clone().durable(0);
    let code = |story: &Story, acks_all| story.state.check_append(acks_all).map_err(AppendRefusal::error_code);
    assert_eq!(code(&follower, true), Err(ErrorCode::NotLeaderOrFollower));
    assert_eq!(code(&becoming, false), Err(ErrorCode::NotLeaderOrFollower));
    assert_eq!(code(&alone, true), Err(ErrorCode::NotEnoughReplicas));
    assert_eq!(code(&alone, false), Ok(LeaderEpoch(0)));
    let mut broken = alone;
    broken.state.go_offline();
    assert_eq!(code(&broken, false), Err(ErrorCode::KafkaStorageError));
}

#[test]
fn a_fetch_is_refused_in_kafkas_order() {
    // Leader epoch 3 of a log with records 2 to 10, of which 8 are committed.
    let mut story = replica(&[1, 2, 3], 10, 8).metadata(1, 3, 7, &[1, 2, 3]).durable(3);
    story.state.on_log_start(Offset(2));
    let plan = |epoch: Option<i32>, follower: i32, broker_epoch: i64, offset: i64, last: Option<i32>| {
        let position = FetchPosition {
            current_leader_epoch: epoch.map(LeaderEpoch),
            fetch_offset: Offset(offset),
            last_fetched_epoch: last.map(LeaderEpoch),
        };
        let reader = Reader::Follower(fetch_of(follower, offset, BrokerEpoch(broker_epoch)));
        // Epoch 2 ended at 6, and 1 was the one before; nothing is known of 0.
        let end_of = |asked: LeaderEpoch| match asked.0 {
            0 => None,
            1 => Some(EpochEnd { leader_epoch: LeaderEpoch(1), end_offset: Offset(4) }),
            _ => Some(EpochEnd { leader_epoch: LeaderEpoch(2), end_offset: Offset(10) }),
        };
        let plan = story.state.plan_fetch(&position, &reader, Offset(8), end_of, &story.cluster);
        plan.map_err(FetchRefusal::error_code)
    };
    use ErrorCode as Code;
    assert_eq!(plan(Some(2), 9, 0, 0, None), Err(Code::FencedLeaderEpoch), "before all else");
    assert_eq!(plan(Some(4), 9, 0, 0, None), Err(Code::UnknownLeaderEpoch));
    assert_eq!(plan(Some(3), 9, 900, 0, None), Err(Code::UnknownLeaderEpoch), "an unknown replica");
    assert_eq!(plan(None, 9, 900, 0, None), Err(Code::NotLeaderOrFollower), "an unknown replica, an old request");
    assert_eq!(plan(Some(3), 2, 199, 0, None), Err(Code::NotLeaderOrFollower), "an earlier life of broker 2");
    assert_eq!(plan(Some(3), 2, 200, 1, Some(7)), Err(Code::OffsetOutOfRange), "below the start, although diverging");
    assert_eq!(plan(Some(3), 2, 200, 5, Some(0)), Err(Code::OffsetOutOfRange), "an epoch that cannot be compared");
    let diverges = |epoch, offset| {
        Ok(FetchPlan::Diverges(EpochEnd { leader_epoch: LeaderEpoch(epoch), end_offset: Offset(offset) }))
    };
    assert_eq!(plan(Some(3), 2, 200, 5, Some(1)), diverges(1, 4), "past the end of its epoch");
    assert_eq!(plan(Some(3), 2, 200, 5, Some(3)), diverges(2, 10), "an epoch that the leader never had");
    assert_eq!(plan(Some(3), 2, 200, 11, None), Err(Code::OffsetOutOfRange), "past the end");
    assert_eq!(plan(Some(3), 2, 200, 10, Some(2)), Ok(FetchPlan::Read { upto: Offset(10) }));
}

#[test]
fn consumers_read_what_is_committed_and_a_follower_never_says_out_of_range_above_it() {
    let leader = replica(&[1, 2], 10, 8).metadata(1, 3, 7, &[1, 2]).durable(3);
    let follower = replica(&[1, 2], 10, 8).metadata(2, 3, 7, &[1, 2]);
    let plan = |story: &Story, isolation, leader_only, offset| {
        let position =
            FetchPosition { current_leader_epoch: None, fetch_offset: Offset(offset), last_fetched_epoch: None };
        let reader = Reader::Consumer { isolation, leader_only };
        let plan = story.state.plan_fetch(&position, &reader, Offset(6), |_| None, &story.cluster);
        plan.map_err(FetchRefusal::error_code)
    };
    use Isolation::{ReadCommitted, ReadUncommitted};
    let upto = |offset| Ok(FetchPlan::Read { upto: Offset(offset) });
    assert_eq!(plan(&leader, ReadUncommitted, true, 3), upto(8));
    assert_eq!(plan(&leader, ReadCommitted, true, 3), upto(6));
    assert_eq!(plan(&leader, ReadUncommitted, true, 9), upto(8), "a new leader may know less than the last one");
    assert_eq!(plan(&leader, ReadUncommitted, true, 11), Err(ErrorCode::OffsetOutOfRange));
    assert_eq!(plan(&follower, ReadUncommitted, true, 3), Err(ErrorCode::NotLeaderOrFollower));
    assert_eq!(plan(&follower, ReadUncommitted, false, 3), upto(8));
    assert_eq!(plan(&follower, ReadUncommitted, false, 9), Err(ErrorCode::OffsetNotAvailable));
    assert_eq!(plan(&follower, ReadUncommitted, false, 99), Err(ErrorCode::OffsetNotAvailable));
}

#[test]
fn a_follower_counts_as_committed_no_more_than_it_has() {
    let mut story = replica(&[1, 2], 5, 3).metadata(2, 0, 0, &[1, 2]);
    assert_eq!(story.state.on_follower_append(Offset(8), Offset(20)), Some(Offset(8)));
    assert_eq!(story.state.on_follower_append(Offset(9), Offset(4)), None, "a new leader knows less");
    assert_eq!(story.state.high_watermark(), Offset(8));
    story.state.on_truncated(Offset(0), Offset(6));
    assert_eq!((story.state.high_watermark(), story.state.log_end_offset()), (Offset(6), Offset(6)));
    story.state.on_restarted_at(Offset(100));
    assert_eq!((story.state.high_watermark(), story.state.log_start_offset()), (Offset(100), Offset(100)));
}

#[test]
fn a_checkpoint_is_a_hint() {
    assert_eq!(initial_high_watermark(Offset(50), Offset(10), Offset(40)), Offset(40));
    assert_eq!(initial_high_watermark(Offset(5), Offset(10), Offset(40)), Offset(10));
    assert_eq!(initial_high_watermark(Offset(20), Offset(10), Offset(40)), Offset(20));
}

/// Something that happens to a leader of replicas 1, 2, 3.
#[derive(Clone, Debug)]
enum Step {
    Append(i64),
    /// A follower copied that many of the records that it lacks, and fetched from there.
    Fetch(usize, i64),
    Tick,
    Wait(u64),
    /// The controller decides on the oldest proposal that it has not decided on.
    Decide(bool),
    /// The leader learns of the answer to that proposal, or that it is lost.
    Answer(bool),
    /// The leader learns of the controller's newest state by metadata.
    Metadata,
    Fence(usize),
    Register(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1i64..4).prop_map(Step::Append),
        6 => (0usize..2, 0i64..8).prop_map(|(follower, records)| Step::Fetch(follower, records)),
        2 => Just(Step::Tick),
        2 => (1u64..40).prop_map(Step::Wait),
        3 => prop::bool::weighted(0.8).prop_map(Step::Decide),
        3 => prop::bool::weighted(0.7).prop_map(Step::Answer),
        2 => Just(Step::Metadata),
        1 => (0usize..2).prop_map(Step::Fence),
        1 => (0usize..2).prop_map(Step::Register),
    ]
}

/// The controller, as far as this partition goes, and the followers' logs as they really are.
struct World {
    story: Story,
    isr: BTreeSet<BrokerId>,
    partition_epoch: PartitionEpoch,
    /// Proposals that the controller has not seen yet, and the answers that the leader has not seen yet.
    sent: Vec<IsrProposal>,
    answers: Vec<(IsrProposal, IsrAnswer)>,
    log_ends: [i64; 2],
    registrations: BTreeMap<BrokerId, (BrokerEpoch, bool)>,
    highest: Offset,
}

const FOLLOWERS: [BrokerId; 2] = [BrokerId(2), BrokerId(3)];

impl World {
    fn new(min_isr: usize) -> Self {
        let story = leader_of(&[1, 2, 3]).min_isr(min_isr);
        let registrations = story.cluster.0.clone();
        let isr = ids(&[1, 2, 3]).into_iter().collect();
        Self {
            story,
            isr,
            partition_epoch: PartitionEpoch(0),
            sent: vec![],
            answers: vec![],
            log_ends: [0; 2],
            registrations,
            highest: Offset(0),
        }
    }

    fn take(&mut self, step: &Step) {
        let story = &mut self.story;
        story.proposal = None;
        match step {
            Step::Append(records) => {
                let end = story.state.log_end_offset().plus(*records);
                *story = story.clone().appended(end.0);
            }
            Step::Fetch(follower, records) => {
                let id = FOLLOWERS[*follower];
                let end = &mut self.log_ends[*follower];
                *end = (*end + records).min(story.state.log_end_offset().0);
                *story = story.clone().fetched_as(id.0, *end, self.registrations[&id].0);
            }
            Step::Tick => *story = story.clone().tick(),
            Step::Wait(seconds) => story.now = story.now.plus(seconds * 1000),
            Step::Decide(_) | Step::Answer(_) | Step::Metadata | Step::Fence(_) | Step::Register(_) => {
                self.take_control(step);
            }
        }
        self.sent.extend(self.story.proposal.take());
    }

    fn take_control(&mut self, step: &Step) {
        match step {
            Step::Decide(arrives) if !self.sent.is_empty() => {
                let proposal = self.sent.remove(0);
                let answer =
                    if *arrives { self.decide(&proposal) } else { IsrAnswer::Refused(ErrorCode::NetworkException) };
                self.answers.push((proposal, answer));
            }
            Step::Answer(arrives) if !self.answers.is_empty() => {
                let (proposal, answer) = self.answers.remove(0);
                let answer = if *arrives { answer } else { IsrAnswer::Refused(ErrorCode::RequestTimedOut) };
                let now = self.story.now;
                match self.story.state.on_isr_answer(proposal.id, proposal.leader_epoch, &answer, now) {
                    Answered::Repeat(again) => self.sent.push(again),
                    Answered::Late | Answered::AwaitsMetadata => {}
                    Answered::Committed | Answered::RolledBack => {
                        let effects = self.story.state.reconsider(now, &self.story.cluster);
                        self.story.effects(effects);
                    }
                }
            }
            Step::Metadata => {
                self.story.cluster.0 = self.registrations.clone();
                let isr: Vec<i32> = self.isr.iter().map(|id| id.0).collect();
                self.story = self.story.clone().metadata(1, 0, self.partition_epoch.0, &isr);
            }
            Step::Fence(follower) | Step::Register(follower) => {
                let id = FOLLOWERS[*follower];
                let registration = self.registrations.get_mut(&id).expect("all are registered");
                registration.1 = matches!(step, Step::Register(_));
                if matches!(step, Step::Register(_)) {
                    // An unclean restart: a new life that has lost half of its log.
                    registration.0.0 += 1;
                    self.log_ends[*follower] /= 2;
                }
                if self.isr.remove(&id) {
                    self.partition_epoch = self.partition_epoch.next();
                }
            }
            _ => {}
        }
    }

    /// What the controller does with a proposal (`ReplicationControlManager.validateAlterPartitionData`).
    fn decide(&mut self, proposal: &IsrProposal) -> IsrAnswer {
        if proposal.partition_epoch < self.partition_epoch {
            return IsrAnswer::Refused(ErrorCode::InvalidUpdateVersion);
        }
        let eligible = |(id, broker_epoch): &(BrokerId, BrokerEpoch)| {
            let (registered, active) = self.registrations[id];
            active && (*broker_epoch == BrokerEpoch::UNKNOWN || *broker_epoch == registered)
        };
        if !proposal.members.iter().all(eligible) {
            return IsrAnswer::Refused(ErrorCode::IneligibleReplica);
        }
        self.isr = proposal.isr();
        self.partition_epoch = self.partition_epoch.next();
        IsrAnswer::Committed {
            leader_epoch: LeaderEpoch(0),
            partition_epoch: self.partition_epoch,
            isr: self.isr.clone(),
        }
    }

    fn check(&mut self) -> Result<(), TestCaseError> {
        let state = &self.story.state;
        let (high_watermark, in_sync) = (state.high_watermark(), state.in_sync().expect("it leads throughout"));
        prop_assert!(high_watermark >= self.highest, "it went back to {high_watermark}");
        prop_assert!(high_watermark <= state.log_end_offset());
        let not_stale = in_sync.isr().len() >= state.effective_min_isr();
        let maximal = in_sync.maximal_isr();
        if not_stale && !self.isr.is_subset(&maximal) {
            prop_assert!(false, "the controller's ISR {:?} is not within {maximal:?}", self.isr);
        }
        if high_watermark > self.highest {
            prop_assert!(not_stale, "it rose to {high_watermark} with {:?} in sync", in_sync.isr());
        }
        self.highest = high_watermark;
        for (id, log_end) in FOLLOWERS.iter().zip(self.log_ends) {
            // Whoever the controller would elect has all that is committed.
            prop_assert!(
                !self.isr.contains(id) || Offset(log_end) >= high_watermark,
                "{id} has {log_end} of {high_watermark}"
            );
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// Whatever order things happen in: the high watermark never goes back, never rises below the minimum in sync, never
    /// passes the log of anybody in the controller's ISR, and the maximal ISR holds the controller's.
    #[test]
    fn committed_records_are_on_every_replica_that_could_be_elected(
        min_isr in 1usize..3,
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut world = World::new(min_isr);
        for step in &steps {
            world.take(step);
            world.check()?;
        }
    }
}
