//! Pages that srcache stored: Debian's nginx fills memcached with the application's answers through
//! srcache and memc, and the nginx under test serves the same items as they are.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use crate::harness::*;

const HTML: &str = "text/html; charset=utf-8";
const A_TUESDAY: &str = "Tue, 05 Mar 2024 10:00:00 GMT";

/// The content handler of nginx from which srcache gets an answer.
#[derive(Clone, Copy, PartialEq)]
enum Handler {
    Uwsgi,
    /// HTTP/1.1, in which the application may send chunks.
    Http,
    /// No application: nginx itself, from `/file.html`.
    File,
}

/// A site, and the same application on a socket of its own, to which the test connects directly: its answers
/// there are those that the cache must serve.
struct Filled {
    site: Site,
    application: Application,
    folder: TempDir,
}

fn site() -> Filled {
    let folder = prefix();
    let application = Application::start(folder.path(), Interface::Http, &Writes::default());
    Filled {
        site: plan().location("pagecache_format http; pagecache_ignore_args all;").start(),
        application,
        folder,
    }
}

impl Filled {
    /// The nginx with srcache, with further directives of srcache.
    #[track_caller]
    fn srcache(&self, handler: Handler, directives: &str) -> Srcache {
        let handler = match handler {
            Handler::Uwsgi => {
                format!("include uwsgi_params; uwsgi_pass {};", self.site.application().address())
            }
            Handler::Http => {
                format!("proxy_pass http://{}; proxy_http_version 1.1;", self.application.address())
            }
            Handler::File => format!("root {};", self.folder.path().display()),
        };
        Srcache::beside(&self.site, &format!("{handler} {directives}"))
    }

    /// The answer of the application itself.
    #[track_caller]
    fn sent(&self, target: &str) -> Response {
        Client::connect(self.application.address().parse().unwrap()).get(target)
    }

    /// The value in memcached for a target.
    fn stored(&self, target: &str) -> Option<Vec<u8>> {
        let key = target.split('?').next().unwrap_or_default();
        let (flags, value) = self.site.memcached().link().get(key.as_bytes())?;
        assert_eq!(flags, BYTES);
        Some(value)
    }

    /// A miss first, then srcache stores the answer, then a hit, which equals the application's answer.
    #[track_caller]
    fn is_served_as_it_was_sent(&self, srcache: &Srcache, target: &str) {
        let miss = self.site.get(target);
        expect::because(&miss, "MISS", &["absent"]);
        srcache.get(target);
        self.is_a_hit(target, &self.sent(target), &[]);
    }

    /// The item of `target` is a hit, and equals this answer without the headers that must not be sent again.
    #[track_caller]
    fn is_a_hit(&self, target: &str, sent: &Response, hidden: &[&str]) {
        let asked = self.site.application().count();
        let hit = self.site.get(target);
        assert_eq!(hit.header("X-Cache").as_deref(), Some("HIT"), "{hit:?}");
        assert_eq!(self.site.application().count(), asked);
        assert_eq!(hit.status, sent.status, "{hit:?}");
        assert!(hit.body == sent.body, "{hit:?}\ninstead of {sent:?}");
        assert_eq!(hit.header("Content-Length"), Some(sent.body.len().to_string()), "{hit:?}");
        let expected = headers(sent, &[&NOT_SENT_AGAIN, hidden].concat());
        let added = |name: &&str| !expected.iter().any(|(other, _)| other == name);
        let ours: Vec<&str> = NGINX_S_OWN.into_iter().filter(added).collect();
        assert_eq!(headers(&hit, &ours), expected);
    }
}

/// Headers of the application that concern one connection or one visitor, or that nginx answers for.
const NOT_SENT_AGAIN: [&str; 13] = [
    "accept-ranges",
    "connection",
    "content-length",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "set-cookie",
    "te",
    "trailer",
    "trailers",
    "transfer-encoding",
    "upgrade",
    "x-accel-expires",
];

/// Headers that the nginx under test adds to a hit, including the test's own, unless the application has set them.
const NGINX_S_OWN: [&str; 13] = [
    "accept-ranges",
    "age",
    "connection",
    "content-length",
    "content-type",
    "date",
    "etag",
    "server",
    "x-cache",
    "x-key",
    "x-reason",
    "x-server",
    "x-time",
];

