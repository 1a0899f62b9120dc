//! Broken bytes out of good ones, the same on every run.

/// A small generator of its own (SplitMix64), so that cases do not change with a library's version.
pub struct Mutator {
    state: u64,
}

impl Mutator {
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    /// Up to `length_max` bytes of anything.
    pub fn junk(&mut self, length_max: usize) -> Vec<u8> {
        let length = self.below(length_max + 1);
        (0..length).map(|_| self.next() as u8).collect()
    }

    /// `good` with one to four things broken in it.
    pub fn mutated(&mut self, good: &[u8]) -> Vec<u8> {
        let mut bytes = good.to_vec();
        for _ in 0..=self.below(4) {
            self.break_one(&mut bytes);
        }
        bytes
    }

    fn break_one(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len());
        match self.below(9) {
            0 => bytes.truncate(at),
            1 => self.overwrite(bytes, at, &[0x7f, 0xff, 0xff, 0xff]),
            2 => self.overwrite(bytes, at, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
            3 => self.overwrite(bytes, at, &[0xff, 0xff]),
            4 => self.overwrite(bytes, at, &[0x00]),
            5 => {
                let junk = self.junk(20);
                bytes.splice(at..at, junk);
            }
            6 => {
                let end = (at + 1 + self.below(20)).min(bytes.len());
                let again = bytes[at.min(end)..end].to_vec();
                bytes.splice(at..at, again);
            }
            7 => {
                let end = (at + 1 + self.below(20)).min(bytes.len());
                bytes.drain(at.min(end)..end);
            }
            _ => {
                let bit = 1 << self.below(8);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= bit;
                }
            }
        }
    }

    fn overwrite(&mut self, bytes: &mut [u8], at: usize, with: &[u8]) {
        for (byte, new) in bytes.iter_mut().skip(at).zip(with) {
            *byte = *new;
        }
    }
}
