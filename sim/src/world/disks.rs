//! The disks of the simulated machines: what is wrong with them, and what a machine loses for it.

use super::World;
use crate::event::WorldEvent;
use protocol::ids::BrokerId;
use runtime::{
    observe, simulation,
    simulation::disk::{self, Damage, Faults},
};
use std::collections::{BTreeMap, BTreeSet};

/// The checkpoints whose loss costs work and nothing else. In a checkpoint that is scrambled nobody can tell.
const MADE_ANEW: [&str; 2] = ["recovery-point-offset-checkpoint", "replication-offset-checkpoint"];
/// How many bits of a file are scrambled.
const FLIPS: u64 = 16;

/// Which of a machine's disks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// All of them.
    All,
    /// The one with the partitions; of a controller on a machine of its own, the one with the metadata.
    Data,
}

/// What is wrong with the disks of each machine.
#[derive(Default)]
pub(super) struct Disks {
    /// Each entry by a fault that lasts.
    worse: BTreeMap<i32, Vec<(Which, Faults)>>,
    /// The machines whose process may end by itself at any time.
    ailing: BTreeMap<i32, Vec<Ailment>>,
}

/// Why a process may end by itself.
#[derive(Clone, Copy)]
struct Ailment {
    faults: Faults,
    /// Whether what was not on the device is lost with it.
    loses: bool,
    /// What its disks had refused when it began.
    refusals: u64,
}

impl Disks {
    /// The machines whose process may end at any time, and whether that may lose what was not on the device.
    pub fn at_risk(&self) -> BTreeMap<BrokerId, bool> {
        let ailing = self.ailing.iter().filter(|(_, ailments)| !ailments.is_empty());
        ailing.map(|(id, ailments)| (BrokerId(*id), ailments.iter().any(|ailment| ailment.loses))).collect()
    }
}

impl World {
    /// Makes a machine's disks worse, until the same is taken back by [`World::mend_disks`].
    pub fn worsen_disks(&mut self, id: i32, faults: Faults) {
        self.worsen(id, Which::All, faults);
    }

    fn worsen(&mut self, id: i32, which: Which, faults: Faults) {
        self.disks.worse.entry(id).or_default().push((which, faults));
        self.set_disks(id);
    }

    /// Takes back what [`World::worsen_disks`] did.
    pub fn mend_disks(&mut self, id: i32, faults: Faults) {
        let all = self.disks.worse.entry(id).or_default();
        if let Some(at) = all.iter().position(|(_, one)| *one == faults) {
            all.remove(at);
        }
        self.set_disks(id);
    }

