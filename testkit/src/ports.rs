//! Owns the TCP ports of one run: each is handed out once, so that tests that run side by side never share a port,
//! and neither do two runs on one machine.

use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::{Mutex, PoisonError};

/// Below Linux's ephemeral range (32768 and up), from which the kernel takes the ports of clients.
const FIRST: u16 = 12_000;
const COUNT: u16 = 20_000;

/// The number of ports that a run claims at once.
const BLOCK: u16 = 250;

/// The remaining ports of a run's newest block, and the sockets that keep other runs out of its blocks.
struct Claimed {
    rest: Range<u16>,
    claims: Vec<UnixDatagram>,
}

/// A port on which no process listens.
pub fn free() -> u16 {
    static CLAIMED: Mutex<Claimed> = Mutex::new(Claimed { rest: 0..0, claims: Vec::new() });
    let mut mine = CLAIMED.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let Some(port) = mine.rest.next() else {
            let (first, claim) = claim();
            mine.rest = first..first + BLOCK;
            mine.claims.push(claim);
            continue;
        };
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// Claims a block that no other run has, and returns its first port. The claim is a socket with an abstract name,
/// which is visible wherever the ports are, also in another root directory and PID namespace, and is free again
/// when the run ends.
fn claim() -> (u16, UnixDatagram) {
    let blocks = (FIRST..FIRST + COUNT).step_by(BLOCK.into());
    let claim = |first: u16| {
        let name = format!("pagecache-e2e-ports-{first}");
        let claim = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name).unwrap());
        Some((first, claim.ok()?))
    };
    blocks.into_iter().find_map(claim).expect("no free port")
}
