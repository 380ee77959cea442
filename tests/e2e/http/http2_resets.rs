//! HTTP/2 streams that are reset while frames of them are queued: nginx terminates the request at once, but keeps
//! its memory until the frames are sent. The lookups of its subrequests end with it, and the application gets no
//! request for a closed stream.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::harness::*;

/// The size of a page in bytes: far more than the sockets hold before the client reads.
const LARGE: usize = 400_000;

/// The directives of a location that looks a key up on a server, and its fallback.
type Directives = fn(key: &str, server: &str, fallback: &str) -> String;

fn pagecache(key: &str, server: &str, fallback: &str) -> String {
    format!("pagecache_key {key}; pagecache_pass {server}; pagecache_fallback {fallback};")
}

/// nginx's own module. Its buffer holds a whole page: the page's parts are looked up while the rest waits for the
/// client, as with the module under test.
fn memcached(key: &str, server: &str, fallback: &str) -> String {
    format!(
        "set $memcached_key {key}; memcached_pass {server}; memcached_buffer_size 512k;
         error_page 404 502 504 = {fallback};"
    )
}

/// A site with two memcacheds: one answers with large pages at once, the other one holds the reply to each lookup
/// back until its gate opens.
struct HeldSite {
    site: Site,
    pages: Fake,
    parts: Fake,
    gates: Gates,
    /// The address of a listener with a small send buffer.
    http2: SocketAddr,
}

/// A gate for each round, by the number of the round.
#[derive(Clone, Default)]
struct Gates(Arc<Mutex<Vec<Gate>>>);

impl Gates {
    fn of(&self, round: usize) -> Gate {
        let mut gates = self.0.lock().unwrap();
        while gates.len() <= round {
            gates.push(Gate::default());
        }
        gates[round].clone()
    }
}

/// The path of a page is `/KIND/ROUND/NTH`. The key of a part is `/part/WORD` and the page's path; the word
/// determines the reply.
fn held_site(look_up: Directives) -> HeldSite {
    let pages = Fake::start(|lookup| {
        let key = lookup.key_text();
        let mut page = vec![b'p'; if key.starts_with("/small") { 10 } else { LARGE }];
        if key.starts_with("/ssi") {
            for part in ["hit", "absent", "empty"] {
                page.extend(format!("<!--# include virtual=\"/part/{part}\" -->").bytes());
            }
        }
        vec![Step::Send(lookup.hit(page))]
    });
    let gates = Gates::default();
    let held = gates.clone();
    let parts = Fake::start(move |lookup| {
        let key = lookup.key_text();
        let words: Vec<&str> = key.split('/').collect();
        let round = words[4].parse().unwrap();
        let reply = if words[2] == "hit" { lookup.hit("part") } else { lookup.miss() };
        vec![Step::Wait(held.of(round)), Step::Send(reply)]
    });
    let http2 = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let page = look_up("$uri", &pages.address(), "@application");
    let part = |fallback: &str| look_up("$uri$request_uri", "parts", fallback);
    let site = plan()
        .content_type("text/html")
        .http(&format!("upstream parts {{ server {}; }}", parts.address()))
        .server(&format!("listen {http2} http2 sndbuf=16k; http2_max_concurrent_streams 512;"))
        .locations(&format!(
            "location /ssi/    {{ ssi on; {page} }}
             location /mirror/ {{ mirror /part/absent; mirror /part/hit; {page} }}
             location /auth/   {{ auth_request /part/absent; {page} }}
             location /small/  {{ {page} }}
             location /part/   {{ {} }}
             location /part/empty {{ {} }}
             location @empty   {{ return 204; }}",
            part("@application"),
            part("@empty"),
        ))
        .start();
    HeldSite { site, pages, parts, gates, http2 }
}

impl HeldSite {
    /// Returns when nginx has seen all that `client` has sent.
    fn wait_until_seen(&self, client: &mut Http2, mark: &str) {
        let stream = client.ask(&format!("/small/{mark}"));
        let key = format!("/small/{mark}");
        wait::until("the mark is looked up", || {
            self.pages.lookups().iter().any(|lookup| lookup.key_text() == key)
        });
        client.cancel(stream);
    }

