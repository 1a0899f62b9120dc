//! The machine of a membership by KIP-848 alone.

use super::*;
use crate::consumer::membership::options::{GroupOptions, GroupProtocol};
use crate::retry::Backoff;
use protocol::frame::encode_request;
use protocol::ids::BrokerId;
use protocol::messages::consumer_group_heartbeat_response::{self as wire, Assignment as WireAssignment};
use protocol::messages::{ConsumerGroupHeartbeatResponse, Message};

const COORDINATOR: BrokerId = BrokerId(1);
const RANDOM: u64 = 200;
const INTERVAL: u64 = 5000;

fn t() -> TopicId {
    TopicId(uuid::Uuid::from_u128(1))
}

fn u() -> TopicId {
    TopicId(uuid::Uuid::from_u128(2))
}

fn partitions(indexes: &[i32]) -> BTreeSet<PartitionName> {
    indexes.iter().map(|index| PartitionName::new("t", PartitionIndex(*index))).collect()
}

fn topics(names: &[&str]) -> BTreeSet<Arc<str>> {
    names.iter().map(|name| Arc::from(*name)).collect()
}

fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// The topics by id, with their partitions.
fn assignment(topics: &[(TopicId, &[i32])]) -> WireAssignment {
    let topic = |(topic_id, partitions): &(TopicId, &[i32])| {
        wire::TopicPartitions::default().with_topic_id(topic_id.0).with_partitions(partitions.to_vec())
    };
    WireAssignment::default().with_topic_partitions(topics.iter().map(topic).collect())
}

/// A member with its clock. It is in a poll unless a test ends that.
struct Bench {
    member: Reconciling,
    now: MonotonicMillis,
}

impl Bench {
    fn new(instance_id: Option<&str>) -> Self {
        let protocol = ConsumerProtocol { remote_assignor: Some(Arc::from("range")) };
        let options = GroupOptions {
            instance_id: instance_id.map(Arc::from),
            rack: Some(Arc::from("r1")),
            protocol: GroupProtocol::Consumer(protocol.clone()),
            ..GroupOptions::new("g")
        };
        let contact = Contact::new(options, Backoff::new(Duration::from_millis(100), Duration::from_secs(1)));
        let mut member = Reconciling::new(contact, protocol, MemberId::from("me"));
        let now = MonotonicMillis(1000);
        member.subscribe(Interest::Topics(topics(&["t"])), now);
        member.contact.poll_began();
        let mut bench = Self { member, now };
        bench.look(&["t"], &[]);
        bench
    }

    /// A member in this epoch that reads these partitions, and has said so.
    fn reading(instance_id: Option<&str>, member_epoch: i32, indexes: &[i32]) -> Self {
        let mut bench = Self::new(instance_id);
        bench.joining();
        bench.told(member_epoch, Some(&[(t(), indexes)]));
        bench.look(&["t"], &[(t(), "t")]);
        bench.adopt();
        bench.wait(INTERVAL);
        bench.beat();
        bench.told(member_epoch, None);
        assert_eq!(*bench.member.owned(), partitions(indexes));
        bench
    }

