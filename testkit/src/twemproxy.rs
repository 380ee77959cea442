//! Owns twemproxy in front of several memcacheds. On each of its connections it returns the replies in the order of
//! the lookups.

use std::fs;
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::memcached::{Link, Memcached};
use crate::prefix::prefix;
use crate::process::Process;
use crate::{parts, ports};

/// twemproxy ends before its folder is removed.
pub struct Twemproxy {
    port: u16,
    _process: Process,
    _prefix: TempDir,
}

impl Twemproxy {
    /// If a server is silent for `timeout`, twemproxy itself answers with SERVER_ERROR.
    pub fn before(servers: &[Memcached], timeout: Duration) -> Twemproxy {
        let (prefix, port) = (prefix(), ports::free());
        let names = servers.iter().enumerate();
        let lines: String =
            names.map(|(nth, server)| format!("   - {}:1 s{nth}\n", server.address())).collect();
        let configuration = format!(
            "pages:\n  listen: 127.0.0.1:{port}\n  hash: fnv1a_64\n  distribution: ketama\n  \
             timeout: {}\n  auto_eject_hosts: false\n  servers:\n{lines}",
            timeout.as_millis()
        );
        let file = prefix.path().join("nutcracker.yml");
        fs::write(&file, configuration).unwrap();
        let mut command = Command::new(parts::installed("nutcracker"));
        command.arg("-c").arg(file).args(["-a", "127.0.0.1", "-s", &ports::free().to_string()]);
        let log = prefix.path().join("nutcracker.log");
        let mut process = Process::start("nutcracker", &command, &log);
        process.wait_until("listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Twemproxy { port, _process: process, _prefix: prefix }
    }

    /// The address as an nginx configuration names it.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Opens a connection for this test.
    pub fn link(&self) -> Link {
        Link::over(TcpStream::connect(("127.0.0.1", self.port)).unwrap()).unwrap()
    }
}
