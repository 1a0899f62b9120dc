//! Three replicas of one partition and their controller in a bottle: real logs on simulated disks, no network. Everything
//! that a network or a scheduler could do to the order of things is drawn from the seed: metadata that comes late, answers
//! that are lost, elections, restarts, power losses. What a producer was told must be true whenever a leader is elected.

use super::*;
use crate::partition::copying::FromLeader;
use crate::partition::state::{Cut, EpochEnd};
use crate::replication::truncation;
use metadata::image::PartitionImage;
use metadata::record::LeaderRecoveryState;
use protocol::record_batch::{batches, records};
use runtime::{rand, task};

const REPLICAS: [BrokerId; 3] = [BrokerId(1), BrokerId(2), BrokerId(3)];
const MIN_ISR: usize = 2;
const STEPS: u64 = 400;

/// Something that must never be.
type Violation = String;

/// What a follower asked of a leader, and what came back but has not been looked at.
struct Underway {
    follower: BrokerId,
    life: u64,
    asked: FollowerPosition,
    fetched: Fetched,
    records: Vec<u8>,
}

struct Machine {
    platter: simulated::Disk,
    context: Arc<ReplicaContext>,
    proposals: mpsc::UnboundedReceiver<Proposed>,
    partition: Arc<Partition>,
    /// Rises with each restart.
    life: u64,
}

struct Bottle {
    /// What the controller has committed.
    image: Image,
    machines: BTreeMap<BrokerId, Machine>,
    elections: Vec<Election>,
    underway: Vec<Underway>,
    /// Proposals on their way to the controller, and its answers on their way back, with the life of the leader.
    proposed: Vec<(BrokerId, u64, IsrProposal)>,
    answers: Vec<(BrokerId, u64, IsrProposal, IsrAnswer)>,
    waiting: Vec<(Offset, u64, appending::Ticket)>,
    /// What producers were told, by offset.
    acknowledged: BTreeMap<Offset, u64>,
    produced: u64,
}

impl Machine {
    async fn start(id: BrokerId, platter: simulated::Disk, life: u64) -> Self {
        let disk = Disk::simulated(platter.clone());
        let config = LogConfig { segment_bytes: 2_000, ..LogConfig::default() };
        let log = if disk.exists("orders-0/partition.metadata") {
            let recovery = Recovery::Unclean { recovery_point: Offset(0) };
            Log::open(&disk, "orders-0", config.clone(), recovery, WallMillis(0)).await
        } else {
            Log::create(&disk, "orders-0", tp().topic_id, tp().partition, config.clone(), WallMillis(0)).await
        };
        // A checkpoint of the high watermark may say anything: it is a hint.
        let checkpoint = (rand::range(0..2) == 0).then(|| Offset(rand::range(0..200) as i64));
        let (context, proposals) = context(id.0);
        let partition = Partition::new(tp(), "orders".into(), 0, log.unwrap(), checkpoint, context.clone());
        partition.set_config(Settings { log: config, min_insync_replicas: MIN_ISR, throttled: Throttled::default() });
        Self { platter, context, proposals, partition, life }
    }

    /// Each batch of the log as its offset, its leader epoch and what it says.
    fn contents(&self) -> BTreeMap<Offset, (LeaderEpoch, u64)> {
        let replica = self.partition.replica.lock();
        let mut contents = BTreeMap::new();
        let mut from = replica.log.log_start_offset();
        while from < replica.log.log_end_offset() {
            let found = replica.log.read(from, Offset(i64::MAX), 1 << 20, true).unwrap();
            for batch in batches(&found.slice.read().unwrap()) {
                let (header, bytes) = batch.unwrap();
                for record in records(bytes, 1 << 20).unwrap() {
                    let value = u64::from_be_bytes(record.value.unwrap()[..].try_into().unwrap());
                    contents.insert(record.offset, (header.leader_epoch, value));
                }
            }
            from = found.next_offset;
        }
        contents
    }
}