    fn look(&mut self, wanted: &[&str], names: &[(TopicId, &str)]) {
        let names = names.iter().map(|(topic_id, name)| (*topic_id, Arc::from(*name))).collect();
        self.member.look_at(&Seen { wanted: topics(wanted), names, ..Seen::default() });
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

    /// The heartbeat that is due now, the coordinator found first.
    fn beat(&mut self) -> ConsumerGroupHeartbeatRequest {
        let step = match self.next() {
            Step::Find(_) => {
                self.member.contact.found(COORDINATOR, self.now);
                self.next()
            }
            other => other,
        };
        match step {
            Step::ConsumerGroupHeartbeat(life, request) => {
                assert_eq!(life, self.life());
                *request
            }
            other => panic!("{other:?} instead of a heartbeat"),
        }
    }

    /// The heartbeat that joins, what is lost given up first.
    fn joining(&mut self) -> ConsumerGroupHeartbeatRequest {
        if let Some(Duty::GiveUp { partitions, .. }) = self.member.duty() {
            self.member.gave_up(&partitions);
        }
        let request = self.beat();
        assert_eq!(request.member_epoch, 0);
        request
    }

    fn hand_in(&mut self, response: &ConsumerGroupHeartbeatResponse) {
        self.member.answered(self.life(), Answer::ConsumerGroupHeartbeat(response), self.now, RANDOM);
    }

    fn told(&mut self, member_epoch: i32, assigned: Option<&[(TopicId, &[i32])]>) {
        let response = ConsumerGroupHeartbeatResponse::default()
            .with_member_id(Some(text("me")))
            .with_member_epoch(member_epoch)
            .with_heartbeat_interval_ms(INTERVAL as i32)
            .with_assignment(assigned.map(assignment));
        self.hand_in(&response);
    }

    fn refused(&mut self, code: ErrorCode) {
        let response = ConsumerGroupHeartbeatResponse::default()
            .with_error_code(code.code())
            .with_error_message(Some(StrBytes::from_static_str("because")));
        self.hand_in(&response);
    }

    /// The next heartbeat is refused.
    fn beat_refused(&mut self, code: ErrorCode) {
        self.wait(INTERVAL);
        self.beat();
        self.refused(code);
    }

    fn adopt(&mut self) {
        let Some(Duty::Adopt { life, assigned, .. }) = self.member.duty() else { panic!("nothing to adopt") };
        self.member.adopted(life, &assigned);
    }
}

fn give_up(indexes: &[i32]) -> Option<Duty> {
    Some(Duty::GiveUp { partitions: partitions(indexes), is_lost: true })
}

/// What a heartbeat says of owned partitions.
fn owned(request: &ConsumerGroupHeartbeatRequest) -> Option<Vec<(TopicId, Vec<i32>)>> {
    let topics = request.topic_partitions.as_ref()?;
    Some(topics.iter().map(|topic| (TopicId(topic.topic_id), topic.partitions.clone())).collect())
}

fn names(request: &ConsumerGroupHeartbeatRequest) -> Option<Vec<String>> {
    Some(request.subscribed_topic_names.as_ref()?.iter().map(|name| name.to_string()).collect())
}

fn is_minimal(request: &ConsumerGroupHeartbeatRequest) -> bool {
    names(request).is_none()
        && owned(request).is_none()
        && (request.rebalance_timeout_ms, &request.rack_id, &request.server_assignor) == (-1, &None, &None)
        && request.subscribed_topic_regex.is_none()
}

fn is_full(request: &ConsumerGroupHeartbeatRequest) -> bool {
    names(request).is_some()
        && owned(request).is_some()
        && request.rebalance_timeout_ms == 300_000
        && request.rack_id == Some(text("r1"))
        && request.server_assignor == Some(text("range"))
}

#[test]
fn nobody_joins_before_the_first_poll() {
    let mut bench = Bench::new(None);
    assert_eq!(bench.next(), Step::Wait(None));
    assert_eq!(bench.member.duty(), give_up(&[]));
    bench.member.gave_up(&partitions(&[]));
    assert!(matches!(bench.next(), Step::Find(_)));
}

#[test]
fn whoever_joins_says_everything_and_owns_nothing() {
    let mut bench = Bench::new(Some("i"));
    let request = bench.joining();
    assert!(is_full(&request), "{request:?}");
    assert_eq!((request.group_id.as_str(), request.member_id.as_str()), ("g", "me"));
    assert_eq!((names(&request), owned(&request)), (Some(strings(&["t"])), Some(Vec::new())));
    assert_eq!((request.subscribed_topic_regex, request.instance_id), (None, Some(text("i"))));
}

#[test]
fn a_member_adopts_what_it_is_told_says_so_at_once_and_nothing_more() {
    let mut bench = Bench::new(None);
    bench.joining();
    bench.told(3, Some(&[(t(), &[0, 1])]));
    bench.look(&["t"], &[(t(), "t")]);
    let life = bench.life();
    let adopt =
        Duty::Adopt { life, assigned: partitions(&[0, 1]), added: partitions(&[0, 1]), revoked: partitions(&[]) };
    assert_eq!(bench.member.duty(), Some(adopt));
    assert_eq!(bench.next(), Step::Wait(Some(bench.now.plus(INTERVAL))), "heartbeats go on, but say nothing of it yet");
    bench.adopt();
    let request = bench.beat();
    assert_eq!((owned(&request), request.member_epoch), (Some(vec![(t(), vec![0, 1])]), 3));
    assert_eq!(names(&request), None, "it has not changed");
    bench.told(3, None);
    assert_eq!((bench.member.duty(), bench.next()), (None, Step::Wait(Some(bench.now.plus(INTERVAL)))));
    bench.wait(INTERVAL);
    let request = bench.beat();
    assert!(is_minimal(&request), "{request:?}");
}

#[test]
fn an_empty_assignment_is_told_to_the_user_and_needs_no_heartbeat() {
    let mut bench = Bench::new(None);
    bench.joining();
    bench.told(1, Some(&[]));
    let (life, nothing) = (bench.life(), partitions(&[]));
    let adopt = Duty::Adopt { life, assigned: nothing.clone(), added: nothing.clone(), revoked: nothing };
    assert_eq!(bench.member.duty(), Some(adopt));
    bench.adopt();
    assert_eq!((bench.member.duty(), bench.next()), (None, Step::Wait(Some(bench.now.plus(INTERVAL)))));
}

#[test]
fn what_is_revoked_is_given_up_before_the_coordinator_hears_of_it() {
    let mut bench = Bench::reading(None, 3, &[0, 1]);
    bench.wait(INTERVAL);
    bench.beat();
    bench.told(3, Some(&[(t(), &[1])]));
    let life = bench.life();
    let adopt = Duty::Adopt { life, assigned: partitions(&[1]), added: partitions(&[]), revoked: partitions(&[0]) };
    assert_eq!(bench.member.duty(), Some(adopt));
    bench.wait(INTERVAL);
    assert!(is_minimal(&bench.beat()), "the poller is at it");
    bench.told(3, None);
    bench.adopt();
    let request = bench.beat();
    assert_eq!((owned(&request), request.member_epoch), (Some(vec![(t(), vec![1])]), 3));
    bench.told(4, Some(&[(t(), &[1, 2])]));
    bench.adopt();
    assert_eq!((bench.beat().member_epoch, bench.member.owned()), (4, &partitions(&[1, 2])));
}

#[test]
fn what_is_told_while_the_poller_is_at_it_is_the_next_duty() {
    let mut bench = Bench::reading(None, 3, &[0, 1]);
    bench.wait(INTERVAL);
    bench.beat();
    bench.told(3, Some(&[(t(), &[1])]));
    let Some(Duty::Adopt { life, assigned, .. }) = bench.member.duty() else { panic!("nothing to adopt") };
    bench.wait(INTERVAL);
    bench.beat();
    bench.told(3, Some(&[(t(), &[2])]));
    bench.member.adopted(life, &assigned);
    assert_eq!(owned(&bench.beat()), Some(vec![(t(), vec![1])]), "what it has, not what it is to have");
    let adopt = Duty::Adopt { life, assigned: partitions(&[2]), added: partitions(&[2]), revoked: partitions(&[1]) };
    assert_eq!(bench.member.duty(), Some(adopt));
}

#[test]
fn a_topic_that_is_not_known_by_name_waits_for_it() {
    let mut bench = Bench::new(None);
    bench.joining();
    bench.told(1, Some(&[(t(), &[0]), (u(), &[7])]));
    assert_eq!(bench.member.unnamed(), BTreeSet::from([t(), u()]));
    assert_eq!(bench.member.duty(), None, "nobody has looked what they are called");
    bench.look(&["t"], &[(t(), "t")]);
    bench.adopt();
    assert_eq!(*bench.member.owned(), partitions(&[0]));
    assert_eq!(owned(&bench.beat()), Some(vec![(t(), vec![0])]));
    bench.told(1, None);
    assert_eq!((bench.member.duty(), bench.member.unnamed()), (None, BTreeSet::from([u()])));
    bench.look(&["t"], &[(u(), "u")]);
    bench.adopt();
    let both = BTreeSet::from([PartitionName::new("t", PartitionIndex(0)), PartitionName::new("u", PartitionIndex(7))]);
    assert_eq!(*bench.member.owned(), both);
    assert_eq!(owned(&bench.beat()), Some(vec![(t(), vec![0]), (u(), vec![7])]));
}

#[test]
fn a_topic_that_is_not_to_be_read_any_more_keeps_its_name_until_it_is_given_up() {
    let mut bench = Bench::reading(None, 1, &[0]);
    bench.wait(INTERVAL);
    bench.beat();
    bench.told(1, Some(&[]));
    bench.wait(INTERVAL);
    bench.beat();
    bench.told(1, Some(&[(t(), &[0, 1])]));
    assert_eq!(bench.member.unnamed(), BTreeSet::new());
}

#[test]
fn whoever_is_fenced_has_lost_its_partitions_and_joins_anew_under_its_id() {
    for code in [ErrorCode::UnknownMemberId, ErrorCode::FencedMemberEpoch, ErrorCode::GroupIdNotFound] {
        let mut bench = Bench::reading(None, 3, &[0]);
        bench.beat_refused(code);
        assert_eq!(bench.member.duty(), give_up(&[0]), "{code}");
        assert_eq!(bench.next(), Step::Wait(None), "{code}");
        assert_eq!(bench.member.metadata().generation, Generation::NONE);
        bench.member.gave_up(&partitions(&[]));
        assert_eq!(bench.next(), Step::Wait(None), "{code}: it still reads what it has lost");
        bench.member.gave_up(&partitions(&[0]));
        let request = bench.beat();
        assert!(is_full(&request), "{code}: {request:?}");
        assert_eq!((request.member_epoch, request.member_id.as_str()), (0, "me"));
        assert_eq!(owned(&request), Some(Vec::new()));
        bench.told(5, Some(&[(t(), &[0])]));
        assert_eq!(bench.member.unnamed(), BTreeSet::from([t()]), "the metadata may be other by now");
        assert_eq!(bench.member.metadata().generation, Generation(5));
    }
}

#[test]
fn what_a_member_was_to_read_in_an_earlier_life_is_forgotten() {
    let mut bench = Bench::reading(None, 3, &[0]);
    bench.beat_refused(ErrorCode::UnknownMemberId);
    bench.joining();
    bench.told(5, None);
    bench.look(&["t"], &[(t(), "t")]);
    assert_eq!((bench.member.duty(), bench.member.unnamed()), (None, BTreeSet::new()));
}

#[test]
fn whoever_is_fenced_while_it_joins_joins_again_after_a_while() {
    let mut bench = Bench::new(None);
    bench.joining();
    bench.refused(ErrorCode::FencedMemberEpoch);
    assert_eq!(bench.next(), Step::Wait(Some(bench.now.plus(100))));
    bench.wait(100);
    assert_eq!(bench.beat().member_epoch, 0);
}

#[test]
fn what_a_poller_adopts_too_late_is_lost() {
    let mut bench = Bench::new(None);
    bench.joining();
    bench.told(1, Some(&[(t(), &[0])]));
    bench.look(&["t"], &[(t(), "t")]);
    let Some(Duty::Adopt { life, assigned, .. }) = bench.member.duty() else { panic!("nothing to adopt") };
    bench.beat_refused(ErrorCode::UnknownMemberId);
    bench.beat();
    bench.told(2, Some(&[(t(), &[0])]));
    bench.member.adopted(life, &assigned);
    assert_eq!(bench.member.duty(), give_up(&[0]), "though it has been given the same again");
    assert_eq!(bench.joining().member_epoch, 0);
}

#[test]
fn after_an_error_everything_is_said_again() {
    for code in [ErrorCode::NotCoordinator, ErrorCode::CoordinatorNotAvailable] {
        let mut bench = Bench::reading(None, 3, &[0]);
        bench.beat_refused(code);
        assert_eq!(bench.next(), Step::Wait(Some(bench.now.plus(100))), "{code}");
        bench.wait(100);
        assert!(matches!(bench.next(), Step::Find(_)), "{code}");
        bench.member.contact.found(BrokerId(2), bench.now);
        let request = bench.beat();
        assert!(is_full(&request), "{code}: {request:?}");
        assert_eq!((request.member_epoch, owned(&request)), (3, Some(vec![(t(), vec![0])])));
        assert_eq!((bench.member.duty(), bench.member.owned()), (None, &partitions(&[0])), "it stays a member");
    }
}

#[test]
fn a_coordinator_that_loads_is_asked_again() {
    let mut bench = Bench::reading(None, 3, &[0]);
    bench.beat_refused(ErrorCode::CoordinatorLoadInProgress);
    assert_eq!(bench.next(), Step::Wait(Some(bench.now.plus(100))));
    bench.wait(100);
    assert!(is_full(&bench.beat()), "the same coordinator");
}

#[test]
fn a_connection_that_breaks_is_as_another_coordinator() {
    let mut bench = Bench::reading(None, 3, &[0]);
    bench.wait(INTERVAL);
    bench.beat();
    bench.member.unanswered(bench.life(), bench.now, RANDOM);
    bench.wait(100);
    assert!(matches!(bench.next(), Step::Find(_)));
    bench.member.contact.found(COORDINATOR, bench.now);
    assert!(is_full(&bench.beat()));
}

#[test]
fn a_fenced_instance_stays_fenced_until_it_subscribes_anew() {
    let mut bench = Bench::reading(Some("i"), 1, &[0]);
    bench.beat_refused(ErrorCode::FencedInstanceId);
    assert_eq!(bench.member.duty(), give_up(&[0]));
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
        ErrorCode::UnreleasedInstanceId,
        ErrorCode::GroupMaxSizeReached,
        ErrorCode::UnsupportedAssignor,
        ErrorCode::InvalidRegularExpression,
        ErrorCode::InvalidRequest,
        ErrorCode::GroupAuthorizationFailed,
        // A classic group of that name has members.
        ErrorCode::GroupIdNotFound,
    ] {
        let mut bench = Bench::new(Some("i"));
        bench.joining();
        bench.refused(code);
        assert_eq!((bench.member.duty(), bench.next()), (None, Step::Wait(None)), "{code}");
        let refused = GroupError::Refused { code, message: Some("because".to_owned()) };
        assert_eq!((bench.member.failure(), bench.member.failure()), (Some(refused), None), "{code}");
        bench.joining();
    }
}

