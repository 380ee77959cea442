//! Owns the application whose responses the test decides: uWSGI, which speaks each protocol by which nginx passes
//! requests on, with tests/e2e/app/responses.py.

use std::fs;
use std::process::Command;

use pagecache_testkit::application::UWSGI_OPTIONS;
use pagecache_testkit::process::Process;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::*;

/// How nginx passes requests on, and how the length of a response is said.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Way {
    Uwsgi,
    /// HTTP/1.0 with a Content-Length.
    Http10,
    /// HTTP/1.1 with a Content-Length, over a connection that stays open.
    Http11,
    /// HTTP/1.1 in chunks.
    Chunked,
    /// HTTP/1.0; the end of the connection is the end of the response.
    ByClose,
    FastCgi,
    /// FastCGI without a Content-Length; FCGI_END_REQUEST ends the response.
    FastCgiByRecord,
    Scgi,
}

/// A response of the application.
#[derive(Clone, Debug)]
pub struct Rendered {
    status: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    dies: Option<usize>,
    unchanged: Option<Box<Rendered>>,
    waits: bool,
    stores: Option<(String, String, u32)>,
    stores_late: bool,
}

/// A page with nothing but a Content-Type.
pub fn rendered(status: u16) -> Rendered {
    Rendered {
        status: format!("{status} Status"),
        headers: Vec::new(),
        body: Vec::new(),
        dies: None,
        unchanged: None,
        waits: false,
        stores: None,
        stores_late: false,
    }
    .header("Content-Type", "text/html")
    .body("render=@RENDER@\n")
}

/// A page that may be stored.
pub fn page() -> Rendered {
    rendered(200).header("Cache-Control", "max-age=600")
}

impl Rendered {
    pub fn status(mut self, status: u16) -> Rendered {
        self.status = format!("{status} Status");
        self
    }

    /// Adds a header, also if there is one with this name already.
    pub fn header(mut self, name: &str, value: &str) -> Rendered {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Removes the headers with this name.
    pub fn without(mut self, name: &str) -> Rendered {
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self
    }

    /// `@RENDER@` becomes eight characters that no other render has, and `@ECHO@` the request.
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Rendered {
        self.body = body.as_ref().to_vec();
        self
    }

    /// The process of the application is killed after so many bytes of the body.
    pub fn dies_after(mut self, bytes: usize) -> Rendered {
        self.dies = Some(bytes);
        self
    }

    /// The response to a request with If-None-Match or If-Modified-Since.
    pub fn if_unchanged(mut self, response: Rendered) -> Rendered {
        self.unchanged = Some(Box::new(response));
        self
    }

    /// It comes only when the test says so: [`Application::release`].
    pub fn waits(mut self) -> Rendered {
        self.waits = true;
        self
    }

    /// The application itself stores the body in memcached, at this key for so many seconds.
    pub fn stored(mut self, memcached: &Memcached, key: &str, seconds: u32) -> Rendered {
        self.stores = Some((memcached.address(), key.to_owned(), seconds));
        self
    }

    /// It is stored when it has been sent.
    pub fn late(mut self) -> Rendered {
        self.stores_late = true;
        self
    }

    /// Replaces `@PATH@` in headers by the path of its request, without the first slash.
    pub fn at(mut self, path: &str) -> Rendered {
        for (_, value) in &mut self.headers {
            *value = value.replace("@PATH@", path.trim_start_matches('/'));
        }
        self
    }

    fn json(&self) -> Value {
        let body: String = self.body.iter().map(|&byte| char::from(byte)).collect();
        let mut json = json!({
            "status": self.status,
            "headers": self.headers,
            "body": body,
            "dies": self.dies,
            "waits": self.waits,
            "late": self.stores_late,
            "unchanged": self.unchanged.as_ref().map(|response| response.json()),
        });
        if let Some((memcached, key, seconds)) = &self.stores {
            json["stores"] = json!([memcached, key, seconds]);
        }
        json
    }
}

/// A request as the application got it: the variables of CGI.
#[derive(Debug)]
pub struct Got(Value);

impl Got {
    /// The value of a variable, if it is set.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.0[name].as_str()
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.variable(&format!("HTTP_{}", name.to_uppercase().replace('-', "_")))
    }
}

pub struct Application {
    _process: Process,
    folder: TempDir,
}

/// The kinds of sockets, as uWSGI names them.
const KINDS: [&str; 5] = ["uwsgi", "http", "http11", "fastcgi", "scgi"];

