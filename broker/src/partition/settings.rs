//! What a topic's settings, and the broker's throttles, make of a replica.

use super::Replica;
use storage::LogConfig;

/// Whether a replica is copied no faster than the broker's throttles allow, in each of its roles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Throttled {
    /// While it leads.
    pub leader: bool,
    /// While it follows.
    pub follower: bool,
}

/// A topic's settings, as far as they concern a replica.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Of its log.
    pub log: LogConfig,
    /// `min.insync.replicas`.
    pub min_insync_replicas: usize,
    /// Whether it is copied no faster than the throttles allow.
    pub throttled: Throttled,
}

impl Replica {
    /// Takes them; whoever calls sees to what follows from them.
    pub(super) fn set_config(&mut self, settings: Settings) {
        self.throttled = settings.throttled;
        self.log.set_config(settings.log);
        self.state.set_min_insync_replicas(settings.min_insync_replicas);
    }
}
