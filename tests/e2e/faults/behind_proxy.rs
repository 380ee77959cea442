//! Behind a proxy that returns the replies on each connection in the order of the lookups: while one of its
//! memcacheds hangs, the pages of the others remain hits, only requests for pages of the hanging one wait, and the
//! circuit breaker does not open for the proxy.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::*;

/// The timeout of lookups; a request behind a hanging lookup would wait this long.
const BUDGET: Duration = Duration::from_secs(5);

/// Far more than a lookup takes on a busy machine, and far less than the timeout.
const AT_ONCE: Duration = Duration::from_millis(2_000);

const CLASSIC: &str = "pagecache_protocol classic;";

fn site_at(address: &str, words: &str) -> Site {
    plan()
        .without_application()
        .store_at(address)
        .upstream(&format!("server @MEMCACHED@; {words}"))
        .location("pagecache_timeout 5s;")
        .start()
}

/// A proxy that answers `/hung...` with `late` once the gate opens, and has all other pages.
fn proxy(gate: &Gate, late: fn(&Lookup) -> Vec<u8>) -> Fake {
    let gate = gate.clone();
    Fake::start(move |lookup| match lookup.key_text().starts_with("/hung") {
        true => vec![Step::Wait(gate.clone()), Step::Send(late(lookup))],
        false => vec![Step::Send(lookup.hit(lookup.key()))],
    })
}

/// Requests a page that hangs, and waits until the proxy has received the lookup.
#[track_caller]
fn hangs(site: &Site, fake: &Fake, page: &str) -> Client {
    let mut client = site.client();
    client.send(&Request::get(page).head());
    wait::until("the proxy is asked", || {
        fake.lookups().iter().any(|lookup| lookup.key() == page.as_bytes())
    });
    client
}

#[track_caller]
fn is_hit_at_once(client: &mut Client, page: &str, value: &str) -> Duration {
    let asked = Instant::now();
    expect::hit(&client.get(page), value);
    let took = asked.elapsed();
    assert!(took < AT_ONCE, "{page} took {took:?}");
    took
}

/// More and more lookups hang, and after each of them the other pages are hits at once, for one visitor and for
/// several who come together. The hanging lookups end as `ends` says.
#[track_caller]
fn nobody_waits_behind(words: &str, hung: usize, ends: &[(&str, &str)]) {
    let gate = Gate::default();
    let fake = proxy(&gate, Lookup::miss);
    let site = site_at(&fake.address(), words);
    let mut visitors: Vec<Client> = (0..4).map(|_| site.client()).collect();
    let mut waiting = Vec::new();
    for nth in 0..hung {
        waiting.push(hangs(&site, &fake, &format!("/hung/{nth}")));
        for turn in 0..3 {
            let page = format!("/page/{nth}/{turn}");
            is_hit_at_once(&mut visitors[0], &page, &page);
        }
        let asked = Instant::now();
        let page = |number: usize| format!("/page/{nth}/of/{number}");
        for (number, visitor) in visitors.iter_mut().enumerate() {
            visitor.send(&Request::get(page(number)).head());
        }
        for (number, visitor) in visitors.iter_mut().enumerate() {
            expect::hit(&visitor.receive(false).unwrap(), page(number));
        }
        assert!(asked.elapsed() < AT_ONCE, "{words} {nth} hang: {:?}", asked.elapsed());
    }
    gate.open();
    for mut client in waiting {
        let answer = client.receive(false).unwrap();
        let [status, reason] =
            ["X-Cache", "X-Reason"].map(|name| answer.header(name).unwrap_or_default());
        assert!(ends.contains(&(&status, &reason)), "{answer:?}");
    }
    assert_eq!(site.nginx.state_changes(), 0, "{}", site.nginx.error_log());
}

#[test]
fn nobody_waits_behind_lookups_that_hang() {
    const ANSWERED: &[(&str, &str)] = &[("MISS", "absent")];
    nobody_waits_behind(CLASSIC, 3, ANSWERED);
    nobody_waits_behind("", 1, ANSWERED);
}

/// Requests after that wait until the timeout of the first hanging lookup is nearly over.
#[test]
fn where_as_many_hang_as_there_are_connections_pages_are_hits_all_the_same() {
    let gate = Gate::default();
    let fake = proxy(&gate, Lookup::miss);
    let site = site_at(&fake.address(), "pagecache_connections 2;");
    let mut visitor = site.client();
    let first = hangs(&site, &fake, "/hung/0");
    // it has been overtaken once a lookup is answered that was written in a later msec
    wait::at_least(Duration::from_millis(1));
    is_hit_at_once(&mut visitor, "/page/0", "/page/0");
    let second = hangs(&site, &fake, "/hung/1");
    for page in ["/page/1", "/page/2"] {
        expect::hit(&visitor.get(page), page);
    }
    assert_eq!(site.nginx.state_changes(), 0, "{}", site.nginx.error_log());
    gate.open();
    for mut client in [first, second] {
        client.receive(false).unwrap();
    }
}

