//! The machines' clocks, and how fast they are.

use super::*;

impl World {
    /// Sets a machine's clocks off: the wall clock by so many milliseconds, the rate of both by so many parts per million,
    /// until the same is taken back by [`World::unskew`]. Of several, the last one counts.
    pub fn skew(&mut self, id: i32, skew: (i64, i64)) {
        self.skewed.entry(id).or_default().push(skew);
        self.set_clock(id);
    }

    /// Takes back what [`World::skew`] did.
    pub fn unskew(&mut self, id: i32, skew: (i64, i64)) {
        let all = self.skewed.entry(id).or_default();
        if let Some(at) = all.iter().rposition(|one| *one == skew) {
            all.remove(at);
        }
        self.set_clock(id);
    }

    fn set_clock(&self, id: i32) {
        let (wall_offset_ms, rate_ppm) = self.skewed[&id].last().copied().unwrap_or_default();
        simulation::set_clock(self.node(id), wall_offset_ms, rate_ppm);
    }

    /// Makes a machine so many times as slow; without a value, takes the last one back. Of several, the worst counts.
    pub fn slow_down(&mut self, id: i32, factor: Option<u64>) {
        let all = self.slowed.entry(id).or_default();
        push_or_pop(all, factor);
        let worst = all.iter().max().copied().unwrap_or(1);
        simulation::set_slowness(self.node(id), worst);
    }
}
