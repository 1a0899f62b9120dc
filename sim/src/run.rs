//! One run: prepare, faults' phase, heal, settle, drain, verdict.
//!
//! Safety first: anything that the scenario says may happen, and every event is judged. Then liveness: everything is healed
//! and must be whole again within the deadline.

use crate::{
    delivery::Delivery,
    event::{Budget, WorldEvent},
    faults::{self, Begun, Ended, Fault, Target},
    history::History,
    invariants::{End, Violation},
    logs,
    operations::Operation,
    recording::{Entry, Phase, Recorder, Recording},
    scenario::{Expect, Scenario, Span, Step},
    when::{self, Condition},
    workloads,
    world::World,
};
use client::PartitionName;
use protocol::ids::{BrokerId, PartitionIndex, TopicPartition};
use runtime::{
    observe,
    simulation::{self, now_ns, sleep_until_ns},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    pin::Pin,
    time::Duration,
};

#[cfg(test)]
mod edited;
#[cfg(test)]
mod effects;
#[cfg(test)]
mod keyed;

/// How long the cluster may take to come up, and to become whole after healing.
const START_NS: u64 = 60_000_000_000;
const SETTLES_WITHIN: Span = Span(Duration::from_secs(15));
/// How long an operator waits for partitions to find a leader by themselves, where more was destroyed than the cluster can bear.
const OPERATOR_COMES_NS: u64 = 5_000_000_000;
/// How long clients may take to end once the cluster is whole: longer than a producer waits for anything.
const CLIENTS_END_WITHIN_NS: u64 = 120_000_000_000;
/// How often conditions are looked at.
const TICK_NS: u64 = 50_000_000;
/// A run whose thread polls nothing for so long in real time is stuck.
const PATIENCE: Duration = Duration::from_secs(30);

/// What else a run is asked.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The mutant that is switched on.
    pub mutant: Option<String>,
    /// The events to keep as text.
    pub keep: Option<Range<u64>>,
    /// Whether everything is recorded that the story and the report are made from.
    pub record: bool,
    /// The leak that is let into the run: see [`simulation::canaries`].
    pub canary: Option<String>,
    /// No invariant is asked: what the run costs without them.
    pub unjudged: bool,
}

/// A program that is tested in a world: given the cluster's addresses, it says in the end what is wrong, if anything is.
pub type Service = Box<dyn FnOnce(Vec<String>) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send>;

/// What a run came to.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Outcome {
    /// The hash of all events.
    pub hash: String,
    /// The hash at each 1,024th event.
    pub checkpoints: Vec<String>,
    /// The number of events.
    pub events: u64,
    /// Virtual seconds from start to end.
    pub virtual_seconds: f64,
    /// The broken claim and how, if one broke.
    pub failure: Option<Failure>,
    /// The story, a line each.
    pub story: Vec<String>,
    /// Faults begun, by kind.
    pub faults: BTreeMap<String, u64>,
    /// Leader changes.
    pub leader_changes: u64,
    /// `sometimes!` and `reachable!` names that were true, with counts.
    pub reached: BTreeMap<String, u64>,
    /// How often a mutated branch gave another result.
    pub diverged: u64,
    /// What clients were told.
    pub history: String,
    /// Records acknowledged.
    pub acknowledged: u64,
    /// CPU seconds that its process took.
    pub cpu_seconds: f64,
    /// For each step of the timeline that happened, by its number: the conditions for which it could have waited.
    pub just_true: BTreeMap<usize, Vec<String>>,
    /// The events that were to be kept.
    pub kept: Vec<String>,
    /// What happened, where it was to be recorded.
    #[serde(skip)]
    pub recorded: Vec<Entry>,
}

/// Why a run failed.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Failure {
    /// The invariant, or `service`, `expectation`, `panic`, `stuck`.
    pub claim: String,
    /// What happened.
    pub what: String,
    /// Virtual seconds since the start of the process.
    pub at_seconds: f64,
    /// How many faults had begun.
    pub after_faults: u64,
}

/// Runs a scenario from a seed, on a thread of its own.
pub fn run(scenario: &Scenario, seed: u64, options: Options) -> Outcome {
    run_with(scenario, seed, options, None)
}

