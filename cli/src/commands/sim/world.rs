//! `gregor sim` in a build that has the world in it.

use crate::output::{self, Failure, Format};
use clap::Subcommand;
use runtime::task::block_on_real;
use sim::{
    driver::{self, Done, Plan, Progress},
    faults, invariants, mutants,
    run::Outcome,
    token::{CODE_VERSION, Job, SCENARIOS, SWARM, Token},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
};

#[path = "shrink.rs"]
mod shrink;

const NOT_DETERMINISTIC: u8 = 3;
const OTHER_CODE: u8 = 4;
const NOT_REACHED: u8 = 6;

/// See [`super::Sim`].
#[derive(Subcommand)]
pub enum Command {
    /// Runs kept scenarios by name, folder or file; all of them without a name
    Run {
        /// Names, folders or files
        names: Vec<String>,
        /// Seeds for each, from 1, instead of the scenario's own
        #[arg(long)]
        seeds: Option<u64>,
        #[command(flatten)]
        how: How,
    },
    /// Runs scenarios that are drawn from their seeds
    Sweep {
        /// How many seeds
        #[arg(long, default_value_t = 100)]
        seeds: u64,
        /// The first seed, in hexadecimal
        #[arg(long, default_value = "1", value_parser = hexadecimal)]
        from: u64,
        /// A mutant to switch on
        #[arg(long)]
        mutant: Option<String>,
        #[command(flatten)]
        how: How,
    },
    /// Runs one run again and tells its whole story
    Replay {
        /// What a failure printed, or a scenario file
        token: String,
        /// Prints every event too
        #[arg(long)]
        trace: bool,
    },
    /// Looks for the smallest scenario that fails as a run did: fewer and milder faults, clients and nodes
    Shrink(shrink::Shrink),
    /// Keeps the scenario of a run as a file, with its seed and the planted bug that it catches
    Pin(shrink::Pin),
    /// Lists scenarios, faults, invariants and mutants
    List {
        /// How to print it
        #[arg(short, long, value_enum, default_value = "table")]
        output: Format,
    },
    /// Looks for each bug of the zoo: is it caught, by what, after how many seeds
    Selftest {
        /// Ids or names; all without one
        mutants: Vec<String>,
        /// How many processes at a time
        #[arg(long)]
        jobs: Option<usize>,
        /// How to print the result
        #[arg(short, long, value_enum, default_value = "table")]
        output: Format,
    },
    /// Measures the simulator: virtual seconds a CPU second, idle and under load
    Bench {
        /// How to print the result
        #[arg(short, long, value_enum, default_value = "table")]
        output: Format,
    },
    #[command(hide = true)]
    One {
        source: String,
        #[arg(long, value_parser = hexadecimal)]
        seed: u64,
        #[arg(long)]
        mutant: Option<String>,
        #[arg(long)]
        report: PathBuf,
    },
}

/// How several runs are run.
#[derive(clap::Args)]
pub struct How {
    /// Each run twice, in different surroundings, with the hashes compared
    #[arg(long)]
    twice: bool,
    /// How many processes at a time; as many as there are cores if not said
    #[arg(long)]
    jobs: Option<usize>,
    /// Prints the hash of every run
    #[arg(long)]
    hashes: bool,
    /// How to print the result: `json` is one document, with every failure and its replay line
    #[arg(short, long, value_enum, default_value = "table")]
    output: Format,
}

fn hexadecimal(text: &str) -> Result<u64, String> {
    u64::from_str_radix(text.trim_start_matches("0x"), 16).map_err(|_| format!("'{text}' is not a hexadecimal number"))
}

