//! What the system tells of processes, where there is a procfs; nothing where there is none.

#![allow(clippy::disallowed_methods, reason = "procfs is not a disk")]

/// A field of this process's `status` that is a number; of memory, in KiB.
pub fn own_status(field: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The processor time of this process, of user and system, in seconds.
pub fn own_cpu_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program comes first, in brackets, and may hold anything.
    let (_, fields) = text.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// How many files and sockets this process has open.
pub fn own_open_files() -> Option<usize> {
    Some(std::fs::read_dir("/proc/self/fd").ok()?.count())
}

/// The command line of a process, in one piece.
pub fn command_line(pid: i32) -> Option<String> {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The socket on this machine that has a loopback port for its own, by the name that open files have in procfs.
#[cfg(madsim)]
pub fn socket_with_port(port: u16) -> Option<String> {
    let wanted = format!("0100007F:{port:04X}");
    // An IPv6 socket has an IPv4 address at its end.
    ["/proc/net/tcp", "/proc/net/tcp6"].into_iter().find_map(|table| {
        let text = std::fs::read_to_string(table).ok()?;
        text.lines().find_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let inode = fields.get(1)?.ends_with(&wanted).then(|| fields.get(9)).flatten()?;
            (*inode != "0").then(|| format!("socket:[{inode}]"))
        })
    })
}

/// Whether a process has a file of this name open.
#[cfg(madsim)]
pub fn has_open(pid: i32, name: &str) -> bool {
    let Ok(files) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    files.flatten().any(|file| std::fs::read_link(file.path()).is_ok_and(|link| link.to_string_lossy() == name))
}
