//! Owns a site that fills the cache: nginx with `pagecache_store on`, a memcached, and the application whose responses
//! the test decides. It knows how to ask it, and the checks that a page was stored, or was not.

use std::fs;

use super::application::{Application, Rendered, Way};
use crate::harness::*;

/// The key of each location, unless the test says another one.
pub const KEY: &str = "$scheme://$host$uri$pagecache_args";

/// The beginning of the keys of a client that says no other host.
pub const HOST: &str = "http://site.test";

/// The top byte in the flags of a page that nginx has stored.
const PAGE: u32 = 0x5c;

/// One line in the log for `$pagecache_store_status`.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub status: String,
    /// `$pagecache_store_status`; empty where it has no value.
    pub store: String,
    pub method: String,
    pub target: String,
}

/// Its parts end in this order.
pub struct Filling {
    pub site: Site,
    pub application: Application,
}

/// A location that stores the responses of `@app`. `directives` may name another key, fallback
/// or upstream.
pub fn location(path: &str, directives: &str) -> String {
    let unless = |name: &str, line: String| match directives.contains(name) {
        true => String::new(),
        false => line,
    };
    format!(
        "location {path} {{
             {key}
             {pass}
             pagecache_store on;
             {directives}
             {fallback}
         }}",
        pass = unless("pagecache_pass ", "pagecache_pass pages;".to_owned()),
        key = unless("pagecache_key", format!("pagecache_key \"{KEY}\";")),
        fallback = unless("pagecache_fallback", "pagecache_fallback @app;".to_owned()),
    )
}

/// A plan with these locations in its server, in front of `application`.
pub fn plan_for(application: &Application, way: Way, locations: &str) -> Plan {
    plan_before(&application.pass(way), locations)
}

/// A plan with these locations in its server; `pass` is in `@app`.
pub fn plan_before(pass: &str, locations: &str) -> Plan {
    plan()
        .without_application()
        .upstream("server @MEMCACHED@;")
        .http(
            // a head is sent before its body has come
            "postpone_output 0;
             log_format stores '$status $pagecache_store_status $request_method $request_uri';
             access_log @PREFIX@/stores.log stores;",
        )
        .locations(&format!("{locations} location @app {{ {pass} }}"))
}

/// A site whose only location stores, with these directives.
#[track_caller]
pub fn filling(way: Way, directives: &str) -> Filling {
    Filling::start(way, &location("/", directives))
}

impl Filling {
    /// Starts all parts, with these locations, which may pass on to `@app`.
    #[track_caller]
    pub fn start(way: Way, locations: &str) -> Filling {
        Filling::start_with(way, locations, |plan| plan)
    }

    /// The same, with changes to the plan.
    #[track_caller]
    pub fn start_with(way: Way, locations: &str, change: impl FnOnce(Plan) -> Plan) -> Filling {
        let application = Application::start();
        let site = change(plan_for(&application, way, locations)).start();
        Filling { site, application }
    }

    /// The answer to a request of a new visitor.
    #[track_caller]
    pub fn get(&self, target: impl AsRef<[u8]>) -> Response {
        self.site.get(target)
    }

    #[track_caller]
    pub fn ask(&self, request: &Request) -> Response {
        self.site.ask(request)
    }

    pub fn renders(&self, path: &str, response: &Rendered) {
        self.application.renders(path, response);
    }

    /// `$pagecache_store_status` of the requests for a target, once nginx has logged `count` of them.
    #[track_caller]
    pub fn stores(&self, target: &str, count: usize) -> Vec<String> {
        stores(&self.site, target, count)
    }

    /// `$pagecache_store_status` of the only request for a target.
    #[track_caller]
    pub fn store(&self, target: &str) -> String {
        let stores = self.stores(target, 1);
        assert_eq!(stores.len(), 1, "{target}: {stores:?}");
        stores[0].clone()
    }

    /// The page that memcached has under a key: the stored response.
    pub fn page_at(&self, key: &str) -> Option<Vec<u8>> {
        page_at(self.site.memcached(), key)
    }

