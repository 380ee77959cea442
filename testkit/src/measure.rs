//! Owns the kernel's figures for a process: its memory and its descriptors.

use std::fs;

/// Bytes of address space.
pub fn mapped(pid: i32) -> u64 {
    statm(pid, 0)
}

/// Resident bytes.
pub fn resident(pid: i32) -> u64 {
    statm(pid, 1)
}

/// The bytes of a number of `statm`, which counts pages.
fn statm(pid: i32, index: usize) -> u64 {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap();
    statm.split(' ').nth(index).unwrap().parse::<u64>().unwrap() * 4096
}

/// Bytes that belong to the process alone, exact to the page: for `smaps_rollup` the kernel walks the page tables,
/// while `statm` may be behind by some 100 pages for each CPU.
pub fn private(pid: i32) -> u64 {
    rollup(pid, "Private_")
}

/// Bytes of heap and stack that were written to, as exactly. Those that are shared with the process from which this one
/// was forked count, so that a page that ceases to be shared changes nothing.
pub fn anonymous(pid: i32) -> u64 {
    rollup(pid, "Anonymous:")
}

/// The sum of the lines that begin so.
fn rollup(pid: i32, name: &str) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let lines = rollup.lines().filter(|line| line.starts_with(name));
    lines.map(|line| line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10).sum()
}

/// Whether a process runs with AddressSanitizer, which takes memory of its own: shadow memory, red zones, and freed
/// blocks that it keeps for a while.
pub fn is_sanitized(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/maps")).unwrap().contains("/libasan.so")
}

/// The most resident bytes since `forget_peak`.
pub fn peak(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() << 10
}

/// Sets the peak to the bytes that are resident now: proc(5), `clear_refs`.
pub fn forget_peak(pid: i32) {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
}

/// Whether each thread of a process is in a state: `R` runs, `S` sleeps, `T` is stopped; proc(5), `stat`.
pub fn is_in_state(pid: i32, state: char) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    threads.map(|thread| thread.unwrap().path().join("stat")).all(|file| {
        let stat = fs::read_to_string(file).unwrap();
        stat.rsplit(") ").next().unwrap().starts_with(state)
    })
}

/// The number of open descriptors.
pub fn descriptors(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// The number of open sockets.
pub fn sockets(pid: i32) -> usize {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    files
        .flatten()
        .filter_map(|file| fs::read_link(file.path()).ok())
        .filter(|target| target.to_string_lossy().starts_with("socket:"))
        .count()
}
