//! What the program says about itself: typed events for the trace, invariants, timelines and metrics.
//!
//! A crate emits its own [`Event`] types and knows no listener. In a simulation every event enters the trace hash and
//! then goes to the world's subscribers; in a deploy build it goes to the process's subscribers, and when there are none
//! [`emit`] costs one relaxed load. The marks of the search (`sometimes!` and its kin) are counted here too.

use std::{
    any::Any,
    fmt::{self, Debug},
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// One machine of a simulated world; 0 is the harness (and, in the real world, this process).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Something that happened, in the words of the crate that emits it. A listener finds the type again by
/// `(event as &dyn Any).downcast_ref()`.
pub trait Event: Any + Debug + Send {
    /// What happened, in one hyphenated word: for traces, counters and filters.
    fn kind(&self) -> &'static str;

    /// Feeds what identifies the event into the trace hash: ids and numbers, and never what could differ between two
    /// runs of one seed (an address, an order of hashing).
    fn digest(&self, into: &mut Digest);
}

/// When and where an event happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Virtual nanoseconds since the run began, on the one clock under all the nodes' own; in the real world,
    /// nanoseconds since the process began.
    pub at: u64,
    /// Who emitted it.
    pub node: NodeId,
    /// In which of its lives, counted from one; the harness lives in life zero.
    pub life: u32,
    /// The event's number in this run, from zero; network events are counted too.
    pub ordinal: u64,
}

/// A rolling 128-bit hash, fed with integers and bytes. Not cryptographic: it tells runs apart, not enemies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest {
    low: u64,
    high: u64,
}

/// Multiplies to 128 bits and folds the halves, as wyhash does.
#[inline]
pub(crate) const fn fold(a: u64, b: u64) -> u64 {
    let product = (a as u128) * (b as u128);
    (product as u64) ^ (product >> 64) as u64
}

impl Default for Digest {
    fn default() -> Self {
        Self { low: 0xa076_1d64_78bd_642f, high: 0xe703_7ed1_a0b4_28db }
    }
}

impl Digest {
    /// A hash that was fed nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Feeds a number.
    #[inline]
    pub fn u64(&mut self, word: u64) {
        // The lanes are multiplied by different odd constants, and cannot collapse to zero: each keeps a rotated part
        // of its former state.
        self.low = fold(self.low ^ word, 0x8ebc_6af0_9c88_c6e3) ^ self.low.rotate_left(23);
        self.high = fold(self.high ^ word, 0x5899_65cc_7537_4cc3) ^ self.high.rotate_left(41);
    }

    /// Feeds a signed number.
    #[inline]
    pub fn i64(&mut self, number: i64) {
        self.u64(number as u64);
    }

    /// Feeds bytes, and how many they are.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.u64(bytes.len() as u64);
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.u64(u64::from_le_bytes(*word)));
        if !rest.is_empty() {
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            self.u64(u64::from_le_bytes(word));
        }
    }

    /// Feeds text.
    pub fn str(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// The hash of everything fed until now.
    pub fn value(&self) -> u128 {
        u128::from(self.high) << 64 | u128::from(self.low)
    }
}

/// A listener of the whole process: the real world's.
pub type ProcessSubscriber = Box<dyn Fn(&Envelope, &dyn Event) + Send + Sync>;

static LISTENING: AtomicBool = AtomicBool::new(false);
static SUBSCRIBERS: RwLock<Vec<ProcessSubscriber>> = RwLock::new(Vec::new());
static ORDINAL: AtomicU64 = AtomicU64::new(0);

/// Adds a listener to this process's real world, for the rest of its time. It is called on the emitting task's thread,
/// must not block, and must not subscribe. Simulated worlds do not reach it.
pub fn subscribe_process(subscriber: ProcessSubscriber) {
    SUBSCRIBERS.write().unwrap_or_else(PoisonError::into_inner).push(subscriber);
    LISTENING.store(true, Ordering::Release);
}

/// Says that something happened. The closure runs only if somebody listens: in a simulation always.
#[inline]
pub fn emit<E: Event>(event: impl FnOnce() -> E) {
    #[cfg(madsim)]
    if crate::simulation::here().is_some() {
        return crate::simulation::emit(&event());
    }
    if LISTENING.load(Ordering::Relaxed) {
        tell_process(&event());
    }
}

