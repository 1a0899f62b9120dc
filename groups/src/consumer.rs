//! Pure. One consumer group of KIP-848: who its members are, what each is to read, what each may read at the moment.
//!
//! A group never moves a partition by itself: it decides what each member is to have, and a member gets a partition once the
//! one before has said that it gave it back. What is replicated changes only through [`ConsumerGroup::apply`]; a decision
//! borrows the group and answers with the records that would make it so. Clocks of members are kept beside, are never written
//! down, and start anew when a group is loaded. The broker's coordinator drives it: after each decision it applies the records
//! that it appended, then passes on what the decision says of clocks.

mod classic;
mod describe;
mod downgrade;
mod draft;
mod heartbeat;
mod leave;
mod offsets;
mod owners;
mod reconcile;
mod regexes;
mod request;
mod state;
mod target;
mod timers;
mod topics;
mod upgrade;

#[cfg(test)]
mod tests;

pub(crate) use classic::ClassicJoin;
pub use describe::{DeleteError, Described, DescribedMember, DescribedPartitions, GroupState, MemberType, Overview};
pub use heartbeat::{Answer, Heard, Heartbeat};
pub use leave::Expired;
pub use offsets::OffsetError;
pub use owners::Owner;
pub use request::{HeartbeatError, HeartbeatRequest};
pub use state::State;
pub use timers::Timeout;
pub use topics::{InvalidRegex, Topic, Topics};
pub(crate) use upgrade::upgraded;

use crate::assignors::Assignor;
use crate::ids::{GroupId, MemberId, TopicName};
use crate::record::Record;
use protocol::ids::{MonotonicMillis, WallMillis};
use std::collections::BTreeSet;
use std::time::Duration;
use timers::Timers;
use uuid::Uuid;

/// What the group's configuration says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerGroupConfig {
    /// How long a member may be silent: `group.consumer.session.timeout.ms`.
    pub session_timeout: Duration,
    /// How often a member is to speak: `group.consumer.heartbeat.interval.ms`.
    pub heartbeat_interval: Duration,
    /// How many members a group may have: `group.consumer.max.size`.
    pub size_max: usize,
    /// Which assignors members may choose; the first is for groups whose members choose none: `group.consumer.assignors`.
    pub assignors: Vec<Assignor>,
    /// After how long regular expressions are resolved again though no topic is new, since what a client may see can change:
    /// `group.consumer.regex.refresh.interval.ms`.
    pub regex_refresh_interval: Duration,
}

impl Default for ConsumerGroupConfig {
    /// Kafka's defaults.
    fn default() -> Self {
        Self {
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(5),
            size_max: usize::MAX,
            assignors: vec![Assignor::Uniform, Assignor::Range],
            regex_refresh_interval: Duration::from_secs(600),
        }
    }
}

/// What a decision depends on besides the group and the request.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// The topics: the same for all clients, except that a regular expression matches only what this one may describe.
    pub topics: &'a dyn Topics,
    /// The group's configuration.
    pub config: &'a ConsumerGroupConfig,
    /// The time that is written into records.
    pub wall: WallMillis,
    /// A number that nobody had before, for the id of a member that brings none.
    pub random: Uuid,
}

/// A timeout from the wire, where what is negative is none at all.
fn millis(timeout_ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0))
}

/// One consumer group.
#[derive(Clone, Debug)]
pub struct ConsumerGroup {
    state: State,
    timers: Timers,
    /// Whether something about its topics may have changed since its metadata hash was last computed. Not written down: a
    /// group that was just loaded looks.
    refresh: bool,
}

impl ConsumerGroup {
    /// A group of which nothing is recorded yet.
    pub fn new(id: GroupId) -> Self {
        Self { state: State::new(id), timers: Timers::default(), refresh: true }
    }

    /// What is replicated of it.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Takes what was appended. Records of one key in the order of the log, and of several keys in any order: a log that is
    /// compacted while it is read has gaps (KAFKA-17306, KAFKA-19862).
    ///
    /// Clocks of whoever is gone stop.
    ///
    /// # Panics
    /// When the record is another group's.
    pub fn apply(&mut self, record: &Record) {
        self.state.apply(record);
        match record {
            Record::Member { member, value: None, .. } => self.timers.forget(member),
            Record::CurrentAssignment { member, .. } => self.timers.stop_revocation(member),
            Record::Member { .. }
            | Record::ConsumerGroup { .. }
            | Record::TargetEpoch { .. }
            | Record::TargetAssignment { .. }
            | Record::RegularExpression { .. }
            | Record::PartitionMetadata { .. }
            | Record::ClassicGroup { .. }
            | Record::Offset { .. } => {}
        }
    }

    /// Whether nothing is recorded of it, so that it can be dropped.
    pub fn is_absent(&self) -> bool {
        self.state.is_absent()
    }

    /// Starts every member's clocks: when all records were read, nobody knows who spoke when (`onLoaded`).
    pub fn on_loaded(&mut self, now: MonotonicMillis, config: &ConsumerGroupConfig) {
        self.refresh = true;
        let members: Vec<_> = self.state.members().keys().cloned().collect();
        for member in members {
            self.start_timers(&member, now, config);
        }
    }

    /// Takes note of a heartbeat, once the records of its decision are applied: the member's session starts again, and so does
    /// the time that it has to give partitions back, if it is asked for others than before. A member whose clocks were never
    /// started, here or by [`Self::on_loaded`], stays for ever
    /// (`scheduleConsumerGroupSessionTimeout`, `scheduleConsumerGroupRebalanceTimeout`).
    pub fn on_heard(&mut self, heard: &Heard, now: MonotonicMillis, config: &ConsumerGroupConfig) {
        self.refresh &= !heard.refreshed;
        self.start_timers(&heard.member, now, config);
        let Some(value) = self.state.members().get(&heard.member) else { return };
        if value.classic.is_none() {
            self.timers.stop_joining(&heard.member);
        } else if heard.joined {
            self.timers.begin_sync(&heard.member, now, millis(value.rebalance_timeout_ms));
        }
    }

    fn start_timers(&mut self, member: &MemberId, now: MonotonicMillis, config: &ConsumerGroupConfig) {
        let Some(value) = self.state.members().get(member) else { return };
        let session =
            value.classic.as_ref().map_or(config.session_timeout, |classic| millis(classic.session_timeout_ms));
        // Members that speak the classic protocol give partitions back by joining again, under timers of their own.
        let revokes = value.classic.is_none() && self.state.is_revoking(member);
        let revocation = revokes.then(|| millis(value.rebalance_timeout_ms));
        self.timers.start(member, now, session, revocation);
    }

    /// When [`Self::expire`] has something to do, if nothing happens before.
    pub fn next_deadline(&self) -> Option<MonotonicMillis> {
        self.timers.next_deadline()
    }

    /// Takes note that these topics were created, deleted or given more partitions. If the group reads any, its next heartbeat
    /// looks whether its assignment is still right (`onNewMetadataImage`, `requestMetadataRefresh`); whether that is so.
    pub fn on_metadata_change(&mut self, changed: &BTreeSet<TopicName>) -> bool {
        let concerned = changed.iter().any(|topic| self.state.is_subscribed_to(topic));
        self.refresh |= concerned;
        concerned
    }
}
