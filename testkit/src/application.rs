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
    /// HTTP with connections that are kept open if the client asks for it.
    Http,
    FastCgi,
}

/// One line of the application's log of requests.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    pub method: String,
    /// The URI as the client wrote it: REQUEST_URI.
    pub uri: String,
    /// The value of the header, `-` without one.
    pub content_length: String,
    pub body_length: usize,
    pub body_sha256: String,
}

/// What the application stores, and how nginx's configuration describes it.
#[derive(Clone)]
pub struct Writes {
    /// Every page that it renders, not only those of `/stored/`.
    pub every_page: bool,
    pub memcached: String,
    pub key: String,
    /// PAGECACHE_IGNORE_ARGS, as written in nginx's configuration.
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
    /// Stores nothing: for a site without memcached.
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

/// The options of uWSGI for each application of the tests.
pub const UWSGI_OPTIONS: [&str; 9] = [
    "--master",
    "--die-on-term",
    "--need-app",
    "--enable-threads",
    "--disable-logging",
    // Threads handle requests; the backlog holds those of hundreds of clients at the same time.
    "--threads=8",
    "--listen=1024",
    "--buffer-size=32768",
    // The client connections of one test may wait for each other.
    "--socket-timeout=60",
];

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
        command.args([option, &listen]).args(UWSGI_OPTIONS).arg("--module=application");
        if interface == Interface::Http {
            // Head and body are sent in two writes; the second would wait for the ACK of the first.
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
        // From now on the kernel's backlog holds requests until Django is loaded.
        process.wait_until("listens", || match address.strip_prefix("unix:") {
            Some(path) => std::os::unix::net::UnixStream::connect(path).is_ok(),
            None => std::net::TcpStream::connect(&address).is_ok(),
        });
        Application { address, requests, _process: process }
    }

    /// The address as an nginx configuration names it.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The requests that it has received, in their order.
    pub fn requests(&self) -> Vec<Seen> {
        let text = fs::read(&self.requests).unwrap();
        String::from_utf8_lossy(&text).lines().map(seen).collect()
    }

    /// The number of requests that it has received.
    pub fn count(&self) -> usize {
        self.requests().len()
    }

    /// The only request after the first `before` ones.
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
