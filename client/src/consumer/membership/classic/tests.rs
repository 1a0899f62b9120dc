//! The machine of a classic membership alone.

use super::*;
use crate::consumer::assignors::Assignor;
use crate::consumer::membership::options::{GroupOptions, GroupProtocol};
use crate::retry::Backoff;
use protocol::error_code::ErrorCode;
use protocol::frame::encode_request;
use protocol::ids::{BrokerId, PartitionIndex};
use protocol::messages::join_group_response::JoinGroupResponseMember;
use protocol::messages::{HeartbeatResponse, JoinGroupResponse, Request, SyncGroupResponse};

const COORDINATOR: BrokerId = BrokerId(1);
const RANDOM: u64 = 200;

fn partitions(indexes: &[i32]) -> BTreeSet<PartitionName> {
    indexes.iter().map(|index| PartitionName::new("t", PartitionIndex(*index))).collect()
}

fn member(assignors: &[Assignor], instance_id: Option<&str>) -> Classic {
    let protocol = ClassicProtocol { assignors: assignors.to_vec(), ..ClassicProtocol::default() };
    let options = GroupOptions {
        instance_id: instance_id.map(Arc::from),
        protocol: GroupProtocol::Classic(protocol.clone()),
        ..GroupOptions::new("g")
    };
    Classic::new(Contact::new(options, Backoff::new(Duration::from_millis(100), Duration::from_secs(1))), protocol)
}

fn topics(names: &[&str]) -> BTreeSet<Arc<str>> {
    names.iter().map(|name| Arc::from(*name)).collect()
}

/// A member with its clock. It is in a poll unless a test ends that.
struct Bench {
    member: Classic,
    now: MonotonicMillis,
}

impl Bench {
    fn new(assignors: &[Assignor], instance_id: Option<&str>) -> Self {
        let mut member = member(assignors, instance_id);
        let now = MonotonicMillis(1000);
        member.subscribe(Interest::Topics(topics(&["t"])), now);
        member.contact.poll_began();
        Self { member, now }
    }

    fn eager() -> Self {
        Self::new(&[Assignor::Range], None)
    }

    fn cooperative() -> Self {
        Self::new(&[Assignor::CooperativeSticky], None)
    }

    fn next(&mut self) -> Step {
        self.member.next(self.now)
    }

    fn life(&self) -> Life {
        self.member.contact.life()
    }

    fn wait(&mut self, millis: u64) {
        self.now = self.now.plus(millis);
    }

    /// The JoinGroup that is due, the coordinator found first.
    fn joining(&mut self) -> JoinGroupRequest {
        if let Some(Duty::GiveUp { partitions, .. }) = self.member.duty() {
            self.member.gave_up(&partitions);
        }
        if matches!(self.next(), Step::Wait(Some(_))) {
            self.wait(2000);
        }
        if matches!(self.next(), Step::Find(_)) {
            self.member.contact.found(COORDINATOR, self.now);
        }
        match self.next() {
            Step::Join(_, request) => *request,
            other => panic!("{other:?} instead of a join"),
        }
    }

    /// A follower in this generation.
    fn joined(&mut self, generation: i32) {
        self.joining();
        let assignor = self.member.protocol.assignors[0].name();
        let response = JoinGroupResponse::default()
            .with_generation_id(generation)
            .with_protocol_type(Some(StrBytes::from_static_str("consumer")))
            .with_protocol_name(Some(StrBytes::from_static_str(assignor)))
            .with_leader(text("other"))
            .with_member_id(text("me"));
        self.member.answered(self.life(), Answer::Join(&response), self.now, RANDOM);
    }

    fn synced(&mut self, indexes: &[i32]) {
        assert!(matches!(self.next(), Step::Sync(..)), "{:?}", self.member.state);
        let assignment = consumer_protocol::encode_assignment(&partitions(indexes));
        let response = SyncGroupResponse::default().with_assignment(assignment);
        self.member.answered(self.life(), Answer::Sync(&response), self.now, RANDOM);
    }

