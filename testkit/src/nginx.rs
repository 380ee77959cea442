//! Owns the nginx under test: starts it with a configuration, signals it, reads its logs, and fails the test if it
//! ends badly or has logged a message that must never be logged.

use std::collections::HashSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use rustix::process::Signal;

use crate::escapes::unescape;
use crate::process::Process;
use crate::{kernel, measure, names, parts, wait};

/// Words that no error log may contain in any test.
const NEVER_LOGGED: [&str; 6] =
    ["[alert]", "[emerg]", "panicked", "AddressSanitizer", "runtime error:", "valgrind-report"];

/// The warning of newer nginx about `listen ... http2`, the only way to enable HTTP/2 in 1.22.
const DEPRECATED: &str = "directive is deprecated";

/// The directive with which nginx has no workers.
pub const SINGLE_PROCESS: &str = "master_process off;";

pub struct Nginx {
    process: Process,
    prefix: PathBuf,
    address: SocketAddr,
    quit: bool,
    /// By the test: it has not ended by itself.
    was_killed: bool,
    /// Lines of the log that contain one of these are ignored.
    ignored_in_log: Vec<&'static str>,
}

/// The output of `nginx -t`, without `DEPRECATED`.
#[derive(Debug)]
pub struct Checked {
    pub passed: bool,
    pub output: String,
}

/// One line of the access log in the format of `site::ACCESS_LOG`.
#[derive(Clone, Debug, PartialEq)]
pub struct Logged {
    pub http_status: String,
    pub status: String,
    pub reason: String,
    pub server: String,
    pub time: String,
    pub key: Vec<u8>,
}

impl Nginx {
    /// Starts nginx on `configuration`, which listens on `address`.
    #[track_caller]
    pub fn start(prefix: &Path, configuration: &str, address: SocketAddr) -> Nginx {
        Nginx::start_program(&parts::nginx(), prefix, configuration, address)
    }

    /// The same, with another nginx than the one under test.
    #[track_caller]
    pub fn start_program(
        program: &Path,
        prefix: &Path,
        configuration: &str,
        address: SocketAddr,
    ) -> Nginx {
        Nginx::start_command(Command::new(program), prefix, configuration, address)
    }

    /// The same, with an allocator that gives large blocks back to the kernel at once. Otherwise it keeps some megabytes
    /// of them, in which smaller blocks that are never freed are not seen.
    #[track_caller]
    pub fn start_giving_memory_back(
        prefix: &Path,
        configuration: &str,
        address: SocketAddr,
    ) -> Nginx {
        let mut program = Command::new(parts::nginx());
        program.env("GLIBC_TUNABLES", "glibc.malloc.mmap_threshold=32768");
        Nginx::start_command(program, prefix, configuration, address)
    }

    /// The same, with this file as `/etc/hosts`.
    #[track_caller]
    pub fn start_with_names(
        hosts: &Path,
        prefix: &Path,
        configuration: &str,
        address: SocketAddr,
    ) -> Nginx {
        let program = names::command(hosts, &parts::nginx());
        Nginx::start_command(program, prefix, configuration, address)
    }

    #[track_caller]
    fn start_command(
        program: Command,
        prefix: &Path,
        configuration: &str,
        address: SocketAddr,
    ) -> Nginx {
        let command = command(program, prefix, configuration);
        let mut process = Process::start("nginx", &command, &prefix.join("nginx.out"));
        process.wait_until("listens", || std::net::TcpStream::connect(address).is_ok());
        // The master listens before it has started workers.
        let master = process.pid();
        let single = configuration.contains(SINGLE_PROCESS);
        process.wait_until("has workers", || single || !children(master).is_empty());
        Nginx {
            process,
            prefix: prefix.to_owned(),
            address,
            quit: false,
            was_killed: false,
            ignored_in_log: Vec::new(),
        }
    }

    /// Runs `nginx -t`.
    pub fn check(prefix: &Path, configuration: &str) -> Checked {
        let output = command(Command::new(parts::nginx()), prefix, configuration)
            .arg("-t")
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&text);
        let lines = said.split_inclusive('\n').filter(|line| !line.contains(DEPRECATED));
        Checked { passed: output.status.success(), output: lines.collect() }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The worker processes of the master, including those that are shutting down.
    pub fn workers(&self) -> Vec<i32> {
        children(self.process.pid())
    }

    /// Stops the only worker; returns when it is stopped.
    #[track_caller]
    pub fn pause(&self) {
        let worker = self.workers()[0];
        assert!(kernel::signal(worker, kernel::SIGSTOP));
        wait::until("the worker is stopped", || measure::is_in_state(worker, 'T'));
    }

    /// Undoes [`Nginx::pause`].
    pub fn resume(&self) {
        assert!(kernel::signal(self.workers()[0], kernel::SIGCONT));
    }

    pub fn signal(&mut self, signal: Signal) {
        assert!(self.process.signal(signal), "nginx has ended");
    }

    /// Writes a new configuration for the next reload.
    pub fn configure(&self, configuration: &str) {
        write_configuration(&self.prefix, configuration);
    }

    /// Reloads, and waits until new workers serve and the old ones have exited.
    #[track_caller]
    pub fn reload(&mut self) {
        let old = self.workers();
        self.signal(kernel::SIGHUP);
        wait::until("new workers, and only new ones", || {
            let now = self.workers();
            !now.is_empty() && now.iter().all(|worker| !old.contains(worker))
        });
    }

