//! A site that follows the README exactly. Visitors of both its names, with queries, sessions, messages, cookies
//! and forms, come in a random order: each gets the page that Django renders for them, and many pages come from
//! memcached.

use std::collections::{BTreeMap, HashMap};

use crate::harness::document::replace;
use crate::harness::*;

const VISITORS: usize = 12;
const VISITS: usize = 1_500;

const TARGETS: [&str; 41] = [
    "/",
    "/article/one",
    "/article/one?",
    "/article/gr%C3%B6%C3%9Fe%20%25",
    "/article/a?b=c",
    "/article/a%3Fb=c",
    "/article/a%253Fb=c",
    "/article/../article/./one",
    "//article//one",
    "/list/",
    "/list/?page=1",
    "/list/?page=2",
    "/list/?page=1&page=2",
    "/list/?page=2&page=1",
    "/list/?PAGE=2",
    "/list/?page=1&PAGE=2",
    "/list/?q=zzz&page=2",
    "/list/?q=12&page=2",
    "/list/?page=2&q=12",
    "/list/?q=1%32",
    "/list/?q=1+2",
    "/list/?page=2&utm_source=x",
    "/list/?&",
    "/list/?page=",
    "/list/?page",
    "/list/?page=2;q=12",
    "/list/?pag%65=2",
    "/list?page=2",
    "/news/",
    "/quiet/",
    "/contact/",
    "/editors/",
    "/price/",
    "/language/",
    "/fragment/",
    "/counted/",
    "/dated/",
    "/never/",
    "/data/?a=1&a=2",
    "/missing/",
    LOGIN,
];

/// Pages that show a visitor's messages.
const WITH_MESSAGES: [&str; 2] = ["/news/", "/quiet/"];

/// A page that reads the messages, and shows none.
const LOGIN: &str = "/admin/login/?next=/editors/";

/// Headers that nginx adds, that concern one connection, that change with the time or with the cache, or that
/// depend on the length of a name. `CDN-Cache-Control` says whether this very response may be stored: what was asked for
/// past the cache must not be.
const NOT_COMPARED: [&str; 10] = [
    "Date",
    "Server",
    "Connection",
    "Accept-Ranges",
    "Age",
    "Expires",
    "X-Cache",
    "ETag",
    "Content-Length",
    "CDN-Cache-Control",
];

#[test]
fn nobody_is_served_a_wrong_page() {
    come_and_go(&Followed::start(1, str::to_owned), 1);
}

/// With the README's second block. nginx.org's `uwsgi_params` do not change the visitor's Host header; Debian's do.
#[test]
fn nor_with_two_servers_and_the_host_as_it_was_sent() {
    let without_host = |params: &str| replace(params, "uwsgi_param HTTP_HOST       $host;", "");
    come_and_go(&Followed::start(2, without_host), 2);
}

/// Random numbers from a seed.
struct Dice(std::vec::IntoIter<u8>);

