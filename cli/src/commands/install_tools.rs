//! `gregor install-tools`: links by which gregor is called as Kafka's scripts are.

use crate::{kafka_tools, output::Failure};
use runtime::disk::Disk;
use std::{path::PathBuf, process::ExitCode};

/// Makes links named as Kafka's scripts (kafka-topics.sh and others): called by one, gregor is that tool
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  gregor install-tools ~/.local/bin\n  gregor install-tools ./tools && ./tools/kafka-topics.sh --bootstrap-server localhost:9092 --list"
)]
pub struct InstallTools {
    /// The folder, which is made if it is not there
    folder: PathBuf,
}

impl InstallTools {
    /// Runs the command.
    pub fn run(self) -> Result<ExitCode, Failure> {
        let program = std::env::current_exe()?;
        let disk = Disk::real(&self.folder)?;
        let names: Vec<String> = kafka_tools::names().map(|name| format!("{name}.sh")).collect();
        for name in &names {
            let link = self.folder.join(name);
            match std::fs::symlink_metadata(&link) {
                Ok(there) if there.is_symlink() => disk.remove_file(name)?,
                Ok(_) => {
                    let place = link.display();
                    return Err(Failure::new(format!(
                        "{place} is there and is no link: remove it first, or name another folder"
                    )));
                }
                Err(_) => {}
            }
            std::os::unix::fs::symlink(&program, &link)?;
        }
        println!("{} links in {}: {}", names.len(), self.folder.display(), names.join(" "));
        Ok(ExitCode::SUCCESS)
    }
}
