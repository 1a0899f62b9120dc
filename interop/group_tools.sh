# Sourced by run: Kafka's tools for groups, on groups of both protocols, while they have members and once they have none.

# columns COMMAND..: what it prints, with one blank between columns.
columns() { "$@" 2>&1 | tr -s ' '; }

# stands PARTITION OFFSET LAG: where the group grouped-classic is in the topic, by kafka-consumer-groups.
stands() { expect "it is at $2 of partition $1" "grouped-classic grouped $1 $2 300 $3" columns "${groups[@]}" --describe --group grouped-classic; }

# reset NAME HOW..: kafka-consumer-groups --reset-offsets of the group grouped-classic, and does it.
reset() {
  local how=${*:2}
  expect "kafka-consumer-groups --reset-offsets ${how//$work\//}" "grouped-classic grouped $1" columns "${groups[@]}" --reset-offsets --group grouped-classic "${@:2}"
}

# printed NAME TEXT: as expect, of what the last command printed.
printed() { cp "$work/out" "$work/printed" && expect "$1" "$2" cat "$work/printed"; }

group_tools() {
  groups=("$tool" consumer.group.ConsumerGroupCommand --bootstrap-server "$boot")
  local partition
  "$tool" TopicCommand --bootstrap-server "$boot" --create --topic grouped --partitions 3 >/dev/null
  for partition in 0 1 2; do
    seq $((partition * 300 + 1)) $((partition * 300 + 300)) | kcat -b "$boot" -t grouped -p $partition -P -X acks=all
  done
  console_groups
  groups_with_members
  groups_without_members
  resets
  deletions
  load_groups
  decoded
  "$tool" TopicCommand --bootstrap-server "$boot" --delete --topic grouped
}

# console GROUP PROTOCOL OPTION..: a console consumer that is a member of the group.
console() {
  "$tool" ConsoleConsumer --bootstrap-server "$boot" --topic grouped --group "$1" --command-property "group.protocol=$2" "${@:3}" 2>&1
}

console_groups() {
  local protocol
  for protocol in classic consumer; do
    console "grouped-$protocol" $protocol --from-beginning --max-messages 900 --timeout-ms 30000 | grep -xE '[0-9]+' | sort -n >"$work/read"
    try "kafka-console-consumer --group of a $protocol group reads all of it" sh -c "seq 1 900 | cmp - '$work/read'"
    expect "and the next one goes on where it ended" "Processed a total of 0 messages" console "grouped-$protocol" $protocol --from-beginning --timeout-ms 8000
  done
}

# is_stable GROUP: waits until the group has a member that has something to read.
is_stable() {
  local round
  for round in 1 2 3 4 5 6 7 8 9 10; do
    "${groups[@]}" --describe --group "$1" --members 2>&1 | tr -s ' ' | grep -q "^$1 .* console-consumer 3 " && return
    sleep 1
  done
  return 1
}

groups_with_members() {
  local protocol member
  for protocol in classic consumer; do
    console "grouped-$protocol" $protocol >"$work/console" &
    member=$!
    try "a $protocol group has a member" is_stable "grouped-$protocol"
    expect "kafka-consumer-groups --list --state" "grouped-$protocol Stable" columns "${groups[@]}" --list --state
    expect "kafka-consumer-groups --list --state stable" "grouped-$protocol Stable" columns "${groups[@]}" --list --state stable
    silent "kafka-consumer-groups --list --state empty" "grouped-$protocol" "${groups[@]}" --list --state empty
    expect "kafka-consumer-groups --list --type" "grouped-$protocol ${protocol^}" columns "${groups[@]}" --list --type
    expect "kafka-consumer-groups --list --type $protocol" "grouped-$protocol ${protocol^}" columns "${groups[@]}" --list --type $protocol
    expect "kafka-groups --list" "grouped-$protocol ${protocol^} consumer" columns "$tool" GroupsCommand --bootstrap-server "$boot" --list
    expect "kafka-consumer-groups --describe" "grouped-$protocol grouped 2 300 300 0" columns "${groups[@]}" --describe --group "grouped-$protocol"
    printed "kafka-consumer-groups --describe tells its client" "/127.0.0.1 console-consumer"
    expect "kafka-consumer-groups --describe --members" "/127.0.0.1 console-consumer 3" columns "${groups[@]}" --describe --group "grouped-$protocol" --members
    expect "kafka-consumer-groups --describe --members --verbose" "grouped:0,1,2" columns "${groups[@]}" --describe --group "grouped-$protocol" --members --verbose
    expect "kafka-consumer-groups --describe --state" "$([ $protocol = classic ] && echo range || echo uniform) Stable 1" \
      columns "${groups[@]}" --describe --group "grouped-$protocol" --state
    expect "kafka-consumer-groups --reset-offsets of a group that is in use is refused" "group 'grouped-$protocol' is inactive, but the current state is Stable" \
      "${groups[@]}" --reset-offsets --group "grouped-$protocol" --topic grouped --to-earliest --execute
    expect "kafka-consumer-groups --delete of it is refused" "GroupNotEmptyException: The group is not empty." "${groups[@]}" --delete --group "grouped-$protocol"
    expect "kafka-consumer-groups --delete-offsets of what it reads is refused" "GroupSubscribedToTopicException" \
      "${groups[@]}" --delete-offsets --group "grouped-$protocol" --topic grouped
    # Of the tool and of the shell's own process for it: the member has to leave in good order.
    pkill -TERM -P "$member" || kill "$member"
    wait "$member"
  done
}