    /// Makes operations on a machine's disks fail, for which its process may end by itself at any time; with `loses`, what
    /// was not on the device is then gone. Until [`World::cure_disks`] the machine counts as one that has crashed so.
    ///
    /// # Errors
    /// Where it would exceed the fault budget, or the machine is down.
    pub fn ail_disks(&mut self, id: i32, which: Which, faults: Faults, loses: bool) -> Result<(), &'static str> {
        if self.down().contains(&id) {
            return Err("it was down already");
        }
        let refusals = self.refusals(id);
        self.disks.ailing.entry(id).or_default().push(Ailment { faults, loses, refusals });
        if !self.may_crash(id, loses) {
            self.disks.ailing.entry(id).or_default().pop();
            return Err("it would exceed the fault budget");
        }
        self.worsen(id, which, faults);
        Ok(())
    }

    /// Takes back what [`World::ail_disks`] did. A machine of which anything was refused gets its process started anew.
    pub fn cure_disks(&mut self, id: i32, faults: Faults) {
        self.mend_disks(id, faults);
        let refusals = self.refusals(id);
        let all = self.disks.ailing.entry(id).or_default();
        let Some(at) = all.iter().position(|one| one.faults == faults) else { return };
        let struck = all[at].refusals < refusals;
        if struck {
            // It may not have ended: another of its directories works, or what failed was of no account.
            self.crash(id, false);
        }
        self.disks.ailing.entry(id).or_default().remove(at);
        if struck {
            self.start(id);
        }
    }

    /// Accounts for the processes that have ended by themselves. Whoever's disk dropped what it was to sync comes back
    /// without that, as a machine does that was given another disk and what could be read of the old one.
    pub fn notice_ends(&mut self) {
        let ended = self
            .machines
            .iter()
            .filter(|(_, machine)| machine.running && machine.stop.is_some() && !simulation::is_running(machine.node));
        for id in ended.map(|(id, _)| *id).collect::<Vec<_>>() {
            observe::emit(|| WorldEvent::EndedItself { broker: id });
            self.crash(id, false);
        }
    }

    /// Takes the power and the disk with the partitions away from a machine: it starts again on an empty one.
    ///
    /// # Errors
    /// Where it keeps no partitions, is down already, or it would exceed the fault budget.
    pub fn replace_disk(&mut self, id: i32) -> Result<(), &'static str> {
        if !self.machines.get(&id).is_some_and(|machine| machine.is_broker) {
            return Err("it keeps no partitions");
        }
        if !self.shared.borrow().judge.ledger.may_lose_disk(BrokerId(id), &self.disks.at_risk()) {
            return Err("it would exceed the fault budget");
        }
        if !self.crash(id, true) {
            return Err("it was down already");
        }
        let machine = self.machines.get_mut(&id).expect("it is a broker's");
        machine.replaced += 1;
        machine.log_disk = disk::Disk::new((machine.replaced << 32) + 2 * id as u64 + 1);
        observe::emit(|| WorldEvent::DiskReplaced { broker: id });
        self.set_disks(id);
        Ok(())
    }

    /// Spoils files of a machine that is down which can be made anew from its logs; which ones, and how, is a function of
    /// `pick`. Answers how many.
    pub fn lose_files(&mut self, id: i32, pick: u64) -> usize {
        lose_files_of(&self.machines[&id].log_disk, pick)
    }

    /// Whether a machine's disks have refused anything for which its process may end: `Some(true)` if they have dropped what
    /// they were to sync.
    pub(super) fn struck(&self, id: i32) -> Option<bool> {
        let refusals = self.refusals(id);
        let all = self.disks.ailing.get(&id).map(Vec::as_slice).unwrap_or_default();
        all.iter().filter(|ailment| ailment.refusals < refusals).map(|ailment| ailment.loses).max()
    }

    fn refusals(&self, id: i32) -> u64 {
        self.machines.get(&id).map_or(0, |machine| machine.metadata_disk.refusals() + machine.log_disk.refusals())
    }

    fn set_disks(&self, id: i32) {
        let Some(machine) = self.machines.get(&id) else { return };
        let all = self.disks.worse.get(&id).map(Vec::as_slice).unwrap_or_default();
        let of = |holds_data: bool| all.iter().filter(move |(which, _)| *which == Which::All || holds_data);
        machine.metadata_disk.set_faults(together(of(!machine.is_broker).map(|(_, faults)| faults)));
        machine.log_disk.set_faults(together(of(true).map(|(_, faults)| faults)));
    }
}

fn lose_files_of(disk: &disk::Disk, pick: u64) -> usize {
    let files = disk.files();
    // A snapshot is not made anew from records that retention has deleted.
    let first_segment = format!("/{:020}.log", 0);
    let whole: BTreeSet<&str> = files.iter().filter_map(|file| file.strip_suffix(&first_segment)).collect();
    let spoil = |(at, path): (usize, &String)| {
        let fate = simulation::prf(pick, &[at as u64]);
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        let may_be_scrambled = match name.rsplit_once('.') {
            Some((_, "index" | "timeindex")) => true,
            Some((_, "snapshot")) if whole.contains(directory) => true,
            _ if MADE_ANEW.contains(&name) => false,
            _ => return false,
        };
        let length = disk.written(path).map_or(0, |bytes| bytes.len() as u64);
        match fate % 4 {
            0 => disk.damage(path, Damage::Remove),
            1 if length > 0 => disk.damage(path, Damage::LoseTail { length: fate / 4 % length }),
            2 if may_be_scrambled && length > 0 => (0..FLIPS).all(|flip| {
                let draw = simulation::prf(fate, &[flip]);
                disk.damage(path, Damage::FlipBit { position: draw / 8 % length, bit: (draw % 8) as u8 })
            }),
            _ => false,
        }
    };
    files.iter().enumerate().filter(|file| spoil(*file)).count()
}

/// Everything that is wrong, each to its worst.
fn together<'a>(all: impl Iterator<Item = &'a Faults>) -> Faults {
    all.fold(Faults::default(), |sum, one| Faults {
        read_error: sum.read_error.max(one.read_error),
        append_error: sum.append_error.max(one.append_error),
        short_write: sum.short_write.max(one.short_write),
        sync_error: sum.sync_error.max(one.sync_error),
        slow_sync: sum.slow_sync.max(one.slow_sync),
        stalled_sync: sum.stalled_sync || one.stalled_sync,
        slow_read: sum.slow_read.max(one.slow_read),
        slow_append: sum.slow_append.max(one.slow_append),
        no_space: sum.no_space || one.no_space,
        offline: sum.offline || one.offline,
    })
}