impl Command {
    /// Runs the command.
    pub fn run(self) -> Result<ExitCode, Failure> {
        match self {
            Self::Run { names, seeds, how } => {
                let jobs = chosen(&names, seeds)?;
                let code = many(jobs.clone(), &how, "scenarios")?;
                let stale = pins(&jobs, &how)?;
                Ok(if stale > 0 && code == ExitCode::SUCCESS { ExitCode::FAILURE } else { code })
            }
            Self::Sweep { seeds, from, mutant, how } => {
                let jobs = (from..from + seeds).map(|seed| Job { source: SWARM.into(), seed, mutant: mutant.clone() });
                many(jobs.collect(), &how, "sweep")
            }
            Self::Replay { token, trace } => replay(&token, trace),
            Self::Shrink(shrink) => shrink.run(),
            Self::Pin(pin) => pin.run(),
            Self::List { output } => list(output),
            Self::Selftest { mutants, jobs, output } => selftest(&mutants, jobs, output),
            Self::Bench { output } => bench(output),
            Self::One { source, seed, mutant, report } => one(Job { source, seed, mutant }, &report),
        }
    }
}

fn parallel(jobs: Option<usize>) -> usize {
    jobs.unwrap_or_else(runtime::task::parallelism)
}

/// One run in this process, reported to a file.
fn one(job: Job, report: &std::path::Path) -> Result<ExitCode, Failure> {
    let outcome = driver::here(&job, None).map_err(Failure::usage)?;
    let bytes = serde_json::to_vec(&outcome)?;
    let folder = report.parent().ok_or_else(|| Failure::usage("--report wants a file"))?;
    let name =
        report.file_name().ok_or_else(|| Failure::usage("--report wants a file"))?.to_string_lossy().into_owned();
    let disk = runtime::disk::Disk::real(folder)?;
    disk.open(&name, runtime::disk::Open::Create)?.append(&bytes)?;
    // Whatever the run left behind (a stuck thread, leaked tasks) ends with the process.
    std::process::exit(0)
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

/// Runs jobs, shows progress, and prints what was found.
fn many(jobs: Vec<Job>, how: &How, what: &str) -> Result<ExitCode, Failure> {
    let since = runtime::time::now();
    let plan = Plan { jobs, twice: how.twice, parallel: parallel(how.jobs), stop_at_failure: false };
    let watched = std::io::stderr().is_terminal();
    let mut all = block_on_real(driver::execute(plan, |progress, done| {
        if watched {
            show(what, progress);
        }
        if how.output == Format::Table && (done.outcome.failure.is_some() || done.other_hash.is_some()) {
            report(done);
        }
    }))?;
    if watched {
        eprintln!();
    }
    all.sort_by(|a, b| a.job.cmp(&b.job));
    let seconds = since.elapsed().as_secs_f64();
    match how.output {
        Format::Table => {
            if how.hashes {
                all.iter().for_each(|done| println!("{}  {}", Token::of(&done.job), done.outcome.hash));
            }
            summary(&all, what, how.twice, seconds);
        }
        Format::Json => output::print_json(&document(&all, how, seconds))?,
    }
    Ok(ExitCode::from(verdict(&all)))
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
            let plan = Plan {
                jobs: seeds.iter().map(job).collect(),
                twice: false,
                parallel: parallel(how.jobs),
                stop_at_failure: true,
            };
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
fn document(all: &[Done], how: &How, seconds: f64) -> serde_json::Value {
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
        })
    };
    let is_bad = |done: &&Done| done.outcome.failure.is_some() || done.other_hash.is_some();
    let mut document = serde_json::json!({
        "runs": all.len(),
        "failed": all.iter().filter(|done| done.outcome.failure.is_some()).count(),
        "run_twice": how.twice,
        "not_deterministic": all.iter().filter(|done| done.other_hash.is_some()).count(),
        "virtual_minutes": all.iter().map(|done| done.outcome.virtual_seconds).sum::<f64>() / 60.0,
        "acknowledged": all.iter().map(|done| done.outcome.acknowledged).sum::<u64>(),
        "runs_with_a_leader_change": all.iter().filter(|done| done.outcome.leader_changes > 0).count(),
        "injected": injected,
        "failures": all.iter().filter(is_bad).map(failure).collect::<Vec<_>>(),
        "seconds": seconds,
    });
    if how.hashes {
        let hash = |done: &Done| (Token::of(&done.job).to_string(), done.outcome.hash.to_string().into());
        let hashes: serde_json::Map<String, serde_json::Value> = all.iter().map(hash).collect();
        document["hashes"] = hashes.into();
    }
    document
}

