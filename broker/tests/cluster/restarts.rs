//! Brokers that stop, in good order or not, and come back.

use crate::support::{Cluster, batch, connect_to_leader, create_topic, eventually, leader, metadata, produce, run};
use protocol::{
    error_code::ErrorCode,
    messages::{DeleteTopicsRequest, topic_name},
};
use runtime::time;
use std::time::Duration;

#[test]
fn a_leader_that_stops_in_good_order_hands_over_at_once() {
    run(1, || async {
        let mut cluster = Cluster::start(3);
        cluster.whole().await;
        let connection = Cluster::connect(1).await;
        create_topic(&connection, "orders", 1, 3, &[("min.insync.replicas", "2")]).await;
        let old = leader(&connection, "orders", 0).await;
        produce(&connect_to_leader(&connection, "orders").await, "orders", 0, batch(&["before"]), -1).await;
        let watcher = Cluster::connect(old % 3 + 1).await;
        let begun = time::now();
        cluster.stop(old).await;
        eventually("another leader", async || ![old, -1].contains(&leader(&watcher, "orders", 0).await)).await;
        let took = time::now() - begun;
        assert!(took < Duration::from_secs(2), "{took:?}");
        let new = leader(&watcher, "orders", 0).await;
        let connection = Cluster::connect(new).await;
        eventually("a leader that serves", async || {
            produce(&connection, "orders", 0, batch(&["after"]), -1).await.error_code == 0
        })
        .await;

        cluster.boot(old);
        eventually("three in sync again", async || {
            let answer = metadata(&watcher, &["orders"]).await;
            answer.topics[0].partitions[0].isr_nodes.len() == 3
        })
        .await;
    });
}

#[test]
fn acknowledged_records_survive_the_loss_of_their_leader() {
    for seed in 1..=5 {
        run(seed, || async {
            let mut cluster = Cluster::start(3);
            cluster.whole().await;
            let connection = Cluster::connect(1).await;
            create_topic(&connection, "orders", 1, 3, &[("min.insync.replicas", "2")]).await;
            let old = leader(&connection, "orders", 0).await;
            let first = connect_to_leader(&connection, "orders").await;
            for _ in 0..10 {
                assert_eq!(produce(&first, "orders", 0, batch(&["kept"]), -1).await.error_code, 0);
            }
            cluster.power_off(old);
            let begun = time::now();
            let watcher = Cluster::connect(old % 3 + 1).await;
            eventually("another leader", async || ![old, -1].contains(&leader(&watcher, "orders", 0).await)).await;
            let second = Cluster::connect(leader(&watcher, "orders", 0).await).await;
            let mut answer = produce(&second, "orders", 0, batch(&["next"]), -1).await;
            while answer.error_code != 0 {
                assert!(time::now() - begun < Duration::from_secs(20), "{:?}", ErrorCode::from_wire(answer.error_code));
                time::sleep(Duration::from_millis(20)).await;
                answer = produce(&second, "orders", 0, batch(&["next"]), -1).await;
            }
            assert!(answer.base_offset >= 10, "{}", answer.base_offset);
            cluster.boot(old);
            eventually("three in sync again", async || {
                let answer = metadata(&watcher, &["orders"]).await;
                answer.topics[0].partitions[0].isr_nodes.len() == 3
            })
            .await;
        });
    }
}

#[test]
fn a_single_node_comes_back_with_its_topics_and_records() {
    run(9, || async {
        let mut cluster = Cluster::start(1);
        cluster.whole().await;
        let connection = Cluster::connect(1).await;
        let id = create_topic(&connection, "orders", 1, 1, &[]).await;
        connect_to_leader(&connection, "orders").await;
        produce(&connection, "orders", 0, batch(&["a", "b", "c"]), -1).await;
        cluster.stop(1).await;
        cluster.boot(1);
        let connection = Cluster::connect(1).await;
        eventually("its leader", async || leader(&connection, "orders", 0).await == 1).await;
        assert_eq!(metadata(&connection, &["orders"]).await.topics[0].topic_id, id.0);
        eventually("a leader that serves", async || {
            let answer = produce(&connection, "orders", 0, batch(&["d"]), -1).await;
            answer.error_code == 0 && answer.base_offset == 3
        })
        .await;
    });
}

#[test]
fn a_whole_cluster_stops_without_anybody_waiting_for_controllers_that_are_gone() {
    run(10, || async {
        let mut cluster = Cluster::start(3);
        cluster.whole().await;
        let connection = Cluster::connect(1).await;
        create_topic(&connection, "orders", 6, 3, &[]).await;
        let begun = time::now();
        for id in 1..=3 {
            cluster.stop(id).await;
        }
        let took = time::now() - begun;
        assert!(took < Duration::from_secs(8), "{took:?}");
    });
}

#[test]
fn a_broker_whose_controllers_are_away_keeps_trying_and_serves_once_they_are_back() {
    run(11, || async {
        let mut cluster = Cluster::start(3);
        cluster.whole().await;
        for id in [1, 2, 3] {
            cluster.power_off(id);
        }
        cluster.boot(1);
        time::sleep(Duration::from_secs(20)).await;
        cluster.boot(2);
        cluster.boot(3);
        cluster.whole().await;
    });
}

#[test]
fn topics_that_were_deleted_while_a_broker_was_down_are_gone_when_it_comes_back() {
    run(12, || async {
        let mut cluster = Cluster::start(3);
        cluster.whole().await;
        let connection = Cluster::connect(1).await;
        let first = create_topic(&connection, "orders", 1, 3, &[]).await;
        let leading = connect_to_leader(&connection, "orders").await;
        assert_eq!(produce(&leading, "orders", 0, batch(&["old"]), -1).await.error_code, 0);
        cluster.stop(3).await;
        let deletion =
            DeleteTopicsRequest::default().with_topic_names(vec![topic_name("orders")]).with_timeout_ms(20_000);
        let deleted = connection.call_at(4, &deletion).await.unwrap();
        assert_eq!(ErrorCode::from_wire(deleted.responses[0].error_code), ErrorCode::None);
        let second = create_topic(&connection, "orders", 1, 2, &[]).await;
        assert_ne!(first, second);
        let leading = connect_to_leader(&connection, "orders").await;
        let answer = produce(&leading, "orders", 0, batch(&["new"]), -1).await;
        assert_eq!((answer.error_code, answer.base_offset), (0, 0));
        cluster.boot(3);
        let third = Cluster::connect(3).await;
        eventually("the new topic on the third broker", async || {
            metadata(&third, &["orders"]).await.topics[0].topic_id == second.0
        })
        .await;
    });
}
