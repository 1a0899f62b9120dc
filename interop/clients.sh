# Sourced by run: every client writes with every codec that it has, and every client reads what each of them wrote.

# topic NAME [OPTION..]: for the records of python/records.py, which are from 2023 and have to stay.
topic() { "$gregor" topic -b "$boot" create "$1" -p 3 -r 3 --config retention.ms=-1 "${@:2}"; }

clients_section() {
  local name codec written=""
  for name in $clients; do
    for codec in $(client "$name" codecs); do
      topic "$name-$codec" >/dev/null || told "topic $name-$codec" 1 /dev/null
      tally "$name writes with $codec" client "$name" write "$boot" "$name-$codec" "$codec" "$records"
      written="$written $name-$codec"
    done
  done
  for name in $readers; do
    tally "$name reads" client "$name" read "$boot" "$records" $written
  done
  for name in $clients; do
    tally "$name administers" client "$name" admin "$boot"
  done
  kcat_checks
}

kcat_checks() {
  topic kcat >/dev/null
  try "kcat writes" sh -c "seq 1 1000 | kcat -b $boot -t kcat -P -X acks=all"
  expect "kcat reads" 1000 sh -c "kcat -b $boot -t kcat -C -e -q | sort -n | tail -n 1"
  expect "kcat reads in a group" 1000 sh -c "kcat -b $boot -G kcat -X auto.offset.reset=earliest -e -q kcat | sort -n | tail -n 1"
  expect "kcat lists" "topic \"kcat\" with 3 partitions" kcat -b "$boot" -L
}
