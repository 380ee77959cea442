//! An upstream of several memcached servers: each key is looked up on one server, a failing server affects only its
//! own keys, and nginx accepts all forms of server names.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};

use pagecache_core::distribution::{Distribution, Node, Rule};

use crate::harness::*;

const SERVERS: usize = 3;
const PAGES: usize = 60;

/// Real servers, and a site that looks pages up on them.
struct Several {
    cluster: Cluster,
    site: Site,
}

/// `rest` is the text of the upstream after the server lines.
fn several(rest: &str) -> Several {
    several_behind(plan(), rest)
}

/// The same, for a site with another plan.
fn several_behind(plan: Plan, rest: &str) -> Several {
    let cluster = Cluster::start(SERVERS);
    let site = looking_up_at(plan, &format!("{} {rest}", cluster.server_lines()));
    Several { cluster, site }
}

/// A site with this upstream.
fn looking_up_at(plan: Plan, upstream: &str) -> Site {
    plan.store_at("127.0.0.1:1").without_application().upstream(upstream).start()
}

impl Several {
    /// The server on which nginx looks a page up.
    fn server_of(&self, target: &str) -> usize {
        let asked = self.site.get(target).header("X-Server").unwrap();
        self.cluster.servers().iter().position(|server| server.address() == asked).unwrap()
    }

    /// Stores pages, each on the server where nginx looks it up. Returns them with their servers' numbers.
    fn fill(&self) -> BTreeMap<String, usize> {
        let pages: BTreeMap<String, usize> = (0..PAGES)
            .map(|nth| format!("/page/{nth}"))
            .map(|target| (target.clone(), self.server_of(&target)))
            .collect();
        for (target, server) in &pages {
            self.cluster.servers()[*server].set(target, target, BYTES);
        }
        for server in 0..SERVERS {
            assert!(pages.values().any(|its| *its == server), "server {server} has no page");
        }
        pages
    }
}

const MODULA: &str = "pagecache_distribution modula;";

#[test]
fn each_page_is_looked_up_on_its_server() {
    let several = several(MODULA);
    for (target, _) in several.fill() {
        expect::hit(&several.site.get(&target), &target);
    }
}

#[test]
fn a_server_that_is_gone_fails_its_own_pages_alone() {
    let mut several = several(MODULA);
    let pages = several.fill();
    several.cluster.servers_mut()[1].crash();
    for _ in 0..3 {
        for (target, server) in &pages {
            let answer = several.site.get(target);
            match server {
                1 => expect::fell_through(&answer, "ERROR", &["connect", "reset", "down"]),
                _ => expect::hit(&answer, target),
            }
        }
    }
    let down: Vec<String> = several.site.nginx.logged_at("error");
    assert_eq!(down.len(), 1, "{down:?}");
    assert!(down[0].contains(&several.cluster.servers()[1].address()), "{down:?}");

    several.cluster.servers_mut()[1].restart();
    for (target, _) in pages.iter().filter(|(_, server)| **server == 1) {
        several.cluster.servers()[1].set(target, target, BYTES);
    }
    let mut client = several.site.client();
    for target in pages.keys() {
        wait::until("hits return", || expect::hit_or_fallen_through(&client.get(target), target));
    }
}

#[test]
fn a_server_that_hangs_keeps_nobody_else_waiting() {
    let mut several = several(MODULA);
    let pages = several.fill();
    several.cluster.servers_mut()[2].pause();
    let (slow, _) = pages.iter().find(|(_, server)| **server == 2).unwrap();
    let mut waiting = several.site.client();
    waiting.send(&Request::get(slow).head());
    for (target, _) in pages.iter().filter(|(_, server)| **server != 2) {
        expect::hit(&several.site.get(target), target);
    }
    several.cluster.servers_mut()[2].resume();
    expect::hit(&waiting.receive(false).unwrap(), slow);
}

#[test]
fn a_server_marked_as_down_keeps_its_place() {
    let all = several(MODULA);
    let pages = all.fill();
    let lines = all.cluster.server_lines().replacen(';', " down;", 1);
    let site = looking_up_at(plan(), &format!("{lines} {MODULA}"));
    let lookups = |server: &Memcached| server.link().stat("cmd_get");
    let before = lookups(&all.cluster.servers()[0]);
    for (target, server) in &pages {
        match server {
            0 => expect::fell_through(&site.get(target), "ERROR", &["down"]),
            _ => expect::hit(&site.get(target), target),
        }
    }
    assert_eq!(lookups(&all.cluster.servers()[0]), before);
}

#[test]
fn each_server_has_its_own_connections() {
    let several = several(&format!("{MODULA} pagecache_connections 1;"));
    let mut links: Vec<_> = several.cluster.servers().iter().map(Memcached::link).collect();
    let mut count =
        || links.iter_mut().map(|link| link.stat("curr_connections")).collect::<Vec<_>>();
    let before = count();
    let mut client = several.site.client();
    for nth in 0..PAGES {
        expect::fell_through(&client.get(format!("/page/{nth}")), "MISS", &["absent"]);
    }
    let one_more: Vec<u64> = before.iter().map(|connections| connections + 1).collect();
    assert_eq!(count(), one_more);
}

/// Two upstreams of the same servers, with different rules, for `/one/` and `/two/`.
pub fn two_upstreams(cluster: &Cluster) -> Plan {
    let lines = cluster.server_lines();
    plan()
        .without_application()
        .http(&format!("upstream one {{ {lines} pagecache_distribution modula; }}"))
        .http(&format!("upstream two {{ {lines} pagecache_distribution crc32; }}"))
        .locations(
            "location /one/ { pagecache_key $uri; pagecache_pass one; pagecache_fallback @application; }
             location /two/ { pagecache_key $uri; pagecache_pass two; pagecache_fallback @application; }",
        )
}

