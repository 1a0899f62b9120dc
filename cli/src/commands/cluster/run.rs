//! `gregor cluster run FILE`: a scenario of the simulator on real processes. Signals stand for crashes and pauses, a proxy
//! for the network; the clients are the very same programs, and what they were told is judged by the same claims.
//!
//! It is not deterministic: real time passes, and nobody chooses the order of things.

use super::{
    not_in_sync,
    proxy::{CLIENTS, Proxy},
    start_quietly,
};
use crate::{
    local_cluster::{LocalCluster, Size},
    output::{Failure, Format, print_json},
};
use client::{
    PartitionName,
    admin::{Admin, PartitionDescription},
    cluster::{Cluster, ClusterOptions},
    consumer::{Consumer, ConsumerOptions},
};
use protocol::ids::{BrokerId, PartitionIndex};
use runtime::{observe, sync::Lock, task, time};
use sim::{
    driver,
    event::ClientEvent,
    history::History,
    invariants::{End, Judge, Violation},
    observed::{Fact, Observed},
    operations::Operation,
    scenario::{GROUP_PROPERTIES, Scenario, Span, Step},
    workloads::{self, Machines, Program},
};
use std::{
    any::Any,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

const TICK: Duration = Duration::from_millis(20);
/// How long the cluster may take to be whole, and the clients to read everything: real machines are slow, too.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long what is left of the nodes may take to be gone.
const REMOVED_WITHIN: Duration = Duration::from_secs(2);
/// The rank of the history's lock: nothing is taken under it.
const RANK: u8 = 220;

/// What can be done to real processes, in the words of scenarios.
const FAULTS: [&str; 12] = [
    "kill",
    "power-loss",
    "crash-loop",
    "restart",
    "pause",
    "partition",
    "flapping-link",
    "one-way-cut",
    "isolate",
    "client-cut",
    "clog",
    "slow-link",
];

/// See [`super::Command`].
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  gregor cluster run isr/leader-power-loss\n  gregor cluster run my.toml\n\nIts nodes live in a folder of their own, whatever --dir says, which goes with them unless the command fails.\nWhat it cannot do to real processes (failing disks, wrong clocks) is the simulator's: gregor sim run"
)]
pub struct Run {
    /// A kept scenario, or a file
    scenario: String,
    /// The clients' port of the first node; each further node is 1000 higher, and listens 100 above behind a proxy
    #[arg(long, default_value_t = 29092)]
    base_port: u16,
    /// How to print the result
    #[arg(short, long, value_enum, default_value = "table")]
    output: Format,
}

/// Clients that run in this process.
struct Here {
    bootstrap: Vec<String>,
}

impl Machines for Here {
    fn bootstrap(&self) -> Vec<String> {
        self.bootstrap.clone()
    }

    fn run(&mut self, program: Program) {
        drop(task::spawn(program));
    }
}

/// A fault that lasts.
struct Lasting {
    step: Step,
    nodes: Vec<i32>,
    ends_at: Option<Duration>,
}

struct Play {
    scenario: Scenario,
    cluster: LocalCluster,
    proxy: Proxy,
    admin: Admin,
    consumer: Consumer,
    began: time::Instant,
    lasting: Vec<Lasting>,
    tells: bool,
}

impl Run {
    /// Runs the command, in a folder that is there for it alone.
    pub async fn run(self) -> Result<ExitCode, Failure> {
        let scenario = driver::scenario(&self.scenario, 1).map_err(Failure::usage)?;
        can_be_done(&scenario)?;
        let folder = std::env::temp_dir().join(format!("gregor-run-{}", std::process::id()));
        let controllers = (!scenario.cluster.combined).then_some(scenario.cluster.controllers);
        let size = Size { brokers: scenario.cluster.brokers, controllers };
        let of_groups = GROUP_PROPERTIES.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let properties = of_groups.into_iter().chain(scenario.cluster.properties.clone()).collect();
        let cluster = LocalCluster::create_behind_proxy(&folder, size, self.base_port, &properties).await?;
        let told = self.with(&cluster, scenario).await;
        for node in &cluster.nodes {
            cluster.resume(node.id);
            cluster.kill(node.id);
            while cluster.pid(node.id).is_some() {
                time::sleep(TICK).await;
            }
        }
        if told.is_ok() {
            remove(&folder).await?;
        }
        told
    }

