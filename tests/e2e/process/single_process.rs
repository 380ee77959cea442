//! `master_process off; daemon off`: one process, as developers run nginx. After a reload, any nginx has only the
//! connections that it had before, because connections are allocated when a process starts: existing clients are
//! served, and a new client for each one that leaves. nginx's own memcached module runs beside this one here: this
//! module serves whatever the stock module serves.

use std::fs;
use std::net::SocketAddr;

use tempfile::TempDir;

use crate::harness::*;
use crate::lookups::multiplexing::page;
use crate::process::lifecycle::{Closed, Load, under_load, with_pages};

/// Clients that exist before the reload, and after it.
const KEPT: usize = 6;

/// Clients that leave right after the reload: nginx then has their connections for new clients, and no others.
const LEAVING: usize = 6;

/// nginx's message about a client that leaves without a request.
const LEFT: &str = "closed connection while waiting for request";

const OURS: &str = "
    pagecache_key      $uri;
    pagecache_pass     pages;
    pagecache_fallback @application;";

/// The same with nginx's own module.
const STOCK: &str = "
    set $memcached_key $uri;
    memcached_pass     pages;
    error_page         404 502 504 = @application;";

/// An nginx without a master, and its clients.
struct Single {
    nginx: Nginx,
    kept: Vec<Client>,
    leaving: Vec<Client>,
    prefix: TempDir,
}

/// The numbers of requests that were served after a reload.
#[derive(Debug)]
struct Served {
    /// Those of existing clients, for a page and for a missing one, one after the other.
    kept: usize,
    /// Those of the same clients, at once.
    at_once: usize,
    /// The hits among those at once.
    hits_at_once: usize,
    /// Those of existing clients, after memcached was restarted.
    kept_by_another_memcached: usize,
    /// Those of as many new clients, each after another one has left.
    instead: usize,
}

impl Single {
    #[track_caller]
    fn start(memcached: &Memcached, load_module: &str, location: &str, upstream: &str) -> Single {
        let prefix = prefix();
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        // nginx logs to its standard error: a reload closes the log file of the old cycle, and messages of old
        // connections would be written to whichever socket gets the same descriptor. And it closes idle clients if
        // no more than a sixteenth of its connections is free: of 31 that is one.
        let configuration = format!(
            "{load_module}
             {foreground}
             {SINGLE_PROCESS}
             error_log stderr info;
             events {{ worker_connections 31; }}
             http {{
                 access_log off;
                 {temp_paths}
                 upstream pages {{ server {}; {upstream} }}
                 server {{
                     listen {address};
                     location / {{ {location} }}
                     location @application {{ return 200 application; }}
                 }}
             }}",
            memcached.address(),
            foreground = directives::foreground(prefix.path().display()),
            temp_paths = directives::temp_paths(prefix.path().display()),
        );
        let mut nginx = Nginx::start(prefix.path(), &configuration, address);
        // For new clients, for which it has no connections after a reload.
        nginx.ignore_in_log("worker_connections are not enough");
        let kept = (0..KEPT).map(|_| Client::connect(address)).collect();
        let leaving = (0..LEAVING).map(|_| Client::connect(address)).collect();
        let mut single = Single { nginx, kept, leaving, prefix };
        assert_eq!(single.ask_in_turn(), 2 * KEPT, "before the reload");
        assert_eq!(single.ask_at_once().0, KEPT, "before the reload");
        single
    }

    fn log(&self) -> String {
        fs::read_to_string(self.prefix.path().join("nginx.out")).unwrap()
    }

    #[track_caller]
    fn reload(&mut self) {
        // Once for each cycle.
        let cycles = |log: String| log.matches("event method").count();
        let before = cycles(self.log());
        self.nginx.signal(kernel::SIGHUP);
        wait::until("the reload", || cycles(self.log()) == before + 1);
        let (left, leaving) = (self.log().matches(LEFT).count(), self.leaving.len());
        self.leaving.drain(..).for_each(Client::leave);
        wait::until("some have left", || self.log().matches(LEFT).count() == left + leaving);
    }

    /// Returns how many requests of existing clients are answered correctly, one after the other.
    fn ask_in_turn(&mut self) -> usize {
        let asked = self.kept.iter_mut().enumerate().map(|(nth, client)| {
            let path = format!("/page{nth}");
            let hit = is_answered(client, &path, &page(&path));
            usize::from(hit) + usize::from(is_answered(client, "/none", b"application"))
        });
        asked.sum()
    }

    /// Returns how many requests are answered at all, and how many with their page, if all are sent at once.
    fn ask_at_once(&mut self) -> (usize, usize) {
        for (nth, client) in self.kept.iter_mut().enumerate() {
            client.send(&Request::get(format!("/page{nth}")).head());
        }
        let bodies: Vec<Option<Vec<u8>>> = self
            .kept
            .iter_mut()
            .map(|client| client.receive(false).ok().map(|answer| answer.body))
            .collect();
        let hits = bodies.iter().enumerate().filter(|(nth, body)| {
            let path = format!("/page{nth}");
            body.as_deref() == Some(&page(&path)[..])
        });
        (bodies.iter().flatten().count(), hits.count())
    }

    /// Returns how many new clients are served, each instead of an existing one.
    fn clients_instead(&mut self) -> usize {
        let mut there = Vec::new();
        while let Some(client) = self.kept.pop() {
            client.leave();
            // nginx may notice the new client first.
            let served = wait::until_some("a client instead", wait::LIMIT, || {
                let mut client = Client::connect(self.nginx.address());
                is_served(&mut client).then_some(client)
            });
            there.push(served);
        }
        there.len()
    }

