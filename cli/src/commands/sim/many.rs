//! `gregor sim run` and `gregor sim sweep`: many runs, each in a process of its own, and what was found.

use super::{NOT_DETERMINISTIC, NOT_REACHED, folder, guided, hexadecimal, junit, parallel};
use crate::output::{self, Failure, Format};
use runtime::{task::block_on_real, time};
use sim::{
    driver::{self, Done, Extra, Plan, Progress},
    faults,
    reach::{self, Reached},
    scenario::Span,
    token::{Job, SCENARIOS, SWARM, Token},
};
use std::{
    collections::BTreeMap,
    io::{IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
};

/// Fewer runs than were asked for.
const TOO_FEW: u8 = 7;
/// A run's process ended without a word.
const INTERNAL: u8 = 8;
/// What `git bisect run` takes for a commit that cannot be judged.
const CANNOT_JUDGE: u8 = 125;
/// How many seeds a sweep has where neither seeds nor a time are given.
const SEEDS: u64 = 100;
/// So many failures get a folder each; more would be more of the same.
const FOLDERS_MAX: usize = 20;
/// So many of the marks that the fewest runs have reached are named.
const RAREST: usize = 5;
/// The claim of a run whose process ended without a report.
const PROCESS: &str = "process";

/// See [`super::Command`].
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  gregor sim run\n  gregor sim run isr --seeds 20 --twice\n  gregor sim run my.toml --junit junit.xml"
)]
pub struct Run {
    /// Names, folders or files
    names: Vec<String>,
    /// Seeds for each, from 1, instead of the scenario's own
    #[arg(long)]
    seeds: Option<u64>,
    #[command(flatten)]
    how: How,
}

/// See [`super::Command`].
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  gregor sim sweep --seeds 500 --twice\n  gregor sim sweep --for 10m --junit junit.xml\n  gregor sim sweep --seeds 8000 --shard 3/8"
)]
pub struct Sweep {
    /// How many seeds: 100, if nothing else ends the sweep
    #[arg(long)]
    seeds: Option<u64>,
    /// For how long; with --seeds, fewer seeds than those are exit code 7
    #[arg(long = "for", value_name = "TIME", value_parser = Span::parse)]
    lasts: Option<Span>,
    /// The first seed, in hexadecimal
    #[arg(long, default_value = "1", value_parser = hexadecimal)]
    from: u64,
    /// One part of so many of the seeds: 3/8
    #[arg(long, value_name = "K/N", value_parser = Shard::parse)]
    shard: Option<Shard>,
    /// A mutant to switch on
    #[arg(long)]
    mutant: Option<String>,
    /// Every other run is a changed schedule of an earlier one that reached what few had
    #[arg(long, conflicts_with_all = ["mutant", "shard"])]
    guided: bool,
    #[command(flatten)]
    how: How,
}

/// How several runs are run.
#[derive(clap::Args)]
struct How {
    /// Each run twice, in different surroundings, with the hashes compared
    #[arg(long)]
    twice: bool,
    /// How many processes at a time; as many as there are cores if not said
    #[arg(long)]
    jobs: Option<usize>,
    /// Prints the hash of every run
    #[arg(long)]
    hashes: bool,
    /// Where a folder for each run that fails goes: its story, its report, its scenario
    #[arg(long, value_name = "DIR", default_value = "gregor-runs")]
    out: PathBuf,
    /// Writes the result as JUnit XML too
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Exit code 125 for everything but held (0) and broken (1): for `git bisect run`
    #[arg(long)]
    bisect: bool,
    /// How to print the result: `json` is one document, with every failure and its replay line
    #[arg(short, long, value_enum, default_value = "table")]
    output: Format,
}

/// One part of a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shard {
    number: u64,
    of: u64,
}

impl Shard {
    fn parse(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(number, of)| Some((number.parse().ok()?, of.parse().ok()?)));
        match parts {
            Some((number, of)) if (1..=of).contains(&number) => Ok(Self { number, of }),
            _ => Err(format!("'{text}' is not a part of a sweep: write it as 3/8, the first being 1/8")),
        }
    }

    fn has(self, index: u64) -> bool {
        index % self.of == self.number - 1
    }
}