#[test]
fn a_cluster_without_the_protocol_is_called_so() {
    let mut bench = Bench::new(None);
    bench.joining();
    bench.member.refused(bench.life(), ErrorCode::UnsupportedVersion, Some("b1 does not serve it".to_owned()));
    let told = bench.member.failure().expect("it has failed").to_string();
    let expected = "the cluster does not serve this by group.protocol=consumer; take classic until it is upgraded: \
                    b1 does not serve it";
    assert_eq!(told, expected);
}

#[test]
fn a_subscription_that_changes_is_said_at_once_and_alone() {
    let mut bench = Bench::reading(None, 1, &[0]);
    bench.member.subscribe(Interest::Topics(topics(&["t", "u"])), bench.now);
    let request = bench.beat();
    assert_eq!((names(&request), owned(&request)), (Some(strings(&["t", "u"])), None));
    assert_eq!((request.member_epoch, request.rebalance_timeout_ms), (1, -1));
    bench.told(1, None);
    bench.look(&["t", "v"], &[]);
    assert_eq!(names(&bench.beat()), Some(strings(&["t", "v"])), "other topics match");
}

#[test]
fn a_pattern_is_sent_and_taken_back() {
    let mut bench = Bench::reading(None, 1, &[0]);
    bench.member.subscribe(Interest::Pattern(Arc::from("t.*")), bench.now);
    let request = bench.beat();
    assert_eq!((names(&request), request.subscribed_topic_regex), (Some(Vec::new()), Some(text("t.*"))));
    bench.told(1, None);
    bench.look(&[], &[]);
    assert!(matches!(bench.next(), Step::Wait(_)), "it does not depend on what the client sees");
    bench.member.subscribe(Interest::Topics(topics(&["t"])), bench.now);
    let request = bench.beat();
    assert_eq!((names(&request), request.subscribed_topic_regex), (Some(strings(&["t"])), Some(text(""))));
    bench.member.unanswered(bench.life(), bench.now, RANDOM);
    bench.member.contact.found(COORDINATOR, bench.now);
    assert_eq!(bench.beat().subscribed_topic_regex, Some(text("")), "nobody knows whether that was heard");
}

