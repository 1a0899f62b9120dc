//! On real sockets and files, ports chosen by the system.

use crate::support::{CLUSTER, FakeBroker, Outcome, connect, fetch_metadata, leader_by, soon};
use controller::{Controller, ControllerConfig, ControllerError, StartError};
use metadata::{config::Properties, image::Image, record::Record};
use protocol::{
    error_code::ErrorCode,
    ids::BrokerId,
    messages::{BrokerHeartbeatRequest, DescribeClusterRequest},
};
use runtime::{
    disk::Disk,
    net::Listener,
    task,
    time::{self, Instant},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// A directory of this test's own, removed at the end.
struct Scratch(String);

impl Scratch {
    fn new() -> Self {
        Self(format!("{}/{}", env!("CARGO_TARGET_TMPDIR"), runtime::rand::uuid()))
    }

    fn disk(&self, id: BrokerId) -> Disk {
        Disk::real(format!("{}/{id}", self.0)).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let removed = Disk::real(&self.0).and_then(|disk| disk.remove_directory(""));
        assert!(removed.is_ok(), "{removed:?}");
    }
}

fn config(id: BrokerId, voters: &BTreeMap<BrokerId, String>) -> ControllerConfig {
    ControllerConfig::new(id, CLUSTER, "127.0.0.1:0", voters.clone(), Arc::new(Properties::new()))
}

/// Binds first, and then knows where everybody is.
async fn start(count: i32, scratch: &Scratch) -> (BTreeMap<BrokerId, String>, BTreeMap<BrokerId, Controller>) {
    let mut listeners = BTreeMap::new();
    for id in 1..=count {
        listeners.insert(BrokerId(id), Listener::bind("127.0.0.1:0").await.unwrap());
    }
    let voters: BTreeMap<BrokerId, String> =
        listeners.iter().map(|(id, listener)| (*id, listener.local_address().to_string())).collect();
    let mut controllers = BTreeMap::new();
    for (id, listener) in listeners {
        let controller = Controller::start_on(listener, config(id, &voters), scratch.disk(id)).await.unwrap();
        controllers.insert(id, controller);
    }
    (voters, controllers)
}

async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline: Instant = soon();
    while !condition().await {
        assert!(time::now() < deadline, "{what} never came");
        time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn three_controllers_keep_a_topic_when_one_of_them_is_gone() {
    task::block_on_real(async {
        let scratch = Scratch::new();
        let (voters, mut controllers) = start(3, &scratch).await;
        // It accepts connections, so no probe can take the broker for dead.
        let listener = Listener::bind("127.0.0.1:0").await.unwrap();
        let mut broker = FakeBroker::new(101, &voters, "127.0.0.1", listener.local_address().port());
        broker.join(soon()).await.unwrap();
        assert_eq!(broker.create_topic("before", soon()).await, Outcome::Done);
        assert_eq!(broker.create_topic("before", soon()).await, Outcome::Refused(ErrorCode::TopicAlreadyExists));

        let active = broker.active().unwrap();
        controllers.remove(&active).unwrap().stop().await;
        broker.disconnect();
        assert_eq!(broker.create_topic("after", soon()).await, Outcome::Done);
        assert_ne!(broker.active(), Some(active));
        assert_eq!(broker.delete_topic("before", soon()).await, Outcome::Done);

        let two: Vec<&Controller> = controllers.values().collect();
        eventually("the same image on both", async || two[0].image() == two[1].image()).await;
        let image = two[0].image();
        assert!(image.topic_by_name("after").is_some() && image.topic_by_name("before").is_none());
        assert_eq!(two[0].image().digest(), two[1].image().digest());

        // The third comes back where it was, and catches up.
        let restarted_config = ControllerConfig { bind: voters[&active].clone(), ..config(active, &voters) };
        let restarted = Controller::start(restarted_config, scratch.disk(active)).await.unwrap();
        eventually("the same image on the third", async || restarted.image() == image).await;
        restarted.stop().await;
        for controller in controllers.into_values() {
            controller.stop().await;
        }
    });
}

#[test]
fn a_single_controller_keeps_everything_over_a_restart() {
    task::block_on_real(async {
        let scratch = Scratch::new();
        let (voters, mut controllers) = start(1, &scratch).await;
        let mut broker = FakeBroker::new(101, &voters, "127.0.0.1", 9);
        broker.join(soon()).await.unwrap();
        assert_eq!(broker.create_topic("kept", soon()).await, Outcome::Done);
        let controller = controllers.remove(&BrokerId(1)).unwrap();
        let image = controller.image();
        controller.stop().await;

        let again = ControllerConfig { bind: voters[&BrokerId(1)].clone(), ..config(BrokerId(1), &voters) };
        let controller = Controller::start(again, scratch.disk(BrokerId(1))).await.unwrap();
        assert_eq!(controller.image(), image, "what was committed is applied again before it starts");
        controller.stop().await;
    });
}

#[test]
fn brokers_follow_the_metadata_log_of_any_controller() {
    task::block_on_real(async {
        let scratch = Scratch::new();
        let (voters, controllers) = start(3, &scratch).await;
        let mut broker = FakeBroker::new(101, &voters, "127.0.0.1", 9);
        broker.register(soon()).await.unwrap();
        let active = broker.active().unwrap();
        let follower = voters.iter().find(|(id, _)| **id != active).unwrap();
        let connection = connect(follower.1).await.unwrap();

        let mut image = Image::default();
        eventually("the registration", async || {
            let part = fetch_metadata(&connection, CLUSTER, image.offset().0, 1_000).await;
            assert_eq!((part.error_code, part.snapshot), (0, None));
            assert_eq!(part.first, image.offset());
            for bytes in part.records {
                let offset = image.offset();
                metadata::delta::apply(&mut image, offset, &Record::decode(&bytes).unwrap());
            }
            image.broker(broker.id).is_some()
        })
        .await;
        let registration = image.broker(broker.id).unwrap();
        assert_eq!((registration.epoch, registration.fenced), (broker.epoch, true));

        // Nothing new: the answer waits as long as it may.
        let begun = time::now();
        let part = fetch_metadata(&connection, CLUSTER, image.offset().0, 200).await;
        assert!(part.records.is_empty() && begun.elapsed() >= Duration::from_millis(200));
        assert_eq!(part.leader_id, active);

        let refused = fetch_metadata(&connection, "another cluster", 0, 0).await;
        assert_eq!(refused.error_code, ErrorCode::InconsistentClusterId.code());
        for controller in controllers.into_values() {
            controller.stop().await;
        }
    });
}

#[test]
fn a_controller_that_is_not_active_says_so() {
    task::block_on_real(async {
        let scratch = Scratch::new();
        let (voters, controllers) = start(3, &scratch).await;
        let mut active = None;
        eventually("a leader", async || {
            active = leader_by(&voters[&BrokerId(1)]).await;
            active.is_some()
        })
        .await;
        let follower = voters.iter().find(|(id, _)| Some(**id) != active).unwrap();
        let connection = connect(follower.1).await.unwrap();
        let answer = connection.call(&BrokerHeartbeatRequest::default().with_broker_id(101.into())).await.unwrap();
        assert_eq!(answer.error_code, ErrorCode::NotController.code());

        // Another leader may be elected meanwhile, on a busy machine: in the end all say the same.
        eventually("all are told of, and the leader", async || {
            active = leader_by(&voters[&BrokerId(1)]).await;
            let answer = connection.call(&DescribeClusterRequest::default().with_endpoint_type(2)).await.unwrap();
            let described: BTreeMap<BrokerId, String> = answer
                .brokers
                .iter()
                .map(|controller| (controller.broker_id.into(), format!("{}:{}", controller.host, controller.port)))
                .collect();
            active.is_some() && (described, BrokerId::from_wire(answer.controller_id.0)) == (voters.clone(), active)
        })
        .await;
        let answer = connection.call(&DescribeClusterRequest::default().with_endpoint_type(1)).await.unwrap();
        assert_eq!(answer.error_code, ErrorCode::MismatchedEndpointType.code());
        for controller in controllers.into_values() {
            controller.stop().await;
        }
    });
}

#[test]
fn a_broker_whose_process_is_gone_is_fenced_long_before_its_session_ends() {
    task::block_on_real(async {
        let scratch = Scratch::new();
        let (voters, mut controllers) = start(1, &scratch).await;
        let listener = Listener::bind("127.0.0.1:0").await.unwrap();
        let mut broker = FakeBroker::new(101, &voters, "127.0.0.1", listener.local_address().port());
        broker.join(soon()).await.unwrap();
        let controller = controllers.remove(&BrokerId(1)).unwrap();
        assert!(!controller.image().broker(broker.id).unwrap().fenced);
        let gone = time::now();
        drop(listener);
        broker.disconnect();
        eventually("the fencing", async || controller.image().broker(broker.id).unwrap().fenced).await;
        let taken = gone.elapsed();
        assert!(taken < Duration::from_millis(1_500), "half of the session timeout has not passed: {taken:?}");
        controller.stop().await;
    });
}

#[test]
fn a_controller_refuses_another_clusters_directory_and_one_in_use() {
    task::block_on_real(async {
        let scratch = Scratch::new();
        let (voters, mut controllers) = start(1, &scratch).await;
        let id = BrokerId(1);
        let second = Controller::start(config(id, &voters), scratch.disk(id)).await;
        assert!(matches!(second, Err(ControllerError::Locked { .. })), "{:?}", second.err());
        controllers.remove(&id).unwrap().stop().await;

        let other = ControllerConfig { cluster_id: "other".to_owned(), ..config(id, &voters) };
        let other = Controller::start(other, scratch.disk(id)).await;
        assert!(matches!(other, Err(ControllerError::Raft(StartError::Log(_)))), "{:?}", other.err());

        let stranger = Controller::start(config(BrokerId(9), &voters), scratch.disk(BrokerId(9))).await;
        assert!(matches!(stranger, Err(ControllerError::NotAVoter(BrokerId(9)))));
    });
}
