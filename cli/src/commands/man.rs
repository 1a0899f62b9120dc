//! `gregor man`: a manual page for each command, made from its help.

use crate::output::Failure;
use clap::CommandFactory;
use runtime::{disk::Disk, task::block_on_real};
use std::{path::PathBuf, process::ExitCode};

/// Writes manual pages into a folder
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  gregor man /usr/local/share/man/man1\n  gregor man . && man ./gregor-cluster.1")]
pub struct Man {
    /// The folder, which must be there
    folder: PathBuf,
}

impl Man {
    /// Runs the command.
    pub fn run(self) -> Result<ExitCode, Failure> {
        if !self.folder.is_dir() {
            return Err(Failure::usage(format!("{} is not a folder", self.folder.display())));
        }
        let mut command = super::Arguments::command();
        command.build();
        let mut pages = Vec::new();
        collect("gregor", command, &mut pages)?;
        let disk = Disk::real(&self.folder)?;
        block_on_real(async {
            for (name, page) in &pages {
                disk.write_atomically(&format!("{name}.1"), page).await?;
            }
            Ok::<_, Failure>(())
        })?;
        println!("{} pages written to {}", pages.len(), self.folder.display());
        Ok(ExitCode::SUCCESS)
    }
}

/// The page of a command, and those of the commands under it.
fn collect(name: &str, command: clap::Command, pages: &mut Vec<(String, Vec<u8>)>) -> Result<(), Failure> {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set() && below.get_name() != "help") {
        collect(&format!("{name}-{}", below.get_name()), below.clone(), pages)?;
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command.name(name.to_owned())).render(&mut page)?;
    pages.push((name.to_owned(), page));
    Ok(())
}