#[test]
fn a_pattern_that_the_cluster_does_not_take_is_not_taken_back() {
    let mut bench = Bench::new(None);
    bench.member.subscribe(Interest::Pattern(Arc::from("t.*")), bench.now);
    bench.joining();
    bench.member.refused(bench.life(), ErrorCode::UnsupportedVersion, None);
    assert!(matches!(bench.member.failure(), Some(GroupError::Unsupported { .. })));
    bench.member.subscribe(Interest::Topics(topics(&["t"])), bench.now);
    assert_eq!(bench.joining().subscribed_topic_regex, None);
}

#[test]
fn whoever_is_not_polled_for_too_long_leaves_and_waits_for_a_poll() {
    for (instance_id, leaving) in [(None, -1), (Some("i"), -2)] {
        let mut bench = Bench::reading(instance_id, 1, &[]);
        bench.wait(3_000_000);
        assert!(is_minimal(&bench.beat()), "a long poll is no absence");
        bench.member.contact.poll_ended(bench.now);
        bench.wait(299_999);
        assert!(!matches!(bench.next(), Step::Leave(_)));
        bench.wait(1);
        let Step::Leave(Some(Goodbye::Consumer(request))) = bench.next() else { panic!("it is to leave") };
        assert_eq!((request.member_epoch, request.member_id.as_str()), (leaving, "me"));
        bench.member.contact.poll_began();
        assert_eq!((bench.next(), bench.member.duty()), (Step::Wait(None), give_up(&[])));
        bench.joining();
    }
}