    /// A member in this generation that reads these partitions.
    fn stable(&mut self, generation: i32, indexes: &[i32]) {
        self.joined(generation);
        self.synced(indexes);
        self.member.adopted(self.life(), &partitions(indexes));
        assert_eq!(*self.member.owned(), partitions(indexes));
    }

    fn join_refused(&mut self, code: ErrorCode) {
        self.joining();
        let response = JoinGroupResponse::default().with_error_code(code.code()).with_member_id(text("given"));
        self.member.answered(self.life(), Answer::Join(&response), self.now, RANDOM);
    }

    fn sync_refused(&mut self, code: ErrorCode) {
        assert!(matches!(self.next(), Step::Sync(..)));
        let response = SyncGroupResponse::default().with_error_code(code.code());
        self.member.answered(self.life(), Answer::Sync(&response), self.now, RANDOM);
    }

    fn heard(&mut self, code: ErrorCode) {
        self.wait(3000);
        assert!(matches!(self.next(), Step::Heartbeat(..)));
        let response = HeartbeatResponse::default().with_error_code(code.code());
        self.member.answered(self.life(), Answer::Heartbeat(&response), self.now, RANDOM);
    }
}

fn give_up(indexes: &[i32], is_lost: bool) -> Option<Duty> {
    Some(Duty::GiveUp { partitions: partitions(indexes), is_lost })
}

fn subscription(request: &JoinGroupRequest) -> Subscription {
    consumer_protocol::decode_subscription(&request.protocols[0].metadata).expect("our own is sound")
}

#[test]
fn nobody_joins_before_the_first_poll() {
    let mut bench = Bench::eager();
    assert_eq!(bench.next(), Step::Wait(None));
    assert_eq!(bench.member.duty(), give_up(&[], true));
    bench.member.gave_up(&partitions(&[]));
    assert!(matches!(bench.next(), Step::Find(_)));
}

#[test]
fn a_new_member_joins_in_two_steps() {
    let mut bench = Bench::eager();
    bench.join_refused(ErrorCode::MemberIdRequired);
    let second = bench.joining();
    assert_eq!(
        (second.member_id.as_str(), second.session_timeout_ms, second.rebalance_timeout_ms),
        ("given", 45_000, 300_000)
    );
}

#[test]
fn a_follower_adopts_what_it_is_given_and_sends_heartbeats() {
    let mut bench = Bench::eager();
    bench.joined(5);
    bench.synced(&[0, 1]);
    let life = bench.life();
    let adopt =
        Duty::Adopt { life, assigned: partitions(&[0, 1]), added: partitions(&[0, 1]), revoked: partitions(&[]) };
    assert_eq!(bench.member.duty(), Some(adopt));
    bench.member.adopted(bench.life(), &partitions(&[0, 1]));
    assert_eq!(bench.member.duty(), None);
    assert_eq!(bench.next(), Step::Wait(Some(bench.now.plus(3000))));
    bench.heard(ErrorCode::None);
    assert_eq!(bench.member.metadata().generation, Generation(5));
}

#[test]
fn a_leader_shares_what_all_members_want() {
    let mut bench = Bench::eager();
    bench.joining();
    let member = |id: &str, topics: &[&str]| {
        let topics = topics.iter().map(|topic| Arc::from(*topic)).collect();
        let said = Subscription { topics, ..Subscription::default() };
        JoinGroupResponseMember::default()
            .with_member_id(text(id))
            .with_metadata(consumer_protocol::encode_subscription(&said))
    };
    let response = JoinGroupResponse::default()
        .with_generation_id(1)
        .with_protocol_name(Some(StrBytes::from_static_str("range")))
        .with_leader(text("me"))
        .with_member_id(text("me"))
        .with_members(vec![member("me", &["t"]), member("other", &["t", "u"])]);
    bench.member.answered(bench.life(), Answer::Join(&response), bench.now, RANDOM);
    assert_eq!(bench.next(), Step::Count(bench.life(), topics(&["t", "u"])));
    let counts = PartitionCounts::from([(Arc::from("t"), 2)]);
    bench.member.answered(bench.life(), Answer::Count(&counts), bench.now, RANDOM);
    let Step::Sync(_, request) = bench.next() else { panic!("{:?}", bench.member.state) };
    let shared: Vec<_> = request
        .assignments
        .iter()
        .map(|assigned| {
            let partitions = consumer_protocol::decode_assignment(&assigned.assignment).expect("our own is sound");
            (assigned.member_id.to_string(), partitions)
        })
        .collect();
    assert_eq!(shared, [("me".to_owned(), partitions(&[0])), ("other".to_owned(), partitions(&[1]))]);
    bench.synced(&[0]);
    bench.member.adopted(bench.life(), &partitions(&[0]));
    let mut seen = Seen { wanted: topics(&["t"]), counts, ..Seen::default() };
    bench.member.look_at(&seen);
    assert_eq!(bench.member.duty(), None, "nothing has changed");
    seen.counts.insert(Arc::from("u"), 3);
    bench.member.look_at(&seen);
    assert_eq!(bench.member.duty(), give_up(&[0], false), "another member's topic has appeared");
}

