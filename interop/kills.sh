# Sourced by run: leaders die under load, the active controller's node among them; what one client writes another reads, all of it.

kills_section() {
  local pair name kill active node writer
  for pair in "confluent kafka-python" "kafka-python confluent" "confluent confluent" "kafka-python kafka-python"; do
    set -- $pair
    name=roundtrip-$1-$2
    "$gregor" topic -b "$boot" create "$name" -p 12 -r 3 >/dev/null
    try "$1 writes $bulk_records records, $2 reads them" "$python" "$here/python/roundtrip.py" "$boot" "$name" "$1" "$2" "$bulk_records"
    sed 's/^/      /' "$work/out"
  done
  "$gregor" topic -b "$boot" create kills -p 12 -r 3 >/dev/null
  "$python" "$here/python/roundtrip.py" "$boot" kills confluent kafka-python "$killed_records" 25000 >"$work/kills" 2>&1 &
  writer=$!
  for kill in 1 2 3 4 5; do
    sleep 3
    active=$("$gregor" cluster --dir "$work/cluster" status | sed -n 's/^\([0-9]*\) .*controller\*.*/\1/p')
    node=$([ "$kill" -eq 3 ] && echo "$active" || echo $((kill % 3 + 1)))
    "$gregor" cluster --dir "$work/cluster" kill "$node"
    echo "      node $node (active controller: $active)"
    sleep 2
    "$gregor" cluster --dir "$work/cluster" restart "$node" >/dev/null
  done
  wait "$writer"
  told "$killed_records records survive five kills of nodes" $? "$work/kills"
  sed 's/^/      /' "$work/kills"
}
