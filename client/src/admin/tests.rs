//! Administering a cluster, over real and simulated sockets.

use super::*;
use crate::fake::{FakeCluster, Fault, TOPIC, in_both_worlds};
use protocol::api;

fn admin(cluster: &FakeCluster) -> Admin {
    Admin::new(cluster.client(), Duration::from_secs(20))
}

#[test]
fn topics_are_created_listed_and_deleted() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(2, 1).await;
        let admin = admin(&cluster);
        let later = Fault::Refuse(ErrorCode::NotController);
        cluster.script(api::CREATE_TOPICS, [later, Fault::Drop]);
        let wanted = [NewTopic::new("payments", 3, 2).with_config("retention.ms", "1000"), NewTopic::new(TOPIC, 1, 1)];
        let created = admin.create_topics(&wanted, false).await.expect("answers");
        assert_eq!(created["payments"].as_ref().map(|topic| topic.partitions), Ok(Some(3)));
        let exists = created[TOPIC].as_ref().expect_err("it is there already");
        assert_eq!(exists.code(), Some(ErrorCode::TopicAlreadyExists));
        let names = || async {
            let listed = admin.list_topics().await.expect("answers");
            listed.into_iter().map(|topic| topic.name).collect::<Vec<_>>()
        };
        assert_eq!(names().await, [TOPIC, "payments"]);
        let deleted = admin.delete_topics(&["payments".to_owned(), TOPIC.to_owned()]).await.expect("answers");
        assert_eq!(deleted["payments"], Ok(()));
        assert_eq!(deleted[TOPIC].as_ref().map_err(ClientError::code), Err(Some(ErrorCode::UnknownTopicOrPartition)));
        assert_eq!(names().await, [TOPIC]);
    });
}

#[test]
fn validating_creates_nothing() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(1, 1).await;
        let admin = admin(&cluster);
        let created = admin.create_topics(&[NewTopic::new("payments", 3, 1)], true).await.expect("answers");
        assert!(created["payments"].is_ok());
        assert_eq!(admin.list_topics().await.expect("answers").len(), 1);
    });
}

#[test]
fn a_topic_gains_partitions_and_never_loses_any() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(1, 1).await;
        let admin = admin(&cluster);
        admin.create_topics(&[NewTopic::new("payments", 3, 1)], false).await.expect("answers");
        cluster.script(api::CREATE_PARTITIONS, [Fault::Refuse(ErrorCode::NotController)]);
        let counts = |count| BTreeMap::from([("payments".to_owned(), count), ("gone".to_owned(), count)]);
        let grown = admin.create_partitions(&counts(5), false).await.expect("answers");
        assert_eq!(grown["payments"], Ok(()));
        assert_eq!(grown["gone"].as_ref().map_err(ClientError::code), Err(Some(ErrorCode::UnknownTopicOrPartition)));
        let again = admin.create_partitions(&counts(4), false).await.expect("answers");
        assert_eq!(again["payments"].as_ref().map_err(ClientError::code), Err(Some(ErrorCode::InvalidPartitions)));
    });
}

#[test]
fn a_topic_is_described_over_all_its_pages() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(1, 5).await;
        let described = admin(&cluster).describe_topics(&[TOPIC.to_owned()]).await.expect("answers");
        let partitions = &described[TOPIC].as_ref().expect("it exists").partitions;
        assert_eq!(partitions.iter().map(|partition| partition.partition.0).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        assert_eq!(cluster.versions_seen(api::DESCRIBE_TOPIC_PARTITIONS).len(), 3);
    });
}

#[test]
fn a_cluster_is_described() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(3, 1).await;
        let described = admin(&cluster).describe_cluster().await.expect("answers");
        assert_eq!((described.cluster_id.as_str(), described.brokers.len()), ("fake", 3));
        assert_eq!(described.controller, Some(BrokerId(1)));
    });
}

#[test]
fn a_broker_is_altered_through_itself() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(3, 1).await;
        let set = || ConfigChanges::from([("x".to_owned(), ConfigChange::Set("1".to_owned()))]);
        let resources = [
            ConfigResource::Topic(TOPIC.to_owned()),
            ConfigResource::Broker(Some(BrokerId(2))),
            ConfigResource::Broker(Some(BrokerId(3))),
        ];
        let changes = resources.iter().map(|resource| (resource.clone(), set())).collect();
        let outcomes = admin(&cluster).alter_configs(&changes, false).await.expect("answers");
        assert_eq!(outcomes, resources.map(|resource| (resource, Ok(()))).into());
    });
}

#[test]
fn nobody_there_is_told_in_time() {
    in_both_worlds(|| async {
        let admin = Admin::new(Cluster::new(crate::ClusterOptions::new(["127.0.0.1:1"])), Duration::from_millis(300));
        let started = time::now();
        let error = admin.list_topics().await.expect_err("nobody listens there");
        assert!(matches!(error, ClientError::NoBroker { .. }), "{error:?}");
        assert!(started.elapsed() < Duration::from_secs(5));
    });
}
