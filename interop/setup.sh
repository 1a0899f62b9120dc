# Sourced by run: installs the clients, each by its language's own package manager, in $GREGOR_INTEROP; and how to call them.

tool=$here/kafka/tool
python=$GREGOR_INTEROP/python/bin/python
clients="confluent kafka-python aiokafka java franz-go sarama kafka-go kafkajs"
# What has no consumer without a group does not read.
readers="confluent kafka-python aiokafka java franz-go sarama kafka-go"

# fresh NAME FILE..: true if the environment NAME was made from these very files; `fresh_now NAME FILE..` says it is.
fresh() { [ "$(cat "$GREGOR_INTEROP/$1.sum" 2>/dev/null)" = "$(cat "${@:2}" | sha256sum)" ]; }
fresh_now() { cat "${@:2}" | sha256sum >"$GREGOR_INTEROP/$1.sum"; }

set_up_python() {
  fresh python "$here"/python/requirements.txt && return
  python3 -m venv --clear "$GREGOR_INTEROP/python" && "$python" -m pip install -q -r "$here/python/requirements.txt" &&
    fresh_now python "$here"/python/requirements.txt
}

set_up_java() {
  "$tool" TopicCommand --version >/dev/null && fresh java "$here"/java/*.java && return
  rm -rf "$GREGOR_INTEROP/java"
  javac -d "$GREGOR_INTEROP/java" -cp "$GREGOR_INTEROP/kafka/*" "$here"/java/*.java && fresh_now java "$here"/java/*.java
}

set_up_go() {
  (cd "$here/go" && GOFLAGS=-mod=readonly go build -o "$GREGOR_INTEROP/go/client" .)
}

set_up_node() {
  fresh node "$here"/node/package-lock.json && return
  rm -rf "$GREGOR_INTEROP/node"
  mkdir -p "$GREGOR_INTEROP/node" && cp "$here"/node/package*.json "$GREGOR_INTEROP/node" &&
    (cd "$GREGOR_INTEROP/node" && npm ci --silent --no-audit --no-fund) && fresh_now node "$here"/node/package-lock.json
}

# client NAME COMMAND ..: see python/client.py. A client that hangs is a failure, too.
client() {
  local limited=(timeout 300)
  case $1 in
  confluent | kafka-python | aiokafka) "${limited[@]}" "$python" "$here/python/client.py" "$@" ;;
  java) "${limited[@]}" java -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dlog4j2.level=ERROR \
    -cp "$GREGOR_INTEROP/java:$GREGOR_INTEROP/kafka/*" Client "$@" ;;
  kafkajs) NODE_PATH=$GREGOR_INTEROP/node/node_modules "${limited[@]}" node "$here/node/client.js" "$@" ;;
  *) "${limited[@]}" "$GREGOR_INTEROP/go/client" "$@" ;;
  esac
}