groups_without_members() {
  local protocol
  for protocol in classic consumer; do
    expect "kafka-consumer-groups --describe of a $protocol group without members" "Consumer group 'grouped-$protocol' has no active members." \
      "${groups[@]}" --describe --group "grouped-$protocol"
    expect "it tells where the group is" "grouped-$protocol grouped 1 300 300 0 - - -" columns "${groups[@]}" --describe --group "grouped-$protocol"
    expect "kafka-consumer-groups --describe --state of it" "Empty 0" columns "${groups[@]}" --describe --group "grouped-$protocol" --state
  done
  expect "kafka-consumer-groups --describe --all-groups" "grouped-consumer grouped 2 300 300 0" columns "${groups[@]}" --describe --all-groups
  expect "kafka-consumer-groups --describe of no group" "GroupIdNotFoundException" "${groups[@]}" --describe --group nobody
}

resets() {
  reset "0 0" --topic grouped --to-earliest --dry-run
  stands 0 300 0
  reset "0 0" --topic grouped --to-earliest --execute
  stands 0 0 300
  reset "1 17" --topic grouped:1 --to-offset 17 --execute
  stands 1 17 283
  stands 2 0 300
  reset "1 22" --topic grouped:1 --shift-by 5 --execute
  stands 1 22 278
  reset "1 0" --topic grouped:1 --shift-by -500 --execute
  reset "2 300" --topic grouped:1,2 --to-latest --execute
  stands 1 300 0
  reset "0 0" --topic grouped --to-datetime 2001-01-01T00:00:00.000 --execute
  reset "0 300" --topic grouped --to-datetime 2101-01-01T00:00:00.000 --execute
  reset "0 0" --all-topics --by-duration PT1H --execute
  reset "2 7" --topic grouped:2 --to-offset 7 --execute
  reset "2 7" --topic grouped --to-current --execute
  stands 2 7 293
  expect "kafka-consumer-groups --reset-offsets --export" 'grouped,2,7' \
    "${groups[@]}" --reset-offsets --group grouped-classic --topic grouped --to-current --export --dry-run
  printf 'grouped,0,11\ngrouped,1,12\n' >"$work/offsets.csv"
  reset "1 12" --from-file "$work/offsets.csv" --execute
  stands 0 11 289
  expect "--reset-offsets of a consumer group" "grouped-consumer grouped 0 0" \
    columns "${groups[@]}" --reset-offsets --group grouped-consumer --topic grouped --to-earliest --execute
  expect "a member goes on from there" "Processed a total of 900 messages" console grouped-consumer consumer --timeout-ms 8000
}

deletions() {
  expect "kafka-consumer-groups --delete-offsets" "grouped 1 Successful" columns "${groups[@]}" --delete-offsets --group grouped-classic --topic grouped:1
  silent "they are gone" "grouped-classic +grouped +1 +[0-9]" "${groups[@]}" --describe --group grouped-classic
  stands 0 11 289
  expect "kafka-consumer-groups --delete" "was successful." \
    "${groups[@]}" --delete --group grouped-classic --group grouped-consumer
  silent "they are gone" "grouped-(classic|consumer)" "${groups[@]}" --list
  expect "kafka-consumer-groups --delete of no group" "GroupIdNotFoundException: The group id does not exist." "${groups[@]}" --delete --group nobody
}

load_groups() {
  local protocol verifiable
  for protocol in classic consumer; do
    verifiable=("$tool" VerifiableConsumer --bootstrap-server "$boot" --topic grouped --group-protocol $protocol --max-messages 900)
    expect "kafka-verifiable-consumer of a $protocol group" '"name":"partitions_assigned"' "${verifiable[@]}" --group-id "verifiable-$protocol"
    printed "it commits what it reads" '"name":"offsets_committed"'
    printed "without an error" '"success":true'
    expect "and stands where it ended" "verifiable-$protocol grouped 0 300 300 0" columns "${groups[@]}" --describe --group "verifiable-$protocol"
  done
  expect "kafka-consumer-perf-test" ", 900, " "$tool" ConsumerPerformance --bootstrap-server "$boot" --topic grouped --group perf --num-records 900 --timeout 20000
  expect "kafka-consumer-groups --validate-regex" "is valid" "$tool" consumer.group.ConsumerGroupCommand --validate-regex 'grouped.*'
}

# decoded: kafka-dump-log knows every record that our coordinators wrote, of each kind that there is, in the logs of all nodes.
decoded() {
  local files kind kinds code=0
  # What a member subscribes to by an expression is a record of its own.
  timeout 10 "$python" "$here/python/client.py" confluent member "$boot" '^grouped.*' by-expression consumer >/dev/null 2>&1
  files=$(find "$work/cluster/" -path '*/__consumer_offsets-*' -name '*.log' -size +0 | paste -sd,)
  "$tool" DumpLogSegments --offsets-decoder --files "$files" >"$work/decoded" 2>&1
  # It goes on after a record that it cannot read, and says so in the place of its key.
  grep '^| offset: ' "$work/decoded" | grep -v ' key: {"type":"' >"$work/unread"
  grep -E 'Exception|isvalid: false|[Ss]kipping' "$work/decoded" >>"$work/unread"
  [ -s "$work/unread" ] && code=1
  kinds=$(grep -o 'key: {"type":"[0-9]*"' "$work/decoded" | sort | uniq -c | sort -k 2V)
  told "kafka-dump-log --offsets-decoder reads $(grep -c '^| offset: ' "$work/decoded") records" $code "$work/unread"
  for kind in 1 2 3 5 6 7 8 16; do
    expect "records of kind $kind are among them" "\"type\":\"$kind\"" echo "$kinds"
  done
}
