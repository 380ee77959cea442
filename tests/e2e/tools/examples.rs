//! The example configurations: each passes `nginx -t`, and each serves a site as documented, with only addresses
//! and paths replaced.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::harness::document::replace;
use crate::harness::*;

/// The key in all examples but one, which is the application's PAGECACHE_KEY.
const KEY: &str = "$scheme://$host$uri$pagecache_args";

/// The key of uwsgi.conf, for pages without a query.
const SHORT_KEY: &str = "/your-site-name-$uri";

const ONE_SERVER: [&str; 1] = ["127.0.0.1:11211"];

/// The servers behind one example.
struct Example {
    nginx: Nginx,
    application: Application,
    memcached: Vec<Memcached>,
    _prefix: TempDir,
}

fn examples() -> Vec<PathBuf> {
    let folder = fs::read_dir(parts::root().join("nginx-config")).unwrap();
    let mut files: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "conf"));
    files.sort();
    files
}

/// `servers` are the addresses of memcached in the example.
fn start(name: &str, interface: Interface, servers: &[&str], format: &'static str) -> Example {
    let prefix = prefix();
    let memcached: Vec<Memcached> =
        servers.iter().map(|_| Memcached::start(prefix.path())).collect();
    let addresses: Vec<String> = memcached.iter().map(Memcached::address).collect();
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let written = fs::read_to_string(parts::root().join("nginx-config").join(name)).unwrap();
    let key = if name == "uwsgi.conf" { SHORT_KEY } else { KEY };
    assert!(written.contains(&format!("pagecache_key \"{key}\";")), "{name}");
    let stores = name == "storing.conf";
    let writes = Writes {
        every_page: !stores,
        memcached: addresses.join(","),
        key: key.to_owned(),
        format,
        ..Writes::default()
    };
    let application = Application::start(prefix.path(), interface, &writes);
    let placed = placed(&written, prefix.path().to_str().unwrap());
    // the application says no lifetime
    let placed = match stores {
        true => replace(&placed, "# pagecache_valid", "pagecache_valid"),
        false => placed,
    };
    let placed = replace(&placed, "listen 8080", &format!("listen {address}"));
    let placed = servers
        .iter()
        .zip(&addresses)
        .fold(placed, |text, (server, address)| replace(&text, server, address));
    let socket = match interface {
        Interface::Uwsgi => "unix:/run/site/uwsgi.sock",
        Interface::Http => "127.0.0.1:8000",
        Interface::FastCgi => "unix:/run/site/fastcgi.sock",
    };
    let configuration = replace(&placed, socket, application.address());
    let nginx = Nginx::start(prefix.path(), &configuration, address);
    Example { nginx, application, memcached, _prefix: prefix }
}

/// An example with the path of the built module, and with all files that it writes in `prefix`.
fn placed(written: &str, prefix: &str) -> String {
    let module = parts::module().display().to_string();
    let text = replace(written, "modules/ngx_http_pagecache_module.so", &module);
    let text = replace(&text, "/run/nginx.pid", &format!("{prefix}/nginx.pid"));
    let text = replace(&text, "/var/log/nginx/", &format!("{prefix}/"));
    let text = replace(&text, "worker_processes auto;", "worker_processes 1;");
    let text = replace(&text, "user www-data;", directives::user());
    let temp_paths = directives::temp_paths(prefix);
    let text = replace(&text, "http {", &format!("http {{ {temp_paths}"));
    format!("daemon off;\n{text}")
}

#[test]
fn each_example_passes_nginx_t() {
    let examples = examples();
    assert!(examples.len() >= 4, "{examples:?}");
    for path in examples {
        let prefix = prefix();
        let written = fs::read_to_string(&path).unwrap();
        let configuration = placed(&written, prefix.path().to_str().unwrap());
        let checked = Nginx::check(prefix.path(), &configuration);
        assert!(checked.passed, "{}: {}", path.display(), checked.output);
        for word in ["[warn]", "[error]"] {
            assert!(!checked.output.contains(word), "{}: {}", path.display(), checked.output);
        }
    }
}

impl Example {
    fn ask(&self, request: Request) -> Response {
        Client::connect(self.nginx.address()).ask(&request.header("Host", "example.com"))
    }

    fn get(&self, target: &str) -> Response {
        self.ask(Request::get(target))
    }

