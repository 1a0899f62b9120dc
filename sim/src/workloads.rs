//! The clients of a story: one file a kind. They are the programs that people write, on gregor's own client, each on a
//! machine of its own; what they asked and were told goes into the history.

use crate::{
    event::{ClientEvent, NamedPartition, Tag},
    operations::Operation,
    run::Service,
    scenario::{Scenario, Topic, WorkloadKind},
    world::World,
};
use client::{
    ClientError, ConsumerRecord, PartitionName,
    admin::{Admin, NewTopic},
    cluster::{Cluster, ClusterOptions},
    consumer::ConsumerError,
};
use protocol::{error_code::ErrorCode, ids::PartitionIndex};
use runtime::{
    observe,
    simulation::{now_ns, sleep_until_ns},
    sync::{self, ShutdownTrigger, oneshot},
    time,
};
use std::{pin::Pin, time::Duration};

mod consume;
mod drain;
mod member;
mod operate;
mod produce;
mod recreate;
mod reread;

const TICK_NS: u64 = 100_000_000;
const ADMIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Where clients run: simulated machines, or this process.
pub trait Machines {
    /// Where clients find the cluster.
    fn bootstrap(&self) -> Vec<String>;
    /// Runs a client's program, on a machine of its own where there is one.
    fn run(&mut self, program: Program);
}

/// What a client does.
pub type Program = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Machines for World {
    fn bootstrap(&self) -> Vec<String> {
        World::bootstrap(self)
    }

    fn run(&mut self, program: Program) {
        let id = self.add_client();
        self.start_client(id, program);
    }
}

/// The clients that run.
pub struct Running {
    stop: ShutdownTrigger,
    operators: ShutdownTrigger,
    groups: ShutdownTrigger,
    done: Vec<oneshot::Receiver<()>>,
    /// The members of groups.
    members: Vec<oneshot::Receiver<()>>,
    tested: Option<oneshot::Receiver<Result<(), String>>>,
}

impl Running {
    /// Asks operators to leave the cluster alone.
    pub fn dismiss_operators(&self) {
        self.operators.request();
    }

    /// Adds a program that is tested, on a machine of its own.
    pub fn test(&mut self, world: &mut World, service: Service) {
        let (id, bootstrap) = (world.add_client(), world.bootstrap());
        let (done, result) = oneshot::channel();
        world.start_client(id, async move {
            let outcome = service(bootstrap).await;
            // Nobody waits any more once a claim is broken.
            done.send(outcome).ok();
        });
        self.tested = Some(result);
    }

    /// Asks all of them to stop, and waits until they have: producers finish what they sent, and then members of groups read
    /// what there is. A program that is tested is not asked; it ends by itself. Answers how long the members took.
    ///
    /// # Errors
    /// What the tested program says is wrong.
    pub async fn stop(self) -> Result<Duration, String> {
        self.stop.request();
        self.operators.request();
        for done in self.done {
            // A client that has panicked has failed the run.
            let _ = done.await;
        }
        self.groups.request();
        let asked_at = time::now();
        for done in self.members {
            let _ = done.await;
        }
        let members_took = time::now() - asked_at;
        if let Some(tested) = self.tested {
            tested.await.unwrap_or_else(|_| Err("it ended without a word".into()))?;
        }
        Ok(members_took)
    }
}

/// Makes the topics and waits until each partition has all of its replicas in sync.
///
/// # Errors
/// What is missing at the deadline.
pub async fn prepare(world: &mut World, scenario: &Scenario, deadline: u64) -> Result<(), String> {
    let wanted = scenario.clone();
    let done = run_client(world, |cluster| async move {
        create_topics(cluster, &wanted).await;
        Ok(())
    });
    finish(done, deadline, "the topics were not created").await?;
    let shared = world.shared();
    loop {
        let whole = {
            let image = &shared.borrow().judge.ledger.image;
            scenario.topics.iter().all(|topic| {
                image.topic_by_name(&topic.name).is_some_and(|found| {
                    found.partition_count() == topic.partitions as usize
                        && found
                            .partitions()
                            .all(|(_, state)| state.isr.len() == topic.replicas as usize && state.leader.is_some())
                })
            })
        };
        if whole {
            return Ok(());
        }
        if now_ns() >= deadline {
            return Err("the topics did not become whole".into());
        }
        sleep_until_ns(now_ns() + TICK_NS).await;
    }
}

