//! Many lookups in virtual time, through a server that takes its time: what it is asked, and what comes of it.

use super::*;
use crate::memcached::{Command, Get};
use std::collections::{HashMap, VecDeque};

/// A server on the other side of a network.
pub struct Far {
    /// Until a connection is open, in msec; none: never.
    pub connect: Option<Msec>,
    /// When the reply to a lookup that comes now is sent; none: never. Those behind it wait for it.
    pub reply: fn(now: Msec, name: &str, random: &mut fastrand::Rng) -> Option<Msec>,
    /// Bytes that come in each msec, over all connections together.
    pub bandwidth: usize,
    /// Whether the worker does nothing now.
    pub is_blocked: fn(Msec) -> bool,
}

#[derive(Default)]
struct Flow {
    generation: u32,
    opens_at: Option<Msec>,
    replies: VecDeque<(Option<Msec>, Vec<u8>)>,
}

impl Flow {
    /// What was under way on a socket of before is lost.
    fn begin_anew(&mut self, generation: u32) {
        if self.generation != generation {
            *self = Flow { generation, ..Flow::default() };
        }
    }
}

#[derive(Debug, Default, Clone)]
pub struct Tally {
    pub lookups: usize,
    pub commands: usize,
    pub connects: usize,
    pub hits: usize,
    pub downs: usize,
    pub timeouts: usize,
    pub connect_failures: usize,
    pub refused: usize,
    /// Msec that hits took.
    pub took: Vec<Msec>,
    /// Of failures by a timeout.
    pub failed_after: Vec<Msec>,
    pub bytes: usize,
}

impl Tally {
    pub fn part(of: &[Msec], part: f64) -> Msec {
        let mut of = of.to_vec();
        of.sort_unstable();
        of.get((of.len() as f64 * part) as usize).or(of.last()).copied().unwrap_or(0)
    }

    pub fn line(&self) -> String {
        format!(
            "{} lookups, {} commands (x{:.2}), {} connects, {} hits, {} down, {} timeouts (median after {} ms), {} connect failed, {} refused, p50 {} p90 {} p99 {} max {} ms",
            self.lookups,
            self.commands,
            self.commands as f64 / (self.lookups.max(1)) as f64,
            self.connects,
            self.hits,
            self.downs,
            self.timeouts,
            Self::part(&self.failed_after, 0.5),
            self.connect_failures,
            self.refused,
            Self::part(&self.took, 0.5),
            Self::part(&self.took, 0.9),
            Self::part(&self.took, 0.99),
            Self::part(&self.took, 1.0),
        )
    }
}

/// `arrivals` says how many lookups begin in a msec, and of which names; with how many under way.
pub fn run(
    connections: usize,
    breaker: BreakerLimits,
    far: &Far,
    msec: Msec,
    mut arrivals: impl FnMut(Msec, usize, &mut fastrand::Rng) -> Vec<u64>,
) -> Tally {
    let mut world = World::within(Limits { connections, inflight: 4096, breaker, ..LIMITS });
    let mut random = fastrand::Rng::with_seed(7);
    let mut flows: Vec<Flow> = (0..connections).map(|_| Flow::default()).collect();
    let mut tally = Tally::default();
    let mut since: HashMap<u64, Msec> = HashMap::new();
    let mut serial = 0;
    let start = world.now;
    let mut budget = 0;
    let mut attempt = 0;
    while world.now < start + msec {
        world.now += 1;
        let now = world.now;
        // the network
        budget = far.bandwidth.min(budget + far.bandwidth);
        for turned in 0..connections * 64 {
            let index = (attempt + turned) % connections;
            let flow = &mut flows[index];
            let Some((Some(at), bytes)) = flow.replies.front_mut() else { continue };
            if *at > now || budget == 0 || world.client.generation(index) != flow.generation {
                continue;
            }
            let n = bytes.len().min(budget).min(1460);
            budget -= n;
            tally.bytes += n;
            world.sockets[index].replies.extend(bytes.drain(..n));
            if bytes.is_empty() {
                flow.replies.pop_front();
            }
        }
        attempt += 1;
        if (far.is_blocked)(now - start) {
            continue;
        }
        for (index, flow) in flows.iter_mut().enumerate() {
            flow.begin_anew(world.client.generation(index));
            if flow.opens_at.is_some_and(|at| at <= now) {
                flow.opens_at = None;
                world.open_if_wanted(index);
            }
            world.deliver(index, usize::MAX);
        }
        for item in arrivals(now - start, since.len(), &mut random) {
            serial += 1;
            let token = serial * 8 + item;
            tally.lookups += 1;
            match world.submit(token) {
                Ok(_) => _ = since.insert(token, now),
                Err(_) => tally.refused += 1,
            }
        }
        world.pass(0);
        for (index, flow) in flows.iter_mut().enumerate() {
            flow.begin_anew(world.client.generation(index));
            match world.client.wants(index) {
                Want::Connect if flow.opens_at.is_none() => {
                    tally.connects += 1;
                    flow.opens_at = Some(far.connect.map_or(Msec::MAX, |ms| now + ms));
                    if far.connect == Some(0) {
                        flow.opens_at = None;
                        world.open(index);
                        world.flush(index);
                    }
                }
                Want::Write => world.flush(index),
                _ => {}
            }
            while let Some(command) = server::Command::take(&mut world.sockets[index].written) {
                tally.commands += 1;
                let at = (far.reply)(now - start, &command.name, &mut random);
                flow.replies.push_back((at.map(|at| at + start), command.reply()));
            }
        }
        if now % 100 == 0 {
            world.check();
        }
        for seen in std::mem::take(&mut world.seen) {
            let mut end = |token| since.remove(&token).map(|at| now - at);
            match seen {
                Seen::Hit(token) | Seen::Miss(token) => {
                    let took = end(token).expect("answered twice, or not asked");
                    assert!(took <= TIMEOUT, "{took} ms");
                    tally.hits += 1;
                    tally.took.push(took);
                }
                Seen::Failed(token, failure) => {
                    let took = end(token).expect("answered twice, or not asked");
                    match failure {
                        OperationError::Timeout => {
                            tally.timeouts += 1;
                            tally.failed_after.push(took);
                        }
                        _ => tally.connect_failures += 1,
                    }
                }
                Seen::Changed(..) => panic!("{seen:?}"),
                Seen::Down(_) => tally.downs += 1,
                Seen::Up => {}
            }
        }
    }
    tally
}

