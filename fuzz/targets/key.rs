//! Any bytes as a key: the key on the wire is one word of the protocol, from which the original bytes can be
//! recovered.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pagecache_core::memcached::protocol::encode::{MAX_COMMAND, encode_command};
use pagecache_core::memcached::{Command, Get, Key, KeyError, LongKeys, MAX_KEY, Protocol};

fuzz_target!(|raw: &[u8]| {
    let hashed = Key::new(raw, LongKeys::Sha256);
    let bypassed = Key::new(raw, LongKeys::Bypass);
    let is_special = |byte: &&u8| **byte <= 0x20 || **byte == b'%';
    match raw.len() + 2 * raw.iter().filter(is_special).count() {
        0 => {
            assert_eq!(hashed.err(), Some(KeyError::Empty));
            assert_eq!(bypassed.err(), Some(KeyError::Empty));
        }
        1..=MAX_KEY => {
            let key = hashed.unwrap();
            assert_eq!(key.as_bytes(), bypassed.unwrap().as_bytes());
            assert_eq!(unescaped(key.as_bytes()).as_deref(), Some(raw));
        }
        _ => {
            assert_eq!(bypassed.err(), Some(KeyError::TooLong));
            let key = hashed.unwrap();
            let digits = key.as_bytes().strip_prefix(b"%sha256:").unwrap();
            assert_eq!(digits.len(), 64);
            assert!(digits.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')));
            let other = Key::new(&[raw, b"/"].concat(), LongKeys::Sha256).unwrap();
            assert_ne!(key.as_bytes(), other.as_bytes());
        }
    }
    if let Ok(key) = hashed {
        assert!((1..=MAX_KEY).contains(&key.as_bytes().len()));
        assert!(key.as_bytes().iter().all(|&byte| byte > 0x20));
        for opaque in [0, raw.len() as u32, u32::MAX] {
            lookup_is_one_line(&key, opaque);
        }
    }
});

/// Reverses the escapes. None unless all of them are necessary and correctly written.
fn unescaped(mut key: &[u8]) -> Option<Vec<u8>> {
    let mut raw = Vec::new();
    while let Some((&byte, rest)) = key.split_first() {
        key = rest;
        raw.push(match byte {
            b'%' => {
                let (digits, rest) = key.split_at_checked(2)?;
                key = rest;
                let digits = std::str::from_utf8(digits).ok()?;
                let byte = u8::from_str_radix(digits, 16).ok()?;
                if format!("{byte:02X}") != digits || (byte > 0x20 && byte != b'%') {
                    return None;
                }
                byte
            }
            _ => byte,
        });
    }
    Some(raw)
}

fn lookup_is_one_line(key: &Key, opaque: u32) {
    let mut out = b"before".to_vec();
    let get = Command::Get(Get::value(0));
    encode_command(&mut out, Protocol::Meta, key, &get, 0, opaque);
    let meta = out.split_off(b"before".len());
    assert_eq!(out, b"before");
    encode_command(&mut out, Protocol::Classic, key, &get, 0, opaque);
    let classic = out.split_off(b"before".len());
    assert_eq!(out, b"before");

    for line in [&meta, &classic] {
        assert!(line.len() <= MAX_COMMAND && line.ends_with(b"\r\n"));
        assert!(!line[..line.len() - 2].iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
    }
    let opaque = format!("O{opaque}");
    let words: Vec<&[u8]> = meta[..meta.len() - 2].split(|&byte| byte == b' ').collect();
    let (command, flags) = words.split_at(2);
    assert_eq!(command, [b"mg", key.as_bytes()]);
    for flag in ["c", "f", "k", "t", "v", opaque.as_str()] {
        assert_eq!(flags.iter().filter(|word| **word == flag.as_bytes()).count(), 1, "{flag}");
    }
    assert_eq!(flags.len(), 6);
    let words: Vec<&[u8]> = classic[..classic.len() - 2].split(|&byte| byte == b' ').collect();
    assert_eq!(words, [b"get", key.as_bytes()]);
}