#[test]
fn an_eager_member_gives_up_all_before_it_joins_again() {
    let mut bench = Bench::eager();
    bench.stable(1, &[0, 1]);
    bench.heard(ErrorCode::RebalanceInProgress);
    assert_eq!(bench.member.duty(), give_up(&[0, 1], false));
    assert!(bench.member.is_stable(), "it may commit until it has given up");
    bench.member.gave_up(&partitions(&[0, 1]));
    let request = bench.joining();
    assert_eq!((subscription(&request).owned, request.member_id.as_str()), (partitions(&[]), "me"));
}

#[test]
fn a_cooperative_member_gives_up_what_goes_and_joins_once_more() {
    let mut bench = Bench::cooperative();
    bench.stable(1, &[0, 1]);
    bench.heard(ErrorCode::RebalanceInProgress);
    assert_eq!(bench.member.duty(), give_up(&[], false));
    bench.member.gave_up(&partitions(&[]));
    let said = subscription(&bench.joining());
    assert_eq!((said.owned, said.generation), (partitions(&[0, 1]), Some(Generation(1))));
    bench.joined(2);
    bench.synced(&[1]);
    let life = bench.life();
    let adopt = Duty::Adopt { life, assigned: partitions(&[1]), added: partitions(&[]), revoked: partitions(&[0]) };
    assert_eq!(bench.member.duty(), Some(adopt));
    bench.member.adopted(bench.life(), &partitions(&[1]));
    assert_eq!(bench.member.duty(), give_up(&[], false), "so that others may have what was given up");
    bench.stable(3, &[1]);
    assert_eq!(bench.member.duty(), None);
}

#[test]
fn a_cooperative_member_gives_up_a_topic_that_it_wants_no_more() {
    let mut bench = Bench::cooperative();
    bench.stable(1, &[0]);
    bench.member.subscribe(Interest::Topics(topics(&["u"])), bench.now);
    assert_eq!(bench.member.duty(), give_up(&[0], false));
}

#[test]
fn a_member_that_is_not_known_any_more_has_lost_its_partitions() {
    for code in [ErrorCode::UnknownMemberId, ErrorCode::IllegalGeneration] {
        let mut bench = Bench::cooperative();
        bench.stable(1, &[0]);
        bench.heard(code);
        assert_eq!(bench.member.duty(), give_up(&[0], true), "{code}");
        assert_eq!(bench.next(), Step::Wait(None), "{code}");
        bench.member.gave_up(&partitions(&[0]));
        let keeps_id = code == ErrorCode::IllegalGeneration;
        let request = bench.joining();
        assert_eq!(request.member_id.as_str(), if keeps_id { "me" } else { "" }, "{code}");
        assert_eq!(subscription(&request).generation, None);
    }
}

#[test]
fn a_rebalance_during_a_sync_begins_it_anew_with_what_is_owned() {
    let mut bench = Bench::cooperative();
    bench.stable(1, &[0]);
    bench.heard(ErrorCode::RebalanceInProgress);
    bench.joined(2);
    bench.sync_refused(ErrorCode::RebalanceInProgress);
    assert!(matches!(bench.next(), Step::Wait(Some(_))), "after a while");
    let request = bench.joining();
    assert_eq!((subscription(&request).owned, request.member_id.as_str()), (partitions(&[0]), "me"));
}