impl Dice {
    fn below(&mut self, sides: usize) -> usize {
        let mut byte = || usize::from(self.0.next().expect("no more numbers"));
        (byte() << 8 | byte()) % sides
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

fn come_and_go(site: &Followed, seed: u64) {
    let mut dice = Dice(bytes::pattern(VISITS * 40, seed).into_iter());
    let mut visitors: Vec<Guest> = (0..VISITORS).map(|nth| Guest::new(site, nth)).collect();
    let mut seen = BTreeMap::new();
    for _ in 0..VISITS {
        let nth = dice.below(VISITORS);
        let visitor = &mut visitors[nth];
        match dice.below(100) {
            0..3 if nth % 3 == 0 => visitor.logs_in(["ada", "bob"][nth / 3 % 2]),
            3..6 => visitor.logs_out(),
            6..11 => visitor.sends_a_form(&mut dice),
            11..13 => visitor.chooses_a_currency(&mut dice),
            13..15 => visitor.asks_under_another_name(&mut dice),
            _ => visitor.looks(&mut dice),
        }
        for what in visitor.seen.drain(..) {
            *seen.entry(what).or_insert(0) += 1;
        }
    }
    println!("{seen:?}");
    for what in [
        "hit of example.com",
        "hit of www.example.com",
        "hit of a query",
        "hit of HEAD",
        "hit of /news/",
        "304 of a hit",
        "a page of Django's",
        "a page for an editor",
        "messages",
        "no answer",
    ] {
        let count = seen.get(what).copied().unwrap_or(0);
        assert!(count >= 5, "{what}: {count} times of {VISITS}");
    }
}

/// A browser with cookies, which remembers pages that have an ETag.
struct Guest<'a> {
    site: &'a Followed,
    nth: usize,
    cookies: BTreeMap<String, String>,
    /// By name and target: ETag and body.
    remembered: HashMap<(&'static str, &'static str), (String, String)>,
    /// The messages that Django has for this visitor.
    waiting: Vec<String>,
    seen: Vec<String>,
}

impl Guest<'_> {
    fn new(site: &Followed, nth: usize) -> Guest<'_> {
        let cookies = BTreeMap::from([("_ga".to_owned(), format!("GA1.{nth}"))]);
        let (remembered, waiting, seen) = (HashMap::new(), Vec::new(), Vec::new());
        Guest { site, nth, cookies, remembered, waiting, seen }
    }

    /// A request of this browser.
    fn request(&self, method: &str, host: &str, target: &str) -> Request {
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        Request::new(method, target)
            .header("Host", host)
            .header("Cookie", cookies.join("; "))
            .header("Accept-Language", ["de", "en-GB, en"][self.nth % 2])
    }

    /// Requests a page in one of the ways in which browsers do.
    fn looks(&mut self, dice: &mut Dice) {
        let name = dice.one_of(&NAMES);
        let target = dice.one_of(&TARGETS);
        let port = self.site.address().port();
        let host = match dice.below(12) {
            0 => name.to_uppercase(),
            1 => format!("{name}:{port}"),
            2 => format!("{name}."),
            _ => name.to_owned(),
        };
        let method = if dice.below(8) == 0 { "HEAD" } else { "GET" };
        let mut request = self.request(method, &host, target);
        if dice.below(5) == 0 {
            request = request.header("HX-Request", "true");
        }
        let condition =
            self.remembered.get(&(name, target)).filter(|_| method == "GET" && dice.below(2) == 0);
        let conditional = condition
            .map(|(etag, body)| (request.clone().header("If-None-Match", etag), body.clone()));
        self.is_given_his_page(name, target, &request, conditional);
    }

    /// Requests a page of the site, and the same page past its cache: the answers are equal.
    fn is_given_his_page(
        &mut self,
        name: &'static str,
        target: &'static str,
        request: &Request,
        conditional: Option<(Request, String)>,
    ) {
        let made = self.site.ask_past_the_cache(request);
        assert!(made.status < 500, "{made:?}");
        let sent = conditional.as_ref().map_or(request, |(request, _)| request);
        let given = self.site.ask(sent);
        let is_hit = given.header("X-Cache").as_deref() == Some("HIT");
        let shown = format!(
            "visitor {} asked\n{}\nand was given\n{given:?}\nbut for him was made\n{made:?}",
            self.nth,
            String::from_utf8_lossy(&sent.head()),
        );
        // A page that is shown to others, too, contains the name as nginx writes it.
        let port = self.site.address().port();
        let of_him = |text: &str| if is_hit { plain(text, port) } else { text.to_owned() };
        let expected = of_him(&body(&made));
        if let (304, Some((_, body))) = (given.status, &conditional) {
            assert_eq!(*body, plain(&expected, port), "{shown}");
        } else {
            assert_eq!(given.status, made.status, "{shown}");
            assert_eq!(without_port(&body(&given), port), without_port(&expected, port), "{shown}");
            assert_eq!(headers(&given), headers(&made), "{shown}");
        }
        self.note(name, target, sent, &given, &expected);
        self.takes_cookies(&given);
        if WITH_MESSAGES.contains(&target) {
            self.finds_his_messages(request.is_head(), &expected, &shown);
        } else {
            assert!(!expected.contains("thanks to"), "{shown}");
        }
        if target == LOGIN && made.status == 200 {
            self.waiting.clear();
        }
        if let (200, Some(etag), false) = (given.status, given.header("ETag"), request.is_head()) {
            self.remembered.insert((name, target), (etag, plain(&expected, port)));
        }
    }

    /// Checks that all waiting messages are shown once. `page` is the page that the visitor got, `shown` the one
    /// that was rendered for them.
    fn finds_his_messages(&mut self, is_head: bool, page: &str, shown: &str) {
        for message in self.waiting.drain(..).filter(|_| !is_head) {
            assert!(page.contains(&message), "no {message}: {shown}");
            self.seen.push("messages".to_owned());
        }
    }

    fn note(&mut self, name: &str, target: &str, sent: &Request, given: &Response, page: &str) {
        let mut note = |what: &str| self.seen.push(what.to_owned());
        if given.header("X-Cache").as_deref() != Some("HIT") {
            note("a page of Django's");
            if page.contains("edit this page") {
                note("a page for an editor");
            }
            return;
        }
        note(&format!("hit of {name}"));
        note(&format!("hit of {target}"));
        for (what, is_it) in [
            ("hit of a query", target.contains('=')),
            ("hit of HEAD", sent.is_head()),
            ("304 of a hit", given.status == 304),
        ] {
            if is_it {
                note(what);
            }
        }
    }

    fn takes_cookies(&mut self, answer: &Response) {
        for (_, value) in
            answer.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("Set-Cookie"))
        {
            let text = String::from_utf8(value.clone()).unwrap();
            let (name, rest) = text.split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            match text.contains("Max-Age=0") {
                true => self.cookies.remove(name),
                false => self.cookies.insert(name.to_owned(), value.to_owned()),
            };
        }
    }

    /// Sends a form that Django accepts, and follows the redirect.
    fn posts(&mut self, page: &'static str, fields: &str) -> String {
        let name = NAMES[self.nth % 2];
        if !self.cookies.contains_key("csrftoken") {
            self.is_given_his_page(name, page, &self.request("GET", name, page), None);
        }
        let body = format!("csrfmiddlewaretoken={}&{fields}", self.cookies["csrftoken"]);
        let request = self
            .request("POST", name, page)
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(body);
        let answer = self.site.ask(&request);
        self.takes_cookies(&answer);
        format!("{} {}", answer.status, answer.header("Location").unwrap_or_default())
    }
    fn logs_in(&mut self, editor: &str) {
        let fields = format!("username={editor}&password={editor}&next=/editors/");
        assert_eq!(self.posts(LOGIN, &fields), "302 /editors/");
        assert!(self.cookies.contains_key("sessionid"));
        self.goes_to("/editors/");
    }

    fn logs_out(&mut self) {
        if self.cookies.contains_key("sessionid") {
            assert!(self.posts("/admin/logout/", "").starts_with("200 "));
            assert!(!self.cookies.contains_key("sessionid"));
            // the next page shows them
            self.waiting.clear();
            self.goes_to("/editors/");
        }
    }

    fn sends_a_form(&mut self, dice: &mut Dice) {
        let name = format!("{}-{}", self.nth, dice.below(1_000));
        let next = dice.one_of(&["/news/", "/quiet/", "/list/?page=2", "/"]);
        let fields = format!("name={name}&next={next}");
        assert_eq!(self.posts("/contact/", &fields), format!("302 {next}"));
        self.waiting.push(format!("thanks to {name}"));
        self.goes_to(next);
    }

    fn chooses_a_currency(&mut self, dice: &mut Dice) {
        self.goes_to(dice.one_of(&["/currency/EUR/", "/currency/CHF/"]));
        self.goes_to("/price/");
    }

    fn goes_to(&mut self, target: &'static str) {
        let name = NAMES[self.nth % 2];
        self.is_given_his_page(name, target, &self.request("GET", name, target), None);
    }

    fn asks_under_another_name(&mut self, dice: &mut Dice) {
        let host = dice.one_of(&[
            "evil.test",
            "example.com.evil.test",
            "example.com@evil.test",
            "127.0.0.1",
            "",
        ]);
        let request = self.request("GET", host, dice.one_of(&TARGETS));
        match Client::connect(self.site.address()).try_ask(&request) {
            Err(Lost::BeforeFirstByte) => {}
            // a name of no site
            Ok(answer) if answer.status == 400 => {}
            other => panic!("{host:?}: {other:?}"),
        }
        self.seen.push("no answer".to_owned());
    }
}

