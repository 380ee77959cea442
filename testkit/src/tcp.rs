//! Owns the kernel's list of this machine's TCP sockets: `/proc/net/tcp`.

use std::fs;

/// An IPv4 socket.
pub struct Tcp {
    pub local: u16,
    pub remote: u16,
    state: u8,
    pub unread: usize,
    timer: u8,
}

impl Tcp {
    pub fn is_established(&self) -> bool {
        self.state == 1
    }

    /// Whether its connection is being opened.
    pub fn is_connecting(&self) -> bool {
        self.state == 2
    }

    /// Whether the timer of SO_KEEPALIVE runs, as it does on an idle connection. While data is not acknowledged,
    /// the retransmission timer runs instead.
    pub fn is_kept_alive(&self) -> bool {
        self.timer == 2
    }
}

/// All sockets.
pub fn sockets() -> Vec<Tcp> {
    let hex = |text: &str| usize::from_str_radix(text, 16).unwrap();
    let byte = |text: &str| u8::try_from(hex(text)).unwrap();
    let port = |address: &str| u16::try_from(hex(address.split_once(':').unwrap().1)).unwrap();
    let of_line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        Tcp {
            local: port(words[1]),
            remote: port(words[2]),
            state: byte(words[3]),
            unread: hex(words[4].split_once(':').unwrap().1),
            timer: byte(words[5].split_once(':').unwrap().0),
        }
    };
    fs::read_to_string("/proc/net/tcp").unwrap().lines().skip(1).map(of_line).collect()
}

/// The established connections to a server, from the side of the clients.
pub fn clients_of(server: u16) -> Vec<Tcp> {
    let is_one = |socket: &Tcp| socket.remote == server && socket.is_established();
    sockets().into_iter().filter(is_one).collect()
}
