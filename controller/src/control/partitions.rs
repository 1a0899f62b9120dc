//! Pure. Who is in sync and who leads, partition by partition: elections, ISR and ELR bookkeeping, AlterPartition.
//!
//! Every change of a partition goes through [`Change`], so that the rules of KIP-966 hold wherever it comes from. As
//! Kafka's `PartitionChangeBuilder` and `ReplicationControlManager`, with eligible leader replicas always on, and with one
//! difference: the last known leader is elected only if it is acceptable.

mod elections;
mod reassignment;

pub(super) use elections::elect;
pub(super) use reassignment::{list as list_reassignments, reassign};

use super::brokers::check_epoch;
use super::directories;
use super::draft::Draft;
use metadata::config::ElectionConfig;
use metadata::image::{Image, PartitionImage};
use metadata::record::{LeaderRecoveryState, Record};
use protocol::error_code::ErrorCode;
use protocol::ids::{
    BrokerEpoch, BrokerId, DirectoryId, LeaderEpoch, PartitionEpoch, PartitionIndex, TopicId, TopicPartition,
};
use protocol::messages::alter_partition_request::{BrokerState, PartitionData};
use protocol::messages::{
    AlterPartitionRequest, AlterPartitionResponse, WireBrokerId, alter_partition_response as response,
};

/// How many leaders are changed at once when leaders are balanced
/// (`ReplicationControlManager.MAX_ELECTIONS_PER_IMBALANCE`).
const ELECTIONS_PER_BALANCE: usize = 1_000;

/// What an election may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Election {
    /// Elect only who is known to hold all that is committed.
    Online,
    /// If nobody else can lead, elect anybody.
    Unclean,
    /// As `Online`, and take the leadership from a leader that is not the preferred one.
    Preferred,
}

/// A change of one partition, before its consequences are known.
struct Change<'a> {
    state: &'a PartitionImage,
    config: ElectionConfig,
    election: Election,
    /// Who may lead.
    acceptable: &'a dyn Fn(BrokerId) -> bool,
    /// The assignment that is to be, of it who comes and who leaves.
    replicas: Vec<BrokerId>,
    adding_replicas: Vec<BrokerId>,
    removing_replicas: Vec<BrokerId>,
    /// The in-sync replicas that are to be.
    isr: Vec<BrokerId>,
    /// A replica that may have lost records that it had confirmed.
    unclean: Option<BrokerId>,
    leader_recovery_state: LeaderRecoveryState,
}

impl<'a> Change<'a> {
    /// No change; elections aside.
    fn of(state: &'a PartitionImage, config: ElectionConfig, acceptable: &'a dyn Fn(BrokerId) -> bool) -> Self {
        Self {
            state,
            config,
            election: Election::Online,
            acceptable,
            replicas: state.replicas.clone(),
            adding_replicas: state.adding_replicas.clone(),
            removing_replicas: state.removing_replicas.clone(),
            isr: state.isr.clone(),
            unclean: None,
            leader_recovery_state: state.leader_recovery_state,
        }
    }

    /// The partition as it is to be: ELR, leader and last known leader follow from the rest
    /// (`PartitionChangeBuilder.build`). Epochs are left as they were.
    fn outcome(mut self) -> PartitionImage {
        self.complete_reassignment();
        let mut elr = self.eligible();
        let elected = self.elect(&elr);
        let leader = match elected {
            Elected::Clean(leader) => {
                if self.isr.is_empty() {
                    runtime::reachable!("controller: nobody is in sync, and an eligible replica leads");
                    elr.retain(|replica| *replica != leader);
                    self.isr = vec![leader];
                }
                Some(leader)
            }
            Elected::Unclean(leader) => {
                runtime::reachable!("controller: a leader is elected that may lack records");
                elr.clear();
                self.isr = vec![leader];
                self.leader_recovery_state = LeaderRecoveryState::Recovering;
                Some(leader)
            }
            Elected::Nobody => None,
        };
        // The leader that was elected may be all that was waited for.
        self.complete_reassignment();
        elr.retain(|replica| self.replicas.contains(replica));
        if self.isr.len() >= self.min_isr() {
            elr.clear();
        }
        runtime::sometimes!(!elr.is_empty(), "controller: fewer are in sync than must be, and others are eligible");
        runtime::sometimes!(leader.is_none(), "controller: nobody can lead a partition");
        let last_known_elr = match leader {
            Some(_) => Vec::new(),
            // Who led, or else was in sync, when the ISR became empty; kept while there is no leader.
            None if self.isr.is_empty() && self.state.last_known_elr.is_empty() => {
                self.state.leader.or(self.state.isr.first().copied()).into_iter().collect()
            }
            None => self.state.last_known_elr.clone(),
        };
        PartitionImage {
            replicas: self.replicas,
            adding_replicas: self.adding_replicas,
            removing_replicas: self.removing_replicas,
            isr: self.isr,
            elr,
            last_known_elr,
            leader,
            leader_recovery_state: self.leader_recovery_state,
            ..self.state.clone()
        }
    }

