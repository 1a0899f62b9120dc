//! Randomness: the operating system's in the real world, keyed by seed, node and task in a simulated one.

use std::{convert::Infallible, ops::Range};

/// A generator without state of its own; make one where you need it and drop it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rng;

impl rand::TryRng for Rng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok((next() >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(next())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        fill(bytes);
        Ok(())
    }
}

/// 64 random bits.
pub fn next() -> u64 {
    #[cfg(madsim)]
    if let Some(here) = crate::simulation::here() {
        return crate::simulation::program_draw(here);
    }
    use rand::Rng as _;
    rand::rng().next_u64()
}

/// A number in the range, every one as likely (to within one part in 2^64 divided by the range's size).
///
/// # Panics
/// When the range is empty.
pub fn range(range: Range<u64>) -> u64 {
    assert!(range.start < range.end, "an empty range {range:?} holds no number");
    let size = u128::from(range.end - range.start);
    range.start + ((u128::from(next()) * size) >> 64) as u64
}

/// Fills a buffer with random bytes.
pub fn fill(bytes: &mut [u8]) {
    for chunk in bytes.chunks_mut(8) {
        chunk.copy_from_slice(&next().to_le_bytes()[..chunk.len()]);
    }
}

/// A random UUID (version 4).
pub fn uuid() -> uuid::Uuid {
    let mut bytes = [0; 16];
    fill(&mut bytes);
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_reaches_both_of_its_ends_and_nothing_else() {
        let mut seen = [false; 3];
        (0..1_000).for_each(|_| seen[(range(7..10) - 7) as usize] = true);
        assert_eq!(seen, [true; 3]);
    }

    #[test]
    fn a_uuid_is_of_version_four_and_not_repeated() {
        assert_eq!(uuid().get_version_num(), 4);
        assert_ne!(uuid(), uuid());
    }
}