impl Bottle {
    async fn new() -> Self {
        let mut delta = Delta::new(&super::image());
        delta.apply(&Record::Topic { name: "orders".to_owned(), topic_id: tp().topic_id });
        delta.apply(&Record::Partition {
            topic_id: tp().topic_id,
            partition: tp().partition,
            replicas: REPLICAS.to_vec(),
            directories: Vec::new(),
            isr: REPLICAS.to_vec(),
            elr: Vec::new(),
            last_known_elr: Vec::new(),
            leader: Some(REPLICAS[0]),
            leader_epoch: LeaderEpoch(0),
            partition_epoch: PartitionEpoch(0),
            leader_recovery_state: LeaderRecoveryState::Recovered,
        });
        let mut machines = BTreeMap::new();
        for id in REPLICAS {
            machines.insert(id, Machine::start(id, simulated::Disk::new(id.0 as u64), 0).await);
        }
        Self {
            image: delta.finish().0,
            machines,
            elections: Vec::new(),
            underway: Vec::new(),
            proposed: Vec::new(),
            answers: Vec::new(),
            waiting: Vec::new(),
            acknowledged: BTreeMap::new(),
            produced: 0,
        }
    }

    fn state(&self) -> PartitionImage {
        self.image.partition(tp()).expect("it is never deleted").clone()
    }

    fn commit(&mut self, record: &Record) {
        let mut delta = Delta::new(&self.image);
        delta.apply(record);
        self.image = delta.finish().0;
    }

    fn change(&mut self, isr: Vec<BrokerId>, leader: Option<Option<BrokerId>>) {
        self.commit(&Record::PartitionChange {
            topic_id: tp().topic_id,
            partition: tp().partition,
            isr: Some(isr),
            elr: None,
            last_known_elr: None,
            leader,
            leader_recovery_state: None,
            replicas: None,
            adding_replicas: None,
            removing_replicas: None,
        });
    }

    /// The newest metadata reaches a broker.
    fn publish(&mut self, id: BrokerId) {
        let state = self.state();
        let machine = &self.machines[&id];
        machine.context.image.set(Arc::new(self.image.clone()));
        machine.partition.on_brokers_changed();
        let updated = machine.partition.update(
            &PartitionUpdate {
                leader: state.leader,
                leader_epoch: state.leader_epoch,
                partition_epoch: state.partition_epoch,
                replicas: &state.replicas,
                isr: &state.isr,
            },
            None,
        );
        if let Updated::Elected(election) = updated {
            self.elections.push(election);
        }
    }

    /// The controller gives the leadership to another member of the ISR: this is where a lie is found out.
    fn elect(&mut self, leader: BrokerId) -> Result<(), Violation> {
        let state = self.state();
        assert!(state.isr.contains(&leader));
        self.check_elected(leader)?;
        self.change(state.isr, Some(Some(leader)));
        Ok(())
    }

    fn check_elected(&self, leader: BrokerId) -> Result<(), Violation> {
        let contents = self.machines[&leader].contents();
        for (offset, value) in &self.acknowledged {
            let has = contents.get(offset).map(|(_, value)| *value);
            if has != Some(*value) {
                return Err(format!(
                    "{value} was acknowledged at {offset}, and broker {leader} can be elected with {has:?}"
                ));
            }
        }
        Ok(())
    }

    /// A broker restarts, perhaps after a power loss. To the controller it is a new life that may have lost anything; it
    /// must not be the last that has everything.
    async fn restart(&mut self, id: BrokerId, power_loss: bool) -> Result<(), Violation> {
        let state = self.state();
        let isr: Vec<BrokerId> = state.isr.iter().copied().filter(|member| *member != id).collect();
        if isr.is_empty() {
            return Ok(());
        }
        let machine = self.machines.remove(&id).unwrap();
        machine.partition.stop();
        if power_loss {
            machine.platter.power_loss();
        }
        let (platter, life) = (machine.platter.clone(), machine.life + 1);
        drop(machine);
        self.machines.insert(id, Machine::start(id, platter, life).await);
        let incarnation = uuid::Uuid::from_u128(u128::from(life) << 32 | id.0 as u128);
        self.commit(&registration(id, IncarnationId(incarnation)));
        if state.leader == Some(id) {
            let leader = isr[rand::range(0..isr.len() as u64) as usize];
            self.check_elected(leader)?;
            self.change(isr, Some(Some(leader)));
        } else if state.isr.contains(&id) {
            self.change(isr, None);
        }
        Ok(())
    }