    /// `min(min.insync.replicas, replicas)`.
    fn min_isr(&self) -> usize {
        self.config.effective_min_isr(self.replicas.len())
    }

    /// A reassignment is complete once every replica that is to stay is in sync (`PartitionReassignmentReplicas`,
    /// KAFKA-15665): whoever was to leave leaves.
    fn complete_reassignment(&mut self) {
        if self.adding_replicas.is_empty() && self.removing_replicas.is_empty() {
            return;
        }
        let removing = &self.removing_replicas;
        let target: Vec<BrokerId> =
            self.replicas.iter().copied().filter(|replica| !removing.contains(replica)).collect();
        let in_sync = |replica: &BrokerId| self.isr.contains(replica);
        let complete = !target.is_empty() && target.iter().all(in_sync);
        // Z21 of the bug zoo is the rule before KAFKA-15665: it was enough that whoever came was in sync.
        let hasty = runtime::mutant!("Z21") && target.iter().any(in_sync) && self.adding_replicas.iter().all(in_sync);
        if hasty && !complete {
            runtime::mutant_diverged!("Z21");
        }
        if !(complete || hasty) {
            return;
        }
        runtime::reachable!("controller: a reassignment is complete");
        self.isr.retain(|replica| target.contains(replica));
        self.replicas = target;
        self.adding_replicas.clear();
        self.removing_replicas.clear();
    }

    /// The eligible leader replicas, in the order of the assignment: who was in sync or eligible, is not in sync now, and
    /// did not lose anything; nobody once enough are in sync, because the high watermark may then leave them behind
    /// (`PartitionChangeBuilder.maybePopulateTargetElr`).
    fn eligible(&self) -> Vec<BrokerId> {
        if self.isr.len() >= self.min_isr() {
            return Vec::new();
        }
        let eligible = |replica: &BrokerId| {
            (self.state.isr.contains(replica) || self.state.elr.contains(replica))
                && !self.isr.contains(replica)
                && self.unclean != Some(*replica)
        };
        self.replicas.iter().copied().filter(eligible).collect()
    }

    fn elect(&self, elr: &[BrokerId]) -> Elected {
        let PartitionImage { leader, last_known_elr, .. } = self.state;
        let replicas = &self.replicas;
        let valid = |replica: BrokerId| {
            let complete = if self.isr.is_empty() { elr.contains(&replica) } else { self.isr.contains(&replica) };
            complete && (self.acceptable)(replica)
        };
        let preferred = (self.election == Election::Preferred).then(|| replicas.first().copied()).flatten();
        let first_choices = [preferred, *leader];
        let mut choices = first_choices.into_iter().flatten().chain(replicas.iter().copied());
        if let Some(leader) = choices.find(|replica| valid(*replica)) {
            return Elected::Clean(leader);
        }
        if let ([], [], [last]) = (&*self.isr, elr, &**last_known_elr)
            && replicas.contains(last)
            && (self.acceptable)(*last)
        {
            return Elected::Unclean(*last);
        }
        let anybody = replicas.iter().copied().find(|replica| (self.acceptable)(*replica));
        match (self.election, anybody) {
            (Election::Unclean, Some(leader)) => Elected::Unclean(leader),
            (Election::Unclean | Election::Online | Election::Preferred, _) => Elected::Nobody,
        }
    }
}

/// What an election came to.
enum Elected {
    /// The leader holds all that is committed.
    Clean(BrokerId),
    /// The leader may lack committed records: a declared loss.
    Unclean(BrokerId),
    /// There is no leader.
    Nobody,
}