impl Run {
    /// Runs the command.
    pub fn run(self) -> Result<ExitCode, Failure> {
        judged(self.how.bisect, self.all())
    }

    fn all(&self) -> Result<ExitCode, Failure> {
        let jobs = chosen(&self.names, self.seeds)?;
        let code = many(plan(jobs.clone(), &self.how), &self.how, "scenarios", jobs.len() as u64, false)?;
        let stale = pins(&jobs, &self.how)?;
        Ok(if stale > 0 && code == ExitCode::SUCCESS { ExitCode::FAILURE } else { code })
    }
}

impl Sweep {
    /// Runs the command.
    pub fn run(self) -> Result<ExitCode, Failure> {
        judged(self.how.bisect, self.search())
    }

    fn search(&self) -> Result<ExitCode, Failure> {
        let count = self.seeds.unwrap_or(if self.lasts.is_some() { u64::MAX - self.from } else { SEEDS });
        let (from, mutant, shard) = (self.from, self.mutant.clone(), self.shard);
        let seeds = (0..count).filter(move |index| shard.is_none_or(|shard| shard.has(*index)));
        let asked = self.seeds.map_or(1, |count| match shard {
            Some(shard) => (0..count).filter(|index| shard.has(*index)).count() as u64,
            None => count,
        });
        let is_sound = mutant.is_none();
        let until = self.lasts.map(|lasts| time::now() + lasts.0);
        if self.guided {
            let (folder, parallel) = (self.how.out.clone(), parallel(self.how.jobs));
            let search = guided::Search { from, count, folder, parallel, twice: self.how.twice, until };
            return watch(&self.how, "sweep", until, asked, is_sound, |told| block_on_real(search.run(told)));
        }
        let job = move |index| Job { source: SWARM.into(), seed: from + index, mutant: mutant.clone() };
        let mut plan = plan(seeds.map(job), &self.how);
        plan.until = until;
        many(plan, &self.how, "sweep", asked, is_sound)
    }
}

fn plan(jobs: impl IntoIterator<Item = Job> + 'static, how: &How) -> Plan {
    Plan { twice: how.twice, ..Plan::new(jobs, parallel(how.jobs)) }
}

/// With `bisect`, what is neither held nor broken cannot be judged.
fn judged(bisect: bool, result: Result<ExitCode, Failure>) -> Result<ExitCode, Failure> {
    match result {
        result if !bisect => result,
        Ok(code) if code == ExitCode::SUCCESS || code == ExitCode::FAILURE => Ok(code),
        Ok(_) => Ok(ExitCode::from(CANNOT_JUDGE)),
        Err(failure) => {
            eprintln!("{failure}");
            Ok(ExitCode::from(CANNOT_JUDGE))
        }
    }
}

/// The jobs that names stand for.
fn chosen(names: &[String], seeds: Option<u64>) -> Result<Vec<Job>, Failure> {
    let mut sources: Vec<String> = Vec::new();
    for name in names {
        let inside: Vec<String> = SCENARIOS
            .iter()
            .map(|(full, _)| full.to_string())
            .filter(|full| full.starts_with(&format!("{name}/")))
            .collect();
        if inside.is_empty() {
            sources.push(name.clone());
        } else {
            sources.extend(inside);
        }
    }
    if names.is_empty() {
        sources.extend(SCENARIOS.iter().map(|(full, _)| full.to_string()));
    }
    let mut jobs = Vec::new();
    for source in sources {
        let scenario = driver::scenario(&source, 1).map_err(Failure::usage)?;
        let source = if source.ends_with(".toml") {
            std::path::absolute(&source)?.to_string_lossy().into_owned()
        } else {
            sim::token::kept(&source).map_err(Failure::usage)?.0.to_string()
        };
        let own = if scenario.seeds.is_empty() { vec![1] } else { scenario.seeds };
        let seeds = seeds.map_or(own, |count| (1..=count).collect());
        jobs.extend(seeds.into_iter().map(|seed| Job { source: source.clone(), seed, mutant: None }));
    }
    Ok(jobs)
}

