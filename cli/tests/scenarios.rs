//! Every kept scenario's first seed, told as a story: it moves when behaviour moves, and not otherwise.

#![cfg(madsim)]

use sim::{
    run::{self, Options},
    scenario::Scenario,
    token::SCENARIOS,
};
use std::{
    collections::BTreeMap,
    num::NonZero,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

#[test]
fn kept_stories_are_as_they_were() {
    let next = AtomicUsize::new(0);
    let stories: Mutex<BTreeMap<&str, String>> = Mutex::default();
    let tells = || {
        while let Some((name, text)) = SCENARIOS.get(next.fetch_add(1, Ordering::Relaxed)) {
            let scenario = Scenario::parse(text).expect("a kept scenario is valid");
            let seed = scenario.seeds[0];
            let outcome = run::run(&scenario, seed, Options::default());
            assert!(outcome.failure.is_none(), "{name}: {:?}", outcome.failure);
            let story = format!("{name}  seed {seed}\n{}", outcome.story.join("\n"));
            stories.lock().expect("nobody panicked").insert(name, story);
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(tells);
        }
    });
    for (name, story) in stories.into_inner().expect("nobody panicked") {
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path("../../scenarios/snapshots");
        settings.set_prepend_module_to_snapshot(false);
        settings.bind(|| insta::assert_snapshot!(name.replace('/', "_"), story));
    }
}
