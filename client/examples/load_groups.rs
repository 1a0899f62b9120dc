//! Load for the group coordinator of one node: commits, members that come and go, and how soon it answers.
//!
//! Driven by `bench/groups`.
//!
//! ```text
//! load_groups commits HOST:PORT TOPIC GROUPS PARTITIONS COUNT RATE   COUNT commits of one partition each, RATE a second
//!                                                                    or, with 0, each once the one before is answered
//! load_groups members HOST:PORT TOPIC MEMBERS HEARTBEAT_MS           a classic group forms; one more comes, and leaves
//! load_groups answers HOST:PORT TOPIC GROUPS PARTITIONS COUNT        asks until each group says what it committed last
//! ```

use client::consumer::{
    ClassicProtocol, Consumer, ConsumerOptions, Generation, GroupProtocol, RebalanceListener, group::Told,
};
use client::{Assignor, Cluster, ClusterOptions, Connection, ConnectionOptions, GroupOptions, PartitionName};
use protocol::error_code::ErrorCode;
use protocol::messages::{
    FindCoordinatorRequest, GroupId, OffsetCommitRequest, OffsetFetchRequest, StrBytes,
    offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
    offset_fetch_request::OffsetFetchRequestGroup,
    topic_name,
};
use runtime::{
    sync::Lock,
    task::{self, block_on_real},
    time::{self, Instant},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    future::ready,
    str::FromStr,
    sync::Arc,
    time::Duration,
};

/// The versions that name topics, and that a group is asked for in a list.
const COMMIT_VERSION: i16 = 9;
const FETCH_VERSION: i16 = 9;
/// How long to wait before what a node was not ready for is tried again.
const AGAIN: Duration = Duration::from_millis(2);
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(120);

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["commits", address, topic, groups, partitions, count, rate] => {
            let load = Load::new(address, topic, groups, partitions, count);
            block_on_real(load.commit(number(rate)));
        }
        ["answers", address, topic, groups, partitions, count] => {
            block_on_real(Load::new(address, topic, groups, partitions, count).answered());
        }
        ["members", address, topic, members, heartbeat_ms] => {
            let heartbeat = Duration::from_millis(number(heartbeat_ms));
            block_on_real(rebalances(address, topic, number(members), heartbeat));
        }
        _ => panic!("see the head of this file: what is wanted is commits, members or answers"),
    }
}

fn number<T: FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("{text} is not a number that fits"))
}

/// What is committed: by how many groups, of how many partitions each, how often.
#[derive(Clone)]
struct Load {
    address: String,
    topic: String,
    groups: u64,
    partitions: u64,
    count: u64,
}

impl Load {
    fn new(address: &str, topic: &str, groups: &str, partitions: &str, count: &str) -> Self {
        let (address, topic) = (address.to_owned(), topic.to_owned());
        Self { address, topic, groups: number(groups), partitions: number(partitions), count: number(count) }
    }

    /// The groups commit side by side, each on its own connection, one commit after another. What should have been sent while
    /// the one before it was under way counts from when it should have been: nothing hides that a node falls behind.
    async fn commit(self, rate: u64) {
        let begin = time::now();
        let interval = (rate > 0).then(|| Duration::from_secs(self.groups).div_f64(rate as f64));
        let groups: Vec<_> =
            (0..self.groups).map(|group| task::spawn(self.clone().commit_one(group, begin, interval))).collect();
        let mut took = Vec::new();
        for group in groups {
            took.extend(group.await.expect("a group commits"));
        }
        let seconds = begin.elapsed().as_secs_f64();
        took.sort_unstable();
        let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
        println!(
            "{} commits in {seconds:.2} s, {:.0} a second; p50 {:.2} ms, p99 {:.2} ms, the longest {:.1} ms",
            took.len(),
            took.len() as f64 / seconds,
            at(0.5),
            at(0.99),
            at(1.0),
        );
    }

    async fn commit_one(self, group: u64, begin: Instant, interval: Option<Duration>) -> Vec<Duration> {
        let connection =
            Connection::connect(&self.address, ConnectionOptions::default()).await.expect("the node is there");
        // It is what creates `__consumer_offsets`.
        let find = FindCoordinatorRequest::default().with_coordinator_keys(vec![name_of(group).0]);
        connection.call(&find).await.expect("a node tells who coordinates");
        let mut took = Vec::new();
        for nth in 0..self.count / self.groups {
            let mut due = time::now();
            if let Some(interval) = interval {
                // Not all groups at once.
                due = begin + interval.mul_f64(nth as f64 + group as f64 / self.groups as f64);
                time::sleep_until(due).await;
            }
            let request = self.request(group, nth);
            loop {
                let answer = connection.call_at(COMMIT_VERSION, &request).await.expect("a commit is answered");
                match ErrorCode::from_wire(answer.topics[0].partitions[0].error_code) {
                    ErrorCode::None => break,
                    code => assert!(code.is_retriable(), "commit {nth} of group {group}: {code}"),
                }
                time::sleep(AGAIN).await;
            }
            took.push(due.elapsed());
        }
        took
    }

    /// The group's Nth commit: that it has come to N in one partition after another.
    fn request(&self, group: u64, nth: u64) -> OffsetCommitRequest {
        let partition = OffsetCommitRequestPartition::default()
            .with_partition_index(i32::try_from(nth % self.partitions).expect("so many partitions do not exist"))
            .with_committed_offset(i64::try_from(nth).expect("so many commits take too long"));
        let topic = topic_name(&self.topic);
        OffsetCommitRequest::default()
            .with_group_id(name_of(group))
            .with_generation_id_or_member_epoch(-1)
            .with_topics(vec![OffsetCommitRequestTopic::default().with_name(topic).with_partitions(vec![partition])])
    }

