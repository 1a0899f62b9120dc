//! Pure. What names a run: where its scenario comes from, the seed, the mutant if there is one, and the code version.
//! Printed with every failure, as `swarm:5bd1e9@3f2a9c1b` or `isr/leader-power-loss:1+Z04@3f2a9c1b`.

use std::fmt;

/// The digest of the source that this binary was built from.
pub const CODE_VERSION: &str = env!("GREGOR_CODE_VERSION");

/// The scenarios that were there when this binary was built: name and text.
pub const SCENARIOS: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/scenarios.rs"));

/// One run, but for the code.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Job {
    /// `swarm`, the name of a kept scenario, or the path of a file that ends in `.toml`.
    pub source: String,
    /// The seed.
    pub seed: u64,
    /// The mutant that is switched on.
    pub mutant: Option<String>,
}

/// The source of scenarios that are drawn from their seed.
pub const SWARM: &str = "swarm";

/// A run and the code that it was seen with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The run.
    pub job: Job,
    /// The code version.
    pub code_version: String,
}

impl Token {
    /// The token of a run of this binary.
    pub fn of(job: &Job) -> Self {
        Self { job: job.clone(), code_version: CODE_VERSION.into() }
    }

    /// Reads a token.
    ///
    /// # Errors
    /// Says what a token looks like.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is not a run: write it as swarm:5bd1e9@{CODE_VERSION}");
        let (run, code_version) = text.rsplit_once('@').ok_or_else(wrong)?;
        let (source, seed) = run.rsplit_once(':').ok_or_else(wrong)?;
        let (seed, mutant) =
            seed.split_once('+').map_or((seed, None), |(seed, mutant)| (seed, Some(mutant.to_string())));
        let seed = u64::from_str_radix(seed, 16).map_err(|_| wrong())?;
        Ok(Self { job: Job { source: source.into(), seed, mutant }, code_version: code_version.into() })
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Job { source, seed, mutant } = &self.job;
        write!(f, "{source}:{seed:x}")?;
        if let Some(mutant) = mutant {
            write!(f, "+{mutant}")?;
        }
        write!(f, "@{}", self.code_version)
    }
}

/// The text of a kept scenario, by its whole name or, where only one ends so, by its last part.
///
/// # Errors
/// Says which names there are.
pub fn kept(name: &str) -> Result<(&'static str, &'static str), String> {
    let matching = |(full, _): &&(&'static str, &'static str)| *full == name || full.rsplit('/').next() == Some(name);
    let found: Vec<_> = SCENARIOS.iter().filter(matching).collect();
    match found[..] {
        [one] => Ok(*one),
        [] => Err(format!("there is no scenario '{name}'; `gregor sim list` shows them")),
        _ => {
            let names: Vec<_> = found.iter().map(|(full, _)| *full).collect();
            Err(format!("'{name}' may be {}", names.join(" or ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_back() {
        for mutant in [None, Some("Z04".to_string())] {
            let token = Token::of(&Job { source: "isr/leader-power-loss".into(), seed: 0x5bd1, mutant });
            assert_eq!(Token::parse(&token.to_string()), Ok(token));
        }
        assert!(Token::parse("5bd1").is_err());
        assert!(Token::parse("swarm:xyz@1").is_err());
    }

    #[test]
    fn every_kept_scenario_is_read() {
        for (name, text) in SCENARIOS {
            crate::scenario::Scenario::parse(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
}
