//! The memcached of the model, with leases: `mg` with N and R, `ms` and `md` by cas, the marks W, Z and X. It notes each
//! change of an item. A test compares its replies with those of memcached itself.

use crate::memcached::Msec;
use crate::page::RENDERED;
use std::collections::BTreeMap;

/// The items, and what has become of them.
#[derive(Debug, Default)]
pub struct Memcached {
    items: BTreeMap<String, Entry>,
    /// The last cas number.
    cas: u64,
    /// What has become of each key, in this order.
    pub changes: BTreeMap<String, Vec<Change>>,
}

#[derive(Debug)]
struct Entry {
    value: Vec<u8>,
    flags: u32,
    /// In seconds. None: never.
    ends: Option<u64>,
    cas: u64,
    /// The lease is out: the next readers get Z.
    is_taken: bool,
    is_stale: bool,
}

/// A change of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A reader has got the lease of the item of this number.
    Won(u64),
    /// An item was stored over the one of the number `over`, if there was one. `compares`: the command has named that
    /// number. The new item has the number `cas`.
    Stored { over: Option<u64>, compares: bool, cas: u64, flags: u32, value: Vec<u8> },
    /// A command of nginx has deleted the item, or marked it as stale.
    Ended,
    /// The application itself has stored or deleted the item, or memcached has lost it.
    Elsewhere,
}

/// Takes the first whole command out of what was sent, and its body.
pub fn take_command(sent: &mut Vec<u8>) -> Option<(String, Vec<u8>)> {
    let end = sent.windows(2).position(|pair| pair == b"\r\n")?;
    let line = String::from_utf8(sent[..end].to_vec()).expect("a command is text");
    let mut start = end + 2;
    let mut body = Vec::new();
    if line.starts_with("ms ") {
        let len: usize = line.split(' ').nth(2).and_then(|len| len.parse().ok()).expect("a length");
        body = sent.get(start..start + len)?.to_vec();
        start += len + 2;
    }
    if sent.len() < start {
        return None;
    }
    sent.drain(..start);
    Some((line, body))
}

/// The words of a command, behind its name and key.
#[derive(Debug)]
struct Words<'a>(Vec<&'a str>);

impl<'a> Words<'a> {
    /// The number behind this letter.
    fn number(&self, letter: char) -> Option<u64> {
        self.0.iter().find_map(|word| word.strip_prefix(letter)?.parse().ok())
    }

    fn has(&self, word: &str) -> bool {
        self.0.contains(&word)
    }

    /// The fields that were asked for, of the item in `of`.
    fn fields(&self, key: &str, of: Option<(&Entry, u64)>) -> String {
        let field = |word: &&str| match (word.chars().next()?, of) {
            ('k', _) => Some(format!(" k{key}")),
            ('O', _) => Some(format!(" {word}")),
            ('c', Some((entry, _))) if word.len() == 1 => Some(format!(" c{}", entry.cas)),
            ('c', None) if word.len() == 1 => Some(" c0".to_owned()),
            ('f', Some((entry, _))) => Some(format!(" f{}", entry.flags)),
            ('s', Some((entry, _))) => Some(format!(" s{}", entry.value.len())),
            ('t', Some((entry, second))) => Some(match entry.ends {
                Some(ends) => format!(" t{}", ends - second),
                None => " t-1".to_owned(),
            }),
            _ => None,
        };
        self.0.iter().filter_map(field).collect()
    }
}

impl Memcached {
    /// The reply to a command.
    pub fn reply(&mut self, line: &str, body: Vec<u8>, now: Msec) -> Vec<u8> {
        // its clock has seconds
        let second = now / 1_000;
        self.items.retain(|_, entry| entry.ends.is_none_or(|ends| ends > second));
        let mut words = line.split(' ');
        let (name, key) = (words.next().unwrap_or(""), words.next().unwrap_or("").to_owned());
        let words = Words(words.collect());
        match name {
            "mg" => self.get(&key, &words, second),
            "ms" => self.set(&key, &words, body, second),
            "md" => self.delete(&key, &words),
            _ => panic!("{line}"),
        }
    }

