//! A page that the application has found to be unchanged (304): it is stored again, with the fields of the new response
//! in place of its own (RFC 9111, section 4.3.4).

use super::heads::{OF_THE_BYTES, ReceivedHead};
use super::not_stored::NotStored;
use super::segments::Segments;
use super::{Lease, Store, flags};
use crate::memcached::Buffers;
use crate::page::{Candidate, Fields, Life, Page, StoreRules, write_head};
use crate::purge::Noted;

/// Fields of a 304 that do not replace those of the page, which describe its body as it is stored (RFC 9111, section
/// 3.2).
const OF_THE_BODY: [&str; 5] =
    ["content-encoding", "content-length", "content-range", "content-type", "transfer-encoding"];

/// A page that is valid again.
#[derive(Debug)]
pub struct Revalidated {
    /// The item, if it may be stored again.
    pub store: Result<Store, (NotStored, Lease)>,
    /// The head of the page.
    pub head: Vec<u8>,
    /// How old the page is, in seconds.
    pub age: u32,
}

impl Revalidated {
    /// The page, without its body.
    pub fn page(&self) -> Option<Page<'_>> {
        Page::of_value(&self.head)
    }
}

impl Lease {
    /// The response is 304 to a request with the validators of `page`, whose body is `body`. `random` as of
    /// [`Capture::finish`](super::Capture::finish).
    ///
    /// # Errors
    /// The lease, which is to be given back: the response is about another page, or makes no head together with this one.
    pub fn revalidate(
        self,
        (page, body): (&Page<'_>, &[u8]),
        received: &ReceivedHead<'_>,
        rules: &StoreRules,
        random: u32,
        buffers: &Buffers,
    ) -> Result<Revalidated, Lease> {
        if is_of_another_page(page, received.candidate.fields) {
            return Err(self);
        }
        let all = merged(page, received.candidate.fields);
        let candidate =
            Candidate { status: page.status, fields: Fields(&all), ..received.candidate };
        let sent = merged(page, received.sent);
        let head =
            |note: &str| write_head(page.status, b"", Fields(&sent), &rules.hidden_headers, note);
        let admission = rules.admit(&candidate);
        let purges = self.marks.as_ref().map(|marks| {
            // the tags of the response, if it has any, or those that the page has
            let mut tags = received.tags(rules).peekable();
            match (tags.peek().is_some(), Noted::read(page.note)) {
                (false, Some(noted)) => marks.note_again(self.server, noted.tags),
                _ => marks.note(self.server, tags),
            }
        });
        let note = admission.as_ref().map_or(String::new(), |it| Life::note(&it.terms));
        let note = note + &purges.unwrap_or_default();
        let Some(head) = head(&note) else { return Err(self) };
        let age = admission.as_ref().map_or(0, |admission| admission.terms.age);
        let store = match admission {
            Err(refusal) => Err((NotStored::Refused(refusal), self)),
            Ok(admission) if !self.is_for(&admission.vary) => Err((NotStored::VaryChanged, self)),
            Ok(admission) => {
                let item = Segments::new(&head, rules.max_size, buffers).and_then(|mut item| {
                    item.append(body)?;
                    Ok(item.finish())
                });
                match item {
                    Ok(body) => Ok(self.store(flags(random), admission.terms.ttl(), body)),
                    Err(why) => Err((why, self)),
                }
            }
        };
        Ok(Revalidated { store, head, age })
    }
}

/// Whether the response has a strong validator of another page (RFC 9111, section 4.3.4).
fn is_of_another_page(page: &Page<'_>, new: Fields<'_>) -> bool {
    // a tag that was weakened here is of the same page
    let opaque = |tag: &[u8]| tag.strip_prefix(b"W/").unwrap_or(tag).to_vec();
    let own = page.header("etag").map(opaque);
    new.values("etag").any(|tag| !tag.starts_with(b"W/") && Some(opaque(tag)) != own)
}

/// The fields of a page, of which those of the new response replace the ones of the same names. The date is always the
/// new one's: without one, it is of now.
fn merged<'a>(page: &'a Page<'_>, new: Fields<'a>) -> Vec<(&'a [u8], &'a [u8])> {
    let is = |name: &[u8], other: &str| name.eq_ignore_ascii_case(other.as_bytes());
    let is_coded = page.header("content-encoding").is_some();
    // what is of the bytes of a body that was compressed here is another one than the application's
    let is_of_the_bytes =
        |name: &[u8]| is(name, "etag") || OF_THE_BYTES.iter().any(|it| is(name, it));
    let is_kept = |name: &[u8]| {
        OF_THE_BODY.iter().any(|it| is(name, it)) || is_coded && is_of_the_bytes(name)
    };
    let is_replaced = |name: &[u8]| {
        let in_new = new.0.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
        is(name, "date") || in_new && !is_kept(name)
    };
    let old = page.headers.iter().copied().filter(|(name, _)| !is_replaced(name));
    old.chain(new.0.iter().copied().filter(|(name, _)| !is_kept(name))).collect()
}

