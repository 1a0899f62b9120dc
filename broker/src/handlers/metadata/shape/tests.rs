use super::*;
use crate::handlers::fixture::{Cluster, LISTENER, topic_id};
use protocol::{frame::encode_response, messages::StrBytes};

fn asked(names: &[&'static str]) -> MetadataRequest {
    let topic = |name: &&'static str| {
        MetadataRequestTopic::default().with_name(Some(protocol::messages::TopicName(StrBytes::from_static_str(name))))
    };
    MetadataRequest::default().with_topics(Some(names.iter().map(topic).collect()))
}

fn by_id(id: TopicId) -> MetadataRequest {
    let topic = MetadataRequestTopic::default().with_name(None).with_topic_id(id.0);
    MetadataRequest::default().with_topics(Some(vec![topic]))
}

fn shaped(cluster: &Cluster, request: &MetadataRequest, version: i16) -> Shaped {
    let view = View { image: cluster.image(), listener: LISTENER, node_id: BrokerId(2) };
    let shaped = shape(view, "cluster", request, version);
    // Whatever is in it must fit its version.
    encode_response(1, version, &shaped.response).expect("the response fits its version");
    shaped
}

/// The topics of an answer: name, error, and for each partition leader, error, replicas and offline replicas.
fn show(shaped: &Shaped) -> Vec<String> {
    let ids = |ids: &[WireBrokerId]| ids.iter().map(|id| id.0.to_string()).collect::<Vec<_>>().join(",");
    let topics = shaped.response.topics.iter().map(|topic| {
        let name = topic.name.as_ref().map_or("-", |name| name.as_str());
        let partitions = topic.partitions.iter().map(|partition| {
            let error = ErrorCode::from_wire(partition.error_code);
            let (leader, replicas) = (partition.leader_id.0, ids(&partition.replica_nodes));
            let (isr, offline) = (ids(&partition.isr_nodes), ids(&partition.offline_replicas));
            format!(" [{leader} {error} replicas {replicas} isr {isr} offline {offline}]")
        });
        format!("{name} {}{}", ErrorCode::from_wire(topic.error_code), partitions.collect::<String>())
    });
    topics.collect()
}

#[test]
fn every_version_of_an_answer_fits_it() {
    let cluster = Cluster::of(3).topic(1, "orders", 2).topic(2, "__consumer_offsets", 1).fenced(3);
    for version in 0..=13 {
        let mut request = asked(&["orders", "missing", "__consumer_offsets", "no/name"]);
        request.include_cluster_authorized_operations = true;
        request.include_topic_authorized_operations = true;
        let shaped = shaped(&cluster, &request, version);
        let cluster_operations = if (8..=10).contains(&version) { CLUSTER_OPERATIONS } else { OPERATIONS_UNKNOWN };
        assert_eq!(shaped.response.cluster_authorized_operations, cluster_operations, "version {version}");
        let topic_operations = if version >= 8 { TOPIC_OPERATIONS } else { OPERATIONS_UNKNOWN };
        assert_eq!(shaped.response.topics[0].topic_authorized_operations, topic_operations, "version {version}");
        assert_eq!(shaped.missing, ["missing"]);
        assert!(shaped.response.topics[2].is_internal);
        assert_eq!(shaped.response.brokers.len(), 2, "a fenced broker is not there");
        assert_eq!(shaped.response.controller_id.0, 2);
    }
}

#[test]
fn no_list_means_all_topics_and_so_does_an_empty_one_in_version_0_only() {
    let cluster = Cluster::of(1).topic(9, "a", 1).topic(1, "b", 1);
    let names = |request: &MetadataRequest, version| {
        let topics = shaped(&cluster, request, version).response.topics;
        topics.iter().map(|topic| topic.name.as_ref().expect("it has a name").to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(&MetadataRequest::default().with_topics(None), 5), ["a", "b"]);
    assert_eq!(names(&asked(&[]), 0), ["a", "b"]);
    assert_eq!(names(&asked(&[]), 1), [""; 0]);
}

#[test]
fn a_fenced_replica_is_offline_and_version_0_leaves_it_out() {
    let cluster = Cluster::of(3).topic(1, "orders", 1).fenced(3);
    let request = asked(&["orders"]);
    assert_eq!(show(&shaped(&cluster, &request, 5)), ["orders NONE [1 NONE replicas 1,2,3 isr 1,2,3 offline 3]"]);
    assert_eq!(
        show(&shaped(&cluster, &request, 0)),
        ["orders NONE [1 REPLICA_NOT_AVAILABLE replicas 1,2 isr 1,2 offline 3]"]
    );
}

#[test]
fn a_leader_that_cannot_be_reached_is_not_named() {
    let cluster = Cluster::of(2).topic(1, "orders", 1).fenced(1);
    assert_eq!(
        show(&shaped(&cluster, &asked(&["orders"]), 9)),
        ["orders NONE [-1 LEADER_NOT_AVAILABLE replicas 1,2 isr 1,2 offline 1]"]
    );
}

#[test]
fn topics_are_found_by_id_from_version_12_on() {
    let cluster = Cluster::of(1).topic(1, "orders", 1);
    let known = by_id(topic_id(1));
    assert_eq!(show(&shaped(&cluster, &known, 12)), ["orders NONE [1 NONE replicas 1 isr 1 offline ]"]);
    assert_eq!(show(&shaped(&cluster, &by_id(topic_id(2)), 13)), ["- UNKNOWN_TOPIC_ID"]);
    assert_eq!(shaped(&cluster, &by_id(topic_id(2)), 13).response.topics[0].topic_id, topic_id(2).0);
    let view = View { image: cluster.image(), listener: LISTENER, node_id: BrokerId(1) };
    assert_eq!(show(&shape(view, "cluster", &known, 11)), ["- INVALID_REQUEST"]);
}

#[test]
fn a_name_that_is_none_is_not_created() {
    let cluster = Cluster::of(1);
    let shaped = shaped(&cluster, &asked(&["a/b", "", "fine"]), 9);
    assert_eq!(
        show(&shaped),
        ["a/b INVALID_TOPIC_EXCEPTION", " INVALID_TOPIC_EXCEPTION", "fine UNKNOWN_TOPIC_OR_PARTITION"]
    );
    assert_eq!(shaped.missing, ["fine"]);
}
