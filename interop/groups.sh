# Sourced by run: members of a group come and go, and their coordinator is killed, for each client in each protocol that it has.

group_records=${GROUP_RECORDS:-15000}

# member NAME: the command that starts a member of the client, to be followed by what client.py says.
member() {
  case $1 in
  confluent | kafka-python | aiokafka) echo "$python $here/python/client.py $1" ;;
  java) echo "java -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dlog4j2.level=ERROR -cp $GREGOR_INTEROP/java:$GREGOR_INTEROP/kafka/* Client java" ;;
  kafkajs) echo "env NODE_PATH=$GREGOR_INTEROP/node/node_modules node $here/node/client.js kafkajs" ;;
  *) echo "$GREGOR_INTEROP/go/client $1" ;;
  esac
}

groups_section() {
  local client protocol protocols
  for client in $clients; do
    case $client in
    confluent | java) protocols="classic consumer" ;;
    *) protocols="classic" ;;
    esac
    for protocol in $protocols; do
      set -f
      try "$client shares a topic in a $protocol group, and nothing is skipped" "$python" "$here/python/groupcheck.py" "$boot" \
        "$gregor" "$work/cluster" "$protocol" "$group_records" $(member "$client")
      set +f
      sed 's/^/      /' "$work/out"
    done
  done
}