/// The others, in lower case, in the order of their names: nginx writes some of them first.
fn headers(response: &Response, left_out: &[&str]) -> Vec<(String, Vec<u8>)> {
    let mut headers: Vec<_> = response
        .headers
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
        .filter(|(name, _)| !left_out.contains(&name.as_str()))
        .collect();
    // A stable sort: several headers with one name keep their order.
    headers.sort_by(|one, other| one.0.cmp(&other.0));
    headers
}

/// One of the vectors in `tests/data/srcache`.
struct Recorded {
    name: &'static str,
    handler: Handler,
    srcache: &'static str,
    target: String,
}

/// The way in which each vector is made.
fn recorded() -> Vec<Recorded> {
    let html = |name, status| Answer::new(name, status).header("Content-Type", HTML);
    let gzip = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 3, 1, 5, 0, 0xfa, 0xff];
    let gzip = [&gzip[..], b"hello", &[0x86, 0xa6, 0x10, 0x36, 5, 0, 0, 0]].concat();
    let vector = |name, handler, srcache, answer: Answer| Recorded {
        name,
        handler,
        srcache,
        target: answer.target().to_owned(),
    };
    vec![
        // A typical page of Django, for a visitor with a session.
        vector("page", Handler::Uwsgi, "", {
            html("page", 200)
                .header("Last-Modified", A_TUESDAY)
                .header("X-Frame-Options", "DENY")
                .header("Vary", "Cookie")
                .header("Content-Length", "13")
                .header("Set-Cookie", "sessionid=a-visitor")
                .body("<p>hello</p>\n")
        }),
        vector("cookies", Handler::Uwsgi, "srcache_store_pass_header Set-Cookie;", {
            html("cookies", 200)
                .header("Set-Cookie", "sessionid=a-visitor; HttpOnly")
                .header("set-cookie", "csrftoken=a-secret")
                .body("a visitor's page")
        }),
        vector("headers", Handler::Uwsgi, "", {
            html("headers", 200)
                .header("Link", "</a>; rel=preload")
                .header("Vary", "Accept-Language")
                .header("Link", "</b>; rel=preload")
                .header("vary", "Cookie")
                .header("Link", "</a>; rel=preload")
                .header("X-UTF-8", "grüße")
                .header("X-Latin-1", b"gr\xfc\xdfe")
                .header("x-empty", "")
                .header("X-Spaces", "  around  ")
                .header("Date", A_TUESDAY)
                .header("Server", "the application")
                .header("Expires", "Tue, 05 Mar 2030 10:00:00 GMT")
                .header("ETag", "W/\"the application's\"")
                .header("Status", "500 Oops")
                .body("headers")
        }),
        vector("connection", Handler::Uwsgi, "", {
            html("connection", 200)
                .header("Connection", "close")
                .header("Keep-Alive", "timeout=5")
                .header("Upgrade", "h2c")
                .header("TE", "trailers")
                .header("Trailer", "X-T")
                .header("Trailers", "X-T")
                .header("Proxy-Authenticate", "Basic")
                .header("Proxy-Authorization", "Basic YTpi")
                .header("Accept-Ranges", "none")
                .header("X-Accel-Expires", "60")
                .body("connection")
        }),
        vector("chunked", Handler::Http, "", {
            html("chunked", 200)
                .header("Transfer-Encoding", "chunked")
                .header("Trailer", "X-T")
                .body("5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n")
        }),
        vector("empty", Handler::Uwsgi, "", html("empty", 200)),
        vector("redirect", Handler::Uwsgi, "", {
            Answer::new("redirect", 301).header("Location", "/elsewhere?a=b")
        }),
        vector("not-found", Handler::Uwsgi, "srcache_store_statuses 200 301 302 404;", {
            html("not-found", 404).body("<p>no such page</p>")
        }),
        vector("reason", Handler::Uwsgi, "srcache_store_statuses 200 203;", {
            html("reason", 203).reason(b"sch\xf6n HTTP/1.1 200 OK").body("reason")
        }),
        vector("no-content", Handler::Uwsgi, "srcache_store_statuses 200 204;", {
            Answer::new("no-content", 204)
        }),
        vector("gzip", Handler::Uwsgi, "srcache_ignore_content_encoding on;", {
            html("gzip", 200).header("Content-Encoding", "gzip").body(gzip)
        }),
        Recorded {
            name: "file",
            handler: Handler::File,
            srcache: "",
            target: "/file.html".to_owned(),
        },
    ]
}

/// The file that `Recorded::target` of a file requests. nginx makes the ETag from its time and size.
fn write_file(filled: &Filled) {
    let path = filled.folder.path().join("file.html");
    fs::write(&path, "a file\n").unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_709_632_800);
    fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
}

