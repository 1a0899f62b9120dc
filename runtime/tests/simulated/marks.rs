//! The marks of a searched program: registered at link time, counted in each run.

use crate::run;
use runtime::{
    buggify, mutant, mutant_diverged,
    observe::{self, SiteKind},
    reachable,
    simulation::{self, Options},
    sometimes,
};

fn never_called() {
    reachable!("marks.never-reached");
}

#[test]
fn every_mark_is_known_without_being_reached() {
    let _ = never_called;
    let names: Vec<&str> =
        observe::sites().iter().filter(|site| site.kind == SiteKind::Reachable).map(|site| site.name).collect();
    assert!(names.contains(&"marks.never-reached"), "{names:?}");
}

#[test]
fn what_is_reached_is_counted_for_each_run() {
    for _ in 0..2 {
        let outcome = run(1, || async {
            for number in 0..10 {
                sometimes!(number % 3 == 0, "marks.divisible");
                sometimes!(number > 10, "marks.impossible");
                reachable!("marks.loop");
            }
        });
        assert_eq!(outcome.reached.get("marks.divisible"), Some(&4));
        assert_eq!(outcome.reached.get("marks.impossible"), None);
        assert_eq!(outcome.reached.get("marks.loop"), Some(&10));
    }
}

fn fired(seed: u64, enabled: bool) -> [u64; 2] {
    let options = Options { buggify: enabled, ..Options::default() };
    let outcome = simulation::run(seed, options, || async {
        let mut fired = [0; 2];
        for _ in 0..400 {
            fired[0] += u64::from(buggify!("marks.one"));
            fired[1] += u64::from(buggify!("marks.other"));
        }
        fired
    });
    outcome.result.expect("nothing can fail")
}

#[test]
fn rare_choices_are_taken_in_a_quarter_of_the_runs_a_quarter_of_the_time() {
    assert!((0..10).all(|seed| fired(seed, false) == [0, 0]));
    let runs: Vec<[u64; 2]> = (0..80).map(|seed| fired(seed, true)).collect();
    for site in 0..2 {
        let active: Vec<u64> = runs.iter().map(|fired| fired[site]).filter(|count| *count > 0).collect();
        assert!((8..33).contains(&active.len()), "active in {} of 80 runs", active.len());
        assert!(active.iter().all(|count| (60..140).contains(count)), "{active:?}");
    }
    assert!(runs.iter().any(|fired| fired[0] > 0 && fired[1] == 0), "sites are active each on its own");
    assert_eq!(fired(3, true), fired(3, true));
}

fn oldest_of(numbers: &[u32]) -> Option<u32> {
    let right = numbers.iter().copied().min();
    if mutant!("T01") {
        let wrong = numbers.first().copied();
        if wrong != right {
            mutant_diverged!("T01");
        }
        return wrong;
    }
    right
}

#[test]
fn a_mutant_is_switched_on_by_its_name_and_leaves_a_witness() {
    let with = |mutant: Option<&str>| {
        let options = Options { mutant: mutant.map(str::to_owned), ..Options::default() };
        simulation::run(1, options, || async { [oldest_of(&[2, 1]), oldest_of(&[1, 2])] })
    };
    let clean = with(None);
    assert_eq!(clean.result.unwrap(), [Some(1), Some(1)]);
    assert!(clean.diverged.is_empty() && clean.reached.is_empty());
    let mutated = with(Some("T01"));
    assert_eq!(mutated.result.unwrap(), [Some(2), Some(1)]);
    assert_eq!(mutated.diverged.get("T01"), Some(&1));
    assert_eq!(mutated.reached.get("T01"), Some(&2));
    assert_eq!(with(Some("T02")).result.unwrap(), [Some(1), Some(1)]);
    assert_eq!(oldest_of(&[2, 1]), Some(1));
    assert_eq!(simulation::with_mutant("T01", || oldest_of(&[2, 1])), Some(2));
}