#[test]
fn two_upstreams_may_place_the_same_servers_differently() {
    let cluster = Cluster::start(SERVERS);
    let site = two_upstreams(&cluster).start();
    let names: Vec<String> = cluster.servers().iter().map(Memcached::address).collect();
    let mut client = site.client();
    for (folder, rule) in [("one", "modula"), ("two", "crc32")] {
        let distribution = distribution(rule, &names, &[1; SERVERS]);
        for nth in 0..PAGES {
            let target = format!("/{folder}/{nth}");
            let asked = client.get(&target).header("X-Server").unwrap();
            assert_eq!(asked, names[distribution.index(target.as_bytes())], "{target}");
        }
    }
}

fn distribution(rule: &str, names: &[String], weights: &[u32]) -> Distribution {
    let nodes: Vec<Node<'_>> =
        names.iter().zip(weights).map(|(name, weight)| Node { name, weight: *weight }).collect();
    Distribution::new(Rule::parse(rule, None).unwrap(), &nodes)
}

/// No process listens at these addresses: the log contains the server of each lookup.
#[test]
fn names_and_weights_reach_every_rule() {
    let names: Vec<String> = (1..=5).map(|nth| format!("127.0.0.1:{nth}")).collect();
    for rule in Rule::names() {
        let weights = match rule {
            "rendezvous" | "modula" | "memjs" | "ketama_spy" => [1; 5],
            _ => [1, 2, 3, 1, 7],
        };
        let lines: String = names
            .iter()
            .zip(weights)
            .map(|(name, weight)| format!("server {name} weight={weight};"))
            .collect();
        let site = looking_up_at(plan(), &format!("{lines} pagecache_distribution {rule};"));
        let distribution = distribution(rule, &names, &weights);
        let mut client = site.client();
        for nth in 0..200 {
            let target = format!("/page/{nth}");
            let asked = client.get(&target).header("X-Server").unwrap();
            assert_eq!(asked, names[distribution.index(target.as_bytes())], "{rule} {target}");
        }
    }
}

#[test]
fn a_server_without_a_port_is_at_memcacheds() {
    // A loopback address that nothing else uses.
    let address = Ipv4Addr::new(127, 0, 77, 11);
    let listener = TcpListener::bind((address, 11211)).unwrap();
    let site = looking_up_at(plan(), &format!("server {address}; server unix:/nowhere; {MODULA}"));
    let mut client = site.client();
    let target = (0..100)
        .map(|nth| format!("/{nth}"))
        .find(|target| client.get(target).header("X-Server") == Some(address.to_string()));
    assert!(target.is_some());
    listener.accept().unwrap();
}

#[test]
fn ipv6_unix_sockets_and_names_side_by_side() {
    let prefix = prefix();
    let named = Memcached::start(prefix.path());
    let on_socket = Memcached::start_on_socket(prefix.path());
    let six = Fake::on(TcpListener::bind("[::1]:0").unwrap(), |lookup| {
        vec![Step::Send(lookup.hit("six"))]
    });
    // `localhost` may have two addresses, of which memcached listens on one: still one server.
    let names = [format!("localhost:{}", named.port()), on_socket.address(), six.address()];
    let lines: String = names.iter().map(|name| format!("server {name};")).collect();
    let site = looking_up_at(plan(), &format!("{lines} pagecache_distribution rendezvous;"));
    let distribution = distribution("rendezvous", &names, &[1; 3]);
    let mut visitor = Visitor::at(&site);
    let mut seen = [0; 3];
    for nth in 0..PAGES {
        let target = format!("/page/{nth}");
        let server = distribution.index(target.as_bytes());
        seen[server] += 1;
        match server {
            0 => named.set(&target, &target, BYTES),
            1 => on_socket.set(&target, &target, BYTES),
            _ => {}
        }
        let page = if server == 2 { "six" } else { &target };
        visitor.hits_again(&target, page);
        assert_eq!(site.get(&target).header("X-Server").as_deref(), Some(&*names[server]));
    }
    assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
}

#[test]
fn bodies_of_all_servers_share_the_room() {
    // Each of two servers has a page that fills the buffers while it is being sent.
    let port = free_port();
    let short_of_room = plan().server(&format!("listen 127.0.0.1:{port} sndbuf=64k;"));
    let mut several = several_behind(short_of_room, &format!("{MODULA} pagecache_buffers 3m;"));
    let big = bytes::pattern(2 << 20, 1);
    let mut targets = vec![];
    for nth in 0.. {
        let target = format!("/big/{nth}");
        let server = several.server_of(&target);
        if targets.iter().all(|(_, known)| *known != server) {
            several.cluster.servers()[server].set(&target, &big, BYTES);
            targets.push((target, server));
        }
        if targets.len() == 2 {
            break;
        }
    }
    let mut reader = Client::connect(([127, 0, 0, 1], port).into());
    reader.send(&Request::get(&targets[0].0).head());
    assert_eq!(reader.receive_head().unwrap().header("X-Cache").as_deref(), Some("HIT"));
    // The first page is held until its client reads it.
    expect::fell_through(&several.site.get(&targets[1].0), "ERROR", &["overload"]);
    reader.reset();
    let site = &mut several.site;
    wait::until("room", || site.get(&targets[1].0).body == big);
}
