# Sourced by run: the tools that come with Apache Kafka.

tools_section() {
  topic_tools
  config_tools
  load_tools
  offset_tools
  cluster_tools
  move_tools
  group_tools
  expect "kafka-topics --describe of many" "PartitionCount: 6" "$tool" TopicCommand --bootstrap-server "$boot" --describe
  try "kafka-topics --delete" "$tool" TopicCommand --bootstrap-server "$boot" --delete --topic tools
}

topic_tools() {
  local topics=("$tool" TopicCommand --bootstrap-server "$boot") partition
  expect "kafka-topics --create" "Created topic tools." "${topics[@]}" --create --topic tools --partitions 3 --replication-factor 3
  refuse "kafka-topics --create of what is there" "Topic 'tools' already exists" "${topics[@]}" --create --topic tools
  try "kafka-topics --create --if-not-exists" "${topics[@]}" --create --if-not-exists --topic tools
  expect "kafka-topics --list" "tools" "${topics[@]}" --list
  expect "kafka-topics --describe" "ReplicationFactor: 3" "${topics[@]}" --describe --topic tools
  silent "kafka-topics --describe --under-replicated-partitions" "Partition:" "${topics[@]}" --describe --under-replicated-partitions
  try "kafka-console-producer" sh -c "seq 1 1000 | '$tool' ConsoleProducer --bootstrap-server $boot --topic tools"
  for partition in 0 1 2; do
    "$tool" ConsoleConsumer --bootstrap-server "$boot" --topic tools --partition "$partition" --offset earliest --timeout-ms 5000 2>/dev/null
  done | grep -xE '[0-9]+' | sort -n >"$work/read"
  try "kafka-console-consumer reads all of it" sh -c "seq 1 1000 | cmp - '$work/read'"
  try "kafka-topics --alter" "${topics[@]}" --alter --topic tools --partitions 6
  expect "kafka-topics --describe after it" "PartitionCount: 6" "${topics[@]}" --describe --topic tools
}

config_tools() {
  local configs=("$tool" kafka.admin.ConfigCommand --bootstrap-server "$boot")
  local of_topic=(--entity-type topics --entity-name tools) of_broker=(--entity-type brokers --entity-name 1)
  local of_all=(--entity-type brokers --entity-default)
  try "kafka-configs --alter of a topic" "${configs[@]}" "${of_topic[@]}" --alter --add-config 'retention.ms=3600000,cleanup.policy=[compact,delete]'
  expect "kafka-configs --describe of a topic" "retention.ms=3600000" "${configs[@]}" "${of_topic[@]}" --describe
  expect "kafka-configs --describe of a topic: a list" "cleanup.policy=compact,delete" "${configs[@]}" "${of_topic[@]}" --describe
  try "kafka-configs --delete-config" "${configs[@]}" "${of_topic[@]}" --alter --delete-config cleanup.policy
  expect "kafka-configs --describe --all of a topic" "cleanup.policy=delete " "${configs[@]}" "${of_topic[@]}" --describe --all
  refuse "kafka-configs --alter of what is no config" "Unknown topic config name: nonsense" "${configs[@]}" "${of_topic[@]}" --alter --add-config nonsense=1
  refuse "kafka-configs --alter to what is no value" "InvalidConfigurationException" "${configs[@]}" "${of_topic[@]}" --alter --add-config retention.ms=soon
  try "kafka-configs --alter of a broker" "${configs[@]}" "${of_broker[@]}" --alter --add-config log.cleaner.threads=2
  expect "kafka-configs --describe of a broker" "DYNAMIC_BROKER_CONFIG:log.cleaner.threads=2" "${configs[@]}" "${of_broker[@]}" --describe
  try "kafka-configs --alter of all brokers" "${configs[@]}" "${of_all[@]}" --alter --add-config log.retention.ms=86400000
  expect "kafka-configs --describe of all brokers" "log.retention.ms=86400000" "${configs[@]}" "${of_all[@]}" --describe
  try "kafka-configs --delete-config of all brokers" "${configs[@]}" "${of_all[@]}" --alter --delete-config log.retention.ms
}

offset_tools() {
  local offsets=("$tool" GetOffsetShell --bootstrap-server "$boot")
  expect "kafka-get-offsets" "tools:5:" "${offsets[@]}" --topic tools
  expect "kafka-get-offsets --time earliest" "tools:0:0" "${offsets[@]}" --topic-partitions tools:0-2 --time earliest
  expect "kafka-get-offsets --time max-timestamp" "tools:0:" "${offsets[@]}" --topic-partitions tools:0 --time max-timestamp
  expect "kafka-get-offsets --time a timestamp" "tools:0:0" "${offsets[@]}" --topic-partitions tools:0 --time 1000
  echo '{"partitions":[{"topic":"tools","partition":0,"offset":3}],"version":1}' >"$work/delete.json"
  expect "kafka-delete-records" "low_watermark: 3" "$tool" DeleteRecordsCommand --bootstrap-server "$boot" --offset-json-file "$work/delete.json"
  expect "kafka-get-offsets after it" "tools:0:3" "${offsets[@]}" --topic-partitions tools:0 --time earliest
}

cluster_tools() {
  expect "kafka-log-dirs" '"partition":"tools-0"' "$tool" LogDirsCommand --bootstrap-server "$boot" --describe --topic-list tools
  expect "kafka-metadata-quorum describe --status" "LeaderId" "$tool" MetadataQuorumCommand --bootstrap-server "$boot" describe --status
  expect "kafka-metadata-quorum describe --replication" "Follower" "$tool" MetadataQuorumCommand --bootstrap-server "$boot" describe --replication --human-readable
  expect "kafka-features describe" "metadata.version" "$tool" FeatureCommand --bootstrap-server "$boot" describe
  expect "kafka-cluster cluster-id" "Cluster ID" "$tool" ClusterTool cluster-id --bootstrap-server "$boot"
  expect "kafka-cluster list-endpoints" "unfenced" "$tool" ClusterTool list-endpoints --bootstrap-server "$boot"
  expect "kafka-broker-api-versions" "Produce(0)" "$tool" BrokerApiVersionsCommand --bootstrap-server "$boot"
  try "kafka-leader-election of preferred leaders" "$tool" LeaderElectionCommand --bootstrap-server "$boot" --election-type preferred --all-topic-partitions
  try "kafka-leader-election of an unclean leader that is not needed" "$tool" LeaderElectionCommand --bootstrap-server "$boot" --election-type unclean --topic tools --partition 0
}

load_tools() {
  expect "kafka-producer-perf-test" "100000 records sent" "$tool" ProducerPerformance --bootstrap-server "$boot" --topic tools --num-records 100000 --record-size 200 --throughput -1 --command-property acks=all
  tail -n 1 "$work/out" | sed 's/^/      /'
  expect "kafka-verifiable-producer" '"sent":1000,"acked":1000' "$tool" VerifiableProducer --bootstrap-server "$boot" --topic tools --max-messages 1000 --acks -1
  # It never ends by itself.
  timeout 12 "$tool" ReplicaVerificationTool --broker-list "$boot" --topics-include tools --report-interval-ms 2000 >"$work/replicas" 2>&1
  expect "kafka-replica-verification" "max lag is 0 for partition tools-" tail -n 2 "$work/replicas"
}
