//! JoinGroup (11): a member joins a rebalance of its group, and is told of it when all have joined.

use super::{
    Services,
    context::{Answer, Outcome, RequestContext},
    coordination::{client_host, client_id, owned, shard_of_named},
    view::text,
};
use bytes::Bytes;
use groups::{
    classic::JoinAnswer,
    ids::{GroupId, MemberId},
    shard::{self, JoinRequest},
};
use protocol::{
    error_code::ErrorCode,
    messages::{JoinGroupRequest, JoinGroupResponse, StrBytes, join_group_response::JoinGroupResponseMember},
};
use runtime::rand;
use std::sync::Arc;

/// The first version in which a new member is given its id before it joins (KIP-394).
const MEMBER_ID_REQUIRED_SINCE: i16 = 4;
/// The first version in which a leader can be told that there is nothing to assign (KIP-814).
const MAY_SKIP_SINCE: i16 = 9;
/// The first version in which there may be no protocol.
const NO_PROTOCOL_SINCE: i16 = 7;

/// The answer comes when the rebalance has all of its members, and at the latest after its timeout.
pub(super) fn handle(services: &Arc<Services>, context: &RequestContext, request: JoinGroupRequest) -> Outcome {
    let member = MemberId::from(request.member_id.as_str());
    let shard = match shard_of_named(services, request.group_id.as_str()) {
        Ok(shard) => shard,
        Err(error) => return Outcome::Done(answer(context, JoinAnswer::refused(member, error))),
    };
    let (context, commit_within) = (context.clone(), services.settings.offsets_commit_timeout);
    let group = GroupId::from(request.group_id.as_str());
    let asked = asked(&context, &request);
    let topics = shard.topics();
    Outcome::Waiting(Box::pin(async move {
        let fresh = rand::uuid();
        let joined = shard.decide_and_wait(commit_within, |groups, ticket, clock| {
            groups.join(&group, asked, ticket, fresh, &topics, clock)
        });
        let joined = match joined.await {
            Ok(shard::Answer::Join(joined)) => joined,
            Ok(shard::Answer::Sync(_)) => JoinAnswer::refused(member, ErrorCode::UnknownServerError),
            Err(error) => JoinAnswer::refused(member, error),
        };
        answer(&context, joined)
    }))
}

/// The request without its own memory.
fn asked(context: &RequestContext, request: &JoinGroupRequest) -> JoinRequest {
    let protocols = request.protocols.iter();
    JoinRequest {
        member: request.member_id.as_str().into(),
        instance: owned(request.group_instance_id.as_ref()),
        client_id: client_id(context),
        client_host: client_host(context),
        protocol_type: request.protocol_type.as_str().to_owned(),
        protocols: protocols
            .map(|protocol| (protocol.name.as_str().to_owned(), Bytes::copy_from_slice(&protocol.metadata)))
            .collect(),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms: request.rebalance_timeout_ms,
        member_id_required: context.api_version >= MEMBER_ID_REQUIRED_SINCE,
        may_skip_assignment: context.api_version >= MAY_SKIP_SINCE,
    }
}

fn answer(context: &RequestContext, joined: JoinAnswer) -> Answer {
    let name = |name: Option<String>| name.map(StrBytes::from_string);
    let protocol = match name(joined.protocol) {
        None if context.api_version < NO_PROTOCOL_SINCE => Some(StrBytes::default()),
        protocol => protocol,
    };
    let members = joined.members.into_iter().map(|member| {
        JoinGroupResponseMember::default()
            .with_member_id(text(&member.member))
            .with_group_instance_id(member.instance.as_deref().map(text))
            .with_metadata(member.metadata)
    });
    let response = JoinGroupResponse::default()
        .with_throttle_time_ms(context.throttle_time_ms())
        .with_error_code(joined.error.code())
        .with_generation_id(joined.generation.0)
        .with_protocol_type(name(joined.protocol_type))
        .with_protocol_name(protocol)
        .with_leader(text(&joined.leader))
        .with_skip_assignment(joined.skip_assignment)
        .with_member_id(text(&joined.member))
        .with_members(members.collect());
    context.answer(&response)
}
