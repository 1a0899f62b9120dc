//! Bytes of a produce request's partition, or of a fetched one: validation, iteration, and records within a budget.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::ids::{Offset, WallMillis};
use protocol::record_batch::{
    ProduceLimits, TimestampRule, batches, crc32c, records, validate_produced, validate_replicated,
};

const BUDGET: usize = 1 << 20;

fn read(bytes: &[u8]) {
    let limits = ProduceLimits {
        max_message_bytes: 1 << 20,
        produce_version: 9,
        keys_required: true,
        timestamps: TimestampRule::CreateTime { now: WallMillis(0), before_ms_max: i64::MAX, after_ms_max: i64::MAX },
    };
    let _ = validate_produced(bytes, &limits);
    let _ = validate_replicated(bytes, Offset(0));
    for (_, batch) in batches(bytes).map_while(Result::ok) {
        let _ = records(batch, BUDGET);
    }
}

fuzz_target!(|data: &[u8]| {
    read(data);
    // Again with a format, a length and a checksum that are right, so that what is behind them is reached.
    if data.len() >= 61 {
        let mut bytes = data.to_vec();
        bytes[8..12].copy_from_slice(&(data.len() as i32 - 12).to_be_bytes());
        bytes[16] = 2;
        let crc = crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        read(&bytes);
    }
});
