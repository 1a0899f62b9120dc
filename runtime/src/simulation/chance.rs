//! Keyed randomness: every draw is a function of the seed, a purpose, whom it concerns, and an ordinal.

use super::{
    Here,
    world::{try_world, world},
};
use crate::observe::{fold, name_hash};
use std::cell::Cell;

thread_local! {
    /// The mutant that is switched on in this thread's run, as the hash of its name; zero is none.
    static MUTANT: Cell<u64> = const { Cell::new(0) };
}

/// A keyed pseudo-random function, mixing as wyhash does: multiply to 128 bits, fold, repeat.
#[inline]
pub fn prf(seed: u64, words: &[u64]) -> u64 {
    let begin = fold(seed ^ 0xa076_1d64_78bd_642f, 0xe703_7ed1_a0b4_28db);
    let mixed = words.iter().fold(begin, |state, word| {
        fold(state ^ 0x8ebc_6af0_9c88_c6e3, word ^ 0x5899_65cc_7537_4cc3) ^ state.rotate_left(29)
    });
    fold(mixed ^ words.len() as u64, 0x1d8e_4e27_c47d_124f)
}

/// The next draw for this purpose and this pair: a link, a disk and a file, a client and nothing. The same run gives the
/// same numbers whatever else draws; two purposes with the same ids are unrelated.
///
/// # Panics
/// Outside a simulation.
pub fn draw(purpose: &'static str, a: u64, b: u64) -> u64 {
    let purpose = name_hash(purpose);
    world(|world| {
        let mut ordinals = world.ordinals.borrow_mut();
        let ordinal = ordinals.entry((purpose, a, b)).or_default();
        *ordinal += 1;
        prf(world.seed, &[purpose, a, b, *ordinal])
    })
}

/// A draw as a number from `low` to `high`, both included.
pub fn between(draw: u64, low: u64, high: u64) -> u64 {
    debug_assert!(low <= high, "{low} <= {high}");
    low + ((u128::from(draw) * (u128::from(high - low) + 1)) >> 64) as u64
}

/// A draw as a decision that is true this many times in a thousand.
pub fn chance(draw: u64, per_thousand: u64) -> bool {
    between(draw, 0, 999) < per_thousand
}

/// A random number for a program: the next one of its task.
pub(crate) fn program_draw(here: Here) -> u64 {
    const PROGRAM: u64 = name_hash("program");
    world(|world| {
        let mut current = world.current.get();
        current.draws += 1;
        world.current.set(current);
        let who = u64::from(here.node.0) << 32 | u64::from(here.life);
        prf(world.seed, &[PROGRAM, who, current.task, current.draws])
    })
}

/// Whether a rare choice with this name is taken now.
///
/// # Panics
/// Never; outside a simulation, and in a run that does not enable it, the answer is no.
pub fn buggify(name: &'static str) -> bool {
    const SITE: u64 = name_hash("buggify.site");
    let enabled = try_world(|world| (world.buggify.get(), world.seed)).filter(|(enabled, _)| *enabled);
    let (Some(here), Some((_, seed))) = (super::here(), enabled) else { return false };
    let active = prf(seed, &[SITE, name_hash(name)]).is_multiple_of(4);
    let who = u64::from(here.node.0) << 32 | u64::from(here.life);
    let taken = active && draw("buggify", name_hash(name), who).is_multiple_of(4);
    if taken {
        count_reached(name);
    }
    taken
}

/// No `buggify!` site fires from now on: what is to be judged is how the cluster does when nothing is in its way.
///
/// # Panics
/// Outside a simulation.
pub fn end_buggify() {
    world(|world| world.buggify.set(false));
}

/// Switches a mutant on for this thread's run, or all off.
pub(super) fn set_mutant(id: Option<&str>) {
    MUTANT.set(id.map_or(0, name_hash));
}

/// Runs a function with a mutant switched on in this thread: for tests of plain code outside a simulation.
pub fn with_mutant<T>(id: &str, run: impl FnOnce() -> T) -> T {
    struct Restore(u64);
    impl Drop for Restore {
        fn drop(&mut self) {
            MUTANT.set(self.0);
        }
    }
    let _restore = Restore(MUTANT.replace(name_hash(id)));
    run()
}

#[inline]
pub(crate) fn mutant_is(hash: u64) -> bool {
    MUTANT.get() == hash
}

pub(crate) fn count_reached(name: &'static str) {
    try_world(|world| *world.counts.borrow_mut().reached.entry(name).or_default() += 1);
}

pub(crate) fn count_diverged(id: &'static str) {
    try_world(|world| *world.counts.borrow_mut().diverged.entry(id).or_default() += 1);
}

/// Counts a fault that was done to the world, for the outcome of the run.
pub fn count_fault(name: &'static str) {
    try_world(|world| *world.counts.borrow_mut().faults.entry(name).or_default() += 1);
}
