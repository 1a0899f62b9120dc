//! Consumer groups as Kafka knows them: who is a member, who reads what, how far each group has come. Machines only: a request
//! and the time go in, records and answers come out.
//!
//! Nothing here waits, reads a clock or draws a random number. The broker's coordinator drives it: it appends the records to a
//! partition of `__consumer_offsets` and sends the answers once they are committed.

pub mod assignors;
pub mod classic;
pub mod consumer;
pub mod effects;
mod embedded;
pub mod ids;
pub mod migration;
pub mod offsets;
pub mod record;
pub mod shard;
