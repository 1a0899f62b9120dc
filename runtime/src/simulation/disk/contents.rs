//! Pure. The bytes of one simulated file: as they were written, and how to get back to what is on the platter.
//!
//! One vector holds the written bytes. What is durable is told apart by the length of the synced prefix and by an undo
//! log of the overwrites and truncations since, so that an append and a sync cost what they change and nothing more.

use std::ops::Range;

/// The unit that a power loss leaves whole, old or new.
pub const SECTOR: usize = 512;

/// How the synced prefix was changed since its last sync.
#[derive(Clone, Debug)]
enum Undo {
    /// These bytes stood at `position`. `doomed`: a failed sync has dropped the new ones, which can only be read until
    /// the power goes.
    Overwrite { order: u64, position: usize, old: Vec<u8>, doomed: bool },
    /// The file was cut to `to`; these bytes followed.
    Truncate { order: u64, to: usize, old: Vec<u8> },
}

/// A sync that has begun and not ended.
#[derive(Clone, Copy, Debug)]
struct Running {
    order: u64,
    until: usize,
}

/// A sync in progress, as its caller holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncBegun(u64);

/// One file.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// Names the file in draws.
    pub key: u64,
    written: Vec<u8>,
    /// Everything before is on the platter, but for what `undo` says.
    synced: usize,
    undo: Vec<Undo>,
    running: Vec<Running>,
    /// Counts changes and syncs.
    order: u64,
    /// Appended ranges that a failed sync has dropped: readable until the power goes, and then zeroes.
    doomed: Vec<Range<usize>>,
}

impl Contents {
    /// An empty file.
    pub fn new(key: u64) -> Self {
        Self { key, ..Self::default() }
    }

    /// The bytes as the running system reads them.
    pub fn written(&self) -> &[u8] {
        &self.written
    }

    /// Writes at a position, over what is there and past the end; a gap is filled with zeroes.
    pub fn write(&mut self, position: usize, data: &[u8]) {
        if self.written.len() < position {
            self.written.resize(position, 0);
        }
        let end = position + data.len();
        let overlap = end.min(self.written.len());
        if position < overlap {
            // What a running sync is about to make durable counts as durable here: the overwrite may or may not be in it.
            let claimed = self.running.iter().map(|sync| sync.until).fold(self.synced, usize::max);
            let kept = overlap.min(claimed);
            if position < kept {
                let (order, old) = (self.next_order(), self.written[position..kept].to_vec());
                self.undo.push(Undo::Overwrite { order, position, old, doomed: false });
            }
            self.written[position..overlap].copy_from_slice(&data[..overlap - position]);
            self.doomed = self.doomed.drain(..).flat_map(|range| without(range, position..overlap)).collect();
        }
        self.written.extend_from_slice(&data[overlap.max(position) - position..]);
    }

    /// Cuts to a length, or extends with zeroes.
    pub fn truncate(&mut self, length: usize) {
        if length >= self.written.len() {
            self.written.resize(length, 0);
            return;
        }
        let order = self.next_order();
        if length < self.synced {
            let old = self.written[length..self.synced].to_vec();
            self.undo.push(Undo::Truncate { order, to: length, old });
            self.synced = length;
        }
        for sync in &mut self.running {
            sync.until = sync.until.min(length);
        }
        self.written.truncate(length);
        self.doomed = self.doomed.drain(..).flat_map(|range| without(range, length..usize::MAX)).collect();
    }

    /// A sync covers what was written before it began.
    pub fn begin_sync(&mut self) -> SyncBegun {
        let order = self.next_order();
        self.running.push(Running { order, until: self.written.len() });
        SyncBegun(order)
    }

    /// The sync ends. A failed one drops what it covered: as in Linux the pages become clean and stay readable, the
    /// error is told once, and the bytes never reach the platter. Nothing happens if a power loss came between.
    pub fn end_sync(&mut self, begun: SyncBegun, succeeded: bool) {
        let Some(at) = self.running.iter().position(|sync| sync.order == begun.0) else { return };
        let Running { order: mark, until } = self.running.swap_remove(at);
        if succeeded {
            self.synced = self.synced.max(until);
            self.undo.retain(|undo| match undo {
                Undo::Overwrite { order, doomed, .. } => *order > mark || *doomed,
                Undo::Truncate { order, .. } => *order > mark,
            });
        } else {
            if self.synced < until {
                self.doomed.push(self.synced..until);
            }
            for undo in &mut self.undo {
                match undo {
                    Undo::Overwrite { order, doomed, .. } if *order < mark => *doomed = true,
                    Undo::Overwrite { .. } | Undo::Truncate { .. } => {}
                }
            }
        }
    }