/// Whether [`emit`] would run its closure: for what must be gathered before it can be said.
pub fn is_observed() -> bool {
    #[cfg(madsim)]
    if crate::simulation::here().is_some() {
        return true;
    }
    LISTENING.load(Ordering::Relaxed)
}

#[cold]
fn tell_process(event: &dyn Event) {
    let at = crate::time::now().as_nanos();
    let ordinal = ORDINAL.fetch_add(1, Ordering::Relaxed);
    let envelope = Envelope { at, node: NodeId(0), life: 0, ordinal };
    let subscribers = SUBSCRIBERS.read().unwrap_or_else(PoisonError::into_inner);
    subscribers.iter().for_each(|subscriber| subscriber(&envelope, event));
}

/// What a mark in the program is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SiteKind {
    /// `sometimes!`: a condition that the search must see true.
    Sometimes,
    /// `reachable!`: a line that the search must reach.
    Reachable,
    /// `buggify!`: a rare but legal choice.
    Buggify,
    /// `mutant!`: a bug of the zoo that can be switched on.
    Mutant,
}

/// One mark in the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Site {
    /// What it is for.
    pub kind: SiteKind,
    /// Its name; several sites may share one.
    pub name: &'static str,
    /// Where it stands, as the compiler names the file.
    pub file: &'static str,
    /// On which line.
    pub line: u32,
}

#[cfg(madsim)]
pub use sites::*;

#[cfg(madsim)]
mod sites {
    use super::{Site, SiteKind};
    use crate::simulation;

    /// Every mark linked into this program, in the linker's order; [`sites`] sorts them.
    #[linkme::distributed_slice]
    pub static SITES: [Site];

    /// Every mark linked into this program, by kind and name.
    pub fn sites() -> Vec<Site> {
        let mut sites: Vec<Site> = SITES.iter().copied().collect();
        sites.sort();
        sites
    }

    /// A name as a number, at compile time where the name is a constant (FNV-1a, 64 bits).
    pub const fn name_hash(name: &str) -> u64 {
        let (bytes, mut hash, mut index) = (name.as_bytes(), 0xcbf2_9ce4_8422_2325_u64, 0);
        while index < bytes.len() {
            hash = (hash ^ bytes[index] as u64).wrapping_mul(0x0100_0000_01b3);
            index += 1;
        }
        hash
    }

    #[doc(hidden)]
    pub fn __reached(site: &'static Site) {
        debug_assert!(matches!(site.kind, SiteKind::Sometimes | SiteKind::Reachable), "{site:?}");
        simulation::count_reached(site.name);
    }

    #[doc(hidden)]
    pub fn __buggify(site: &'static Site) -> bool {
        simulation::buggify(site.name)
    }

    #[doc(hidden)]
    #[inline]
    pub fn __mutant(site: &'static Site, hash: u64) -> bool {
        let switched_on = simulation::mutant_is(hash);
        if switched_on {
            simulation::count_reached(site.name);
        }
        switched_on
    }

    #[doc(hidden)]
    pub fn __mutant_diverged(id: &'static str) {
        simulation::count_diverged(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(feed: impl FnOnce(&mut Digest)) -> u128 {
        let mut digest = Digest::new();
        feed(&mut digest);
        digest.value()
    }

    #[test]
    fn a_digest_tells_order_length_and_split_apart() {
        let all = [
            digest(|_| {}),
            digest(|d| d.u64(0)),
            digest(|d| d.bytes(b"")),
            digest(|d| d.bytes(b"ab")),
            digest(|d| d.bytes(b"ab\0")),
            digest(|d| d.bytes(b"abcdefgh")),
            digest(|d| d.bytes(b"abcdefghi")),
            digest(|d| (d.u64(1), d.u64(2)).0),
            digest(|d| (d.u64(2), d.u64(1)).0),
            digest(|d| (d.str("a"), d.str("b")).0),
        ];
        // An empty byte string is the length zero: the one pair that is meant to be equal.
        assert_eq!(all[1], all[2]);
        let mut distinct = all.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), all.len() - 1);
    }
}