/// Runs jobs, shows progress, and prints what was found. `asked` is how many must have run; a `search` must have reached
/// everything, if it was long enough.
fn many(plan: Plan, how: &How, what: &str, asked: u64, search: bool) -> Result<ExitCode, Failure> {
    watch(how, what, plan.until, asked, search, |told| Ok(block_on_real(driver::execute(plan, told))?))
}

/// As [`many`], of whatever runs them and tells of each.
fn watch(
    how: &How,
    what: &str,
    until: Option<time::Instant>,
    asked: u64,
    search: bool,
    execute: impl FnOnce(&mut dyn FnMut(&Progress, &Done)) -> Result<Vec<Done>, Failure>,
) -> Result<ExitCode, Failure> {
    let since = time::now();
    let watched = std::io::stderr().is_terminal();
    let mut all = execute(&mut |progress, done| {
        if watched {
            show(what, progress, since, until);
        }
        if how.output == Format::Table && is_bad(done) {
            report(done);
        }
    })?;
    if watched {
        eprintln!();
    }
    all.sort_by(|a, b| a.job.cmp(&b.job));
    let folders = block_on_real(record(&mut all, how))?;
    let seconds = since.elapsed().as_secs_f64();
    let reached = search.then(|| Reached::of(all.iter().map(|done| &done.outcome)));
    match how.output {
        Format::Table => {
            if how.hashes {
                all.iter().for_each(|done| println!("{}  {}", Token::of(&done.job), done.outcome.hash));
            }
            summary(&all, what, how.twice, seconds);
            reached.iter().for_each(show_reached);
        }
        Format::Json => {
            let mut document = document(&all, how, &folders, seconds);
            if let Some(reached) = &reached {
                document["runs_that_reached"] = serde_json::json!(reached.names);
            }
            output::print_json(&document)?;
        }
    }
    if let Some(file) = &how.junit {
        block_on_real(folder::write(file, junit::xml(what, &all, seconds).as_bytes()))?;
    }
    let is_missing = reached.is_some_and(|reached| !reached.missing().is_empty());
    Ok(ExitCode::from(match verdict(&all) {
        0 if (all.len() as u64) < asked => TOO_FEW,
        0 if is_missing && all.len() >= reach::RUNS => NOT_REACHED,
        code => code,
    }))
}

pub(super) fn is_bad(done: &Done) -> bool {
    done.outcome.failure.is_some() || done.other_hash.is_some()
}

/// Runs what failed once more in a process of its own, which writes its folder; and what was not the same twice, to find the
/// first event that differs. Answers with the folders.
async fn record(all: &mut [Done], how: &How) -> Result<BTreeMap<Job, PathBuf>, Failure> {
    let mut folders = BTreeMap::new();
    for done in all.iter_mut().filter(|done| is_bad(done)).take(FOLDERS_MAX) {
        let path = std::path::absolute(how.out.join(folder::name(&done.job)))?;
        let again = driver::again(&done.job, Extra { folder: Some(&path), ..Extra::default() }).await?;
        if again.hash != done.outcome.hash {
            done.other_hash.get_or_insert(again.hash);
        }
        if done.other_hash.is_some() {
            differs(done, how).await?;
        }
        say(how, format!("{}  story and report: {}", Token::of(&done.job), path.display()));
        folders.insert(done.job.clone(), path);
    }
    Ok(folders)
}

async fn differs(done: &Done, how: &How) -> Result<(), Failure> {
    say(how, format!("{} is not the same twice; looking for where it differs", Token::of(&done.job)));
    let Some(difference) = driver::difference(&done.job, None).await? else {
        say(how, "     two more runs were equal: it does not differ each time".into());
        return Ok(());
    };
    difference.before.iter().for_each(|line| say(how, format!("       {line}")));
    for (side, lines) in ["one ", "other"].iter().zip(&difference.then) {
        lines.iter().for_each(|line| say(how, format!("{side:>5}  {line}")));
    }
    Ok(())
}

