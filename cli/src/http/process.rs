//! What the system says of this process, where there is a procfs.

#![allow(clippy::disallowed_methods, reason = "procfs is not a disk")]

use broker::report::Sample;

/// Memory, processor time and open files, as Prometheus' own client libraries name them; nothing where it is not known.
pub fn samples() -> Vec<Sample> {
    let resident = status("VmRSS:")
        .map(|kib| Sample::gauge("process_resident_memory_bytes", "Resident memory", (kib * 1024) as f64));
    let cpu = cpu_seconds().map(|seconds| Sample {
        value: seconds,
        ..Sample::counter("process_cpu_seconds_total", "Processor time, of user and system", 0)
    });
    let files = std::fs::read_dir("/proc/self/fd").ok();
    let files = files.map(|files| Sample::gauge("process_open_fds", "Open files and sockets", files.count() as f64));
    [resident, cpu, files].into_iter().flatten().collect()
}

/// A field of `/proc/self/status` that is a number; of memory, in KiB.
pub fn status(field: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}

fn cpu_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program comes first, in brackets, and may hold anything.
    let (_, fields) = text.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}