fn never(_: Msec) -> bool {
    false
}

const SMALL: [u64; 4] = [0, 1, 4, 6];

fn small(random: &mut fastrand::Rng) -> u64 {
    SMALL[random.usize(..SMALL.len())]
}

fn closed(clients: usize) -> impl FnMut(Msec, usize, &mut fastrand::Rng) -> Vec<u64> {
    move |_, busy, random| (busy..clients).map(|_| small(random)).collect()
}

fn rate(per_second: u64) -> impl FnMut(Msec, usize, &mut fastrand::Rng) -> Vec<u64> {
    move |_, _, random| {
        let n = per_second / 1_000 + u64::from(random.u64(..1_000) < per_second % 1_000);
        (0..n).map(|_| small(random)).collect()
    }
}

#[test]
fn a_server_that_always_takes_20_ms_is_asked_once_where_lookups_are_rare() {
    let far = Far { reply: |now, _, _| Some(now + 20), ..near() };
    let rare = |now, _, _: &mut fastrand::Rng| if now % 2_000 == 1 { vec![0] } else { vec![] };
    let tally = run(2, BREAKER, &far, 120_000, rare);
    assert!(tally.commands < 70 && tally.connects < 6, "{}", tally.line());
}

#[test]
fn a_server_that_always_takes_60_ms_loses_nothing() {
    for connections in [1, 2, 8] {
        let far = Far { reply: |now, _, _| Some(now + 60), ..near() };
        let tally = run(connections, BREAKER, &far, 60_000, rate(100));
        assert!(tally.timeouts == 0 && tally.downs == 0, "{connections}: {}", tally.line());
    }
}

/// One of ten backends behind a proxy takes 150 ms.
#[test]
fn a_slow_tenth_is_not_asked_again_and_again() {
    for connections in [1, 2, 8] {
        let reply = |now, _: &str, random: &mut fastrand::Rng| {
            Some(now + if random.u8(..10) == 0 { 150 } else { 1 })
        };
        let tally = run(connections, BREAKER, &Far { reply, ..near() }, 20_000, rate(1_000));
        let is_well =
            tally.downs == 0 && tally.timeouts < 200 && tally.commands < 2 * tally.lookups;
        assert!(is_well, "{connections}: {}", tally.line());
    }
}

/// Without late replies being judged, 97 to 100 % of the link are of use.
#[test]
fn values_over_a_narrow_link_are_served() {
    for (connections, clients) in [(1, 2), (2, 4)] {
        let far = Far { bandwidth: 2_000, ..near() };
        let ask = |_, busy, _: &mut fastrand::Rng| vec![5; clients - usize::min(busy, clients)];
        let tally = run(connections, BREAKER, &far, 10_000, ask);
        assert!(tally.hits > 200, "{connections} connections: {}", tally.line());
    }
}

/// Stalls of 30 ms, which the budget has room for.
#[test]
fn a_server_that_stalls_for_a_moment_loses_nothing() {
    for connections in [1, 2, 8] {
        let reply = |now, _: &str, random: &mut fastrand::Rng| {
            Some(now + if random.u8(..100) == 0 { 40 } else { 1 })
        };
        let tally = run(connections, BREAKER, &Far { reply, ..near() }, 10_000, closed(64));
        let is_well = tally.timeouts == 0 && tally.commands * 10 < tally.lookups * 11;
        assert!(is_well, "{connections}: {}", tally.line());
    }
}

