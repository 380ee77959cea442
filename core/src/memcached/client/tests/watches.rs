//! Lookups that watch an item: its version comes with their answers.

use super::changes::operation;
use super::*;
use crate::memcached::{Command, Get, Key, LongKeys, Sample, Version, Watch};

const LOG: &str = "log";

/// A client whose lookups watch an item.
struct Watching {
    client: Client,
    watch: Watch,
    buffers: Buffers,
}

impl Watching {
    fn new(connections: usize) -> Watching {
        let mut client = Client::new(Limits { connections, ..LIMITS }, 1);
        let key = Key::new(LOG.as_bytes(), LongKeys::Bypass).unwrap();
        let watch = client.watch(&key).unwrap();
        assert_eq!(client.watch(&key), Some(watch), "once");
        Watching { client, watch, buffers: Buffers::new(1 << 20) }
    }

    fn look_up(&mut self, token: u64, name: &str) -> Ticket {
        let get = Get { watch: Some(self.watch), ..Get::value(10) };
        self.submit(token, name, get)
    }

    fn submit(&mut self, token: u64, name: &str, get: Get) -> Ticket {
        let key = Key::new(name.as_bytes(), LongKeys::Bypass).unwrap();
        let lookup = operation(Command::Get(get), Protocol::Meta);
        let lookup = Operation { token: Token(token), key, ..lookup };
        self.client.submit(1_000, &lookup).unwrap()
    }

    /// What is written now, with a space for each CRLF.
    fn written(&mut self, index: usize) -> String {
        self.written_of(index, usize::MAX)
    }

    /// The same if the socket takes so many bytes at most.
    fn written_of(&mut self, index: usize, most: usize) -> String {
        let mut bytes: Vec<u8> =
            self.client.output(index).iter().flat_map(|part| part.to_vec()).collect();
        bytes.truncate(most);
        self.client.sent(index, bytes.len(), 1_000);
        String::from_utf8(bytes).unwrap().replace("\r\n", " ").trim_end().to_owned()
    }

    /// The answers after these lines have come: tokens, with the cas numbers of the watched item; 0 if there is none.
    fn answered(&mut self, index: usize, lines: &[&str]) -> Vec<(u64, Option<u64>)> {
        let replies: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        let [_, input] = self.client.input(index);
        input[..replies.len()].copy_from_slice(replies.as_bytes());
        self.client.received(index, replies.len());
        let mut seen = Vec::new();
        while let Some(event) = self.client.next_event(index, 1_001, &self.buffers) {
            let Event::Completed(Token(token), _, sample) = event else { panic!("{event:?}") };
            let cas = |sample: &Sample| match *sample {
                Sample::Absent => 0,
                Sample::Found(Version { cas, .. }) => cas,
            };
            seen.push((token, sample.map(cas)));
        }
        seen
    }
}

#[test]
fn each_batch_begins_with_the_version() {
    let mut it = Watching::new(1);
    it.look_up(1, "/a");
    it.look_up(2, "/b");
    it.client.connected(0, 1_000);
    let batch = "mg log c f k s t O0 mg /a c f k t v O1 mg /b c f k t v O2";
    assert_eq!(it.written(0), batch);
    it.look_up(3, "/c");
    assert_eq!(it.written(0), "mg log c f k s t O3 mg /c c f k t v O4");
    let first = ["HD c7 f5 klog s30 t-1 O0", "EN k/a O1", "EN k/b O2"];
    assert_eq!(it.answered(0, &first), [(1, Some(7)), (2, Some(7))]);
    assert_eq!(it.answered(0, &["EN klog O3", "EN k/c O4"]), [(3, Some(0))]);
    // a part of a batch is written
    it.look_up(4, "/a");
    it.look_up(5, "/b");
    assert_eq!(it.written_of(0, 30), "mg log c f k s t O5 mg /a c f");
    it.look_up(6, "/c");
    let rest = "k t v O6 mg /b c f k t v O7 mg log c f k s t O8 mg /c c f k t v O9";
    assert_eq!(it.written(0).trim(), rest);
}

#[test]
fn those_who_share_a_reply_share_the_version() {
    let mut it = Watching::new(1);
    it.look_up(1, "/a");
    it.look_up(2, "/a");
    it.submit(3, "/a", Get::value(10));
    it.client.connected(0, 1_000);
    assert_eq!(it.written(0), "mg log c f k s t O0 mg /a c f k t v O1 mg /a c f k t v O2");
    let replies = ["HD c7 f5 klog s30 t-1 O0", "EN k/a O1", "EN k/a O2"];
    assert_eq!(it.answered(0, &replies), [(1, Some(7)), (2, Some(7)), (3, None)]);
}

