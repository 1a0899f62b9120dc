//! For programs that use a cluster: their own tests, run inside the seeded world against the real broker code.
//!
//! The program is written on gregor's `client` and takes its time, its tasks and its locks from `runtime`; it is compiled
//! with `--cfg madsim`, as gregor's own `.cargo/config.toml` does it.
//!
//! ```no_run
//! # use client::{cluster::{Cluster, ClusterOptions}, producer::{Producer, ProducerOptions, ProducerRecord}};
//! sim::service::check(sim::service::THREE_BROKERS, 1..=10, |bootstrap| async move {
//!     let producer = Producer::new(Cluster::new(ClusterOptions::new(bootstrap)), ProducerOptions::default());
//!     let told = producer.send("orders", None, ProducerRecord::value("paid")).await;
//!     told.map(drop).map_err(|error| format!("an order was lost: {error}"))
//! });
//! ```

use crate::{
    run::{self, Options, Outcome},
    scenario::Scenario,
};

/// Three brokers, the topic `orders`, and a leader that dies twice: a scenario to begin with.
pub const THREE_BROKERS: &str = r#"
title = "A leader dies, and its successor too"
lasts = "20s"
timeline = [
  { at = "2s", fault = "kill", node = "leader of orders-0", lasts = "4s" },
  { at = "8s", fault = "power-loss", node = "leader of orders-0", lasts = "4s" },
]
[[topic]]
name = "orders"
partitions = 3
"#;

/// Runs a program once in the world of a scenario: it starts with the story, gets the addresses of the brokers, and is to
/// come to a good end by the time when everything is healed again.
///
/// # Errors
/// What is wrong with the scenario's file.
pub fn run<F>(
    scenario: &str,
    seed: u64,
    program: impl FnOnce(Vec<String>) -> F + Send + 'static,
) -> Result<Outcome, String>
where
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    let scenario = Scenario::parse(scenario)?;
    let service: run::Service = Box::new(move |bootstrap| Box::pin(program(bootstrap)));
    Ok(run::run_with(&scenario, seed, Options::default(), Some(service)))
}

/// A test: runs a program from each seed, and panics with the story of the first in which the program complains, panics or
/// does not end, or in which the cluster breaks a promise.
///
/// # Panics
/// As said, and where the scenario's file is wrong.
pub fn check<F>(
    scenario: &str,
    seeds: impl IntoIterator<Item = u64>,
    program: impl Fn(Vec<String>) -> F + Clone + Send + 'static,
) where
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    for seed in seeds {
        let outcome = match run(scenario, seed, program.clone()) {
            Ok(outcome) => outcome,
            Err(wrong) => panic!("{wrong}"),
        };
        if let Some(failure) = outcome.failure {
            let story = outcome.story.join("\n");
            panic!("seed {seed}: {}: {}\nat {:.3} s virtual\n{story}", failure.claim, failure.what, failure.at_seconds);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use client::{
        cluster::{Cluster, ClusterOptions},
        producer::{Acks, Producer, ProducerOptions, ProducerRecord},
    };
    use runtime::time;
    use std::time::Duration;

    async fn write(bootstrap: Vec<String>, acks: Acks) -> Result<(), String> {
        let options = ProducerOptions { acks, ..ProducerOptions::default() };
        let producer = Producer::new(Cluster::new(ClusterOptions::new(bootstrap)), options);
        for order in 0..50 {
            let record = ProducerRecord::value(format!("order {order}"));
            producer.send("orders", None, record).await.map_err(|error| format!("order {order}: {error}"))?;
            time::sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }

    #[test]
    fn a_program_that_waits_for_all_survives_the_death_of_leaders() {
        check(THREE_BROKERS, 1..=2, |bootstrap| write(bootstrap, Acks::All));
    }

    #[test]
    fn what_a_program_complains_of_fails_the_run() {
        let told = run(THREE_BROKERS, 1, |_| async { Err("the till is empty".to_owned()) }).expect("a good file");
        let failure = told.failure.expect("it complains");
        assert_eq!((failure.claim.as_str(), failure.what.as_str()), ("service", "the till is empty"));
    }

    #[test]
    fn a_program_that_does_not_end_fails_the_run() {
        let told = run(THREE_BROKERS, 1, |_| std::future::pending()).expect("a good file");
        assert_eq!(told.failure.expect("it hangs").claim, "settles");
    }
}
