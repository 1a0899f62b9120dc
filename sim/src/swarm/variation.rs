//! Pure. A kept story as it might have gone: the same faults a little earlier or later, longer or shorter, on another node, some
//! of them missing, some of the swarm's own between them.
//!
//! A story is kept because four things that happened in the right order were dangerous once. Dice seldom throw those four
//! again, and what was mended there breaks next beside it. So fuzzers start from a corpus, and so does this.

use super::{Draws, has_group, timeline};
use crate::{
    faults,
    scenario::{Expect, Scenario, Span, Step},
    token::SCENARIOS,
};
use std::time::Duration;

/// Stories that a program has made out of a failing seed vary nothing but that seed.
const MADE: &str = "regressions/";
/// Steps that a story borrows from the swarm, at most.
const BORROWED_MAX: u64 = 3;

/// The variation that a seed draws.
pub fn scenario(draws: &Draws) -> Scenario {
    let stories = SCENARIOS.iter().filter(|(name, _)| !name.starts_with(MADE));
    // Each story bids for the seed, so that one story more moves only the seeds that it gets.
    let most = stories.max_by_key(|(name, _)| draws.draw(name, 0));
    let (name, text) = most.expect("there are kept stories");
    let story = Scenario::parse(text).expect("a kept story is valid");
    let steps = story.timeline.iter().enumerate();
    let mut timeline: Vec<Step> = steps.filter_map(|(nth, step)| vary(draws, nth as u64, step, &story)).collect();
    if draws.chance("borrow", 0, 50) {
        let theirs = self::timeline(draws, story.cluster.brokers, has_group(&story.workloads));
        let first = draws.draw("borrow-first", 0) as usize % theirs.len().max(1);
        let count = draws.between("borrow-count", 0, 1, BORROWED_MAX) as usize;
        timeline.extend(theirs.into_iter().skip(first).take(count).filter(|step| step.at < Some(story.lasts)));
    }
    let mut workloads = story.workloads;
    for (nth, workload) in workloads.iter_mut().enumerate() {
        let rate = u64::from(workload.rate_per_s);
        workload.rate_per_s = draws.log_between("varied-rate", nth as u64, rate.div_ceil(2), rate * 2) as u32;
    }
    Scenario {
        title: format!("what the swarm made of {name} with seed {:x}", draws.seed),
        seeds: vec![draws.seed],
        pins: Vec::new(),
        timeline,
        workloads,
        // What the story expects it need not expect of its variations; every invariant holds of them.
        expect: Expect::default(),
        ..story
    }
}

/// A step as it might have been, or none.
fn vary(draws: &Draws, nth: u64, step: &Step, story: &Scenario) -> Option<Step> {
    if draws.chance("forgotten", nth, 8) {
        return None;
    }
    let mut varied = step.clone();
    // A seed hurries everything a little, or moves it a lot.
    let shift_ms = draws.log_between("shift-most", 0, 20, 3_000);
    let later = Duration::from_millis(draws.between("shift", nth, 0, 2 * shift_ms));
    let shifted = |at: Span| Span((at.0 + later).saturating_sub(Duration::from_millis(shift_ms)));
    varied.at = step.at.map(shifted);
    varied.after = step.after.map(shifted);
    if let Some(lasts) = step.lasts.filter(|_| draws.chance("other-length", nth, 50)) {
        let millis = lasts.0.as_millis() as u64;
        varied.lasts = Some(Span::millis(draws.log_between("length", nth, (millis / 2).max(1), millis * 2)));
    }
    if step.fault.is_some() && draws.chance("other-node", nth, 8) {
        varied.node = Some(draws.between("other-node-is", nth, 1, story.cluster.brokers as u64).to_string());
    }
    let strengths = step.fault.as_ref().and_then(|kind| faults::find(kind)).and_then(|kind| kind.strength);
    if let Some((least, most)) = strengths.filter(|_| draws.chance("other-strength", nth, 30)) {
        varied.strength = Some(draws.log_between("strength-is", nth, least, most));
    }
    Some(varied)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_story_that_somebody_wrote_is_varied_and_no_other() {
        let varied: BTreeSet<String> = (0..600).map(|seed| scenario(&Draws { seed }).title).collect();
        for (name, _) in SCENARIOS {
            let is_varied = varied.iter().any(|title| title.contains(&format!(" {name} ")));
            assert_eq!(is_varied, !name.starts_with(MADE), "{name}");
        }
    }

    #[test]
    fn a_variation_is_a_scenario_that_differs_from_its_story_and_from_the_others() {
        let mut files = BTreeSet::new();
        for seed in 0..200 {
            let varied = scenario(&Draws { seed });
            assert_eq!(Scenario::parse(&varied.to_toml()).expect("a variation's own file"), varied);
            files.insert(format!("{:?}", varied.timeline));
        }
        // Of a story with one step nothing may be left.
        assert!(files.len() > 190, "{} of 200", files.len());
    }
}