    /// The controller loses sight of a broker, or finds it again.
    fn fence(&mut self, broker_id: BrokerId) -> Result<(), Violation> {
        let state = self.state();
        let broker = self.image.broker(broker_id).expect("it is registered");
        let (broker_epoch, fenced) = (broker.epoch, broker.fenced);
        if fenced {
            self.commit(&Record::UnfenceBroker { broker_id, broker_epoch });
            return Ok(());
        }
        let isr: Vec<BrokerId> = state.isr.iter().copied().filter(|member| *member != broker_id).collect();
        if isr.is_empty() {
            return Ok(());
        }
        self.commit(&Record::FenceBroker { broker_id, broker_epoch });
        if state.leader == Some(broker_id) {
            let leader = isr[rand::range(0..isr.len() as u64) as usize];
            self.check_elected(leader)?;
            self.change(isr, Some(Some(leader)));
        } else if state.isr.contains(&broker_id) {
            self.change(isr, None);
        }
        Ok(())
    }

    fn produce(&mut self, id: BrokerId) {
        self.produced += 1;
        let value = self.produced;
        let Ok(appended) = append(&self.machines[&id].partition, &value.to_be_bytes(), Acks::All) else { return };
        match appended.ticket {
            Some(ticket) => self.waiting.push((appended.base_offset, value, ticket)),
            None => {
                self.acknowledged.insert(appended.base_offset, value);
            }
        }
    }

    fn collect_acknowledgements(&mut self) -> Result<(), Violation> {
        for (offset, value, mut ticket) in std::mem::take(&mut self.waiting) {
            match poll_once(&mut ticket) {
                Poll::Pending => self.waiting.push((offset, value, ticket)),
                Poll::Ready(Err(_)) => {}
                Poll::Ready(Ok(())) => {
                    if let Some(before) = self.acknowledged.insert(offset, value) {
                        return Err(format!("both {before} and {value} were acknowledged at {offset}"));
                    }
                }
            }
        }
        Ok(())
    }

    /// A follower asks whom it takes for its leader. What comes back is looked at later.
    fn fetch(&mut self, id: BrokerId) {
        let machine = &self.machines[&id];
        let known = machine.context.image.get();
        let Some(state) = known.partition(tp()) else { return };
        let Some(leader) = state.leader.filter(|leader| *leader != id) else { return };
        let Some(asked) = machine.partition.follower_position(state.leader_epoch) else { return };
        let position = FetchPosition {
            current_leader_epoch: Some(asked.leader_epoch),
            fetch_offset: asked.fetch_offset,
            last_fetched_epoch: asked.last_fetched_epoch,
        };
        let reader = Reader::Follower(FollowerFetch {
            follower: id,
            broker_epoch: known.broker_epoch(id),
            fetch_offset: asked.fetch_offset,
            log_start_offset: asked.log_start_offset,
            high_watermark: Some(asked.high_watermark),
        });
        let limits = FetchLimits { bytes_max: rand::range(0..400) as usize, at_least_one: true };
        let Ok(fetched) = self.machines[&leader].partition.fetch(&position, &reader, limits, Arrival::First) else {
            return;
        };
        let records = fetched.records.as_ref().map(|found| found.slice.read().unwrap()).unwrap_or_default();
        let life = machine.life;
        self.underway.push(Underway { follower: id, life, asked, fetched, records });
    }

