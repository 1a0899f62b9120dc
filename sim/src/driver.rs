//! Many runs: one process each, several at a time, each twice in different surroundings where that is asked.
//!
//! A process of its own leaves no static behind for the next run, and another working directory, environment and time zone
//! for the second one show whatever leaks into a run.

use crate::{
    run::{self, Options, Outcome},
    scenario::Scenario,
    swarm,
    token::{self, Job, SWARM},
};
use runtime::{disk::Disk, time};
use std::{
    collections::{BTreeMap, VecDeque},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

/// How long one run may take in real time before its process is given up.
const RUN_SECONDS_MAX: u64 = 600;

/// The scenario of a job, from the swarm, from what was built in, or from a file.
///
/// # Errors
/// Says what is wrong with the name or the file.
pub fn scenario(source: &str, seed: u64) -> Result<Scenario, String> {
    if source == SWARM {
        return Ok(swarm::scenario(seed));
    }
    if source.ends_with(".toml") {
        let path = PathBuf::from(source);
        let (folder, name) = (path.parent().unwrap_or(&path), path.file_name().unwrap_or_default().to_string_lossy());
        let folder = if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder.to_path_buf() };
        let bytes =
            Disk::real(folder).and_then(|disk| disk.read(&name)).map_err(|error| format!("{source}: {error}"))?;
        let text = String::from_utf8(bytes).map_err(|_| format!("{source} is not UTF-8"))?;
        return Scenario::parse(&text).map_err(|error| format!("{source}: {error}"));
    }
    let (name, text) = token::kept(source)?;
    Scenario::parse(text).map_err(|error| format!("{name}: {error}"))
}

/// Runs one job in this process.
///
/// # Errors
/// As [`scenario`].
pub fn here(job: &Job, options: Options) -> Result<Outcome, String> {
    let scenario = scenario(&job.source, job.seed)?;
    Ok(run::run(&scenario, job.seed, Options { mutant: job.mutant.clone(), ..options }))
}

/// One job, done.
#[derive(Clone, Debug)]
pub struct Done {
    /// Which.
    pub job: Job,
    /// What it came to; of two runs, the first.
    pub outcome: Outcome,
    /// The hash of the second run, if there was one and it differs.
    pub other_hash: Option<String>,
}

/// How far a batch of jobs is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// Jobs done.
    pub done: usize,
    /// Jobs in all, where that is known.
    pub of: Option<usize>,
    /// Jobs that failed.
    pub failed: usize,
    /// Virtual seconds so far, second runs not counted.
    pub virtual_seconds: f64,
    /// CPU seconds so far, second runs not counted.
    pub cpu_seconds: f64,
}

/// What a batch of jobs is told.
pub struct Plan {
    /// The jobs.
    pub jobs: Box<dyn Iterator<Item = Job>>,
    /// How many processes at a time.
    pub parallel: usize,
    /// Each twice, in different surroundings.
    pub twice: bool,
    /// No further job is started once one has failed.
    pub stop_at_failure: bool,
    /// No job is started after.
    pub until: Option<time::Instant>,
}

impl Plan {
    /// Each job once, all of them, so many at a time.
    pub fn new(jobs: impl IntoIterator<Item = Job> + 'static, parallel: usize) -> Self {
        let jobs = Box::new(jobs.into_iter());
        Self { jobs, parallel: parallel.max(1), twice: false, stop_at_failure: false, until: None }
    }
}

/// What else a run in a process of its own is told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extra<'a> {
    /// In the other surroundings.
    pub second: bool,
    /// The text of every event comes back with the outcome.
    pub keep: bool,
    /// The leak that is let into it.
    pub canary: Option<&'a str>,
    /// Where what happened in it is written down: an absolute path.
    pub folder: Option<&'a Path>,
}

struct Running {
    job: usize,
    second: bool,
    child: Child,
    report: PathBuf,
    since: time::Instant,
}

/// Where the processes of this one put their reports.
struct Scratch {
    path: PathBuf,
    disk: Disk,
}

impl Scratch {
    fn new() -> std::io::Result<Self> {
        let path = std::env::temp_dir().join(format!("gregor-sim-{}", std::process::id()));
        Ok(Self { disk: Disk::real(&path)?, path })
    }
}

/// Runs the jobs and reports each as it is done, in the order of the jobs where one runs at a time.
///
/// # Errors
/// A process that could not be started.
pub async fn execute(mut plan: Plan, mut told: impl FnMut(&Progress, &Done)) -> std::io::Result<Vec<Done>> {
    let scratch = Scratch::new()?;
    let mut progress = Progress { of: plan.jobs.size_hint().1, ..Progress::default() };
    let (mut all, mut begun) = (Vec::new(), Vec::<Job>::new());
    let (mut waiting, mut running) = (VecDeque::<(usize, bool)>::new(), Vec::<Running>::new());
    let mut half: BTreeMap<usize, (bool, Outcome)> = BTreeMap::new();
    let mut stop = false;
    loop {
        while running.len() < plan.parallel {
            if waiting.is_empty() && !stop && plan.until.is_none_or(|until| time::now() < until) {
                let Some(job) = plan.jobs.next() else { break };
                waiting.push_back((begun.len(), false));
                waiting.extend(plan.twice.then_some((begun.len(), true)));
                begun.push(job);
            }
            let Some((job, second)) = waiting.pop_front() else { break };
            running.push(start(&begun[job], job, Extra { second, ..Extra::default() }, &scratch)?);
        }
        if running.is_empty() {
            break;
        }
        time::sleep(Duration::from_millis(2)).await;
        for at in (0..running.len()).rev() {
            if !running[at].has_ended() {
                continue;
            }
            let ended = running.swap_remove(at);
            let outcome = read_report(&scratch.disk, &ended.report);
            let (outcome, second) = match (plan.twice, half.remove(&ended.job)) {
                (false, _) => (outcome, None),
                (true, Some((true, second))) => (outcome, Some(second)),
                (true, Some((false, first))) => (first, Some(outcome)),
                (true, None) => {
                    half.insert(ended.job, (ended.second, outcome));
                    continue;
                }
            };
            let other_hash = second.map(|second| second.hash).filter(|hash| *hash != outcome.hash);
            let done = Done { job: begun[ended.job].clone(), outcome, other_hash };
            progress.add(&done);
            stop |= plan.stop_at_failure && progress.failed > 0;
            told(&progress, &done);
            all.push(done);
        }
    }
    scratch.disk.remove_directory("").ok();
    Ok(all)
}

