//! `pagecache_stats`: the effect of each request on the counters, which sum up all workers and outlive a reload,
//! and which Prometheus, scripts and browsers can read.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use pagecache_testkit::process::output_of;

use crate::harness::*;
use crate::keys::several_servers::two_upstreams;

const STATS: &str = "location = /stats { pagecache_stats; }";

/// A site with one server in an upstream block, and statistics.
fn counting() -> Plan {
    plan().upstream("server @MEMCACHED@;").server(STATS)
}

/// Each sample by its name and labels, as in the text.
type Samples = BTreeMap<String, f64>;

fn samples(site: &Site) -> Samples {
    let answer = site.get("/stats");
    assert_eq!(answer.status, 200, "{answer:?}");
    let text = answer.text();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let samples = lines.map(|line| line.rsplit_once(' ').unwrap());
    samples.map(|(name, value)| (name.to_owned(), value.parse().unwrap())).collect()
}

/// The value of the only server.
fn of_server(site: &Site, name: &str) -> f64 {
    let samples = samples(site);
    let found: Vec<f64> = samples
        .iter()
        .filter(|(sample, _)| sample.starts_with(&format!("{name}{{")))
        .map(|(_, value)| *value)
        .collect();
    assert_eq!(found.len(), 1, "{name}: {samples:?}");
    found[0]
}

fn because(site: &Site, name: &str, reason: &str) -> f64 {
    let end = format!("reason=\"{reason}\"}}");
    let samples = samples(site);
    let found =
        samples.iter().filter(|(sample, _)| sample.starts_with(name) && sample.ends_with(&end));
    found.map(|(_, value)| *value).sum()
}

#[test]
fn each_request_is_counted_once_for_what_became_of_it() {
    let site = counting()
        .location("pagecache_bypass $arg_fresh; pagecache_max_size 1k; pagecache_long_keys bypass;")
        .start();
    site.memcached().set("/page", "the page", BYTES);
    site.memcached().set("/pickle", "a pickle", PICKLE);
    site.memcached().set("/large", vec![b'x'; 2_000], BYTES);
    for _ in 0..3 {
        expect::hit(&site.get("/page"), "the page");
    }
    let long = format!("/{}", "x".repeat(300));
    for target in ["/absent", "/absent", "/pickle", "/large", "/page?fresh=1", &long] {
        assert_eq!(site.get(target).status, 200);
    }
    site.ask(&Request::new("POST", "/page").body("x"));
    assert_eq!(of_server(&site, "pagecache_hits_total"), 3.0);
    assert_eq!(of_server(&site, "pagecache_hit_bytes_total"), 24.0);
    for (reason, count) in [("absent", 2.0), ("flags", 1.0), ("size", 1.0), ("format", 0.0)] {
        assert_eq!(because(&site, "pagecache_misses_total", reason), count, "{reason}");
    }
    for (reason, count) in [("method", 1.0), ("bypass", 1.0), ("longkey", 1.0), ("nokey", 0.0)] {
        assert_eq!(because(&site, "pagecache_bypasses_total", reason), count, "{reason}");
    }
    assert_eq!(of_server(&site, "pagecache_lookups_total"), 7.0);
    assert_eq!(of_server(&site, "pagecache_lookup_duration_seconds_count"), 7.0);
    assert_eq!(of_server(&site, "pagecache_connects_total"), 1.0);
    assert_eq!(of_server(&site, "pagecache_connections"), 1.0);
    assert_eq!(of_server(&site, "pagecache_lookups_in_flight"), 0.0);
    let sum = of_server(&site, "pagecache_lookup_duration_seconds_sum");
    assert!(sum > 0.0 && sum < 10.0, "{sum}");
}

