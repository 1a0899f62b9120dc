# Sourced by run: how a check is told and counted.

passed=0
failed=0

# told NAME CODE FILE: one line for a check, with the end of what it printed if it failed.
told() {
  if [ "$2" -eq 0 ]; then
    passed=$((passed + 1))
    echo "ok    $1"
  else
    failed=$((failed + 1))
    echo "FAIL  $1"
    tail -n 20 "$3" | cut -c1-600 | sed 's/^/      /'
  fi
}

# try NAME COMMAND..: passes if the command does.
try() {
  local name=$1
  shift
  "$@" >"$work/out" 2>&1
  told "$name" $? "$work/out"
}

# expect NAME TEXT COMMAND..: as try, and what it prints has to hold the text.
expect() {
  local name=$1 text=$2 code
  shift 2
  "$@" >"$work/out" 2>&1
  code=$?
  grep -qF -- "$text" "$work/out" || code=1
  told "$name" $code "$work/out"
}

# refuse NAME TEXT COMMAND..: as expect, of a command that has to fail.
refuse() {
  local name=$1 text=$2 code=1
  shift 2
  "$@" >"$work/out" 2>&1 || code=0
  grep -qF -- "$text" "$work/out" || code=1
  told "$name" $code "$work/out"
}

# silent NAME PATTERN COMMAND..: as try, and no line that it prints may match the extended regular expression.
silent() {
  local name=$1 pattern=$2 code
  shift 2
  "$@" >"$work/out" 2>&1
  code=$?
  if grep -E -- "$pattern" "$work/out" >"$work/found"; then
    told "$name" 1 "$work/found"
  else
    told "$name" $code "$work/out"
  fi
}

# tally NAME COMMAND..: a program that prints `ok    CHECK` and `FAIL  CHECK: why` itself; to end badly is a failure too.
tally() {
  local name=$1 code ok bad
  shift
  "$@" >"$work/out" 2>"$work/errors"
  code=$?
  grep -E '^(ok    |FAIL  )' "$work/out" | cut -c1-600
  ok=$(grep -c '^ok    ' "$work/out")
  bad=$(grep -c '^FAIL  ' "$work/out")
  passed=$((passed + ok))
  failed=$((failed + bad))
  if [ $code -ne 0 ] || [ $((ok + bad)) -eq 0 ]; then
    told "$name: the program ends well (exit code $code)" 1 "$work/errors"
  fi
}