/// A version that was written before a request began says nothing of what was purged by then, though the lookup that it
/// might share is still to be written.
#[test]
fn nobody_shares_a_version_that_is_written() {
    let mut it = Watching::new(1);
    it.look_up(1, "/a");
    it.look_up(2, "/b");
    it.client.connected(0, 1_000);
    assert_eq!(it.written_of(0, 5), "mg lo");
    it.look_up(3, "/a");
    // shares that of the third, and not the lookup before
    it.look_up(4, "/b");
    it.look_up(5, "/a");
    let rest = "g c f k s t O0 mg /a c f k t v O1 mg /b c f k t v O2 mg log c f k s t O3 mg /a c f k t v O4 \
                mg /b c f k t v O5";
    assert_eq!(it.written(0), rest);
}

#[test]
fn a_version_that_was_not_read_is_unknown() {
    for reply in ["HD f5 klog s30 t-1 O0", "SERVER_ERROR out of memory", "VA 0 klog O0"] {
        let mut it = Watching::new(1);
        it.look_up(1, "/a");
        it.client.connected(0, 1_000);
        it.written(0);
        if reply.starts_with("VA") {
            // no reply to such a command: the connection ends
            let [_, input] = it.client.input(0);
            input[..4].copy_from_slice(b"VA\r\n");
            it.client.received(0, 4);
            let event = it.client.next_event(0, 1_001, &it.buffers);
            assert!(!matches!(event, Some(Event::Completed(_, Completion::Hit(..), _))));
            continue;
        }
        assert_eq!(it.answered(0, &[reply, "EN k/a O1"]), [(1, None)], "{reply}");
    }
}

/// Another server may be there: what was read before says nothing.
#[test]
fn a_lookup_that_is_sent_again_has_a_version_of_its_own() {
    let mut it = Watching::new(1);
    it.look_up(1, "/a");
    it.client.connected(0, 1_000);
    it.written(0);
    let replies = ["HD c7 f5 klog s30 t-1 O0", "EN k/a O1"];
    assert_eq!(it.answered(0, &replies), [(1, Some(7))]);
    it.look_up(2, "/a");
    it.written(0);
    assert_eq!(it.answered(0, &["HD c8 f5 klog s30 t-1 O2"]), []);
    it.client.lost(0, 1_002, ConnectionError::Closed);
    it.client.connected(0, 1_002);
    assert_eq!(it.written(0), "mg log c f k s t O4 mg /a c f k t v O5");
    assert_eq!(it.answered(0, &["EN klog O4", "EN k/a O5"]), [(2, Some(0))]);
}

/// The reply that is missing counts once, as without a watched item.
#[test]
fn a_version_that_does_not_come_is_no_failure_of_its_own() {
    for watches in [false, true] {
        let mut it = Watching::new(1);
        let breaker = BreakerLimits { max_fails: 2, ..LIMITS.breaker };
        let limits = Limits { connections: 1, breaker, ..LIMITS };
        it.client = Client::new(limits, 1);
        let watch = it.client.watch(&Key::new(LOG.as_bytes(), LongKeys::Bypass).unwrap());
        let get = Get { watch: watch.filter(|_| watches), ..Get::value(10) };
        it.submit(1, "/a", Get::value(10));
        it.client.connected(0, 1_000);
        it.written(0);
        assert_eq!(it.answered(0, &["EN k/a O0"]), [(1, None)]);
        it.submit(2, "/a", get);
        it.written(0);
        it.client.expire(0, 1_000 + TIMEOUT);
        // the second failure would open the breaker
        let get = Get::value(10);
        let another = operation(Command::Get(get), Protocol::Meta);
        assert!(it.client.submit(1_000 + TIMEOUT, &another).is_ok(), "{watches}");
    }
}

#[test]
fn other_keys_are_other_watches() {
    let mut it = Watching::new(1);
    let other = it.client.watch(&Key::new(b"other", LongKeys::Bypass).unwrap());
    it.look_up(1, "/a");
    it.submit(2, "/b", Get { watch: other, ..Get::value(10) });
    it.look_up(3, "/c");
    it.client.connected(0, 1_000);
    let batch = "mg log c f k s t O0 mg /a c f k t v O1 mg other c f k s t O2 mg /b c f k t v O3 \
        mg /c c f k t v O4";
    assert_eq!(it.written(0), batch);
    let replies =
        ["HD c7 f5 klog s30 t-1 O0", "EN k/a O1", "EN kother O2", "EN k/b O3", "EN k/c O4"];
    assert_eq!(it.answered(0, &replies), [(1, Some(7)), (2, Some(0)), (3, Some(7))]);
}