/// Creates a topic, however long the cluster takes to come up.
async fn create(admin: &Admin, topic: &Topic) {
    let mut configs = topic.configs.clone();
    configs.insert("min.insync.replicas".into(), topic.min_insync_replicas.to_string());
    let wanted = NewTopic { configs, ..NewTopic::new(&topic.name, topic.partitions, topic.replicas) };
    loop {
        let outcomes = admin.create_topics(std::slice::from_ref(&wanted), false).await.unwrap_or_default();
        // An answer that was lost leaves the topic created.
        let created = |outcome: &Result<_, ClientError>| match outcome {
            Ok(_) => true,
            Err(error) => error.code() == Some(ErrorCode::TopicAlreadyExists),
        };
        if outcomes.values().any(created) {
            return;
        }
        time::sleep(Duration::from_millis(200)).await;
    }
}

/// Makes the scenario's topics, however long the cluster takes to come up.
pub async fn create_topics(cluster: Cluster, scenario: &Scenario) {
    let admin = Admin::new(cluster, ADMIN_TIMEOUT);
    for topic in &scenario.topics {
        create(&admin, topic).await;
    }
}

/// Starts the scenario's clients.
pub fn start(machines: &mut impl Machines, scenario: &Scenario) -> Running {
    let (stop, stopping) = sync::shutdown();
    let (operators, dismissed) = sync::shutdown();
    let (groups, all_is_written) = sync::shutdown();
    let brokers = scenario.cluster.brokers;
    let (mut writer, mut all_done, mut members) = (0, Vec::new(), Vec::new());
    for workload in &scenario.workloads {
        let topic =
            scenario.topics.iter().find(|topic| topic.name == workload.topic).expect("the scenario was checked");
        let board = member::board(topic);
        for _ in 0..workload.clients {
            let (workload, topic, board) = (workload.clone(), topic.clone(), board.clone());
            let stopping = match workload.kind {
                WorkloadKind::Group => all_is_written.clone(),
                kind if kind.is_operator() => dismissed.clone(),
                _ => stopping.clone(),
            };
            let partitions = topic.partitions;
            let cluster = ClusterOptions::new(machines.bootstrap());
            writer += 1;
            let (done, is_done) = oneshot::channel();
            if workload.kind == WorkloadKind::Group { &mut members } else { &mut all_done }.push(is_done);
            machines.run(Box::pin(async move {
                let cluster = Cluster::new(cluster);
                match workload.kind {
                    WorkloadKind::Produce => produce::run(cluster, &workload, partitions, writer, stopping).await,
                    WorkloadKind::Recreate => recreate::run(cluster, &workload, &topic, stopping).await,
                    WorkloadKind::Consume => consume::run(cluster, &workload, partitions, writer, stopping).await,
                    WorkloadKind::Group => member::run(cluster, &workload, board, writer, stopping).await,
                    WorkloadKind::Reread => reread::run(cluster, &workload, partitions, writer, stopping).await,
                    WorkloadKind::Reassign
                    | WorkloadKind::Reconfigure
                    | WorkloadKind::DeleteRecords
                    | WorkloadKind::Grow
                    | WorkloadKind::Throttle => {
                        operate::run(cluster, workload.kind, &topic, brokers, stopping).await;
                    }
                }
                // Nobody waits any more once a claim is broken.
                done.send(()).ok();
            }));
        }
    }
    Running { stop, operators, groups, done: all_done, members, tested: None }
}

/// Lets an operator do one thing.
pub fn operate(world: &mut World, operation: Operation) {
    let id = world.add_client();
    let cluster = options(world);
    world.start_client(id, async move {
        operation.carry_out(&Cluster::new(cluster)).await;
    });
}

