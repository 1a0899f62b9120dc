# Sourced by run: a data directory is the same to Apache Kafka and to gregor. Kafka's kafka-dump-log finds nothing wrong in ours,
# Kafka serves what we wrote, and we serve what Kafka wrote, both of them after a kill, too.

kafka_port=$((port + 50))
codecs="none gzip snappy lz4 zstd"

data_section() {
  written_by_gregor
  served_by_kafka
  written_by_kafka
  served_by_gregor
}

data_cleanup() {
  "$here/kafka/server" "$work/kafka" "$kafka_port" kill 2>/dev/null
  "$here/kafka/server" "$work/kafka-reads" "$kafka_port" kill 2>/dev/null
  "$gregor" cluster --dir "$work/single" stop >/dev/null 2>&1
}

# contents BOOTSTRAP TOPIC: a digest of all that a consumer sees of a topic, and how many records that is.
contents() {
  kcat -b "$1" -t "$2" -C -o beginning -e -q -X check.crcs=true -f '%p %o %T %K %k %S %s %h\n' | sort >"$work/contents" || return 1
  echo "$(wc -l <"$work/contents") lines $(sha256sum <"$work/contents")"
}

# fill BOOTSTRAP PREFIX REPLICAS: topics with records of each codec, and one of many segments.
fill() {
  local codec
  for codec in $codecs; do
    "$tool" TopicCommand --bootstrap-server "$1" --create --topic "$2-$codec" --partitions 3 --replication-factor "$3" \
      --config retention.ms=-1 --config index.interval.bytes=512 >/dev/null || return 1
    client java write "$1" "$2-$codec" "$codec" "$records" || return 1
  done
  "$tool" TopicCommand --bootstrap-server "$1" --create --topic "$2-many" --partitions 2 --replication-factor "$3" \
    --config segment.bytes=1048576 --config retention.ms=-1 >/dev/null || return 1
  "$tool" ProducerPerformance --bootstrap-server "$1" --topic "$2-many" --num-records 40000 --record-size 300 --throughput -1 \
    --command-property acks=all
}