/// The record that turns one state of a partition into another, if they differ. Naming the leader is what raises the
/// leader epoch, so it is named only when it changes, or when somebody is a replica no more: nobody may count on what was
/// known of that one (`PartitionChangeBuilder.triggerLeaderEpochBumpForReplicaReassignmentIfNeeded`).
fn difference(of: TopicPartition, old: &PartitionImage, new: &PartitionImage) -> Option<Record> {
    fn changed<T: PartialEq + Clone>(old: &T, new: &T) -> Option<T> {
        (old != new).then(|| new.clone())
    }
    let isr = changed(&old.isr, &new.isr);
    let elr = changed(&old.elr, &new.elr);
    let last_known_elr = changed(&old.last_known_elr, &new.last_known_elr);
    let left = old.replicas.iter().any(|replica| !new.replicas.contains(replica));
    let leader = changed(&old.leader, &new.leader).or(left.then_some(new.leader));
    let leader_recovery_state = changed(&old.leader_recovery_state, &new.leader_recovery_state);
    let replicas = changed(&old.replicas, &new.replicas);
    let adding_replicas = changed(&old.adding_replicas, &new.adding_replicas);
    let removing_replicas = changed(&old.removing_replicas, &new.removing_replicas);
    let any = isr.is_some()
        || elr.is_some()
        || last_known_elr.is_some()
        || leader.is_some()
        || leader_recovery_state.is_some()
        || replicas.is_some()
        || adding_replicas.is_some()
        || removing_replicas.is_some();
    let TopicPartition { topic_id, partition } = of;
    any.then_some(Record::PartitionChange {
        topic_id,
        partition,
        isr,
        elr,
        last_known_elr,
        leader,
        leader_recovery_state,
        replicas,
        adding_replicas,
        removing_replicas,
    })
}

/// Whether a record elects a leader uncleanly, given the partition before it: from outside ISR and ELR. What is
/// committed may be lost then, and is declared lost by this very record.
pub fn unclean_election(before: &PartitionImage, record: &Record) -> bool {
    match record {
        Record::PartitionChange { leader: Some(Some(leader)), leader_recovery_state, .. } => {
            let state = leader_recovery_state.unwrap_or(before.leader_recovery_state);
            let complete = before.isr.contains(leader) || before.elr.contains(leader);
            state == LeaderRecoveryState::Recovering && !complete
        }
        _ => false,
    }
}

/// The record that does nothing but raise the leader epoch.
fn leader_change(of: TopicPartition, leader: BrokerId) -> Record {
    let TopicPartition { topic_id, partition } = of;
    Record::PartitionChange {
        topic_id,
        partition,
        isr: None,
        elr: None,
        last_known_elr: None,
        leader: Some(Some(leader)),
        leader_recovery_state: None,
        replicas: None,
        adding_replicas: None,
        removing_replicas: None,
    }
}

/// The change that a topic's settings allow, before anything is changed.
fn change_of<'a>(
    config: ElectionConfig,
    state: &'a PartitionImage,
    acceptable: &'a dyn Fn(BrokerId) -> bool,
) -> Change<'a> {
    let election = if config.unclean_leader_election_enable { Election::Unclean } else { Election::Online };
    Change { election, ..Change::of(state, config, acceptable) }
}

/// Why a broker leaves the in-sync replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    /// It is fenced, or shuts down: what it had, it has.
    Clean,
    /// It stopped without saying that its logs were flushed, or is gone for good: it is not eligible either.
    Unclean,
}

/// Takes a broker out of every ISR (and out of every ELR, if it leaves uncleanly), and gives what it led to others
/// (`ReplicationControlManager.generateLeaderAndIsrUpdates`).
pub(super) fn remove_broker(draft: &mut Draft<'_>, broker_id: BrokerId, leaving: Leaving) {
    let concerned = |state: &PartitionImage| {
        state.isr.contains(&broker_id) || (leaving == Leaving::Unclean && state.elr.contains(&broker_id))
    };
    change_each(draft, concerned, |image, state, config| {
        let acceptable = |replica| replica != broker_id && is_acceptable(image, state, replica);
        let mut change = change_of(config, state, &acceptable);
        change.isr.retain(|replica| *replica != broker_id);
        change.unclean = (leaving == Leaving::Unclean).then_some(broker_id);
        change.outcome()
    });
}

