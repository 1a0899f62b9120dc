//! A log on a simulated disk: against simple models, through crashes, on a failing disk, and with Kafka's own files.

#[cfg(not(madsim))]
compile_error!("these tests need the simulator: build without RUSTFLAGS in the environment");

mod cleaning;
mod crash;
mod failures;
mod kafka_files;
mod model;
mod support;
