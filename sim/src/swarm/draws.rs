//! Pure. The dice of the swarm.

/// A generator that is a function of the seed and of what is asked, so that one more question moves no other answer.
pub struct Draws {
    /// The seed.
    pub seed: u64,
}

impl Draws {
    /// Any number.
    pub fn draw(&self, what: &str, ordinal: u64) -> u64 {
        let name = what
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        mix(mix(self.seed ^ 0x9e37_79b9_7f4a_7c15)
            ^ mix(name)
            ^ mix(ordinal.wrapping_add(0x5851_f42d_4c95_7f2d)).rotate_left(17))
    }

    /// A number in a range, both ends included.
    pub fn between(&self, what: &str, ordinal: u64, least: u64, most: u64) -> u64 {
        least + self.draw(what, ordinal) % (most - least + 1)
    }

    /// Log-uniform: as often between 1 and 10 as between 10 and 100.
    pub fn log_between(&self, what: &str, ordinal: u64, least: u64, most: u64) -> u64 {
        let fraction = (self.draw(what, ordinal) >> 11) as f64 / (1u64 << 53) as f64;
        let (low, high) = ((least.max(1) as f64).ln(), (most.max(1) as f64).ln());
        ((low + (high - low) * fraction).exp().round() as u64).clamp(least, most)
    }

    /// Whether something happens that happens so often.
    pub fn chance(&self, what: &str, ordinal: u64, percent: u64) -> bool {
        self.draw(what, ordinal) % 100 < percent
    }
}

/// The finaliser of splitmix64.
fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}