impl Progress {
    /// This and what came after it.
    pub fn and(&self, later: &Self) -> Self {
        Self {
            done: self.done + later.done,
            of: self.of,
            failed: self.failed + later.failed,
            virtual_seconds: self.virtual_seconds + later.virtual_seconds,
            cpu_seconds: self.cpu_seconds + later.cpu_seconds,
        }
    }

    fn add(&mut self, done: &Done) {
        self.done += 1;
        self.virtual_seconds += done.outcome.virtual_seconds;
        self.cpu_seconds += done.outcome.cpu_seconds;
        self.failed += usize::from(done.outcome.failure.is_some() || done.other_hash.is_some());
    }
}

/// Runs one job once more, in a process of its own.
///
/// # Errors
/// The process could not be started.
pub async fn again(job: &Job, extra: Extra<'_>) -> std::io::Result<Outcome> {
    let scratch = Scratch::new()?;
    let mut running = start(job, 0, extra, &scratch)?;
    while !running.has_ended() {
        time::sleep(Duration::from_millis(2)).await;
    }
    let outcome = read_report(&scratch.disk, &running.report);
    scratch.disk.remove_directory("").ok();
    Ok(outcome)
}

/// Where two runs of one job went apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The last events that both have.
    pub before: Vec<String>,
    /// What came then in the one, and in the other.
    pub then: [Vec<String>; 2],
}

/// How much of each side is told.
const CONTEXT: usize = 4;

impl Difference {
    /// The first one of two traces, a line an event; nothing where they are equal.
    pub fn first(one: &[String], other: &[String]) -> Option<Self> {
        let at = one.iter().zip(other).position(|(one, other)| one != other).unwrap_or(one.len().min(other.len()));
        let after = |lines: &[String]| lines[at..lines.len().min(at + CONTEXT)].to_vec();
        let before = one[at.saturating_sub(CONTEXT)..at].to_vec();
        (one.len() > at || other.len() > at).then(|| Self { before, then: [after(one), after(other)] })
    }
}

/// Runs a job twice in different surroundings, keeps every event, and looks for the first that differs.
///
/// # Errors
/// A process that could not be started.
pub async fn difference(job: &Job, canary: Option<&str>) -> std::io::Result<Option<Difference>> {
    let one = again(job, Extra { keep: true, canary, ..Extra::default() }).await?;
    let other = again(job, Extra { keep: true, canary, second: true, ..Extra::default() }).await?;
    Ok(Difference::first(&one.kept, &other.kept))
}

impl Running {
    fn has_ended(&mut self) -> bool {
        if self.since.elapsed() > Duration::from_secs(RUN_SECONDS_MAX) {
            self.child.kill().ok();
        }
        !matches!(self.child.try_wait(), Ok(None))
    }
}

fn start(job: &Job, index: usize, extra: Extra<'_>, scratch: &Scratch) -> std::io::Result<Running> {
    let report = scratch.path.join(format!("{index}-{}.json", extra.second));
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["sim", "one", &job.source, "--seed", &format!("{:x}", job.seed)]);
    command.arg("--report").arg(&report);
    if let Some(mutant) = &job.mutant {
        command.args(["--mutant", mutant]);
    }
    if let Some(canary) = extra.canary {
        command.args(["--canary", canary]);
    }
    if let Some(folder) = extra.folder {
        command.arg("--folder").arg(folder);
    }
    if extra.keep {
        command.arg("--keep");
    }
    command.stdin(Stdio::null()).stdout(Stdio::null());
    if extra.second && job.source == SWARM {
        command.current_dir("/");
    }
    if extra.second {
        command.env_clear().env("TZ", "Asia/Kathmandu").env("HOME", "/nowhere").env("PADDING", "x".repeat(4_000));
    }
    Ok(Running { job: index, second: extra.second, child: command.spawn()?, report, since: time::now() })
}

fn read_report(disk: &Disk, report: &Path) -> Outcome {
    let name = report.file_name().expect("it has a name").to_string_lossy();
    let read = disk.read(&name).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    disk.remove_file(&name).ok();
    read.unwrap_or_else(|| Outcome {
        failure: Some(run::Failure {
            claim: "process".into(),
            what: "the run's process ended without a report".into(),
            at_seconds: 0.0,
            after_faults: 0,
        }),
        ..Outcome::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_of_two_traces_is_told_with_what_came_before() {
        let trace = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let of = |one: &str, other: &str| Difference::first(&trace(one), &trace(other));
        assert_eq!(of("a b c", "a b c"), None);
        let found = of("a b c d e f g h i j k", "a b c d e X").expect("they differ");
        assert_eq!(found.before, ["b", "c", "d", "e"]);
        assert_eq!(found.then, [trace("f g h i"), trace("X")]);
        assert_eq!(of("a b", "a").expect("one is longer").then, [trace("b"), Vec::new()]);
    }
}