impl Application {
    #[track_caller]
    pub fn start() -> Application {
        let folder = prefix();
        fs::create_dir(folder.path().join("responses")).unwrap();
        fs::write(folder.path().join("requests"), "").unwrap();
        let mut command = Command::new(parts::venv("uwsgi"));
        for kind in KINDS {
            let socket = folder.path().join(kind).display().to_string();
            command.args([format!("--{kind}-socket"), socket]);
        }
        command.args(UWSGI_OPTIONS).arg("--module=responses");
        command.arg("--chdir").arg(parts::root().join("tests/e2e/app"));
        command.env("E2E_REQUESTS", folder.path().join("requests"));
        command.env("E2E_RESPONSES", folder.path().join("responses"));
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        let log = folder.path().join("uwsgi.log");
        let mut process = Process::start("uwsgi", &command, &log).killed_at_the_end();
        for kind in KINDS {
            let socket = folder.path().join(kind);
            let listens = || std::os::unix::net::UnixStream::connect(&socket).is_ok();
            process.wait_until("listens", listens);
        }
        Application { _process: process, folder }
    }

    /// The directives of a location that passes requests on to it in this way.
    pub fn pass(&self, way: Way) -> String {
        let socket = |kind: &str| format!("unix:{}", self.folder.path().join(kind).display());
        let http = |kind, more| {
            format!("proxy_set_header Host $http_host; {more} proxy_pass http://{};", socket(kind))
        };
        let cgi = |kind, more| format!("{} {kind}_pass {};", params(kind, more), socket(kind));
        let kept_alive = "proxy_http_version 1.1; proxy_set_header Connection \"\";";
        let framing = |value: &str| format!("proxy_set_header X-Test-Framing {value};");
        match way {
            Way::Uwsgi => cgi("uwsgi", ""),
            Way::FastCgi => cgi("fastcgi", ""),
            Way::FastCgiByRecord => cgi("fastcgi", "fastcgi_param X_TEST_FRAMING none;"),
            Way::Scgi => cgi("scgi", "scgi_param SCGI 1;"),
            Way::Http10 => http("http", String::new()),
            Way::ByClose => http("http", framing("none")),
            Way::Http11 => http("http11", kept_alive.to_owned()),
            Way::Chunked => http("http11", kept_alive.to_owned() + &framing("chunked")),
        }
    }

    /// From now on, this is the response for a path, as the application sees it.
    pub fn renders(&self, path: &str, response: &Rendered) {
        let quoted: String = path
            .bytes()
            .map(|byte| match byte {
                b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'_' | b'.' | b'-' | b'~' => {
                    char::from(byte).to_string()
                }
                _ => format!("%{byte:02X}"),
            })
            .collect();
        let file = self.folder.path().join("responses").join(quoted);
        let new = self.folder.path().join("new");
        fs::write(&new, response.json().to_string()).unwrap();
        fs::rename(new, file).unwrap();
    }

    /// Has the responses come that wait, from now on.
    pub fn release(&self) {
        fs::write(self.folder.path().join("responses").join("released"), "").unwrap();
    }

    /// The responses that wait do so from now on.
    pub fn hold(&self) {
        fs::remove_file(self.folder.path().join("responses").join("released")).unwrap();
    }

    /// The requests that it has received, in their order.
    pub fn requests(&self) -> Vec<Got> {
        let text = fs::read_to_string(self.folder.path().join("requests")).unwrap();
        text.lines().map(|line| Got(serde_json::from_str(line).unwrap())).collect()
    }

    /// Those for a path, as the application sees it.
    pub fn requests_for(&self, path: &str) -> Vec<Got> {
        let mut requests = self.requests();
        requests.retain(|request| request.variable("PATH_INFO") == Some(path));
        requests
    }

    /// The number of requests that it has received for a path, as the application sees it.
    pub fn count(&self, path: &str) -> usize {
        self.requests_for(path).len()
    }
}

/// The parameters of a protocol like CGI. The headers of the request are passed on, too.
fn params(kind: &str, more: &str) -> String {
    let params = [
        "QUERY_STRING $query_string",
        "REQUEST_METHOD $request_method",
        "CONTENT_TYPE $content_type",
        "CONTENT_LENGTH $content_length",
        "REQUEST_URI $request_uri",
        "PATH_INFO $document_uri",
        "SERVER_PROTOCOL $server_protocol",
        "SERVER_NAME $server_name",
        "SERVER_PORT $server_port",
    ];
    params.map(|param| format!("{kind}_param {param};")).concat() + more
}