    /// An answer to a follower's fetch arrives, unless the follower has restarted meanwhile.
    async fn arrive(&mut self, underway: Underway) {
        let Underway { follower, life, asked, fetched, records } = underway;
        let machine = &self.machines[&follower];
        if machine.life != life {
            return;
        }
        let copied = match fetched.diverging {
            Some(leader) => {
                let cut = |view: &copying::CutView<'_>| {
                    let local: Option<EpochEnd> = view.end_of(leader.leader_epoch);
                    Cut::To(truncation::truncate_to(leader, local, view.log_end_offset))
                };
                machine.partition.truncate(&asked, cut).unwrap()
            }
            None => {
                let sent = FromLeader {
                    records: &records,
                    high_watermark: fetched.high_watermark,
                    log_start_offset: fetched.log_start_offset,
                };
                let appended = machine.partition.append_as_follower(&asked, &sent);
                // A cut that is not durable yet refuses appends: the next fetch brings the same again.
                appended.unwrap_or_default()
            }
        };
        if let Some(settled) = copied.settled {
            settled.await.unwrap();
        }
    }

    /// What the controller makes of a proposal (`ReplicationControlManager.validateAlterPartitionData`).
    fn decide(&mut self, leader: BrokerId, proposal: &IsrProposal) -> IsrAnswer {
        let state = self.state();
        let refuse = |code| IsrAnswer::Refused(code);
        if proposal.leader_epoch < state.leader_epoch {
            return refuse(ErrorCode::FencedLeaderEpoch);
        }
        if state.leader != Some(leader) {
            return refuse(ErrorCode::InvalidRequest);
        }
        if proposal.partition_epoch < state.partition_epoch {
            return refuse(ErrorCode::InvalidUpdateVersion);
        }
        let current = |(member, epoch): &(BrokerId, BrokerEpoch)| {
            let broker = self.image.broker(*member).filter(|broker| broker.is_active());
            broker.is_some_and(|broker| *epoch == BrokerEpoch::UNKNOWN || *epoch == broker.epoch)
        };
        if !proposal.members.iter().all(current) {
            return refuse(ErrorCode::IneligibleReplica);
        }
        self.change(proposal.isr().into_iter().collect(), None);
        let (leader_epoch, partition_epoch) = (state.leader_epoch, self.state().partition_epoch);
        IsrAnswer::Committed { leader_epoch, partition_epoch, isr: proposal.isr() }
    }

    fn gather_proposals(&mut self) {
        for (id, machine) in &mut self.machines {
            while let Ok(Proposed { proposal, .. }) = machine.proposals.try_recv() {
                self.proposed.push((*id, machine.life, proposal));
            }
        }
    }

    fn answer(&mut self, (id, life, proposal, answer): (BrokerId, u64, IsrProposal, IsrAnswer)) {
        let machine = &self.machines[&id];
        if machine.life == life {
            let again = machine.partition.on_isr_answer(&proposal, &answer);
            self.proposed.extend(again.map(|again| (id, life, again)));
        }
    }

    async fn step(&mut self) -> Result<(), Violation> {
        let id = REPLICAS[rand::range(0..3) as usize];
        match rand::range(0..100) {
            0..22 => self.produce(id),
            22..45 => self.fetch(id),
            45..65 if !self.underway.is_empty() => {
                let one = self.underway.remove(rand::range(0..self.underway.len() as u64) as usize);
                self.arrive(one).await;
            }
            65..74 => self.publish(id),
            74..80 if !self.elections.is_empty() => {
                let one = self.elections.remove(rand::range(0..self.elections.len() as u64) as usize);
                one.finish().await;
            }
            80..86 if !self.proposed.is_empty() => {
                let (id, life, proposal) = self.proposed.remove(0);
                let answer = match rand::range(0..5) {
                    0 => IsrAnswer::Refused(ErrorCode::NetworkException),
                    _ => self.decide(id, &proposal),
                };
                self.answers.push((id, life, proposal, answer));
            }
            86..91 if !self.answers.is_empty() => {
                let (id, life, proposal, mut answer) = self.answers.remove(0);
                if rand::range(0..5) == 0 {
                    answer = IsrAnswer::Refused(ErrorCode::RequestTimedOut);
                }
                self.answer((id, life, proposal, answer));
            }
            91..93 => {
                time::sleep(Duration::from_millis(rand::range(1..1_500))).await;
                self.machines[&id].partition.tick();
            }
            93..96 => {
                let isr = self.state().isr;
                self.elect(isr[rand::range(0..isr.len() as u64) as usize])?;
            }
            96 => self.restart(id, false).await?,
            97 => self.restart(id, true).await?,
            98.. => self.fence(id)?,
            _ => {}
        }
        self.gather_proposals();
        self.collect_acknowledgements()
    }

    /// Everything heals: each message arrives, and the replicas must come to agree, with everything acknowledged in them.
    async fn settle(&mut self) -> Result<(), Violation> {
        for id in REPLICAS {
            if self.image.broker(id).is_some_and(|broker| broker.fenced) {
                self.fence(id)?;
            }
        }
        for _ in 0..60 {
            for id in REPLICAS {
                self.publish(id);
            }
            for election in std::mem::take(&mut self.elections) {
                election.finish().await;
            }
            self.produce(self.state().leader.expect("there is always one in sync"));
            for id in REPLICAS {
                self.fetch(id);
                for underway in std::mem::take(&mut self.underway) {
                    self.arrive(underway).await;
                }
            }
            self.gather_proposals();
            for (id, life, proposal) in std::mem::take(&mut self.proposed) {
                let answer = self.decide(id, &proposal);
                self.answer((id, life, proposal, answer));
            }
            for answer in std::mem::take(&mut self.answers) {
                self.answer(answer);
            }
            for id in REPLICAS {
                self.machines[&id].partition.tick();
            }
            self.collect_acknowledgements()?;
            time::sleep(Duration::from_millis(200)).await;
        }
        let isr: BTreeSet<BrokerId> = self.state().isr.into_iter().collect();
        if isr != BTreeSet::from(REPLICAS) {
            return Err(format!("only {isr:?} are in sync in the end"));
        }
        let newest = self.waiting.iter().map(|(offset, ..)| *offset).min();
        if let Some(stuck) = newest.filter(|stuck| self.acknowledged.keys().any(|later| later > stuck)) {
            return Err(format!("the produce at {stuck} was never told"));
        }
        for id in REPLICAS {
            self.check_elected(id)?;
        }
        let leader = self.machines[&self.state().leader.unwrap()].contents();
        for (id, machine) in &self.machines {
            if let Some((offset, batch)) =
                machine.contents().iter().find(|(offset, batch)| leader.get(offset) != Some(batch))
            {
                return Err(format!("broker {id} has {batch:?} at {offset}, its leader has {:?}", leader.get(offset)));
            }
        }
        Ok(())
    }
}