    /// The application stores an item itself, for so many seconds; 0: for ever.
    pub fn store(&mut self, key: &str, value: &[u8], now: Msec, seconds: u64) {
        let cas = self.next();
        let ends = Some(now / 1_000 + seconds).filter(|_| seconds > 0);
        let (value, flags) = (value.to_vec(), 0);
        let entry = Entry { value, flags, ends, cas, is_taken: false, is_stale: false };
        self.items.insert(key.to_owned(), entry);
        self.note(key, Change::Elsewhere);
    }

    /// The application deletes an item itself, or memcached evicts it.
    pub fn remove(&mut self, key: &str) {
        self.items.remove(key);
        self.note(key, Change::Elsewhere);
    }

    /// The application marks an item as stale itself, if it is there: `md KEY I`.
    pub fn mark_as_stale(&mut self, key: &str) {
        if self.items.contains_key(key) {
            self.delete(key, &Words(vec!["I"]));
            self.note(key, Change::Elsewhere);
        }
    }

    /// It has lost all its items.
    pub fn clear(&mut self) {
        let keys: Vec<String> = self.changes.keys().cloned().collect();
        keys.iter().for_each(|key| self.remove(key));
    }

    /// The number of the item with this key.
    pub fn cas(&self, key: &str) -> Option<u64> {
        self.items.get(key).map(|entry| entry.cas)
    }

