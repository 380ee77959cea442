//! Level-triggered event methods, which report an unread event again and again, on an nginx that has them: a worker
//! sleeps while a lookup waits, and still notices clients that leave.

use std::net::SocketAddr;

use crate::harness::*;

/// The number of checks that a worker sleeps, some milliseconds apart; a worker that spins would run at most of
/// them.
const LOOKS: usize = 20;

#[track_caller]
fn sleeps(site: &Site) {
    let worker = site.nginx.workers()[0];
    let mut asleep = 0;
    wait::until("the worker sleeps", || {
        asleep = if measure::is_in_state(worker, 'S') { asleep + 1 } else { 0 };
        asleep == LOOKS
    });
}

/// The size of a page's first part in bytes: more than the sockets hold before the client reads.
const LARGE: usize = 400_000;

/// The bytes of it that are read: fewer than the sockets hold.
const READ: usize = 40_000;

/// Whether the nginx under test has this method.
fn has(method: &str) -> bool {
    let has = parts::nginx_has(&format!("--with-{method}_module"));
    if !has {
        eprintln!("this nginx has no {method}");
    }
    has
}

fn site(method: &'static str, fake: &Fake) -> Plan {
    plan().event_method(method).worker_connections(256).store_at(fake.address())
}

#[track_caller]
fn hears_of_those_who_leave(method: &'static str) {
    let gate = Gate::default();
    let fake = Fake::replying_behind(&gate, |lookup| lookup.hit("page"));
    let site = site(method, &fake).start();
    let mut staying = site.client();
    staying.send(&Request::get("/staying").head());
    let mut leaving = site.client();
    leaving.send(&Request::get("/leaving").head());
    fake.wait_for_lookups(2);
    sleeps(&site);
    // the bytes after the request wait, too
    staying.send(&Request::get("/behind").head());
    sleeps(&site);
    leaving.leave();
    assert_eq!(site.nginx.access_log(1)[0].http_status, "499");
    gate.open();
    for _ in ["/staying", "/behind"] {
        expect::hit(&staying.receive(false).unwrap(), "page");
    }
    sleeps(&site);
    assert_eq!(site.application().requests().len(), 0);
}

/// A client reads at last, so that there is room, while a part of the page is still looked up.
#[track_caller]
fn waits_for_a_part(method: &'static str) {
    let gate = Gate::default();
    let held = gate.clone();
    let first = vec![b'p'; LARGE];
    let page = [&first, "<!--# include virtual=\"/part\" -->".as_bytes()].concat();
    let fake = Fake::start(move |lookup| match lookup.key_text().as_str() {
        "/page" => vec![Step::Send(lookup.hit(&page))],
        _ => vec![Step::Wait(held.clone()), Step::Send(lookup.hit("part"))],
    });
    let small = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let plan = site(method, &fake).server(&format!("listen {small} sndbuf=16k;"));
    let site = plan.location("ssi on;").start();
    let mut client = Client::connect(small);
    client.send(b"GET /page HTTP/1.0\r\n\r\n");
    fake.wait_for_lookups(2);
    sleeps(&site);
    client.receive_head().unwrap();
    assert!(client.take(READ).unwrap() == first[..READ]);
    sleeps(&site);
    gate.open();
    let rest = client.take(LARGE + 4 - READ).unwrap();
    assert!(rest == [&first[READ..], b"part"].concat());
}

/// Each line is a module of tests for one method.
macro_rules! each_waits_well {
    ($($method:ident)*) => {
        $(
            mod $method {
                use super::*;

                #[test]
                fn those_who_leave() {
                    if has(stringify!($method)) {
                        hears_of_those_who_leave(stringify!($method));
                    }
                }

                #[test]
                fn a_part_of_a_page() {
                    if has(stringify!($method)) {
                        waits_for_a_part(stringify!($method));
                    }
                }
            }
        )*
    };
}

each_waits_well! { poll select }
