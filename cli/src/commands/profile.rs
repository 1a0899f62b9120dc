//! `gregor profile`: clusters by name, so that none has to be said with each command.
//!
//! They are kept in `gregor/config.toml` of the user's folder of settings (`$XDG_CONFIG_HOME`, else `~/.config`).

use crate::output::{self, Failure, Format};
use clap::Subcommand;
use runtime::{disk::Disk, task::block_on_real};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::PathBuf, process::ExitCode};

const FILE: &str = "config.toml";

/// Keeps clusters by name, and says which one commands talk to
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  gregor profile set prod --bootstrap broker-1.example:9092,broker-2.example:9092\n  gregor profile use prod"
)]
pub struct Profile {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Gives a cluster a name; the first one is used at once
    Set {
        /// The name
        name: String,
        /// The brokers to ask first
        #[arg(long, short, value_name = "HOST:PORT,..")]
        bootstrap: String,
    },
    /// Makes commands talk to this cluster
    Use {
        /// Its name
        name: String,
    },
    /// Shows the clusters, the one in use with an asterisk
    List {
        /// How to print it
        #[arg(short, long, value_enum, default_value = "table")]
        output: Format,
    },
    /// Forgets a cluster
    Delete {
        /// Its name
        name: String,
    },
}

/// One cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    bootstrap: String,
}

/// The file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Profiles {
    #[serde(skip_serializing_if = "Option::is_none")]
    current: Option<String>,
    #[serde(default)]
    profile: BTreeMap<String, Known>,
}

/// The brokers of the profile in use, if there is one.
///
/// # Errors
/// The file cannot be read.
pub fn in_use() -> Result<Option<String>, Failure> {
    let profiles = Profiles::load()?;
    Ok(profiles.current.and_then(|name| Some(profiles.profile.get(&name)?.bootstrap.clone())))
}

fn folder() -> Option<PathBuf> {
    let settings = std::env::var_os("XDG_CONFIG_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
    let home =
        || std::env::var_os("HOME").filter(|path| !path.is_empty()).map(|home| PathBuf::from(home).join(".config"));
    settings.or_else(home).map(|settings| settings.join("gregor"))
}

impl Profiles {
    fn load() -> Result<Self, Failure> {
        let Some(folder) = folder().filter(|folder| folder.join(FILE).is_file()) else { return Ok(Self::default()) };
        let bytes = Disk::real(&folder)?.read(FILE)?;
        let wrong = |error: toml::de::Error| {
            Failure::new(format!("{}: {}", folder.join(FILE).display(), error.message().replace('\n', " ")))
        };
        toml::from_str(&String::from_utf8_lossy(&bytes)).map_err(wrong)
    }

    fn keep(&self) -> Result<(), Failure> {
        let folder = folder().ok_or_else(|| Failure::new("there is no home: set HOME, or XDG_CONFIG_HOME"))?;
        let text = toml::to_string(self)?;
        block_on_real(Disk::real(folder)?.write_atomically(FILE, text.as_bytes()))?;
        Ok(())
    }

    fn change(&mut self, command: &Command) -> Result<String, Failure> {
        let known = |profiles: &Self, name: &str| {
            let there = profiles.profile.contains_key(name);
            there
                .then_some(())
                .ok_or_else(|| Failure::usage(format!("there is no profile {name}: see `gregor profile list`")))
        };
        match command {
            Command::Set { name, bootstrap } => {
                self.profile.insert(name.clone(), Known { bootstrap: bootstrap.clone() });
                let current = self.current.get_or_insert_with(|| name.clone());
                Ok(format!("{name} is {bootstrap}; {current} is in use"))
            }
            Command::Use { name } => {
                known(self, name)?;
                self.current = Some(name.clone());
                Ok(format!("{name} is in use"))
            }
            Command::Delete { name } => {
                known(self, name)?;
                self.profile.remove(name);
                self.current.take_if(|current| current == name);
                Ok(format!("{name} is forgotten"))
            }
            Command::List { .. } => Ok(String::new()),
        }
    }
}

impl Profile {
    /// Runs the command.
    pub fn run(self) -> Result<ExitCode, Failure> {
        let mut profiles = Profiles::load()?;
        if let Command::List { output } = self.command {
            let mark = |name: &String| if profiles.current.as_ref() == Some(name) { "*" } else { "" }.to_owned();
            let row = |(name, known): (&String, &Known)| vec![name.clone(), known.bootstrap.clone(), mark(name)];
            let rows: Vec<Vec<String>> = profiles.profile.iter().map(row).collect();
            output::print_rows(output, &["NAME", "BOOTSTRAP", "IN USE"], &rows)?;
            return Ok(ExitCode::SUCCESS);
        }
        let said = profiles.change(&self.command)?;
        profiles.keep()?;
        println!("{said}");
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_profile_is_in_use_until_another_is() {
        let mut profiles = Profiles::default();
        let set = |name: &str| Command::Set { name: name.into(), bootstrap: format!("{name}:9092") };
        for name in ["prod", "test"] {
            profiles.change(&set(name)).expect("a change");
        }
        assert_eq!(profiles.current.as_deref(), Some("prod"));
        profiles.change(&Command::Use { name: "test".into() }).expect("a change");
        let text = toml::to_string(&profiles).expect("TOML");
        assert_eq!(toml::from_str::<Profiles>(&text).expect("the same"), profiles);
        assert!(profiles.change(&Command::Use { name: "none".into() }).is_err());
        profiles.change(&Command::Delete { name: "test".into() }).expect("a change");
        assert_eq!((profiles.current, profiles.profile.len()), (None, 1));
    }
}