#[test]
fn another_coordinator_is_looked_for_and_the_member_stays_one() {
    for code in [ErrorCode::NotCoordinator, ErrorCode::CoordinatorNotAvailable] {
        let mut bench = Bench::eager();
        bench.stable(1, &[0]);
        bench.heard(code);
        bench.wait(2000);
        assert!(matches!(bench.next(), Step::Find(_)), "{code}");
        bench.member.contact.found(BrokerId(2), bench.now);
        bench.heard(ErrorCode::None);
        assert_eq!((bench.member.duty(), bench.member.owned()), (None, &partitions(&[0])));
    }
}

#[test]
fn a_coordinator_that_loads_is_asked_again() {
    let mut bench = Bench::eager();
    bench.join_refused(ErrorCode::CoordinatorLoadInProgress);
    assert_eq!(bench.next(), Step::Wait(Some(bench.now.plus(100))));
    bench.wait(100);
    assert!(matches!(bench.next(), Step::Join(..)), "the same coordinator");
}

#[test]
fn a_connection_that_breaks_during_a_join_is_as_another_coordinator() {
    let mut bench = Bench::eager();
    bench.joining();
    bench.member.unanswered(bench.life(), bench.now, RANDOM);
    bench.wait(100);
    assert!(matches!(bench.next(), Step::Find(_)));
}

#[test]
fn a_fenced_member_stays_fenced_until_it_subscribes_anew() {
    let mut bench = Bench::new(&[Assignor::Range], Some("i"));
    bench.stable(1, &[0]);
    bench.heard(ErrorCode::FencedInstanceId);
    assert_eq!(bench.member.duty(), give_up(&[0], true));
    bench.member.gave_up(&partitions(&[0]));
    let fenced = GroupError::Fenced { instance_id: Arc::from("i") };
    assert_eq!([bench.member.failure(), bench.member.failure()], [Some(fenced.clone()), Some(fenced)]);
    assert_eq!(bench.next(), Step::Wait(None));
    bench.member.subscribe(Interest::Topics(topics(&["t"])), bench.now);
    assert_eq!(bench.member.failure(), None);
    bench.joining();
}

#[test]
fn a_refusal_is_said_once_and_the_next_poll_tries_again() {
    for code in [
        ErrorCode::GroupMaxSizeReached,
        ErrorCode::InconsistentGroupProtocol,
        ErrorCode::GroupAuthorizationFailed,
        ErrorCode::InvalidSessionTimeout,
        ErrorCode::InvalidGroupId,
    ] {
        let mut bench = Bench::eager();
        bench.join_refused(code);
        assert_eq!(bench.member.duty(), None);
        assert_eq!(bench.member.failure(), Some(GroupError::Refused { code, message: None }));
        assert_eq!(bench.member.failure(), None);
        bench.joining();
    }
}

#[test]
fn an_assignor_that_was_not_offered_is_refused() {
    let mut bench = Bench::eager();
    bench.joining();
    let response = JoinGroupResponse::default().with_protocol_name(Some(StrBytes::from_static_str("sticky")));
    bench.member.answered(bench.life(), Answer::Join(&response), bench.now, RANDOM);
    assert!(matches!(bench.member.failure(), Some(GroupError::NotConsumers(_))));
}

#[test]
fn whoever_is_not_polled_for_too_long_leaves_and_waits_for_a_poll() {
    let mut bench = Bench::eager();
    bench.stable(1, &[0]);
    bench.wait(3_000_000);
    assert!(!matches!(bench.next(), Step::Leave(_)), "a long poll is no absence");
    bench.member.contact.found(COORDINATOR, bench.now);
    bench.member.contact.poll_ended(bench.now);
    bench.wait(299_999);
    assert!(!matches!(bench.next(), Step::Leave(_)));
    bench.wait(1);
    let Step::Leave(Some(Goodbye::Classic(request))) = bench.next() else { panic!("it is to leave") };
    assert_eq!(request.members[0].member_id.as_str(), "me");
    assert_eq!(bench.next(), Step::Wait(None));
    assert_eq!(bench.member.duty(), give_up(&[0], true));
}

