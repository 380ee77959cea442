//! Owns real memcached servers and an application's commands to them: items are written through the `memcache`
//! crate, or as raw text if the crate's keys cannot hold the bytes.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use memcache::ToMemcacheValue;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::process::Process;
use crate::{kernel, measure, parts, ports, prefix, wait};

/// The flags of bytes. Django stores bytes with 0 and text with 16; its pickles have 1.
pub const BYTES: u32 = 0;
pub const TEXT: u32 = 16;
pub const PICKLE: u32 = 1;

/// Where a memcached listens.
#[derive(Clone)]
enum Place {
    Port(u16),
    Socket(PathBuf),
}

pub struct Memcached {
    place: Place,
    log: PathBuf,
    process: Option<Process>,
    /// The folder of its log, unless the test provides one.
    _folder: Option<TempDir>,
    /// One connection, opened by the first `set` after each start.
    application: OnceLock<memcache::Client>,
}

impl Memcached {
    /// Starts a memcached on a free port of its own.
    pub fn start(prefix: &Path) -> Memcached {
        let mut memcached = Memcached::stopped(prefix);
        memcached.restart();
        memcached
    }

    /// The same, in a folder of its own.
    pub fn alone() -> Memcached {
        let folder = prefix();
        let memcached = Memcached::start(folder.path());
        Memcached { _folder: Some(folder), ..memcached }
    }

    /// Takes a port, but does not start.
    pub fn stopped(prefix: &Path) -> Memcached {
        let log = prefix.join("memcached.log");
        let place = Place::Port(ports::free());
        Memcached { place, log, process: None, _folder: None, application: OnceLock::new() }
    }

    /// Starts a memcached on a unix socket.
    pub fn start_on_socket(prefix: &Path) -> Memcached {
        let mut memcached = Memcached::stopped(prefix);
        memcached.place = Place::Socket(prefix.join("memcached.sock"));
        memcached.restart();
        memcached
    }

    /// The address as an nginx configuration names it.
    pub fn address(&self) -> String {
        match &self.place {
            Place::Port(port) => format!("127.0.0.1:{port}"),
            Place::Socket(path) => format!("unix:{}", path.display()),
        }
    }

    /// The port, for an address written in another form.
    pub fn port(&self) -> u16 {
        match self.place {
            Place::Port(port) => port,
            Place::Socket(_) => panic!("listens on a socket"),
        }
    }

    /// Starts it at its address, empty, after stopping the running one.
    pub fn restart(&mut self) {
        self.restart_with(&[]);
    }

    /// The same, with more options on its command line.
    pub fn restart_with(&mut self, options: &[&str]) {
        self.stop();
        let mut command = Command::new(parts::installed("memcached"));
        match &self.place {
            Place::Port(port) => command.args(["-l", "127.0.0.1", "-p", &port.to_string()]),
            Place::Socket(path) => {
                let _ = std::fs::remove_file(path);
                command.args(["-a", "0777", "-s"]).arg(path)
            }
        };
        // Larger values than the default 1 MB, so that it is the module that refuses them.
        command.args(["-U", "0", "-m", "512", "-t", "2", "-I", "16m"]);
        if kernel::is_root() {
            command.args(["-u", "root"]);
        }
        command.args(options);
        let mut process = Process::start("memcached", &command, &self.log);
        process.wait_until("listens", || self.try_link().is_ok());
        self.process = Some(process);
    }

    pub fn stop(&mut self) {
        self.application.take();
        // A paused process would not receive the signal to end.
        self.resume();
        self.process = None;
    }

    /// Ends it like a crash.
    pub fn crash(&mut self) {
        self.signal(kernel::SIGKILL);
        self.stop();
    }

    /// Pauses it, like a machine that swaps or a virtual one that is migrated: the kernel still accepts connections
    /// and bytes for it. Returns when the process is stopped.
    #[track_caller]
    pub fn pause(&mut self) {
        self.signal(kernel::SIGSTOP);
        if let Some(process) = &self.process {
            wait::until("memcached is stopped", || measure::is_in_state(process.pid(), 'T'));
        }
    }

    pub fn resume(&mut self) {
        self.signal(kernel::SIGCONT);
    }

    fn signal(&mut self, signal: Signal) {
        if let Some(process) = &mut self.process {
            process.signal(signal);
        }
    }

    /// Opens a connection for this test.
    pub fn link(&self) -> Link {
        self.try_link().unwrap()
    }

    fn try_link(&self) -> io::Result<Link> {
        match &self.place {
            Place::Port(port) => Link::over(TcpStream::connect(("127.0.0.1", *port))?),
            Place::Socket(path) => {
                let stream = UnixStream::connect(path)?;
                Ok(Link {
                    reader: BufReader::new(Box::new(stream.try_clone()?)),
                    writer: Box::new(stream),
                })
            }
        }
    }

    /// Whether the item exists.
    pub fn has(&self, key: &str) -> bool {
        self.link().get(key.as_bytes()).is_some()
    }

