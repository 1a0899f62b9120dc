//! `gregor sim bench`: how fast the simulator is, in virtual seconds a CPU second, and what its checks cost.

use super::cpu_seconds;
use crate::{
    output::{self, Failure, Format},
    procfs,
};
use sim::{
    run::{self, Options, Outcome},
    scenario::Scenario,
    swarm,
};
use std::process::ExitCode;

const IDLE: &str = "title = \"idle\"\nlasts = \"600s\"\n[[topic]]\nname = \"orders\"\n";
/// So many seeds are run of a load, each with its checks and without them.
const SEEDS: u64 = 5;

/// What several runs took together.
#[derive(Default)]
struct Taken {
    virtual_seconds: f64,
    cpu_seconds: f64,
    unjudged_cpu_seconds: f64,
    events: u64,
}

/// Runs an idle cluster, swarm seeds and the load in this process, and divides virtual seconds by CPU seconds.
pub(super) fn run(format: Format) -> Result<ExitCode, Failure> {
    let idle = Scenario::parse(IDLE).map_err(Failure::new)?;
    let loads: [(&str, Vec<Scenario>); 3] = [
        ("idle: 3 nodes", vec![idle]),
        ("swarm: as in a sweep", (1..=SEEDS).map(swarm::scenario).collect()),
        ("load: 500 records/s, 5 brokers, 3 controllers, faults", (1..=SEEDS).map(swarm::load).collect()),
    ];
    let mut rows = Vec::new();
    for (name, scenarios) in loads {
        eprintln!("measuring: {name}");
        let taken = measure(name, &scenarios)?;
        let checks = (1.0 - taken.unjudged_cpu_seconds / taken.cpu_seconds) * 100.0;
        rows.push(vec![
            name.into(),
            format!("{:.0}", taken.virtual_seconds),
            format!("{:.2}", taken.cpu_seconds),
            format!("{:.0}", taken.virtual_seconds / taken.cpu_seconds),
            format!("{:.0}", scenarios.len() as f64 / taken.cpu_seconds * 60.0),
            format!("{checks:.0} %"),
            taken.events.to_string(),
        ]);
    }
    let headings = ["LOAD", "VIRTUAL S", "CPU S", "VIRTUAL S A CPU S", "RUNS A CPU MINUTE", "CHECKS", "EVENTS"];
    output::print_rows(format, &headings, &rows)?;
    if format == Format::Table {
        let most = procfs::own_status("VmHWM:").unwrap_or(0);
        println!("most memory at a time: {} MiB", most / 1024);
    }
    Ok(ExitCode::SUCCESS)
}

fn measure(name: &str, scenarios: &[Scenario]) -> Result<Taken, Failure> {
    let mut taken = Taken::default();
    for scenario in scenarios {
        // What comes first pays for the memory that the others use again.
        timed(scenario, false);
        let (outcome, judged) = timed(scenario, false);
        if let Some(failure) = outcome.failure {
            return Err(Failure::new(format!("{name}: {}: {}", failure.claim, failure.what)));
        }
        let (_, unjudged) = timed(scenario, true);
        taken.virtual_seconds += outcome.virtual_seconds;
        taken.cpu_seconds += judged;
        taken.unjudged_cpu_seconds += unjudged;
        taken.events += outcome.events;
    }
    Ok(taken)
}

fn timed(scenario: &Scenario, unjudged: bool) -> (Outcome, f64) {
    let before = cpu_seconds();
    let seed = scenario.seeds.first().copied().unwrap_or(1);
    let outcome = run::run(scenario, seed, Options { unjudged, ..Options::default() });
    (outcome, cpu_seconds() - before)
}
