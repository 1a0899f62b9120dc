//! A run's folder: what it came to, what happened in it, its story as text and as a page, and its scenario.

use crate::output::{Failure, table};
use runtime::{disk::Disk, task::block_on_real};
use sim::{
    driver,
    recording::Entry,
    report,
    run::Outcome,
    scenario::Scenario,
    story::{Filter, story},
    summary::Summary,
    token::Job,
};
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

const RUN: &str = "run.json";
const TIMELINE: &str = "timeline.jsonl";
const STORY: &str = "story.txt";
const REPORT: &str = "report.html";
const SCENARIO: &str = "scenario.toml";

/// The name of a run's folder among others.
pub fn name(job: &Job) -> String {
    let source = job.source.trim_end_matches(".toml");
    let source = if job.source.ends_with(".toml") { source.rsplit('/').next().unwrap_or(source) } else { source };
    let mutant = job.mutant.as_ref().map_or(String::new(), |mutant| format!("-{mutant}"));
    format!("{}-{:x}{mutant}", source.replace('/', "-"), job.seed)
}

/// Writes a file, whole or not at all.
pub async fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let path = std::path::absolute(path)?;
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Failure::usage(format!("{} is no file", path.display())));
    };
    Disk::real(folder)?.write_atomically(&name.to_string_lossy(), bytes).await?;
    Ok(())
}

/// Removes a file.
pub fn remove(path: &str) -> Result<(), Failure> {
    let path = Path::new(path);
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    Ok(Disk::real(folder)?.remove_file(&name.to_string_lossy())?)
}

/// Writes the folder of a run that was recorded.
pub fn record(folder: &Path, job: &Job, outcome: &Outcome) -> Result<(), Failure> {
    let scenario = driver::scenario(&job.source, job.seed).map_err(Failure::usage)?;
    let summary = Summary::of(job, &scenario.title, outcome);
    let entries = &outcome.recorded;
    let mut timeline = Vec::new();
    for entry in entries {
        serde_json::to_writer(&mut timeline, entry)?;
        timeline.push(b'\n');
    }
    let pins = job.mutant.iter().cloned().collect();
    let own = Scenario { seeds: vec![job.seed], pins, ..scenario };
    let files = [
        (RUN, serde_json::to_vec_pretty(&summary)?),
        (TIMELINE, timeline),
        (STORY, story(entries, &Filter::default()).into_bytes()),
        (REPORT, report::html(&summary, entries).into_bytes()),
        (SCENARIO, own.to_toml().into_bytes()),
    ];
    block_on_real(async {
        for (name, bytes) in files {
            write(&folder.join(name), &bytes).await?;
        }
        Ok(())
    })
}

/// See [`super::Command`].
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  gregor sim show gregor-runs/swarm-5bd1e9\n  gregor sim show gregor-runs/swarm-5bd1e9 --node 2 --partition orders-0"
)]
pub struct Show {
    /// A run's folder
    folder: PathBuf,
    /// Only what happened to this node
    #[arg(long)]
    node: Option<i32>,
    /// Only what is about this partition: orders-0
    #[arg(long)]
    partition: Option<String>,
}

impl Show {
    /// Runs the command.
    pub fn run(self) -> Result<ExitCode, Failure> {
        let path = |name| self.folder.join(name);
        if !path(RUN).is_file() {
            let folder = self.folder.display();
            return Err(Failure::usage(format!("{folder} is no folder of a run: it has no {RUN}")));
        }
        let disk = Disk::real(&self.folder)?;
        let summary: Summary = serde_json::from_slice(&disk.read(RUN)?)?;
        let timeline = disk.read(TIMELINE)?;
        let lines = timeline.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let entries: Vec<Entry> = lines.map(serde_json::from_slice).collect::<Result<_, _>>()?;
        print!("{}", story(&entries, &Filter { node: self.node, partition: self.partition.clone() }));
        let rows = [
            ("run", summary.token.clone()),
            ("claim", summary.claim.unwrap_or_else(|| "everything held".into())),
            ("records", summary.history),
            ("report", path(REPORT).display().to_string()),
        ];
        let rows: Vec<Vec<String>> = rows.into_iter().map(|(what, how)| vec![what.into(), how]).collect();
        print!("\n{}", table(&["WHAT", ""], &rows));
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_named_after_its_run() {
        let job = |source: &str, mutant: Option<&str>| Job {
            source: source.into(),
            seed: 0x5b,
            mutant: mutant.map(str::to_owned),
        };
        assert_eq!(name(&job("swarm", None)), "swarm-5b");
        assert_eq!(name(&job("isr/leader-power-loss", Some("Z04"))), "isr-leader-power-loss-5b-Z04");
        assert_eq!(name(&job("/tmp/some/my.toml", None)), "my-5b");
    }
}
