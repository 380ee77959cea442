//! Owns the processes that a test starts: each in a group of its own, with its output in a file, and ended by pid
//! when the test ends.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::{kernel, wait};

/// How long a process may take to end after the signal, before it is killed.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Runs `command` with `input` on its standard input, until it ends.
#[track_caller]
pub fn output_of(command: &mut Command, input: &[u8]) -> Output {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    thread::scope(|scope| {
        // it may end, or stop reading, before it has read everything
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().unwrap()
    })
}

pub struct Process {
    child: Child,
    name: &'static str,
    log: PathBuf,
    ended: Option<ExitStatus>,
    /// The signal with which it is ended when the test ends.
    end_signal: Signal,
}

impl Process {
    /// Starts `command`; its output is written to `log`.
    pub fn start(name: &'static str, command: &Command, log: &Path) -> Process {
        let output = File::options().create(true).append(true).open(log).unwrap();
        let child = kernel::dying_with_the_tests(command)
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        Process { child, name, log: log.to_owned(), ended: None, end_signal: kernel::SIGTERM }
    }

    /// Ends with SIGKILL: for a process that needs no graceful end, and ignores SIGTERM while it is starting.
    pub fn killed_at_the_end(mut self) -> Process {
        self.end_signal = kernel::SIGKILL;
        self
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// Sends `signal`, unless the process has ended: its pid may then belong to another process.
    pub fn signal(&mut self, signal: Signal) -> bool {
        self.status().is_none() && kernel::signal(self.pid(), signal)
    }

    /// The exit status, if it has ended.
    pub fn status(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().unwrap();
        }
        self.ended
    }

    /// Sends `signal` and waits until it ends. False: it had to be killed.
    pub fn end(&mut self, signal: Signal) -> bool {
        self.signal(signal);
        let start = std::time::Instant::now();
        while self.status().is_none() {
            if start.elapsed() > TIMEOUT {
                kernel::signal_group(self.pid(), kernel::SIGKILL);
                self.ended = self.child.wait().ok();
                return false;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        true
    }

    /// Whether all processes that it started have ended, too.
    pub fn group_is_empty(&self) -> bool {
        kernel::group_is_empty(self.pid())
    }

    /// Waits until `ready`. If the process ends before, the test fails, with its output.
    #[track_caller]
    pub fn wait_until(&mut self, what: &str, mut ready: impl FnMut() -> bool) {
        wait::until(&format!("{} {what}", self.name), || {
            if let Some(status) = self.status() {
                let output = fs::read_to_string(&self.log).unwrap_or_default();
                panic!("{} ended ({status}) before it {what}:\n{output}", self.name);
            }
            ready()
        });
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end(self.end_signal);
        // The leader has ended; the other processes of its group were started by the tests as well.
        kernel::signal_group(self.pid(), kernel::SIGKILL);
    }
}