#[test]
fn whoever_waits_is_awake_when_its_user_is_overdue() {
    let mut bench = Bench::reading(None, 1, &[]);
    bench.member.contact.poll_ended(bench.now);
    bench.wait(299_000);
    bench.beat();
    bench.told(1, None);
    assert_eq!(bench.next(), Step::Wait(Some(bench.now.plus(1000))));
}

#[test]
fn a_member_says_goodbye_and_a_static_one_that_it_will_be_back() {
    for (instance_id, leaving) in [(None, -1), (Some("i"), -2)] {
        let mut bench = Bench::reading(instance_id, 1, &[0]);
        let Some(Goodbye::Consumer(request)) = bench.member.leave("closed") else { panic!("it leaves") };
        assert_eq!((request.member_epoch, request.instance_id.as_deref()), (leaving, instance_id));
        assert_eq!(bench.member.leave("closed"), None, "once");
        assert!(bench.member.owned().is_empty() && !bench.member.is_subscribed());
        assert_eq!((bench.next(), bench.member.duty()), (Step::Wait(None), None));
    }
    let mut bench = Bench::new(None);
    bench.joining();
    assert!(bench.member.leave("closed").is_some(), "the coordinator may have heard the first heartbeat");
}

#[test]
fn answers_of_an_earlier_life_change_nothing() {
    let mut bench = Bench::new(None);
    bench.joining();
    let earlier = bench.life();
    bench.member.leave("closed");
    bench.member.subscribe(Interest::Topics(topics(&["t"])), bench.now);
    bench.member.gave_up(&partitions(&[]));
    let before = bench.member.state.clone();
    assert_eq!(before, State::Joining);
    let welcome = ConsumerGroupHeartbeatResponse::default().with_member_epoch(1);
    bench.member.answered(earlier, Answer::ConsumerGroupHeartbeat(&welcome), bench.now, RANDOM);
    bench.member.unanswered(earlier, bench.now, RANDOM);
    bench.member.refused(earlier, ErrorCode::UnsupportedVersion, None);
    assert_eq!((&bench.member.state, bench.member.contact.coordinator()), (&before, Some(COORDINATOR)));
}