    /// What is certainly on the platter: the synced prefix as it was synced.
    pub fn durable(&self) -> Vec<u8> {
        let mut copy = self.clone();
        copy.written.truncate(copy.synced);
        copy.roll_back(|_| false, || false);
        copy.written.truncate(copy.synced);
        copy.zero_doomed();
        copy.written
    }

    /// What the platter holds after the power went: the synced bytes; of later truncations a drawn prefix; of later
    /// overwrites drawn sectors; of the bytes appended since, if no truncation came undone, a drawn length with drawn
    /// sectors zeroed (the size reached the platter, the sector did not).
    pub fn power_loss(&mut self, mut draw: impl FnMut() -> u64) {
        let cuts = self.undo.iter().filter(|undo| matches!(undo, Undo::Truncate { .. })).count();
        let kept_cuts = if cuts == 0 { 0 } else { draw() as usize % (cuts + 1) };
        let came_undone = self.roll_back(|cut| cut < kept_cuts, || draw().is_multiple_of(2));
        if !came_undone && self.written.len() > self.synced {
            let first = self.synced / SECTOR;
            let kept = draw() as usize % (self.written.len().div_ceil(SECTOR) - first + 1);
            let end = ((first + kept) * SECTOR).clamp(self.synced, self.written.len());
            self.written.truncate(end);
            for sector in first..first + kept {
                if draw().is_multiple_of(4) {
                    let range = (sector * SECTOR).clamp(self.synced, end)..((sector + 1) * SECTOR).min(end);
                    self.written[range].fill(0);
                }
            }
        } else {
            self.written.truncate(self.synced);
        }
        self.zero_doomed();
        self.synced = self.written.len();
        self.running.clear();
    }

    /// Inverts one bit, on the platter too.
    pub fn flip_bit(&mut self, position: usize, bit: u8) {
        if let Some(byte) = self.written.get_mut(position) {
            *byte ^= 1 << (bit % 8);
        }
    }

    /// Loses everything from a length on, on the platter too.
    pub fn lose_tail(&mut self, length: usize) {
        if length < self.synced {
            self.truncate(length);
            self.undo.pop(); // the truncation that was just noted: no power loss brings these bytes back
        } else if length < self.written.len() {
            self.truncate(length);
        }
    }

    /// Puts the sector's worth of bytes that stands at one place over another place's, on the platter too.
    pub fn misdirect(&mut self, from: usize, to: usize) {
        let count = SECTOR.min(self.written.len().saturating_sub(from.max(to)));
        if count > 0 {
            self.written.copy_within(from..from + count, to);
        }
    }

    fn next_order(&mut self) -> u64 {
        self.order += 1;
        self.order
    }

    /// Walks the undo log backwards. `cut_is_kept` says of each truncation, counted from the oldest, whether it stays;
    /// `sector_is_kept` is asked for each sector of each overwrite. Answers whether a truncation came undone.
    fn roll_back(&mut self, cut_is_kept: impl Fn(usize) -> bool, mut sector_is_kept: impl FnMut() -> bool) -> bool {
        let mut cut = self.undo.iter().filter(|undo| matches!(undo, Undo::Truncate { .. })).count();
        let (mut came_undone, mut ceiling) = (false, usize::MAX);
        for undo in std::mem::take(&mut self.undo).into_iter().rev() {
            match undo {
                Undo::Truncate { to, old, .. } => {
                    cut -= 1;
                    if cut_is_kept(cut) {
                        ceiling = ceiling.min(to); // older overwrites past it are of bytes that are gone
                    } else {
                        self.written.truncate(to);
                        self.written.extend_from_slice(&old);
                        (self.synced, came_undone) = (to + old.len(), true);
                    }
                }
                Undo::Overwrite { position, old, doomed, .. } => {
                    let end = (position + old.len()).min(ceiling).min(self.written.len());
                    let mut at = position;
                    while at < end {
                        let next = ((at / SECTOR + 1) * SECTOR).min(end);
                        if doomed || !sector_is_kept() {
                            self.written[at..next].copy_from_slice(&old[at - position..next - position]);
                        }
                        at = next;
                    }
                }
            }
        }
        came_undone
    }

    fn zero_doomed(&mut self) {
        for range in std::mem::take(&mut self.doomed) {
            let end = range.end.min(self.written.len());
            self.written[range.start.min(end)..end].fill(0);
        }
    }
}

