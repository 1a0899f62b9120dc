//! `gregor sim shrink` and `gregor sim pin`: from a run that fails to a small scenario that is kept.

use super::{OTHER_CODE, folder, parallel};
use crate::output::{Failure, table};
use runtime::{disk::Disk, task::block_on_real, time};
use sim::{
    driver::{self, Plan},
    run::Outcome,
    scenario::Scenario,
    shrink,
    token::{CODE_VERSION, Job, Token},
};
use std::{
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

/// The run does not fail, or not as it did.
const ANOTHER: u8 = 5;
/// How often the result must fail again.
const AGAIN: usize = 3;
/// Where kept scenarios are that were once failures.
const REGRESSIONS: &str = "scenarios/regressions";

/// See [`super::Command`].
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  gregor sim shrink swarm:5bd1e9+Z04@3f2a9c1b\n  gregor sim pin shrunk.toml:5bd1e9+Z04@3f2a9c1b --name late-joiner"
)]
pub struct Shrink {
    /// What a failure printed
    token: String,
    /// Where the smallest scenario goes
    #[arg(long, value_name = "FILE", default_value = "shrunk.toml")]
    out: PathBuf,
    /// When to stop looking, in minutes
    #[arg(long, default_value_t = 5)]
    minutes: u64,
    /// How many processes at a time; as many as there are cores if not said
    #[arg(long)]
    jobs: Option<usize>,
}

/// See [`super::Command`].
#[derive(clap::Args)]
pub struct Pin {
    /// What a failure, or `shrink`, printed
    token: String,
    /// Its name among the kept scenarios
    #[arg(long)]
    name: String,
}

/// The run of a token, which must be of this build.
fn job(token: &str) -> Result<Result<Job, ExitCode>, Failure> {
    let token = Token::parse(token).map_err(Failure::usage)?;
    if token.code_version != CODE_VERSION {
        println!("this is code version {CODE_VERSION}, the run was seen with {}", token.code_version);
        return Ok(Err(ExitCode::from(OTHER_CODE)));
    }
    let mut job = token.job;
    if job.source.ends_with(".toml") {
        job.source = std::path::absolute(&job.source)?.to_string_lossy().into_owned();
    }
    Ok(Ok(job))
}

/// Runs jobs, and answers in their order.
async fn outcomes(jobs: Vec<Job>, parallel: usize) -> Result<Vec<Outcome>, Failure> {
    let mut done = driver::execute(Plan::new(jobs.clone(), parallel), |_, _| {}).await?;
    let at = |job: &Job| jobs.iter().position(|one| one == job);
    done.sort_by_key(|done| at(&done.job));
    Ok(done.into_iter().map(|done| done.outcome).collect())
}

fn claim(outcome: &Outcome) -> Option<&str> {
    outcome.failure.as_ref().map(|failure| &*failure.claim)
}

/// Candidates as files, run with the seed and the mutant of the first one.
struct Bench {
    folder: PathBuf,
    disk: Disk,
    job: Job,
    parallel: usize,
    written: u32,
}

impl Bench {
    fn new(job: Job, parallel: usize) -> Result<Self, Failure> {
        let folder = std::env::temp_dir().join(format!("gregor-shrink-{}", std::process::id()));
        let disk = Disk::real(&folder)?;
        Ok(Self { folder, disk, job, parallel, written: 0 })
    }

    async fn run(&mut self, scenarios: &[Scenario]) -> Result<Vec<Outcome>, Failure> {
        let mut jobs = Vec::with_capacity(scenarios.len());
        for scenario in scenarios {
            let name = format!("{}.toml", self.written);
            self.written += 1;
            self.disk.write_atomically(&name, scenario.to_toml().as_bytes()).await?;
            jobs.push(Job { source: self.folder.join(name).to_string_lossy().into_owned(), ..self.job.clone() });
        }
        outcomes(jobs, self.parallel).await
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // What is left of it lies among the temporary files.
        let _ = self.disk.remove_directory("");
    }
}

impl Shrink {
    /// Runs the command.
    pub fn run(self) -> Result<ExitCode, Failure> {
        match job(&self.token)? {
            Ok(job) => block_on_real(self.shrink(job)),
            Err(code) => Ok(code),
        }
    }

