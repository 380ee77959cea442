//! A memcached that holds a few items under endless names: which of them a name means, and its
//! value, follow from the name alone.

use crate::ops::False;
use pagecache_core::memcached::{Item, Protocol, Visitor};

/// Sizes of the items; the last is not there.
const SIZES: [Option<usize>; 8] =
    [Some(5), Some(100), Some(0), Some(3_000), Some(1), Some(70_000), Some(40), None];

/// The name that `token` looks up, of an item that no other token looks up.
pub fn name(token: u64, item: usize) -> String {
    format!("/{}/{token}", item % SIZES.len())
}

/// Whose lookup this is.
pub fn token_of(name: &str) -> u64 {
    name.rsplit('/').next().and_then(|token| token.parse().ok()).expect("a name of ours")
}

/// Two clients ask for everything.
pub fn visitor_of(token: u64) -> Visitor {
    Visitor(token % 2)
}

/// An item and its value.
pub fn item(name: &str) -> Option<(Item, Vec<u8>)> {
    let kind: usize = name.get(1..2)?.parse().ok()?;
    let size = SIZES[kind]?;
    let flags = [0, 16, u32::MAX][kind % 3];
    let pattern = match kind {
        // as if the value were over, and another reply followed
        6 => format!("\r\nEND\r\nEN\r\nVA 1 f0 k{name} O1\r\nx\r\n{name}"),
        _ => name.to_owned(),
    };
    let value = pattern.bytes().cycle().take(size).collect();
    let cas = Some(token_of(name)).filter(|&cas| cas > 0);
    Some((Item { flags, cas, ..Item::default() }, value))
}

/// A lookup as memcached reads it.
#[derive(Debug, Clone)]
pub struct Command {
    pub name: String,
    pub protocol: Protocol,
    /// Of a meta command.
    flags: Vec<String>,
}

impl Command {
    /// Takes the first whole line out of `bytes`.
    pub fn take(bytes: &mut Vec<u8>) -> Option<Command> {
        let end = bytes.iter().position(|&byte| byte == b'\n')?;
        let line: Vec<u8> = bytes.drain(..=end).collect();
        let line = String::from_utf8(line).expect("names are text");
        let line = line.strip_suffix("\r\n").expect("a line ends in CRLF");
        let mut words = line.split(' ').map(str::to_owned);
        let protocol = match words.next().as_deref() {
            Some("mg") => Protocol::Meta,
            Some("get") => Protocol::Classic,
            other => panic!("{other:?} is no command"),
        };
        let name = words.next().expect("a lookup has a key");
        let flags: Vec<_> = words.collect();
        assert!(protocol == Protocol::Meta || flags.is_empty(), "{line}: two keys");
        Some(Command { name, protocol, flags })
    }

    pub fn opaque(&self) -> Option<u32> {
        self.flags.iter().find_map(|flag| flag.strip_prefix('O')?.parse().ok())
    }

    pub fn reply(&self) -> Vec<u8> {
        match item(&self.name) {
            Some((item, value)) => self.hit(value.len(), item, &value),
            None if self.protocol == Protocol::Classic => b"END\r\n".to_vec(),
            None => self.meta("EN", None),
        }
    }

    pub fn false_reply(&self, how: False) -> Vec<u8> {
        match how {
            False::Omitted => Vec::new(),
            False::Twice => [self.reply(), self.reply()].concat(),
            False::OtherKey => Command { name: format!("{}0", self.name), ..self.clone() }.reply(),
            False::OtherOpaque => {
                let flags = self.flags.iter().map(|flag| flag.replace('O', "O1")).collect();
                Command { flags, ..self.clone() }.reply()
            }
            False::BareMiss if self.protocol == Protocol::Classic => b"END\r\n".to_vec(),
            False::BareMiss => b"EN\r\n".to_vec(),
            False::ServerError => b"SERVER_ERROR out of memory\r\n".to_vec(),
            False::Error => b"CLIENT_ERROR bad command line format\r\n".to_vec(),
            False::Length(lie) => {
                let Some((item, value)) = item(&self.name) else { return Vec::new() };
                self.hit(value.len().saturating_add_signed(lie), item, &value)
            }
        }
    }

    fn hit(&self, len: usize, item: Item, value: &[u8]) -> Vec<u8> {
        let (head, end) = match self.protocol {
            Protocol::Meta => (self.meta(&format!("VA {len}"), Some(item)), &b"\r\n"[..]),
            Protocol::Classic => {
                let head = format!("VALUE {} {} {len}\r\n", self.name, item.flags);
                (head.into_bytes(), &b"\r\nEND\r\n"[..])
            }
        };
        [&head, value, end].concat()
    }

    /// The line of a reply, with what was asked for in the order of the lookup.
    fn meta(&self, status: &str, item: Option<Item>) -> Vec<u8> {
        let mut line = status.to_owned();
        for flag in &self.flags {
            match (flag.get(..1), item) {
                (Some("f"), Some(item)) => line += &format!(" f{}", item.flags),
                (Some("c"), Some(item)) => line += &format!(" c{}", item.cas.unwrap_or(0)),
                (Some("k"), _) => line += &format!(" k{}", self.name),
                (Some("O"), _) => line += &format!(" {flag}"),
                _ => {}
            }
        }
        (line + "\r\n").into_bytes()
    }
}
