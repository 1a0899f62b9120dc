//! What `kafka-topics` and its like ask.

use crate::support::{CLUSTER, Cluster, connect, create_topic, eventually, leader, metadata, run};
use protocol::{
    error_code::ErrorCode,
    messages::{
        ApiVersionsRequest, CreateTopicsRequest, DeleteTopicsRequest, DescribeClusterRequest, DescribeConfigsRequest,
        DescribeTopicPartitionsRequest, MetadataRequest, StrBytes, create_topics_request::CreatableTopic,
        delete_topics_request::DeleteTopicState, describe_configs_request::DescribeConfigsResource,
        describe_topic_partitions_request::TopicRequest, metadata_request::MetadataRequestTopic, topic_name,
    },
};

fn text(text: &'static str) -> StrBytes {
    StrBytes::from_static_str(text)
}

#[test]
fn kafka_topics_creates_lists_describes_and_deletes() {
    run(1, || async {
        let cluster = Cluster::start(3);
        cluster.whole().await;
        let connection = Cluster::connect(2).await;
        let software = ApiVersionsRequest::default()
            .with_client_software_name(text("apache-kafka-java"))
            .with_client_software_version(text("4.3.1"));
        let versions = connection.call_at(4, &software).await.unwrap();
        assert_eq!(versions.error_code, 0);
        assert_eq!(versions.finalized_features[0].name, text("metadata.version"));

        let described = connection.call_at(2, &DescribeClusterRequest::default()).await.unwrap();
        let brokers: Vec<_> = described.brokers.iter().map(|broker| (broker.broker_id.0, broker.port)).collect();
        assert_eq!(brokers, [(1, 9092), (2, 9092), (3, 9092)]);
        assert_eq!((described.cluster_id.as_str(), described.controller_id.0), (CLUSTER, 2));

        let id = create_topic(&connection, "orders", 3, 3, &[("retention.ms", "3600000")]).await;
        let listed = connection.call_at(13, &MetadataRequest::default().with_topics(None)).await.unwrap();
        let names: Vec<_> = listed.topics.iter().map(|topic| topic.name.as_ref().unwrap().to_string()).collect();
        assert_eq!(names, ["orders"]);

        let asked = TopicRequest::default().with_name(topic_name("orders"));
        let request = DescribeTopicPartitionsRequest::default()
            .with_topics(vec![asked])
            .with_response_partition_limit(2_000)
            .with_cursor(None);
        let described = connection.call_at(0, &request).await.unwrap();
        let topic = &described.topics[0];
        assert_eq!((topic.topic_id, topic.partitions.len(), topic.topic_authorized_operations), (id.0, 3, 0x0df8));
        assert!(topic.partitions.iter().all(|partition| partition.replica_nodes.len() == 3));
        assert!(topic.partitions.iter().all(|partition| partition.leader_id.0 > 0));

        let resource = DescribeConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(text("orders"))
            .with_configuration_keys(None);
        let request = DescribeConfigsRequest::default().with_resources(vec![resource]).with_include_synonyms(true);
        let configs = connection.call_at(4, &request).await.unwrap();
        let retention = configs.results[0].configs.iter().find(|config| config.name == text("retention.ms")).unwrap();
        assert_eq!((retention.value.clone().unwrap(), retention.config_source), (text("3600000"), 1));
        assert!(configs.results[0].configs.len() > 25, "every setting is told, with defaults");

        let state = DeleteTopicState::default().with_name(None).with_topic_id(id.0);
        let request = DeleteTopicsRequest::default().with_topics(vec![state]).with_timeout_ms(20_000);
        let deleted = connection.call_at(6, &request).await.unwrap();
        assert_eq!((deleted.responses[0].error_code, deleted.responses[0].topic_id), (0, id.0));
        let gone = &metadata(&connection, &["orders"]).await.topics[0];
        assert_eq!(ErrorCode::from_wire(gone.error_code), ErrorCode::UnknownTopicOrPartition);
    });
}

#[test]
fn any_broker_forwards_what_the_controller_decides() {
    run(2, || async {
        let cluster = Cluster::start(3);
        cluster.whole().await;
        for id in 1..=3 {
            let connection = Cluster::connect(id).await;
            let name = format!("by-{id}");
            create_topic(&connection, &name, 1, 2, &[]).await;
            assert!(leader(&connection, &name, 0).await > 0, "whoever is told that it exists finds it there");
        }
        let connection = Cluster::connect(1).await;
        let bad = |name: &str, partitions: i32, replicas: i16| {
            CreatableTopic::default()
                .with_name(topic_name(name))
                .with_num_partitions(partitions)
                .with_replication_factor(replicas)
        };
        let topics = vec![bad("by-1", 1, 1), bad("a/b", 1, 1), bad("wide", 1, 7), bad("empty", 0, 1)];
        let request = CreateTopicsRequest::default().with_topics(topics).with_timeout_ms(20_000);
        for version in [2, 5, 7] {
            let response = connection.call_at(version, &request).await.unwrap();
            let told: Vec<_> = response.topics.iter().map(|topic| ErrorCode::from_wire(topic.error_code)).collect();
            assert_eq!(
                told,
                [
                    ErrorCode::TopicAlreadyExists,
                    ErrorCode::InvalidTopicException,
                    ErrorCode::InvalidReplicationFactor,
                    ErrorCode::InvalidPartitions,
                ]
            );
        }
    });
}

