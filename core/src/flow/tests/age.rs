//! How old a page is said to be.

use super::*;

#[test]
fn a_marked_page_has_its_age_and_the_tag_of_its_version() {
    let value = b"HTTP/1.1 200 OK\r\nAge: 7\r\nX-Pagecache: v=1; life=300; window=60; ttl=360; age=12\r\n\r\npage";
    let item = Item { flags: 0x5c00_0001, cas: Some(9), ttl: Some(350), ..Item::default() };
    let response = served(found(item, value), &Request::default());
    assert_eq!((response.body, response.age), (&b"page"[..], Some(22)));
    assert!(response.stored_headers().all(|(name, _)| !name.eq_ignore_ascii_case(b"age")));
    let head = &value[..value.len() - 4];
    assert_eq!(response.etag, Some(Etag::of_version(item.flags, 9, head, 4)));
    let late = Item { ttl: Some(60), ..item };
    assert_eq!(fell_through(found(late, value), &Request::default(), &policy()), Reason::Stale);
}

#[test]
fn a_date_makes_an_age() {
    let pages = PageRules { format: Format::Http, ..PageRules::default() };
    let policy = Policy { pages, ..policy() };
    let value = b"HTTP/1.1 200 OK\r\nDate: 40 s ago\r\n\r\npage";
    let (_, action) = reply(found(Item::default(), value), &Request::default(), &policy);
    assert!(matches!(action, Action::Serve(response) if response.age == Some(40)));
}