/// The body without the random part of a CSRF token.
fn body(answer: &Response) -> String {
    const TOKEN: &str = "name=\"csrfmiddlewaretoken\" value=\"";
    let text = answer.text();
    let mut parts = text.split(TOKEN);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + TOKEN + part.split_once('"').unwrap().1)
}

/// Replaces other spellings of the site's names.
fn plain(text: &str, port: u16) -> String {
    let text = without_port(text, port).replace("EXAMPLE.COM", "example.com");
    text.replace("WWW.", "www.").replace("example.com.", "example.com")
}

/// nginx's own port is one more way to write the name.
fn without_port(text: &str, port: u16) -> String {
    text.replace(&format!(":{port}"), "")
}

/// The other headers, sorted; of a cookie only its name, since tokens are random.
fn headers(answer: &Response) -> Vec<String> {
    let is_compared = |(name, _): &&(String, Vec<u8>)| {
        !NOT_COMPARED.iter().any(|other| name.eq_ignore_ascii_case(other))
    };
    let text = |(name, value): &(String, Vec<u8>)| {
        let value = value.escape_ascii().to_string();
        let end = if name.eq_ignore_ascii_case("Set-Cookie") { value.find('=') } else { None };
        format!("{name}: {}", &value[..end.unwrap_or(value.len())])
    };
    let mut headers: Vec<String> = answer.headers.iter().filter(is_compared).map(text).collect();
    headers.sort();
    headers
}
