//! What operators ask about partitions: more of them, other leaders.

use crate::support::{Cluster, connect_to_leader, create_topic, eventually, leader, metadata, run};
use protocol::{
    error_code::ErrorCode,
    messages::{
        CreatePartitionsRequest, ElectLeadersRequest, create_partitions_request::CreatePartitionsTopic,
        elect_leaders_request::TopicPartitions, topic_name,
    },
};

#[test]
fn any_broker_adds_partitions_and_knows_them_when_it_answers() {
    run(1, || async {
        let cluster = Cluster::start(3);
        cluster.whole().await;
        let connection = Cluster::connect(2).await;
        create_topic(&connection, "orders", 1, 3, &[]).await;
        for (version, count) in (0..=3).zip(2..) {
            let topic = |name| {
                CreatePartitionsTopic::default().with_name(topic_name(name)).with_count(count).with_assignments(None)
            };
            let request = CreatePartitionsRequest::default()
                .with_topics(vec![topic("orders"), topic("gone")])
                .with_timeout_ms(20_000);
            let validated = request.clone().with_validate_only(true);
            for request in [validated, request.clone(), request] {
                let response = connection.call_at(version, &request).await.unwrap();
                let told: Vec<_> =
                    response.results.iter().map(|topic| ErrorCode::from_wire(topic.error_code)).collect();
                let there = metadata(&connection, &["orders"]).await.topics[0].partitions.len() as i32;
                let before = if request.validate_only { count - 1 } else { count };
                assert_eq!(there, before, "version {version}");
                assert_eq!(told[1], ErrorCode::UnknownTopicOrPartition);
                assert!(matches!(told[0], ErrorCode::None | ErrorCode::InvalidPartitions), "{told:?}");
            }
        }
        eventually("leaders of the new partitions", async || {
            let topic = metadata(&connection, &["orders"]).await.topics[0].clone();
            topic.partitions.len() == 5 && topic.partitions.iter().all(|partition| partition.leader_id.0 > 0)
        })
        .await;
    });
}

#[test]
fn a_leader_that_is_not_preferred_gives_way_on_demand() {
    run(2, || async {
        let mut cluster = Cluster::start_with(3, &[("auto.leader.rebalance.enable", "false")]);
        cluster.whole().await;
        let connection = Cluster::connect(1).await;
        create_topic(&connection, "orders", 1, 3, &[]).await;
        let preferred = leader(&connection, "orders", 0).await;
        drop(connect_to_leader(&connection, "orders").await);
        cluster.stop(preferred).await;
        let other = if preferred == 1 { 2 } else { 1 };
        let connection = Cluster::connect(other).await;
        eventually("another leader", async || ![-1, preferred].contains(&leader(&connection, "orders", 0).await)).await;
        cluster.boot(preferred);
        let elect = |partition| {
            let topic = TopicPartitions::default().with_topic(topic_name("orders")).with_partitions(vec![partition]);
            ElectLeadersRequest::default().with_topic_partitions(Some(vec![topic])).with_timeout_ms(20_000)
        };
        eventually("the preferred leader", async || {
            let response = connection.call_at(2, &elect(0)).await.unwrap();
            let told = ErrorCode::from_wire(response.replica_election_results[0].partition_result[0].error_code);
            assert!(matches!(told, ErrorCode::None | ErrorCode::PreferredLeaderNotAvailable), "{told:?}");
            told == ErrorCode::None
        })
        .await;
        eventually("what was elected", async || leader(&connection, "orders", 0).await == preferred).await;
        for version in 0..=2 {
            let told = connection.call_at(version, &elect(0)).await.unwrap();
            let told = told.replica_election_results[0].partition_result[0].error_code;
            assert_eq!(ErrorCode::from_wire(told), ErrorCode::ElectionNotNeeded, "version {version}");
        }
        let all = ElectLeadersRequest::default().with_topic_partitions(None).with_timeout_ms(20_000);
        let told = connection.call_at(1, &all).await.unwrap();
        assert!(told.replica_election_results.iter().all(|topic| topic.partition_result.is_empty()));
    });
}