#[test]
fn requests_at_once_are_few_batches() {
    let site = counting().start();
    let targets: Vec<String> = (0..100).map(|nth| format!("/page/{nth}")).collect();
    let mut client = site.client();
    // Together in one write: nginx reads them one after the other, each in its own iteration.
    let mut clients: Vec<Client> = targets.iter().map(|_| site.client()).collect();
    expect::application(&client.get("/warm"), "MISS", "absent");
    for (client, target) in clients.iter_mut().zip(&targets) {
        client.send(&Request::get(target).head());
    }
    for client in &mut clients {
        assert_eq!(client.receive(false).unwrap().status, 200);
    }
    let lookups = of_server(&site, "pagecache_lookups_total");
    let batches = of_server(&site, "pagecache_batches_total");
    assert_eq!(lookups, 101.0);
    assert!((1.0..=lookups).contains(&batches), "{batches} batches");
}

#[test]
fn requests_that_wait_are_seen_while_they_do() {
    let held = Gate::default();
    let fake = Fake::replying_behind(&held, |lookup| lookup.hit("the page"));
    let site = counting().store_at(fake.address()).without_application().start();
    let mut waiting = site.client();
    waiting.send(&Request::get("/page").head());
    wait::until("a lookup in flight", || of_server(&site, "pagecache_lookups_in_flight") == 1.0);
    held.open();
    expect::hit(&waiting.receive(false).unwrap(), "the page");
    assert_eq!(of_server(&site, "pagecache_lookups_in_flight"), 0.0);
}

#[test]
fn a_failing_server_is_seen_while_it_is() {
    let mut site = counting().without_application().start();
    site.memcached().set("/page", "the page", BYTES);
    expect::hit(&site.get("/page"), "the page");
    assert_eq!(of_server(&site, "pagecache_failing_workers"), 0.0);
    assert_eq!(of_server(&site, "pagecache_state_change_timestamp_seconds"), 0.0);

    site.memcached_mut().crash();
    wait::until("trouble", || site.get("/page").text() == "application");
    assert_eq!(of_server(&site, "pagecache_failing_workers"), 1.0);
    assert_eq!(of_server(&site, "pagecache_connections"), 0.0);
    let since = of_server(&site, "pagecache_state_change_timestamp_seconds");
    assert!(since > 1.7e9, "{since}");
    let errors: f64 = samples(&site)
        .iter()
        .filter(|(sample, _)| sample.starts_with("pagecache_errors_total"))
        .map(|(_, value)| *value)
        .sum();
    assert!(errors >= 1.0);

    site.memcached_mut().restart();
    site.memcached().set("/page", "the page", BYTES);
    wait::until("hits return", || site.get("/page").text() == "the page");
    assert_eq!(of_server(&site, "pagecache_failing_workers"), 0.0);
    assert!(of_server(&site, "pagecache_connects_total") >= 2.0);
}

/// A request that is refused at once because a server is down does not begin a lookup.
#[test]
fn an_outage_is_no_lookup_time() {
    let mut site = counting().without_application().start();
    site.memcached_mut().crash();
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(1_500) {
        expect::fell_through(&site.get("/page"), "ERROR", &["connect", "down"]);
    }
    site.memcached_mut().restart();
    site.memcached().set("/page", "the page", BYTES);
    wait::until("hits return", || site.get("/page").text() == "the page");
    let sum = of_server(&site, "pagecache_lookup_duration_seconds_sum");
    assert!(sum < 1.0, "{sum} s of lookups");
}

/// The next worker adopts only the counts of a crashed one.
#[test]
fn a_crashed_worker_s_trouble_ends_with_it() {
    let mut site = counting().without_application().start();
    site.memcached_mut().crash();
    wait::until("trouble", || {
        of_server(&site, "pagecache_failing_workers") == {
            site.get("/page");
            1.0
        }
    });
    site.memcached_mut().restart();
    site.nginx.ignore_in_log("exited on signal 9");
    let workers = site.nginx.workers();
    assert!(kernel::signal(workers[0], kernel::SIGKILL));
    wait::until("another worker", || site.nginx.workers() != workers);
    // A lookup before the first report.
    wait::until("a miss", || {
        site.client()
            .try_ask(&Request::get("/page"))
            .is_ok_and(|answer| answer.header("X-Reason").as_deref() == Some("absent"))
    });
    assert_eq!(of_server(&site, "pagecache_failing_workers"), 0.0);
}