/// As [`run`], with a program that is tested: it starts with the story, and must have come to a good end once everything is
/// healed.
pub fn run_with(scenario: &Scenario, seed: u64, options: Options, service: Option<Service>) -> Outcome {
    let unjudged = options.unjudged;
    let scenario = scenario.clone();
    let recorder = options.record.then(Recording::recorder);
    let canary = options.canary.as_deref().and_then(simulation::canaries::find);
    let settings = simulation::Options {
        observe_network: options.record,
        mutant: options.mutant,
        keep_lines: options.keep,
        buggify: true,
        patience: PATIENCE,
        ..simulation::Options::default()
    };
    let run = simulation::run(seed, settings, {
        let recorder = recorder.clone();
        move || {
            canary.into_iter().for_each(simulation::canaries::plant);
            play(scenario, recorder, unjudged, service)
        }
    });
    let outcome = run.result.unwrap_or_else(|failure| Outcome {
        failure: Some(Failure::of_runtime(&failure, run.virtual_ns)),
        ..Outcome::default()
    });
    let recorded = recorder.map(|recorder| {
        let mut recording = recorder.lock();
        if let Some(failure) = &outcome.failure {
            recording.failed(run.virtual_ns, &failure.claim, &failure.what);
        }
        std::mem::take(&mut recording.entries)
    });
    Outcome {
        recorded: recorded.unwrap_or_default(),
        hash: format!("{:032x}", run.hash),
        checkpoints: run.checkpoints.iter().map(|hash| format!("{hash:032x}")).collect(),
        events: run.events,
        virtual_seconds: run.virtual_ns as f64 / 1e9,
        reached: run.reached.into_iter().map(|(name, count)| (name.to_string(), count)).collect(),
        diverged: run.diverged.values().sum(),
        kept: run.lines,
        ..outcome
    }
}

impl Failure {
    fn of_runtime(failure: &simulation::Failure, virtual_ns: u64) -> Self {
        let claim = match failure {
            simulation::Failure::Panicked { .. } => "panic",
            simulation::Failure::Deadlocked { .. } => "deadlock",
            simulation::Failure::TimeLimit => "time-limit",
            simulation::Failure::Stuck { .. } => "stuck",
        };
        Self { claim: claim.into(), what: failure.to_string(), at_seconds: virtual_ns as f64 / 1e9, after_faults: 0 }
    }

    fn of_violation(violation: &Violation, after_faults: u64) -> Self {
        Self {
            claim: violation.invariant.into(),
            what: format!("{} (no. {})", violation.what, violation.claim),
            at_seconds: violation.at as f64 / 1e9,
            after_faults,
        }
    }
}

/// A fault that lasts, with when it ends.
struct Lasting {
    id: u32,
    kind: &'static str,
    ends_at: Option<u64>,
    fault: Box<dyn Fault>,
}

struct Play {
    world: World,
    scenario: Scenario,
    began_at: u64,
    lasting: Vec<Lasting>,
    just_true: BTreeMap<usize, Vec<String>>,
    service: Option<Service>,
    /// What a program that was tested said is wrong.
    complaint: Option<String>,
}

async fn play(scenario: Scenario, recorder: Option<Recorder>, unjudged: bool, service: Option<Service>) -> Outcome {
    let _logs = recorder.clone().map(logs::gather);
    let mut world = World::new(&scenario, recorder);
    if unjudged {
        world.shared().borrow_mut().judge.ask_nothing();
    }
    world.nodes().into_iter().for_each(|id| world.start(id));
    let prepared = workloads::prepare(&mut world, &scenario, now_ns() + START_NS).await;
    let mut play = Play {
        world,
        scenario,
        began_at: now_ns(),
        lasting: Vec::new(),
        just_true: BTreeMap::new(),
        service,
        complaint: None,
    };
    let end = match prepared {
        Ok(()) => play.story().await,
        Err(why) => End { unsettled: Some(why), drained: false },
    };
    play.verdict(&end)
}

