//! The contract of `tests/data/contract`, of which nginx is sent each row as well: the key that is recorded
//! is the one that this tool finds.

use super::{Header, KeyPattern, Url, Version};
use pagecache_core::args::Ignored;
use pagecache_core::memcached::LongKeys;
use pagecache_testkit::unescape;

/// Compares the keys of all rows. Returns how many there were that can be said on a command line, which is
/// text.
fn is_kept(table: &str, version: Option<&str>) -> usize {
    let mut compared = 0;
    for line in table.lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [pattern, target, host, cookie, _raw, key, _stored, reason, ignored @ ..] =
            fields.as_slice()
        else {
            panic!("not a row: {line:?}");
        };
        let said = |field: &str| String::from_utf8(unescape(field));
        let (Ok(target), Ok(host), Ok(cookie)) = (said(target), said(host), said(cookie)) else {
            continue;
        };
        let named = [("Host", host), ("Cookie", cookie)];
        let headers = named.into_iter().filter(|(_, value)| value != "-");
        let words = ignored.concat();
        let pattern = KeyPattern {
            text: (*pattern).to_owned(),
            ignored_args: Ignored::parse(
                words.split(' ').filter(|word| !word.is_empty()).map(str::as_bytes),
            )
            .unwrap(),
            long_keys: LongKeys::Sha256,
            merge_slashes: true,
            headers: headers.map(|(name, value)| Header { name: name.to_owned(), value }).collect(),
            given: Vec::new(),
            base: Url::parse("http://site.test", None).unwrap().origin,
            version: version.map(|version| Version::parse(version).unwrap()),
        };
        let found = pattern.key(&target).map(|key| key.as_bytes().escape_ascii().to_string());
        let expected = match *reason {
            "-" => Ok(unescape(key).escape_ascii().to_string()),
            reason => Err(reason),
        };
        assert_eq!(
            found.as_deref().map_err(|no_key| no_key.name()),
            expected.as_deref().map_err(|name| *name),
            "{line}"
        );
        compared += 1;
    }
    compared
}

#[test]
fn cookies() {
    let table = include_str!("../../../tests/data/contract/cookies.tsv");
    assert_eq!(is_kept(table, None), table.lines().count() - 1);
}

#[test]
fn commas_in_cookies() {
    let before = include_str!("../../../tests/data/contract/commas_before_1.29.6.tsv");
    let since = include_str!("../../../tests/data/contract/commas_since_1.29.6.tsv");
    assert_eq!(is_kept(before, Some("1.22.1")), before.lines().count() - 1);
    assert_eq!(is_kept(before, Some("1.29.5")), before.lines().count() - 1);
    assert_eq!(is_kept(since, Some("1.29.6")), since.lines().count() - 1);
}

#[test]
fn all_else() {
    for (table, least) in [
        (include_str!("../../../tests/data/contract/hosts.tsv"), 19),
        (include_str!("../../../tests/data/contract/ignored_args.tsv"), 50),
        (include_str!("../../../tests/data/contract/long_keys.tsv"), 15),
        (include_str!("../../../tests/data/contract/paths.tsv"), 90),
        (include_str!("../../../tests/data/contract/queries.tsv"), 75),
        (include_str!("../../../tests/data/contract/question_marks.tsv"), 20),
    ] {
        let compared = is_kept(table, None);
        assert!(compared >= least, "{compared} rows: {table}");
    }
}
