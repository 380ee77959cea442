//! Any request, and any item.

use super::*;
use proptest::prelude::*;

proptest! {
    /// With any facts and any item, the flow ends with the outcome that it reported last, and a page's body is all
    /// of the item's value after the head.
    #[test]
    fn every_way_ends(
        method in prop::sample::select(vec![Method::Get, Method::Head, Method::Other]),
        key in proptest::option::of(prop::collection::vec(any::<u8>(), 0..300)),
        args in prop::sample::select(vec!["", "a=1", "utm_id=1"]),
        format in prop::sample::select(vec![Format::Auto, Format::Body, Format::Http]),
        flags in prop::sample::select(vec![0, 1, 2, 16, 0x5c00_0001]),
        value in prop::sample::select(vec![
            b"".to_vec(), b"page".to_vec(), GZIP.to_vec(), b"HTTP/1.1 200 OK\r\n\r\npage".to_vec(),
            b"HTTP/1.1 200 OK\r\nX-Pagecache: v=1; life=9; window=0; ttl=9; age=0\r\n\r\n".to_vec(),
        ]),
        (is_stale, is_abandoned, unpacks_gzip) in any::<(bool, bool, bool)>(),
    ) {
        let request = Request { method, key, args, is_abandoned, ..Request::default() };
        let pages = PageRules { format, gzip_flag: Some(2), ..PageRules::default() };
        let policy = Policy { pages, unpacks_gzip, ..policy() };
        let (mut flow, action) = begin(&request, &policy);
        if let Action::Perform(_) = action {
            prop_assert_eq!(flow.outcome(), None);
            let item = Item { flags, is_stale, ..Item::default() };
            match flow.reply(found(item, &value), &request, &policy) {
                Action::Serve(response) => {
                    prop_assert_eq!(flow.outcome(), Some(Outcome::Hit));
                    prop_assert!(!value.is_empty() && !is_stale && !is_abandoned);
                    prop_assert!(value.ends_with(response.body));
                    prop_assert_eq!(response.page.body.start + response.body.len(), value.len());
                }
                Action::FallThrough(reason) => {
                    prop_assert_eq!(flow.outcome(), Some(Outcome::Fallthrough(reason)));
                }
                Action::Drop => prop_assert!(is_abandoned),
                other => prop_assert!(false, "{other:?} without variants and without leases"),
            }
        } else {
            prop_assert!(matches!(action, Action::FallThrough(_)), "{action:?}");
        }
    }
}
