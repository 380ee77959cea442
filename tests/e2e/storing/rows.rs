//! Owns the table of responses: what the application sends, and whether it is stored. "9111" and the like are RFCs,
//! "STORING" is the design of the store: never stored is what it says never to store.

use super::application::{Rendered, page, rendered};

/// One response.
pub struct Row {
    pub name: String,
    /// What the application sends.
    pub response: Rendered,
    /// Headers of both requests.
    pub request: Vec<(&'static str, &'static str)>,
    /// Directives of the location.
    pub directives: &'static str,
    /// Headers that neither visitor gets.
    pub hidden: &'static [&'static str],
    /// Headers that only the first visitor may get.
    pub dropped: &'static [&'static str],
    /// `$pagecache_store_status` of the first request.
    pub expected: &'static str,
}

impl Row {
    fn asked_with(mut self, name: &'static str, value: &'static str) -> Row {
        self.request.push((name, value));
        self
    }

    fn under(self, directives: &'static str) -> Row {
        Row { directives, ..self }
    }

    fn dropping(self, dropped: &'static [&'static str]) -> Row {
        Row { dropped, ..self }
    }

    fn hiding(self, hidden: &'static [&'static str]) -> Row {
        Row { hidden, ..self }
    }
}

fn row(expected: &'static str, name: &str, response: Rendered) -> Row {
    let name = name.to_owned();
    Row { name, response, request: Vec::new(), directives: "", hidden: &[], dropped: &[], expected }
}

fn control(expected: &'static str, value: &'static str) -> Row {
    row(expected, value, rendered(200).header("Cache-Control", value))
}

/// A response that says nothing of its freshness, with this header.
fn with(expected: &'static str, name: &'static str, value: &'static str) -> Row {
    row(expected, &format!("{name}: {value}"), rendered(200).header(name, value))
}

/// A page that may be stored but for this header.
fn but(expected: &'static str, name: &'static str, value: &'static str) -> Row {
    row(expected, &format!("max-age, {name}: {value}"), page().header(name, value))
}

const LATER: &str = "Thu, 01 Jan 2099 00:00:00 GMT";
const EARLIER: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

pub fn rows() -> Vec<Row> {
    let parts = [lifetimes(), headers(), statuses(), codings(), requests(), directives()];
    parts.into_iter().flatten().collect()
}

