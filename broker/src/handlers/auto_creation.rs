//! Topics that are created because a client asked for their metadata (`auto.create.topics.enable`).
//!
//! Each is asked of the controller once at a time, however many clients want it (`DefaultAutoTopicCreationManager`).

use super::{Services, context::RequestContext, forward, view::text};
use crate::{config::Settings, coordinator::OFFSETS_TOPIC};
use protocol::{
    error_code::ErrorCode,
    messages::{
        CreateTopicsRequest, StrBytes,
        create_topics_request::{CreatableTopic, CreatableTopicConfig},
        topic_name,
    },
};
use runtime::{sync::Lock, time::Instant};
use std::collections::BTreeSet;

/// The rank of the list: taken under no other lock, and no other under it.
const RANK: u8 = 55;
/// The version of CreateTopics that the controller is asked in.
const VERSION: i16 = 7;

/// The topics that somebody on this broker is having created.
pub(crate) struct AutoCreation {
    asked: Lock<BTreeSet<String>>,
}

/// Names that this task asks for; free for others again when it is dropped.
struct Asked<'a> {
    of: &'a AutoCreation,
    names: Vec<String>,
}

impl AutoCreation {
    /// Nothing is being created.
    pub(super) fn new() -> Self {
        Self { asked: Lock::new(RANK, BTreeSet::new()) }
    }

    /// Has the topics created, with the broker's own defaults for partitions and replicas, and waits until the metadata
    /// holds all of them or the deadline passes. What cannot be created is logged; the caller looks at the metadata.
    pub(super) async fn create(
        &self,
        services: &Services,
        context: &RequestContext,
        names: Vec<String>,
        deadline: Instant,
    ) {
        let asked = self.ask(&names);
        if !asked.names.is_empty() && !request(services, context, &asked.names, deadline).await {
            return;
        }
        let there = services
            .metadata
            .wait_until(deadline, |image| names.iter().all(|name| image.topic_by_name(name).is_some()));
        there.await;
    }

    /// Takes on those names that nobody asks for yet.
    fn ask(&self, names: &[String]) -> Asked<'_> {
        let mut asked = self.asked.lock();
        let names = names.iter().filter(|name| asked.insert((*name).clone())).cloned().collect();
        Asked { of: self, names }
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        let mut asked = self.of.asked.lock();
        for name in &self.names {
            asked.remove(name);
        }
    }
}

/// Asks the controller, and says whether every topic exists now.
async fn request(services: &Services, context: &RequestContext, names: &[String], deadline: Instant) -> bool {
    let topic = |name: &String| match name.as_str() {
        OFFSETS_TOPIC => offsets_topic(&services.settings),
        name => CreatableTopic::default()
            .with_name(topic_name(name))
            .with_num_partitions(services.settings.num_partitions)
            .with_replication_factor(services.settings.default_replication_factor),
    };
    let timeout = i32::try_from((deadline - runtime::time::now()).as_millis()).unwrap_or(i32::MAX);
    let request =
        CreateTopicsRequest::default().with_topics(names.iter().map(topic).collect()).with_timeout_ms(timeout);
    match forward::to_controller(&services.controllers, context, VERSION, &request, deadline).await {
        Ok(response) => {
            let mut all = true;
            for topic in &response.topics {
                match ErrorCode::from_wire(topic.error_code) {
                    ErrorCode::None | ErrorCode::TopicAlreadyExists => {}
                    error => {
                        let message = topic.error_message.clone().unwrap_or_else(|| text(""));
                        tracing::warn!(topic = topic.name.as_str(), %error, %message, "a topic was not created");
                        all = false;
                    }
                }
            }
            all
        }
        Err(error) => {
            tracing::warn!(topics = names.len(), %error, "topics were not created");
            false
        }
    }
}

/// The topic in which groups live (`GroupCoordinator.groupMetadataTopicConfigs`).
fn offsets_topic(settings: &Settings) -> CreatableTopic {
    let config = |name: &str, value: String| {
        CreatableTopicConfig::default().with_name(text(name)).with_value(Some(StrBytes::from_string(value)))
    };
    CreatableTopic::default()
        .with_name(topic_name(OFFSETS_TOPIC))
        .with_num_partitions(settings.offsets_topic_partitions)
        .with_replication_factor(settings.offsets_topic_replicas)
        .with_configs(vec![
            config("cleanup.policy", "compact".to_owned()),
            config("segment.bytes", settings.offsets_topic_segment_bytes.to_string()),
            config("compression.type", "producer".to_owned()),
        ])
}
