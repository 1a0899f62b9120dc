//! Settings that are changed while the brokers run.

use crate::support::{Cluster, batch, connect_to_leader, create_topic, eventually, leader, produce_request, run};
use client::Connection;
use protocol::{
    error_code::ErrorCode,
    messages::{
        AlterConfigsRequest, DescribeConfigsRequest, IncrementalAlterConfigsRequest, StrBytes, alter_configs_request,
        describe_configs_request::DescribeConfigsResource,
        incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
    },
};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// Sets one key of one resource; without a value takes it back.
async fn set(connection: &Connection, kind: i8, name: &str, key: &str, value: Option<&str>) -> ErrorCode {
    let change = AlterableConfig::default()
        .with_name(text(key))
        .with_config_operation(i8::from(value.is_none()))
        .with_value(value.map(text));
    let resource = AlterConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configs(vec![change]);
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    let response = connection.call_at(1, &request).await.unwrap();
    ErrorCode::from_wire(response.responses[0].error_code)
}

/// The value of a key, and the number of its source.
async fn told(connection: &Connection, kind: i8, name: &str, key: &str) -> Option<(String, i8)> {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configuration_keys(Some(vec![text(key)]));
    let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
    let response = connection.call_at(4, &request).await.unwrap();
    let config = response.results.first()?.configs.first()?;
    Some((config.value.as_ref()?.to_string(), config.config_source))
}

async fn produced(connection: &Connection, value: &str) -> ErrorCode {
    let answer = connection.call_at(9, &produce_request("orders", 0, batch(&[value]), -1)).await.unwrap();
    ErrorCode::from_wire(answer.responses[0].partition_responses[0].error_code)
}

#[test]
fn a_changed_setting_holds_without_a_restart() {
    run(1, || async {
        let cluster = Cluster::start(3);
        cluster.whole().await;
        let connection = Cluster::connect(2).await;
        create_topic(&connection, "orders", 1, 3, &[]).await;
        let to_leader = connect_to_leader(&connection, "orders").await;
        let large = "x".repeat(2_000);
        assert_eq!(produced(&to_leader, &large).await, ErrorCode::None);

        assert_eq!(set(&connection, TOPIC, "orders", "max.message.bytes", Some("1000")).await, ErrorCode::None);
        eventually("the topic's own limit", async || produced(&to_leader, &large).await == ErrorCode::MessageTooLarge)
            .await;
        assert_eq!(set(&connection, TOPIC, "orders", "max.message.bytes", None).await, ErrorCode::None);
        eventually("no limit again", async || produced(&to_leader, &large).await == ErrorCode::None).await;

        assert_eq!(set(&connection, BROKER, "", "message.max.bytes", Some("1500")).await, ErrorCode::None);
        eventually("all brokers' limit", async || produced(&to_leader, &large).await == ErrorCode::MessageTooLarge)
            .await;
        let leads = leader(&connection, "orders", 0).await.to_string();
        assert_eq!(set(&to_leader, BROKER, &leads, "message.max.bytes", Some("5000")).await, ErrorCode::None);
        eventually("the broker's own limit", async || produced(&to_leader, &large).await == ErrorCode::None).await;
        assert_eq!(told(&to_leader, TOPIC, "orders", "max.message.bytes").await, Some(("5000".to_owned(), 2)));
        assert_eq!(told(&to_leader, BROKER, "", "message.max.bytes").await, Some(("1500".to_owned(), 3)));
    });
}

#[test]
fn more_replicas_that_must_be_in_sync_are_asked_for_at_once() {
    run(2, || async {
        let cluster = Cluster::start(2);
        cluster.whole().await;
        let connection = Cluster::connect(1).await;
        create_topic(&connection, "orders", 1, 1, &[]).await;
        let to_leader = connect_to_leader(&connection, "orders").await;
        assert_eq!(set(&connection, TOPIC, "orders", "min.insync.replicas", Some("2")).await, ErrorCode::None);
        eventually("two asked for", async || {
            told(&to_leader, TOPIC, "orders", "min.insync.replicas").await == Some(("2".to_owned(), 1))
        })
        .await;
        assert_eq!(produced(&to_leader, "one").await, ErrorCode::None, "no more than there are replicas");
    });
}

#[test]
fn another_brokers_settings_are_refused_and_the_older_way_is_served() {
    run(3, || async {
        let cluster = Cluster::start(2);
        cluster.whole().await;
        let connection = Cluster::connect(1).await;
        assert_eq!(set(&connection, BROKER, "2", "log.retention.ms", Some("5")).await, ErrorCode::InvalidRequest);
        assert_eq!(set(&connection, BROKER, "1", "node.id", Some("5")).await, ErrorCode::InvalidRequest);
        assert_eq!(
            set(&connection, TOPIC, "nowhere", "retention.ms", Some("5")).await,
            ErrorCode::UnknownTopicOrPartition
        );
        create_topic(&connection, "orders", 1, 2, &[("segment.ms", "5000")]).await;
        let config = alter_configs_request::AlterableConfig::default()
            .with_name(text("retention.ms"))
            .with_value(Some(text("7000")));
        let resource = alter_configs_request::AlterConfigsResource::default()
            .with_resource_type(TOPIC)
            .with_resource_name(text("orders"))
            .with_configs(vec![config]);
        for version in 0..=2 {
            let request = AlterConfigsRequest::default().with_resources(vec![resource.clone()]);
            let response = connection.call_at(version, &request).await.unwrap();
            assert_eq!(response.responses[0].error_code, 0);
        }
        eventually("what was not named is taken back", async || {
            told(&connection, TOPIC, "orders", "segment.ms").await == Some(("604800000".to_owned(), 5))
        })
        .await;
        assert_eq!(told(&connection, TOPIC, "orders", "retention.ms").await, Some(("7000".to_owned(), 1)));
    });
}
