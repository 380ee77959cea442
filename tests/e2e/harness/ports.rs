//! Owns the TCP ports of one run: each is handed out once, so that tests running side by side
//! never meet.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below Linux's ephemeral range (32768 and up), from which the kernel takes the ports of clients.
const FIRST: u16 = 12_000;
const COUNT: u16 = 20_000;

/// A port that nobody listens on. Two runs at once begin at different places.
pub fn free() -> u16 {
    static HANDED_OUT: AtomicU16 = AtomicU16::new(0);
    let start = std::process::id().wrapping_mul(997);
    for _ in 0..COUNT {
        let nth = u32::from(HANDED_OUT.fetch_add(1, Ordering::Relaxed));
        let offset = u16::try_from((start + nth) % u32::from(COUNT)).unwrap();
        let port = FIRST + offset;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port");
}
