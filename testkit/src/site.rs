//! Owns a whole site in a temporary prefix: nginx with the module, a memcached or the address of a fake one, and
//! the application. A `Plan` contains its differences from the default site.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::thread;

use tempfile::TempDir;

use crate::application::{Application, Interface, Writes};
use crate::http::{Client, Request, Response};
use crate::http2::Http2;
use crate::memcached::Memcached;
use crate::nginx::{Checked, Nginx};
use crate::prefix::{prefix, print_tail};
use crate::{directives, parts, ports};

/// Parsed by `nginx::Logged`.
const ACCESS_LOG: &str = "$status $pagecache_status $pagecache_reason $pagecache_server \
                          $pagecache_time $pagecache_key";

/// Where pages are looked up.
enum Store {
    Memcached,
    NotStarted,
    UnixSocket,
    /// At another address: that of a fake, or one without a server.
    At(String),
}

/// The plan of a site. In each text `@MEMCACHED@`, `@MEMCACHED_PORT@`, `@APPLICATION@`, `@PORT@`, `@HTTP2_PORT@`
/// and `@PREFIX@` are placeholders for values that are known only when the parts have their addresses.
pub struct Plan {
    store: Store,
    application: Option<Interface>,
    stores: bool,
    key: String,
    ignored: String,
    pass: String,
    content_type: String,
    http: String,
    server: String,
    location: String,
    named: String,
    locations: Option<String>,
    gives_memory_back: bool,
    names: Option<String>,
    processes: String,
    worker_connections: usize,
    event_method: &'static str,
    log_level: &'static str,
}

/// The default site: `$uri` is looked up in a real memcached, and Django handles misses.
pub fn plan() -> Plan {
    Plan {
        store: Store::Memcached,
        application: Some(Interface::Uwsgi),
        stores: false,
        key: "$uri".to_owned(),
        ignored: String::new(),
        pass: "@MEMCACHED@".to_owned(),
        content_type: "text/html; charset=utf-8".to_owned(),
        http: String::new(),
        server: String::new(),
        location: String::new(),
        named: String::new(),
        locations: None,
        names: None,
        gives_memory_back: false,
        processes: "worker_processes 1;".to_owned(),
        worker_connections: 4096,
        event_method: "epoll",
        log_level: "info",
    }
}

impl Plan {
    /// Looks pages up at `address`, which is a fake's or has no server.
    pub fn store_at(mut self, address: impl Into<String>) -> Plan {
        self.store = Store::At(address.into());
        self
    }

    /// memcached has an address, but does not run yet.
    pub fn memcached_not_started(mut self) -> Plan {
        self.store = Store::NotStarted;
        self
    }

    pub fn memcached_on_socket(mut self) -> Plan {
        self.store = Store::UnixSocket;
        self
    }

    /// nginx itself answers "application" in `@application`; these requests are not counted.
    pub fn without_application(mut self) -> Plan {
        self.application = None;
        self
    }

    /// nginx keeps its connections to the application open, and reuses them.
    pub fn application_kept_alive(mut self) -> Plan {
        self.application = Some(Interface::Http);
        self.http("upstream application { server @APPLICATION@; keepalive 4; }")
    }

    /// Looks pages up at `server`, in the form of `pagecache_pass`.
    pub fn pass(mut self, server: &str) -> Plan {
        server.clone_into(&mut self.pass);
        self
    }

    /// Looks pages up in an `upstream pages {}` with this content.
    pub fn upstream(self, text: &str) -> Plan {
        self.pass("pages").http(&format!("upstream pages {{ {text} }}"))
    }

    /// The application stores each page it renders.
    pub fn storing(mut self) -> Plan {
        self.stores = true;
        self
    }

    /// The key of `location /`, and the one under which the application stores pages.
    pub fn key(mut self, key: &str) -> Plan {
        key.clone_into(&mut self.key);
        self
    }

    /// Arguments that do not change a page, in nginx's notation, for nginx and the application; none: "".
    pub fn ignoring(mut self, words: &str) -> Plan {
        words.clone_into(&mut self.ignored);
        match words {
            "" => self,
            _ => self.location(&format!("pagecache_ignore_args {words};")),
        }
    }

    /// The type of nginx's pages, and of those of the application.
    pub fn content_type(mut self, text: &str) -> Plan {
        text.clone_into(&mut self.content_type);
        self
    }

    /// Adds to `http {}`.
    pub fn http(mut self, text: &str) -> Plan {
        self.http.push_str(text);
        self
    }

