//! `gregor sim sweep --guided`: every other run is a changed schedule of an earlier one that reached what few had.

use super::{folder, many};
use crate::output::Failure;
use runtime::time;
use sim::{
    driver::{self, Done, Plan, Progress},
    guide::Guide,
    token::{Job, SWARM},
};
use std::path::PathBuf;

/// What is learned in one round guides the next; the number of cores does not count, so that the sweep can be repeated.
const ROUND: u64 = 32;

/// What a guided search is told.
pub(super) struct Search {
    /// The first seed.
    pub from: u64,
    /// How many runs.
    pub count: u64,
    /// Where the files of changed schedules go.
    pub folder: PathBuf,
    /// How many processes at a time.
    pub parallel: usize,
    /// Each twice.
    pub twice: bool,
    /// No round is begun after.
    pub until: Option<time::Instant>,
}

impl Search {
    /// Runs it. Schedules that held are not kept as files.
    pub async fn run(self, mut told: impl FnMut(&Progress, &Done)) -> Result<Vec<Done>, Failure> {
        let (mut guide, mut all, mut sum) = (Guide::default(), Vec::new(), Progress::default());
        let mut number = 0;
        while number < self.count && self.until.is_none_or(|until| time::now() < until) {
            let end = (number + ROUND).min(self.count);
            let mut jobs = Vec::new();
            for index in number..end {
                jobs.push(self.job(&guide, index).await?);
            }
            number = end;
            let plan = Plan { twice: self.twice, ..Plan::new(jobs, self.parallel) };
            let before = sum;
            let mut done = driver::execute(plan, |progress, done| {
                sum = before.and(progress);
                told(&Progress { of: Some(self.count as usize), ..sum }, done);
            })
            .await?;
            done.sort_by(|one, other| one.job.cmp(&other.job));
            for done in &done {
                let scenario = driver::scenario(&done.job.source, done.job.seed).map_err(Failure::new)?;
                guide.learn(&scenario, done.job.seed, done.outcome.reached.keys().map(String::as_str));
                if done.job.source != SWARM && !many::is_bad(done) {
                    folder::remove(&done.job.source)?;
                }
            }
            all.extend(done);
        }
        Ok(all)
    }

    async fn job(&self, guide: &Guide, index: u64) -> Result<Job, Failure> {
        let seed = self.from + index;
        match guide.child(seed).filter(|_| index % 2 == 1) {
            Some((scenario, seed)) => {
                let path = std::path::absolute(self.folder.join(format!("guided-{index:06}.toml")))?;
                folder::write(&path, scenario.to_toml().as_bytes()).await?;
                Ok(Job { source: path.to_string_lossy().into_owned(), seed, mutant: None })
            }
            None => Ok(Job { source: SWARM.into(), seed, mutant: None }),
        }
    }
}