impl Play {
    async fn story(&mut self) -> End {
        {
            let shared = self.world.shared();
            let shared = &mut *shared.borrow_mut();
            shared.timeline.begin(self.began_at, &shared.judge.ledger);
            if let Some(recorder) = &shared.recorder {
                recorder.lock().phase(self.began_at, Phase::Story);
            }
        }
        let mut running = workloads::start(&mut self.world, &self.scenario);
        if let Some(service) = self.service.take() {
            running.test(&mut self.world, service);
        }
        self.safety().await;
        if self.is_broken() {
            return End::default();
        }
        running.dismiss_operators();
        self.heal().await;
        let waits_for_operator = match self.scenario.cluster.budget {
            Budget::Within | Budget::Edge => 0,
            Budget::Beyond => OPERATOR_COMES_NS,
        };
        let settles_within = self.scenario.expect.settles_within.unwrap_or(SETTLES_WITHIN).nanos();
        let deadline = now_ns() + waits_for_operator + settles_within;
        let end = self.settle(running, deadline).await;
        if !self.is_broken() && end.unsettled.is_none() {
            observe::emit(|| WorldEvent::Settled);
        }
        end
    }

    /// Walks the timeline until its end, or until a claim breaks.
    async fn safety(&mut self) {
        let (broken, ended) = (self.world.broken(), self.world.ended());
        let mut steps: Vec<Pending> = self.scenario.timeline.iter().map(Pending::new).collect();
        let ends_at = self.began_at + self.scenario.lasts.nanos();
        loop {
            let now = now_ns();
            self.world.notice_ends();
            self.end_faults(now);
            for (number, pending) in steps.iter_mut().enumerate() {
                if pending.is_due(now - self.began_at, &self.world) {
                    let step = pending.step.clone();
                    self.note_what_is_true(number);
                    self.carry_out(&step);
                }
            }
            if now >= ends_at || self.is_broken() {
                return;
            }
            let timed = steps.iter().filter_map(|pending| pending.next_at).map(|at| self.began_at + at);
            let ending = self.lasting.iter().filter_map(|lasting| lasting.ends_at);
            let tick = steps.iter().any(|pending| pending.condition.is_some()).then(|| now + TICK_NS);
            let next = timed.chain(ending).chain(tick).filter(|at| *at > now).min().unwrap_or(ends_at).min(ends_at);
            runtime::select! {
                () = broken.notified() => {}
                () = ended.notified() => {}
                () = sleep_until_ns(next) => {}
            }
        }
    }

    /// Remembers for what a step could wait instead of for its time.
    fn note_what_is_true(&mut self, number: usize) {
        let shared = self.world.shared();
        let ledger = &shared.borrow().judge.ledger;
        let topic = &self.scenario.topics[0].name;
        self.just_true.entry(number).or_insert_with(|| when::just_true(ledger, topic, PartitionIndex(0)));
    }

    fn carry_out(&mut self, step: &Step) {
        if let Some(words) = &step.operation {
            let operation = Operation::parse(words).expect("the scenario was checked");
            observe::emit(|| WorldEvent::Operated { what: operation.to_string() });
            return workloads::operate(&mut self.world, operation);
        }
        if let Some(who) = &step.restart {
            let down = self.world.down();
            let nodes = self.world.resolve(who).unwrap_or_default();
            for id in nodes.into_iter().filter(|id| down.contains(id)) {
                self.world.start(id);
            }
            return;
        }
        let kind = step.fault.as_deref().and_then(faults::find).expect("the scenario was checked");
        let words = step.node.as_deref().unwrap_or("1");
        let Ok(nodes) = self.world.resolve(words) else { return };
        let other =
            step.other.as_deref().and_then(|words| self.world.resolve(words).ok()).and_then(|ids| ids.first().copied());
        for node in nodes {
            let api = step.api.as_deref().and_then(faults::hold::key);
            let mut fault = (kind.make)(Target { node, other, strength: step.strength, api });
            if let Begun::Yes(what) = fault.begin(&mut self.world) {
                let (id, impairs) = (self.world.next_fault(), fault.impairs(&self.world));
                observe::emit(|| WorldEvent::FaultBegan { id, kind: kind.name, what, impairs });
                let ends_at = step.lasts.map(|lasts| now_ns() + lasts.nanos());
                self.lasting.push(Lasting { id, kind: kind.name, ends_at, fault });
            }
        }
    }

    fn end_faults(&mut self, now: u64) {
        let (over, lasting) = std::mem::take(&mut self.lasting)
            .into_iter()
            .partition(|lasting| lasting.ends_at.is_some_and(|ends_at| ends_at <= now));
        self.lasting = lasting;
        self.end_all(over);
    }

