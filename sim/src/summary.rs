//! Pure. What a run came to, for whoever reads its folder: `run.json`.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// What `gregor sim replay` takes.
    pub token: String,
    /// Where the scenario comes from.
    pub source: String,
    /// Its claim.
    pub title: String,
    /// The seed, in hexadecimal.
    pub seed: String,
    /// The planted bug, if one was on.
    pub mutant: Option<String>,
    /// The code that ran.
    pub code_version: String,
    /// What broke: an invariant's name, `expectation`, `panic`, `deadlock`, `stuck`.
    pub claim: Option<String>,
    /// What the broken claim says, in one line.
    pub claim_words: Option<String>,
    /// The two facts that contradict each other.
    pub what: Option<String>,
    /// When it broke, in virtual seconds since the run began.
    pub at_seconds: Option<f64>,
    /// The hash of all events.
    pub hash: String,
    /// How many events there were.
    pub events: u64,
    /// How long the run was, in virtual seconds.
    pub virtual_seconds: f64,
    /// How often a leader changed.
    pub leader_changes: u64,
    /// What clients were told, counted.
    pub history: String,
    /// Faults begun, by kind.
    pub faults: BTreeMap<String, u64>,
    /// Which names of the search were reached, and how often.
    pub reached: BTreeMap<String, u64>,
}

#[cfg(madsim)]
impl Summary {
    /// Of a job of this binary, whose scenario has this title.
    pub fn of(job: &crate::token::Job, title: &str, outcome: &crate::run::Outcome) -> Self {
        let failure = outcome.failure.as_ref();
        let claim = failure.map(|failure| failure.claim.clone());
        let all = crate::invariants::all();
        let broken = all.iter().find(|invariant| Some(invariant.name()) == claim.as_deref());
        Self {
            token: crate::token::Token::of(job).to_string(),
            source: job.source.clone(),
            title: title.into(),
            seed: format!("{:x}", job.seed),
            mutant: job.mutant.clone(),
            code_version: crate::token::CODE_VERSION.into(),
            claim_words: broken.map(|invariant| invariant.claim().to_owned()),
            claim,
            what: failure.map(|failure| failure.what.clone()),
            at_seconds: failure.map(|failure| failure.at_seconds),
            hash: outcome.hash.clone(),
            events: outcome.events,
            virtual_seconds: outcome.virtual_seconds,
            leader_changes: outcome.leader_changes,
            history: outcome.history.clone(),
            faults: outcome.faults.clone(),
            reached: outcome.reached.clone(),
        }
    }
}