    /// The requests that reached the application, as the clients wrote them.
    fn asked(&self) -> Vec<String> {
        self.site.application().requests().into_iter().map(|seen| seen.uri).collect()
    }
}

/// The kinds of pages, and how many parts of one are looked up before its client has read anything.
const KINDS: [(&str, usize); 3] = [("ssi", 3), ("mirror", 2), ("auth", 1)];

#[test]
fn nothing_is_asked_for_a_stream_that_was_reset_with_frames_queued() {
    let held = held_site(pagecache);
    let mut waiting = 0;
    for (round, (kind, parts)) in KINDS.into_iter().enumerate() {
        let mut client = Http2::connect(held.http2);
        let stream = client.ask(&format!("/{kind}/{round}/0"));
        waiting += parts;
        held.parts.wait_for_lookups(waiting);
        client.cancel(stream);
        held.wait_until_seen(&mut client, &format!("{round}/mark"));
        held.gates.of(round).open();
        // Its reply follows those that no request waits for any more.
        let settled = held.site.get(format!("/part/hit/settled/{round}"));
        waiting += 1;
        expect::hit(&settled, "part");
    }
    assert_eq!(held.asked(), [""; 0]);
}

#[test]
fn streams_reset_at_random_ask_nothing() {
    storm(pagecache);
}

#[test]
fn streams_reset_at_random_ask_nothing_of_nginx_s_own_module() {
    storm(memcached);
}

const ROUNDS: usize = 20;
const STREAMS: usize = 6;

/// In each round, resets some streams of a connection, or the connection, before replies arrive and frames are
/// read, in different orders. The seed is `E2E_SEED`, or a new one each time.
#[track_caller]
fn storm(look_up: Directives) {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = std::env::var("E2E_SEED").map_or_else(|_| now(), |seed| seed.parse().unwrap());
    println!("E2E_SEED={seed}");
    let mut random = bytes::pattern(ROUNDS * (2 * STREAMS + 1), seed).into_iter();
    let mut choose = |of: usize| usize::from(random.next().unwrap()) % of;
    let held = held_site(look_up);
    let worker = held.site.nginx.workers()[0];
    let (mut waiting, mut expected) = (0, Vec::new());
    for round in 0..ROUNDS {
        let mut client = Http2::connect(held.http2);
        let mut streams = Vec::new();
        for nth in 0..STREAMS {
            let (kind, parts) = KINDS[choose(KINDS.len())];
            let path = format!("/{kind}/{round}/{nth}");
            streams.push((client.ask(&path), path));
            waiting += parts;
        }
        held.parts.wait_for_lookups(waiting);
        streams.retain(|(stream, _)| {
            let stays = choose(2) == 0;
            if !stays {
                client.cancel(*stream);
            }
            stays
        });
        held.wait_until_seen(&mut client, &format!("{round}/mark"));
        match choose(4) {
            0 => held.gates.of(round).open(),
            1 => {
                client.drain();
                held.gates.of(round).open();
            }
            // The worker handles the replies, and the room for frames, in one iteration.
            2 => {
                held.site.nginx.pause();
                held.gates.of(round).open();
                client.drain();
                held.site.nginx.resume();
            }
            _ => {
                client.reset();
                // nginx has ended all requests: those of this round, its mark, and all earlier ones.
                held.site.nginx.access_log((round + 1) * (STREAMS + 1));
                held.gates.of(round).open();
                continue;
            }
        }
        let numbers: Vec<u32> = streams.iter().map(|&(stream, _)| stream).collect();
        for ((_, path), body) in streams.iter().zip(client.bodies(&numbers)) {
            assert!(body.starts_with(&[b'p'; LARGE]), "{path}: {} bytes", body.len());
        }
        expected.extend(streams.into_iter().map(|(_, path)| path));
    }
    // Each page that was not reset has one part that only the application has.
    wait::until("the application was asked", || held.asked().len() >= expected.len());
    let mut asked = held.asked();
    asked.sort();
    expected.sort();
    assert_eq!(asked, expected);
    assert_eq!(held.site.nginx.workers(), [worker], "the worker was replaced");
}
