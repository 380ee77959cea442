//! Bursts: visitors, each with a connection that is open already, request one page at the same moment.
//!
//!     openloop burst HOST ADDRESS,ADDRESS VISITORS BODY_BYTES PATH PATH ...
//!
//! The visitors are spread over the addresses. Each path is a burst, which begins when the one before it has been
//! answered. It writes one line of JSON for each: `began`, microseconds of the machine's monotonic clock; counts;
//! and times in microseconds since then, that of sending all requests (`sent`) among them. An answer that is wrong
//! or missing is counted, and ends nothing.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::epoll;
use rustix::time::{ClockId, clock_gettime};

use crate::client::Client;
use crate::{READ_BUFFER, micros, percentile, timespec};

const MOST_VISITORS: usize = 16_384;

/// After so long, a request is not answered.
const LONGEST: Duration = Duration::from_secs(30);

/// Between two bursts: what the servers still do for the one before.
const PAUSE: Duration = Duration::from_millis(50);

struct Plan {
    host: String,
    addresses: Vec<SocketAddr>,
    visitors: usize,
    body: u64, // bytes
    paths: Vec<String>,
}

impl Plan {
    fn from(arguments: &[String]) -> Result<Self, Box<dyn Error>> {
        let [host, addresses, visitors, body, paths @ ..] = arguments else {
            return Err("usage: openloop burst HOST ADDRESS,... VISITORS BODY_BYTES PATH...".into());
        };
        let addresses: Vec<SocketAddr> =
            addresses.split(',').map(str::parse).collect::<Result<_, _>>()?;
        if !addresses.iter().all(|address| address.ip().is_loopback()) {
            return Err("only this machine itself is loaded".into());
        }
        let visitors = visitors.parse()?;
        if visitors == 0 || visitors > MOST_VISITORS {
            return Err(format!("{visitors} visitors: from 1 to {MOST_VISITORS}").into());
        }
        let (host, body, paths) = (host.clone(), body.parse()?, paths.to_vec());
        Ok(Self { host, addresses, visitors, body, paths })
    }
}

pub fn run(arguments: &[String]) -> Result<String, Box<dyn Error>> {
    let plan = Plan::from(arguments)?;
    let mut crowd = Crowd::open(&plan)?;
    let mut lines = Vec::new();
    for path in &plan.paths {
        std::thread::sleep(PAUSE);
        lines.push(crowd.burst(path)?.report());
    }
    Ok(lines.join("\n"))
}

/// The visitors of a run.
struct Crowd<'a> {
    plan: &'a Plan,
    epoll: OwnedFd,
    clients: Vec<Client>,
    buffer: Vec<u8>,
}

impl<'a> Crowd<'a> {
    fn open(plan: &'a Plan) -> Result<Self, Box<dyn Error>> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut crowd = Self { plan, epoll, clients: Vec::new(), buffer: vec![0; READ_BUFFER] };
        for number in 0..plan.visitors {
            let client = crowd.connect(number)?;
            crowd.clients.push(client);
        }
        Ok(crowd)
    }

    fn connect(&self, number: usize) -> Result<Client, Box<dyn Error>> {
        let addresses = &self.plan.addresses;
        let address = addresses.get(number % addresses.len()).ok_or("no address")?;
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let data = epoll::EventData::new_u64(number as u64);
        epoll::add(&self.epoll, &stream, data, epoll::EventFlags::IN)?;
        Ok(Client::new(stream))
    }