    /// Reloads, counts the requests that are served after it, and quits.
    #[track_caller]
    fn served_after_reload(mut self, memcached: &mut Memcached) -> Served {
        self.reload();
        let kept = self.ask_in_turn();
        let (at_once, hits_at_once) = self.ask_at_once();
        // Its connections end, and others replace them.
        memcached.restart();
        set_pages(memcached);
        let first = &mut self.kept[0];
        wait::until("hits return", || is_answered(first, "/page1", &page("/page1")));
        let kept_by_another_memcached = self.ask_in_turn();
        let instead = self.clients_instead();
        self.nginx.begin_to_quit();
        wait::until("nginx is gone", || self.nginx.is_gone());
        Served { kept, at_once, hits_at_once, kept_by_another_memcached, instead }
    }
}

/// Whether the next answer is this one.
fn is_answered(client: &mut Client, path: &str, body: &[u8]) -> bool {
    client.try_ask(&Request::get(path)).is_ok_and(|answer| answer.body == body)
}

/// Whether a new client gets its page; if not, its connection is closed. nginx may have written a line of its log
/// to it before.
fn is_served(client: &mut Client) -> bool {
    is_answered(client, "/page1", &page("/page1"))
}

fn set_pages(memcached: &Memcached) {
    for nth in 0..KEPT {
        let path = format!("/page{nth}");
        memcached.set(&path, page(&path), BYTES);
    }
}

#[test]
fn a_single_process_serves_and_quits() {
    let mut site = with_pages(plan().single_process().start());
    under_load(site.nginx.address(), Closed::Leave, Load::more_answers);
    site.nginx.begin_to_quit();
    wait::until("nginx is gone", || site.nginx.is_gone());
}

#[test]
fn a_single_process_serves_after_a_reload_whom_stock_nginx_serves() {
    let prefix = prefix();
    let mut memcached = Memcached::start(prefix.path());
    set_pages(&memcached);
    let mut served = |module: &str, location: &str, upstream: &str| {
        let single = Single::start(&memcached, module, location, upstream);
        let served = single.served_after_reload(&mut memcached);
        println!("{upstream} {served:?}");
        served
    };
    let stock = served("", STOCK, "keepalive 6;");
    assert_eq!(stock.kept, 2 * KEPT, "nginx itself serves those who were there");
    assert_eq!(stock.instead, KEPT, "nginx itself serves new clients instead of those who leave");
    let module = format!("load_module {};", parts::module().display());
    for connections in [1, 2] {
        let ours = served(&module, OURS, &format!("pagecache_connections {connections};"));
        assert_eq!(ours.kept, 2 * KEPT);
        assert_eq!(ours.at_once, KEPT);
        assert_eq!(ours.hits_at_once, KEPT);
        assert_eq!(ours.kept_by_another_memcached, 2 * KEPT);
        assert_eq!(ours.instead, KEPT);
    }
}

/// One process has one view of the zone, which belongs to the configuration that created it; existing clients still
/// use that configuration.
#[test]
fn a_reload_may_end_the_counting() {
    const STATS: &str = "location = /stats { pagecache_stats; }";
    let prefix = prefix();
    let memcached = Memcached::start(prefix.path());
    set_pages(&memcached);
    let module = format!("load_module {};", parts::module().display());
    let others = OURS.replace("pages", &memcached.address().to_string());
    let locations = format!("{OURS} }} {STATS} location /others {{ {others}");
    let mut single = Single::start(&memcached, &module, &locations, "");
    let counted = single.kept[0].get("/stats").text();
    let hits = format!("server=\"{}\"}} {}\n", memcached.address(), 2 * KEPT);
    assert!(
        counted.contains(&format!("pagecache_hits_total{{upstream=\"pages\",{hits}")),
        "{counted}"
    );

    let file = single.prefix.path().join("nginx.conf");
    let without = fs::read_to_string(&file).unwrap().replace(STATS, "");
    single.nginx.configure(&without);
    single.reload();
    assert_eq!(single.ask_in_turn(), 2 * KEPT);
    let gone = single.kept[0].get("/stats").text();
    assert!(!gone.contains(&hits) && gone.contains("pagecache_hits_total"), "{gone}");
    assert_eq!(single.ask_at_once(), (KEPT, KEPT));
    // What nothing was counted of before must not be counted now.
    let undecided = single.kept[0].ask(&Request::new("POST", "/page0").body(""));
    assert_eq!(undecided.body, b"application");
    assert_eq!(single.kept[0].get("/others/none").body, b"application");
    single.nginx.begin_to_quit();
    wait::until("nginx is gone", || single.nginx.is_gone());
}

/// Existing clients still have the old configuration, but nginx makes their requests without room for the module.
#[test]
fn a_reload_may_end_the_module() {
    let prefix = prefix();
    let memcached = Memcached::start(prefix.path());
    set_pages(&memcached);
    let module = format!("load_module {};", parts::module().display());
    let mut single = Single::start(&memcached, &module, OURS, "");
    let file = single.prefix.path().join("nginx.conf");
    let with = fs::read_to_string(&file).unwrap();
    let without = with.replace(&module, "").replace(OURS, "return 200 \"no module\";");
    single.nginx.configure(&without);
    // nginx makes room for the modules of the configuration before, too.
    single.reload();
    assert_eq!(single.ask_in_turn(), 2 * KEPT);
    single.reload();
    for client in &mut single.kept {
        for path in ["/page1", "/none"] {
            assert_eq!(client.get(path).body, b"application");
        }
    }
    single.nginx.begin_to_quit();
    wait::until("nginx is gone", || single.nginx.is_gone());
}