    /// The rendered page is served from memcached. It may have its headers, and thus those of Django: but Django
    /// must not have received a request.
    #[track_caller]
    fn expect_hit(&self, answer: &Response, rendered: &Response, count: usize) {
        assert_eq!(answer.header("X-Cache").as_deref(), Some("HIT"), "{answer:?}");
        assert_eq!((answer.status, &answer.body), (rendered.status, &rendered.body));
        assert_eq!(answer.header("Content-Type"), rendered.header("Content-Type"));
        assert_eq!(self.application.count(), count);
    }
}

/// Miss, hit, form, visitors with personal pages, other names, memcached down: the purpose of each example. Pages
/// are stored as the Django package does by default, and as bodies without a head.
fn drives(name: &str, interface: Interface, servers: &[&str], target: &str) {
    for format in ["head", "body"] {
        drives_with(start(name, interface, servers, format), target);
    }
}

fn drives_with(mut site: Example, target: &str) {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let rendered = site.get(target);
    assert_eq!(rendered.header("X-Application").as_deref(), Some("django"), "{rendered:?}");
    assert_eq!(rendered.header("X-Cache").as_deref(), Some("MISS"), "{rendered:?}");
    assert_eq!(rendered.echoed("path_info"), "/gr\u{f6}\u{df}e/");
    assert_eq!(rendered.echoed("query_string"), query);
    let hit = site.get(target);
    site.expect_hit(&hit, &rendered, 1);
    assert_eq!(hit.header("Content-Type").as_deref(), Some("text/html; charset=utf-8"));

    let body = bytes::pattern(100_000, 1);
    let posted = site.ask(Request::new("POST", target).body(body.clone()));
    assert_eq!(posted.header("X-Cache").as_deref(), Some("BYPASS"), "{posted:?}");
    assert_eq!(posted.echoed("body_sha256"), bytes::sha256(&body));
    let seen = site.application.only_since(1);
    assert_eq!((seen.method.as_str(), seen.uri.as_str()), ("POST", target));

    for cookie in ["sessionid=abc", "messages=W10"] {
        let own = site.ask(Request::get(target).header("Cookie", cookie));
        assert_eq!(own.header("X-Cache").as_deref(), Some("BYPASS"), "{own:?}");
    }
    site.expect_hit(&site.get(target), &rendered, 4);

    let mut stranger = Client::connect(site.nginx.address());
    let lost = stranger.try_ask(&Request::get(target).header("Host", "evil.test")).unwrap_err();
    assert!(matches!(lost, Lost::BeforeFirstByte), "{lost}");
    assert_eq!(site.application.count(), 4);

    site.memcached.iter_mut().for_each(Memcached::stop);
    let away = site.get(target);
    assert_eq!(away.header("X-Cache").as_deref(), Some("ERROR"), "{away:?}");
    assert_eq!(away.echoed("path_info"), "/gr\u{f6}\u{df}e/");
}

/// With a query that the key contains.
const TARGET: &str = "/gr%C3%B6%C3%9Fe/?seite=2";

#[test]
fn uwsgi_conf() {
    drives("uwsgi.conf", Interface::Uwsgi, &ONE_SERVER, "/gr%C3%B6%C3%9Fe/");
}

/// The first users wrote their configuration so; a page with a query was answered with that of another query.
#[test]
fn a_key_of_the_path_alone_answers_no_query() {
    let site = start("uwsgi.conf", Interface::Uwsgi, &ONE_SERVER, "body");
    let first = site.get("/list/");
    site.expect_hit(&site.get("/list/"), &first, 1);
    for (nth, query) in ["page=2", "page=2", "utm_id=1&page=2", "&"].into_iter().enumerate() {
        let answer = site.get(&format!("/list/?{query}"));
        assert_eq!(answer.header("X-Cache").as_deref(), Some("BYPASS"), "{answer:?}");
        assert_eq!(answer.echoed("query_string"), query);
        assert_eq!(site.application.count(), 2 + nth);
    }
    site.expect_hit(&site.get("/list/"), &first, 5);
    site.expect_hit(&site.get("/list/?utm_id=1&msclkid=2"), &first, 5);
}

#[test]
fn error_page_conf() {
    drives("error-page.conf", Interface::Uwsgi, &ONE_SERVER, TARGET);
}

#[test]
fn proxy_conf() {
    drives("proxy.conf", Interface::Http, &ONE_SERVER, TARGET);
}