    /// The keys of the items whose leases are out after that time.
    pub fn leases(&self, now: Msec) -> impl Iterator<Item = &str> {
        let is_lease = move |(_, entry): &(&String, &Entry)| {
            let is_there = entry.ends.is_none_or(|ends| ends > now / 1_000);
            is_there && (entry.is_taken || entry.flags >> 24 == RENDERED)
        };
        self.items.iter().filter(is_lease).map(|(key, _)| key.as_str())
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    fn next(&mut self) -> u64 {
        self.cas += 1;
        self.cas
    }

    fn note(&mut self, key: &str, change: Change) {
        self.changes.entry(key.to_owned()).or_default().push(change);
    }

    fn get(&mut self, key: &str, words: &Words<'_>, second: u64) -> Vec<u8> {
        let is_new = !self.items.contains_key(key);
        if let (true, Some(seconds)) = (is_new, words.number('N')) {
            let (cas, ends) = (self.next(), Some(second + seconds));
            let entry =
                Entry { value: Vec::new(), flags: 0, ends, cas, is_taken: false, is_stale: false };
            self.items.insert(key.to_owned(), entry);
        }
        let Some(entry) = self.items.get_mut(key) else {
            return format!("EN{}\r\n", words.fields(key, None).replace(" c0", "")).into_bytes();
        };
        let ends_soon = words
            .number('R')
            .zip(entry.ends)
            .is_some_and(|(seconds, ends)| ends - second < seconds);
        let wins = !entry.is_taken && (is_new || entry.is_stale || ends_soon);
        let marks = [(" Z", entry.is_taken), (" X", entry.is_stale), (" W", wins)];
        let marks = marks.iter().filter(|(_, is_set)| *is_set).map(|(mark, _)| *mark);
        let fields = words.fields(key, Some((entry, second))) + &marks.collect::<String>();
        entry.is_taken |= wins;
        let reply = match words.has("v") {
            true => {
                let head = format!("VA {}{fields}\r\n", entry.value.len());
                [head.as_bytes(), &entry.value, b"\r\n"].concat()
            }
            false => format!("HD{fields}\r\n").into_bytes(),
        };
        let cas = entry.cas;
        if wins {
            self.note(key, Change::Won(cas));
        }
        reply
    }

    fn set(&mut self, key: &str, words: &Words<'_>, value: Vec<u8>, second: u64) -> Vec<u8> {
        let over = self.cas(key);
        let named = words.number('C');
        let refusal = match (over, named) {
            (None, _) if words.has("MA") => Some("NS"),
            (None, Some(_)) => Some("NF"),
            (Some(cas), Some(named)) if cas != named => Some("EX"),
            (Some(_), _) if words.has("ME") => Some("NS"),
            _ => None,
        };
        if let Some(refusal) = refusal {
            return format!("{refusal}{}\r\n", words.fields(key, None)).into_bytes();
        }
        if words.has("MA") {
            return self.append(key, words, &value, second);
        }
        let cas = self.next();
        let flags = words.number('F').and_then(|flags| u32::try_from(flags).ok()).unwrap_or(0);
        let ends = words.number('T').filter(|&seconds| seconds > 0).map(|ttl| second + ttl);
        let entry =
            Entry { value: value.clone(), flags, ends, cas, is_taken: false, is_stale: false };
        let reply = format!("HD{}\r\n", words.fields(key, Some((&entry, second))));
        self.items.insert(key.to_owned(), entry);
        self.note(key, Change::Stored { over, compares: named.is_some(), cas, flags, value });
        // of the fields of an item, only its number is asked for
        reply.into_bytes()
    }

    /// The item is another one then, whose lease is not out, and which is not stale.
    fn append(&mut self, key: &str, words: &Words<'_>, value: &[u8], second: u64) -> Vec<u8> {
        assert!(value.is_empty(), "{key}: bytes are appended to a page");
        let cas = self.next();
        let entry = self.items.get_mut(key).expect("it is there");
        (entry.cas, entry.is_taken, entry.is_stale) = (cas, false, false);
        let reply = format!("HD{}\r\n", words.fields(key, Some((entry, second))));
        self.note(key, Change::Ended);
        reply.into_bytes()
    }

    fn delete(&mut self, key: &str, words: &Words<'_>) -> Vec<u8> {
        let fields = words.fields(key, None);
        let named = words.number('C');
        match self.cas(key) {
            None => return format!("NF{fields}\r\n").into_bytes(),
            Some(cas) if named.is_some_and(|named| named != cas) => {
                return format!("EX{fields}\r\n").into_bytes();
            }
            Some(_) => {}
        }
        if words.has("I") {
            let cas = self.next();
            if let Some(entry) = self.items.get_mut(key) {
                (entry.is_stale, entry.is_taken, entry.cas) = (true, false, cas);
            }
        } else {
            self.items.remove(key);
        }
        self.note(key, Change::Ended);
        format!("HD{fields}\r\n").into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_replies_as_memcached_does() {
        let recorded = include_str!("../../../tests/data/leases/memcached.txt");
        let lines = recorded.lines().filter(|line| !line.starts_with('#'));
        let mut lines = lines.peekable();
        let mut memcached = Memcached::default();
        let mut count = 0;
        while let Some(line) = lines.next() {
            let command = line.strip_prefix("> ").unwrap();
            let text = |line: &str| line.strip_prefix('|').unwrap().trim_start().to_owned();
            let body = lines.next_if(|line| line.starts_with('|')).map(text);
            let reply = lines.next().unwrap().strip_prefix("< ").unwrap();
            let value = lines.next_if(|line| line.starts_with('|')).map(text);
            count += 1;
            match command.split(' ').collect::<Vec<_>>()[..] {
                ["set", key, ..] => memcached.store(key, body.unwrap().as_bytes(), 0, 0),
                ["delete", key] => memcached.remove(key),
                _ => {
                    let value = value.map_or(String::new(), |value| format!("{value}\r\n"));
                    let mut sent = format!("{command}\r\n").into_bytes();
                    if let Some(body) = body {
                        sent.extend(format!("{body}\r\n").bytes());
                    }
                    let (line, body) = take_command(&mut sent).unwrap();
                    let own = memcached.reply(&line, body, 1_000_700);
                    let own = String::from_utf8(own).unwrap();
                    assert_eq!(own, format!("{reply}\r\n{value}"), "{command}");
                    assert!(sent.is_empty(), "{command}");
                }
            }
        }
        assert!(count > 40, "{count}");
    }

    #[test]
    fn a_lease_ends_within_its_seconds() {
        let mut memcached = Memcached::default();
        let mut get = |now| {
            let reply = memcached.reply("mg a N3 c f k t v O1", Vec::new(), now);
            String::from_utf8(reply).unwrap()
        };
        assert!(get(700).ends_with(" W\r\n\r\n"));
        assert!(get(2_999).ends_with(" t1 O1 Z\r\n\r\n"));
        assert!(get(3_000).ends_with(" W\r\n\r\n"));
    }
}