    /// Adds to `server {}`.
    pub fn server(mut self, text: &str) -> Plan {
        self.server.push_str(text);
        self
    }

    /// Adds to `location /`.
    pub fn location(mut self, text: &str) -> Plan {
        self.location.push_str(text);
        self
    }

    /// Adds to `location @application`.
    pub fn named(mut self, text: &str) -> Plan {
        self.named.push_str(text);
        self
    }

    /// Replaces `location /`; `location @application` stays.
    pub fn locations(mut self, text: &str) -> Plan {
        self.locations = Some(text.to_owned());
        self
    }

    /// Host names and their addresses, in the format of a hosts file. nginx knows no other names. Needs
    /// [`crate::names::can_be_mounted`].
    pub fn names(mut self, lines: &str) -> Plan {
        self.names = Some(lines.to_owned());
        self
    }

    pub fn workers(mut self, count: usize) -> Plan {
        self.processes = format!("worker_processes {count};");
        self
    }

    pub fn worker_connections(mut self, count: usize) -> Plan {
        self.worker_connections = count;
        self
    }

    /// nginx keeps no large blocks of freed memory.
    pub fn giving_memory_back(mut self) -> Plan {
        self.gives_memory_back = true;
        self
    }

    /// The method by which nginx waits for events.
    pub fn event_method(mut self, name: &'static str) -> Plan {
        self.event_method = name;
        self
    }

    /// Runs nginx as a single process, as developers do.
    pub fn single_process(mut self) -> Plan {
        crate::nginx::SINGLE_PROCESS.clone_into(&mut self.processes);
        self
    }

    pub fn log_level(mut self, level: &'static str) -> Plan {
        self.log_level = level;
        self
    }

    /// Starts all parts.
    #[track_caller]
    pub fn start(self) -> Site {
        let prefix = prefix();
        let memcached = match self.store {
            Store::Memcached => Some(Memcached::start(prefix.path())),
            Store::NotStarted => Some(Memcached::stopped(prefix.path())),
            Store::UnixSocket => Some(Memcached::start_on_socket(prefix.path())),
            Store::At(_) => None,
        };
        let store = match (&self.store, &memcached) {
            (Store::At(address), _) => address.clone(),
            (_, Some(memcached)) => memcached.address(),
            (_, None) => unreachable!("a store without a place"),
        };
        let application = self.application.map(|interface| {
            let writes = Writes {
                every_page: self.stores,
                memcached: store.clone(),
                key: self.key.clone(),
                ignored: self.ignored.clone(),
                content_type: self.content_type.clone(),
                ..Writes::default()
            };
            Application::start(prefix.path(), interface, &writes)
        });
        let port = ports::free();
        let http2_port = ports::free();
        let http2_address = SocketAddr::from(([127, 0, 0, 1], http2_port));
        let upstream = application.as_ref().map_or("", Application::address);
        let store_port = store.rsplit(':').next().unwrap_or_default();
        let configuration = self
            .configuration()
            .replace("@MEMCACHED@", &store)
            .replace("@MEMCACHED_PORT@", store_port)
            .replace("@APPLICATION@", upstream)
            .replace("@PORT@", &port.to_string())
            .replace("@HTTP2_PORT@", &http2_port.to_string())
            .replace("@PREFIX@", &prefix.path().display().to_string());
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let nginx = match &self.names {
            None if self.gives_memory_back => {
                Nginx::start_giving_memory_back(prefix.path(), &configuration, address)
            }
            None => Nginx::start(prefix.path(), &configuration, address),
            Some(lines) => {
                let hosts = prefix.path().join("hosts");
                fs::write(&hosts, lines).unwrap();
                Nginx::start_with_names(&hosts, prefix.path(), &configuration, address)
            }
        };
        Site { nginx, application, memcached, configuration, http2_address, prefix }
    }

    /// The same, but waits until Django is loaded, so that no test measures that time. The application has received
    /// a POST.
    #[track_caller]
    pub fn start_warm(self) -> Site {
        let site = self.start();
        let answer = site.ask(&Request::new("POST", "/warm"));
        assert!(answer.header("X-Application").is_some(), "{answer:?}");
        site
    }

    /// Runs `nginx -t` with the configuration. No part is started, and no server listens on the addresses.
    pub fn check(self) -> Checked {
        let prefix = prefix();
        let configuration = self
            .configuration()
            .replace("@MEMCACHED@", "127.0.0.1:11211")
            .replace("@APPLICATION@", "unix:/nowhere")
            .replace("@PORT@", &ports::free().to_string())
            .replace("@HTTP2_PORT@", &ports::free().to_string())
            .replace("@PREFIX@", &prefix.path().display().to_string());
        Nginx::check(prefix.path(), &configuration)
    }

