//! `gregor sim selftest`: does the search find bugs that are known to be there, and the check for determinism leaks?

use super::{NOT_REACHED, parallel};
use crate::output::{self, Failure, Format};
use runtime::{
    simulation::canaries::{self, Canary},
    task::block_on_real,
};
use sim::{
    driver::{self, Done, Extra, Plan},
    mutants::{self, Mutant},
    token::{Job, SCENARIOS, SWARM, Token},
};
use std::process::ExitCode;

/// What stands for all canaries.
const CANARIES: &str = "canaries";
/// The seed into whose run leaks are let.
const CANARY_SEED: u64 = 1;

/// See [`super::Command`].
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  gregor sim selftest\n  gregor sim selftest Z04 S01\n  gregor sim selftest canaries\n  gregor sim selftest Z04 --rate 200"
)]
pub struct Selftest {
    /// Ids or names of mutants, names of canaries, or `canaries`; everything without one
    names: Vec<String>,
    /// Runs so many seeds of each mutant, caught or not, and tells how many catch it
    #[arg(long, value_name = "SEEDS")]
    rate: Option<u64>,
    /// How many processes at a time
    #[arg(long)]
    jobs: Option<usize>,
    /// How to print the result
    #[arg(short, long, value_enum, default_value = "table")]
    output: Format,
}

impl Selftest {
    /// Runs the command.
    pub fn run(self) -> Result<ExitCode, Failure> {
        let (mutants, canaries) = chosen(&self.names)?;
        let mut holes = 0;
        let mut rows = Vec::new();
        for mutant in &mutants {
            let (row, caught) = self.of_mutant(mutant)?;
            eprintln!("{}", row[..6].join("  "));
            holes += usize::from(!caught);
            rows.push(row);
        }
        if !mutants.is_empty() {
            let headings = ["ID", "MUTANT", "RESULT", "BY", "SEEDS", "RATE", "DIVERGED", "REPLAY"];
            output::print_rows(self.output, &headings, &rows)?;
        }
        rows.clear();
        for canary in &canaries {
            let (row, as_expected) = block_on_real(of_canary(canary))?;
            eprintln!("{}", row.join("  "));
            holes += usize::from(!as_expected);
            rows.push(row);
        }
        if !canaries.is_empty() {
            output::print_rows(self.output, &["CANARY", "EXPECTED", "RESULT", "ABOUT"], &rows)?;
        }
        Ok(ExitCode::from(if holes > 0 { NOT_REACHED } else { 0 }))
    }

    /// Searches for a mutant until it is caught or its seeds are used up, and then by the scenarios that are kept for it.
    fn of_mutant(&self, mutant: &'static Mutant) -> Result<(Vec<String>, bool), Failure> {
        let job = |seed| Job { source: SWARM.into(), seed, mutant: Some(mutant.id.to_string()) };
        let seeds = 1..=self.rate.unwrap_or(mutant.seeds_max);
        let plan =
            Plan { stop_at_failure: self.rate.is_none(), ..Plan::new(seeds.clone().map(job), parallel(self.jobs)) };
        let mut all = block_on_real(driver::execute(plan, |_, _| {}))?;
        all.sort_by_key(|done| done.job.seed);
        let caught = all.iter().filter(|done| done.outcome.failure.is_some()).count();
        let rate = self.rate.map_or(String::new(), |of| format!("{caught} of {of}"));
        if caught == 0 {
            // What no seed reaches soon, a kept scenario may be there for.
            let plan = Plan { stop_at_failure: true, ..Plan::new(pinning(mutant.id)?, 1) };
            all.extend(block_on_real(driver::execute(plan, |_, _| {}))?);
        }
        let diverged: u64 = all.iter().map(|done| done.outcome.diverged).sum();
        let row = |result: &str, by: &str, seeds: String, replay: String| {
            let (id, name) = (mutant.id.into(), mutant.name.into());
            vec![id, name, result.into(), by.into(), seeds, rate.clone(), diverged.to_string(), replay]
        };
        let failing = |done: &Done| Some((done.job.clone(), done.outcome.failure.clone()?));
        Ok(match all.iter().find_map(failing) {
            Some((job, failure)) => {
                let expected = mutant.expected.contains(&failure.claim.as_str());
                let result = if expected { "caught" } else { "caught by another" };
                let seeds = if job.source == SWARM { job.seed.to_string() } else { job.source.clone() };
                (row(result, &failure.claim, seeds, Token::of(&job).to_string()), true)
            }
            None => {
                let result = if diverged > 0 { "reached, not caught" } else { "never reached" };
                (row(result, "", format!("> {}", seeds.end()), String::new()), false)
            }
        })
    }
}

/// The mutants and the canaries that names stand for.
fn chosen(names: &[String]) -> Result<(Vec<&'static Mutant>, Vec<&'static Canary>), Failure> {
    if names.is_empty() {
        return Ok((mutants::ALL.iter().collect(), canaries::ALL.iter().collect()));
    }
    let (mut some, mut leaks) = (Vec::new(), Vec::new());
    for name in names {
        if name == CANARIES {
            leaks.extend(canaries::ALL);
        } else if let Some(mutant) = mutants::find(name) {
            some.push(mutant);
        } else if let Some(canary) = canaries::find(name) {
            leaks.push(canary);
        } else {
            return Err(Failure::usage(format!("there is no mutant or canary '{name}'; `gregor sim list` shows them")));
        }
    }
    Ok((some, leaks))
}

/// The runs of the kept scenarios that must catch this mutant.
fn pinning(mutant: &str) -> Result<Vec<Job>, Failure> {
    let mut jobs = Vec::new();
    for (name, text) in SCENARIOS {
        let scenario = sim::scenario::Scenario::parse(text).map_err(Failure::usage)?;
        if scenario.pins.iter().any(|pin| pin == mutant) {
            let job = |seed| Job { source: (*name).into(), seed, mutant: Some(mutant.into()) };
            jobs.extend(scenario.seeds.into_iter().map(job));
        }
    }
    Ok(jobs)
}

/// Lets a leak into two runs of one seed, in different surroundings, and compares.
async fn of_canary(canary: &Canary) -> Result<(Vec<String>, bool), Failure> {
    let job = Job { source: SWARM.into(), seed: CANARY_SEED, mutant: None };
    let leaking = Extra { canary: Some(canary.name), ..Extra::default() };
    let one = driver::again(&job, leaking).await?;
    let other = driver::again(&job, Extra { second: true, ..leaking }).await?;
    let failure = [&one, &other].into_iter().find_map(|outcome| outcome.failure.as_ref());
    let (found, result) = match failure {
        Some(failure) => {
            (true, format!("found: {}: {}", failure.claim, failure.what.chars().take(80).collect::<String>()))
        }
        None if one.hash == other.hash => (false, "equal".to_owned()),
        None => (true, format!("found: {}", where_it_differs(&job, canary).await?)),
    };
    let expected = if canary.contained { "contained" } else { "found" };
    let row = vec![canary.name.into(), expected.into(), result, canary.about.into()];
    Ok((row, found != canary.contained))
}

/// The first event that differs: it must be the leak, for nothing else may follow from it sooner.
async fn where_it_differs(job: &Job, canary: &Canary) -> Result<String, Failure> {
    let difference = driver::difference(job, Some(canary.name)).await?;
    let first = difference.and_then(|difference| difference.then[0].first().cloned());
    Ok(first.unwrap_or_else(|| "the hashes differ, the traces do not".into()))
}
