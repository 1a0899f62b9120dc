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
    ops::Range,
    path::PathBuf,
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
pub fn here(job: &Job, keep: Option<Range<u64>>) -> Result<Outcome, String> {
    let scenario = scenario(&job.source, job.seed)?;
    Ok(run::run(&scenario, job.seed, Options { mutant: job.mutant.clone(), keep }))
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
    /// Jobs in all.
    pub of: usize,
    /// Jobs that failed.
    pub failed: usize,
    /// Virtual seconds so far, second runs not counted.
    pub virtual_seconds: f64,
}

/// What a batch of jobs is told.
pub struct Plan {
    /// The jobs.
    pub jobs: Vec<Job>,
    /// Each twice, in different surroundings.
    pub twice: bool,
    /// How many processes at a time.
    pub parallel: usize,
    /// No further job is started once one has failed.
    pub stop_at_failure: bool,
}

struct Running {
    job: usize,
    second: bool,
    child: Child,
    report: PathBuf,
    since: time::Instant,
}

/// Runs the jobs and reports each as it is done, in the order of the jobs where `parallel` is one.
///
/// # Errors
/// A process that could not be started.
pub async fn execute(plan: Plan, mut told: impl FnMut(&Progress, &Done)) -> std::io::Result<Vec<Done>> {
    let scratch = std::env::temp_dir().join(format!("gregor-sim-{}", std::process::id()));
    let disk = Disk::real(&scratch)?;
    let mut waiting: VecDeque<(usize, bool)> = (0..plan.jobs.len())
        .flat_map(|job| [Some((job, false)), plan.twice.then_some((job, true))])
        .flatten()
        .collect();
    let mut running: Vec<Running> = Vec::new();
    let mut half: BTreeMap<usize, (bool, Outcome)> = BTreeMap::new();
    let (mut all, mut progress) = (Vec::new(), Progress { of: plan.jobs.len(), ..Progress::default() });
    while !(waiting.is_empty() && running.is_empty()) {
        while running.len() < plan.parallel.max(1)
            && let Some((job, second)) = waiting.pop_front()
        {
            running.push(start(&plan.jobs[job], job, second, &scratch)?);
        }
        time::sleep(Duration::from_millis(2)).await;
        for at in (0..running.len()).rev() {
            if !running[at].has_ended() {
                continue;
            }
            let ended = running.swap_remove(at);
            let name = ended.report.file_name().expect("it has a name").to_string_lossy().into_owned();
            let outcome = read_report(&disk, &name);
            let outcomes = if plan.twice {
                match half.remove(&ended.job) {
                    Some((true, second)) => (outcome, Some(second)),
                    Some((false, first)) => (first, Some(outcome)),
                    None => {
                        half.insert(ended.job, (ended.second, outcome));
                        continue;
                    }
                }
            } else {
                (outcome, None)
            };
            let (outcome, second) = outcomes;
            let other_hash = second.map(|second| second.hash).filter(|hash| *hash != outcome.hash);
            let done = Done { job: plan.jobs[ended.job].clone(), outcome, other_hash };
            progress.done += 1;
            progress.virtual_seconds += done.outcome.virtual_seconds;
            if done.outcome.failure.is_some() || done.other_hash.is_some() {
                progress.failed += 1;
                if plan.stop_at_failure {
                    waiting.clear();
                }
            }
            told(&progress, &done);
            all.push(done);
        }
    }
    disk.remove_directory("").ok();
    Ok(all)
}

impl Running {
    fn has_ended(&mut self) -> bool {
        if self.since.elapsed() > Duration::from_secs(RUN_SECONDS_MAX) {
            self.child.kill().ok();
        }
        !matches!(self.child.try_wait(), Ok(None))
    }
}

fn start(job: &Job, index: usize, second: bool, scratch: &std::path::Path) -> std::io::Result<Running> {
    let report = scratch.join(format!("{index}-{second}.json"));
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["sim", "one", &job.source, "--seed", &format!("{:x}", job.seed)]);
    command.arg("--report").arg(&report);
    if let Some(mutant) = &job.mutant {
        command.args(["--mutant", mutant]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null());
    if second && job.source == SWARM {
        command.current_dir("/");
    }
    if second {
        command.env_clear().env("TZ", "Asia/Kathmandu").env("HOME", "/nowhere").env("PADDING", "x".repeat(4_000));
    }
    Ok(Running { job: index, second, child: command.spawn()?, report, since: time::now() })
}

fn read_report(disk: &Disk, name: &str) -> Outcome {
    let read = disk.read(name).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    disk.remove_file(name).ok();
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
