//! A reload that fails, and a worker that nginx replaces afterwards: it serves the previous configuration, but with
//! the filters and module indexes that the failed one has left behind.

use std::net::SocketAddr;
use std::path::Path;

use tempfile::TempDir;

use crate::harness::*;

/// The end of a configuration, at which nginx refuses it.
const WRONG: &str = "\nno_directive on;\n";

#[track_caller]
fn fail_to_reload(nginx: &mut Nginx, configuration: &str) {
    let refusals = || nginx.logged_at("emerg").len();
    let before = refusals();
    nginx.configure(&format!("{configuration}{WRONG}"));
    nginx.signal(kernel::SIGHUP);
    wait::until("the reload is refused", || nginx.logged_at("emerg").len() > before);
    nginx.ignore_in_log("unknown directive \"no_directive\"");
}

/// Kills the only worker, and waits for its replacement.
#[track_caller]
fn replace_worker(nginx: &mut Nginx) {
    let old = nginx.workers();
    assert_eq!(old.len(), 1);
    nginx.ignore_in_log("exited on signal 9");
    assert!(kernel::signal(old[0], kernel::SIGKILL));
    wait::until("another worker", || {
        let now = nginx.workers();
        now.len() == 1 && now != old
    });
}

#[test]
fn a_worker_of_the_configuration_before_still_says_cache_status() {
    let on = "pagecache_cache_status on;";
    let mut site = plan().without_application().location(on).start();
    site.memcached().set("/page", "the page", BYTES);
    for failing in [site.configuration.replace(on, ""), site.configuration.clone()] {
        fail_to_reload(&mut site.nginx, &failing);
        replace_worker(&mut site.nginx);
        let hit = site.get("/page");
        expect::hit(&hit, "the page");
        assert_eq!(status_of(&hit), "nginx; hit");
        let miss = site.get("/absent");
        assert_eq!(status_of(&miss), "nginx; fwd=uri-miss");
    }
}

fn status_of(response: &Response) -> String {
    response.header("Cache-Status").unwrap_or_default()
}

/// An nginx that has not loaded the module yet.
struct Bare {
    nginx: Nginx,
    memcached: Memcached,
    address: SocketAddr,
    prefix: TempDir,
}

impl Bare {
    fn start() -> Bare {
        let prefix = prefix();
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let memcached = Memcached::start(prefix.path());
        let configuration = configuration(prefix.path(), address, "", "", "");
        let nginx = Nginx::start(prefix.path(), &configuration, address);
        Bare { nginx, memcached, address, prefix }
    }

    fn configuration(&self, modules: &str, http: &str, server: &str) -> String {
        configuration(self.prefix.path(), self.address, modules, http, server)
    }

    /// The configuration with the module, which looks pages up.
    fn cached(&self, modules: &str, http: &str) -> String {
        let server = format!(
            "location / {{
                 pagecache_key $uri; pagecache_pass {}; pagecache_cache_status on;
             }}",
            self.memcached.address()
        );
        self.configuration(&format!("{}{modules}", load(&parts::module())), http, &server)
    }

    fn reload(&mut self, configuration: &str) {
        self.nginx.configure(configuration);
        self.nginx.reload();
    }

    #[track_caller]
    fn get(&self, target: &str) -> Response {
        Client::connect(self.address).ask(&Request::get(target))
    }
}

fn configuration(
    prefix: &Path,
    address: SocketAddr,
    modules: &str,
    http: &str,
    server: &str,
) -> String {
    let prefix = prefix.display();
    format!(
        "{modules}
         {foreground}
         error_log {prefix}/error.log info;
         events {{ }}
         http {{
             access_log off;
             {temp_paths}
             {http}
             server {{ listen {address}; location = /plain {{ return 200 plain; }} {server} }}
         }}",
        foreground = directives::foreground(&prefix),
        temp_paths = directives::temp_paths(&prefix),
    )
}

fn load(module: &Path) -> String {
    format!("load_module {};\n", module.display())
}

#[test]
fn a_worker_serves_after_the_module_s_first_load_failed() {
    let mut bare = Bare::start();
    for http in ["", "pagecache_cache_status on;"] {
        let failing = bare.cached("", http);
        fail_to_reload(&mut bare.nginx, &failing);
        replace_worker(&mut bare.nginx);
        for _ in 0..3 {
            let plain = bare.get("/plain");
            assert_eq!((plain.status, plain.body), (200, b"plain".to_vec()));
        }
        // also a request that nginx refuses before it selects a location
        assert_eq!(Client::connect(bare.address).ask(&Request::get("nonsense")).status, 400);
    }
    bare.memcached.set("/page", "the page", BYTES);
    let whole = bare.cached("", "");
    bare.reload(&whole);
    let hit = bare.get("/page");
    assert_eq!((hit.status, status_of(&hit).as_str()), (200, "nginx; hit"));
    // and without it again
    let plain = bare.configuration("", "", "");
    bare.reload(&plain);
    fail_to_reload(&mut bare.nginx, &whole);
    replace_worker(&mut bare.nginx);
    let plain = bare.get("/plain");
    assert_eq!((plain.status, plain.header("Cache-Status")), (200, None));
}

/// nginx assigns an index to a module when it loads it, and keeps an index that is already set.
#[test]
fn another_module_may_have_the_index_of_a_load_that_failed() {
    if parts::nginx() != parts::debian_nginx() {
        return eprintln!("Debian's modules load into Debian's nginx alone");
    }
    let mut bare = Bare::start();
    let failing = bare.cached("", "");
    fail_to_reload(&mut bare.nginx, &failing);
    let memc = load(&parts::debian_module("ngx_http_memc_module.so"));
    let own =
        format!("location / {{ set $memc_key $uri; memc_pass {}; }}", bare.memcached.address());
    let other = bare.configuration(&memc, "", &own);
    bare.reload(&other);
    bare.memcached.set("/page", "the page", BYTES);
    assert_eq!(bare.get("/page").body, b"the page");
    let both = bare.cached(&memc, "memc_connect_timeout 7s;");
    bare.reload(&both);
    let hit = bare.get("/page");
    assert_eq!((hit.body.as_slice(), status_of(&hit).as_str()), (&b"the page"[..], "nginx; hit"));
}