#[test]
fn a_server_that_stands_twice_is_shown_once() {
    let site = plan()
        .upstream("server @MEMCACHED@; server @MEMCACHED@; pagecache_distribution modula;")
        .server(STATS)
        .start();
    for nth in 0..8 {
        expect::application(&site.get(format!("/page/{nth}")), "MISS", "absent");
    }
    assert_eq!(because(&site, "pagecache_misses_total", "absent"), 8.0);
    let text = site.get("/stats").text();
    assert_eq!(text.matches("\npagecache_hits_total{").count(), 1, "{text}");
}

#[test]
fn conditions_within_the_location() {
    let site = plan()
        .server("location = /stats { pagecache_stats; if ($arg_a) { add_header X-A yes; } }")
        .start();
    let answer = site.get("/stats?a=1");
    assert_eq!((answer.status, answer.header("X-A").as_deref()), (200, Some("yes")));
}

#[test]
fn counts_are_of_all_workers_and_outlive_a_reload() {
    let mut site = counting().workers(3).start();
    site.memcached().set("/page", "the page", BYTES);
    for _ in 0..60 {
        expect::hit(&site.get("/page"), "the page");
    }
    assert_eq!(of_server(&site, "pagecache_hits_total"), 60.0);
    let started = samples(&site)["pagecache_start_timestamp_seconds"];
    for round in 1..=3 {
        site.nginx.reload();
        expect::hit(&site.get("/page"), "the page");
        assert_eq!(of_server(&site, "pagecache_hits_total"), 60.0 + f64::from(round));
    }
    assert_eq!(samples(&site)["pagecache_start_timestamp_seconds"], started);
    // The connections of the workers that have quit are closed.
    wait::until("old connections are gone", || of_server(&site, "pagecache_connections") <= 3.0);
}

#[test]
fn a_worker_that_crashes_takes_nothing_along() {
    let mut site = counting().start();
    site.memcached().set("/page", "the page", BYTES);
    for _ in 0..10 {
        expect::hit(&site.get("/page"), "the page");
    }
    site.nginx.ignore_in_log("exited on signal 9");
    let workers = site.nginx.workers();
    assert!(kernel::signal(workers[0], kernel::SIGKILL));
    wait::until("another worker", || {
        Client::try_connect(site.nginx.address()).is_some() && site.nginx.workers() != workers
    });
    wait::until("an answer", || {
        let mut client = site.client();
        client.try_ask(&Request::get("/page")).is_ok_and(|answer| answer.text() == "the page")
    });
    let hits = of_server(&site, "pagecache_hits_total");
    assert!(hits >= 11.0, "{hits}");
    assert_eq!(of_server(&site, "pagecache_connections"), 1.0);
}

#[test]
fn servers_and_upstreams_are_told_apart() {
    let cluster = Cluster::start(3);
    let site = two_upstreams(&cluster).server(STATS).start();
    let mut client = site.client();
    let mut expected: BTreeMap<String, f64> = BTreeMap::new();
    for nth in 0..90 {
        let upstream = if nth % 3 == 0 { "one" } else { "two" };
        let answer = client.get(format!("/{upstream}/{nth}"));
        let server = answer.header("X-Server").unwrap();
        let sample = format!(
            "pagecache_misses_total{{upstream=\"{upstream}\",server=\"{server}\",reason=\"absent\"}}"
        );
        *expected.entry(sample).or_default() += 1.0;
    }
    assert_eq!(expected.len(), 6, "{expected:?}");
    let samples = samples(&site);
    for (sample, count) in expected {
        assert_eq!(samples.get(&sample), Some(&count), "{sample}");
    }
}