    /// Stores a page as an application does.
    #[track_caller]
    pub fn set(&self, key: &str, value: impl AsRef<[u8]>, flags: u32) {
        let client = self.application.get_or_init(|| {
            let url = match &self.place {
                Place::Port(port) => format!("memcache://127.0.0.1:{port}?timeout=30"),
                Place::Socket(path) => format!("memcache://{}", path.display()),
            };
            memcache::connect(url).unwrap()
        });
        client.set(key, Item { value: value.as_ref(), flags }, 0).unwrap();
    }
}

/// A value with flags that the test chooses; the crate itself stores all strings with 0.
struct Item<'a> {
    value: &'a [u8],
    flags: u32,
}

impl<W: Write> ToMemcacheValue<W> for Item<'_> {
    fn get_flags(&self) -> u32 {
        self.flags
    }

    fn get_length(&self) -> usize {
        self.value.len()
    }

    fn write_to(&self, stream: &mut W) -> io::Result<()> {
        stream.write_all(self.value)
    }
}

/// A connection that speaks the text protocol.
pub struct Link {
    reader: BufReader<Box<dyn Read>>,
    writer: Box<dyn Write>,
}

impl Link {
    pub fn over(stream: TcpStream) -> io::Result<Link> {
        let reader = BufReader::new(Box::new(stream.try_clone()?) as Box<dyn Read>);
        Ok(Link { reader, writer: Box::new(stream) })
    }

    /// `set`, with any key that memcached accepts.
    #[track_caller]
    pub fn set(&mut self, key: &[u8], value: &[u8], flags: u32) {
        self.set_for(key, value, flags, 0);
    }

    /// The same, with an expiry in seconds; 0: never.
    #[track_caller]
    pub fn set_for(&mut self, key: &[u8], value: &[u8], flags: u32, seconds: u32) {
        let numbers = format!(" {flags} {seconds} {}\r\n", value.len());
        let command = [b"set ", key, numbers.as_bytes(), value, b"\r\n"].concat();
        self.writer.write_all(&command).unwrap();
        assert_eq!(self.line(), "STORED", "key {}", key.escape_ascii());
    }

    /// The flags and the value, if the item exists.
    pub fn get(&mut self, key: &[u8]) -> Option<(u32, Vec<u8>)> {
        self.writer.write_all(&[b"get ", key, b"\r\n"].concat()).unwrap();
        let head = self.line();
        let mut words = head.split(' ');
        if words.next() != Some("VALUE") {
            return None;
        }
        let mut numbers = words.skip(1).map(|number| number.parse::<u32>().unwrap());
        let flags = numbers.next().unwrap();
        let mut value = vec![0; usize::try_from(numbers.next().unwrap()).unwrap()];
        self.reader.read_exact(&mut value).unwrap();
        assert_eq!((self.line().as_str(), self.line().as_str()), ("", "END"));
        Some((flags, value))
    }

    /// The cas number of the item.
    #[track_caller]
    pub fn cas(&mut self, key: &[u8]) -> u64 {
        self.writer.write_all(&[b"gets ", key, b"\r\n"].concat()).unwrap();
        let head = self.line();
        let words: Vec<&str> = head.split(' ').collect();
        let &["VALUE", _, _, length, cas] = words.as_slice() else { panic!("no item: {head}") };
        let mut rest = vec![0; length.parse::<usize>().unwrap() + b"\r\nEND\r\n".len()];
        self.reader.read_exact(&mut rest).unwrap();
        cas.parse().unwrap()
    }

    /// Seconds until the item expires; `None` if it never does.
    #[track_caller]
    pub fn ttl(&mut self, key: &[u8]) -> Option<u64> {
        let line = self.meta([b"mg ", key, b" t"].concat());
        let ttl = line.strip_prefix("HD t").unwrap_or_else(|| panic!("no item: {line}"));
        // -1: never
        ttl.parse().ok()
    }

    /// Sends a meta command and returns the line of its reply.
    #[track_caller]
    pub fn meta(&mut self, command: impl AsRef<[u8]>) -> String {
        self.writer.write_all(&[command.as_ref(), b"\r\n"].concat()).unwrap();
        self.line()
    }

    /// Deletes all items.
    pub fn flush(&mut self) {
        self.writer.write_all(b"flush_all\r\n").unwrap();
        assert_eq!(self.line(), "OK");
    }

    /// One value of `stats`.
    pub fn stat(&mut self, name: &str) -> u64 {
        self.writer.write_all(b"stats\r\n").unwrap();
        let mut found = None;
        loop {
            let line = self.line();
            let words: Vec<&str> = line.split(' ').collect();
            match words.as_slice() {
                ["END"] => return found.unwrap_or_else(|| panic!("no statistic {name}")),
                ["STAT", other, value] if *other == name => found = value.parse().ok(),
                _ => {}
            }
        }
    }

    fn line(&mut self) -> String {
        let mut line = Vec::new();
        self.reader.read_until(b'\n', &mut line).unwrap();
        assert!(line.ends_with(b"\r\n"), "memcached closed");
        line.truncate(line.len() - 2);
        String::from_utf8_lossy(&line).into_owned()
    }
}
