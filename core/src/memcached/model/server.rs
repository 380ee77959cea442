//! The memcached of the model. It has eight items, each under any number of names: the item and its value follow from
//! the name.

use super::steps::{False, Verb};
use crate::memcached::{Completion, Item, Protocol};

/// What becomes of an operation, with its value.
pub type Answer = Completion<Vec<u8>>;

/// Sizes of the items; the last is not there. Of 5,000 bytes, a value that comes alone is kept in the read buffer.
const SIZES: [Option<usize>; 8] =
    [Some(5), Some(100), Some(0), Some(5_000), Some(1), Some(70_000), Some(40), None];

/// One of the endless names of an item.
pub fn name(item: usize, number: u64) -> String {
    format!("/{}/{number}", item % SIZES.len())
}

/// The number in a name is that of the item's version.
fn cas_of(name: &str) -> Option<u64> {
    let number = name.rsplit('/').next().and_then(|number| number.parse().ok());
    Some(number.expect("a name of ours")).filter(|&cas| cas > 0)
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
    let cas = cas_of(name);
    Some((Item { flags, cas, ..Item::default() }, value))
}

/// What is stored under a name, or appended.
pub fn body(name: &str) -> Vec<u8> {
    item(name).map_or(Vec::new(), |(_, value)| value)
}

/// What becomes of a command that changes an item.
pub fn outcome(name: &str, verb: Verb, protocol: Protocol) -> Answer {
    let kind = name[1..2].parse::<usize>().expect("a name of ours") % 4;
    let cas = cas_of(name);
    match (verb, protocol, kind) {
        (Verb::Delete, Protocol::Classic, 0 | 2) => Completion::Deleted,
        (Verb::Delete, Protocol::Classic, _) => Completion::NotFound,
        (Verb::Delete, _, 0) => Completion::Deleted,
        (Verb::Delete, _, 1) => Completion::NotFound,
        (_, _, 0) => Completion::Stored(cas),
        (_, _, 1) => Completion::NotStored,
        (_, _, 2) => Completion::Exists,
        _ => Completion::NotFound,
    }
}

/// A command as memcached reads it.
#[derive(Debug, Clone)]
pub struct Command {
    pub name: String,
    pub verb: Verb,
    pub protocol: Protocol,
    /// Of a meta command.
    flags: Vec<String>,
    /// Bytes of the line and of the body.
    pub len: usize,
}

impl Command {
    /// Takes the first whole command out of `bytes`.
    pub fn take(bytes: &mut Vec<u8>) -> Option<Command> {
        let end = bytes.iter().position(|&byte| byte == b'\n')? + 1;
        let line = std::str::from_utf8(&bytes[..end]).expect("names are text");
        let line = line.strip_suffix("\r\n").expect("a line ends in CRLF");
        let mut words = line.split(' ').map(str::to_owned);
        let (verb, protocol) = match words.next().as_deref() {
            Some("mg") => (Verb::Get, Protocol::Meta),
            Some("ms") => (Verb::Set, Protocol::Meta),
            Some("md") => (Verb::Delete, Protocol::Meta),
            Some("get") => (Verb::Get, Protocol::Classic),
            Some("delete") => (Verb::Delete, Protocol::Classic),
            other => panic!("{other:?} is no command"),
        };
        let name = words.next().expect("a command has a key");
        let mut flags: Vec<_> = words.collect();
        assert!(protocol == Protocol::Meta || flags.is_empty(), "{line}: two keys");
        let mut command = Command { name, verb, protocol, flags: Vec::new(), len: end };
        if verb == Verb::Set {
            let len: usize = flags.remove(0).parse().expect("a length");
            command.len += len + 2;
            if bytes.len() < command.len {
                return None;
            }
            let expected = [&body(&command.name), &b"\r\n"[..]].concat();
            assert!(bytes[end..command.len] == expected, "{}: another body", command.name);
            if flags.contains(&"MA".to_owned()) {
                command.verb = Verb::Append;
            }
        }
        command.flags = flags;
        bytes.drain(..command.len);
        Some(command)
    }

    pub fn opaque(&self) -> Option<u32> {
        self.flags.iter().find_map(|flag| flag.strip_prefix('O')?.parse().ok())
    }

    pub fn reply(&self) -> Vec<u8> {
        if self.verb != Verb::Get {
            return self.done();
        }
        match item(&self.name) {
            Some((item, value)) => self.hit(value.len(), item, &value),
            None if self.protocol == Protocol::Classic => b"END\r\n".to_vec(),
            None => self.meta("EN", None),
        }
    }

    fn done(&self) -> Vec<u8> {
        let done = Item { cas: cas_of(&self.name), ..Item::default() };
        let refused = Item { cas: None, ..done };
        match (outcome(&self.name, self.verb, self.protocol), self.protocol) {
            (Completion::Deleted, Protocol::Classic) => b"DELETED\r\n".to_vec(),
            (_, Protocol::Classic) => b"NOT_FOUND\r\n".to_vec(),
            (Completion::Stored(_) | Completion::Deleted, _) => self.meta("HD", Some(done)),
            (Completion::NotStored, _) => self.meta("NS", Some(refused)),
            (Completion::Exists, _) => self.meta("EX", Some(refused)),
            _ => self.meta("NF", Some(refused)),
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
            False::TooLarge => b"SERVER_ERROR object too large for cache\r\n".to_vec(),
            False::Error => b"CLIENT_ERROR bad command line format\r\n".to_vec(),
            False::Length(_) if self.verb != Verb::Get => Vec::new(),
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
