//! Owns the application: Django under uWSGI, and the file in which it counts its requests.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::Process;
use crate::{parts, ports};

/// How nginx reaches the application.
#[derive(Clone, Copy, PartialEq)]
pub enum Interface {
    Uwsgi,
    /// Whose connections stay if the client asks for it.
    Http,
    FastCgi,
}

/// One line of the application's count.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    pub method: String,
    /// As the client wrote it: REQUEST_URI.
    pub uri: String,
    /// The header, `-` without one.
    pub content_length: String,
    pub body_length: usize,
    pub body_sha256: String,
}

/// What the application stores, and how nginx's configuration describes it.
#[derive(Clone)]
pub struct Writes {
    /// Each page it renders, not only those of `/stored/`.
    pub every_page: bool,
    pub memcached: String,
    pub key: String,
    /// PAGECACHE_IGNORE_ARGS, in nginx's words.
    pub ignored: String,
    pub content_type: String,
    /// PAGECACHE_FORMAT.
    pub format: &'static str,
}

pub struct Application {
    address: String,
    requests: PathBuf,
    _process: Process,
}

impl Default for Writes {
    /// Nothing: for a site without memcached.
    fn default() -> Writes {
        Writes {
            every_page: false,
            memcached: "127.0.0.1:1".to_owned(),
            key: "$uri".to_owned(),
            ignored: String::new(),
            content_type: "text/html; charset=utf-8".to_owned(),
            format: "body",
        }
    }
}

impl Application {
    pub fn start(prefix: &Path, interface: Interface, writes: &Writes) -> Application {
        let requests = prefix.join("requests");
        fs::write(&requests, "").unwrap();
        let socket = prefix.join("application.sock").display().to_string();
        let (option, listen, address) = match interface {
            Interface::Uwsgi => ("--uwsgi-socket", socket.clone(), format!("unix:{socket}")),
            Interface::FastCgi => ("--fastcgi-socket", socket.clone(), format!("unix:{socket}")),
            Interface::Http => {
                let address = format!("127.0.0.1:{}", ports::free());
                ("--http11-socket", address.clone(), address)
            }
        };
        let mut command = Command::new(parts::venv("uwsgi"));
        command.args([option, &listen]).args([
            "--master",
            "--die-on-term",
            "--need-app",
            "--enable-threads",
            "--disable-logging",
            // Threads take requests; the backlog holds those of hundreds of clients at once.
            "--threads=8",
            "--listen=1024",
            "--buffer-size=32768",
            // The clients' connections of one test may wait for each other.
            "--socket-timeout=60",
            "--module=application",
        ]);
        if interface == Interface::Http {
            // Head and body leave in two writes, of which the second would wait for the first's ACK.
            command.arg("--tcp-nodelay");
        }
        command.arg("--chdir").arg(parts::root().join("testkit/app"));
        command.env("E2E_REQUESTS", &requests);
        command.env("E2E_MEMCACHED", &writes.memcached);
        command.env("PAGECACHE_KEY", &writes.key);
        command.env("PAGECACHE_IGNORE_ARGS", &writes.ignored);
        command.env("PAGECACHE_CONTENT_TYPE", &writes.content_type);
        command.env("PAGECACHE_FORMAT", writes.format);
        if writes.every_page {
            command.env("E2E_STORES", "1");
        }
        command.env("PYTHONPATH", parts::root().join("django"));
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        let log = prefix.join("uwsgi.log");
        let mut process = Process::start("uwsgi", &command, &log).killed_at_the_end();
        // From here on the kernel's backlog holds requests until Django is loaded.
        process.wait_until("listens", || match address.strip_prefix("unix:") {
            Some(path) => std::os::unix::net::UnixStream::connect(path).is_ok(),
            None => std::net::TcpStream::connect(&address).is_ok(),
        });
        Application { address, requests, _process: process }
    }

    /// As an nginx configuration names it.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The requests it has seen, in the order they came.
    pub fn requests(&self) -> Vec<Seen> {
        let text = fs::read(&self.requests).unwrap();
        String::from_utf8_lossy(&text).lines().map(seen).collect()
    }

    /// How many requests it has seen.
    pub fn count(&self) -> usize {
        self.requests().len()
    }

    /// The one request since `before` were seen.
    #[track_caller]
    pub fn only_since(&self, before: usize) -> Seen {
        let requests = self.requests();
        assert_eq!(requests.len(), before + 1, "{:?}", &requests[before..]);
        requests[before].clone()
    }
}

fn seen(line: &str) -> Seen {
    let words: Vec<&str> = line.split('\t').collect();
    let &[method, uri, content_length, body_length, body_sha256] = words.as_slice() else {
        panic!("not a line of the count: {line:?}");
    };
    Seen {
        method: method.to_owned(),
        uri: uri.to_owned(),
        content_length: content_length.to_owned(),
        body_length: body_length.parse().unwrap(),
        body_sha256: body_sha256.to_owned(),
    }
}