#[test]
fn a_static_member_does_not_say_goodbye() {
    let mut bench = Bench::new(&[Assignor::Range], Some("i"));
    bench.stable(1, &[0]);
    assert_eq!(bench.member.leave("closed"), None);
    let mut bench = Bench::eager();
    bench.stable(1, &[0]);
    assert!(bench.member.leave("closed").is_some());
    assert_eq!(bench.member.leave("closed"), None, "once");
    assert!(bench.member.owned().is_empty() && !bench.member.is_subscribed());
}

#[test]
fn answers_of_an_earlier_life_change_nothing() {
    let mut bench = Bench::eager();
    bench.joining();
    let earlier = bench.life();
    bench.member.leave("closed");
    bench.member.subscribe(Interest::Topics(topics(&["t"])), bench.now);
    let before = bench.member.state.clone();
    let refused = JoinGroupResponse::default().with_error_code(ErrorCode::GroupMaxSizeReached.code());
    bench.member.answered(earlier, Answer::Join(&refused), bench.now, RANDOM);
    bench.member.unanswered(earlier, bench.now, RANDOM);
    assert_eq!(bench.member.state, before);
}

#[test]
fn what_a_poller_adopts_too_late_is_lost() {
    let mut bench = Bench::eager();
    bench.joined(1);
    bench.synced(&[0]);
    let life = bench.life();
    bench.heard(ErrorCode::UnknownMemberId);
    bench.member.adopted(life, &partitions(&[0]));
    assert_eq!(bench.member.duty(), give_up(&[0], true));
}

#[test]
fn what_a_poller_adopts_too_late_is_lost_even_if_it_was_given_again() {
    let mut bench = Bench::eager();
    bench.joined(1);
    bench.synced(&[0]);
    let earlier = bench.life();
    bench.heard(ErrorCode::UnknownMemberId);
    bench.joined(2);
    bench.synced(&[0]);
    bench.member.adopted(earlier, &partitions(&[0]));
    assert_eq!(bench.member.duty(), give_up(&[0], true));
}

#[test]
fn a_commit_that_meets_a_rebalance_has_the_member_join_again() {
    let mut bench = Bench::eager();
    bench.stable(1, &[0]);
    let sent_as = bench.member.metadata();
    bench.member.commit_refused(&sent_as, ErrorCode::TopicAuthorizationFailed, bench.now, RANDOM);
    assert_eq!(bench.member.duty(), None);
    bench.member.commit_refused(&sent_as, ErrorCode::RebalanceInProgress, bench.now, RANDOM);
    assert_eq!(bench.member.duty(), give_up(&[0], false));
    bench.stable(2, &[0]);
    bench.member.commit_refused(&sent_as, ErrorCode::IllegalGeneration, bench.now, RANDOM);
    assert_eq!(bench.member.duty(), None, "that was the generation before");
}

#[test]
fn a_session_without_answers_looks_for_another_coordinator() {
    let mut bench = Bench::eager();
    bench.stable(1, &[0]);
    bench.wait(45_001);
    assert!(matches!(bench.next(), Step::Find(_)));
}

#[test]
fn what_a_member_sends_fits_every_version() {
    fn check<R: Request>(request: &R) {
        for version in R::VERSIONS.min..=R::VERSIONS.max {
            encode_request(0, None, version, request).unwrap_or_else(|error| panic!("{} {version}: {error}", R::KEY));
        }
    }
    let mut bench = Bench::cooperative();
    check(&bench.joining());
    bench.joined(1);
    let Step::Sync(_, request) = bench.next() else { panic!("it is to sync") };
    check(&*request);
    bench.synced(&[0]);
    bench.wait(3000);
    let Step::Heartbeat(_, request) = bench.next() else { panic!("a heartbeat is due") };
    check(&*request);
}
