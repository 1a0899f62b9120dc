# Sourced by run: partitions move to other brokers by kafka-reassign-partitions, at once, slowly, and not after all.

# move_is_over FILE: waits until --verify says that the move in $work/FILE is over; it takes the throttle off, too.
move_is_over() {
  local round
  for round in 1 2 3 4 5 6 7 8 9 10; do
    "${moves[@]}" --reassignment-json-file "$work/$1" --verify >"$work/verified" 2>&1
    grep -q "still in progress" "$work/verified" || break
    sleep 1
  done
  cat "$work/verified"
  grep -q "is completed" "$work/verified"
}

move_tools() {
  moves=("$tool" reassign.ReassignPartitionsCommand --bootstrap-server "$boot")
  local configs=("$tool" kafka.admin.ConfigCommand --bootstrap-server "$boot" --describe)
  echo '{"topics":[{"topic":"tools"}],"version":1}' >"$work/topics.json"
  expect "kafka-reassign-partitions --generate" "Proposed partition reassignment" "${moves[@]}" --topics-to-move-json-file "$work/topics.json" --broker-list 1,2,3 --generate
  echo '{"version":1,"partitions":[{"topic":"tools","partition":0,"replicas":[1,2]}]}' >"$work/move.json"
  expect "kafka-reassign-partitions --execute" "Successfully started" "${moves[@]}" --reassignment-json-file "$work/move.json" --execute
  try "kafka-reassign-partitions --verify" move_is_over move.json

  "$tool" TopicCommand --bootstrap-server "$boot" --create --topic heavy --replica-assignment 1:2 >/dev/null
  "$tool" ProducerPerformance --bootstrap-server "$boot" --topic heavy --num-records 20000 --record-size 1000 --throughput -1 --command-property acks=all >/dev/null
  echo '{"version":1,"partitions":[{"topic":"heavy","partition":0,"replicas":[1,3]}]}' >"$work/heavy.json"
  expect "kafka-reassign-partitions --execute --throttle" "The inter-broker throttle limit was set to 100000 B/s" "${moves[@]}" --reassignment-json-file "$work/heavy.json" --execute --throttle 100000
  expect "it throttles the leader" "leader.replication.throttled.rate=100000 " "${configs[@]}" --entity-type brokers --entity-name 1
  expect "it throttles the follower" "follower.replication.throttled.rate=100000 " "${configs[@]}" --entity-type brokers --entity-name 3
  expect "it throttles the partition" "leader.replication.throttled.replicas=0:" "${configs[@]}" --entity-type topics --entity-name heavy
  expect "20 MB at 100 kB/s are in progress" "adding: 3" "${moves[@]}" --list
  expect "kafka-reassign-partitions --verify of it" "still in progress" "${moves[@]}" --reassignment-json-file "$work/heavy.json" --verify --preserve-throttles
  expect "kafka-reassign-partitions --cancel" "Successfully cancelled" "${moves[@]}" --reassignment-json-file "$work/heavy.json" --cancel
  expect "the replicas are as before" "Replicas: 1,2" "$tool" TopicCommand --bootstrap-server "$boot" --describe --topic heavy
  silent "and the throttles are gone" "throttled" "${configs[@]}" --entity-type brokers --entity-name 1
  expect "kafka-reassign-partitions --execute --throttle, wide" "Successfully started" "${moves[@]}" --reassignment-json-file "$work/heavy.json" --execute --throttle 50000000
  try "it comes to its end" move_is_over heavy.json
  silent "and its throttles are gone" "throttled" "${configs[@]}" --entity-type topics --entity-name heavy
  "$tool" TopicCommand --bootstrap-server "$boot" --delete --topic heavy
}