    /// Asks for all that the groups have committed, again and again until all of it is there.
    async fn answered(self) {
        let begin = time::now();
        let mut groups = (0..self.groups).collect::<BTreeSet<u64>>();
        while !groups.is_empty() {
            assert!(begin.elapsed() < PATIENCE, "{} groups have not answered", groups.len());
            if let Ok(connection) = Connection::connect(&self.address, ConnectionOptions::default()).await {
                for group in groups.clone() {
                    if self.is_answered(&connection, group).await {
                        groups.remove(&group);
                    }
                }
            }
            time::sleep(AGAIN).await;
        }
        println!("{} keys of {} groups are as they were committed last", self.groups * self.partitions, self.groups);
    }

    async fn is_answered(&self, connection: &Connection, group: u64) -> bool {
        let asked = OffsetFetchRequestGroup::default().with_group_id(name_of(group)).with_topics(None);
        let request = OffsetFetchRequest::default().with_groups(vec![asked]);
        let Ok(response) = connection.call_at(FETCH_VERSION, &request).await else { return false };
        let told = &response.groups[0];
        if told.error_code != 0 {
            return false;
        }
        let commits = self.count / self.groups;
        let partitions: Vec<_> = told.topics.iter().flat_map(|topic| &topic.partitions).collect();
        assert!(partitions.len() as u64 == self.partitions, "group {group} knows {} partitions", partitions.len());
        for partition in partitions {
            let (index, offset) = (i64::from(partition.partition_index), partition.committed_offset);
            let last = commits as i64 - self.partitions as i64..commits as i64;
            let is_its_own = (offset - index) % self.partitions as i64 == 0;
            assert!(last.contains(&offset) && is_its_own, "group {group} stands at {offset} of partition {index}");
        }
        true
    }
}

fn name_of(group: u64) -> GroupId {
    GroupId(StrBytes::from_string(format!("group-{group}")))
}

/// In which generation each member has got its partitions, and when.
type Board = Arc<Lock<BTreeMap<usize, (Generation, Instant, BTreeSet<PartitionName>)>>>;

/// Writes on the board what its member is assigned.
struct Assigned {
    member: usize,
    board: Board,
}

impl RebalanceListener for Assigned {
    fn assigned<'a>(&'a self, consumer: &'a Consumer, partitions: &'a BTreeSet<PartitionName>) -> Told<'a> {
        let generation = consumer.group_metadata().expect("it has a group").generation;
        self.board.lock().insert(self.member, (generation, time::now(), partitions.clone()));
        Box::pin(ready(()))
    }
}

/// A group with as many members as the topic has partitions: how long it takes until all are in one generation.
async fn rebalances(address: &str, topic: &str, count: usize, heartbeat: Duration) {
    let board: Board = Arc::new(Lock::new(10, BTreeMap::new()));
    let member = |member| Member::start(address, topic, heartbeat, member, &board);
    let begin = time::now();
    let mut members: Vec<Member> = (0..count).map(member).collect();
    settled(&format!("{count} members come"), begin, &board, count).await;

    let begin = time::now();
    members.push(member(count));
    settled("one more comes", begin, &board, count + 1).await;

    let begin = time::now();
    members.pop().expect("it has just come").leave().await;
    board.lock().remove(&count);
    settled("it leaves", begin, &board, count).await;
}

/// One consumer, with connections of its own, that polls until it leaves.
struct Member {
    consumer: Arc<Consumer>,
    polling: task::JoinHandle<()>,
}

impl Member {
    fn start(address: &str, topic: &str, heartbeat: Duration, member: usize, board: &Board) -> Self {
        let group = GroupOptions {
            protocol: GroupProtocol::Classic(ClassicProtocol {
                heartbeat_interval: heartbeat,
                assignors: vec![Assignor::Range],
                ..ClassicProtocol::default()
            }),
            ..GroupOptions::new("many")
        };
        let options = ConsumerOptions { group: Some(group), ..ConsumerOptions::default() };
        let consumer = Arc::new(Consumer::new(Cluster::new(ClusterOptions::new([address])), options));
        consumer.set_rebalance_listener(Arc::new(Assigned { member, board: board.clone() })).expect("it has a group");
        consumer.subscribe([topic]).expect("it has a group");
        let polled = consumer.clone();
        let polling = task::spawn(async move {
            loop {
                polled.poll(PATIENCE).await.expect("a member polls");
            }
        });
        Self { consumer, polling }
    }

    async fn leave(self) {
        self.polling.abort();
        self.consumer.close(PATIENCE).await;
    }
}

/// Waits until all of the members are in one generation that began after `begin`, and says how long that was.
async fn settled(what: &str, begin: Instant, board: &Board, count: usize) {
    loop {
        assert!(begin.elapsed() < PATIENCE, "{what}: not in {PATIENCE:?}");
        {
            let board = board.lock();
            let generations: BTreeSet<Generation> = board.values().map(|(generation, ..)| *generation).collect();
            if board.len() == count && generations.len() == 1 && board.values().all(|(_, at, _)| *at > begin) {
                let shared: BTreeSet<&PartitionName> =
                    board.values().flat_map(|(_, _, partitions)| partitions).collect();
                let last = board.values().map(|(_, at, _)| *at).max().expect("there are members");
                let generation = generations.first().expect("there is one").0;
                println!(
                    "{what}: {} partitions are shared anew after {:.3} s, in generation {generation}",
                    shared.len(),
                    (last - begin).as_secs_f64()
                );
                return;
            }
        }
        time::sleep(AGAIN).await;
    }
}