    /// Tells nginx to quit gracefully, and returns at once.
    pub fn begin_to_quit(&mut self) {
        self.signal(kernel::SIGQUIT);
        self.quit = true;
    }

    /// Kills master and workers at once, as a machine that fails does.
    pub fn kill(&mut self) {
        let master = self.process.pid();
        assert!(kernel::signal_group(master, kernel::SIGKILL), "nginx has ended");
        wait::until("nginx is gone", || self.is_gone());
        self.was_killed = true;
    }

    /// Whether master and workers have all exited.
    pub fn is_gone(&mut self) -> bool {
        self.process.status().is_some() && self.process.group_is_empty()
    }

    pub fn error_log(&self) -> String {
        let log = fs::read(self.prefix.join("error.log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Ignores lines of the log with these words, which the test itself causes.
    pub fn ignore_in_log(&mut self, words: &'static str) {
        self.ignored_in_log.push(words);
    }

    /// Lines of the error log at one level.
    pub fn logged_at(&self, level: &str) -> Vec<String> {
        let mark = format!("[{level}]");
        self.error_log().lines().filter(|line| line.contains(&mark)).map(str::to_owned).collect()
    }

    /// Checks that the log contains each change of a memcached's state exactly once: in each worker "failed" and
    /// "answers again" alternate, however many requests there were, and no other message is an error. Returns how
    /// often it failed, in all workers together. The log must be at `info` or `notice`.
    #[track_caller]
    pub fn state_changes(&self) -> usize {
        let log = self.error_log();
        let mut failed = HashSet::new();
        let mut failures = 0;
        for line in log.lines() {
            // 2025/11/22 16:32:09 [error] 4711#4711: pagecache: memcached "127.0.0.1:11211" failed: ...
            let worker = line.split(' ').nth(3);
            if line.contains("pagecache: memcached \"") && line.contains("\" failed: ") {
                assert!(failed.insert(worker), "said already, before: {line}\n{log}");
                failures += 1;
            } else if line.contains("\" answers again") {
                assert!(failed.remove(&worker), "it had not failed, before: {line}\n{log}");
            } else if !self
                .ignored_in_log
                .iter()
                .chain([&DEPRECATED])
                .any(|words| line.contains(words))
            {
                let wrong = ["[warn]", "[error]", "[crit]"].iter().any(|mark| line.contains(mark));
                assert!(!wrong, "not of memcached's state: {line}");
            }
        }
        failures
    }

    /// Returns the access log once it has `count` lines: nginx writes a line after the client has received its
    /// answer.
    #[track_caller]
    pub fn access_log(&self, count: usize) -> Vec<Logged> {
        wait::until_some(&format!("{count} lines in the access log"), wait::LIMIT, || {
            let log = fs::read_to_string(self.prefix.join("access.log")).unwrap();
            let lines: Vec<&str> = log.split_inclusive('\n').collect();
            let whole = lines.last().is_none_or(|line| line.ends_with('\n'));
            (whole && lines.len() >= count).then(|| lines.iter().map(|line| logged(line)).collect())
        })
    }

    fn quit_and_check(&mut self) {
        if !self.quit && self.process.status().is_none() {
            self.begin_to_quit();
        }
        let ended = self.process.end(kernel::SIGQUIT);
        let log = self.error_log();
        assert!(ended, "nginx did not quit gracefully:\n{log}");
        let status = self.process.status().unwrap();
        assert!(status.success(), "nginx ended badly: {status}\n{log}");
        assert!(self.process.group_is_empty(), "a worker outlived its master:\n{log}");
        let output = fs::read_to_string(self.prefix.join("nginx.out")).unwrap_or_default();
        never_logged(log.lines().chain(output.lines()), &self.ignored_in_log);
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // A test that is failing reports its own error; its nginx ends with `process`.
        if !thread::panicking() && !self.was_killed {
            self.quit_and_check();
        }
    }
}

/// Fails the test for lines that no error log may contain, except for the ignored ones.
#[track_caller]
pub fn never_logged<'a>(lines: impl Iterator<Item = &'a str>, ignored_in_log: &[&str]) {
    for line in lines.filter(|line| !ignored_in_log.iter().any(|words| line.contains(words))) {
        let bad = NEVER_LOGGED.iter().any(|word| line.contains(word));
        assert!(!bad, "the error log holds: {line}");
    }
}

/// The living children of a process.
pub fn children(parent: i32) -> Vec<i32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if is_child(pid, parent) {
            found.push(pid);
        }
    }
    found
}

/// `/proc/PID/stat` is "pid (name) state parent ...", and the name may contain anything. A zombie has ended
/// already.
fn is_child(pid: i32, parent: i32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let mut words = after_name.split_whitespace();
    words.next() != Some("Z") && words.next() == Some(parent.to_string().as_str())
}

fn command(mut command: Command, prefix: &Path, configuration: &str) -> Command {
    command.arg("-p").arg(prefix).arg("-e").arg(prefix.join("error.log"));
    command.arg("-c").arg(write_configuration(prefix, configuration));
    command
}

fn write_configuration(prefix: &Path, configuration: &str) -> PathBuf {
    let file = prefix.join("nginx.conf");
    fs::write(&file, configuration).unwrap();
    file
}

fn logged(line: &str) -> Logged {
    let words: Vec<&str> = line.trim_end().split(' ').collect();
    let &[http_status, status, reason, server, time, key] = words.as_slice() else {
        panic!("not a line of the access log: {line:?}");
    };
    Logged {
        http_status: http_status.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        server: server.to_owned(),
        time: time.to_owned(),
        key: unescape(key),
    }
}
