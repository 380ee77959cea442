//! Replies that memcached never sends to these commands, in both protocols: each leads to one request to the
//! application at once, and no later byte on the connection is taken for a reply.

use std::time::Duration;

use crate::harness::*;

/// The timeout of these sites, which no answer takes: an invalid reply is recognised at once.
const BUDGET: Duration = Duration::from_secs(10);

type Reply = fn(&Lookup) -> Vec<u8>;
type Row = (&'static str, Reply);

/// Invalid replies in either protocol.
const ANY: [Row; 25] = [
    ("a word", |_| b"garbage\r\n".to_vec()),
    ("an empty line", |_| b"\r\n".to_vec()),
    ("a line end before the reply", |l| [b"\n", &l.hit("broken")[..]].concat()),
    ("NUL bytes", |_| b"\0\0\0\0\r\n".to_vec()),
    ("a binary reply", |_| b"\x81\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\r\n".to_vec()),
    ("HTTP", |_| b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n".to_vec()),
    ("4 MB without a line end", |_| vec![b'x'; 4 << 20]),
    ("ERROR", |_| b"ERROR\r\n".to_vec()),
    ("CLIENT_ERROR", |_| b"CLIENT_ERROR bad command line format\r\n".to_vec()),
    ("a no-op's reply", |_| b"MN\r\n".to_vec()),
    ("not stored", |_| b"NS\r\n".to_vec()),
    ("the other protocol's hit", |l| other_protocol(l).hit("broken")),
    ("the other protocol's miss", |l| other_protocol(l).miss()),
    ("a length that is no number", |l| l.hit_as(l.key(), "six", 0, b"broken")),
    ("a negative length", |l| l.hit_as(l.key(), "-6", 0, b"broken")),
    ("a length with a sign", |l| l.hit_as(l.key(), "+6", 0, b"broken")),
    ("a length beyond 64 bits", |l| l.hit_as(l.key(), "99999999999999999999999", 0, b"broken")),
    ("an empty length", |l| l.hit_as(l.key(), "", 0, b"broken")),
    ("a value longer than its length", |l| l.hit_as(l.key(), 3, 0, b"broken")),
    ("another key's hit", |l| l.hit_as(b"/other", 6, 0, b"broken")),
    ("a longer key's hit", |l| l.hit_as(&[l.key(), b"x"].concat(), 6, 0, b"broken")),
    ("a shorter key's hit", |l| l.hit_as(&l.key()[..3], 6, 0, b"broken")),
    ("an empty key's hit", |l| l.hit_as(b"", 6, 0, b"broken")),
    ("flags that are no number", |l| l.hit_as(l.key(), 6, "zero", b"broken")),
    ("flags beyond 32 bits", |l| l.hit_as(l.key(), 6, "4294967296", b"broken")),
];

/// Invalid replies to `mg`.
const META: [Row; 9] = [
    ("VA alone", |_| b"VA\r\n".to_vec()),
    ("HD instead of a value", |l| replaced(&l.miss(), b"EN", b"HD")),
    ("a hit without a key", |l| without(&l.hit("broken"), 'k')),
    ("a hit without flags", |l| without(&l.hit("broken"), 'f')),
    ("a hit without an opaque", |l| without(&l.hit("broken"), 'O')),
    ("another lookup's hit", |l| replaced(&l.hit("broken"), b" O", b" O9")),
    ("another lookup's miss", |l| replaced(&l.miss(), b" O", b" O9")),
    ("another key's miss", |l| replaced(&l.miss(), l.key(), b"/other")),
    ("a line without CR", |l| replaced(&l.miss(), b"\r\n", b"\n")),
];

/// Invalid replies to `get` with one key.
const CLASSIC: [Row; 6] = [
    ("VALUE alone", |_| b"VALUE\r\n".to_vec()),
    ("a hit without a length", |l| replaced(&l.hit("broken"), b" 6\r\n", b"\r\n")),
    ("a value without END", |l| replaced(&l.hit("broken"), b"END", b"ENDE")),
    ("a NUL within the trailer", |l| replaced(&l.hit("broken"), b"END", b"END\0")),
    ("two values", |l| replaced(&l.hit("broken"), b"END\r\n", &l.hit("broken"))),
    ("a line without CR", |_| b"END\n".to_vec()),
];

/// The lookup in the other protocol.
fn other_protocol(lookup: &Lookup) -> Lookup {
    let line = match lookup.line.starts_with(b"get ") {
        true => [b"mg ", lookup.key(), b" f k v O0"].concat(),
        false => [b"get ", lookup.key()].concat(),
    };
    Lookup { line, ..lookup.clone() }
}

/// `reply` with the first `from` replaced by `to`.
fn replaced(reply: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = reply.windows(from.len()).position(|window| window == from).unwrap();
    [&reply[..at], to, &reply[at + from.len()..]].concat()
}

/// `reply` without the return flag that begins with `letter`.
fn without(reply: &[u8], letter: char) -> Vec<u8> {
    let text = String::from_utf8(reply.to_vec()).unwrap();
    let (head, value) = text.split_once("\r\n").unwrap();
    let kept: Vec<&str> = head.split(' ').filter(|word| !word.starts_with(letter)).collect();
    assert!(kept.len() < head.split(' ').count(), "there is no {letter} in {head}");
    format!("{}\r\n{value}", kept.join(" ")).into_bytes()
}

/// A site in this protocol, with one connection to a server whose breaker does not open.
fn site_on(fake: &Fake, protocol: &str) -> Site {
    plan()
        .store_at(fake.address())
        .upstream("server @MEMCACHED@ max_fails=0; pagecache_connections 1;")
        .location(&format!("pagecache_protocol {protocol}; pagecache_timeout 10s;"))
        .start_warm()
}

/// `/nonsense/3` gets the third row; every other key a valid reply.
fn row_of(lookup: &Lookup) -> Option<usize> {
    lookup.key_text().strip_prefix("/nonsense/")?.parse().ok()
}

#[test]
fn nonsense_goes_to_the_application_and_ends_the_connection() {
    for (protocol, its_own) in [("meta", META.as_slice()), ("classic", CLASSIC.as_slice())] {
        let table = [ANY.as_slice(), its_own].concat();
        let replies = table.clone();
        let fake = Fake::replying(move |lookup| match row_of(lookup) {
            Some(row) => replies[row].1(lookup),
            None => lookup.hit("good"),
        });
        let mut site = site_on(&fake, protocol);
        let mut visitor = Visitor::at(&site);
        visitor.hits("/good", "good");
        for (row, (name, _)) in table.iter().enumerate() {
            println!("{protocol}: {name}");
            let asked = fake.lookups().len();
            // On a used connection and on a new one; after that there are no more attempts.
            visitor.falls_through(&format!("/nonsense/{row}"), &["protocol"]);
            visitor.falls_through(&format!("/nonsense/{row}"), &["protocol"]);
            visitor.hits("/good", "good");
            let connections: Vec<usize> =
                fake.lookups()[asked..].iter().map(|lookup| lookup.connection).collect();
            assert_eq!(connections, [2 * row, 2 * row + 1, 2 * row + 2]);
        }
        visitor.visits.answered_once(&mut site);
        assert!(visitor.visits.longest_wait() < BUDGET, "{:?}", visitor.visits.longest_wait());
        // Each pair of lookups logs a failure, and a recovery with the valid reply after it.
        assert_eq!(site.nginx.state_changes(), table.len());
    }
}

#[test]
fn an_error_of_the_server_s_own_is_an_answer_and_the_connection_stays() {
    for protocol in ["meta", "classic"] {
        let fake = Fake::replying(|lookup| match lookup.key() {
            b"/error" => b"SERVER_ERROR out of memory writing get response\r\n".to_vec(),
            _ => lookup.hit("good"),
        });
        let mut site = site_on(&fake, protocol);
        let mut visitor = Visitor::at(&site);
        for _ in 0..3 {
            visitor.falls_through("/error", &["protocol"]);
            visitor.hits("/good", "good");
        }
        visitor.visits.answered_once(&mut site);
        assert_eq!((fake.lookups().len(), fake.connections()), (6, 1), "{protocol}");
        assert_eq!(site.nginx.state_changes(), 0, "{protocol}");
    }
}

#[test]
fn a_miss_that_repeats_nothing_is_a_miss() {
    // memcached 1.6 before 1.6.10 replies like this; it cannot lead to a wrong page.
    let fake = Fake::replying(|_| b"EN\r\n".to_vec());
    let mut site = site_on(&fake, "meta");
    let mut visitor = Visitor::at(&site);
    for _ in 0..3 {
        visitor.falls_through("/page", &["absent"]);
    }
    visitor.visits.answered_once(&mut site);
    // the application opens one for each page that it renders, to read the log of purges
    assert_eq!(fake.connections(), 1 + 3);
}