#[test]
fn only_a_member_commits_and_asks_as_one() {
    let mut bench = Bench::new(None);
    bench.joining();
    assert_eq!((bench.member.is_stable(), bench.member.asks_as()), (false, None));
    assert!(!bench.member.is_joining(), "what it had before is nothing to commit later");
    bench.told(3, None);
    assert_eq!(bench.member.asks_as(), Some((MemberId::from("me"), MemberEpoch(3))));
    let metadata = bench.member.metadata();
    assert_eq!((metadata.generation, metadata.member_id), (Generation(3), MemberId::from("me")));
}

#[test]
fn a_heartbeat_interval_that_is_none_changes_nothing() {
    let mut bench = Bench::reading(None, 1, &[]);
    bench.wait(INTERVAL);
    bench.beat();
    bench.hand_in(&ConsumerGroupHeartbeatResponse::default().with_member_epoch(1));
    assert_eq!(bench.next(), Step::Wait(Some(bench.now.plus(INTERVAL))));
    assert_eq!(bench.member.heartbeat_patience(), Duration::from_millis(3 * INTERVAL));
}

#[test]
fn what_a_member_sends_fits_every_version() {
    let mut bench = Bench::new(Some("i"));
    let joining = bench.joining();
    bench.told(1, Some(&[(t(), &[0])]));
    bench.look(&["t"], &[(t(), "t")]);
    bench.adopt();
    let acknowledging = bench.beat();
    let Some(Goodbye::Consumer(leaving)) = bench.member.leave("closed") else { panic!("it leaves") };
    let versions = ConsumerGroupHeartbeatRequest::VERSIONS;
    for request in [joining, acknowledging, *leaving] {
        for version in versions.min..=versions.max {
            encode_request(0, None, version, &request).unwrap_or_else(|error| panic!("version {version}: {error}"));
        }
    }
}