    fn burst(&mut self, path: &str) -> Result<Burst, Box<dyn Error>> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.plan.host);
        let (start, mut burst) = (Instant::now(), Burst::new()?);
        for (number, client) in self.clients.iter_mut().enumerate() {
            client.due = Some(start);
            // a request fits into the empty buffer of a socket
            match client.stream.write(request.as_bytes()) {
                Ok(sent) if sent == request.len() => {}
                Ok(sent) => burst.fail(number, format!("{sent} bytes of a request were taken")),
                Err(error) => burst.fail(number, format!("writing: {error}")),
            }
        }
        burst.sent = micros(start.elapsed());
        self.receive(&mut burst, start + LONGEST)?;
        for (&number, outcome) in &burst.outcomes {
            if outcome.is_err() {
                // what still comes for it is not for the next burst
                let fresh = self.connect(number)?;
                if let Some(client) = self.clients.get_mut(number) {
                    *client = fresh;
                }
            }
        }
        Ok(burst)
    }

    fn receive(&mut self, burst: &mut Burst, deadline: Instant) -> Result<(), Box<dyn Error>> {
        let mut events = Vec::with_capacity(self.plan.visitors);
        while burst.outcomes.len() < self.plan.visitors {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                (0..self.plan.visitors)
                    .for_each(|number| burst.fail(number, "no answer".to_owned()));
            }
            events.clear();
            let room = rustix::buffer::spare_capacity(&mut events);
            match epoll::wait(&self.epoll, room, Some(&timespec(left))) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                let number = event.data.u64() as usize;
                let Some(client) = self.clients.get_mut(number) else { continue };
                match client.receive(&mut self.buffer, self.plan.body) {
                    Ok(None) => {}
                    Ok(Some(start)) => burst.answered(number, micros(start.elapsed())),
                    Err(error) => {
                        burst.fail(number, error);
                        // a connection at its end is always ready
                        let _ = epoll::delete(&self.epoll, &client.stream);
                    }
                }
            }
        }
        Ok(())
    }
}

/// What became of the requests of a burst. The first outcome of a visitor counts.
struct Burst {
    began: u64,
    sent: u32,
    outcomes: BTreeMap<usize, Result<u32, String>>,
}

impl Burst {
    fn new() -> Result<Self, Box<dyn Error>> {
        let now = clock_gettime(ClockId::Monotonic);
        let began = u64::try_from(now.tv_sec)? * 1_000_000 + u64::try_from(now.tv_nsec)? / 1_000;
        Ok(Self { began, sent: 0, outcomes: BTreeMap::new() })
    }

    fn answered(&mut self, number: usize, time: u32) {
        self.outcomes.entry(number).or_insert(Ok(time));
    }

    fn fail(&mut self, number: usize, error: String) {
        self.outcomes.entry(number).or_insert(Err(error));
    }

    fn report(&self) -> String {
        let mut times: Vec<u32> = self.outcomes.values().flatten().copied().collect();
        times.sort_unstable();
        let error = self.outcomes.values().find_map(|outcome| outcome.as_ref().err());
        format!(
            "{{\"began\": {}, \"sent\": {}, \"requests\": {}, \"p50\": {}, \"p99\": {}, \"most\": {}, \
             \"errors\": {}, \"error\": {:?}}}",
            self.began,
            self.sent,
            times.len(),
            percentile(&times, 0.5),
            percentile(&times, 0.99),
            percentile(&times, 1.0),
            self.outcomes.len() - times.len(),
            error.map(String::as_str).unwrap_or_default(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::net::TcpListener;

    /// Answers requests with their path; closes the connection of every fourth visitor instead.
    fn server() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                std::thread::spawn(move || serve(stream.unwrap(), number % 4 == 3));
            }
        });
        address
    }

    fn serve(mut stream: TcpStream, is_rude: bool) {
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        while let Some(Ok(line)) = lines.next() {
            let Some(path) = line.strip_prefix("GET ").and_then(|rest| rest.split(' ').next())
            else {
                continue;
            };
            if is_rude {
                return;
            }
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", path.len());
            stream.write_all(format!("{head}{path}").as_bytes()).unwrap();
        }
    }

    fn arguments(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn each_visitor_is_counted_once() {
        let address = server();
        // the second path has a length that is not announced
        let output =
            run(&arguments(&format!("a.example {address},{address} 8 2 /a /abc"))).unwrap();
        let lines: Vec<&str> = output.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].contains("\"requests\": 6, "), "{output}");
        assert!(lines[0].contains("\"errors\": 2, \"error\": \"the server closed"), "{output}");
        assert!(lines[1].contains("\"requests\": 0, "), "{output}");
        assert!(lines[1].contains("\"errors\": 8, "), "{output}");
    }

    #[test]
    fn other_machines_are_not_loaded() {
        assert!(Plan::from(&arguments("a.example 192.0.2.1:80 8 2 /a")).is_err());
        assert!(Plan::from(&arguments("a.example 127.0.0.1:80 0 2 /a")).is_err());
        assert!(Plan::from(&arguments("a.example 127.0.0.1:80 8 2 /a")).is_ok());
    }
}
