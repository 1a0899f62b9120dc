//! Pure. Which brokers keep the replicas of a new partition: in stripes over the racks (`StripedReplicaPlacer.java`).
//!
//! Replicas of one partition go to different racks as far as there are any, the first of them, which will lead, to an
//! unfenced broker; fenced brokers come last. Each partition starts one rack and one broker further on, so leaders and
//! followers spread; once every unfenced broker has led, racks and brokers are shuffled, so that the same neighbours do
//! not meet again.

use metadata::image::Image;
use protocol::ids::BrokerId;
use std::collections::BTreeMap;

/// A broker that replicas may be placed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UsableBroker {
    /// Its id.
    pub id: BrokerId,
    /// Where it stands.
    pub rack: Option<String>,
    /// Whether it is fenced.
    pub fenced: bool,
}

/// Why replicas cannot be placed. Each is INVALID_REPLICATION_FACTOR (38), and reads as Kafka says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PlacementError {
    /// Not one replica, or fewer.
    #[error("Invalid replication factor {0}: the replication factor must be positive.")]
    NotPositive(i16),
    /// Nobody could lead.
    #[error("All brokers are currently fenced.")]
    AllFenced,
    /// Two replicas would have to share a broker.
    #[error(
        "The target replication factor of {wanted} cannot be reached because only {registered} broker(s) are registered."
    )]
    TooFewBrokers {
        /// How many replicas were asked for.
        wanted: i16,
        /// How many brokers there are.
        registered: usize,
    },
}

/// The brokers that replicas may be placed on: all that are not leaving (`BrokerHeartbeatManager.usableBrokers`).
pub(super) fn usable_brokers(image: &Image) -> Vec<UsableBroker> {
    let staying = image.brokers().filter(|(_, broker)| !broker.controlled_shutdown);
    staying.map(|(id, broker)| UsableBroker { id, rack: broker.rack.clone(), fenced: broker.fenced }).collect()
}

/// Places the replicas of `partitions` partitions; `seed` says where to start.
///
/// # Errors
/// No positive replication factor, no unfenced broker, fewer brokers than replicas.
pub(super) fn place(
    brokers: &[UsableBroker],
    seed: u64,
    partitions: usize,
    replication_factor: i16,
) -> Result<Vec<Vec<BrokerId>>, PlacementError> {
    let replicas = usize::try_from(replication_factor).ok().filter(|replicas| *replicas > 0);
    let replicas = replicas.ok_or(PlacementError::NotPositive(replication_factor))?;
    if brokers.iter().all(|broker| broker.fenced) {
        return Err(PlacementError::AllFenced);
    }
    if replicas > brokers.len() {
        return Err(PlacementError::TooFewBrokers { wanted: replication_factor, registered: brokers.len() });
    }
    let mut racks = Racks::new(brokers, seed);
    Ok((0..partitions).map(|_| racks.place(replicas)).collect())
}

/// Numbers that look random and follow from a seed (SplitMix64).
struct Scatter(u64);

impl Scatter {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is small: the bias does not show.
    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// Brokers in the order in which they are handed out; each round starts one further on.
struct Circle {
    brokers: Vec<BrokerId>,
    start: usize,
    taken: usize,
    round: u64,
}

impl Circle {
    fn new(brokers: Vec<BrokerId>, scatter: &mut Scatter) -> Self {
        let start = if brokers.is_empty() { 0 } else { scatter.below(brokers.len()) };
        Self { brokers, start, taken: 0, round: 0 }
    }

    /// The next broker of this round, if one is left.
    fn next(&mut self, round: u64) -> Option<BrokerId> {
        if self.brokers.is_empty() {
            return None;
        }
        if self.round != round {
            self.round = round;
            self.taken = 0;
            self.start = (self.start + 1) % self.brokers.len();
        }
        let broker =
            (self.taken < self.brokers.len()).then(|| self.brokers[(self.start + self.taken) % self.brokers.len()]);
        self.taken += usize::from(broker.is_some());
        broker
    }
}

/// The brokers of one rack.
struct Rack {
    unfenced: Circle,
    fenced: Circle,
}

struct Racks {
    racks: Vec<Rack>,
    scatter: Scatter,
    unfenced: usize,
    /// The rack that the next partition starts with.
    start: usize,
    /// How many partitions were placed.
    round: u64,
}

impl Racks {
    fn new(brokers: &[UsableBroker], seed: u64) -> Self {
        let mut scatter = Scatter(seed);
        let mut by_rack: BTreeMap<Option<&str>, (Vec<BrokerId>, Vec<BrokerId>)> = BTreeMap::new();
        for broker in brokers {
            let (unfenced, fenced) = by_rack.entry(broker.rack.as_deref()).or_default();
            if broker.fenced { fenced.push(broker.id) } else { unfenced.push(broker.id) }
        }
        let rack = |(unfenced, fenced)| Rack {
            unfenced: Circle::new(unfenced, &mut scatter),
            fenced: Circle::new(fenced, &mut scatter),
        };
        let racks: Vec<Rack> = by_rack.into_values().map(rack).collect();
        let start = scatter.below(racks.len());
        let unfenced = brokers.iter().filter(|broker| !broker.fenced).count();
        Self { racks, scatter, unfenced, start, round: 0 }
    }

    /// The replicas of the next partition.
    fn place(&mut self, replicas: usize) -> Vec<BrokerId> {
        if self.round > 0 && self.unfenced > 1 && self.round.is_multiple_of(self.unfenced as u64) {
            self.shuffle();
        }
        let count = self.racks.len();
        let first = self.start % count;
        self.start = first + 1;
        self.round += 1;
        let round = self.round;
        let leader = (0..count).map(|step| (first + step) % count).find_map(|rack| {
            let broker = self.racks[rack].unfenced.next(round);
            broker.map(|broker| (rack, broker))
        });
        let (leader_rack, leader) = leader.expect("a round begins with every unfenced broker left, and there is one");
        let mut placed = vec![leader];
        // The leader's rack has given one replica: it is passed over once when its turn comes.
        let mut passed = false;
        let mut rack = first;
        while placed.len() < replicas {
            if rack == leader_rack && !passed {
                passed = true;
            } else {
                let Rack { unfenced, fenced } = &mut self.racks[rack];
                placed.extend(unfenced.next(round).or_else(|| fenced.next(round)));
            }
            rack = (rack + 1) % count;
        }
        placed
    }

    fn shuffle(&mut self) {
        self.scatter.shuffle(&mut self.racks);
        for rack in &mut self.racks {
            self.scatter.shuffle(&mut rack.unfenced.brokers);
            self.scatter.shuffle(&mut rack.fenced.brokers);
        }
        self.start = 0;
    }
}

#[cfg(test)]
mod tests;
