//! Writes the lines of commands. The bodies of commands that store an item are not copied.
//!
//! ```text
//! mg /index.html c f k t v O17                 Get
//! mg /index.html N3 c f k t v O17              Get, vivify
//! mg /index.html R60 c f k s t O17             Get of the item alone, recache
//! ms /index.html 5 F16 T60 C9 c k O17          Set, if the version is 9; then 5 bytes and CRLF
//! ms /index.html 5 F16 T60 ME c k O17          Set, if there is none
//! ms /index.html 5 MA c k O17                  Append
//! ms /index.html 0 MA C9 c k O17               Append nothing, if the version is 9
//! md /index.html C9 I k O17                    Delete, marks as stale
//!
//! get /index.html                              in the classic protocol
//! delete /index.html
//! ```
//!
//! `f` requests the item's flags, `c` its cas number, `t` its remaining time in seconds, `s` the length of its value,
//! `v` the value. `k` and `O` make the reply repeat the key and the opaque, so that each reply proves which command
//! it answers (protocol.txt, "Meta Get").

use super::Protocol;
use super::operation::{Append, Command, Delete, Get, Set};
use crate::memcached::{Key, MAX_KEY};

/// The longest command without its body, in bytes.
pub const MAX_COMMAND: usize = MAX_KEY
    + "ms  18446744073709551615 F4294967295 T4294967295 C18446744073709551615 ME c k O4294967295\r\n"
        .len();

