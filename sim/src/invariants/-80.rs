/work/main/broker/src:
event.rs
lib.rs

/work/main/cli/src:
main.rs

/work/main/client/src:
cluster
consumer
error.rs
lib.rs
producer
retry.rs

/work/main/controller/src:
event.rs
lib.rs

/work/main/metadata/src:
config
image
lib.rs
record.rs

/work/main/protocol/src:
error_code.rs
ids.rs
lib.rs
messages.rs
record_batch
record_batch.rs
topic_name.rs

/work/main/runtime/src:
disk.rs
lib.rs
simulation

/work/main/sim/src:
event.rs
faults
invariants
invariants.rs
ledger.rs
lib.rs
observed.rs
workloads

/work/main/storage/src:
event.rs
lib.rs