/// Takes a broker out of the ISRs of what it keeps in directories that failed, and gives what it led there to others
/// (`ReplicationControlManager.handleDirectoriesOffline`). What is there it still has: it stays eligible.
pub(super) fn remove_offline_replicas(draft: &mut Draft<'_>, broker_id: BrokerId) {
    let concerned = |state: &PartitionImage| state.isr.contains(&broker_id);
    change_each(draft, concerned, |image, state, config| {
        if directories::is_online(image, state, broker_id) {
            return state.clone();
        }
        let acceptable = |replica| is_acceptable(image, state, replica);
        let mut change = change_of(config, state, &acceptable);
        change.isr.retain(|replica| *replica != broker_id);
        change.outcome()
    });
}

/// A broker cannot read what it has of a partition: it is out of the ISR and the ELR and leads it no more, until it has
/// copied it anew. The leader epoch rises even where the leader stays, so that nothing counts any more of how far that
/// replica had come: its next life has the same broker epoch.
///
/// # Errors
/// `INELIGIBLE_REPLICA` when nobody else could lead who holds all that is committed: what can be read of it is then all
/// that there is, and is kept.
pub(super) fn lose_replica(draft: &mut Draft<'_>, of: TopicPartition, broker_id: BrokerId) -> Result<(), ErrorCode> {
    let image = draft.image().clone();
    let topic = image.topic(of.topic_id).ok_or(ErrorCode::UnknownTopicId)?;
    let state = topic.partition(of.partition).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let acceptable = |replica| replica != broker_id && is_acceptable(&image, state, replica);
    let mut change = Change::of(state, draft.election_config(&topic.name), &acceptable);
    change.isr.retain(|replica| *replica != broker_id);
    change.unclean = Some(broker_id);
    let outcome = change.outcome();
    let complete = |leader: &BrokerId| state.isr.contains(leader) || state.elr.contains(leader);
    let Some(leader) = outcome.leader.filter(complete) else { return Err(ErrorCode::IneligibleReplica) };
    let TopicPartition { topic_id, partition } = of;
    let mut record = difference(of, state, &outcome).unwrap_or_else(|| leader_change(of, leader));
    if let Record::PartitionChange { leader: named, .. } = &mut record {
        *named = Some(Some(leader));
    }
    // First that it is lost: in the new leader epoch nothing is to be fetched for what is damaged.
    draft.push(Record::ReplicaDirectory { topic_id, partition, broker_id, directory: DirectoryId::LOST });
    draft.push(record);
    Ok(())
}

/// Whether a replica may lead: its broker is active, and its log directory works
/// (`ReplicationControlManager.isAcceptableLeader`).
fn is_acceptable(image: &Image, state: &PartitionImage, replica: BrokerId) -> bool {
    image.is_active(replica) && directories::is_online(image, state, replica)
}

/// Elects leaders where there are none, after somebody became able to lead
/// (`ReplicationControlManager.handleBrokerUnfenced`).
pub(super) fn elect_missing_leaders(draft: &mut Draft<'_>) {
    change_each(
        draft,
        |state| state.leader.is_none(),
        |image, state, config| change_of(config, state, &|replica| is_acceptable(image, state, replica)).outcome(),
    );
}

/// Gives partitions back to preferred leaders that are in sync again, a bounded number at once
/// (`ReplicationControlManager.maybeBalancePartitionLeaders`).
pub(super) fn balance_leaders(draft: &mut Draft<'_>) {
    let mut elections = 0;
    let imbalanced = |state: &PartitionImage| {
        let preferred = state.preferred_leader().filter(|preferred| state.isr.contains(preferred));
        preferred.is_some() && preferred != state.leader
    };
    change_each(draft, imbalanced, |image, state, config| {
        let acceptable = |replica| is_acceptable(image, state, replica);
        let mut change = change_of(config, state, &acceptable);
        if elections < ELECTIONS_PER_BALANCE {
            change.election = Election::Preferred;
        }
        let outcome = change.outcome();
        elections += usize::from(outcome.leader != state.leader);
        outcome
    });
}

/// Forgets who is eligible where enough are in sync: `min.insync.replicas` may have been lowered since, and the high
/// watermark moves without them from then on.
pub(super) fn settle_eligible(draft: &mut Draft<'_>) {
    change_each(
        draft,
        |state| !state.elr.is_empty(),
        |image, state, config| change_of(config, state, &|replica| is_acceptable(image, state, replica)).outcome(),
    );
}