/// The names, types and values of the text, as parsed by Prometheus's own client library.
#[test]
fn a_real_prometheus_parser_reads_it() {
    let site = counting().start();
    site.memcached().set("/page", "the page", BYTES);
    for _ in 0..5 {
        expect::hit(&site.get("/page"), "the page");
    }
    let answer = site.get("/stats");
    let content_type = answer.header("Content-Type");
    assert_eq!(content_type.as_deref(), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert_eq!(answer.header("Cache-Control").as_deref(), Some("no-store"));
    const READ: &str = "
import sys
from prometheus_client.parser import text_string_to_metric_families
for family in text_string_to_metric_families(sys.stdin.read()):
    assert family.documentation, family
    print(family.name, family.type, len(family.samples))
    for sample in family.samples:
        if family.type == 'counter':
            assert sample.name.endswith('_total'), sample
        if sample.name == 'pagecache_hits_total':
            print('hits', sample.labels['upstream'], sample.value)
";
    let mut reader = Command::new("/usr/bin/python3");
    let output = output_of(reader.args(["-c", READ]), &answer.body);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    for line in [
        "pagecache_hits counter 1",
        "hits pages 5.0",
        "pagecache_misses counter 7",
        "pagecache_errors counter 7",
        "pagecache_bypasses counter 5",
        "pagecache_lookup_duration_seconds histogram 17",
        "pagecache_wait_duration_seconds histogram 17",
        "pagecache_connections gauge 1",
    ] {
        assert!(text.lines().any(|read| read == line), "no {line}:\n{text}");
    }
    assert!(!text.contains("unknown"), "{text}");
}

#[test]
fn each_form_for_whom_it_is() {
    let site = counting().start();
    let kind = |target: &str, accept: &str| {
        let answer = site.ask(&Request::get(target).header("Accept", accept));
        (answer.status, answer.header("Content-Type").unwrap_or_default())
    };
    let text = (200, "text/plain; version=0.0.4; charset=utf-8".to_owned());
    let page = (200, "text/html; charset=utf-8".to_owned());
    let json = (200, "application/json".to_owned());
    const PROMETHEUS: &str =
        "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
    const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    assert_eq!(kind("/stats", "*/*"), text);
    assert_eq!(kind("/stats", PROMETHEUS), text);
    assert_eq!(kind("/stats", BROWSER), page);
    assert_eq!(kind("/stats", "application/json"), json);
    assert_eq!(kind("/stats?format=json", BROWSER), json);
    assert_eq!(kind("/stats?format=prometheus", BROWSER), text);
    assert_eq!(kind("/stats?format=html", "*/*"), page);
    assert_eq!(kind("/stats?format=xml", "*/*").0, 400);
    assert_eq!(site.ask(&Request::new("POST", "/stats").body("x")).status, 405);
    let head = site.ask(&Request::new("HEAD", "/stats?format=json"));
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert!(site.get("/stats?format=json").text().starts_with('{'));
}

#[test]
fn where_it_cannot_stand() {
    let refused = |server: &str, words: &[&str]| {
        let checked = plan().without_application().locations(server).check();
        assert!(!checked.passed, "{server} passed");
        for word in words {
            assert!(checked.output.contains(word), "no \"{word}\": {}", checked.output);
        }
    };
    let pass = "pagecache_key $uri; pagecache_pass 127.0.0.1:11211;";
    refused(
        &format!("location / {{ {pass} pagecache_stats; }}"),
        &["pagecache_stats", "pagecache_pass"],
    );
    refused(
        &format!("location / {{ pagecache_stats; {pass} }}"),
        &["pagecache_pass", "pagecache_stats"],
    );
    refused("location / { pagecache_stats; pagecache_stats; }", &["pagecache_stats", "duplicate"]);
    refused("location / { pagecache_stats on; }", &["pagecache_stats", "arguments"]);
}