/// Appends the line of a command for the item of `key`, with a body of so many bytes, to `out`. The protocol must
/// have the command: see [`Operation::is_supported`](super::operation::Operation::is_supported).
#[inline(always)]
pub fn encode_command(
    out: &mut Vec<u8>,
    protocol: Protocol,
    key: &Key,
    command: &Command,
    body: usize,
    opaque: u32,
) {
    match (protocol, command) {
        (Protocol::Meta, Command::Get(Get { wants_value: true, vivify, recache: None, .. })) => {
            out.extend_from_slice(b"mg ");
            out.extend_from_slice(key.as_bytes());
            // `N` comes before the fields that are requested
            vivify.iter().for_each(|&seconds| number(out, b" N", u64::from(seconds)));
            out.extend_from_slice(b" c f k t v O");
            out.extend_from_slice(itoa::Buffer::new().format(opaque).as_bytes());
        }
        (Protocol::Meta, command) => encode_other(out, key, command, body, opaque),
        (Protocol::Classic, Command::Delete(_)) => {
            out.extend_from_slice(b"delete ");
            out.extend_from_slice(key.as_bytes());
        }
        (Protocol::Classic, _) => {
            out.extend_from_slice(b"get ");
            out.extend_from_slice(key.as_bytes());
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// A meta command other than a plain Get, without its CRLF.
#[inline(never)]
fn encode_other(out: &mut Vec<u8>, key: &Key, command: &Command, body: usize, opaque: u32) {
    out.extend_from_slice(match command {
        Command::Get(_) => b"mg ",
        Command::Set(_) | Command::Append(_) => b"ms ",
        Command::Delete(_) => b"md ",
    });
    out.extend_from_slice(key.as_bytes());
    match command {
        Command::Get(Get { wants_value, vivify, recache, .. }) => {
            // `N` comes before the fields that are requested
            vivify.iter().for_each(|&seconds| number(out, b" N", u64::from(seconds)));
            recache.iter().for_each(|&seconds| number(out, b" R", u64::from(seconds)));
            out.extend_from_slice(if *wants_value { b" c f k t v" } else { b" c f k s t" });
        }
        Command::Set(Set { flags, ttl, cas, is_add }) => {
            number(out, b" ", body as u64);
            number(out, b" F", u64::from(*flags));
            number(out, b" T", u64::from(*ttl));
            cas.iter().for_each(|&cas| number(out, b" C", cas));
            out.extend_from_slice(if *is_add { b" ME c k" } else { b" c k" });
        }
        Command::Append(Append { cas }) => {
            number(out, b" ", body as u64);
            out.extend_from_slice(b" MA");
            cas.iter().for_each(|&cas| number(out, b" C", cas));
            out.extend_from_slice(b" c k");
        }
        Command::Delete(Delete { cas, marks_stale }) => {
            cas.iter().for_each(|&cas| number(out, b" C", cas));
            out.extend_from_slice(if *marks_stale { b" I k" } else { b" k" });
        }
    }
    number(out, b" O", u64::from(opaque));
}

fn number(out: &mut Vec<u8>, before: &[u8], number: u64) {
    out.extend_from_slice(before);
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memcached::LongKeys;

    fn line(protocol: Protocol, command: &Command, body: usize) -> String {
        let mut out = b"before".to_vec();
        let key = Key::new(b"/a\r\nb", LongKeys::Sha256).unwrap();
        encode_command(&mut out, protocol, &key, command, body, 17);
        let line = String::from_utf8(out).unwrap();
        let line = line.strip_prefix("before").unwrap().strip_suffix("\r\n").unwrap();
        line.replace("/a%0D%0Ab", "KEY")
    }

    fn meta(command: Command) -> String {
        meta_with(command, 0)
    }

    fn meta_with(command: Command, body: usize) -> String {
        line(Protocol::Meta, &command, body)
    }

    #[test]
    fn a_command_is_one_line() {
        let get = Get::value(5);
        assert_eq!(meta(Command::Get(get)), "mg KEY c f k t v O17");
        assert_eq!(line(Protocol::Classic, &Command::Get(get), 0), "get KEY");
        let delete = Command::Delete(Delete::default());
        assert_eq!(line(Protocol::Classic, &delete, 0), "delete KEY");
        assert_eq!(meta(delete), "md KEY k O17");
    }

    /// The commands that the design of leases needs.
    #[test]
    fn commands_of_leases() {
        let lookup = Get { vivify: Some(3), ..Get::value(5) };
        assert_eq!(meta(Command::Get(lookup)), "mg KEY N3 c f k t v O17");
        let renew = Get { recache: Some(2_592_000), ..Get::item() };
        assert_eq!(meta(Command::Get(renew)), "mg KEY R2592000 c f k s t O17");
        assert_eq!(meta(Command::Get(Get::item())), "mg KEY c f k s t O17");

        let store = Set { flags: 0x5C00_0001, ttl: 360, cas: Some(21), is_add: false };
        assert_eq!(meta_with(Command::Set(store), 5), "ms KEY 5 F1543503873 T360 C21 c k O17");
        let prolong = Set { flags: 0x5E00_0000, ttl: 3, ..store };
        assert_eq!(meta(Command::Set(prolong)), "ms KEY 0 F1577058304 T3 C21 c k O17");
        let marker = Set { cas: None, is_add: true, ..store };
        assert_eq!(meta(Command::Set(marker)), "ms KEY 0 F1543503873 T360 ME c k O17");

        let give_back = Delete { cas: Some(21), marks_stale: false };
        assert_eq!(meta(Command::Delete(give_back)), "md KEY C21 k O17");
        let rearm = Delete { cas: Some(9), marks_stale: true };
        assert_eq!(meta(Command::Delete(rearm)), "md KEY C9 I k O17");
        let release = Append { cas: Some(9) };
        assert_eq!(meta(Command::Append(release)), "ms KEY 0 MA C9 c k O17");
        assert_eq!(meta_with(Command::Append(Append::default()), 11), "ms KEY 11 MA c k O17");
    }

    #[test]
    fn the_longest_command_fits_its_bound() {
        let mut out = Vec::new();
        let key = Key::new(&[b'k'; 250], LongKeys::Sha256).unwrap();
        let (most, cas) = (u32::MAX, Some(u64::MAX));
        let commands = [
            Command::Set(Set { flags: most, ttl: most, cas, is_add: true }),
            Command::Get(Get { vivify: Some(most), recache: Some(most), ..Get::item() }),
            Command::Delete(Delete { cas, marks_stale: true }),
        ];
        for command in commands {
            out.clear();
            encode_command(&mut out, Protocol::Meta, &key, &command, usize::MAX, most);
            assert!(out.len() <= MAX_COMMAND, "{command:?}");
        }
        out.clear();
        let delete = Command::Delete(Delete::default());
        encode_command(&mut out, Protocol::Classic, &key, &delete, 0, most);
        assert!(out.len() <= MAX_COMMAND);
    }
}