    async fn with(&self, cluster: &LocalCluster, scenario: Scenario) -> Result<ExitCode, Failure> {
        let proxy = Proxy::start(cluster).await?;
        start_quietly(cluster).await?;
        let events = listen();
        let client = Cluster::new(ClusterOptions::new(cluster.bootstrap()));
        workloads::create_topics(client.clone(), &scenario).await;
        let mut play = Play {
            scenario,
            cluster: cluster.clone(),
            proxy,
            admin: Admin::new(client.clone(), super::super::ADMIN_TIMEOUT),
            consumer: Consumer::new(client.clone(), ConsumerOptions::default()),
            began: time::now(),
            lasting: Vec::new(),
            tells: self.output == Format::Table,
        };
        play.wait_whole().await.map_err(Failure::new)?;
        play.began = time::now();
        let unsettled = play.story(client).await.err();
        let (violation, history) = judged(&events, play.scenario.is_compacted(), unsettled);
        let failed = violation.as_ref().map(ToString::to_string);
        match self.output {
            Format::Table => {
                println!("      {history}");
                println!(
                    "{}",
                    failed
                        .as_deref()
                        .map_or("every claim about what clients were told holds".into(), |what| format!("FAIL {what}"))
                );
            }
            Format::Json => print_json(&serde_json::json!({
                "scenario": self.scenario,
                "sent": history.sent,
                "acknowledged": history.acknowledged,
                "refused": history.refused,
                "unknown": history.unknown,
                "drained": history.drained,
                "failure": failed,
            }))?,
        }
        Ok(if violation.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

/// Says which faults of a scenario only a simulated world has.
fn can_be_done(scenario: &Scenario) -> Result<(), Failure> {
    let faults = scenario.timeline.iter().filter_map(|step| step.fault.as_deref());
    let others: Vec<&str> = faults.filter(|fault| !FAULTS.contains(fault)).collect();
    match others.first() {
        Some(fault) => Err(Failure::usage(format!(
            "'{fault}' cannot be done to real processes, which know {}: run this with `gregor sim run`",
            FAULTS.join(", ")
        ))),
        None => Ok(()),
    }
}

/// A process that was killed may still bring a last file into its folder: it is tried again for a while.
async fn remove(folder: &Path) -> Result<(), Failure> {
    let (Some(parent), Some(name)) = (folder.parent().map(PathBuf::from), folder.file_name()) else { return Ok(()) };
    let (disk, until) = (runtime::disk::Disk::real(parent)?, time::now() + REMOVED_WITHIN);
    loop {
        match disk.remove_directory(&name.to_string_lossy()) {
            Err(_) if time::now() < until => time::sleep(TICK).await,
            removed => return Ok(removed?),
        }
    }
}

type Events = Arc<Lock<Vec<(u64, ClientEvent)>>>;

/// What the clients in this process ask and are told from now on.
fn listen() -> Events {
    let events = Events::new(Lock::new(RANK, Vec::new()));
    let heard = events.clone();
    observe::subscribe_process(Box::new(move |envelope, event| {
        let event: &dyn Any = event;
        if let Some(event) = event.downcast_ref::<ClientEvent>() {
            heard.lock().push((envelope.at, event.clone()));
        }
    }));
    events
}

/// The first claim that what clients were told breaks, and how much it was.
fn judged(events: &Events, is_compacted: bool, unsettled: Option<String>) -> (Option<Violation>, History) {
    let (mut judge, mut history) = (Judge::of_history(is_compacted), History::default());
    for (ordinal, (at, event)) in events.lock().iter().enumerate() {
        history.count(event);
        judge.observe(&Observed { at: *at, ordinal: ordinal as u64, broker: BrokerId(-1), fact: Fact::Client(event) });
    }
    judge.end(&End { drained: unsettled.is_none(), unsettled });
    (judge.violation, history)
}

impl Play {
    /// The whole story: faults, healing, and everything read again.
    async fn story(&mut self, client: Cluster) -> Result<(), String> {
        let mut here = Here { bootstrap: self.cluster.bootstrap() };
        let running = workloads::start(&mut here, &self.scenario);
        self.timeline().await?;
        running.dismiss_operators();
        self.say("HEAL", "everything");
        for lasting in std::mem::take(&mut self.lasting) {
            self.end(&lasting).await?;
        }
        for node in self.cluster.nodes.clone() {
            self.start(node.id).await?;
        }
        self.wait_whole().await?;
        let end = async {
            running.stop().await?;
            workloads::drain_with(client, &self.scenario).await
        };
        let drained = time::timeout(PATIENCE, end).await;
        drained.map_err(|_| "the final drain did not come to its end".to_owned())??;
        self.say("SETTLED", "");
        Ok(())
    }

    async fn timeline(&mut self) -> Result<(), String> {
        let ends_at = self.scenario.lasts.0;
        let mut steps: Vec<(Step, Option<Duration>)> =
            self.scenario.timeline.iter().map(|step| (step.clone(), step.at.map(|at| at.0))).collect();
        while self.began.elapsed() < ends_at {
            let (over, lasting) = std::mem::take(&mut self.lasting)
                .into_iter()
                .partition::<Vec<_>, _>(|one| one.ends_at.is_some_and(|at| at <= self.began.elapsed()));
            self.lasting = lasting;
            for one in over {
                self.end(&one).await?;
            }
            for (step, next) in &mut steps {
                if next.is_none() && self.is_true(step).await {
                    *next = Some(self.began.elapsed() + step.after.unwrap_or_default().0);
                    step.when = None;
                }
                if next.is_some_and(|at| at <= self.began.elapsed()) {
                    *next = match step.every {
                        Some(every) => Some(self.began.elapsed() + every.0),
                        None => Some(Duration::MAX),
                    };
                    self.carry_out(step).await?;
                }
            }
            time::sleep(TICK).await;
        }
        Ok(())
    }

    /// Whether what a step waits for is true, as far as any broker can tell.
    async fn is_true(&self, step: &Step) -> bool {
        let Some(condition) = step.when.as_deref().and_then(|words| sim::when::Condition::parse(words).ok()) else {
            return false;
        };
        let (topic, partition) = condition.place();
        let Some(described) = self.partition(topic, partition).await else { return false };
        let end = match condition.wants_high_watermark() {
            true => self.high_watermark(topic, partition).await,
            false => 0,
        };
        condition.holds_for(end, described.leader_epoch.0, described.isr.len())
    }

    async fn high_watermark(&self, topic: &str, partition: PartitionIndex) -> i64 {
        let name = PartitionName::new(topic, partition);
        let asked = self.consumer.end_offsets(std::slice::from_ref(&name), PATIENCE).await;
        asked.ok().and_then(|ends| ends.get(&name).copied()).map_or(0, |end| end.0)
    }

    async fn partition(&self, topic: &str, partition: PartitionIndex) -> Option<PartitionDescription> {
        let described = self.admin.describe_topics(&[topic.to_owned()]).await.ok()?.remove(topic)?.ok()?;
        described.partitions.into_iter().find(|one| one.partition == partition)
    }

    async fn carry_out(&mut self, step: &Step) -> Result<(), String> {
        if let Some(words) = &step.operation {
            self.say("OPERATOR", words);
            let (operation, bootstrap) = (Operation::parse(words)?, self.cluster.bootstrap());
            task::spawn(async move { operation.carry_out(&Cluster::new(ClusterOptions::new(bootstrap))).await });
            return Ok(());
        }
        if let Some(who) = &step.restart {
            for id in self.resolve(who).await {
                self.start(id).await?;
            }
            return Ok(());
        }
        let nodes = self.resolve(step.node.as_deref().unwrap_or("1")).await;
        let ends_at = step.lasts.map(|lasts| self.began.elapsed() + lasts.0);
        let mut step = step.clone();
        let other = self.resolve(step.other.as_deref().unwrap_or("")).await.first().copied();
        step.other = other.map(|id| id.to_string());
        let lasting = Lasting { step, nodes, ends_at };
        self.begin(&lasting).await?;
        self.lasting.push(lasting);
        Ok(())
    }

    async fn begin(&self, lasting: &Lasting) -> Result<(), String> {
        let kind = lasting.step.fault.as_deref().unwrap_or_default();
        for id in &lasting.nodes {
            // Real machines keep their power.
            let stands_for = if matches!(kind, "power-loss" | "crash-loop") { ", as a kill" } else { "" };
            self.say("FAULT", &format!("{kind} {id}{stands_for}"));
            match kind {
                "kill" | "power-loss" | "crash-loop" => drop(self.cluster.kill(*id)),
                "restart" => drop(self.cluster.stop(*id).await.map_err(|failure| failure.to_string())?),
                "pause" => drop(self.cluster.pause(*id)),
                "slow-link" => {
                    let delay = Duration::from_millis(lasting.step.strength.unwrap_or(200));
                    self.ways(lasting, *id).into_iter().for_each(|(from, to)| self.proxy.slow(from, to, Some(delay)));
                }
                _ => self.ways(lasting, *id).into_iter().for_each(|(from, to)| self.proxy.cut(from, to)),
            }
        }
        Ok(())
    }

    async fn end(&self, lasting: &Lasting) -> Result<(), String> {
        let kind = lasting.step.fault.as_deref().unwrap_or_default();
        self.say("END", kind);
        for id in &lasting.nodes {
            match kind {
                "kill" | "power-loss" | "crash-loop" | "restart" => self.start(*id).await?,
                "pause" => drop(self.cluster.resume(*id)),
                "slow-link" => {
                    self.ways(lasting, *id).into_iter().for_each(|(from, to)| self.proxy.slow(from, to, None));
                }
                _ => self.ways(lasting, *id).into_iter().for_each(|(from, to)| self.proxy.heal(from, to)),
            }
        }
        Ok(())
    }

    /// The ways that a fault of the network is about.
    fn ways(&self, lasting: &Lasting, id: i32) -> Vec<(i32, i32)> {
        let both = |a, b| [(a, b), (b, a)];
        let nodes = self.cluster.nodes.iter().map(|node| node.id);
        let next = || self.cluster.nodes.iter().map(|node| node.id).find(|other| *other > id).unwrap_or(1);
        let other = lasting.step.other.as_deref().and_then(|id| id.parse().ok()).filter(|other| *other != id);
        let other = other.unwrap_or_else(next);
        match lasting.step.fault.as_deref() {
            Some("isolate") => {
                nodes.filter(|other| *other != id).chain([CLIENTS]).flat_map(|other| both(id, other)).collect()
            }
            Some("client-cut") => both(id, CLIENTS).into(),
            Some("partition" | "flapping-link") => both(id, other).into(),
            _ => vec![(id, other)],
        }
    }

    /// Starts a node that is down; one that runs goes on.
    async fn start(&self, id: i32) -> Result<(), String> {
        self.cluster.resume(id);
        self.cluster.start(id).await.map_err(|failure| failure.to_string())
    }

    /// The nodes that a scenario's words name now; none if they name nobody.
    async fn resolve(&self, words: &str) -> Vec<i32> {
        let all = || self.cluster.nodes.iter().map(|node| node.id);
        if let Ok(id) = words.parse::<i32>() {
            return all().filter(|one| *one == id).collect();
        }
        match words {
            "all" => all().collect(),
            "active controller" => self.cluster.active_controller().await.into_iter().collect(),
            "majority of controllers" => {
                let controllers: Vec<i32> = self.cluster.controllers().map(|node| node.id).collect();
                controllers[..controllers.len() / 2 + 1].to_vec()
            }
            _ => self.resolve_replica(words).await.into_iter().collect(),
        }
    }

    /// `leader of TOPIC-PARTITION` and `replica N of TOPIC-PARTITION`.
    async fn resolve_replica(&self, words: &str) -> Option<i32> {
        let (which, place) = words.split_once(" of ")?;
        let (topic, partition) = place.rsplit_once('-')?;
        let described = self.partition(topic, PartitionIndex(partition.parse().ok()?)).await?;
        match which.strip_prefix("replica ") {
            Some(number) => described.replicas.get(number.parse::<usize>().ok()?.checked_sub(1)?).map(|id| id.0),
            None => described.leader.map(|id| id.0),
        }
    }

    async fn wait_whole(&self) -> Result<(), String> {
        let deadline = time::now() + PATIENCE;
        loop {
            let why = match not_in_sync(&self.admin).await {
                Ok(None) => return Ok(()),
                Ok(Some(partition)) => format!("{partition} has not all of its replicas in sync"),
                Err(failure) => failure.to_string(),
            };
            if time::now() > deadline {
                return Err(why);
            }
            time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn say(&self, what: &str, how: &str) {
        if self.tells {
            let seconds = Span(self.began.elapsed()).0.as_secs();
            println!("{}", format!("{seconds:>4}s  {what:<11} {how}").trim_end());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sim::event::{Keyed, NamedPartition, Tag};

    fn told(drained: &[u64], is_compacted: bool) -> Option<&'static str> {
        let orders = || NamedPartition { topic: "orders".into(), partition: PartitionIndex(0) };
        let tag = |operation| Tag { writer: 1, operation };
        let mut events = Vec::new();
        for operation in 0..3 {
            let offset = Some(protocol::ids::Offset(operation as i64));
            let keyed = is_compacted.then_some(Keyed { key: operation as u32 / 2, deletes: false });
            events.push(ClientEvent::SendInvoked { to: orders(), tag: tag(operation), safe: true, keyed });
            events.push(ClientEvent::SendAcknowledged { to: orders(), tag: tag(operation), offset, safe: true });
        }
        for operation in drained {
            let offset = protocol::ids::Offset(*operation as i64);
            let reader = ClientEvent::DRAIN;
            events.push(ClientEvent::Polled { from: orders(), offset, tag: tag(*operation), reader });
        }
        let events = events.into_iter().zip(0..).map(|(event, at)| (at, event)).collect();
        judged(&Arc::new(Lock::new(RANK, events)), is_compacted, None).0.map(|violation| violation.invariant)
    }

    #[test]
    fn what_clients_are_told_by_real_processes_is_judged() {
        assert_eq!(told(&[0, 1, 2], false), None);
        assert_eq!(told(&[0, 1], false), Some("acked_is_kept"));
        assert_eq!(told(&[0, 2, 1], false), Some("polls_in_order"));
    }

    #[test]
    fn of_compacted_topics_a_last_value_must_be_there_and_no_other() {
        assert_eq!(told(&[1, 2], true), None);
        assert_eq!(told(&[0, 2], true), Some("last_values_stay"));
    }

    #[test]
    fn what_cannot_be_done_to_processes_is_refused_with_what_can() {
        let text = "title = \"t\"\nlasts = \"1s\"\ntimeline = [{ at = \"0s\", fault = \"bit-flip\" }]\n[[topic]]\nname = \"a\"\n";
        let refused =
            can_be_done(&Scenario::parse(text).expect("a valid file")).expect_err("bits of real disks are ours");
        assert!(refused.to_string().contains("'bit-flip' cannot be done"), "{refused}");
    }
}