fn show(what: &str, progress: &Progress) {
    let Progress { done, of, failed, virtual_seconds } = progress;
    eprint!("\r{what}  {done}/{of}  {failed} failed  {:.1} virtual minutes ", virtual_seconds / 60.0);
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
    if all.iter().any(|done| done.other_hash.is_some()) {
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
    println!("wall clock {seconds:.1} s");
}

fn replay(words: &str, trace: bool) -> Result<ExitCode, Failure> {
    let (job, code_version) = if words.ends_with(".toml") {
        (Job { source: words.into(), seed: 1, mutant: None }, CODE_VERSION.to_string())
    } else {
        let token = Token::parse(words).map_err(Failure::usage)?;
        (token.job, token.code_version)
    };
    if code_version != CODE_VERSION {
        println!(
            "this is code version {CODE_VERSION}, the run was seen with {code_version}: it may go another way here"
        );
    }
    let keep = trace.then_some(0..u64::MAX);
    let outcome = driver::here(&job, keep).map_err(Failure::usage)?;
    outcome.kept.iter().for_each(|line| println!("{line}"));
    tell(&job, &outcome);
    let code = match (&outcome.failure, code_version == CODE_VERSION) {
        (_, false) => OTHER_CODE,
        (Some(_), true) => 1,
        (None, true) => 0,
    };
    // A run that failed leaves its tasks where they were.
    std::process::exit(i32::from(code))
}

fn tell(job: &Job, outcome: &Outcome) {
    println!("{}  seed {:x}", job.source, job.seed);
    outcome.story.iter().for_each(|line| println!("{line}"));
    println!("      {}", outcome.history);
    println!("      {} events  hash {}", outcome.events, outcome.hash);
    if let Some(failure) = &outcome.failure {
        println!(
            "FAIL {} at {:.3} s virtual, after {} faults",
            failure.claim, failure.at_seconds, failure.after_faults
        );
        println!("     {}", failure.what);
    }
}

fn list(format: Format) -> Result<ExitCode, Failure> {
    let mut rows = Vec::new();
    let mut add =
        |kind: &str, name: &str, about: &str| rows.push(vec![kind.to_string(), name.to_string(), about.to_string()]);
    for (name, text) in SCENARIOS {
        add("scenario", name, &sim::scenario::Scenario::parse(text).map_err(Failure::new)?.title);
    }
    faults::all().iter().for_each(|kind| add("fault", kind.name, kind.about));
    invariants::all().iter().for_each(|invariant| add("invariant", invariant.name(), invariant.claim()));
    mutants::ALL.iter().for_each(|mutant| add("mutant", &format!("{} {}", mutant.id, mutant.name), mutant.about));
    output::print_rows(format, &["KIND", "NAME", "ABOUT"], &rows)?;
    Ok(ExitCode::SUCCESS)
}

/// Runs an idle cluster and a loaded one in this process, and divides virtual seconds by CPU seconds.
fn bench(format: Format) -> Result<ExitCode, Failure> {
    const IDLE: &str = "title = \"idle\"\nlasts = \"600s\"\n[[topic]]\nname = \"orders\"\n";
    let load = "title = \"load\"\nlasts = \"60s\"\n[cluster]\nbrokers = 5\ncontrollers = 3\ncombined = false\n\
                [[topic]]\nname = \"orders\"\npartitions = 6\n\
                [[workload]]\nkind = \"produce\"\ntopic = \"orders\"\nclients = 6\nrate_per_s = 83\n";
    let mut rows = Vec::new();
    for (name, text) in [("idle, 3 nodes", IDLE), ("500 records a second, 5 brokers, 3 controllers, 6 clients", load)] {
        let scenario = sim::scenario::Scenario::parse(text).map_err(Failure::new)?;
        eprintln!("measuring: {name}");
        let before = cpu_seconds();
        let outcome = sim::run::run(&scenario, 1, sim::run::Options::default());
        let used = cpu_seconds() - before;
        if let Some(failure) = outcome.failure {
            return Err(Failure::new(format!("{name}: {}: {}", failure.claim, failure.what)));
        }
        let rate = outcome.virtual_seconds / used;
        rows.push(vec![
            name.into(),
            format!("{:.0}", outcome.virtual_seconds),
            format!("{used:.2}"),
            format!("{rate:.0}"),
            outcome.events.to_string(),
        ]);
    }
    output::print_rows(format, &["LOAD", "VIRTUAL S", "CPU S", "VIRTUAL S A CPU S", "EVENTS"], &rows)?;
    Ok(ExitCode::SUCCESS)
}

fn cpu_seconds() -> f64 {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    used.tv_sec as f64 + used.tv_nsec as f64 / 1e9
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

/// Searches for each mutant until it is caught or its seeds are used up, and then by the scenarios that are kept for it.
fn selftest(words: &[String], jobs: Option<usize>, format: Format) -> Result<ExitCode, Failure> {
    let chosen: Vec<&mutants::Mutant> = if words.is_empty() {
        mutants::ALL.iter().collect()
    } else {
        let find =
            |word: &String| mutants::find(word).ok_or_else(|| Failure::usage(format!("there is no mutant '{word}'")));
        words.iter().map(find).collect::<Result<_, _>>()?
    };
    let (mut rows, mut holes) = (Vec::new(), 0);
    for mutant in chosen {
        let job = |seed| Job { source: SWARM.into(), seed, mutant: Some(mutant.id.to_string()) };
        let plan = Plan {
            jobs: (1..=mutant.seeds_max).map(job).collect(),
            twice: false,
            parallel: parallel(jobs),
            stop_at_failure: true,
        };
        let mut all = block_on_real(driver::execute(plan, |_, _| {}))?;
        all.sort_by_key(|done| done.job.seed);
        if !all.iter().any(|done| done.outcome.failure.is_some()) {
            // What no seed reaches soon, a kept scenario may be there for.
            let plan = Plan { jobs: pinning(mutant.id)?, twice: false, parallel: 1, stop_at_failure: true };
            all.extend(block_on_real(driver::execute(plan, |_, _| {}))?);
        }
        let caught = all.iter().find(|done| done.outcome.failure.is_some());
        let diverged: u64 = all.iter().map(|done| done.outcome.diverged).sum();
        let row = |result: &str, by: &str, seeds: String, replay: String| {
            vec![mutant.id.into(), mutant.name.into(), result.into(), by.into(), seeds, diverged.to_string(), replay]
        };
        let row = match caught.and_then(|done| Some((done, done.outcome.failure.as_ref()?))) {
            Some((done, failure)) => {
                let expected: BTreeSet<&str> = mutant.expected.iter().copied().collect();
                let result = if expected.contains(failure.claim.as_str()) { "caught" } else { "caught by another" };
                let seeds = match &*done.job.source {
                    SWARM => done.job.seed.to_string(),
                    kept => kept.to_string(),
                };
                row(result, &failure.claim, seeds, Token::of(&done.job).to_string())
            }
            None => {
                holes += 1;
                let result = if diverged > 0 { "reached, not caught" } else { "never reached" };
                row(result, "", format!("> {}", mutant.seeds_max), String::new())
            }
        };
        eprintln!("{}", row[..5].join("  "));
        rows.push(row);
    }
    output::print_rows(format, &["ID", "MUTANT", "RESULT", "BY", "SEEDS", "DIVERGED", "REPLAY"], &rows)?;
    Ok(ExitCode::from(if holes > 0 { NOT_REACHED } else { 0 }))
}