/// nginx stores what the application responds, which stores nothing itself. A form that is sent to a page renders it
/// again.
#[test]
fn storing_conf() {
    let mut site = start("storing.conf", Interface::Http, &ONE_SERVER, "head");
    let stored = |site: &Example, count| {
        // a lease that is prolonged is a set, too
        let stores = || site.memcached[0].link().stat("cmd_set") >= count;
        wait::until("the page is stored", stores);
    };
    let rendered = site.get(TARGET);
    assert_eq!(rendered.header("X-Cache").as_deref(), Some("MISS"), "{rendered:?}");
    stored(&site, 1);
    site.expect_hit(&site.get(TARGET), &rendered, 1);
    for cookie in ["sessionid=abc", "messages=W10"] {
        let own = site.ask(Request::get(TARGET).header("Cookie", cookie));
        assert_eq!(own.header("X-Cache").as_deref(), Some("BYPASS"), "{own:?}");
    }
    site.expect_hit(&site.get(&format!("{TARGET}&utm_id=1")), &rendered, 3);

    let posted = site.ask(Request::new("POST", TARGET).body(bytes::pattern(100, 1)));
    assert_eq!(posted.header("X-Cache").as_deref(), Some("BYPASS"), "{posted:?}");
    // the next lookup may go over another connection, and be there first
    let removed = || site.memcached[0].link().stat("delete_hits") >= 1;
    wait::until("the page is removed", removed);
    let again = site.get(TARGET);
    assert_eq!(again.header("X-Cache").as_deref(), Some("MISS"), "{again:?}");
    stored(&site, 2);
    site.expect_hit(&site.get(TARGET), &again, 5);

    site.memcached.iter_mut().for_each(Memcached::stop);
    let away = site.get(TARGET);
    assert_eq!(away.header("X-Cache").as_deref(), Some("ERROR"), "{away:?}");
}

#[test]
fn fastcgi_conf() {
    drives("fastcgi.conf", Interface::FastCgi, &ONE_SERVER, TARGET);
}

/// Each name of the site has its own pages.
#[test]
fn two_names() {
    let site = start("proxy.conf", Interface::Http, &ONE_SERVER, "head");
    let one = site.get(TARGET);
    let of_www = || {
        let request = Request::get(TARGET).header("Host", "www.example.com");
        Client::connect(site.nginx.address()).ask(&request)
    };
    let other = of_www();
    assert_eq!(other.header("X-Cache").as_deref(), Some("MISS"), "{other:?}");
    site.expect_hit(&of_www(), &other, 2);
    site.expect_hit(&site.get(TARGET), &one, 2);
}

#[test]
fn several_servers_conf() {
    let servers = ["10.0.0.11:11211", "10.0.0.12:11211", "10.0.0.13:11211"];
    drives("several-servers.conf", Interface::Uwsgi, &servers, TARGET);
    let site = start("several-servers.conf", Interface::Uwsgi, &servers, "head");
    for nth in 0..60 {
        let target = format!("/page/{nth}");
        let rendered = site.get(&target);
        site.expect_hit(&site.get(&target), &rendered, nth + 1);
    }
    for memcached in &site.memcached {
        let items = memcached.link().stat("curr_items");
        assert!((1..60).contains(&items), "{items} of 60 pages on one of three servers");
    }
}

#[test]
fn log_formats() {
    let formats = parts::root().join("nginx-config/log-format.inc");
    let site = plan()
        .location("pagecache_ignore_args x;")
        .http(&format!("include {};", formats.display()))
        .server(
            "access_log @PREFIX@/text.log pagecache_text;
             access_log @PREFIX@/json.log pagecache_json;",
        )
        .start();
    let target = "/\"gr%C3%B6%C3%9Fe\"?x=\"";
    site.memcached().set("/\"größe\"", "the page", BYTES);
    expect::hit(&site.get(target), "the page");
    expect::application(&site.get("/absent"), "MISS", "absent");
    let lines = |name: &str| {
        let file = site.prefix().join(name);
        wait::until("two lines", || fs::read_to_string(&file).unwrap().lines().count() == 2);
        fs::read_to_string(&file).unwrap()
    };
    let text = lines("text.log");
    assert!(text.contains(" cache=HIT reason=- server=127.0.0.1:"), "{text}");
    assert!(text.contains(" store=- key="), "{text}");
    assert!(text.contains(" cache=MISS reason=absent server=127.0.0.1:"), "{text}");
    let json = lines("json.log");
    let parsed: Vec<serde_json::Value> =
        json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(parsed[0]["key"], "/\"größe\"");
    assert_eq!(parsed[0]["cache"], "HIT");
    assert_eq!((&parsed[1]["reason"], &parsed[1]["status"]), (&"absent".into(), &200.into()));
    assert!(parsed[1]["application_seconds"].as_str().unwrap().parse::<f64>().is_ok());
}