/// The hanging lookups time out while others are answered: that does not count as a failure of the proxy, and the
/// next request is looked up.
#[track_caller]
fn timeouts_leave_it_in_use(words: &str, hung: usize) {
    let gate = Gate::default();
    let fake = proxy(&gate, Lookup::miss);
    let site = site_at(&fake.address(), words);
    let mut visitor = site.client();
    is_hit_at_once(&mut visitor, "/first", "/first");
    for round in 0..2 {
        let page = |nth: usize| format!("/hung/{round}/{nth}");
        let mut waiting = Vec::new();
        for nth in 0..hung {
            waiting.push(hangs(&site, &fake, &page(nth)));
            is_hit_at_once(&mut visitor, "/between", "/between");
        }
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                for mut client in waiting {
                    let answer = client.receive(false).unwrap();
                    expect::fell_through(&answer, "ERROR", &["timeout"]);
                }
                done.store(true, Ordering::SeqCst);
            });
            let limit = Instant::now() + 3 * BUDGET;
            while !done.load(Ordering::SeqCst) {
                assert!(Instant::now() < limit, "the lookups that hang outlive their budget");
                is_hit_at_once(&mut visitor, "/page", "/page");
            }
        });
        is_hit_at_once(&mut visitor, "/after", "/after");
    }
    assert_eq!(site.nginx.state_changes(), 0, "{}", site.nginx.error_log());
}

#[test]
fn lookups_that_time_out_are_no_failure_of_a_proxy_that_answers_others() {
    timeouts_leave_it_in_use(CLASSIC, 3);
}

#[test]
fn nor_of_a_slow_server_that_answers_others() {
    timeouts_leave_it_in_use("", 1);
}

#[test]
fn a_proxy_may_say_itself_that_a_server_hangs() {
    let gate = Gate::default();
    let fake = proxy(&gate, |_| b"SERVER_ERROR Connection timed out\r\n".to_vec());
    let site = site_at(&fake.address(), CLASSIC);
    let mut visitor = site.client();
    let mut waiting = Vec::new();
    for nth in 0..5 {
        waiting.push(hangs(&site, &fake, &format!("/hung/{nth}")));
        is_hit_at_once(&mut visitor, "/before", "/before");
    }
    gate.open();
    for mut client in waiting {
        expect::fell_through(&client.receive(false).unwrap(), "ERROR", &["protocol"]);
        is_hit_at_once(&mut visitor, "/page", "/page");
    }
    assert_eq!(site.nginx.state_changes(), 0, "{}", site.nginx.error_log());
}

/// twemproxy before three memcacheds of which one hangs, with visitors for the pages of each, at the same time.
#[track_caller]
fn one_of_three_hangs(timeout: Duration, reason: &str) {
    let mut cluster = Cluster::start(3);
    let twemproxy = Twemproxy::before(cluster.servers(), timeout);
    let site = site_at(&twemproxy.address(), CLASSIC);
    let (mut ill, mut well) = (Vec::new(), Vec::new());
    let mut link = twemproxy.link();
    for nth in 0..60 {
        let page = format!("/page/{nth}");
        link.set(page.as_bytes(), page.as_bytes(), BYTES);
        let is_at_first = cluster.servers()[0].link().get(page.as_bytes()).is_some();
        if is_at_first { &mut ill } else { &mut well }.push(page);
    }
    let mut client = site.client();
    for page in ill.iter().chain(&well) {
        is_hit_at_once(&mut client, page, page);
    }

    cluster.servers_mut()[0].pause();
    let done = AtomicBool::new(false);
    let asks_for = |pages: &[String]| {
        let mut client = site.client();
        for page in pages {
            expect::fell_through(&client.get(page), "ERROR", &[reason]);
        }
    };
    let visits = |pages: &[String]| {
        let mut client = site.client();
        let hits = pages.iter().cycle().take_while(|_| !done.load(Ordering::SeqCst));
        hits.map(|page| is_hit_at_once(&mut client, page, page)).collect::<Vec<_>>()
    };
    thread::scope(|scope| {
        let visiting: Vec<_> =
            well.chunks(4).take(4).map(|pages| scope.spawn(|| visits(pages))).collect();
        let asking: Vec<_> =
            ill.chunks(2).take(2).map(|pages| scope.spawn(|| asks_for(pages))).collect();
        let asked: Vec<_> = asking.into_iter().map(thread::ScopedJoinHandle::join).collect();
        done.store(true, Ordering::SeqCst);
        let hits: Vec<_> = visiting.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert!(hits.iter().all(|hits| hits.len() >= 20), "too few hits");
        let mut took = hits.concat();
        took.sort();
        let (half, most) = (took[took.len() / 2], took[took.len() * 9 / 10]);
        println!(
            "one of three hangs: {} hits of the others, {half:?} (p50), {most:?} (p90)",
            took.len()
        );
        asked.into_iter().for_each(|thread| thread.unwrap());
    });
    assert_eq!(site.nginx.state_changes(), 0, "{}", site.nginx.error_log());

    cluster.servers_mut()[0].resume();
    let page = &ill[0];
    wait::until("its pages return", || expect::hit_or_fallen_through(&client.get(page), page));
}

#[test]
fn one_of_the_memcacheds_of_twemproxy_hangs() {
    one_of_three_hangs(Duration::from_secs(60), "timeout");
}

#[test]
fn and_twemproxy_says_so() {
    one_of_three_hangs(Duration::from_millis(400), "protocol");
}
