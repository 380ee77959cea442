//! Owns what the tests run: the tool itself, memcached servers, an nginx with the module. What they
//! start ends with them.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// Longer than anything here takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

/// What a run of the tool left.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: Vec<u8>,
    pub err: String,
}

impl Ran {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.out).unwrap()
    }

    pub fn lines(&self) -> Vec<&str> {
        self.text().lines().collect()
    }

    /// The objects that were printed.
    pub fn json(&self) -> Vec<Value> {
        self.lines().into_iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Runs the tool.
#[track_caller]
pub fn ctl(arguments: &[&str]) -> Ran {
    ctl_with_input(arguments, b"")
}

/// The same, with something on its standard input.
#[track_caller]
pub fn ctl_with_input(arguments: &[&str], input: &[u8]) -> Ran {
    let mut child = Command::new(env!("CARGO_BIN_EXE_pagecachectl"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = thread::spawn(move || {
        // one that does not read it may end before
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(!err.contains("panicked"), "{err}");
    Ran { code: output.status.code().unwrap(), out: output.stdout, err }
}

/// Runs the tool on a terminal. Returns what that would have shown.
#[track_caller]
pub fn ctl_on_terminal(arguments: &[&str]) -> Vec<u8> {
    let quoted = |word: &&str| format!("'{}'", word.replace('\'', "'\\''"));
    let program = env!("CARGO_BIN_EXE_pagecachectl");
    let words: Vec<String> = [&[program], arguments].concat().iter().map(quoted).collect();
    let output = Command::new(installed("script"))
        .args(["--quiet", "--command", &words.join(" "), "/dev/null"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A real memcached on a port of its own.
pub struct Memcached {
    pub address: String,
    process: Option<Running>,
}

impl Memcached {
    pub fn start() -> Memcached {
        let port = free_port();
        let address = format!("127.0.0.1:{port}");
        let place = ["-l", "127.0.0.1", "-p", &port.to_string()].map(str::to_owned);
        Memcached::run(address, &place)
    }

    pub fn start_on_socket(folder: &Path) -> Memcached {
        let path = folder.join("memcached.sock").display().to_string();
        Memcached::run(format!("unix:{path}"), &["-s".to_owned(), path])
    }

    fn run(address: String, place: &[String]) -> Memcached {
        let child = Command::new(installed("memcached"))
            // as root, it insists on being told whom to become
            .args(place)
            .args(["-U", "0", "-m", "16", "-t", "1", "-u", "root"])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let memcached = Memcached { address, process: Some(Running(child)) };
        until("memcached listens", || memcached.connect().is_some());
        memcached
    }

    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Stores an item, for so many seconds; 0 is for ever.
    pub fn set(&self, key: &str, value: &str, flags: u32, ttl: u32) {
        let command = format!("set {key} {flags} {ttl} {}\r\n{value}\r\n", value.len());
        assert_eq!(self.say(&command), "STORED");
    }

    pub fn has(&self, key: &str) -> bool {
        self.say(&format!("touch {key} 0\r\n")) == "TOUCHED"
    }

    fn say(&self, command: &str) -> String {
        let (mut writer, reader) = self.connect().unwrap();
        writer.write_all(command.as_bytes()).unwrap();
        let mut line = String::new();
        BufReader::new(reader).read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn connect(&self) -> Option<(Box<dyn Write>, Box<dyn Read>)> {
        if let Some(path) = self.address.strip_prefix("unix:") {
            let stream = std::os::unix::net::UnixStream::connect(path).ok()?;
            return Some((Box::new(stream.try_clone().unwrap()), Box::new(stream)));
        }
        let stream = TcpStream::connect(&self.address).ok()?;
        Some((Box::new(stream.try_clone().unwrap()), Box::new(stream)))
    }
}

/// A server that takes connections and never says anything.
pub fn silent() -> (TcpListener, String) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

/// A real nginx with the module.
pub struct Nginx {
    pub address: String,
    pub config: String,
    _process: Running,
    _folder: TempDir,
}

impl Nginx {
    /// `http` stands in `http { }`; `@LISTEN@` in it is the address to listen on. `files` stand beside
    /// the configuration.
    pub fn start(http: &str, files: &[(&str, &str)]) -> Nginx {
        let folder = tempfile::tempdir().unwrap();
        let address = format!("127.0.0.1:{}", free_port());
        let prefix = folder.path().display().to_string();
        for (name, text) in files {
            fs::write(folder.path().join(name), text.replace("@LISTEN@", &address)).unwrap();
        }
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {prefix}/{name};"))
            .concat();
        let text = format!(
            "load_module {};\ndaemon off;\nmaster_process off;\npid {prefix}/pid;\nuser root;\n\
             error_log {prefix}/error.log info;\nevents {{ }}\n\
             http {{ access_log off; {temporary}\n{}\n}}\n",
            module().display(),
            http.replace("@LISTEN@", &address)
        );
        let config = folder.path().join("nginx.conf");
        fs::write(&config, text).unwrap();
        let child = Command::new(program())
            .args(["-p", &prefix, "-e", &format!("{prefix}/error.log"), "-c"])
            .arg(&config)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut process = Running(child);
        until("nginx listens", || {
            if process.0.try_wait().unwrap().is_some() {
                panic!("{}", fs::read_to_string(folder.path().join("error.log")).unwrap());
            }
            TcpStream::connect(&address).is_ok()
        });
        let config = config.display().to_string();
        Nginx { address, config, _process: process, _folder: folder }
    }

    /// The status and the body of the answer to a request, which is sent as it is.
    pub fn ask(&self, target: &[u8], headers: &str) -> (u16, Vec<u8>) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let request =
            [b"GET ", target, b" HTTP/1.1\r\nConnection: close\r\n", headers.as_bytes(), b"\r\n"];
        stream.write_all(&request.concat()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer[end + 4..].to_vec())
    }
}

/// A port that nobody listens on, below those that the kernel gives to clients.
pub fn free_port() -> u16 {
    static HANDED_OUT: AtomicU16 = AtomicU16::new(0);
    let start = std::process::id().wrapping_mul(991);
    for _ in 0..20_000 {
        let nth = u32::from(HANDED_OUT.fetch_add(1, Ordering::Relaxed));
        let port = 12_000 + u16::try_from((start.wrapping_add(nth)) % 20_000).unwrap();
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port");
}

#[track_caller]
fn until(what: &str, mut probe: impl FnMut() -> bool) {
    let start = Instant::now();
    while !probe() {
        assert!(start.elapsed() < LIMIT, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// As the end-to-end tests: `PAGECACHE_MODULE`, or what `scripts/build` leaves.
fn module() -> PathBuf {
    let built =
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/ngx_http_pagecache_module.so");
    let module = env::var_os("PAGECACHE_MODULE").map_or_else(built, PathBuf::from);
    assert!(module.exists(), "{} is missing: run scripts/build", module.display());
    module
}

fn program() -> PathBuf {
    env::var_os("PAGECACHE_NGINX").map_or_else(|| installed("nginx"), PathBuf::from)
}

/// The system folders count even where PATH lacks them.
fn installed(program: &str) -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/bin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
        .unwrap_or_else(|| panic!("{program} is not installed"))
}