trait Known {
    fn broker_epoch(&self, id: BrokerId) -> BrokerEpoch;
}

impl Known for Image {
    fn broker_epoch(&self, id: BrokerId) -> BrokerEpoch {
        self.broker(id).map_or(BrokerEpoch::UNKNOWN, |broker| broker.epoch)
    }
}

fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    let waker = std::task::Waker::noop();
    std::pin::Pin::new(future).poll(&mut std::task::Context::from_waker(waker))
}

async fn story() -> Result<(usize, u64), Violation> {
    let mut bottle = Bottle::new().await;
    for id in REPLICAS {
        bottle.publish(id);
    }
    for _ in 0..STEPS {
        bottle.step().await?;
    }
    bottle.settle().await?;
    task::yield_now().await;
    Ok((bottle.acknowledged.len(), bottle.produced))
}

#[test]
fn what_was_acknowledged_is_in_every_log_that_is_elected() {
    let (mut acknowledged, mut produced, mut reached) = (0, 0, BTreeSet::new());
    for seed in 0..150 {
        let outcome = simulate(seed, Options::default(), story);
        reached.extend(outcome.reached.into_keys());
        match outcome.result {
            Ok(Ok((told, all))) => {
                acknowledged += told;
                produced += all;
            }
            Ok(Err(violation)) => panic!("seed {seed}: {violation}"),
            Err(failure) => panic!("seed {seed}: {failure}"),
        }
    }
    assert!(acknowledged as u64 * 4 > produced, "only {acknowledged} of {produced} were acknowledged");
    for state in [
        "a follower's fetch diverges",
        "a new leader starts with a stale high watermark",
        "a produce with acks=all waited when its leader stepped down",
        "the ISR shrank",
        "what a leader sent came too late to be used",
    ] {
        assert!(reached.contains(state), "it never came that {state}: {reached:?}");
    }
}

/// What the story could not notice is not tested by it. (Z04 takes more luck than this, and Z11 loses nothing: see `tests`.)
#[test]
fn the_story_notices_mutants_that_lose_what_was_acknowledged() {
    for mutant in ["Z01", "Z10", "S01", "S02"] {
        let options = || Options { mutant: Some(mutant.to_owned()), ..Options::default() };
        let noticed = (0..400).find(|seed| !matches!(simulate(*seed, options(), story).result, Ok(Ok(_))));
        assert!(noticed.is_some(), "{mutant} was not noticed");
    }
}