/// A range without what `hole` covers of it.
fn without(range: Range<usize>, hole: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let before = range.start..range.end.min(hole.start);
    let after = range.start.max(hole.end)..range.end;
    [before, after].into_iter().filter(|part| part.start < part.end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Append(Vec<u8>),
        Write(usize, Vec<u8>),
        Truncate(usize),
        Sync,
    }

    fn step() -> impl Strategy<Value = Step> {
        let data = || proptest::collection::vec(1..=255u8, 1..1500);
        prop_oneof![
            4 => data().prop_map(Step::Append),
            1 => (0..4000usize, data()).prop_map(|(at, data)| Step::Write(at, data)),
            1 => (0..4000usize).prop_map(Step::Truncate),
            2 => Just(Step::Sync),
        ]
    }

    fn take(contents: &mut Contents, step: &Step) {
        match step {
            Step::Append(data) => contents.write(contents.written().len(), data),
            Step::Write(at, data) => contents.write((*at).min(contents.written().len()), data),
            Step::Truncate(length) => contents.truncate((*length).min(contents.written().len())),
            Step::Sync => {
                let begun = contents.begin_sync();
                contents.end_sync(begun, true);
            }
        }
    }

    proptest! {
        #[test]
        fn the_platter_holds_what_the_last_sync_saw(steps in proptest::collection::vec(step(), 1..40)) {
            let (mut contents, mut written, mut durable) = (Contents::default(), Vec::new(), Vec::new());
            for step in &steps {
                take(&mut contents, step);
                match step {
                    Step::Append(data) => written.extend_from_slice(data),
                    Step::Write(at, data) => {
                        let at = (*at).min(written.len());
                        let end = (at + data.len()).max(written.len());
                        written.resize(end, 0);
                        written[at..at + data.len()].copy_from_slice(data);
                    }
                    Step::Truncate(length) => written.truncate(*length),
                    Step::Sync => durable = written.clone(),
                }
                prop_assert_eq!(contents.written(), &written[..]);
                prop_assert_eq!(&contents.durable(), &durable);
            }
        }

        #[test]
        fn appended_and_synced_bytes_survive_any_power_loss(
            sizes in proptest::collection::vec((1..2000usize, any::<bool>()), 1..20),
            draws in proptest::collection::vec(any::<u64>(), 64),
        ) {
            let mut contents = Contents::default();
            let mut durable = 0;
            for (size, sync) in sizes {
                contents.write(contents.written().len(), &vec![7; size]);
                if sync {
                    let begun = contents.begin_sync();
                    contents.end_sync(begun, true);
                    durable = contents.written().len();
                }
            }
            let before = contents.written().len();
            let mut draws = draws.into_iter().cycle();
            contents.power_loss(|| draws.next().expect("a cycle never ends"));
            let after = contents.written();
            prop_assert!(durable <= after.len() && after.len() <= before);
            prop_assert!(after[..durable].iter().all(|byte| *byte == 7));
            prop_assert_eq!(contents.durable().len(), after.len());
        }
    }

    #[test]
    fn a_failed_sync_reads_back_and_is_zero_after_a_power_loss() {
        let mut contents = Contents::default();
        contents.write(0, &[1; 600]);
        let begun = contents.begin_sync();
        contents.end_sync(begun, false);
        let begun = contents.begin_sync();
        contents.end_sync(begun, true);
        assert_eq!(contents.written(), [1; 600]);
        contents.power_loss(|| 1);
        assert_eq!(contents.written(), [0; 600]);
    }

    #[test]
    fn what_is_written_while_a_sync_runs_is_not_in_it() {
        let mut contents = Contents::default();
        contents.write(0, &[1; 100]);
        let begun = contents.begin_sync();
        contents.write(50, &[2; 100]);
        contents.end_sync(begun, true);
        assert_eq!(contents.durable(), [1; 100]);
        let mut lost = contents.clone();
        lost.power_loss(|| 1);
        assert_eq!(&lost.written()[..100], &[1; 100][..]);
    }

    #[test]
    fn a_truncation_that_was_not_synced_may_come_back() {
        let mut contents = Contents::default();
        contents.write(0, &[1; 100]);
        let begun = contents.begin_sync();
        contents.end_sync(begun, true);
        contents.truncate(10);
        contents.write(10, &[2; 20]);
        let (mut undone, mut kept) = (contents.clone(), contents);
        undone.power_loss(|| 0);
        assert_eq!(undone.written(), [1; 100]);
        kept.power_loss(|| 1);
        assert_eq!(&kept.written()[..10], [1; 10]);
        assert!(kept.written().len() <= 30);
    }
}
