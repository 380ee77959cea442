//! Owns a site that follows the README exactly: its blocks for nginx and for Django's settings are unchanged,
//! except for addresses and paths, around a new Django project.

use std::fs;
use std::net::SocketAddr;

use pagecache_testkit::{
    Client, Memcached, Nginx, Request, Response, directives, parts, ports, prefix,
};
use tempfile::TempDir;

use super::document::{self, replace};
use super::project::Project;

/// The names in nginx's `server_name`, in the README, and in ALLOWED_HOSTS of tests/e2e/app/readme_settings.py.
pub const NAMES: [&str; 2] = ["example.com", "www.example.com"];

/// Its parts end in this order.
pub struct Followed {
    nginx: Nginx,
    /// The address at which nginx passes every request to Django.
    past_the_cache: SocketAddr,
    _project: Project,
    _memcached: Vec<Memcached>,
    _prefix: TempDir,
}

impl Followed {
    /// Starts it with this number of memcached servers; `params` changes Debian's `uwsgi_params`.
    pub fn start(servers: usize, params: impl Fn(&str) -> String) -> Followed {
        let prefix = prefix();
        let file = prefix.path().join("uwsgi_params");
        fs::write(&file, params(&fs::read_to_string(&file).unwrap())).unwrap();
        let memcached: Vec<Memcached> =
            (0..servers).map(|_| Memcached::start(prefix.path())).collect();
        let [address, past_the_cache] =
            [(); 2].map(|()| SocketAddr::from(([127, 0, 0, 1], ports::free())));
        let readme = document::text("README.md");
        let blocks = document::blocks(document::section(&readme, "Use it"));
        let [block, several] = blocks.try_into().unwrap();
        let mut configuration =
            placed(&block, prefix.path().to_str().unwrap(), address, past_the_cache);
        let readme = document::text("django/README.md");
        let mut settings = document::blocks(document::section(&readme, "Settings")).remove(0);
        if let [memcached] = &memcached[..] {
            configuration = replace(&configuration, "127.0.0.1:11211", &memcached.address());
            let several = "[\"10.0.0.1:11211\", \"10.0.0.2:11211\"]";
            settings = replace(&settings, several, &format!("[\"{}\"]", memcached.address()));
        } else {
            let one = "upstream pages  { server 127.0.0.1:11211; }";
            configuration = replace(&configuration, one, several.trim_end());
            for (server, memcached) in ["10.0.0.1:11211", "10.0.0.2:11211"].iter().zip(&memcached) {
                configuration = replace(&configuration, server, &memcached.address());
                settings = replace(&settings, server, &memcached.address());
            }
        }
        let project = Project::start(prefix.path(), &settings);
        let configuration = replace(&configuration, "unix:/run/site/uwsgi.sock", project.address());
        let nginx = Nginx::start(prefix.path(), &configuration, address);
        Followed {
            nginx,
            past_the_cache,
            _project: project,
            _memcached: memcached,
            _prefix: prefix,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.nginx.address()
    }

    /// nginx's answer, from memcached or from Django.
    #[track_caller]
    pub fn ask(&self, request: &Request) -> Response {
        Client::connect(self.address()).ask(request)
    }

    /// Django's answer, which it does not store.
    #[track_caller]
    pub fn ask_past_the_cache(&self, request: &Request) -> Response {
        Client::connect(self.past_the_cache).ask(request)
    }
}

/// The README's block, on addresses of the test: what is at the top of nginx.conf, and what is in http {}.
fn placed(block: &str, prefix: &str, address: SocketAddr, past_the_cache: SocketAddr) -> String {
    let module = parts::module().display().to_string();
    let block = replace(block, "modules/ngx_http_pagecache_module.so", &module);
    let block =
        replace(&block, "listen 80 default_server", &format!("listen {address} default_server"));
    let block = replace(&block, "listen      80;", &format!("listen {address};"));
    let mut parts = [String::new(), String::new()];
    let mut part = 0;
    for line in block.lines() {
        let comments = ["# at the top of nginx.conf", "# in http { }"];
        part = comments.iter().position(|comment| line.contains(comment)).unwrap_or(part);
        parts[part] += &format!("{line}\n");
    }
    let [top, http] = parts;
    format!(
        "{top}
         {foreground}
         worker_processes 2;
         error_log {prefix}/error.log info;
         events {{ }}
         http {{
             {temp_paths}
             access_log off;
             {http}
             server {{
                 listen {past_the_cache};
                 server_name {names};
                 location / {{ include uwsgi_params; uwsgi_pass django; }}
             }}
         }}",
        foreground = directives::foreground(prefix),
        temp_paths = directives::temp_paths(prefix),
        names = NAMES.join(" "),
    )
}
