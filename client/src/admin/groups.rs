//! Consumer groups: which there are, who is in them, how far they have come; and what an administrator changes of that.
//!
//! Which groups there are is asked of every broker; anything about one group is asked of its coordinator.

mod description;
mod offsets;

pub use description::{
    GroupDescription, GroupEpoch, GroupListing, GroupState, GroupType, MemberDescription, MemberEpoch,
};
pub use offsets::PartitionOutcomes;

use super::coordinators::{CONNECT_TIMEOUT, Question, is_of_coordinator, text};
use super::{Admin, Outcomes, wait_before};
use crate::error::ClientError;
use protocol::error_code::ErrorCode;
use protocol::ids::BrokerId;
use protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, DeleteGroupsRequest, DeleteGroupsResponse,
    DescribeGroupsRequest, DescribeGroupsResponse, GroupId, ListGroupsRequest,
};
use runtime::time::{self, Instant};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

impl Admin {
    /// The groups of the cluster, by name: all of them, or those in one of these states and of one of these types (ListGroups;
    /// KIP-518 and KIP-848 for the filters).
    ///
    /// A broker that cannot tell yet, because it still reads what it coordinates, is asked again until the timeout.
    ///
    /// # Errors
    /// When one broker does not answer: its groups would be missing. A filter that a broker's version does not have.
    pub async fn list_groups(
        &self,
        states: &BTreeSet<GroupState>,
        types: &BTreeSet<GroupType>,
    ) -> Result<Vec<GroupListing>, ClientError> {
        let deadline = time::now() + self.timeout;
        let request = ListGroupsRequest::default()
            .with_states_filter(states.iter().map(|state| text(&state.to_string())).collect())
            .with_types_filter(types.iter().map(|kind| text(&kind.to_string())).collect());
        let mut failures = 0u32;
        loop {
            match self.list_once(&request, deadline).await {
                Err(error) if error.is_retriable() => {
                    // A broker that has died stays among the others until it is fenced, and its groups are nobody's until then.
                    if !wait_before(deadline, &mut failures).await {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
                Ok(groups) => return Ok(groups.into_values().collect()),
            }
        }
    }

    /// Asks every broker once.
    async fn list_once(
        &self,
        request: &ListGroupsRequest,
        deadline: Instant,
    ) -> Result<BTreeMap<String, GroupListing>, ClientError> {
        let mut listed = BTreeMap::new();
        for broker in self.describe_cluster().await?.brokers {
            let connect = |left: Duration| self.connection_to(broker.broker_id, left.min(CONNECT_TIMEOUT));
            let response = self.attempt(&|_| request.clone(), deadline, &connect).await?;
            if let Some(error) = ClientError::from_code(response.error_code, None) {
                return Err(error);
            }
            let groups = response.groups.iter().map(GroupListing::from_wire);
            listed.extend(groups.map(|group| (group.group_id.clone(), group)));
        }
        Ok(listed)
    }

    /// Describes groups of consumers, those of the consumer protocol by ConsumerGroupDescribe (KIP-848) and the others by
    /// DescribeGroups, as `Admin.describeConsumerGroups` does.
    ///
    /// # Errors
    /// Each group has an outcome of its own. `GROUP_ID_NOT_FOUND` where there is no such group.
    pub async fn describe_groups(&self, groups: &BTreeSet<String>) -> Outcomes<GroupDescription> {
        let deadline = time::now() + self.timeout;
        let mut outcomes = self.ask_coordinators(&DescribeConsumer, groups, deadline).await;
        let others = outcomes.iter().filter(|(_, outcome)| outcome.as_ref().is_err_and(may_be_classic));
        let others: BTreeSet<String> = others.map(|(group, _)| group.clone()).collect();
        if !others.is_empty() {
            outcomes.extend(self.ask_coordinators(&DescribeClassic, &others, deadline).await);
        }
        outcomes
    }

    /// Deletes groups with all that they have committed (DeleteGroups, KIP-229).
    ///
    /// An answer that is lost leaves the group deleted, and the repeated question refused with `GROUP_ID_NOT_FOUND`.
    ///
    /// # Errors
    /// Each group has an outcome of its own. `NON_EMPTY_GROUP` while it has members.
    pub async fn delete_groups(&self, groups: &BTreeSet<String>) -> Outcomes<()> {
        self.ask_coordinators(&Delete, groups, time::now() + self.timeout).await
    }
}

/// Whether a group that is no consumer group by this error may be a classic one.
fn may_be_classic(error: &ClientError) -> bool {
    match error {
        ClientError::UnsupportedVersion { .. } => true,
        other => matches!(other.code(), Some(ErrorCode::GroupIdNotFound | ErrorCode::UnsupportedVersion)),
    }
}

fn ids(groups: &[&str]) -> Vec<GroupId> {
    groups.iter().map(|group| GroupId(text(group))).collect()
}

struct DescribeConsumer;

impl Question for DescribeConsumer {
    type Request = ConsumerGroupDescribeRequest;
    type Answer = GroupDescription;

    fn request(&self, groups: &[&str], _version: i16) -> ConsumerGroupDescribeRequest {
        ConsumerGroupDescribeRequest::default().with_group_ids(ids(groups))
    }

    fn answers(
        &self,
        broker: BrokerId,
        _groups: &[&str],
        response: ConsumerGroupDescribeResponse,
    ) -> Outcomes<GroupDescription> {
        let described = response.groups.iter();
        described.map(|group| (group.group_id.to_string(), GroupDescription::from_consumer(broker, group))).collect()
    }
}

struct DescribeClassic;

impl Question for DescribeClassic {
    type Request = DescribeGroupsRequest;
    type Answer = GroupDescription;

    fn request(&self, groups: &[&str], _version: i16) -> DescribeGroupsRequest {
        DescribeGroupsRequest::default().with_groups(ids(groups))
    }

    fn answers(
        &self,
        broker: BrokerId,
        _groups: &[&str],
        response: DescribeGroupsResponse,
    ) -> Outcomes<GroupDescription> {
        let described = response.groups.iter();
        described.map(|group| (group.group_id.to_string(), GroupDescription::from_classic(broker, group))).collect()
    }
}

struct Delete;

impl Question for Delete {
    type Request = DeleteGroupsRequest;
    type Answer = ();

    fn request(&self, groups: &[&str], _version: i16) -> DeleteGroupsRequest {
        DeleteGroupsRequest::default().with_groups_names(ids(groups))
    }

    fn answers(&self, _broker: BrokerId, _groups: &[&str], response: DeleteGroupsResponse) -> Outcomes<()> {
        let outcome = |code| ClientError::from_code(code, None).map_or(Ok(()), Err);
        response.results.iter().map(|group| (group.group_id.to_string(), outcome(group.error_code))).collect()
    }
}

#[cfg(test)]
mod tests;