fn near() -> Far {
    let reply = |now, _: &str, _: &mut fastrand::Rng| Some(now + 1);
    Far { connect: Some(1), reply, bandwidth: usize::MAX / 2, is_blocked: never }
}

type Reply = fn(Msec, &str, &mut fastrand::Rng) -> Option<Msec>;

#[test]
#[ignore = "prints figures"]
fn figures() {
    let base = near;
    let say = |what: &str, tally: Tally| println!("{what}: {}", tally.line());
    let replies: [(&str, Reply); 9] = [
        ("1 ms", |now, _, _| Some(now + 1)),
        ("20 ms", |now, _, _| Some(now + 20)),
        ("60 ms", |now, _, _| Some(now + 60)),
        ("1 then 20 ms", |now, _, _| Some(now + if now < 1_000 { 1 } else { 20 })),
        ("1..30 ms", |now, _, random| Some(now + random.u64(1..30))),
        ("1 in 100 takes 40", |now, _, random| {
            Some(now + if random.u8(..100) == 0 { 40 } else { 1 })
        }),
        ("stalls 30 of 200", |now, _, _| {
            Some(if now % 200 < 30 { now - now % 200 + 31 } else { now + 1 })
        }),
        ("10 % take 150", |now, _, random| Some(now + if random.u8(..10) == 0 { 150 } else { 1 })),
        ("10 % hang", |now, _, random| (random.u8(..10) != 0).then_some(now + 1)),
    ];
    for connections in [1, 2, 8] {
        println!("--- {connections} connections");
        for (what, reply) in replies {
            let far = || Far { reply, ..base() };
            say(
                &format!("{what}, closed 64"),
                run(connections, BREAKER, &far(), 10_000, closed(64)),
            );
            say(&format!("{what}, 100/s"), run(connections, BREAKER, &far(), 60_000, rate(100)));
            say(&format!("{what}, 1000/s"), run(connections, BREAKER, &far(), 20_000, rate(1000)));
        }
        let far = Far { reply: |now, _, _| Some(now + 20), ..base() };
        say(
            "20 ms, 1 in 2 s",
            run(connections, BREAKER, &far, 120_000, |now, _, _| {
                if now % 2_000 == 1 { vec![0] } else { vec![] }
            }),
        );
        let far = Far { connect: Some(20), reply: |now, _, _| Some(now + 20), ..base() };
        say(
            "20 ms and to connect, 1 in 2 s",
            run(connections, BREAKER, &far, 120_000, |now, _, _| {
                if now % 2_000 == 1 { vec![0] } else { vec![] }
            }),
        );
        let far = Far { is_blocked: |now| now % 200 < 50, ..base() };
        say(
            "worker blocked 50 of 200, closed 64",
            run(connections, BREAKER, &far, 10_000, closed(64)),
        );
        for bandwidth in [1_000, 2_000, 5_000, 10_000, 20_000] {
            let far = Far { bandwidth, ..base() };
            for clients in [1, 2, 4, 8, 16] {
                let tally = run(connections, BREAKER, &far, 10_000, |_, busy, _| {
                    vec![5; clients - busy.min(clients)]
                });
                let useful = tally.hits * 70_000;
                println!(
                    "70 KB over {bandwidth} B/ms, closed {clients}: useful {:.0} % of what the link could carry; {}",
                    useful as f64 / (bandwidth * 100) as f64,
                    tally.line()
                );
            }
        }
    }
}

/// Each reply goes through all that stuck connections have in their queues. The client alone: the model's checks would
/// take most of the time.
#[test]
#[ignore = "prints figures"]
fn what_a_reply_costs_beside_stuck_connections() {
    for tombstones in [0, 100, 1_000, 4_000] {
        let World { mut client, now, buffers, .. } = World::of(8, 4_096);
        let lookup = changes::operation(Command::Get(Get::value(usize::MAX)), Protocol::Meta);
        for connection in &mut client.connections {
            connection.socket = pooled::SocketState::Open;
            connection.opened(now);
        }
        for pooled in &mut client.connections[..7] {
            for _ in 0..tombstones {
                pooled.connection.submit(&lookup, None, Attempt::First, false);
            }
            pooled.connection.sent(1 << 30, Written { at: now, heard: 0 });
            pooled.connection.take_behind(0, usize::MAX);
            pooled.due = pooled::Due::Late;
        }
        let begin = std::time::Instant::now();
        for opaque in 0..2_000 {
            client.submit(now, &lookup).unwrap();
            client.sent(7, client.output(7).bytes(), now);
            let reply = format!("EN k/ O{opaque}\r\n");
            client.input(7)[1][..reply.len()].copy_from_slice(reply.as_bytes());
            client.received(7, reply.len());
            let event = client.next_event(7, now, &buffers);
            assert_eq!(event, Some(Event::Completed(Token(1), Completion::Miss, None)));
        }
        let took = begin.elapsed() / 2_000;
        println!("{tombstones} tombstones on each of 7 stuck connections: {took:?} for a lookup");
    }
}
