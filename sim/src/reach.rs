//! What a search must reach: every `sometimes!`, `reachable!` and `buggify!` that is linked into this program, and every
//! kind of fault. A search that stays green because it never got there is worse than none.

use crate::{faults, run::Outcome};
use runtime::observe::{Site, SiteKind, sites};
use std::collections::{BTreeMap, BTreeSet};

/// From so many runs on a sweep that has not reached everything has failed.
pub const RUNS: usize = 2_000;

/// The ledger knows one log of a partition on a broker.
const ONE_DIRECTORY: &str = "simulated brokers have one log directory each";

/// A guard for what may happen by the rules, and what no sweep has seen yet.
const NOT_SEEN: &str = "too rare: no sweep has seen it";

/// Names that no run of the swarm can reach, and why.
const ELSEWHERE: &[(&str, &str)] = &[
    ("a broker starts without one of its log directories", ONE_DIRECTORY),
    ("a log changed while it was copied to another directory", ONE_DIRECTORY),
    ("a log was found in two directories", ONE_DIRECTORY),
    ("a replica moved to another directory", ONE_DIRECTORY),
    ("controller: a decision's outcome is unknown", NOT_SEEN),
    ("controller: a stale decision is not applied", NOT_SEEN),
    ("a leader that had lost its leadership sent what it was writing", NOT_SEEN),
    ("a fetch names an epoch that its session has not", "gregor's own clients never do"),
];

/// In how many runs each name was reached that must be, with those that were not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// The names, with the number of runs.
    pub names: BTreeMap<String, u64>,
}

impl Reached {
    /// Of these runs.
    pub fn of<'a>(outcomes: impl IntoIterator<Item = &'a Outcome>) -> Self {
        Self::among(required(), outcomes)
    }

    fn among<'a>(required: BTreeSet<String>, outcomes: impl IntoIterator<Item = &'a Outcome>) -> Self {
        let mut names: BTreeMap<String, u64> = required.into_iter().map(|name| (name, 0)).collect();
        for outcome in outcomes {
            let faults = outcome.faults.keys().map(|kind| fault(kind));
            for name in outcome.reached.keys().cloned().chain(faults) {
                if let Some(runs) = names.get_mut(&name) {
                    *runs += 1;
                }
            }
        }
        Self { names }
    }

    /// What no run has reached.
    pub fn missing(&self) -> Vec<&str> {
        self.names.iter().filter(|(_, runs)| **runs == 0).map(|(name, _)| name.as_str()).collect()
    }

    /// What the fewest runs have reached, the rarest first, with how many they are.
    pub fn rarest(&self, count: usize) -> Vec<(&str, u64)> {
        let mut reached: Vec<(&str, u64)> =
            self.names.iter().filter(|(_, runs)| **runs > 0).map(|(name, runs)| (name.as_str(), *runs)).collect();
        reached.sort_by_key(|(name, runs)| (*runs, *name));
        reached.truncate(count);
        reached
    }
}

/// How a kind of fault is named among what must be reached.
fn fault(kind: &str) -> String {
    format!("fault: {kind}")
}

/// Everything that a search must reach.
fn required() -> BTreeSet<String> {
    let is_mark = |site: &Site| matches!(site.kind, SiteKind::Sometimes | SiteKind::Reachable | SiteKind::Buggify);
    let is_here = |site: &Site| ELSEWHERE.iter().all(|(name, _)| *name != site.name);
    let marks = sites().into_iter().filter(|site| is_mark(site) && is_here(site)).map(|site| site.name.to_string());
    marks.chain(faults::all().iter().map(|kind| fault(kind.name))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(reached: &[&str], faults: &[&str]) -> Outcome {
        let counts = |names: &[&str]| names.iter().map(|name| (name.to_string(), 3)).collect();
        Outcome { reached: counts(reached), faults: counts(faults), ..Outcome::default() }
    }

    #[test]
    fn what_no_run_reached_is_named_and_what_few_did_comes_first() {
        let required = ["a", "b", "c", "fault: kill"].map(str::to_owned).into();
        let runs = [outcome(&["a", "b", "unknown"], &["kill"]), outcome(&["a"], &[])];
        let reached = Reached::among(required, &runs);
        assert_eq!(reached.missing(), ["c"]);
        assert_eq!(reached.rarest(2), [("b", 1), ("fault: kill", 1)]);
    }

    #[test]
    fn the_marks_of_every_crate_are_asked_for() {
        let required = required();
        for name in ["the ISR shrank", "roll before an append", "recovery cut a torn tail", "fault: power-loss"] {
            assert!(required.contains(name), "{name}");
        }
        for (name, why) in ELSEWHERE {
            assert!(!why.is_empty() && sites().iter().any(|site| site.name == *name), "{name} is no mark");
        }
    }
}
