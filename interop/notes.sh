# Sourced by run: the programs of a beginner's notes (python/notes), each as anyone would copy it, in the order of the notes.

# note NAME TEXT..: runs one of them; each text has to be in what it prints.
note() {
  local name=$1 text code
  shift
  timeout 90 "$python" -W ignore "$here/python/notes/$name.py" "localhost:$port" >"$work/out" 2>&1
  code=$?
  for text in "$@"; do
    grep -qF -- "$text" "$work/out" || { code=1 && echo "not printed: $text" >>"$work/out"; }
  done
  told "notes: $name.py" $code "$work/out"
}

notes_section() {
  note create_topics "created orders" "created lines"
  note create_topics "orders is there already"
  note hello "sent"
  note list_topics "'lines', 'orders'" "partition 2 is led by" "sees orders: True" "topic: [0, 1, 2]"
  note producer "order 0 went to orders-1 at offset 0" "order 8 went to orders-1 at offset 4" "order 9 went to orders-0 at offset 2"
  note callbacks "delivered 10"
  note consumer "orders-1 at 4: key=b'customer-0' value={'order': 8, 'price': 20.0}" "value={'order': 19}" "read 20 orders"
  note consumer "read 0 orders"
  note latest "alert: now"
  note pattern "subscribed to ['orders', 'orders-archive']" "'orders': 20" "'orders-archive': 1"
  note seek "beginning: ['line 0', 'line 1', 'line 2', 'line 3', 'line 4']" "offset 3: ['line 3', 'line 4']" "after it: []" "ends at 5"
  note poll "2 from lines-0: ['line 0', 'line 1']" "2 from lines-0: ['line 2', 'line 3']" "1 from lines-0: ['line 4']"
  note commit "working on line 0" "committed 1"
  note commit "working on line 1" "committed 2"
  note commit_offsets "OffsetAndMetadata(offset=2, metadata='two are done'" "done 4" "committed 4" "goes on at 4"
  note times "an hour ago: 0" "in an hour: None"
  note shared "shared: [1, 2] together [0, 1, 2]" "alone: [0, 1, 2]"
  note groups "'by-hand', 'by-name'" "looked-at is Stable with ['reader']" "lines-0 is read up to 5" "empty: Empty" "deleted: True"
}