#[test]
fn a_topic_that_is_asked_for_is_created_once_and_only_where_that_is_wanted() {
    run(3, || async {
        let cluster = Cluster::start(1);
        cluster.whole().await;
        let connection = Cluster::connect(1).await;
        let ask = |allow| {
            let topic = MetadataRequestTopic::default().with_name(Some(topic_name("wanted")));
            MetadataRequest::default().with_topics(Some(vec![topic])).with_allow_auto_topic_creation(allow)
        };
        let unknown = connection.call_at(9, &ask(false)).await.unwrap();
        assert_eq!(ErrorCode::from_wire(unknown.topics[0].error_code), ErrorCode::UnknownTopicOrPartition);
        let other = Cluster::connect(1).await;
        let request = ask(true);
        let (one, two) = futures_util::join!(connection.call_at(9, &request), other.call_at(12, &request));
        for answer in [one.unwrap(), two.unwrap()] {
            assert_eq!(ErrorCode::from_wire(answer.topics[0].error_code), ErrorCode::None);
            assert_eq!(answer.topics[0].partitions.len(), 1);
        }
    });
}

#[test]
fn a_broker_describes_itself_and_nobody_else() {
    run(4, || async {
        let cluster = Cluster::start(2);
        cluster.whole().await;
        let connection = Cluster::connect(1).await;
        let resource = |kind: i8, name: &'static str| {
            DescribeConfigsResource::default()
                .with_resource_type(kind)
                .with_resource_name(text(name))
                .with_configuration_keys(None)
        };
        let resources =
            vec![resource(4, "1"), resource(4, "2"), resource(4, "x"), resource(2, "none"), resource(99, "")];
        let request = DescribeConfigsRequest::default().with_resources(resources);
        for version in 1..=4 {
            let response = connection.call_at(version, &request).await.unwrap();
            let told: Vec<_> = response.results.iter().map(|result| ErrorCode::from_wire(result.error_code)).collect();
            assert_eq!(
                told,
                [
                    ErrorCode::None,
                    ErrorCode::InvalidRequest,
                    ErrorCode::InvalidRequest,
                    ErrorCode::UnknownTopicOrPartition,
                    ErrorCode::InvalidRequest,
                ]
            );
            let lag = response.results[0].configs.iter().find(|config| config.name == text("replica.lag.time.max.ms"));
            assert_eq!(lag.unwrap().value, Some(text("2000")));
        }
    });
}

#[test]
fn one_listener_in_the_configuration_still_gives_brokers_one_of_their_own() {
    run(5, || async {
        let cluster = Cluster::start(1);
        cluster.whole().await;
        let connection = Cluster::connect(1).await;
        let described = connection.call_at(2, &DescribeClusterRequest::default()).await.unwrap();
        assert_eq!((described.brokers[0].host.as_str(), described.brokers[0].port), ("10.0.0.1", 9092));
        let probe = protocol::internal::BrokerProbeRequest {
            principal: "User:somebody".to_owned(),
            cluster_id: CLUSTER.to_owned(),
            controller_id: protocol::ids::BrokerId(1),
        };
        assert!(connection.call(&probe).await.is_err(), "what brokers say to each other does not exist for clients");
    });
}

#[test]
fn controllers_probe_brokers_on_their_own_listener() {
    run(6, || async {
        let cluster = Cluster::start(3);
        cluster.whole().await;
        let connection = connect(&Cluster::inter_broker_address(2)).await;
        let probe = |cluster_id: &str| protocol::internal::BrokerProbeRequest {
            principal: "User:controller-1".to_owned(),
            cluster_id: cluster_id.to_owned(),
            controller_id: protocol::ids::BrokerId(1),
        };
        let answer = connection.call(&probe(CLUSTER)).await.unwrap();
        assert_eq!((answer.error_code, answer.broker_id.0), (0, 2));
        assert!(answer.broker_epoch.0 >= 0);
        let answer = connection.call(&probe("AAAAAAAAAAAAAAAAAAAAAg")).await.unwrap();
        assert_eq!(ErrorCode::from_wire(answer.error_code), ErrorCode::InconsistentClusterId);
        eventually("metadata on the brokers' listener is not served", async || {
            connection.call(&MetadataRequest::default()).await.is_err()
        })
        .await;
    });
}
