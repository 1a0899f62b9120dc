//! Pure. Where a search goes next: schedules that reached what few others did are kept, and changed a little. What is
//! changed is what happens, to whom, when and for how long; never bytes.

use crate::scenario::{Scenario, Span, Step};
use std::{collections::BTreeMap, time::Duration};

/// A name is rare while no more runs than these have reached it.
const RARE: u64 = 3;
/// So many schedules are kept at most; the oldest go first.
const KEPT_MAX: usize = 200;
/// No change moves a step before this time.
const QUIET: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Guide {
    kept: Vec<(Scenario, u64)>,
    runs: BTreeMap<String, u64>,
}

/// A generator of its own for each child.
struct Draws(u64);

impl Draws {
    fn below(&mut self, end: usize) -> usize {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((word ^ (word >> 31)) % end.max(1) as u64) as usize
    }
}

impl Guide {
    /// Learns what a run has reached, and keeps its schedule if any of that is rare.
    pub fn learn<'a>(&mut self, scenario: &Scenario, seed: u64, reached: impl IntoIterator<Item = &'a str>) {
        let mut is_rare = false;
        for name in reached {
            let runs = self.runs.entry(name.to_owned()).or_default();
            *runs += 1;
            is_rare |= *runs <= RARE;
        }
        if is_rare {
            if self.kept.len() == KEPT_MAX {
                self.kept.remove(0);
            }
            self.kept.push((scenario.clone(), seed));
        }
    }

    /// How many schedules are kept.
    pub fn kept(&self) -> usize {
        self.kept.len()
    }

    /// A child of one of the schedules that are kept, with the seed that it is run with: a function of the number and of
    /// what was learned. Nothing while nothing is kept.
    pub fn child(&self, number: u64) -> Option<(Scenario, u64)> {
        let mut draws = Draws(number);
        let (parent, seed) = self.kept.get(draws.below(self.kept.len()))?;
        let mut child = parent.clone();
        for _ in 0..1 + draws.below(3) {
            let other = &self.kept[draws.below(self.kept.len())].0;
            change(&mut child, other, &mut draws);
        }
        child.timeline.sort_by_key(|step| step.at);
        // Half of them in the very world of the parent, the others in another.
        let seed = if draws.below(2) == 0 { *seed } else { number };
        child.title = format!("A child of: {}", parent.title.trim_start_matches("A child of: "));
        child.seeds = vec![seed];
        Some((child, seed))
    }
}

/// Changes one thing.
fn change(child: &mut Scenario, other: &Scenario, draws: &mut Draws) {
    let steps = child.timeline.len();
    let which = draws.below(steps);
    match draws.below(7) {
        0 if steps > 1 => drop(child.timeline.remove(which)),
        1 if steps > 0 => {
            let again = moved(&child.timeline[which], child.lasts, draws);
            child.timeline.push(again);
        }
        2 if steps > 0 => child.timeline[which] = moved(&child.timeline[which], child.lasts, draws),
        3 if steps > 0 => {
            let names = ["leader of orders-0", "active controller"];
            let whom = draws.below(names.len() + child.cluster.brokers as usize);
            let name = names.get(whom).map_or_else(|| (whom - names.len() + 1).to_string(), |name| (*name).to_owned());
            let step = &mut child.timeline[which];
            step.node = step.node.is_some().then_some(name);
        }
        4 if steps > 0 => {
            let (per_cent, step) = (25 + draws.below(376) as u32, &mut child.timeline[which]);
            step.lasts = step.lasts.map(|lasts| Span(millis(lasts.0 * per_cent / 100)));
        }
        // What happened elsewhere happens here, from a time on.
        5 => {
            let from = Span(child.lasts.0 * draws.below(100) as u32 / 100);
            child.timeline.retain(|step| step.at.is_none_or(|at| at < from));
            child.timeline.extend(other.timeline.iter().filter(|step| step.at.is_some_and(|at| at >= from)).cloned());
        }
        _ => {
            let more = other.timeline.get(draws.below(other.timeline.len()));
            child.timeline.extend(more.cloned());
        }
    }
}

/// The same at another time.
fn moved(step: &Step, lasts: Span, draws: &mut Draws) -> Step {
    let range = lasts.0.saturating_sub(QUIET * 2).as_millis() as usize;
    let at = QUIET + Duration::from_millis(draws.below(range) as u64);
    Step { at: step.at.map(|_| Span(at)), ..step.clone() }
}

fn millis(lasts: Duration) -> Duration {
    Duration::from_millis((lasts.as_millis() as u64).max(100))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swarm;

    #[test]
    fn what_reaches_a_rare_name_is_kept_and_what_reaches_the_usual_is_not() {
        let mut guide = Guide::default();
        assert!(guide.child(1).is_none());
        (0..10).for_each(|seed| guide.learn(&swarm::scenario(seed), seed, ["usual"]));
        assert_eq!(guide.kept(), RARE as usize);
        guide.learn(&swarm::scenario(11), 11, ["usual", "rare"]);
        assert_eq!(guide.kept(), RARE as usize + 1);
    }

    #[test]
    fn children_differ_from_their_parents_and_can_be_written_and_read() {
        let mut guide = Guide::default();
        (0..20).for_each(|seed| guide.learn(&swarm::scenario(seed), seed, [format!("{seed}").as_str()]));
        let children: Vec<(Scenario, u64)> = (0..200).filter_map(|number| guide.child(number)).collect();
        for (child, seed) in &children {
            assert_eq!(Scenario::parse(&child.to_toml()).as_ref(), Ok(child));
            assert_eq!(child.seeds, [*seed]);
        }
        let unchanged = |child: &Scenario| guide.kept.iter().any(|(parent, _)| parent.timeline == child.timeline);
        assert!(children.iter().filter(|(child, _)| unchanged(child)).count() < 20);
        assert_eq!(guide.child(7), guide.child(7), "a child is a function of its number");
    }
}