    async fn shrink(self, job: Job) -> Result<ExitCode, Failure> {
        let scenario = driver::scenario(&job.source, job.seed).map_err(Failure::usage)?;
        let first = outcomes(vec![job.clone()], 1).await?.remove(0);
        let Some(broken) = claim(&first).map(str::to_owned) else {
            println!("{} does not fail", self.token);
            return Ok(ExitCode::from(ANOTHER));
        };
        println!(
            "{broken} broke; looking for the smallest scenario in which it does, for {} minutes at most",
            self.minutes
        );
        let mut bench = Bench::new(job.clone(), parallel(self.jobs))?;
        let mut search = shrink::Shrink::new(scenario.clone());
        let deadline = time::now() + Duration::from_secs(60 * self.minutes);
        let complete = loop {
            let candidates = search.candidates(bench.parallel);
            if candidates.is_empty() {
                break true;
            }
            if time::now() >= deadline {
                break false;
            }
            let fails: Vec<bool> =
                bench.run(&candidates).await?.iter().map(|outcome| claim(outcome) == Some(&*broken)).collect();
            search.judged(candidates, &fails);
            show(&search);
        };
        let best = wait_for_facts(&mut bench, search.best.clone(), &broken, deadline).await?;
        let kept = Scenario {
            title: format!("What was left of {}, in which {broken} breaks", self.token),
            seeds: vec![job.seed],
            pins: job.mutant.iter().cloned().collect(),
            ..best
        };
        let again = bench.run(&vec![kept.clone(); AGAIN]).await?;
        let as_before = again.iter().filter(|outcome| claim(outcome) == Some(&*broken)).count();
        folder::write(&self.out, kept.to_toml().as_bytes()).await?;
        let small = again.first().ok_or_else(|| Failure::new("the result was not run"))?;
        println!("{}", compared((&scenario, &first), (&kept, small)));
        let ended = if complete { "nothing more can go" } else { "the time is over" };
        println!("{} candidates were run: {ended}; it fails {as_before} times out of {AGAIN}", search.judged);
        let source = self.out.to_string_lossy().into_owned();
        let token = Token::of(&Job { source, ..job });
        println!(
            "written to {}\nreplay:  gregor sim replay {token}\nkeep:    gregor sim pin {token} --name NAME",
            self.out.display()
        );
        Ok(if as_before == AGAIN { ExitCode::SUCCESS } else { ExitCode::from(ANOTHER) })
    }
}

/// Lets steps wait for a fact instead of for a time, each where the run still fails as it did.
async fn wait_for_facts(
    bench: &mut Bench,
    mut best: Scenario,
    broken: &str,
    deadline: time::Instant,
) -> Result<Scenario, Failure> {
    let ran = bench.run(std::slice::from_ref(&best)).await?;
    let just_true = ran.into_iter().next().map(|outcome| outcome.just_true).unwrap_or_default();
    for (step, facts) in just_true {
        let candidates = shrink::waiting_for_facts(&best, step, &facts);
        if time::now() >= deadline || candidates.is_empty() {
            continue;
        }
        let ran = bench.run(&candidates).await?;
        let fails = candidates.into_iter().zip(ran).find(|(_, outcome)| claim(outcome) == Some(broken));
        best = fails.map_or(best, |(candidate, _)| candidate);
    }
    Ok(best)
}

fn show(search: &shrink::Shrink) {
    if std::io::stderr().is_terminal() {
        let (steps, judged) = (search.best.timeline.len(), search.judged);
        eprint!("\rshrink  {judged} candidates  {steps} steps left  {} of story ", search.best.lasts);
        std::io::stderr().flush().ok();
    }
}

/// Before and after, as a table.
fn compared(before: (&Scenario, &Outcome), after: (&Scenario, &Outcome)) -> String {
    let row = |what: &str, of: &dyn Fn(&Scenario, &Outcome) -> String| {
        vec![what.to_owned(), of(before.0, before.1), of(after.0, after.1)]
    };
    let sent = |history: &str| history.split_whitespace().nth(1).unwrap_or("0").to_owned();
    let rows = [
        row("faults begun", &|_, outcome| outcome.faults.values().sum::<u64>().to_string()),
        row("steps of the timeline", &|scenario, _| scenario.timeline.len().to_string()),
        row("length", &|scenario, _| scenario.lasts.to_string()),
        row("clients", &|scenario, _| scenario.workloads.iter().map(|load| load.clients).sum::<i32>().to_string()),
        row("records sent", &|_, outcome| sent(&outcome.history)),
        row("partitions", &|scenario, _| scenario.topics.iter().map(|topic| topic.partitions).sum::<i32>().to_string()),
        row("brokers", &|scenario, _| scenario.cluster.brokers.to_string()),
    ];
    table(&["WHAT", "BEFORE", "AFTER"], &rows)
}

impl Pin {
    /// Runs the command.
    pub fn run(self) -> Result<ExitCode, Failure> {
        if !Path::new("scenarios").is_dir() {
            return Err(Failure::usage("there is no folder 'scenarios' here: run this where gregor's source is"));
        }
        match job(&self.token)? {
            Ok(job) => block_on_real(self.pin(job)),
            Err(code) => Ok(code),
        }
    }

    async fn pin(self, job: Job) -> Result<ExitCode, Failure> {
        let scenario = driver::scenario(&job.source, job.seed).map_err(Failure::usage)?;
        let pins: Vec<String> = job.mutant.iter().cloned().collect();
        let kept = Scenario { seeds: vec![job.seed], pins, ..scenario };
        let sound = Job { mutant: None, ..job.clone() };
        let ran = outcomes(if job.mutant.is_some() { vec![job, sound] } else { vec![job] }, parallel(None)).await?;
        let holds = ran.last().is_some_and(|outcome| claim(outcome).is_none());
        let catches = kept.pins.is_empty() || ran.first().is_some_and(|outcome| claim(outcome).is_some());
        if !holds || !catches {
            let why =
                if holds { "the planted bug is not caught" } else { "it fails without a planted bug: mend that first" };
            println!("not kept: {why}");
            return Ok(ExitCode::from(ANOTHER));
        }
        let path = Path::new(REGRESSIONS).join(format!("{}.toml", self.name));
        folder::write(&path, kept.to_toml().as_bytes()).await?;
        println!("kept as {}; `make bless` writes its story down", path.display());
        if kept.pins.is_empty() {
            println!("it pins no planted bug: nothing says when it has lost its point");
        }
        Ok(ExitCode::SUCCESS)
    }
}