/// Writes a fresh record to every partition, and then reads everything from the beginning.
///
/// # Errors
/// What could not be written or read by the deadline.
pub async fn drain(world: &mut World, scenario: &Scenario, deadline: u64) -> Result<(), String> {
    // An operator may have added some.
    let shared = world.shared();
    let partitions_of = |topic: &Topic| {
        let image = &shared.borrow().judge.ledger.image;
        image.topic_by_name(&topic.name).map_or(0, |found| found.partition_count() as i32).max(topic.partitions)
    };
    let (names, partitions) = to_drain(scenario, partitions_of);
    let done = run_client(world, |cluster| drain::run(cluster, names, partitions));
    finish(done, deadline, "the final drain did not come to its end").await
}

/// As [`drain`], by a client that is given, in whatever world it lives.
///
/// # Errors
/// What could not be written or read; it goes on trying to read without end.
pub async fn drain_with(cluster: Cluster, scenario: &Scenario) -> Result<(), String> {
    let (names, partitions) = to_drain(scenario, |topic| topic.partitions);
    drain::run(cluster, names, partitions).await
}

/// The topics that keep their records for a while only, and all partitions that must be there in the end.
fn to_drain(scenario: &Scenario, partitions_of: impl Fn(&Topic) -> i32) -> (Vec<String>, Vec<PartitionName>) {
    // A topic that is deleted again and again may be gone now: a deletion that was held up may come last.
    let fleeting = |topic: &&Topic| {
        scenario.workloads.iter().any(|load| load.kind == WorkloadKind::Recreate && load.topic == topic.name)
    };
    let topics: Vec<&Topic> = scenario.topics.iter().filter(|topic| !fleeting(topic)).collect();
    let forgets = |topic: &&&Topic| topic.configs.keys().any(|key| key.starts_with("retention."));
    let names = topics.iter().filter(forgets).map(|topic| topic.name.clone()).collect();
    let of_topic = |topic: &Topic| {
        let count = partitions_of(topic);
        (0..count).map(|partition| PartitionName::new(&topic.name, PartitionIndex(partition))).collect::<Vec<_>>()
    };
    (names, topics.into_iter().flat_map(of_topic).collect())
}

/// Runs a program on a client's machine of its own.
fn run_client<F>(
    world: &mut World,
    program: impl FnOnce(Cluster) -> F + Send + 'static,
) -> oneshot::Receiver<Result<(), String>>
where
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    let id = world.add_client();
    let cluster = options(world);
    let (done, result) = oneshot::channel();
    world.start_client(id, async move {
        let outcome = program(Cluster::new(cluster)).await;
        // Nobody waits any more once a claim is broken.
        done.send(outcome).ok();
    });
    result
}

async fn finish(done: oneshot::Receiver<Result<(), String>>, deadline: u64, otherwise: &str) -> Result<(), String> {
    runtime::select! {
        result = done => result.unwrap_or_else(|_| Err(otherwise.into())),
        () = sleep_until_ns(deadline) => Err(otherwise.into()),
    }
}

fn options(world: &World) -> ClusterOptions {
    ClusterOptions::new(world.bootstrap())
}

fn named(name: &PartitionName) -> NamedPartition {
    NamedPartition { topic: name.topic.to_string(), partition: name.partition }
}

/// A poll failed. Whatever it is, the next one tries again.
async fn failed(error: &ConsumerError) {
    if let ConsumerError::Damaged { partition, offset, .. } = error {
        observe::emit(|| ClientEvent::GotDamaged { from: named(partition), offset: *offset });
    }
    time::sleep(Duration::from_millis(200)).await;
}

/// Where a record without a value says whose it is.
const TAG_HEADER: &str = "tag";

fn polled(record: &ConsumerRecord, reader: u32) {
    let in_header = || record.headers.iter().find(|header| header.key == TAG_HEADER)?.value.as_deref();
    let (offset, tag) = (record.offset, record.value.as_deref().or_else(in_header).and_then(Tag::from_value));
    let from = NamedPartition { topic: record.topic.to_string(), partition: record.partition };
    observe::emit(|| match tag {
        Some(tag) => ClientEvent::Polled { from, offset, tag, reader },
        None => ClientEvent::PolledForeign { from, offset, reader },
    });
}