fn vectors() -> PathBuf {
    parts::root().join("tests/data/srcache")
}

/// With `PAGECACHE_RECORD` set, writes the vectors instead of comparing with them.
#[test]
fn what_srcache_stores_is_what_was_recorded() {
    let record = std::env::var_os("PAGECACHE_RECORD").is_some();
    let filled = site();
    write_file(&filled);
    for Recorded { name, handler, srcache, target } in recorded() {
        filled.srcache(handler, srcache).get(&target);
        let stored = filled.stored(&target).unwrap_or_else(|| panic!("{name} was not stored"));
        let vector = vectors().join(format!("{name}.http"));
        if record {
            fs::write(&vector, &stored).unwrap();
        }
        let known = fs::read(&vector).unwrap();
        let (now, then) = (stored.escape_ascii(), known.escape_ascii());
        assert!(stored == known, "{name} is\n{now}\nand was recorded as\n{then}");
    }
    let is_vector = |name: &str| recorded().iter().any(|it| format!("{}.http", it.name) == name);
    for file in fs::read_dir(vectors()).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        assert!(!name.ends_with(".http") || is_vector(&name), "nobody records {name}");
    }
}

#[test]
fn what_was_sent_is_served() {
    let filled = site();
    // nginx sends no answer without a body from a cache; the file is not an answer of the application; and a client
    // that does not accept gzip gets none.
    let others = ["no-content", "file", "gzip"];
    for Recorded { name, handler, srcache, target } in recorded() {
        if !others.contains(&name) {
            println!("{name}");
            filled.is_served_as_it_was_sent(&filled.srcache(handler, srcache), &target);
        }
    }
}

#[test]
fn by_default_srcache_hides_what_is_not_for_others() {
    // If it does not: the page is served without it all the same.
    let filled = site();
    let answer = Answer::new("page", 200)
        .header("Set-Cookie", "a=b")
        .header("Upgrade", "h2c")
        .header("X-Private", "1")
        .body("page");
    let shown = [
        ("", "X-Private: 1"),
        ("srcache_store_hide_header X-Private;", "X-Application"),
        ("srcache_store_pass_header Set-Cookie;", "Set-Cookie: a=b"),
        ("srcache_store_pass_header Upgrade;", "Upgrade: h2c"),
    ];
    for (directive, line) in shown {
        filled.srcache(Handler::Uwsgi, directive).get(answer.target());
        let stored = String::from_utf8(filled.stored(answer.target()).unwrap()).unwrap();
        assert!(stored.contains(line), "{directive}: {stored}");
        assert_eq!(stored.contains("Set-Cookie"), directive.contains("Set-Cookie"), "{stored}");
        assert_eq!(stored.contains("Upgrade"), directive.contains("Upgrade"), "{stored}");
        assert_eq!(stored.contains("X-Private"), !directive.contains("X-Private"), "{stored}");
        let hidden = if directive.contains("X-Private") { &["x-private"][..] } else { &[] };
        filled.is_a_hit(answer.target(), &filled.sent(answer.target()), hidden);
    }
}

#[test]
fn bodies_of_all_sizes_over_both_interfaces() {
    let filled = site();
    for (handler, folder) in [(Handler::Uwsgi, "/big/"), (Handler::Http, "/big/0")] {
        let srcache = filled.srcache(handler, "");
        for size in [0, 1, 4_096, 65_536, 300_000, 3_000_000] {
            // Through another interface it is stored under another key: with a leading 0 it is the same number.
            filled.is_served_as_it_was_sent(&srcache, &format!("{folder}{size}"));
        }
    }
    let srcache = filled.srcache(Handler::Uwsgi, "");
    for body in ["\r\n\r\n", "HTTP/1.1 500 Oops\r\nX-Evil: 1\r\n\r\n", "\n\0\u{ff}"] {
        let name = bytes::sha256(body);
        let answer = Answer::new(&name, 200).header("Content-Type", HTML).body(body);
        filled.is_served_as_it_was_sent(&srcache, answer.target());
    }
}