    /// The stored page, once memcached has it.
    #[track_caller]
    pub fn wait_for_page_at(&self, key: &str) -> Vec<u8> {
        let page = wait::until_some(&format!("a page at {key}"), wait::LIMIT, || self.page_at(key));
        assert!(page.starts_with(b"HTTP/1.1 "), "{}", page.escape_ascii());
        page
    }

    /// Waits until memcached has a page that is stale.
    #[track_caller]
    pub fn wait_until_stale(&self, key: &str) {
        let page = self.wait_for_page_at(key);
        let stored = String::from_utf8_lossy(&page).into_owned();
        let (_, rest) = stored.split_once("; window=").unwrap();
        let window: u32 = rest.split(';').next().unwrap().parse().unwrap();
        // its life is over when memcached keeps it for no more than the window
        wait::until("it is stale", || {
            let said = self.site.memcached().link().meta(format!("mg {key} t"));
            let ttl = said.split(' ').find_map(|word| word.strip_prefix('t')?.parse::<u32>().ok());
            ttl.is_some_and(|ttl| ttl <= window)
        });
    }

    /// Waits until memcached has no placeholder of this key any more: the lease of a request that did not store.
    #[track_caller]
    pub fn wait_for_lease_back(&self, key: &str) {
        wait::until("the lease is given back", || !self.site.memcached().has(key));
    }

    /// Checks that the next request for a target takes the lease, and stores: a failure before has left nothing
    /// behind. `path` is the one that the application sees.
    #[track_caller]
    pub fn stores_next(&self, target: &str, path: &str) {
        self.renders(path, &super::application::page().body("afterwards @RENDER@"));
        let mut last = None;
        wait::until(&format!("{target} is stored by a later request"), || {
            let answer = self.get(target);
            assert_eq!(answer.status, 200, "{answer:?}");
            assert!(answer.text().starts_with("afterwards "), "{answer:?}");
            let is_hit = answer.header("X-Cache").as_deref() == Some("HIT");
            last = Some(answer);
            is_hit
        });
    }
}

/// The log of a site for `$pagecache_store_status` so far.
pub fn outcomes(site: &Site) -> Vec<Outcome> {
    let text = fs::read_to_string(site.prefix().join("stores.log")).unwrap_or_default();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().map(outcome).collect()
}

/// See [`Filling::stores`].
#[track_caller]
pub fn stores(site: &Site, target: &str, count: usize) -> Vec<String> {
    let what = format!("{count} requests for {target} in the log");
    wait::until_some(&what, wait::LIMIT, || {
        let all = outcomes(site);
        let found = all.into_iter().filter(|line| line.target == target).map(|line| line.store);
        let found: Vec<String> = found.collect();
        (found.len() >= count).then_some(found)
    })
}

/// The page that a memcached has under a key.
pub fn page_at(memcached: &Memcached, key: &str) -> Option<Vec<u8>> {
    let (flags, value) = memcached.link().get(key.as_bytes())?;
    (!value.is_empty() && flags >> 24 == PAGE).then_some(value)
}

fn outcome(line: &str) -> Outcome {
    let words: Vec<&str> = line.splitn(4, ' ').collect();
    let &[status, store, method, target] = words.as_slice() else { panic!("not a line: {line:?}") };
    let store = if store == "-" { "" } else { store };
    let [status, store, method, target] = [status, store, method, target].map(str::to_owned);
    Outcome { status, store, method, target }
}

/// Checks that an answer is a hit, whatever its status and its headers.
#[track_caller]
pub fn is_hit(answer: &Response) {
    assert_eq!(answer.header("X-Cache").as_deref(), Some("HIT"), "{answer:?}");
}

/// Checks that an answer is no hit.
#[track_caller]
pub fn is_no_hit(answer: &Response) {
    assert_ne!(answer.header("X-Cache").as_deref(), Some("HIT"), "{answer:?}");
}
