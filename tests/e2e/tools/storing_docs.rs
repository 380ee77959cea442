//! Runs the configurations of `docs/storing.md` unchanged: with each interface nginx stores what the application
//! responds, and says so as documented.

use std::net::SocketAddr;

use crate::harness::document::replace;
use crate::harness::*;

/// A response with a lifetime, as the testkit's application makes it.
const TARGET: &str = "/answer/a?status=200&body=hello&header=Cache-Control:public,max-age=300";

#[test]
fn uwsgi() {
    stores(1, Interface::Uwsgi, "unix:/run/site/uwsgi.sock");
}

#[test]
fn proxied() {
    stores(2, Interface::Http, "127.0.0.1:8000");
}

#[test]
fn fastcgi() {
    stores(3, Interface::FastCgi, "unix:/run/php/php-fpm.sock");
}

/// The limit of requests that change pages holds for these alone.
#[test]
fn changes_are_limited() {
    let text = document::text("docs/storing.md");
    let blocks = document::blocks(document::section(&text, "Which responses are stored"));
    let block = blocks.iter().find(|block| block.contains("limit_req ")).unwrap();
    let (http, location) = block.split_once("\n\n").unwrap();
    let site = plan().http(http).location(location).start();
    let mut visitor = site.client();
    let mut statuses = |method| -> Vec<u16> {
        (0..20).map(|_| visitor.ask(&Request::new(method, "/page")).status).collect()
    };
    for method in ["GET", "HEAD"] {
        assert_eq!(statuses(method), [200; 20], "{method}");
    }
    for method in ["POST", "PUT", "DELETE"] {
        assert!(statuses(method).contains(&503), "{method}");
    }
    assert_eq!(statuses("GET"), [200; 20]);
}

/// `nth`: of the documented blocks. The first is the location that looks pages up, the others are fallbacks.
fn stores(nth: usize, interface: Interface, socket: &str) {
    let text = document::text("docs/storing.md");
    let blocks = document::blocks(document::section(&text, "Try it"));
    let prefix = prefix();
    let memcached = Memcached::start(prefix.path());
    let application = Application::start(prefix.path(), interface, &Writes::default());
    let fallback = replace(&blocks[nth], socket, application.address());
    let fallback = match interface {
        Interface::Http => fallback,
        Interface::Uwsgi => replace(&fallback, " uwsgi_params;", " /etc/nginx/uwsgi_params;"),
        Interface::FastCgi => replace(&fallback, " fastcgi_params;", " /etc/nginx/fastcgi_params;"),
    };
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let configuration = format!(
        "load_module {module};
        daemon off;
        {user}
        pid {prefix}/nginx.pid;
        error_log {prefix}/error.log;
        events {{ worker_connections 64; }}
        http {{
            {temp_paths}
            access_log off;
            upstream pages {{ server {memcached}; }}
            server {{
                listen {address};
                pagecache_cache_status on;
                {location}
                {fallback}
            }}
        }}",
        module = parts::module().display(),
        user = directives::user(),
        prefix = prefix.path().display(),
        temp_paths = directives::temp_paths(prefix.path().to_str().unwrap()),
        memcached = memcached.address(),
        location = blocks[0],
    );
    let nginx = Nginx::start(prefix.path(), &configuration, address);
    let ask =
        || Client::connect(nginx.address()).ask(&Request::get(TARGET).header("Host", "a.test"));
    let rendered = ask();
    assert_eq!((rendered.status, &*rendered.body), (200, &b"hello"[..]), "{rendered:?}");
    let status = rendered.header("Cache-Status").unwrap();
    assert!(text.contains(&format!("Cache-Status: {status}\n")), "{status}");
    wait::until("the page is stored", || memcached.link().stat("cmd_set") > 0);
    let hit = ask();
    assert_eq!((hit.status, &hit.body), (200, &rendered.body), "{hit:?}");
    let status = hit.header("Cache-Status").unwrap();
    let (documented, ttl) = status.rsplit_once('=').unwrap();
    assert!(text.contains(&format!("Cache-Status: {documented}=300\n")), "{status}");
    assert!((290..=300).contains(&ttl.parse::<u32>().unwrap()), "{status}");
    assert_eq!(application.count(), 1);
}
