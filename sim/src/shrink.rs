//! Pure. From a scenario that fails to a small one that fails the same way: delta debugging (Zeller and Hildebrandt, 2002)
//! over its story, then over the strength of what happens, then over clients and cluster; in the end, over when.
//!
//! The seed stays: every draw is keyed by what it is for, so what is taken away moves nothing else.

use crate::{
    faults,
    scenario::{Cluster, Scenario, Span, Step, WorkloadKind},
};
use std::time::Duration;

/// Nothing lasts shorter than this.
const LEAST: Duration = Duration::from_millis(100);

/// What may be tried of a kind, boldest first. Each candidate is smaller than what it is made of, so that the search ends.
type Pass = fn(&Scenario) -> Vec<Scenario>;

const PASSES: &[Pass] = &[shorter, fewer_steps, fewer_clients, smaller_cluster, weaker, sooner_over];

/// A search under way: candidates come out, verdicts go in.
#[derive(Clone, Debug)]
pub struct Shrink {
    /// The smallest scenario that fails so far.
    pub best: Scenario,
    /// How many candidates were judged.
    pub judged: u32,
    pass: usize,
    /// Whether this round of passes has found anything.
    found: bool,
    waiting: Vec<Scenario>,
}

impl Shrink {
    /// Begins with a scenario that fails.
    pub fn new(scenario: Scenario) -> Self {
        let waiting = PASSES[0](&scenario);
        Self { best: scenario, judged: 0, pass: 0, found: false, waiting }
    }

    /// The next candidates, at most so many, boldest first; none when there is nothing left to try.
    pub fn candidates(&mut self, count: usize) -> Vec<Scenario> {
        while self.waiting.is_empty() {
            self.pass += 1;
            if self.pass == PASSES.len() {
                if !std::mem::take(&mut self.found) {
                    return Vec::new();
                }
                self.pass = 0;
            }
            self.waiting = PASSES[self.pass](&self.best);
        }
        self.waiting.drain(..count.min(self.waiting.len())).collect()
    }

    /// Takes the verdicts on candidates, in their order: whether each fails as the first one did. The boldest that does is
    /// gone on with.
    pub fn judged(&mut self, candidates: Vec<Scenario>, fails: &[bool]) {
        self.judged += candidates.len() as u32;
        if let Some(smaller) = candidates.into_iter().zip(fails).find_map(|(one, fails)| fails.then_some(one)) {
            self.found = true;
            self.waiting = PASSES[self.pass](&smaller);
            self.best = smaller;
        }
    }
}

/// The story ends earlier, and what was to come later does not happen.
fn shorter(of: &Scenario) -> Vec<Scenario> {
    let cut = |per_cent: u32| {
        let lasts = Span((of.lasts.0 * per_cent / 100).max(Duration::from_secs(1)));
        let timeline = of.timeline.iter().filter(|step| step.at.is_none_or(|at| at < lasts)).cloned().collect();
        Scenario { lasts, timeline, ..of.clone() }
    };
    [25, 50, 75, 90].map(cut).into_iter().filter(|one| one.lasts < of.lasts).collect()
}

/// Pieces of the timeline are left out: halves, quarters, single steps.
fn fewer_steps(of: &Scenario) -> Vec<Scenario> {
    let all = of.timeline.len();
    let mut candidates = Vec::new();
    let mut piece = all.div_ceil(2);
    while piece > 0 {
        for begin in (0..all).step_by(piece) {
            let kept = of.timeline.iter().enumerate().filter(|(at, _)| !(begin..begin + piece).contains(at));
            candidates.push(Scenario { timeline: kept.map(|(_, step)| step.clone()).collect(), ..of.clone() });
        }
        piece = if piece == 1 { 0 } else { piece.div_ceil(2) };
    }
    candidates
}

/// How many records a producer may be left with, where it has no number yet.
const RECORDS: [u64; 6] = [4, 8, 16, 32, 64, 256];

/// Fewer clients, that write less.
fn fewer_clients(of: &Scenario) -> Vec<Scenario> {
    let mut candidates = Vec::new();
    for at in (0..of.workloads.len()).rev() {
        let mut one = of.clone();
        one.workloads.remove(at);
        candidates.push(one);
    }
    let mut with = |at: usize, change: &dyn Fn(&mut crate::scenario::Workload)| {
        let mut one = of.clone();
        change(&mut one.workloads[at]);
        if one != *of {
            candidates.push(one);
        }
    };
    for (at, workload) in of.workloads.iter().enumerate() {
        with(at, &|workload| workload.clients = 1);
        if workload.kind == WorkloadKind::Produce {
            match workload.records {
                None => RECORDS.iter().for_each(|most| with(at, &|workload| workload.records = Some(*most))),
                Some(most) => {
                    for fewer in [most / 2, most * 3 / 4, most - 1] {
                        with(at, &|workload| workload.records = Some(fewer.max(1).min(most)));
                    }
                }
            }
            with(at, &|workload| workload.rate_per_s = (workload.rate_per_s / 2).max(1));
        }
    }
    candidates
}