/// How long a response is fresh.
fn lifetimes() -> Vec<Row> {
    vec![
        // 9111, 4.2.1: max-age, s-maxage, Expires; 5.2: names without case, both forms of a value
        control("stored", "max-age=60"),
        control("stored", "MAX-AGE=60"),
        control("stored", "max-age=\"60\""),
        control("stored", "public, max-age=60, immutable"),
        control("stored", "max-age=60, must-revalidate"),
        control("stored", "ext=\"no-store, private\", max-age=60"),
        // 9111, 5.2.2.10: s-maxage overrides max-age and Expires
        control("stored", "max-age=0, s-maxage=60"),
        but("stored", "Expires", "0"),
        with("stored", "Expires", LATER),
        // 9111, 5.2.2.3: a status that the cache knows
        control("stored", "max-age=60, must-understand"),
        control("stored", "max-age=60, no-store, must-understand"),
        // 9111, 5.4: Pragma has no meaning in responses
        but("stored", "Pragma", "no-cache"),
        // STORING 5: the order of what says a lifetime
        row("stored", "X-Accel-Expires", page().header("X-Accel-Expires", "60"))
            .hiding(&["X-Accel-Expires"]),
        row("stored", "X-Accel-Expires, max-age=0", {
            rendered(200).header("X-Accel-Expires", "60").header("Cache-Control", "max-age=0")
        })
        .hiding(&["X-Accel-Expires"]),
        row("stale", "X-Accel-Expires: 0", page().header("X-Accel-Expires", "0")),
        // 9213, 2.1: the targeted field alone counts
        row("stored", "CDN-Cache-Control", {
            rendered(200)
                .header("CDN-Cache-Control", "max-age=60")
                .header("Cache-Control", "no-store")
        }),
        but("nostore", "CDN-Cache-Control", "no-store"),
        // 9111, 5.3: a list in two fields is one list
        row("stored", "two fields of Cache-Control", {
            rendered(200).header("Cache-Control", "public").header("Cache-Control", "max-age=60")
        }),
        row("private", "two fields of Cache-Control, one private", {
            page().header("Cache-Control", "private")
        }),
        // 9111, 3: without a lifetime
        row("nolifetime", "nothing", rendered(200)),
        control("nolifetime", "public"),
        with("nolifetime", "Last-Modified", EARLIER),
        with("nolifetime", "ETag", "\"a\""),
        // 9111, 5.2.2.5, 5.2.2.7, 5.2.2.4
        control("nostore", "no-store"),
        control("nostore", "max-age=60, no-store"),
        control("nostore", "max-age=60,No-Store"),
        control("private", "max-age=60, private"),
        control("private", "Private, max-age=60"),
        control("private", "private=\"Set-Cookie\", max-age=60"),
        control("nocache", "max-age=60, no-cache"),
        control("nocache", "no-cache=\"X-A\", max-age=60"),
        // 9111, 4.2.1: what is twice or invalid is stale; STORING 5: the conservative reading
        control("stale", "max-age=0"),
        control("stale", "max-age=60, max-age=0"),
        control("stale", "max-age=soon"),
        control("stale", "max-age=-60"),
        control("stale", "s-maxage=0, max-age=60"),
        control("nostore", "max-age=60; public"),
        with("stale", "Expires", EARLIER),
        with("stale", "Expires", "0"),
        with("stale", "Expires", "tomorrow"),
        // 9111, 4.2.3: it is as old as it says, or as its date
        but("stale", "Age", "600"),
        but("stale", "Date", EARLIER),
        but("stored", "Age", "30"),
    ]
}

/// Headers that are kept, and those that are not.
fn headers() -> Vec<Row> {
    vec![
        // 9111, 3.1: all of them are kept
        row("stored", "many headers", {
            page()
                .header("ETag", "\"strong\"")
                .header("Last-Modified", EARLIER)
                .header("Content-Language", "de")
                .header("Content-Disposition", "inline")
                .header("Link", "</a.css>; rel=preload")
                .header("Link", "</b.css>; rel=preload")
                .header("Content-Security-Policy", "default-src 'self'")
                .header("Strict-Transport-Security", "max-age=1")
                .header("Access-Control-Allow-Origin", "*")
                .header("X-Custom", "a")
                .header("X-Custom", "b, c")
                .header("X-Empty", "")
        }),
        but("stored", "Content-Type-Of-Mine", "x"),
        row("stored", "another type", {
            page().without("Content-Type").header("Content-Type", "application/x-a; charset=koi8-r")
        }),
        row("stored", "no type", page().without("Content-Type")),
        row("stored", "every byte", page().body((0..=255).collect::<Vec<u8>>())),
        row("stored", "no body", page().body("")),
        // 9111, 3.1 and 9110, 7.6.1: hop-by-hop headers, and those that Connection names
        row("stored", "hop by hop", page().header("Connection", "X-Hop").header("X-Hop", "1"))
            .dropping(&["X-Hop"]),
        // STORING 5: removed
        row("stored", "tags", page().header("Surrogate-Key", "a b").header("Cache-Tag", "a, b"))
            .hiding(&["Surrogate-Key", "Cache-Tag"]),
        // nginx adds it to the type of this response
        but("stored", "X-Accel-Charset", "koi8-r").hiding(&["X-Accel-Charset"]),
        // STORING 2: stripped from what the application sends
        but("stored", "X-Pagecache", "v=1; life=9999; window=9; ttl=9999; age=0")
            .hiding(&["X-Pagecache"]),
        // 9110, 15 and STORING 5: not stored, and both get theirs
        but("setcookie", "Set-Cookie", "session=1"),
        but("vary", "Vary", "*"),
        but("vary", "Vary", "Accept, *"),
        but("vary", "Vary", "Cookie"),
        but("stored", "Vary", "Accept-Encoding"),
        // STORING 5: streams
        row("stream", "event stream", {
            page().without("Content-Type").header("Content-Type", "text/event-stream")
        }),
        row("stream", "parts that replace each other", {
            let value = "multipart/x-mixed-replace; boundary=x";
            page().without("Content-Type").header("Content-Type", value)
        }),
        row("stream", "X-Accel-Buffering", page().header("X-Accel-Buffering", "no")),
        // a head that a reader would not read as it was
        row("head", "its type is hop by hop", page().header("Connection", "Content-Type")),
        row("head", "more than 100 headers", {
            (0..100).fold(page(), |page, nth| page.header(&format!("X-{nth}"), "x"))
        }),
    ]
}

