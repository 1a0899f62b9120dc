//! `gregor sim` in a build that has the world in it.

use crate::output::{self, Failure, Format};
use clap::Subcommand;
use sim::{
    driver, faults, invariants, mutants,
    run::{Options, Outcome},
    token::{CODE_VERSION, Job, SCENARIOS, Token},
};
use std::{path::PathBuf, process::ExitCode};

#[path = "bench.rs"]
mod bench;
#[path = "folder.rs"]
mod folder;
#[path = "guided.rs"]
mod guided;
#[path = "junit.rs"]
mod junit;
#[path = "many.rs"]
mod many;
#[path = "selftest.rs"]
mod selftest;
#[path = "shrink.rs"]
mod shrink;

const NOT_DETERMINISTIC: u8 = 3;
const OTHER_CODE: u8 = 4;
const NOT_REACHED: u8 = 6;

/// See [`super::Sim`].
#[derive(Subcommand)]
pub enum Command {
    /// Runs kept scenarios by name, folder or file; all of them without a name
    Run(many::Run),
    /// Runs scenarios that are drawn from their seeds
    Sweep(many::Sweep),
    /// Runs one run again and tells its whole story
    Replay(Replay),
    /// Tells the story of a run from its folder, or of one node or partition in it
    Show(folder::Show),
    /// Looks for the smallest scenario that fails as a run did: fewer and milder faults, clients and nodes
    Shrink(shrink::Shrink),
    /// Keeps the scenario of a run as a file, with its seed and the planted bug that it catches
    Pin(shrink::Pin),
    /// Lists scenarios, faults, invariants, canaries and mutants
    List {
        /// How to print it
        #[arg(short, long, value_enum, default_value = "table")]
        output: Format,
    },
    /// Looks for each bug of the zoo: is it caught, by what, after how many seeds; and for each planted leak
    Selftest(selftest::Selftest),
    /// Measures the simulator: virtual seconds a CPU second, idle and under load
    Bench {
        /// How to print the result
        #[arg(short, long, value_enum, default_value = "table")]
        output: Format,
    },
    #[command(hide = true)]
    One(One),
}

/// See [`Command`].
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  gregor sim replay swarm:5bd1e9@3f2a9c1b\n  gregor sim replay swarm:5bd1e9@3f2a9c1b --out run && xdg-open run/report.html\n  gregor sim replay my.toml --trace --at 12.3s"
)]
pub struct Replay {
    /// What a failure printed, or a scenario file
    token: String,
    /// Prints every event too
    #[arg(long)]
    trace: bool,
    /// With --trace: only the events from a second before this virtual time to a second after it
    #[arg(long, value_name = "TIME", requires = "trace", value_parser = seconds)]
    at: Option<f64>,
    /// Writes the run's folder too: its story, its report, its scenario
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// One run in this process, reported to a file.
#[derive(clap::Args)]
pub struct One {
    source: String,
    #[arg(long, value_parser = hexadecimal)]
    seed: u64,
    #[arg(long)]
    mutant: Option<String>,
    #[arg(long)]
    canary: Option<String>,
    #[arg(long)]
    keep: bool,
    #[arg(long)]
    folder: Option<PathBuf>,
    #[arg(long)]
    report: PathBuf,
}

fn hexadecimal(text: &str) -> Result<u64, String> {
    u64::from_str_radix(text.trim_start_matches("0x"), 16).map_err(|_| format!("'{text}' is not a hexadecimal number"))
}

fn seconds(text: &str) -> Result<f64, String> {
    let number = text.trim_end_matches('s').parse::<f64>().ok().filter(|seconds| *seconds >= 0.0);
    number.ok_or_else(|| format!("'{text}' is not a time: write it as 12.3s"))
}

impl Command {
    /// Runs the command.
    pub fn run(self) -> Result<ExitCode, Failure> {
        match self {
            Self::Run(run) => run.run(),
            Self::Sweep(sweep) => sweep.run(),
            Self::Replay(replay) => replay.run(),
            Self::Show(show) => show.run(),
            Self::Shrink(shrink) => shrink.run(),
            Self::Pin(pin) => pin.run(),
            Self::List { output } => list(output),
            Self::Selftest(selftest) => selftest.run(),
            Self::Bench { output } => bench::run(output),
            Self::One(one) => one.run(),
        }
    }
}

fn parallel(jobs: Option<usize>) -> usize {
    jobs.unwrap_or_else(runtime::task::parallelism)
}

impl One {
    fn run(self) -> Result<ExitCode, Failure> {
        let job = Job { source: self.source, seed: self.seed, mutant: self.mutant };
        let keep = self.keep.then_some(0..u64::MAX);
        let options = Options { keep, record: self.folder.is_some(), canary: self.canary, ..Options::default() };
        let mut outcome = driver::here(&job, options).map_err(Failure::usage)?;
        outcome.cpu_seconds = cpu_seconds();
        if let Some(path) = &self.folder {
            folder::record(path, &job, &outcome)?;
        }
        runtime::task::block_on_real(folder::write(&self.report, &serde_json::to_vec(&outcome)?))?;
        // Whatever the run left behind (a stuck thread, leaked tasks) ends with the process.
        std::process::exit(0)
    }
}

impl Replay {
    fn run(self) -> Result<ExitCode, Failure> {
        let (job, code_version) = if self.token.ends_with(".toml") {
            (Job { source: self.token, seed: 1, mutant: None }, CODE_VERSION.to_string())
        } else {
            let token = Token::parse(&self.token).map_err(Failure::usage)?;
            (token.job, token.code_version)
        };
        if code_version != CODE_VERSION {
            println!(
                "this is code version {CODE_VERSION}, the run was seen with {code_version}: it may go another way here"
            );
        }
        let keep = self.trace.then_some(0..u64::MAX);
        let options = Options { keep, record: self.out.is_some(), ..Options::default() };
        let outcome = driver::here(&job, options).map_err(Failure::usage)?;
        outcome.kept.iter().filter(|line| is_near(line, self.at)).for_each(|line| println!("{line}"));
        tell(&job, &outcome);
        if let Some(path) = &self.out {
            folder::record(path, &job, &outcome)?;
            println!("      written to {}", path.display());
        }
        let code = match (&outcome.failure, code_version == CODE_VERSION) {
            (_, false) => OTHER_CODE,
            (Some(_), true) => 1,
            (None, true) => 0,
        };
        // A run that failed leaves its tasks where they were.
        std::process::exit(i32::from(code))
    }
}

/// Whether a line of the trace is within a second of a time. Its second word is its own.
fn is_near(line: &str, at: Option<f64>) -> bool {
    let own = || line.split(' ').nth(1).and_then(|word| word.parse::<f64>().ok());
    at.is_none_or(|at| own().is_some_and(|own| (own - at).abs() <= 1.0))
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
    let canaries = runtime::simulation::canaries::ALL;
    canaries.iter().for_each(|canary| add("canary", canary.name, canary.about));
    mutants::ALL.iter().for_each(|mutant| add("mutant", &format!("{} {}", mutant.id, mutant.name), mutant.about));
    output::print_rows(format, &["KIND", "NAME", "ABOUT"], &rows)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn cpu_seconds() -> f64 {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    used.tv_sec as f64 + used.tv_nsec as f64 / 1e9
}
