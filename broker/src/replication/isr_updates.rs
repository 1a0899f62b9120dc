//! Brings leaders' ISR proposals to the controller, all that wait in one request, and its answers back to the partitions.
//!
//! It never decides who is in sync, nor what an answer means: a partition's state does both. One request is in flight at a
//! time, as in Kafka's `AlterPartitionManager`. It also is the clock by which laggards are noticed.

use crate::controller_link::ControllerLink;
use crate::partition::context::{Proposed, ReplicaContext};
use crate::partition::isr::{Brokers, IsrAnswer, IsrProposal};
use crate::partitions::Partitions;
use protocol::error_code::ErrorCode;
use protocol::ids::{BrokerEpoch, BrokerId, LeaderEpoch, PartitionEpoch, PartitionIndex, TopicId, TopicPartition};
use protocol::messages::{
    AlterPartitionRequest, AlterPartitionResponse,
    alter_partition_request::{BrokerState, PartitionData, TopicData},
};
use runtime::sync::{Shutdown, mpsc};
use runtime::time::{self, Instant};
use runtime::{buggify, rand};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How long one request may take before its answer is given up and everything in it is sent again.
const CALL_MAX: Duration = Duration::from_secs(5);

/// How long to wait before a proposal is sent again.
const PAUSE: Duration = Duration::from_millis(50);

/// Brings proposals to the controller.
pub struct IsrUpdates {
    context: Arc<ReplicaContext>,
    partitions: Arc<Partitions>,
    controller: Arc<ControllerLink>,
    proposals: mpsc::UnboundedReceiver<Proposed>,
    /// The newest proposal of each partition that has not been answered.
    unanswered: BTreeMap<TopicPartition, IsrProposal>,
    /// Nothing is sent before this: something has to be sent again.
    not_before: Instant,
}

impl IsrUpdates {
    /// Takes proposals from `proposals`.
    pub fn new(
        partitions: Arc<Partitions>,
        controller: Arc<ControllerLink>,
        proposals: mpsc::UnboundedReceiver<Proposed>,
    ) -> Self {
        let context = partitions.context().clone();
        Self { context, partitions, controller, proposals, unanswered: BTreeMap::new(), not_before: time::now() }
    }

    /// Runs until the shutdown is requested.
    pub async fn run(mut self, shutdown: Shutdown) {
        let interval = (self.context.lag_max / 2).max(Duration::from_millis(1));
        let mut tick = time::now() + interval;
        while !shutdown.is_requested() {
            let due = !self.unanswered.is_empty();
            runtime::select! {
                () = shutdown.requested() => return,
                () = time::sleep_until(tick) => {
                    self.partitions.tick();
                    tick = time::now() + interval;
                }
                proposed = self.proposals.recv() => match proposed {
                    Some(proposed) => self.take(proposed),
                    None => return,
                },
                () = time::sleep_until(self.not_before), if due => {
                    runtime::select! {
                        () = shutdown.requested() => return,
                        () = self.send() => {}
                    }
                }
            }
        }
    }

    fn take(&mut self, proposed: Proposed) {
        self.unanswered.insert(proposed.partition, proposed.proposal);
    }

    /// Sends everything that waits, and passes the answers on.
    async fn send(&mut self) {
        if buggify!("a proposal of in-sync replicas takes its time") {
            time::sleep(Duration::from_millis(rand::range(1..500))).await;
        }
        while let Ok(proposed) = self.proposals.try_recv() {
            self.take(proposed);
        }
        let sent = std::mem::take(&mut self.unanswered);
        let broker_epoch = self.context.image.broker_epoch(self.context.local).unwrap_or(BrokerEpoch::UNKNOWN);
        let request = request(self.context.local, broker_epoch, &sent);
        let answers = match self.controller.call(&request, time::now() + CALL_MAX).await {
            Ok(response) => answers(&response),
            Err(error) => {
                tracing::debug!(%error, "no answer to a proposal of in-sync replicas");
                Answers { all: Some(ErrorCode::NetworkException), each: BTreeMap::new() }
            }
        };
        for (of, proposal) in sent {
            let answer = answers.to(&of);
            tracing::debug!(partition = %of, ?answer, "a proposal of in-sync replicas was answered");
            let again = self.partitions.get(of).and_then(|partition| partition.on_isr_answer(&proposal, &answer));
            if let Some(again) = again {
                // Unless a newer one came meanwhile.
                self.unanswered.entry(of).or_insert(again);
                self.not_before = time::now() + PAUSE;
            }
        }
    }
}