    /// Ends faults; those that cannot end yet are asked again.
    fn end_all(&mut self, over: Vec<Lasting>) {
        for mut lasting in over {
            match lasting.fault.end(&mut self.world) {
                Ended::Yes => observe::emit(|| WorldEvent::FaultEnded { id: lasting.id, kind: lasting.kind }),
                Ended::NotYet => self.lasting.push(Lasting { ends_at: Some(now_ns() + TICK_NS), ..lasting }),
            }
        }
    }

    async fn heal(&mut self) {
        if self.scenario.cluster.budget == Budget::Edge {
            self.world.notice_ends();
            self.world.take_away();
        }
        loop {
            let all = std::mem::take(&mut self.lasting);
            self.end_all(all);
            if self.lasting.is_empty() || self.is_broken() {
                break;
            }
            sleep_until_ns(now_ns() + TICK_NS).await;
        }
        self.world.notice_ends();
        for id in self.world.down() {
            self.world.start(id);
        }
        simulation::end_buggify();
        observe::emit(|| WorldEvent::Healed);
    }

    async fn settle(&mut self, running: workloads::Running, deadline: u64) -> End {
        let broken = self.world.broken();
        let operator_comes_at = now_ns() + OPERATOR_COMES_NS;
        let mut operator_is_here = false;
        loop {
            let why = self.not_whole();
            let Some(why) = why else { break };
            if !operator_is_here && self.scenario.cluster.budget == Budget::Beyond && now_ns() >= operator_comes_at {
                operator_is_here = true;
                self.elect_whoever_is_there();
            }
            if now_ns() >= deadline {
                return End { unsettled: Some(why), drained: false };
            }
            runtime::select! {
                () = broken.notified() => return End::default(),
                () = sleep_until_ns(now_ns() + TICK_NS) => {}
            }
        }
        let mut drained_by = deadline + SETTLES_WITHIN.nanos();
        runtime::select! {
            () = broken.notified() => return End::default(),
            told = running.stop() => match told {
                // Nothing waits for them: they read what is there, or wait for what cannot be read.
                Ok(members_took) => drained_by += Span(members_took).nanos(),
                Err(complaint) => self.complaint = Some(complaint),
            },
            () = sleep_until_ns(now_ns() + CLIENTS_END_WITHIN_NS) => {
                return End { unsettled: Some("the clients did not come to their end".into()), drained: false };
            }
        }
        match workloads::drain(&mut self.world, &self.scenario, drained_by).await {
            Ok(()) => End { unsettled: None, drained: true },
            // What rotted where there is no other copy is refused for ever.
            Err(_) if self.has_lost_for_good() => End { unsettled: None, drained: false },
            Err(why) => End { unsettled: Some(why), drained: false },
        }
    }

    /// What an operator does about partitions of which everyone who could be elected has lost something: gives up what was
    /// lost.
    fn elect_whoever_is_there(&mut self) {
        let shared = self.world.shared();
        let operations: Vec<Operation> = {
            let image = &shared.borrow().judge.ledger.image;
            let partitions = image.topics().flat_map(|topic| topic.partitions().map(move |of| (topic, of)));
            let leaderless = partitions.filter(|(_, (_, state))| state.leader.is_none());
            let name = |topic: &str, partition| PartitionName::new(topic, partition);
            leaderless.map(|(topic, (partition, _))| Operation::ElectUncleanly(name(&topic.name, partition))).collect()
        };
        for operation in operations {
            observe::emit(|| WorldEvent::Operated { what: operation.to_string() });
            workloads::operate(&mut self.world, operation);
        }
    }

    /// Why the cluster is not whole, judged by what the controllers committed.
    fn not_whole(&self) -> Option<String> {
        let shared = self.world.shared();
        let shared = shared.borrow();
        for topic in shared.judge.ledger.image.topics() {
            for (partition, state) in topic.partitions() {
                let isr: BTreeSet<_> = state.isr.iter().collect();
                let is_left = |id: &&BrokerId| !self.world.is_gone(id.0);
                let replicas: BTreeSet<_> = state.replicas.iter().filter(is_left).collect();
                if state.leader.is_none() {
                    return Some(format!("{}-{partition} has no leader", topic.name));
                }
                let of = TopicPartition { topic_id: topic.id, partition };
                if isr != replicas && !shared.judge.ledger.has_lost_for_good(of) {
                    return Some(format!("{}-{partition} has {isr:?} in sync, of {replicas:?}", topic.name));
                }
                if state.is_reassigning() {
                    return Some(format!("the move of {}-{partition} is not over", topic.name));
                }
            }
        }
        None
    }

