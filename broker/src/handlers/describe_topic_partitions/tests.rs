use super::*;
use crate::handlers::fixture::{Cluster, LISTENER};
use protocol::messages::{
    StrBytes, TopicName,
    describe_topic_partitions_request::{Cursor as AskedCursor, TopicRequest},
};

const LIMIT: i32 = 2_000;

fn asked(names: &[&'static str], limit: i32) -> DescribeTopicPartitionsRequest {
    let topic = |name: &&'static str| TopicRequest::default().with_name(TopicName(StrBytes::from_static_str(name)));
    DescribeTopicPartitionsRequest::default()
        .with_topics(names.iter().map(topic).collect())
        .with_response_partition_limit(limit)
        .with_cursor(None)
}

fn from(mut request: DescribeTopicPartitionsRequest, topic: &str, partition: i32) -> DescribeTopicPartitionsRequest {
    request.cursor = Some(AskedCursor::default().with_topic_name(topic_name(topic)).with_partition_index(partition));
    request
}

/// A page as text: topics with their partitions, then the cursor.
fn page(cluster: &Cluster, request: &DescribeTopicPartitionsRequest, page_max: i32) -> String {
    let view = View { image: cluster.image(), listener: LISTENER, node_id: BrokerId(1) };
    let response = describe(view, request, page_max);
    let mut text: Vec<String> = response
        .topics
        .iter()
        .map(|topic| {
            let name = topic.name.as_ref().map_or("-", |name| name.as_str());
            match ErrorCode::from_wire(topic.error_code) {
                ErrorCode::None => {
                    let indexes: Vec<_> = topic.partitions.iter().map(|partition| partition.partition_index).collect();
                    format!("{name}{indexes:?}")
                }
                error => format!("{name} {error}"),
            }
        })
        .collect();
    if let Some(cursor) = response.next_cursor {
        text.push(format!("-> {}-{}", cursor.topic_name.as_str(), cursor.partition_index));
    }
    text.join(" ")
}

fn cluster() -> Cluster {
    Cluster::of(1).topic(3, "a", 3).topic(2, "b", 2).topic(1, "c", 2)
}

#[test]
fn everything_is_listed_in_the_order_of_names_where_nothing_is_named() {
    assert_eq!(page(&cluster(), &asked(&[], LIMIT), LIMIT), "a[0, 1, 2] b[0, 1] c[0, 1]");
}

#[test]
fn topics_are_answered_in_the_order_of_names_whatever_the_request_says() {
    assert_eq!(page(&cluster(), &asked(&["c", "a", "c"], LIMIT), LIMIT), "a[0, 1, 2] c[0, 1]");
}

#[test]
fn a_page_ends_inside_a_topic_and_the_next_begins_there() {
    let cluster = cluster();
    assert_eq!(page(&cluster, &asked(&[], 4), LIMIT), "a[0, 1, 2] b[0] -> b-1");
    assert_eq!(page(&cluster, &from(asked(&[], 4), "b", 1), LIMIT), "b[1] c[0, 1]");
}

#[test]
fn a_page_that_ends_with_a_topic_points_at_the_start_of_the_next() {
    let cluster = cluster();
    assert_eq!(page(&cluster, &asked(&[], 3), LIMIT), "a[0, 1, 2] -> b-0");
    assert_eq!(page(&cluster, &from(asked(&[], 3), "b", 0), LIMIT), "b[0, 1] c[0] -> c-1");
}

#[test]
fn the_brokers_limit_holds_where_the_client_asks_for_more_and_one_partition_always_comes() {
    let cluster = cluster();
    assert_eq!(page(&cluster, &asked(&[], LIMIT), 2), "a[0, 1] -> a-2");
    assert_eq!(page(&cluster, &asked(&[], 0), LIMIT), "a[0] -> a-1");
    assert_eq!(page(&cluster, &asked(&[], -5), LIMIT), "a[0] -> a-1");
}

#[test]
fn a_cursor_at_a_topic_that_is_gone_goes_on_with_the_next() {
    assert_eq!(page(&cluster(), &from(asked(&[], LIMIT), "aa", 7), LIMIT), "b[0, 1] c[0, 1]");
}

#[test]
fn a_cursor_past_the_last_partition_of_its_topic_goes_on_with_the_next_topic() {
    assert_eq!(page(&cluster(), &from(asked(&[], LIMIT), "b", 9), LIMIT), "b[] c[0, 1]");
}

#[test]
fn names_that_do_not_exist_are_said_so_without_costing_a_partition() {
    let request = asked(&["b", "gone", "no/name"], 2);
    assert_eq!(page(&cluster(), &request, LIMIT), "b[0, 1] -> gone-0", "the page is full, and the rest follows");
    assert_eq!(
        page(&cluster(), &from(request, "gone", 0), LIMIT),
        "gone UNKNOWN_TOPIC_OR_PARTITION no/name INVALID_TOPIC_EXCEPTION"
    );
}

#[test]
fn a_negative_cursor_is_refused() {
    assert_eq!(page(&cluster(), &from(asked(&["a"], LIMIT), "a", -1), LIMIT), "a INVALID_REQUEST");
}

#[test]
fn following_the_cursor_lists_each_partition_once() {
    let cluster = cluster();
    let view = View { image: cluster.image(), listener: LISTENER, node_id: BrokerId(1) };
    for limit in 1..8 {
        let mut seen = Vec::new();
        let mut request = asked(&[], limit);
        loop {
            let response = describe(view, &request, LIMIT);
            for topic in &response.topics {
                let name = topic.name.as_ref().expect("it has a name").to_string();
                seen.extend(topic.partitions.iter().map(|partition| (name.clone(), partition.partition_index)));
            }
            let Some(next) = response.next_cursor else { break };
            request = from(request, next.topic_name.as_str(), next.partition_index);
        }
        let all: Vec<_> = [("a", 3), ("b", 2), ("c", 2)]
            .into_iter()
            .flat_map(|(name, count)| (0..count).map(move |partition| (name.to_owned(), partition)))
            .collect();
        assert_eq!(seen, all, "limit {limit}");
    }
}