fn statuses() -> Vec<Row> {
    let explicit = |status| rendered(status).header("Cache-Control", "max-age=60");
    vec![
        // 9111, 3: a final status with explicit freshness
        row("stored", "203", explicit(203)),
        row("stored", "301 to another page", explicit(301).header("Location", "/elsewhere")),
        row("stored", "302 to another page", explicit(302).header("Location", "/login?next=/")),
        row(
            "stored",
            "307 to another site",
            explicit(307).header("Location", "http://other.test/a"),
        ),
        row("stored", "404", explicit(404)),
        row("stored", "410", explicit(410)),
        row("stored", "451", explicit(451)),
        row("stored", "500", explicit(500)),
        row("stored", "204", explicit(204).without("Content-Type").body("")),
        row("stored", "503", explicit(503).header("Retry-After", "60")),
        row("nolifetime", "404 without freshness", rendered(404)),
        row("nolifetime", "500 without freshness", rendered(500)),
        // STORING 5: never
        row("status", "206", explicit(206).header("Content-Range", "bytes 0-15/99")),
        row("status", "304", explicit(304).body("")),
        // 9111, 5.2.2.3: must-understand
        row("status", "must-understand, unknown status", {
            rendered(299).header("Cache-Control", "max-age=60, must-understand")
        }),
        // STORING 4.3: a redirect to the request's own URL but for scheme, slash or host
        row("redirect", "to https", explicit(301).header("Location", "https://site.test/@PATH@")),
        row("redirect", "to another host", explicit(301).header("Location", "//www.test/@PATH@")),
        row("redirect", "to a slash", explicit(308).header("Location", "/@PATH@/")),
        row("redirect", "relative", explicit(302).header("Location", "@PATH@")),
        row("redirect", "with a fragment", explicit(302).header("Location", "/@PATH@#top")),
    ]
}

/// STORING 4.4: gzip, or none.
fn codings() -> Vec<Row> {
    vec![
        but("coding", "Content-Encoding", "br"),
        but("coding", "Content-Encoding", "deflate"),
        but("coding", "Content-Encoding", "zstd"),
        but("coding", "Content-Encoding", "gzip, br"),
        // it says so, but is not
        but("coding", "Content-Encoding", "gzip").asked_with("Accept-Encoding", "gzip"),
        // 9110, 8.8.1: not to be changed
        row("stored", "long, no-transform", {
            let text = format!("@RENDER@{}", "text ".repeat(1000));
            rendered(200).header("Cache-Control", "max-age=60, no-transform").body(text)
        }),
        row("stored", "long", page().body(format!("@RENDER@{}", "text ".repeat(1000)))),
        row("stored", "very long", page().body(format!("@RENDER@{}", "text ".repeat(100_000)))),
        row("toolarge", "long, max_size", page().body("0123456789 ".repeat(1000)))
            .under("pagecache_store_max_size 1k; pagecache_store_gzip off;"),
    ]
}