    fn configuration(&self) -> String {
        let Plan {
            key,
            pass,
            content_type,
            http,
            server,
            location,
            named,
            processes,
            worker_connections,
            event_method,
            log_level,
            ..
        } = self;
        let module = parts::module().display().to_string();
        let foreground = directives::foreground("@PREFIX@");
        let temp_paths = directives::temp_paths("@PREFIX@");
        let locations = self.locations.clone().unwrap_or_else(|| {
            format!(
                "location / {{
                    pagecache_key      \"{key}\";
                    pagecache_pass     {pass};
                    pagecache_fallback @application;
                    {location}
                }}"
            )
        });
        let application = match self.application {
            None => "return 200 application;",
            Some(Interface::Http) => {
                "proxy_http_version 1.1;
                 proxy_set_header Connection \"\";
                 proxy_pass http://application;"
            }
            Some(_) => {
                "include     uwsgi_params;
                 uwsgi_param SEEN_STATUS $pagecache_status;
                 uwsgi_param SEEN_REASON $pagecache_reason;
                 uwsgi_param SEEN_KEY    $pagecache_key;
                 uwsgi_pass  @APPLICATION@;"
            }
        };
        // The timeout of lookups is far above the default: on a busy machine a test must not run into it unless it
        // tests time. Those tests set their own.
        format!(
            "load_module {module};
             {foreground}
             {processes}
             error_log @PREFIX@/error.log {log_level};
             events {{ use {event_method}; worker_connections {worker_connections}; }}
             http {{
                 types {{ text/html html; application/json json; application/xml xml; }}
                 default_type         \"{content_type}\";
                 log_format           pagecache \"{ACCESS_LOG}\";
                 access_log           @PREFIX@/access.log pagecache;
                 client_max_body_size 16m;
                 keepalive_requests   1000000;
                 pagecache_connect_timeout 10s;
                 pagecache_timeout         10s;
                 {temp_paths}
                 {http}
                 server {{
                     listen 127.0.0.1:@PORT@ backlog=1024;
                     listen 127.0.0.1:@HTTP2_PORT@ http2 backlog=1024;
                     add_header X-Cache  $pagecache_status always;
                     add_header X-Reason $pagecache_reason always;
                     add_header X-Key    $pagecache_key    always;
                     add_header X-Server $pagecache_server always;
                     add_header X-Time   $pagecache_time   always;
                     {server}
                     {locations}
                     location @application {{
                         {application}
                         {named}
                     }}
                 }}
             }}\n"
        )
    }
}

/// A running site. Its parts end in the order of the fields.
pub struct Site {
    pub nginx: Nginx,
    application: Option<Application>,
    memcached: Option<Memcached>,
    /// The configuration with which nginx was started.
    pub configuration: String,
    http2_address: SocketAddr,
    prefix: TempDir,
}

impl Site {
    pub fn memcached(&self) -> &Memcached {
        self.memcached.as_ref().unwrap()
    }

    pub fn memcached_mut(&mut self) -> &mut Memcached {
        self.memcached.as_mut().unwrap()
    }

    pub fn application(&self) -> &Application {
        self.application.as_ref().unwrap()
    }

    pub fn prefix(&self) -> &Path {
        self.prefix.path()
    }

    /// The URL for `curl --http2-prior-knowledge`.
    pub fn http2_url(&self, target: &str) -> String {
        format!("http://{}{target}", self.http2_address)
    }

    pub fn url(&self, target: &str) -> String {
        format!("http://{}{target}", self.nginx.address())
    }

    #[track_caller]
    pub fn client(&self) -> Client {
        Client::connect(self.nginx.address())
    }

    pub fn http2_address(&self) -> SocketAddr {
        self.http2_address
    }

    #[track_caller]
    pub fn http2_client(&self) -> Http2 {
        Http2::connect(self.http2_address)
    }

    /// Sends one request on a connection of its own.
    #[track_caller]
    pub fn ask(&self, request: &Request) -> Response {
        self.client().ask(request)
    }

    #[track_caller]
    pub fn get(&self, target: impl AsRef<[u8]>) -> Response {
        self.ask(&Request::get(target))
    }

    fn print_logs(&self) {
        for name in ["nginx.out", "error.log", "access.log", "uwsgi.log", "memcached.log"] {
            print_tail(&self.prefix.path().join(name));
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if thread::panicking() {
            self.print_logs();
        }
    }
}