/// Fewer topics, partitions and brokers, and settings as they are by themselves.
fn smaller_cluster(of: &Scenario) -> Vec<Scenario> {
    let mut candidates = Vec::new();
    let mut with = |change: &dyn Fn(&mut Scenario)| {
        let mut one = of.clone();
        change(&mut one);
        if one != *of {
            candidates.push(one);
        }
    };
    for at in 1..of.topics.len() {
        with(&|one| {
            let gone = one.topics.remove(at).name;
            one.workloads.retain(|workload| workload.topic != gone);
        });
    }
    with(&|one| one.cluster.properties.clear());
    with(&|one| one.topics.iter_mut().for_each(|topic| topic.configs.clear()));
    with(&|one| one.workloads.iter_mut().for_each(|workload| workload.keys = None));
    with(&|one| one.topics.iter_mut().for_each(|topic| topic.partitions = 1));
    with(&|one| one.cluster.brokers = one.cluster.brokers.min(3));
    with(&|one| one.cluster.delay_us = Cluster::default().delay_us);
    with(&|one| one.cluster.combined = true);
    for key in of.cluster.properties.keys() {
        with(&|one| drop(one.cluster.properties.remove(key)));
    }
    candidates
}

/// What happens in the place of something worse.
const MILDER: &[(&str, &str)] = &[
    ("power-loss", "kill"),
    ("crash-loop", "kill"),
    ("kill", "restart"),
    ("disk-replaced", "power-loss"),
    ("lost-files", "kill"),
    ("isolate", "partition"),
    ("bridge", "partition"),
    ("flapping-link", "partition"),
    ("partition", "one-way-cut"),
    ("disk-stall", "disk-slow"),
];

/// Milder faults, shorter and less strong ones.
fn weaker(of: &Scenario) -> Vec<Scenario> {
    let mut candidates = Vec::new();
    for (at, step) in of.timeline.iter().enumerate() {
        let mut with = |change: &dyn Fn(&mut Step)| {
            let mut one = of.clone();
            change(&mut one.timeline[at]);
            if one != *of {
                candidates.push(one);
            }
        };
        let kind = step.fault.as_deref();
        if let Some((_, milder)) = MILDER.iter().find(|(worse, _)| kind == Some(worse)) {
            with(&|step| step.fault = Some((*milder).into()));
        }
        with(&|step| step.other = None);
        if step.node.as_deref() == Some("all") {
            with(&|step| step.node = Some(format!("leader of {}-0", of.topics[0].name)));
        }
        if let Some(lasts) = step.lasts {
            with(&|step| step.lasts = Some(Span(rounded(lasts.0 / 4).max(LEAST).min(lasts.0))));
            with(&|step| step.lasts = Some(Span(rounded(lasts.0 / 2).max(LEAST).min(lasts.0))));
        }
        let least = kind.and_then(faults::find).and_then(|kind| kind.strength).map(|(least, _)| least);
        if let (Some(strength), Some(least)) = (step.strength, least) {
            with(&|step| step.strength = Some((strength / 2).max(least).min(strength)));
        }
    }
    candidates
}

/// Steps that wait for a fact instead of for a time, one candidate after another: what holds then holds on other machines
/// and after small changes of the code too. `just_true` tells, by a step's number, the facts for which it could wait.
pub fn waiting_for_facts(of: &Scenario, step: usize, just_true: &[String]) -> Vec<Scenario> {
    let instead = |fact: &String| {
        let mut one = of.clone();
        let step = &mut one.timeline[step];
        (step.at, step.when) = (None, Some(fact.clone()));
        one
    };
    let is_timed = of.timeline[step].at.is_some() && of.timeline[step].every.is_none();
    if is_timed { just_true.iter().map(instead).collect() } else { Vec::new() }
}

/// Whole tenths of a second, where that is not longer.
fn rounded(lasts: Duration) -> Duration {
    let millis = lasts.as_millis() as u64;
    Duration::from_millis(if millis > 1_000 { millis / 100 * 100 } else { millis })
}

