use super::*;
use crate::messages::Request as _;

#[test]
fn the_table_is_in_the_order_of_its_keys_and_found_by_them() {
    assert!(API_TABLE.is_sorted_by(|one, other| one.key < other.key));
    for api in API_TABLE {
        assert_eq!(find(api.key).unwrap().name, api.name);
        assert!(api.advertised_min <= api.min && api.min <= api.max, "{}", api.name);
        assert!(!api.planes.is_empty(), "{}", api.name);
    }
    assert!(find(ApiKey(17)).is_none());
}

#[test]
fn keys_of_our_own_and_of_the_controller_do_not_exist_for_clients() {
    for api in API_TABLE.iter().filter(|api| api.is_on(Plane::Client)) {
        assert!(api.key.0 < 20_000, "{}", api.name);
        assert!(![52, 53, 54, 56, 58, 59, 62, 63, 67, 70, 73, 82].contains(&api.key.0), "{}", api.name);
    }
}

#[test]
fn what_a_client_is_told_is_what_kafka_4_3_advertises_or_less() {
    // From a real broker: key, minimum, maximum.
    let kafka = [
        (0, 0, 13),
        (1, 4, 18),
        (2, 1, 11),
        (3, 0, 13),
        (8, 2, 10),
        (9, 1, 10),
        (10, 0, 6),
        (11, 0, 9),
        (12, 0, 4),
        (13, 0, 5),
        (14, 0, 5),
        (15, 0, 6),
        (16, 0, 5),
        (18, 0, 4),
        (19, 2, 7),
        (20, 1, 6),
        (21, 0, 2),
        (22, 0, 5),
        (23, 2, 4),
        (32, 1, 4),
        (33, 0, 2),
        (34, 1, 2),
        (35, 1, 5),
        (37, 0, 3),
        (42, 0, 2),
        (43, 0, 2),
        (44, 0, 1),
        (45, 0, 1),
        (46, 0, 0),
        (47, 0, 0),
        (55, 0, 2),
        (57, 0, 2),
        (60, 0, 2),
        (61, 0, 0),
        (64, 0, 0),
        (68, 0, 1),
        (69, 0, 1),
        (74, 0, 1),
        (75, 0, 0),
    ];
    let answer = api_versions_response(4, Plane::Client, &FinalizedFeatures::default(), &[]);
    let ours: Vec<_> =
        answer.api_keys.iter().map(|range| (range.api_key, range.min_version, range.max_version)).collect();
    assert_eq!(ours.len(), kafka.len());
    for (key, min, max) in ours {
        let theirs = kafka.iter().find(|theirs| theirs.0 == key).unwrap();
        assert_eq!(min, theirs.1, "a minimum is never raised: {key}");
        assert!(max <= theirs.2, "{key}");
    }
}