/// As [`settle_eligible`], for settings that are about to be recorded: nobody is eligible where enough are in sync, after
/// each single record.
pub(super) fn settle_eligible_before(draft: &mut Draft<'_>, settings: &[Record]) {
    let mut coming = draft.clone();
    for setting in settings {
        coming.push(setting.clone());
    }
    let config_of = |draft: &Draft<'_>, topic: &str| ElectionConfig {
        min_insync_replicas: coming.election_config(topic).min_insync_replicas,
        ..draft.election_config(topic)
    };
    change_each_under(
        draft,
        config_of,
        |state| !state.elr.is_empty(),
        |image, state, config| change_of(config, state, &|replica| image.is_active(replica)).outcome(),
    );
}

/// Changes every partition that `concerned` picks to what `outcome` makes of it.
fn change_each(
    draft: &mut Draft<'_>,
    concerned: impl Fn(&PartitionImage) -> bool,
    outcome: impl FnMut(&Image, &PartitionImage, ElectionConfig) -> PartitionImage,
) {
    change_each_under(draft, |draft, topic| draft.election_config(topic), concerned, outcome);
}

/// As [`change_each`], under these settings of each topic.
fn change_each_under(
    draft: &mut Draft<'_>,
    config_of: impl Fn(&Draft<'_>, &str) -> ElectionConfig,
    concerned: impl Fn(&PartitionImage) -> bool,
    mut outcome: impl FnMut(&Image, &PartitionImage, ElectionConfig) -> PartitionImage,
) {
    let image = draft.image().clone();
    for topic in image.topics() {
        let mut config = None;
        for (partition, state) in topic.partitions().filter(|(_, state)| concerned(state)) {
            let config = *config.get_or_insert_with(|| config_of(draft, &topic.name));
            let of = TopicPartition { topic_id: topic.id, partition };
            if let Some(record) = difference(of, state, &outcome(&image, state, config)) {
                draft.push(record);
            }
        }
    }
}

/// Whether a broker leads anything.
pub(super) fn leads_anything(image: &Image, broker_id: BrokerId) -> bool {
    image.partitions().any(|(_, state)| state.leader == Some(broker_id))
}

/// Changes in-sync replicas as their leaders ask (`ReplicationControlManager.alterPartition`, KIP-497).
pub(super) fn alter(draft: &mut Draft<'_>, request: &AlterPartitionRequest) -> AlterPartitionResponse {
    let sender = BrokerId::from(request.broker_id);
    if let Err(code) = check_epoch(draft.image(), sender, BrokerEpoch(request.broker_epoch)) {
        return AlterPartitionResponse::default().with_error_code(code as i16);
    }
    let mut topics = Vec::with_capacity(request.topics.len());
    for asked in &request.topics {
        let topic_id = TopicId(asked.topic_id);
        let alter = |partition| alter_one(draft, sender, topic_id, partition);
        let partitions = asked.partitions.iter().map(alter).collect();
        topics.push(response::TopicData::default().with_topic_id(asked.topic_id).with_partitions(partitions));
    }
    AlterPartitionResponse::default().with_topics(topics)
}

fn alter_one(
    draft: &mut Draft<'_>,
    sender: BrokerId,
    topic_id: TopicId,
    asked: &PartitionData,
) -> response::PartitionData {
    let answer = response::PartitionData::default().with_partition_index(asked.partition_index);
    let of = TopicPartition { topic_id, partition: PartitionIndex(asked.partition_index) };
    let (isr, leader_recovery_state) = match validate(draft.image(), sender, of, asked) {
        Ok(valid) => valid,
        Err(code) => {
            runtime::sometimes!(
                code == ErrorCode::FencedLeaderEpoch,
                "controller: a leader of the past asks for in-sync replicas"
            );
            runtime::sometimes!(
                code == ErrorCode::InvalidUpdateVersion,
                "controller: in-sync replicas of the past are asked for"
            );
            runtime::sometimes!(
                code == ErrorCode::IneligibleReplica,
                "controller: who must not be in sync is asked for"
            );
            return answer.with_error_code(code as i16);
        }
    };
    let image = draft.image().clone();
    let (topic, state) = image.topic(topic_id).zip(image.partition(of)).expect("validated just now");
    let acceptable = |replica| is_acceptable(&image, state, replica);
    let mut change = change_of(draft.election_config(&topic.name), state, &acceptable);
    change.isr = isr;
    change.leader_recovery_state = leader_recovery_state;
    if let Some(record) = difference(of, state, &change.outcome()) {
        draft.push(record);
    }
    let state = draft.image().partition(of).expect("a change removes no partition");
    if state.leader != Some(sender) {
        runtime::reachable!("controller: a leader's own proposal deposes it");
        return answer.with_error_code(ErrorCode::NewLeaderElected as i16);
    }
    answer
        .with_leader_id(WireBrokerId(sender.0))
        .with_leader_epoch(state.leader_epoch.0)
        .with_isr(state.isr.iter().map(|replica| WireBrokerId(replica.0)).collect())
        .with_leader_recovery_state(state.leader_recovery_state.code())
        .with_partition_epoch(state.partition_epoch.0)
}

/// Judges what a leader asks for, in Kafka's order (`ReplicationControlManager.validateAlterPartitionData`), and reads it.
fn validate(
    image: &Image,
    sender: BrokerId,
    of: TopicPartition,
    asked: &PartitionData,
) -> Result<(Vec<BrokerId>, LeaderRecoveryState), ErrorCode> {
    if of.topic_id == TopicId::ZERO || image.topic(of.topic_id).is_none() {
        return Err(ErrorCode::UnknownTopicId);
    }
    let state = image.partition(of).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let (leader_epoch, partition_epoch) = (LeaderEpoch(asked.leader_epoch), PartitionEpoch(asked.partition_epoch));
    // A leader that knows more than this controller has heard of a newer one.
    if leader_epoch > state.leader_epoch || partition_epoch > state.partition_epoch {
        return Err(ErrorCode::NotController);
    }
    if leader_epoch < state.leader_epoch {
        return Err(ErrorCode::FencedLeaderEpoch);
    }
    if state.leader != Some(sender) {
        return Err(ErrorCode::InvalidRequest);
    }
    if partition_epoch < state.partition_epoch {
        return Err(ErrorCode::InvalidUpdateVersion);
    }
    let proposed = proposed_isr(asked);
    let isr: Vec<BrokerId> = proposed.iter().map(|member| BrokerId::from(member.broker_id)).collect();
    let duplicate = isr.iter().enumerate().any(|(at, member)| isr[..at].contains(member));
    let outsider = isr.iter().any(|member| !state.replicas.contains(member));
    // An empty ISR lacks the leader, too.
    if duplicate || outsider || !isr.contains(&sender) {
        return Err(ErrorCode::InvalidRequest);
    }
    let recovery = LeaderRecoveryState::from_code(asked.leader_recovery_state).ok_or(ErrorCode::InvalidRequest)?;
    if recovery == LeaderRecoveryState::Recovering
        && (isr.len() > 1 || state.leader_recovery_state == LeaderRecoveryState::Recovered)
    {
        return Err(ErrorCode::InvalidRequest);
    }
    if !proposed.iter().all(|member| is_eligible(image, state, member)) {
        return Err(ErrorCode::IneligibleReplica);
    }
    Ok((isr, recovery))
}

/// The proposed in-sync replicas: with broker epochs from version 3 on, without them before.
fn proposed_isr(asked: &PartitionData) -> Vec<BrokerState> {
    let without_epoch = |id: &WireBrokerId| BrokerState::default().with_broker_id(*id).with_broker_epoch(-1);
    if asked.new_isr_with_epochs.is_empty() {
        asked.new_isr.iter().map(without_epoch).collect()
    } else {
        asked.new_isr_with_epochs.clone()
    }
}

/// Whether a broker may be in sync: registered, not shutting down, unfenced, the same life that the leader saw (KIP-841,
/// KIP-903), and with a log directory that works (KIP-858).
fn is_eligible(image: &Image, state: &PartitionImage, member: &BrokerState) -> bool {
    let broker_id = BrokerId::from(member.broker_id);
    image.broker(broker_id).is_some_and(|broker| {
        let same_life = member.broker_epoch == BrokerEpoch::UNKNOWN.0 || member.broker_epoch == broker.epoch.0;
        if broker.is_active() && !same_life && runtime::mutant!("Z08") {
            runtime::mutant_diverged!("Z08");
            return true;
        }
        if !broker.is_active() && same_life && runtime::mutant!("Z09") {
            runtime::mutant_diverged!("Z09");
            return true;
        }
        broker.is_active() && same_life && directories::is_online(image, state, broker_id)
    })
}

#[cfg(test)]
mod tests;