/// Runs each scenario with each mutant that it is to catch, says by what each is caught, and returns how many are not: such
/// a scenario is stale.
fn pins(jobs: &[Job], how: &How) -> Result<usize, Failure> {
    let mut seeds: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    jobs.iter().for_each(|job| seeds.entry(&job.source).or_default().push(job.seed));
    let mut stale = 0;
    for (source, seeds) in seeds {
        for pin in driver::scenario(source, seeds[0]).map_err(Failure::usage)?.pins {
            let job = |seed: &u64| Job { source: source.into(), seed: *seed, mutant: Some(pin.clone()) };
            let jobs: Vec<Job> = seeds.iter().map(job).collect();
            let plan = Plan { stop_at_failure: true, ..Plan::new(jobs, parallel(how.jobs)) };
            let all = block_on_real(driver::execute(plan, |_, _| {}))?;
            match all.iter().find_map(|done| Some((done.job.seed, done.outcome.failure.as_ref()?))) {
                Some((seed, failure)) => {
                    say(how, format!("pin {pin} of {source}: caught by {} with seed {seed:x}", failure.claim));
                }
                None => {
                    stale += 1;
                    say(how, format!("STALE {source}: none of its seeds catches {pin}"));
                }
            }
        }
    }
    Ok(stale)
}

/// Says a line beside the result: where that is JSON, on standard error.
fn say(how: &How, line: String) {
    match how.output {
        Format::Table => println!("{line}"),
        Format::Json => eprintln!("{line}"),
    }
}

/// What was found, as one JSON value.
fn document(all: &[Done], how: &How, folders: &BTreeMap<Job, PathBuf>, seconds: f64) -> serde_json::Value {
    let mut injected: BTreeMap<&str, u64> = faults::all().iter().map(|kind| (kind.name, 0)).collect();
    for (kind, count) in all.iter().flat_map(|done| &done.outcome.faults) {
        *injected.entry(kind.as_str()).or_default() += count;
    }
    let failure = |done: &Done| {
        let failure = done.outcome.failure.as_ref();
        serde_json::json!({
            "source": done.job.source,
            "seed": format!("{:x}", done.job.seed),
            "claim": failure.map(|failure| failure.claim.to_string()),
            "what": failure.map(|failure| failure.what.to_string()),
            "at_virtual_seconds": failure.map(|failure| failure.at_seconds),
            "after_faults": failure.map(|failure| failure.after_faults),
            "is_deterministic": done.other_hash.is_none(),
            "replay": Token::of(&done.job).to_string(),
            "folder": folders.get(&done.job).map(|path| path.display().to_string()),
        })
    };
    let mut document = serde_json::json!({
        "runs": all.len(),
        "failed": all.iter().filter(|done| done.outcome.failure.is_some()).count(),
        "run_twice": how.twice,
        "not_deterministic": all.iter().filter(|done| done.other_hash.is_some()).count(),
        "virtual_minutes": all.iter().map(|done| done.outcome.virtual_seconds).sum::<f64>() / 60.0,
        "acknowledged": all.iter().map(|done| done.outcome.acknowledged).sum::<u64>(),
        "runs_with_a_leader_change": all.iter().filter(|done| done.outcome.leader_changes > 0).count(),
        "injected": injected,
        "failures": all.iter().filter(|done| is_bad(done)).map(failure).collect::<Vec<_>>(),
        "cpu_seconds": cpu_seconds(all),
        "seconds": seconds,
    });
    if how.hashes {
        let hash = |done: &Done| (Token::of(&done.job).to_string(), done.outcome.hash.to_string().into());
        let hashes: serde_json::Map<String, serde_json::Value> = all.iter().map(hash).collect();
        document["hashes"] = hashes.into();
    }
    document
}

fn cpu_seconds(all: &[Done]) -> f64 {
    all.iter().map(|done| done.outcome.cpu_seconds).sum()
}