    fn has_lost_for_good(&self) -> bool {
        let shared = self.world.shared();
        let ledger = &shared.borrow().judge.ledger;
        let mut partitions = ledger.image.partitions();
        partitions.any(|(of, _)| ledger.has_lost_for_good(of))
    }

    fn is_broken(&self) -> bool {
        self.world.shared().borrow().judge.violation.is_some()
    }

    fn verdict(&self, end: &End) -> Outcome {
        let shared = self.world.shared();
        let shared = &mut *shared.borrow_mut();
        shared.judge.end(end);
        let ledger = &shared.judge.ledger;
        let begun: u64 = ledger.faults.values().sum();
        let other = |claim: &str, what| Failure {
            claim: String::from(claim),
            what,
            at_seconds: ledger.now as f64 / 1e9,
            after_faults: begun,
        };
        let unmet = || unmet(&self.scenario.expect, (&shared.history, &shared.delivery), ledger.leader_changes);
        let failure = match &shared.judge.violation {
            Some(violation) => Some(Failure::of_violation(violation, begun)),
            None => (self.complaint.clone().map(|what| other("service", what)))
                .or_else(|| unmet().map(|what| other("expectation", what))),
        };
        let (faults, leader_changes) =
            (ledger.faults.iter().map(|(kind, count)| (kind.to_string(), *count)).collect(), ledger.leader_changes);
        let word = if failure.is_some() { "FAILED" } else { "SETTLED" };
        shared.timeline.say(now_ns(), word, &failure.as_ref().map(|failure| failure.claim.clone()).unwrap_or_default());
        Outcome {
            failure,
            story: shared.timeline.lines().to_vec(),
            faults,
            leader_changes,
            history: match shared.delivery.is_empty() {
                true => shared.history.to_string(),
                false => format!("{}  {}", shared.history, shared.delivery),
            },
            acknowledged: shared.history.acknowledged,
            just_true: self.just_true.clone(),
            ..Outcome::default()
        }
    }
}

fn unmet(expect: &Expect, (history, delivery): (&History, &Delivery), leader_changes: u64) -> Option<String> {
    let counted = [
        ("acknowledged", history.acknowledged, expect.acked_at_least),
        ("processed again", delivery.again, expect.processed_again_at_least),
        ("left out", delivery.left_out(), expect.left_out_at_least),
    ];
    for (what, count, least) in counted {
        if let Some(least) = least.filter(|least| count < *least) {
            return Some(format!("{count} records were {what}, {least} expected"));
        }
    }
    let bounds = expect.leader_changes.unwrap_or_default();
    if bounds.min.is_some_and(|min| leader_changes < min) || bounds.max.is_some_and(|max| leader_changes > max) {
        return Some(format!("{leader_changes} leader changes, expected {bounds:?}"));
    }
    None
}

/// A step of the timeline that may still happen.
struct Pending {
    step: Step,
    next_at: Option<u64>,
    condition: Option<Condition>,
}

impl Pending {
    fn new(step: &Step) -> Self {
        let condition = step.when.as_deref().map(|words| Condition::parse(words).expect("the scenario was checked"));
        Self { step: step.clone(), next_at: step.at.map(Span::nanos), condition }
    }

    /// Whether it happens now, `since` nanoseconds into the story. A repeated step arms itself again.
    fn is_due(&mut self, since: u64, world: &World) -> bool {
        if self.condition.as_ref().is_some_and(|condition| condition.holds(&world.shared().borrow().judge.ledger)) {
            self.condition = None;
            let Some(after) = self.step.after else { return true };
            self.next_at = Some(since + after.nanos());
        }
        if self.next_at.is_none_or(|at| at > since) {
            return false;
        }
        self.next_at = self.step.every.map(|every| since + every.nanos().max(1));
        true
    }
}