/// The request for proposals, each topic once (KIP-497; broker epochs KIP-903).
fn request(
    local: BrokerId,
    broker_epoch: BrokerEpoch,
    proposals: &BTreeMap<TopicPartition, IsrProposal>,
) -> AlterPartitionRequest {
    let mut topics: Vec<TopicData> = Vec::new();
    for (of, proposal) in proposals {
        let member = |(member, epoch): &(BrokerId, BrokerEpoch)| {
            let epoch = if *member == local { broker_epoch } else { *epoch };
            BrokerState::default().with_broker_id((*member).into()).with_broker_epoch(epoch.0)
        };
        let partition = PartitionData::default()
            .with_partition_index(of.partition.0)
            .with_leader_epoch(proposal.leader_epoch.0)
            .with_partition_epoch(proposal.partition_epoch.0)
            .with_new_isr_with_epochs(proposal.members.iter().map(member).collect());
        match topics.last_mut().filter(|topic| topic.topic_id == of.topic_id.0) {
            Some(topic) => topic.partitions.push(partition),
            None => topics.push(TopicData::default().with_topic_id(of.topic_id.0).with_partitions(vec![partition])),
        }
    }
    AlterPartitionRequest::default().with_broker_id(local.into()).with_broker_epoch(broker_epoch.0).with_topics(topics)
}

/// What the controller answered.
#[derive(Debug)]
struct Answers {
    /// An error of the whole request.
    all: Option<ErrorCode>,
    each: BTreeMap<TopicPartition, IsrAnswer>,
}

impl Answers {
    /// The answer to a partition's proposal. One that is missing is an error that says nothing.
    fn to(&self, of: &TopicPartition) -> IsrAnswer {
        let missing = IsrAnswer::Refused(self.all.unwrap_or(ErrorCode::UnknownServerError));
        self.each.get(of).cloned().unwrap_or(missing)
    }
}

fn answers(response: &AlterPartitionResponse) -> Answers {
    let code = |code| ErrorCode::from_code(code).unwrap_or(ErrorCode::UnknownServerError);
    let all = Some(code(response.error_code)).filter(|code| *code != ErrorCode::None);
    let mut each = BTreeMap::new();
    for topic in response.topics.iter().filter(|_| all.is_none()) {
        for partition in &topic.partitions {
            let of = TopicPartition {
                topic_id: TopicId(topic.topic_id),
                partition: PartitionIndex(partition.partition_index),
            };
            let answer = match code(partition.error_code) {
                ErrorCode::None => IsrAnswer::Committed {
                    leader_epoch: LeaderEpoch(partition.leader_epoch),
                    partition_epoch: PartitionEpoch(partition.partition_epoch),
                    isr: partition.isr.iter().map(|member| BrokerId::from(*member)).collect(),
                },
                error => IsrAnswer::Refused(error),
            };
            each.insert(of, answer);
        }
    }
    Answers { all, each }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::isr::ProposalId;
    use protocol::messages::alter_partition_response as wire;

    fn partition(topic: u128, index: i32) -> TopicPartition {
        TopicPartition { topic_id: TopicId(uuid::Uuid::from_u128(topic)), partition: PartitionIndex(index) }
    }

    fn proposal(members: &[(i32, i64)]) -> IsrProposal {
        let members = members.iter().map(|(id, epoch)| (BrokerId(*id), BrokerEpoch(*epoch))).collect();
        IsrProposal { id: ProposalId(1), leader_epoch: LeaderEpoch(4), partition_epoch: PartitionEpoch(9), members }
    }

    #[test]
    fn proposals_travel_together_and_the_sender_counts_under_its_own_registration() {
        let proposals = BTreeMap::from([
            (partition(1, 0), proposal(&[(1, -1), (2, 22)])),
            (partition(1, 1), proposal(&[(1, -1)])),
            (partition(2, 0), proposal(&[(1, -1), (3, -1)])),
        ]);
        let request = request(BrokerId(1), BrokerEpoch(77), &proposals);
        assert_eq!((request.broker_id.0, request.broker_epoch), (1, 77));
        let members = |partition: &PartitionData| {
            let pair = |member: &BrokerState| (member.broker_id.0, member.broker_epoch);
            partition.new_isr_with_epochs.iter().map(pair).collect::<Vec<_>>()
        };
        let sent: Vec<Vec<_>> =
            request.topics.iter().map(|topic| topic.partitions.iter().map(members).collect()).collect();
        assert_eq!(sent, [vec![vec![(1, 77), (2, 22)], vec![(1, 77)]], vec![vec![(1, 77), (3, -1)]]]);
    }

    #[test]
    fn each_partition_gets_its_own_answer_and_all_of_them_an_error_of_the_whole() {
        let of = partition(1, 0);
        let committed = wire::PartitionData::default()
            .with_partition_index(0)
            .with_leader_epoch(4)
            .with_partition_epoch(10)
            .with_isr(vec![BrokerId(1).into(), BrokerId(2).into()]);
        let topic = wire::TopicData::default().with_topic_id(of.topic_id.0).with_partitions(vec![committed]);
        let response = AlterPartitionResponse::default().with_topics(vec![topic]);
        let isr = [BrokerId(1), BrokerId(2)].into();
        let (leader_epoch, partition_epoch) = (LeaderEpoch(4), PartitionEpoch(10));
        assert_eq!(answers(&response).to(&of), IsrAnswer::Committed { leader_epoch, partition_epoch, isr });
        assert_eq!(answers(&response).to(&partition(1, 1)), IsrAnswer::Refused(ErrorCode::UnknownServerError));
        let stale = response.with_error_code(ErrorCode::StaleBrokerEpoch.code());
        assert_eq!(answers(&stale).to(&of), IsrAnswer::Refused(ErrorCode::StaleBrokerEpoch));
    }
}