/// The fields that ask the application whether a page is unchanged, as it has sent its validators.
pub fn conditions<'a>(page: &'a Page<'_>) -> impl Iterator<Item = (&'static str, &'a [u8])> {
    [("If-None-Match", "etag"), ("If-Modified-Since", "last-modified")]
        .into_iter()
        .filter_map(|(condition, validator)| Some((condition, page.header(validator)?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memcached::{Key, Leased, LongKeys, Set};
    use crate::page::Refusal;

    const STORED: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nETag: \"a\"\r\n\
        Last-Modified: Tue, 15 Nov 1994 12:45:26 GMT\r\nX-A: old\r\nX-B: old\r\n\
        Date: Tue, 15 Nov 1994 12:45:26 GMT\r\nCache-Control: max-age=5\r\n\
        X-Pagecache: v=1; life=5; window=600; ttl=605; age=0\r\n\r\n";

    fn lease() -> Lease {
        let key = Key::new(b"/page", LongKeys::Sha256).unwrap();
        Lease {
            server: 2,
            key: Box::new(key),
            cas: 21,
            of: Leased::Page,
            vary: None,
            page_cas: None,
            marks: None,
        }
    }

    fn revalidate(lines: &[(&str, &str)]) -> Result<Revalidated, Lease> {
        let page = Page::of_value(STORED).unwrap();
        let fields: Vec<_> = lines.iter().map(|(a, b)| (a.as_bytes(), b.as_bytes())).collect();
        let candidate = Candidate {
            status: 304,
            fields: Fields(&fields),
            now: 784_904_000,
            target: b"/page",
            had_cookie: false,
            had_authorization: false,
        };
        let received = ReceivedHead { candidate, sent: Fields(&fields), reason: b"", length: None };
        let rules = StoreRules { max_size: 10_000, ..StoreRules::default() };
        let buffers = Buffers::new(1 << 20);
        lease().revalidate((&page, b"the body"), &received, &rules, 7, &buffers)
    }

    fn text(store: &Store) -> String {
        String::from_utf8(store.body.parts(0).collect::<Vec<_>>().concat()).unwrap()
    }

    #[test]
    fn the_new_fields_replace_the_old_ones() {
        let new = revalidate(&[
            ("x-a", "new"),
            ("X-C", "new"),
            ("Cache-Control", "max-age=60"),
            ("Content-Type", "text/plain"),
            ("Content-Length", "0"),
            ("ETag", "\"a\""),
        ]);
        let new = new.unwrap();
        let store = new.store.as_ref().unwrap();
        assert_eq!(
            text(store),
            "HTTP/1.1 200 \r\nContent-Type: text/html\r\nLast-Modified: Tue, 15 Nov 1994 12:45:26 GMT\r\n\
             X-B: old\r\nx-a: new\r\nX-C: new\r\nCache-Control: max-age=60\r\nETag: \"a\"\r\n\
             X-Pagecache: v=1; life=60; window=0; ttl=60; age=0\r\n\r\nthe body"
        );
        assert_eq!(store.set, Set { flags: 0x5c00_0007, ttl: 60, cas: Some(21), is_add: false });
        let page = new.page().unwrap();
        assert_eq!((page.status, page.header("x-a")), (200, Some(&b"new"[..])));
    }

    #[test]
    fn what_may_not_be_stored_is_served_and_its_lease_given_back() {
        for (line, refusal) in [
            (("Cache-Control", "no-store"), Refusal::NoStore),
            (("Cache-Control", "private"), Refusal::Private),
            (("Set-Cookie", "a=b"), Refusal::SetCookie),
            (("Cache-Control", "max-age=0"), Refusal::Stale),
        ] {
            let new = revalidate(&[line]).unwrap();
            let (why, given_back) = new.store.as_ref().unwrap_err();
            assert_eq!((*why, given_back), (NotStored::Refused(refusal), &lease()), "{line:?}");
            assert_eq!(new.page().unwrap().header("set-cookie"), None);
        }
        let varies = revalidate(&[("Vary", "X-A")]).unwrap();
        assert_eq!(varies.store.unwrap_err(), (NotStored::VaryChanged, lease()));
    }

    #[test]
    fn what_is_of_another_page_changes_nothing() {
        for (etag, is_of_another) in
            [("\"a\"", false), ("W/\"a\"", false), ("W/\"b\"", false), ("\"b\"", true)]
        {
            let new = revalidate(&[("ETag", etag), ("Cache-Control", "max-age=60")]);
            assert_eq!(new.err(), is_of_another.then(lease), "{etag}");
        }
    }

    #[test]
    fn validators() {
        let page = Page::of_value(STORED).unwrap();
        let asked: Vec<_> = conditions(&page).collect();
        let expected: [(_, &[u8]); 2] =
            [("If-None-Match", b"\"a\""), ("If-Modified-Since", b"Tue, 15 Nov 1994 12:45:26 GMT")];
        assert_eq!(asked, expected);
    }
}
