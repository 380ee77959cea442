//! A load generator with an open loop: requests are due at a constant rate, whether or not earlier ones have been
//! answered, and the time of a request counts from the moment at which it was due. A request without a free
//! connection waits for one, and the wait counts: a stall shows in all requests that it delays, not only in the
//! one that met it ("coordinated omission").
//!
//!     openloop 127.0.0.1:8080 /path RATE SECONDS CONNECTIONS BODY_BYTES
//!     openloop burst ...
//!
//! The second form is another load, of `burst.rs`.
//!
//! It writes one line of JSON: counts, and times in microseconds. `late_p99` is how late the generator itself
//! noticed that a request was due: if that is not small beside the latencies, the generator was the bottleneck.

use std::collections::VecDeque;
use std::error::Error;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};

use client::Client;

mod burst;
mod client;

/// How long after the last request was due answers are still accepted.
const LINGER: Duration = Duration::from_secs(5);
const MOST_REQUESTS: u64 = 20_000_000;
const READ_BUFFER: usize = 1 << 18;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.split_first() {
        Some((form, rest)) if form == "burst" => burst::run(rest),
        _ => Plan::from(&arguments).and_then(|plan| Run::new(&plan)?.run(&plan)),
    };
    match outcome {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("openloop: {error}");
            ExitCode::FAILURE
        }
    }
}

struct Plan {
    address: SocketAddr,
    path: String,
    interval: f64, // seconds between two requests
    requests: u64,
    connections: usize,
    body: u64, // bytes
}

impl Plan {
    fn from(arguments: &[String]) -> Result<Self, Box<dyn Error>> {
        let [address, path, rate, seconds, connections, body] = arguments else {
            return Err("usage: openloop ADDRESS PATH RATE SECONDS CONNECTIONS BODY_BYTES".into());
        };
        let (rate, seconds): (f64, f64) = (rate.parse()?, seconds.parse()?);
        let address: SocketAddr = address.parse()?;
        if !address.ip().is_loopback() {
            return Err("only this machine itself is loaded".into());
        }
        let requests = (rate * seconds) as u64;
        if rate <= 0.0 || requests == 0 || requests > MOST_REQUESTS {
            return Err(format!("{requests} requests: from 1 to {MOST_REQUESTS}").into());
        }
        Ok(Self {
            address,
            path: path.clone(),
            interval: 1.0 / rate,
            requests,
            connections: connections.parse::<usize>()?.max(1),
            body: body.parse()?,
        })
    }
}

struct Run {
    epoll: rustix::fd::OwnedFd,
    clients: Vec<Client>,
    idle: VecDeque<usize>, // in turn, so that all are used
    request: Vec<u8>,
    times: Vec<u32>,
    late: Vec<u32>,
    errors: u64,
    first_error: String,
    buffer: Vec<u8>,
}

impl Run {
    fn new(plan: &Plan) -> Result<Self, Box<dyn Error>> {
        // The kernel otherwise lets timers of a process be 50 microseconds late.
        let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut clients = Vec::with_capacity(plan.connections);
        for number in 0..plan.connections {
            let stream = TcpStream::connect(plan.address)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let data = epoll::EventData::new_u64(number as u64);
            epoll::add(&epoll, &stream, data, epoll::EventFlags::IN)?;
            clients.push(Client::new(stream));
        }
        let request = format!("GET {} HTTP/1.1\r\nHost: {}\r\n\r\n", plan.path, plan.address);
        Ok(Self {
            epoll,
            idle: (0..clients.len()).collect(),
            clients,
            request: request.into_bytes(),
            times: Vec::with_capacity(plan.requests as usize),
            late: Vec::with_capacity(plan.requests as usize),
            errors: 0,
            first_error: String::new(),
            buffer: vec![0; READ_BUFFER],
        })
    }

    fn run(mut self, plan: &Plan) -> Result<String, Box<dyn Error>> {
        let start = Instant::now();
        let due_at = |nth: u64| start + Duration::from_secs_f64(nth as f64 * plan.interval);
        let deadline = due_at(plan.requests) + LINGER;
        let mut next = 0;
        let mut waiting: VecDeque<Instant> = VecDeque::new();
        let mut events = Vec::with_capacity(plan.connections);
        loop {
            let now = Instant::now();
            while next < plan.requests && due_at(next) <= now {
                self.late.push(micros(now - due_at(next)));
                waiting.push_back(due_at(next));
                next += 1;
            }
            while let (Some(&due), Some(&number)) = (waiting.front(), self.idle.front()) {
                waiting.pop_front();
                self.idle.pop_front();
                self.send(number, due);
            }
            let in_flight = self.idle.len() < self.clients.len() || !waiting.is_empty();
            if (next == plan.requests && !in_flight) || now > deadline || self.errors > 0 {
                break;
            }
            let until = if next < plan.requests { due_at(next) } else { deadline };
            let pause = until.saturating_duration_since(Instant::now());
            events.clear();
            match epoll::wait(
                &self.epoll,
                rustix::buffer::spare_capacity(&mut events),
                Some(&timespec(pause)),
            ) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                self.receive(event.data.u64() as usize, plan.body);
            }
        }
        let unanswered = plan.requests - self.times.len() as u64;
        Ok(self.report(start.elapsed(), unanswered))
    }

    fn send(&mut self, number: usize, due: Instant) {
        let Some(client) = self.clients.get_mut(number) else { return };
        client.due = Some(due);
        // a request fits into the empty buffer of a socket
        match client.stream.write(&self.request) {
            Ok(sent) if sent == self.request.len() => {}
            Ok(sent) => self.failed(format!("{sent} bytes of a request were taken")),
            Err(error) => self.failed(format!("writing: {error}")),
        }
    }

    fn receive(&mut self, number: usize, body: u64) {
        let Some(client) = self.clients.get_mut(number) else { return };
        match client.receive(&mut self.buffer, body) {
            Ok(None) => {}
            Ok(Some(due)) => {
                self.times.push(micros(due.elapsed()));
                self.idle.push_back(number);
            }
            Err(error) => self.failed(error),
        }
    }

    fn failed(&mut self, error: String) {
        self.errors += 1;
        if self.first_error.is_empty() {
            self.first_error = error;
        }
    }

    fn report(mut self, elapsed: Duration, unanswered: u64) -> String {
        self.times.sort_unstable();
        self.late.sort_unstable();
        format!(
            "{{\"requests\": {}, \"seconds\": {:.6}, \"p50\": {}, \"p99\": {}, \"p999\": {}, \
             \"late_p99\": {}, \"unanswered\": {unanswered}, \"errors\": {}, \"error\": {:?}}}",
            self.times.len(),
            elapsed.as_secs_f64(),
            percentile(&self.times, 0.5),
            percentile(&self.times, 0.99),
            percentile(&self.times, 0.999),
            percentile(&self.late, 0.99),
            self.errors,
            self.first_error,
        )
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec { tv_sec: duration.as_secs() as i64, tv_nsec: i64::from(duration.subsec_nanos()) }
}

fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}

/// The smallest time that a share of the sorted times does not exceed.
fn percentile(sorted: &[u32], share: f64) -> u32 {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_times_seen() {
        let times: Vec<u32> = (1..=1000).collect();
        assert_eq!(percentile(&times, 0.5), 500);
        assert_eq!(percentile(&times, 0.999), 999);
        assert_eq!(percentile(&[7], 0.99), 7);
        assert_eq!(percentile(&[], 0.99), 0);
    }
}
