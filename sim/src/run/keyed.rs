//! Every draw is keyed by what it is for: one more program that draws, logs, spawns and sleeps moves no fault and no
//! operation of anybody else.

use super::*;
use crate::swarm;
use runtime::{rand, task, time};

/// Draws, logs, spawns and sleeps, and touches nobody.
async fn bystander(_bootstrap: Vec<String>) -> Result<(), String> {
    for _ in 0..500 {
        let drawn = rand::range(1..60);
        tracing::info!(drawn, "a line more");
        task::spawn(async move { time::sleep(Duration::from_millis(drawn)).await });
        time::sleep(Duration::from_millis(rand::range(1..90))).await;
    }
    Ok(())
}

/// When which fault began and which record was sent, in a run with this program in it.
fn schedule(seed: u64, service: Option<Service>) -> Vec<String> {
    let options = Options { keep: Some(0..u64::MAX), ..Options::default() };
    let outcome = run_with(&swarm::scenario(seed), seed, options, service);
    assert!(outcome.failure.is_none(), "{:?}", outcome.failure);
    // The client of the final drain comes after all others, and has another machine where there is one more.
    let is_drain = |line: &str| line.contains(&format!("writer: {}", crate::event::Tag::DRAIN_WRITER));
    let is_part = |line: &&String| line.contains("FaultBegan") || (line.contains("SendInvoked") && !is_drain(line));
    // Without the number of the event, which counts whatever is told by whom.
    let parts = outcome.kept.iter().filter(is_part).filter_map(|line| line.split_once(' '));
    parts.map(|(_, rest)| rest.to_owned()).collect()
}

#[test]
fn one_more_program_moves_no_fault_and_no_operation() {
    for seed in [3, 4] {
        let alone = schedule(seed, None);
        let watched = schedule(seed, Some(Box::new(|bootstrap| Box::pin(bystander(bootstrap)))));
        let differs = alone.iter().zip(&watched).find(|(one, other)| one != other);
        assert_eq!(differs, None, "seed {seed}");
        assert!(alone.len() > 50 && alone.iter().any(|line| line.contains("FaultBegan")));
    }
}
