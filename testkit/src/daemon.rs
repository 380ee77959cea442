//! Owns an nginx that has detached itself, as on a server: only a detached one can be upgraded to another binary.
//! It serves the memcached and the application of a site, and is identified by its pid file alone.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::nginx::{children, never_logged};
use crate::{Site, kernel, parts, ports, prefix, wait};

/// How long its last process may take to quit.
const TIMEOUT: Duration = Duration::from_secs(15);

pub struct Daemon {
    prefix: TempDir,
    address: SocketAddr,
}

impl Daemon {
    /// Starts an nginx like the site's own, but detached and on another port.
    #[track_caller]
    pub fn beside(site: &Site) -> Daemon {
        let prefix = prefix();
        let address = SocketAddr::from(([127, 0, 0, 1], ports::free()));
        let configuration = site
            .configuration
            .replace("daemon off;", "")
            .replace(&site.prefix().display().to_string(), &prefix.path().display().to_string())
            .replace(&site.nginx.address().to_string(), &address.to_string());
        let http2 = format!("127.0.0.1:{} http2", ports::free());
        let mut lines: Vec<String> = configuration.lines().map(str::to_owned).collect();
        for line in lines.iter_mut().filter(|line| line.contains(" http2 ")) {
            *line = format!("listen {http2};");
        }
        let file = prefix.path().join("nginx.conf");
        // The application's socket is that of the site.
        let application = prefix.path().join("application.sock").display().to_string();
        let its_own = site.prefix().join("application.sock").display().to_string();
        fs::write(&file, lines.join("\n").replace(&application, &its_own)).unwrap();
        let started = Command::new(parts::nginx())
            .arg("-p")
            .arg(prefix.path())
            .arg("-e")
            .arg(prefix.path().join("error.log"))
            .arg("-c")
            .arg(&file)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&started.stderr);
        assert!(started.status.success(), "nginx did not start: {said}");
        let daemon = Daemon { prefix, address };
        wait::until("the daemon listens", || {
            daemon.pid().is_some() && TcpStream::connect(address).is_ok()
        });
        daemon
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The pid of the master, from the pid file.
    pub fn pid(&self) -> Option<i32> {
        read_pid(&self.prefix.path().join("nginx.pid"))
    }

    /// The pid of the master that an upgrade has replaced, while it runs.
    pub fn old_pid(&self) -> Option<i32> {
        read_pid(&self.prefix.path().join("nginx.pid.oldbin"))
    }

    /// The workers of a master. The new master of an upgrade is a child of the old one, too.
    pub fn workers_of(&self, master: i32) -> Vec<i32> {
        let other = self.pid();
        children(master).into_iter().filter(|pid| Some(*pid) != other).collect()
    }

    pub fn error_log(&self) -> String {
        fs::read_to_string(self.prefix.path().join("error.log")).unwrap_or_default()
    }

    /// All living processes: masters and workers.
    fn processes(&self) -> Vec<i32> {
        let masters: Vec<i32> = [self.pid(), self.old_pid()].into_iter().flatten().collect();
        let workers = masters.iter().flat_map(|master| children(*master));
        workers.chain(masters.iter().copied().filter(|master| is_alive(*master))).collect()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let processes = self.processes();
        for master in [self.pid(), self.old_pid()].into_iter().flatten() {
            kernel::signal(master, kernel::SIGQUIT);
        }
        let start = std::time::Instant::now();
        while processes.iter().any(|pid| is_alive(*pid)) && start.elapsed() < TIMEOUT {
            std::thread::sleep(Duration::from_millis(5));
        }
        let left: Vec<i32> = processes.into_iter().filter(|pid| is_alive(*pid)).collect();
        for pid in &left {
            kernel::signal(*pid, kernel::SIGKILL);
        }
        let log = self.error_log();
        if std::thread::panicking() {
            println!("--- the daemon's error.log\n{log}");
        } else {
            assert!(left.is_empty(), "did not quit: {left:?}\n{log}");
            never_logged(log.lines(), &[]);
        }
    }
}

/// Whether a process is alive. One that has ended, but was not waited for, is a zombie, and not alive.
pub fn is_alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().unwrap_or_default().split_whitespace().next();
    state.is_some_and(|state| state != "Z" && state != "X")
}

fn read_pid(file: &Path) -> Option<i32> {
    fs::read_to_string(file).ok()?.trim().parse().ok().filter(|pid| is_alive(*pid))
}
