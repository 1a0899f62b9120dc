//! Every kept scenario's first seed, told as a story: it moves when behaviour moves, and not otherwise.

#![cfg(madsim)]

use sim::{
    run::{self, Options},
    scenario::Scenario,
    token::SCENARIOS,
};

#[test]
fn kept_stories_are_as_they_were() {
    for (name, text) in SCENARIOS {
        let scenario = Scenario::parse(text).expect("a kept scenario is valid");
        let seed = scenario.seeds[0];
        let outcome = run::run(&scenario, seed, Options::default());
        assert!(outcome.failure.is_none(), "{name}: {:?}", outcome.failure);
        let story = format!("{name}  seed {seed}\n{}", outcome.story.join("\n"));
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path("../../scenarios/snapshots");
        settings.set_prepend_module_to_snapshot(false);
        settings.bind(|| insta::assert_snapshot!(name.replace('/', "_"), story));
    }
}