#[test]
fn the_codec_covers_every_version_that_is_served() {
    fn covers<T: crate::messages::Request>() {
        let api = find(ApiKey(T::KEY)).unwrap();
        assert!(T::VERSIONS.min <= api.min && api.max <= T::VERSIONS.max, "{}", api.name);
        for version in api.min..=api.max {
            assert_eq!(T::header_version(version), api.request_header_version(version), "{} v{version}", api.name);
            let response = <T::Response as crate::messages::HeaderVersion>::header_version(version);
            assert_eq!(response, api.response_header_version(version), "{} v{version}", api.name);
        }
    }
    use crate::internal::*;
    use crate::messages::*;
    covers::<ProduceRequest>();
    covers::<FetchRequest>();
    covers::<ListOffsetsRequest>();
    covers::<MetadataRequest>();
    covers::<ApiVersionsRequest>();
    covers::<CreateTopicsRequest>();
    covers::<DeleteTopicsRequest>();
    covers::<DeleteRecordsRequest>();
    covers::<InitProducerIdRequest>();
    covers::<OffsetForLeaderEpochRequest>();
    covers::<DescribeConfigsRequest>();
    covers::<CreatePartitionsRequest>();
    covers::<ElectLeadersRequest>();
    covers::<AlterPartitionReassignmentsRequest>();
    covers::<ListPartitionReassignmentsRequest>();
    covers::<AlterReplicaLogDirsRequest>();
    covers::<AssignReplicasToDirsRequest>();
    covers::<DescribeLogDirsRequest>();
    covers::<DescribeQuorumRequest>();
    covers::<UpdateFeaturesRequest>();
    covers::<UnregisterBrokerRequest>();
    covers::<AlterConfigsRequest>();
    covers::<IncrementalAlterConfigsRequest>();
    covers::<AlterPartitionRequest>();
    covers::<EnvelopeRequest>();
    covers::<DescribeClusterRequest>();
    covers::<DescribeProducersRequest>();
    covers::<BrokerRegistrationRequest>();
    covers::<BrokerHeartbeatRequest>();
    covers::<AllocateProducerIdsRequest>();
    covers::<ListConfigResourcesRequest>();
    covers::<DescribeTopicPartitionsRequest>();
    covers::<OffsetCommitRequest>();
    covers::<OffsetFetchRequest>();
    covers::<FindCoordinatorRequest>();
    covers::<JoinGroupRequest>();
    covers::<HeartbeatRequest>();
    covers::<LeaveGroupRequest>();
    covers::<SyncGroupRequest>();
    covers::<DescribeGroupsRequest>();
    covers::<ListGroupsRequest>();
    covers::<DeleteGroupsRequest>();
    covers::<OffsetDeleteRequest>();
    covers::<ConsumerGroupHeartbeatRequest>();
    covers::<ConsumerGroupDescribeRequest>();
    covers::<RaftRequest>();
    covers::<MetadataFetchRequest>();
    covers::<BrokerProbeRequest>();
    assert_eq!(API_TABLE.len(), 48, "a row was added: add its request here");
}

#[test]
fn features_are_told_from_version_3_on_and_level_zero_is_not_told() {
    let finalized = FinalizedFeatures {
        epoch: 7,
        levels: vec![("metadata.version".to_owned(), 29), ("group.version".to_owned(), 0)],
    };
    let supported = [
        SupportedFeature { name: "metadata.version", min: 7, max: 29 },
        SupportedFeature { name: "group.version", min: 0, max: 1 },
    ];
    let at = |version| api_versions_response(version, Plane::Client, &finalized, &supported);

    assert!(at(2).finalized_features.is_empty() && at(2).supported_features.is_empty());
    assert_eq!(at(3).supported_features.len(), 1, "a minimum of 0 breaks older clients");
    assert_eq!(at(4).supported_features.len(), 2);
    assert_eq!(at(4).finalized_features.len(), 1);
    assert_eq!(at(4).finalized_features[0].max_version_level, 29);
    assert_eq!(at(4).finalized_features_epoch, 7);
    for version in 0..=4 {
        crate::frame::encode_response(1, version, &at(version)).unwrap();
    }
}

#[test]
fn a_client_must_name_its_software_from_version_3_on() {
    let named = |name: &str, version: &str| {
        ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_string(name.to_owned()))
            .with_client_software_version(StrBytes::from_string(version.to_owned()))
    };
    assert_eq!(validate_client_software(3, &named("apache-kafka-java", "4.3.1")), Ok(()));
    assert_eq!(validate_client_software(3, &named("a", "1")), Ok(()));
    for (name, version) in [("", "1"), ("a", ""), ("-a", "1"), ("a.", "1"), ("a b", "1"), ("a", "1_2"), ("\u{e9}", "1")]
    {
        let refused = validate_client_software(3, &named(name, version));
        assert_eq!(refused, Err(ErrorCode::InvalidRequest), "{name:?} {version:?}");
        assert_eq!(validate_client_software(2, &named(name, version)), Ok(()));
    }
    assert_eq!(ApiVersionsRequest::KEY, API_VERSIONS.0);
}