/// Pauses of the timeline are cut: everything from a step on happens sooner.
fn sooner_over(of: &Scenario) -> Vec<Scenario> {
    let mut candidates = Vec::new();
    for (at, step) in of.timeline.iter().enumerate() {
        let before = of.timeline[..at].iter().filter_map(|step| step.at).max().unwrap_or(Span::millis(1_000));
        let Some(gap) = step.at.and_then(|at| at.0.checked_sub(before.0)).filter(|gap| *gap > LEAST * 5) else {
            continue;
        };
        let sooner = rounded(gap / 2);
        let mut one = of.clone();
        for later in &mut one.timeline[at..] {
            later.at = later.at.map(|at| Span(at.0.saturating_sub(sooner)));
        }
        one.lasts = Span(one.lasts.0.saturating_sub(sooner).max(Duration::from_secs(1)));
        candidates.push(one);
    }
    candidates
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swarm;

    /// Shrinks by an oracle, and answers with the result.
    fn shrunk(scenario: Scenario, fails: impl Fn(&Scenario) -> bool) -> Shrink {
        assert!(fails(&scenario));
        let mut search = Shrink::new(scenario);
        loop {
            let candidates = search.candidates(2);
            if candidates.is_empty() {
                return search;
            }
            let verdicts: Vec<bool> = candidates.iter().map(&fails).collect();
            search.judged(candidates, &verdicts);
            assert!(search.judged < 5_000, "it does not end: {}", search.best.to_toml());
        }
    }

    fn faults_of(scenario: &Scenario) -> Vec<&str> {
        scenario.timeline.iter().filter_map(|step| step.fault.as_deref()).collect()
    }

    #[test]
    fn what_a_failure_does_not_need_goes() {
        let busy = (0..).map(swarm::scenario).find(|one| one.timeline.len() > 12 && faults_of(one).contains(&"loss"));
        let fails = |one: &Scenario| faults_of(one).contains(&"loss") && !one.workloads.is_empty();
        let small = shrunk(busy.expect("the swarm draws one"), fails).best;
        assert_eq!((faults_of(&small), small.workloads.len()), (vec!["loss"], 1));
        assert_eq!((small.workloads[0].clients, small.topics.len(), small.cluster.brokers), (1, 1, 3));
        assert!(small.cluster.properties.is_empty() && small.lasts <= Span::millis(2_000), "{}", small.to_toml());
    }

    #[test]
    fn two_faults_that_only_fail_together_stay() {
        let both = |one: &Scenario| {
            let faults = faults_of(one);
            let kills = faults.iter().filter(|fault| ["kill", "restart"].contains(fault)).count();
            kills >= 2 && faults.contains(&"pause")
        };
        let busy = (0..).map(swarm::scenario).find(|one| both(one)).expect("the swarm draws one");
        let small = shrunk(busy, both).best;
        assert_eq!(faults_of(&small).len(), 3, "{}", small.to_toml());
        assert!(!faults_of(&small).contains(&"kill"), "a milder fault does it too");
    }

    #[test]
    fn every_candidate_is_a_scenario_that_can_be_written_and_read() {
        for seed in 0..30 {
            let scenario = swarm::scenario(seed);
            for candidate in PASSES.iter().flat_map(|pass| pass(&scenario)) {
                assert_ne!(candidate, scenario);
                assert_eq!(Scenario::parse(&candidate.to_toml()).as_ref(), Ok(&candidate));
            }
        }
    }

    #[test]
    fn a_step_may_wait_for_a_fact_instead_of_its_time() {
        let of = swarm::scenario(7);
        let facts = ["leader_epoch(orders-0) >= 2".to_owned(), "high_watermark(orders-0) >= 40".to_owned()];
        let candidates = waiting_for_facts(&of, 0, &facts);
        assert_eq!(candidates.len(), 2);
        for (candidate, fact) in candidates.iter().zip(&facts) {
            assert_eq!((candidate.timeline[0].at, candidate.timeline[0].when.as_ref()), (None, Some(fact)));
            assert_eq!(Scenario::parse(&candidate.to_toml()).as_ref(), Ok(candidate));
            assert!(waiting_for_facts(candidate, 0, &facts).is_empty(), "it waits already");
        }
    }

    #[test]
    fn what_cannot_be_smaller_is_left() {
        let small = shrunk(swarm::scenario(7), |_| true).best;
        assert!(small.timeline.is_empty() && small.workloads.is_empty() && small.topics.len() == 1);
    }
}
