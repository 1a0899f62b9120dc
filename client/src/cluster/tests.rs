//! Following a cluster whose leaders move and whose brokers go away, over real and simulated sockets.

use super::*;
use crate::fake::{FakeCluster, Fault, TOPIC, in_both_worlds};
use protocol::api;
use protocol::ids::{LeaderEpoch, PartitionIndex};

const LONG: Duration = Duration::from_secs(20);
const P0: PartitionIndex = PartitionIndex(0);

fn orders() -> PartitionName {
    PartitionName::new(TOPIC, P0)
}

/// Waits for a leader, wanting newer metadata all the time as a producer would; says how long it took.
async fn wait_for_leader(cluster: &Cluster, broker: i32) -> Duration {
    let started = time::now();
    let mut changes = cluster.changes();
    while cluster.leader(&orders()).map(|leader| leader.broker) != Some(BrokerId(broker)) {
        cluster.request_refresh();
        time::timeout(LONG, changes.changed()).await.expect("it changes").expect("it is followed");
    }
    started.elapsed()
}

#[test]
fn a_topic_is_found_through_any_broker_of_the_list() {
    in_both_worlds(|| async {
        let fake = FakeCluster::start(2, 3).await;
        let mut addresses = fake.addresses();
        addresses[0] = "127.0.0.1:1".to_owned();
        let cluster = Cluster::new(ClusterOptions::new(addresses));
        let topic = cluster.topic(TOPIC, LONG).await.expect("broker 2 answers");
        assert_eq!(topic.partitions.len(), 3);
        assert_eq!(cluster.leader(&orders()), Some(Leader { broker: BrokerId(1), leader_epoch: LeaderEpoch(0) }));
        assert_eq!(cluster.view().cluster_id(), Some("fake"));
    });
}

#[test]
fn a_topic_that_nobody_has_is_told_when_the_time_is_over() {
    in_both_worlds(|| async {
        let cluster = FakeCluster::start(1, 1).await.client();
        let missing = cluster.topic("nowhere", Duration::from_millis(300)).await;
        assert_eq!(missing, Err(ClientError::UnknownTopic { topic: "nowhere".to_owned() }));
    });
}

#[test]
fn a_new_leader_is_found_soon_after_its_election() {
    in_both_worlds(|| async {
        let fake = FakeCluster::start(3, 1).await;
        let cluster = fake.client();
        cluster.topic(TOPIC, LONG).await.expect("it exists");
        fake.stop_broker(BrokerId(1));
        let waiting = {
            let cluster = cluster.clone();
            task::spawn(async move { wait_for_leader(&cluster, 2).await })
        };
        time::sleep(Duration::from_millis(2500)).await;
        let elected = time::now();
        fake.elect(P0, BrokerId(2));
        waiting.await.expect("it is found");
        assert!(elected.elapsed() < Duration::from_millis(400), "found after {:?}", elected.elapsed());
    });
}

#[test]
fn a_new_leader_is_found_while_the_old_one_answers_nothing() {
    in_both_worlds(|| async {
        let fake = FakeCluster::start(3, 1).await;
        let cluster = fake.client();
        cluster.topic(TOPIC, LONG).await.expect("it exists");
        fake.script(api::API_VERSIONS, [Fault::Wait(LONG)]);
        assert!(cluster.open_connection(BrokerId(1), Lane::Produce).is_none());
        fake.elect(P0, BrokerId(2));
        let mut changes = cluster.changes();
        let found = async {
            while cluster.leader(&orders()).map(|leader| leader.broker) != Some(BrokerId(2)) {
                changes.changed().await.expect("it is followed");
            }
        };
        time::timeout(Duration::from_secs(5), found).await.expect("nobody had to want newer metadata");
    });
}

#[test]
fn a_broker_that_hangs_does_not_keep_a_refresh_waiting() {
    in_both_worlds(|| async {
        let fake = FakeCluster::start(3, 1).await;
        let cluster = fake.client();
        cluster.topic(TOPIC, LONG).await.expect("it exists");
        fake.script(api::METADATA, [Fault::Wait(LONG)]);
        let started = time::now();
        cluster.refresh().await.expect("another broker answers");
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    });
}

#[test]
fn brokers_are_found_again_through_the_list() {
    in_both_worlds(|| async {
        let fake = FakeCluster::start(1, 1).await;
        let cluster = fake.client();
        cluster.topic(TOPIC, LONG).await.expect("it exists");
        fake.stop_broker(BrokerId(1));
        assert!(matches!(cluster.refresh().await, Err(ClientError::NoBroker { .. })));
        assert!(cluster.any_connection(Duration::from_millis(200)).await.is_err());
    });
}

#[test]
fn a_connection_is_shared_and_replaced_when_it_closes() {
    in_both_worlds(|| async {
        let fake = FakeCluster::start(1, 1).await;
        let cluster = fake.client();
        cluster.topic(TOPIC, LONG).await.expect("it exists");
        let first = cluster.connection(BrokerId(1), Lane::Produce, LONG).await.expect("it runs");
        let again = cluster.connection(BrokerId(1), Lane::Produce, LONG).await.expect("it runs");
        assert!(first.is_same(&again));
        let other = cluster.connection(BrokerId(1), Lane::Fetch, LONG).await.expect("it runs");
        assert!(!first.is_same(&other), "each lane has its own");
        let mut changes = cluster.changes();
        first.close();
        changes.changed().await.expect("it is followed");
        let next = cluster.connection(BrokerId(1), Lane::Produce, LONG).await.expect("it runs");
        assert!(!first.is_same(&next));
    });
}

#[test]
fn nobody_waits_for_a_closed_cluster() {
    in_both_worlds(|| async {
        let fake = FakeCluster::start(1, 1).await;
        let cluster = Cluster::new(ClusterOptions::new(["127.0.0.1:1"]));
        let waiting = {
            let cluster = cluster.clone();
            task::spawn(async move { cluster.topic(TOPIC, LONG).await })
        };
        time::sleep(Duration::from_millis(20)).await;
        cluster.close();
        assert_eq!(waiting.await.expect("it ends"), Err(ClientError::Stopped));
        assert_eq!(cluster.refresh().await, Err(ClientError::Stopped));
        drop(fake);
    });
}
