//! `post_action`: a request whose client leaves during a lookup continues elsewhere. The reply of that lookup is
//! for no request.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;

use crate::harness::*;

/// Requests after that of `/page`.
const OTHERS: usize = 50;

/// A site in which `/page` is looked up until `held` opens, and `post` is looked up or passed on.
fn site(held: &Gate, post: &str) -> (Fake, Site) {
    let held = held.clone();
    let fake = Fake::start(move |lookup| match lookup.key() {
        b"/page" => vec![Step::Wait(held.clone()), Step::Send(lookup.hit("the page"))],
        b"/other" => vec![Step::Send(lookup.hit("another"))],
        _ => vec![Step::Send(lookup.miss())],
    });
    let site = plan()
        .store_at(fake.address())
        .location("post_action /post;")
        .server(&format!(
            "location = /post  {{ {post} }}
             location = /other {{ pagecache_key $uri; pagecache_pass @MEMCACHED@; }}"
        ))
        .start();
    (fake, site)
}

/// Leaves `/page` during its lookup, and returns when `has_gone_on`.
fn leave(fake: &Fake, site: &Site, has_gone_on: impl Fn() -> bool) {
    let mut client = site.client();
    client.send(&Request::get("/page").head());
    fake.wait_for_lookups(1);
    client.reset();
    wait::until("the request has gone on", has_gone_on);
}

/// A fault in the earlier request would have shown by the end of these.
fn others_are_served(site: &Site) {
    let worker = site.nginx.workers();
    let mut client = site.client();
    for _ in 0..OTHERS {
        expect::hit(&client.get("/other"), "another");
    }
    assert_eq!(site.nginx.workers(), worker);
}

#[test]
fn what_is_looked_up_then_gets_its_own_answer() {
    let held = Gate::default();
    let post = "pagecache_key post; pagecache_pass @MEMCACHED@; pagecache_fallback @application;";
    let (fake, site) = site(&held, post);
    leave(&fake, &site, || fake.lookups().iter().any(|lookup| lookup.key() == b"post"));
    held.open();
    // its own miss, and no hit
    wait::until("the application is asked", || site.application().count() == 1);
    others_are_served(&site);
}

#[test]
fn what_waits_for_an_application_is_not_answered_a_second_time() {
    let held = Gate::default();
    let application = TcpListener::bind("127.0.0.1:0").unwrap();
    let post = format!("proxy_pass http://{};", application.local_addr().unwrap());
    let (fake, site) = site(&held, &post);
    let (has_been_asked, asked) = mpsc::channel();
    let (answers, may_answer) = mpsc::channel();
    let serving = thread::spawn(move || {
        let (mut stream, _) = application.accept().unwrap();
        let _ = stream.read(&mut [0; 1000]).unwrap();
        has_been_asked.send(()).unwrap();
        may_answer.recv().unwrap();
        stream.set_nonblocking(true).unwrap();
        let has_been_left = stream.peek(&mut [0]).is_ok();
        let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nposted");
        has_been_left
    });
    leave(&fake, &site, || asked.try_recv().is_ok());
    held.open();
    others_are_served(&site);
    answers.send(()).unwrap();
    assert!(!serving.join().unwrap(), "nginx has closed the connection");
    others_are_served(&site);
    // Nothing came of the lookup, but it has ended.
    let log = site.nginx.access_log(1 + 2 * OTHERS);
    let left = log.iter().find(|line| line.key == b"/page").unwrap();
    assert_eq!((left.status.as_str(), left.reason.as_str()), ("-", "-"), "{left:?}");
    assert!(left.time.parse::<f64>().is_ok(), "{left:?}");
}