#[test]
fn gzip_of_the_application() {
    let filled = site();
    let page = "<p>the same line</p>\n".repeat(200);
    let packed = gzip::pack(&page);
    let answer = Answer::new("gzip", 200)
        .header("Content-Type", HTML)
        .header("Content-Encoding", "gzip")
        .header("Vary", "Accept-Encoding")
        .body(&packed);
    let target = answer.target();
    filled.srcache(Handler::Uwsgi, "").get(target);
    assert_eq!(filled.stored(target), None, "by default srcache stores nothing compressed");
    filled.srcache(Handler::Uwsgi, "srcache_ignore_content_encoding on;").get(target);
    let taking = Request::get(target).header("Accept-Encoding", "gzip");
    let hit = filled.site.ask(&taking);
    expect::because(&hit, "HIT", &[""]);
    assert!(hit.body == packed, "{hit:?}");
    assert_eq!(hit.header("Content-Encoding").as_deref(), Some("gzip"));
    assert_eq!(hit.header("Vary").as_deref(), Some("Accept-Encoding"));
    let unpacked = filled.site.get(target);
    expect::because(&unpacked, "HIT", &[""]);
    assert_eq!((unpacked.text(), unpacked.header("Content-Encoding")), (page, None));
    assert_eq!(unpacked.header("Vary").as_deref(), Some("Accept-Encoding"));
}

#[test]
fn a_file_of_nginx_s_own() {
    let filled = site();
    write_file(&filled);
    let sent = filled.srcache(Handler::File, "").get("/file.html");
    assert!(filled.stored("/file.html").unwrap().windows(9).any(|word| word == b"X-SRCache"));
    let hit = filled.site.get("/file.html");
    expect::hit(&hit, "a file\n");
    for name in ["Content-Type", "Last-Modified", "ETag"] {
        assert_eq!(hit.header(name), sent.header(name), "{name}");
    }
    assert_eq!(hit.header("X-SRCache-Allow-Ranges"), None, "srcache's note to itself");
    let part = filled.site.ask(&Request::get("/file.html").header("Range", "bytes=2-5"));
    assert_eq!((part.status, part.text().as_str()), (206, "file"), "{part:?}");
    let since = Request::get("/file.html").header("If-Modified-Since", A_TUESDAY);
    assert_eq!(filled.site.ask(&since).status, 304);
}

#[test]
fn head_as_the_first_request_leaves_no_empty_page() {
    let filled = site();
    let srcache = filled.srcache(Handler::Uwsgi, "srcache_methods GET HEAD POST;");
    let answer = Answer::new("head", 200).header("Content-Type", HTML).body("the page");
    let head = Request::new("HEAD", answer.target());
    assert_eq!(srcache.ask(&head).status, 200);
    assert_eq!(filled.stored(answer.target()), None);
    expect::because(&filled.site.ask(&head), "MISS", &["absent"]);
    assert_eq!(filled.stored(answer.target()), None, "the module stores nothing");
    srcache.get(answer.target());
    let stored = filled.stored(answer.target());
    for _ in 0..2 {
        let hit = filled.site.ask(&head);
        expect::because(&hit, "HIT", &[""]);
        assert_eq!((hit.status, hit.header("Content-Length").as_deref()), (200, Some("8")));
        filled.is_a_hit(answer.target(), &filled.sent(answer.target()), &[]);
    }
    // HEAD does not replace the page in the cache.
    srcache.ask(&head);
    assert_eq!(filled.stored(answer.target()), stored);
}

#[test]
fn what_has_no_body_is_left_to_the_application() {
    let filled = site();
    let srcache = filled.srcache(Handler::Uwsgi, "srcache_store_statuses 200 204 304;");
    for status in [204, 304] {
        let answer = Answer::new(&status.to_string(), status);
        srcache.get(answer.target());
        assert!(filled.stored(answer.target()).is_some(), "{status}");
        let answered = filled.site.get(answer.target());
        assert_eq!(answered.status, status);
        assert_eq!(answered.header("X-Application").as_deref(), Some("django"));
        expect::because(&answered, "MISS", &["format"]);
    }
}

#[test]
fn keys_are_the_same() {
    let filled = site();
    let srcache = filled.srcache(Handler::Uwsgi, "");
    let names =
        ["plain", "a%20b", "a+b", "a%2Bc", "100%25", "%C3%A4", "%E4", "a%3Fb", "a%23b", "%7F"];
    let long = "x".repeat(250 - "/answer/".len());
    for name in names.iter().copied().chain([long.as_str()]) {
        // The body contains the name, so that a page of another key would be noticed.
        let answer = Answer::new(name, 200).header("Content-Type", HTML).body(name);
        filled.is_served_as_it_was_sent(&srcache, answer.target());
    }
}
