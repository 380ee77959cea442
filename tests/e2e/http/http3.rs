//! HTTP/3, on an nginx that supports it: nginx notices that a client leaves during a lookup, and the application
//! renders no page for it; a client that reads nothing takes no more than its part of the buffers.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use crate::harness::*;

const REQUESTS: usize = 20;

/// A client, the program tests/clients/http3.py.
struct Visitor3(Child);

impl Visitor3 {
    fn start(port: u16, how: &str, paths: &[String]) -> Visitor3 {
        let mut command = kernel::dying_with_the_tests(&Command::new(parts::venv("python")));
        command.env("PYTHONPATH", parts::http3_packages());
        command.arg(parts::root().join("tests/clients/http3.py")).arg(port.to_string()).arg(how);
        let command = command.args(paths).stdin(Stdio::piped()).stdout(Stdio::piped());
        Visitor3(command.spawn().unwrap())
    }

    /// Cancels the requests; returns when nginx knows.
    fn leaves(&mut self) {
        self.0.stdin.as_ref().unwrap().write_all(b"leave\n").unwrap();
        assert_eq!(self.says(), "left\n");
    }

    /// The next line of the program's output.
    fn says(&mut self) -> String {
        let mut said = String::new();
        BufReader::new(self.0.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
        said
    }

    /// Closes the connection, too.
    fn goes(mut self) {
        drop(self.0.stdin.take());
        assert!(self.0.wait().unwrap().success());
    }
}

/// A key and a certificate, as files for nginx.
fn certificate(folder: &std::path::Path) -> String {
    let (key, certificate) = (folder.join("key.pem"), folder.join("certificate.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args(["-days", "2", "-subj", "/CN=site.example", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let [key, certificate] = [key, certificate].map(|path| path.display().to_string());
    format!("ssl_certificate {certificate}; ssl_certificate_key {key};")
}

/// A client leaves in this way while its lookups are held back, which then are misses.
#[track_caller]
fn leaves_in_time(how: &str) {
    let gate = Gate::default();
    let held = gate.clone();
    let fake = Fake::start(move |lookup| match lookup.key_text().starts_with("/held") {
        true => vec![Step::Wait(held.clone()), Step::Send(lookup.miss())],
        false => vec![Step::Send(lookup.hit("settled"))],
    });
    let folder = prefix();
    let port = free_port();
    let site = plan()
        .upstream(&format!("server {}; pagecache_connections 1;", fake.address()))
        .server(&format!("listen 127.0.0.1:{port} quic; {}", certificate(folder.path())))
        .server("location = /mark { return 200 mark; }")
        .start();
    let paths: Vec<String> = (0..REQUESTS).map(|nth| format!("/held/{nth}")).collect();
    let mut visitor = Visitor3::start(port, how, &paths);
    fake.wait_for_lookups(REQUESTS);
    visitor.leaves();
    gate.open();
    // its reply follows theirs
    expect::hit(&site.get("/settled"), "settled");
    // all requests have ended, including the mark and the last ones
    let log = site.nginx.access_log(REQUESTS + 2);
    let answered = log.iter().filter(|line| line.http_status == "200").count();
    assert_eq!(answered, 2, "{how}");
    // earlier requests have been received by then
    for _ in 0..REQUESTS {
        expect::application(&site.ask(&Request::new("POST", "/last")), "BYPASS", "method");
    }
    assert_eq!(site.application().requests().len(), REQUESTS, "{how}");
    visitor.goes();
}

#[test]
fn nobody_renders_for_those_who_left() {
    if !parts::nginx_has("--with-http_v3_module") {
        eprintln!("this nginx has no HTTP/3");
        return;
    }
    for how in ["stop", "reset", "close"] {
        leaves_in_time(how);
    }
}

#[test]
fn all_streams_of_a_connection_hold_a_quarter_together() {
    if !parts::nginx_has("--with-http_v3_module") {
        eprintln!("this nginx has no HTTP/3");
        return;
    }
    let folder = prefix();
    let port = free_port();
    let site = plan()
        .without_application()
        .upstream("server @MEMCACHED@; pagecache_buffers 16m;")
        .server(&format!("listen 127.0.0.1:{port} quic; {}", certificate(folder.path())))
        .start();
    let page = bytes::pattern(1 << 20, 1);
    let paths: Vec<String> = (0..REQUESTS).map(|nth| format!("/many/{nth}")).collect();
    paths.iter().for_each(|path| site.memcached().set(path, &page, BYTES));
    let mut visitors = [(); 2].map(|()| Visitor3::start(port, "hold", &paths));
    for visitor in &mut visitors {
        assert_eq!(visitor.says(), "4\n");
    }
    expect::hit(&site.get(&paths[0]), &page);
    visitors.into_iter().for_each(Visitor3::goes);
    wait::until("there is room again", || {
        let mut visitor = Visitor3::start(port, "hold", &paths[..4]);
        let hits = visitor.says();
        visitor.goes();
        hits == "4\n"
    });
}