# dumped NAME DIR: kafka-dump-log on each file of a log directory: logs record by record, indexes against their logs and alone.
dumped() {
  local files indexes count code
  files=$(find "$2" -name '*.log' -o -name '*.index' -o -name '*.timeindex' -o -name '*.snapshot' | grep -v __cluster_metadata | paste -sd,)
  indexes=$(find "$2" -name '*.index' -o -name '*.timeindex' | grep -v __cluster_metadata | paste -sd,)
  # It says of each log that does not begin at 0, Kafka's own included, that "-1 is followed by" its first offset.
  : >"$work/dump"
  count=$("$tool" DumpLogSegments --deep-iteration --print-data-log --files "$files" 2>&1 | LC_ALL=C awk -v found="$work/dump" '
    /^(Found|Mismatches|Exception|Caused|java|The following)|isvalid: false|^  [0-9]+ is followed by/ { print >found }
    /^\| offset: / { count++ }
    END { print count + 0 }')
  code=$?
  [ ! -s "$work/dump" ] && [ "$count" -gt 0 ] || code=1
  told "kafka-dump-log --deep-iteration --print-data-log: $1, $count records" $code "$work/dump"
  silent "kafka-dump-log --index-sanity-check: $1, $(tr , '\n' <<<"$indexes" | wc -l) files" '^(Found|Mismatches|Exception|The following)|Exception' \
    "$tool" DumpLogSegments --index-sanity-check --files "$indexes"
  silent "kafka-dump-log --verify-index-only: $1" '^(Found|Mismatches|Exception|The following)|Exception' \
    "$tool" DumpLogSegments --verify-index-only --files "$indexes"
}

# written_by_gregor: the cluster's own files, as they are after a kill of all nodes under load and after recovery from it.
written_by_gregor() {
  local node writer codec
  try "gregor is filled" fill "$boot" ours 3
  "$tool" ProducerPerformance --bootstrap-server "$boot" --topic ours-many --num-records 400000 --record-size 100 --throughput 20000 \
    --command-property acks=all >/dev/null 2>&1 &
  writer=$!
  sleep 4
  "$gregor" cluster --dir "$work/cluster" kill 2 >/dev/null
  "$gregor" cluster --dir "$work/cluster" restart 2 >/dev/null
  sleep 3
  for node in 1 2 3; do "$gregor" cluster --dir "$work/cluster" kill $node >/dev/null; done
  kill "$writer" 2>/dev/null
  wait "$writer" 2>/dev/null
  for node in 1 2 3; do dumped "node $node as it was killed" "$work/cluster/node-$node/data"; done
  try "gregor starts again" "$gregor" cluster --dir "$work/cluster" start
  for codec in $codecs; do tally "after the kill" client java read "$boot" "$records" "ours-$codec"; done
  for codec in $codecs many; do contents "$boot" "ours-$codec" >"$work/ours-$codec"; done
  sed 's/^/      ours-many: /' "$work/ours-many"
  "$gregor" cluster --dir "$work/cluster" stop >/dev/null
  for node in 1 2 3; do dumped "node $node, recovered and stopped" "$work/cluster/node-$node/data"; done
  try "gregor log dump prints what kafka-dump-log prints" env GREGOR="$gregor" "$here/dump-log" "$work/cluster/node-1/data" "ours-*"
}

# adopt FROM TO TOPIC: puts the partitions of a topic that are in one log directory in the place of those in another, whose
# cluster gave the topic an id of its own.
adopt() {
  local partition name
  for partition in "$1/$3"-[0-9]*; do
    name=$(basename "$partition")
    cp "$2/$name/partition.metadata" "$work/partition.metadata" || return 1
    rm -r "${2:?}/$name"
    cp -r "$partition" "$2/$name"
    cp "$work/partition.metadata" "$2/$name/partition.metadata"
  done
}

served_by_kafka() {
  local kafka=("$here/kafka/server" "$work/kafka-reads" "$kafka_port") codec at=localhost:$kafka_port
  try "Apache Kafka starts" "${kafka[@]}" start
  for codec in $codecs many; do
    "$tool" TopicCommand --bootstrap-server "$at" --create --topic "ours-$codec" --config retention.ms=-1 --replication-factor 1 \
      --partitions "$(ls -d "$work/cluster/node-1/data/ours-$codec"-* | wc -l)" >/dev/null
  done
  "${kafka[@]}" stop
  for codec in $codecs many; do
    try "ours-$codec goes to Kafka" adopt "$work/cluster/node-1/data" "$work/kafka-reads/data" "ours-$codec"
  done
  # Without it Kafka trusts nothing, and reads every segment anew.
  rm -f "$work/kafka-reads/data/.kafka_cleanshutdown"
  try "Apache Kafka starts on gregor's partitions" "${kafka[@]}" start
  silent "it finds nothing to repair in them" 'WARN.*ours-|ERROR|orrupt' cat "$work/kafka-reads/server.log"
  for codec in $codecs; do tally "Kafka serves" client java read "$at" "$records" "ours-$codec"; done
  for codec in $codecs many; do
    expect "Apache Kafka serves all of ours-$codec as gregor did" "$(cat "$work/ours-$codec")" contents "$at" "ours-$codec"
  done
  "${kafka[@]}" stop
}

written_by_kafka() {
  local kafka=("$here/kafka/server" "$work/kafka" "$kafka_port") codec at=localhost:$kafka_port
  try "Apache Kafka starts with nothing" "${kafka[@]}" start
  try "Apache Kafka is filled" fill "$at" theirs 1
  for codec in $codecs many; do contents "$at" "theirs-$codec" >"$work/theirs-$codec"; done
  sed 's/^/      theirs-many: /' "$work/theirs-many"
  "${kafka[@]}" stop
  cp -r "$work/kafka/data" "$work/stopped"
  "${kafka[@]}" start >/dev/null && "${kafka[@]}" kill
  cp -r "$work/kafka/data" "$work/killed"
}

served_by_gregor() {
  local how codec at=localhost:$((port + 60)) single=("$gregor" cluster --dir "$work/single")
  for how in stopped killed; do
    rm -rf "$work/single"
    "${single[@]}" start -n 1 --base-port $((port + 60)) >/dev/null || told "gregor starts" 1 /dev/null
    for codec in $codecs many; do
      "$gregor" topic -b "$at" create "theirs-$codec" -r 1 --config retention.ms=-1 \
        -p "$(ls -d "$work/$how/theirs-$codec"-* | wc -l)" >/dev/null
    done
    "${single[@]}" stop >/dev/null
    for codec in $codecs many; do adopt "$work/$how" "$work/single/node-1/data" "theirs-$codec"; done
    [ "$how" = stopped ] || rm -f "$work/single/node-1/data/.kafka_cleanshutdown"
    try "gregor starts on the partitions of an Apache Kafka that was $how" "${single[@]}" start -n 1 --base-port $((port + 60))
    for codec in $codecs; do tally "gregor serves" client java read "$at" "$records" "theirs-$codec"; done
    for codec in $codecs many; do
      expect "gregor serves all of theirs-$codec as Kafka did" "$(cat "$work/theirs-$codec")" contents "$at" "theirs-$codec"
    done
    expect "and writes on" "1000 records sent" "$tool" ProducerPerformance --bootstrap-server "$at" --topic theirs-many \
      --num-records 1000 --record-size 100 --throughput -1 --command-property acks=all
    "${single[@]}" stop >/dev/null
    dumped "Kafka's files that gregor wrote on in" "$work/single/node-1/data"
  done
}
