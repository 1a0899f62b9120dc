//! What the system says of this process, where there is a procfs.

use crate::procfs;
use broker::report::Sample;

/// Memory, processor time and open files, as Prometheus' own client libraries name them; nothing where it is not known.
pub fn samples() -> Vec<Sample> {
    let resident = procfs::own_status("VmRSS:")
        .map(|kib| Sample::gauge("process_resident_memory_bytes", "Resident memory", (kib * 1024) as f64));
    let cpu = procfs::own_cpu_seconds().map(|seconds| Sample {
        value: seconds,
        ..Sample::counter("process_cpu_seconds_total", "Processor time, of user and system", 0)
    });
    let files = procfs::own_open_files();
    let files = files.map(|count| Sample::gauge("process_open_fds", "Open files and sockets", count as f64));
    [resident, cpu, files].into_iter().flatten().collect()
}