fn show(what: &str, progress: &Progress, since: time::Instant, until: Option<time::Instant>) {
    let Progress { done, of, failed, virtual_seconds, cpu_seconds } = progress;
    let (hours, rate) = (virtual_seconds / 3600.0, virtual_seconds / cpu_seconds.max(0.001));
    let by_count = of.map(|of| since.elapsed().as_secs_f64() / *done as f64 * (of - done) as f64);
    let by_time = until.map(|until| (until - time::now().min(until)).as_secs_f64());
    let left = by_count.into_iter().chain(by_time).fold(f64::INFINITY, f64::min);
    let of = of.filter(|of| *of < 1 << 40).map_or(String::new(), |of| format!("/{of}"));
    eprint!(
        "\r{what}  {done}{of}  {failed} failed  {hours:.2} virtual hours  {rate:.0} virtual seconds a CPU second  {left:.0} s left  "
    );
    std::io::stderr().flush().ok();
}

fn report(done: &Done) {
    if let Some(failure) = &done.outcome.failure {
        println!("FAIL {}  seed {:x} of {}", failure.claim, done.job.seed, done.job.source);
        println!("     {}", failure.what);
        println!("     at {:.3} s virtual, after {} faults", failure.at_seconds, failure.after_faults);
    }
    if let Some(other) = &done.other_hash {
        println!(
            "NOT DETERMINISTIC  seed {:x} of {}: {} and {other}",
            done.job.seed, done.job.source, done.outcome.hash
        );
    }
    println!("     replay:  gregor sim replay {}", Token::of(&done.job));
}

fn verdict(all: &[Done]) -> u8 {
    let process = |done: &Done| done.outcome.failure.as_ref().is_some_and(|failure| failure.claim == PROCESS);
    if all.iter().any(process) {
        INTERNAL
    } else if all.iter().any(|done| done.other_hash.is_some()) {
        NOT_DETERMINISTIC
    } else {
        u8::from(all.iter().any(|done| done.outcome.failure.is_some()))
    }
}

fn summary(all: &[Done], what: &str, twice: bool, seconds: f64) {
    let failed = all.iter().filter(|done| done.outcome.failure.is_some()).count();
    let unequal = all.iter().filter(|done| done.other_hash.is_some()).count();
    let virtual_minutes = all.iter().map(|done| done.outcome.virtual_seconds).sum::<f64>() / 60.0;
    let acknowledged: u64 = all.iter().map(|done| done.outcome.acknowledged).sum();
    println!(
        "{what}: {} runs, {failed} failed, {virtual_minutes:.1} virtual minutes, {acknowledged} records acknowledged",
        all.len()
    );
    if twice {
        println!("run twice in different surroundings: {} equal, {unequal} not", all.len() - unequal);
    }
    let changed = all.iter().filter(|done| done.outcome.leader_changes > 0).count();
    println!("a leader changed in {changed} of {} runs", all.len());
    let mut kinds: BTreeMap<&str, u64> = faults::all().iter().map(|kind| (kind.name, 0)).collect();
    for (kind, count) in all.iter().flat_map(|done| &done.outcome.faults) {
        *kinds.entry(kind.as_str()).or_default() += count;
    }
    let rows: Vec<Vec<String>> =
        kinds.iter().map(|(kind, count)| vec![(*kind).to_string(), count.to_string()]).collect();
    print!("{}", output::table(&["FAULT", "INJECTED"], &rows));
    let minutes = cpu_seconds(all) * if twice { 2.0 } else { 1.0 } / 60.0;
    println!("wall clock {seconds:.1} s, {minutes:.1} CPU minutes");
}

/// How much of what a search must reach was reached.
fn show_reached(reached: &Reached) {
    let missing = reached.missing();
    println!("reached {} of {} marks and faults", reached.names.len() - missing.len(), reached.names.len());
    missing.iter().for_each(|name| println!("  never reached: {name}"));
    for (name, runs) in reached.rarest(RAREST) {
        println!("  in {runs} runs only: {name}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_disjoint_and_whole() {
        let shards: Vec<Shard> = (1..=8).map(|number| Shard { number, of: 8 }).collect();
        assert!((0..1000).all(|index| shards.iter().filter(|shard| shard.has(index)).count() == 1));
        assert_eq!(Shard::parse("3/8"), Ok(Shard { number: 3, of: 8 }));
        for wrong in ["0/8", "9/8", "3", "a/b", "1/0"] {
            assert!(Shard::parse(wrong).is_err(), "{wrong}");
        }
    }
}
