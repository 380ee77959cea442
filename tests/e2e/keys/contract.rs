//! The contract with the writers of pages: for each recorded request nginx looks up the recorded key, and Django
//! has stored its page under exactly that key, or, where recorded, has stored none.

use crate::harness::*;

/// One row of `tests/data/contract`.
struct Row {
    pattern: String,
    target: Vec<u8>,
    host: Vec<u8>,
    cookie: Option<Vec<u8>>,
    /// `None`: the request has no key.
    key: Option<Vec<u8>>,
    is_stored: bool,
    /// The reason why it is not looked up. `None`: it is.
    reason: Option<String>,
    /// The arguments of `pagecache_ignore_args`.
    ignored: String,
}

impl Row {
    fn of(line: &str) -> Row {
        let fields: Vec<&str> = line.split('\t').collect();
        let &[pattern, target, host, cookie, _raw, key, stored, reason, ref rest @ ..] =
            fields.as_slice()
        else {
            panic!("not a row: {line:?}");
        };
        let &([] | [_]) = rest else { panic!("not a row: {line:?}") };
        let said = |field: &str| (field != "-").then(|| unescape(field));
        Row {
            pattern: pattern.to_owned(),
            target: unescape(target),
            host: said(host).unwrap_or(b"site.test".to_vec()),
            cookie: said(cookie),
            key: said(key),
            is_stored: stored == "yes",
            reason: (reason != "-").then(|| reason.to_owned()),
            ignored: rest.concat(),
        }
    }

    fn request(&self) -> Request {
        let request = Request::get(&self.target).header("Host", &self.host);
        match &self.cookie {
            Some(cookie) => request.header("Cookie", cookie),
            None => request,
        }
    }
}

/// Requests each row of a table twice, at a site with the row's key and ignored arguments. Django stores all pages
/// that may be stored.
fn is_kept(table: &str) {
    let mut rows: Vec<Row> = table.lines().skip(1).map(Row::of).collect();
    assert!(rows.len() > 5, "only {} rows", rows.len());
    let setting = |row: &Row| (row.pattern.clone(), row.ignored.clone());
    rows.sort_by_key(setting);
    for of_site in rows.chunk_by(|one, other| setting(one) == setting(other)) {
        let Row { pattern, ignored, .. } = &of_site[0];
        let site = plan().storing().key(pattern).ignoring(ignored).start();
        for row in of_site {
            println!("{pattern}: {}", row.target.escape_ascii());
            row_is_kept(&site, row);
        }
    }
}

fn row_is_kept(site: &Site, row: &Row) {
    let mut memcached = site.memcached().link();
    memcached.flush();
    let before = memcached.stat("cmd_set");
    let first = site.ask(&row.request());
    if let Some(reason) = &row.reason {
        expect::application(&first, "BYPASS", reason);
        expect::application(&site.ask(&row.request()), "BYPASS", reason);
        assert_eq!(memcached.stat("cmd_set"), before);
        assert!(!row.is_stored);
        return;
    }
    let key = row.key.as_ref().unwrap();
    expect::application(&first, "MISS", "absent");
    // A header must not contain 0x7f.
    if !key.contains(&0x7f) {
        let shown = first.header_bytes("X-Key").unwrap_or_default().escape_ascii().to_string();
        assert_eq!(shown, key.escape_ascii().to_string());
    }
    let second = site.ask(&row.request());
    if row.is_stored {
        assert_eq!(memcached.get(key), Some((BYTES, first.body.clone())));
        expect::hit(&second, &first.body);
    } else {
        assert_eq!(memcached.get(key), None);
        expect::application(&second, "MISS", "absent");
    }
    // Nor under another key.
    let stored = memcached.stat("cmd_set") - before;
    assert_eq!(stored, u64::from(row.is_stored));
}

#[test]
fn paths() {
    is_kept(include_str!("../../data/contract/paths.tsv"));
}

#[test]
fn queries() {
    is_kept(include_str!("../../data/contract/queries.tsv"));
}

#[test]
fn ignored_arguments() {
    is_kept(include_str!("../../data/contract/ignored_args.tsv"));
}

#[test]
fn question_marks_that_are_of_the_path() {
    is_kept(include_str!("../../data/contract/question_marks.tsv"));
}

#[test]
fn hosts_and_schemes() {
    is_kept(include_str!("../../data/contract/hosts.tsv"));
}

#[test]
fn cookies() {
    is_kept(include_str!("../../data/contract/cookies.tsv"));
}

/// Since 1.29.6 a comma does not separate cookies.
#[test]
fn commas_in_cookies() {
    is_kept(if parts::nginx_version() < [1, 29, 6] {
        include_str!("../../data/contract/commas_before_1.29.6.tsv")
    } else {
        include_str!("../../data/contract/commas_since_1.29.6.tsv")
    });
}

#[test]
fn long_keys() {
    is_kept(include_str!("../../data/contract/long_keys.tsv"));
}