/// What the request has to do with it.
fn requests() -> Vec<Row> {
    vec![
        // 9111, 3.5, and STORING 4: no lease
        row("personal", "Authorization", page()).asked_with("Authorization", "Basic eDp5"),
        control("personal", "public, max-age=60").asked_with("Authorization", "Basic eDp5"),
        row("personal", "Range", page()).asked_with("Range", "bytes=0-3"),
        row("stream", "Accept", page()).asked_with("Accept", "text/event-stream"),
        row("stream", "Upgrade", page()).asked_with("Upgrade", "websocket"),
        row("header", "X-Forwarded-Host", page()).asked_with("X-Forwarded-Host", "evil.test"),
        // STORING 4.6: on explicit freshness only
        row("stored", "Cookie, explicit", page()).asked_with("Cookie", "a=b"),
        row("cookie", "Cookie, pagecache_valid", rendered(200))
            .asked_with("Cookie", "a=b")
            .under("pagecache_valid 60s;"),
        row("stored", "Cookie ignored", rendered(200))
            .asked_with("Cookie", "a=b")
            .under("pagecache_valid 60s; pagecache_ignore_cookies on;"),
        but("stored", "Vary", "cookie")
            .asked_with("Cookie", "a=b")
            .under("pagecache_ignore_cookies on;"),
        // STORING 5: a visitor's own Cache-Control is not obeyed
        row("stored", "no-cache of a visitor", page()).asked_with("Cache-Control", "no-cache"),
        row("stored", "no-store of a visitor", page()).asked_with("Cache-Control", "no-store"),
        row("stored", "Pragma of a visitor", page()).asked_with("Pragma", "no-cache"),
    ]
}

/// STORING 10.
fn directives() -> Vec<Row> {
    vec![
        row("stored", "pagecache_valid", rendered(200)).under("pagecache_valid 60s;"),
        row("stored", "pagecache_valid of a status", rendered(404))
            .under("pagecache_valid 404 60s;"),
        row("nolifetime", "of another status", rendered(200)).under("pagecache_valid 404 60s;"),
        // as proxy_cache_valid: a time alone is for 200, 301 and 302, so that no failure is stored
        row("nolifetime", "pagecache_valid, 500", rendered(500)).under("pagecache_valid 60s;"),
        row("nolifetime", "pagecache_valid, 404", rendered(404)).under("pagecache_valid 60s;"),
        row("nolifetime", "pagecache_valid, 400", rendered(400)).under("pagecache_valid 60s;"),
        row("stored", "pagecache_valid, 302", rendered(302).header("Location", "/elsewhere"))
            .under("pagecache_valid 60s;"),
        control("nostore", "no-store").under("pagecache_valid 60s;"),
        with("setcookie", "Set-Cookie", "a=b").under("pagecache_valid 60s;"),
        row("condition", "pagecache_no_store", page()).under("pagecache_no_store \"\" 0 1;"),
        row("stored", "pagecache_no_store 0", page()).under("pagecache_no_store \"\" 0;"),
        but("stored", "Set-Cookie", "session=1")
            .under("pagecache_ignore_headers Set-Cookie;")
            .hiding(&["Set-Cookie"]),
        but("stored", "Vary", "Cookie").under("pagecache_ignore_headers Vary;"),
        control("stored", "private, no-store")
            .under("pagecache_ignore_headers Cache-Control; pagecache_valid 60s;"),
        with("stored", "Expires", "0")
            .under("pagecache_ignore_headers Expires; pagecache_valid 60s;"),
        row("stored", "X-Accel-Expires ignored", page().header("X-Accel-Expires", "0"))
            .under("pagecache_ignore_headers X-Accel-Expires;"),
        with("stored", "Last-Modified", EARLIER).under("pagecache_heuristic 10;"),
        row("nolifetime", "302, heuristic", {
            rendered(302).header("Location", "/elsewhere").header("Last-Modified", EARLIER)
        })
        .under("pagecache_heuristic 10;"),
    ]
}
