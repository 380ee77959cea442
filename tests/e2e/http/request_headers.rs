//! `X-Pagecache-Status` and `X-Pagecache-Key` of requests: headers that clients send under these names reach no
//! application, and a request that falls through has its own, once.

use crate::harness::*;

/// Names that some application mistakes for one of the two.
const FORGED: [&str; 6] = [
    "X-Pagecache-Status",
    "x-pagecache-key",
    "X_Pagecache_Status",
    "X.Pagecache.Key",
    "X-PAGECACHE_KEY",
    "x!pagecache~status",
];

/// Makes nginx accept names of all kinds.
const ANY_NAMES: &str = "underscores_in_headers on; ignore_invalid_headers off;";

/// The headers that the application received, with names as it would read them.
#[track_caller]
fn told(answer: &Response) -> Vec<String> {
    assert_eq!(answer.status, 200, "{answer:?}");
    told_in(&answer.text())
}

fn told_in(text: &str) -> Vec<String> {
    let as_cgi = |name: &str| -> String {
        let fold = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        let name: String = name.chars().map(fold).collect();
        name.strip_prefix("HTTP_").unwrap_or(&name).to_owned()
    };
    let pairs = text.lines().filter_map(|line| line.split_once(": "));
    let all = pairs.map(|(name, value)| format!("{}={value}", as_cgi(name)));
    all.filter(|line| line.starts_with("X_PAGECACHE_")).collect()
}

fn told_of(status: &str, key: &str) -> [String; 2] {
    [format!("X_PAGECACHE_STATUS={status}"), format!("X_PAGECACHE_KEY={key}")]
}

const FALLBACK: &str = "pagecache_fallback @echo;";

/// A site that passes everything except pages of memcached to `echo`. `text` is for `location /`.
fn site_before(echo: &Echo, text: &str) -> Plan {
    let echo = echo.address();
    plan().without_application().content_type("text/html").locations(&format!(
        "location / {{
             pagecache_key  $uri;
             pagecache_pass @MEMCACHED@;
             {text}
         }}
         location @echo   {{ proxy_pass http://{echo}; }}
         location /plain/ {{ proxy_pass http://{echo}; }}"
    ))
}

#[test]
fn a_request_that_falls_through_tells_status_and_key() {
    let echo = Echo::start(Protocol::Http);
    let fake = Fake::start(|lookup| match lookup.key() {
        b"/error" => vec![Step::Send(b"SERVER_ERROR out of memory\r\n".to_vec())],
        _ => vec![Step::Send(lookup.miss())],
    });
    let by_location = "error_page 404 405 502 = /plain/;";
    for way in [FALLBACK, "error_page 404 405 502 = @echo;", by_location] {
        let text = format!("pagecache_bypass $arg_fresh; pagecache_ignore_args a; {way}");
        let site = site_before(&echo, &text).store_at(fake.address()).start();
        assert_eq!(told(&site.get("/page?a=b")), told_of("MISS", "/page"), "{way}");
        assert_eq!(told(&site.get("/error")), told_of("ERROR", "/error"), "{way}");
        for request in [Request::new("POST", "/page"), Request::get("/page?fresh=1")] {
            assert_eq!(told(&site.ask(&request)), ["X_PAGECACHE_STATUS=BYPASS"], "{way}");
        }
    }
}

#[test]
fn each_kind_of_application_is_told() {
    for (protocol, pass) in [
        (Protocol::Http, "proxy_pass http://"),
        (Protocol::Uwsgi, "uwsgi_pass "),
        (Protocol::FastCgi, "fastcgi_pass "),
        (Protocol::Scgi, "scgi_pass "),
    ] {
        let echo = Echo::start(protocol);
        let text = format!("location @by_protocol {{ {pass}{}; }}", echo.address());
        let site = site_before(&echo, "pagecache_fallback @by_protocol;").server(&text).start();
        assert_eq!(told(&site.get("/page")), told_of("MISS", "/page"), "{protocol:?}");
    }
}

/// An application that stores pages renders and stores the successor of a stale page as any other one.
#[test]
fn a_page_that_has_expired_is_a_miss_for_the_application() {
    let echo = Echo::start(Protocol::Uwsgi);
    // as the reference of the directives has it
    let explicitly = "uwsgi_pass_request_headers off;
        uwsgi_param HTTP_X_PAGECACHE_STATUS $http_x_pagecache_status;
        uwsgi_param HTTP_X_PAGECACHE_KEY    $http_x_pagecache_key;";
    for directives in ["", explicitly] {
        let text = format!("location @uwsgi {{ {directives} uwsgi_pass {}; }}", echo.address());
        let site = site_before(&echo, "pagecache_fallback @uwsgi;").server(&text).start();
        let mut client = site.memcached().link();
        client.set(b"/page", b"the page", BYTES);
        assert_eq!(client.meta("md /page I T60"), "HD");
        let forged = Request::get("/page").header("X-Pagecache-Status", "BYPASS");
        let answer = site.ask(&forged);
        assert_eq!(told(&answer), told_of("MISS", "/page"), "{directives}");
        expect::because(&answer, "EXPIRED", &["stale"]);
        let absent = site.ask(&forged.header("X-Pagecache-Key", "/other"));
        assert_eq!(told(&absent), told_of("MISS", "/page"));
    }
}

#[test]
fn an_application_that_speaks_grpc_is_told() {
    let http = "
        server {
            listen @LISTEN@ http2;
            return 200 \"x-pagecache-status: $http_x_pagecache_status\\n\
                         x-pagecache-key: $http_x_pagecache_key\\n\";
        }";
    let application = Bare::start("", http, &[]);
    let text = format!("location @grpc {{ grpc_pass grpc://{}; }}", application.address());
    let echo = Echo::start(Protocol::Http);
    let site = site_before(&echo, "pagecache_fallback @grpc;").server(&text).start();
    assert_eq!(told(&site.get("/page")), told_of("MISS", "/page"));
}

/// A request with the headers `names`, and others between, before and after them.
fn with_headers(target: &str, names: &[&str], others: usize) -> Request {
    let mut request = Request::get(target).header("Cookie", "a=b");
    for (nth, name) in names.iter().enumerate() {
        request = request.header(name, format!("forged{nth}"));
        for other in 0..others {
            request = request.header(&format!("X-Other-{nth}-{other}"), format!("{nth}.{other}"));
        }
    }
    request
}

#[test]
fn what_a_client_sends_reaches_no_application() {
    let echo = Echo::start(Protocol::Http);
    let elsewhere = format!(
        "server {{ listen unix:@PREFIX@/other.sock; {ANY_NAMES} \
                   location / {{ proxy_pass http://{}; }} }}",
        echo.address()
    );
    let site = site_before(&echo, FALLBACK).server(ANY_NAMES).http(&elsewhere).start();
    let mut client = site.client();
    // nginx keeps headers in parts of 20: these fill one to many parts, in all positions
    for others in [0, 1, 3, 10, 19, 20, 21] {
        let expected = with_headers("/", &FORGED, others);
        let expected = String::from_utf8_lossy(&expected.head()).into_owned();
        let expected: Vec<&str> = expected.lines().filter(|l| l.starts_with("X-Other")).collect();
        for (target, told_then) in
            [("/page", told_of("MISS", "/page").to_vec()), ("/plain/page", Vec::new())]
        {
            let answer = client.ask(&with_headers(target, &FORGED, others));
            assert_eq!(told(&answer), told_then, "{others}");
            let text = answer.text();
            let passed: Vec<&str> = text.lines().filter(|l| l.starts_with("X-Other")).collect();
            assert_eq!(passed, expected);
            assert!(text.contains("Cookie: a=b\n"), "{text}");
        }
    }
    let socket = site.prefix().join("other.sock").display().to_string();
    let mut arguments = vec!["--unix-socket", &socket, "http://site.test/page"];
    let headers = FORGED.map(|name| format!("{name}: forged"));
    arguments.extend(headers.iter().flat_map(|header| ["--header", header]));
    let answer = curl(&site, &arguments);
    assert_eq!(told_in(&String::from_utf8_lossy(&answer)), [""; 0]);
}

#[test]
fn what_a_client_sends_by_http2_reaches_no_application() {
    let echo = Echo::start(Protocol::Http);
    let site = site_before(&echo, FALLBACK).server(ANY_NAMES).start();
    let headers = FORGED.map(|name| format!("{name}: forged"));
    for (target, told_then) in
        [("/page", told_of("MISS", "/page").to_vec()), ("/plain/page", Vec::new())]
    {
        let url = site.http2_url(target);
        let mut arguments = vec!["--http2-prior-knowledge", &url, "--header", "x-other: 1"];
        arguments.extend(headers.iter().flat_map(|header| ["--header", header]));
        let answer = String::from_utf8_lossy(&curl(&site, &arguments)).into_owned();
        assert_eq!(told_in(&answer), told_then, "{answer}");
        assert!(answer.contains("x-other: 1\n"), "{answer}");
    }
}

/// `error_page` is then the first location of the request.
#[test]
fn nor_does_it_with_a_request_that_nginx_refuses() {
    let echo = Echo::start(Protocol::Http);
    for way in ["error_page 400 = @echo;", "error_page 400 = /plain/;", "error_page 400 = /page;"] {
        let site = site_before(&echo, FALLBACK).server(way).start();
        let mut client = site.client();
        client.send(b"GET /plain/ HTTP/1.1\r\nX-Pagecache-Status: MISS\r\nX-Other: 1\r\n\r\n");
        let answer = client.receive(false).unwrap();
        assert!(answer.text().contains("X-Other: 1\n"), "{answer:?}");
        let told_then =
            if way.contains("/page") { told_of("MISS", "/page").to_vec() } else { Vec::new() };
        assert_eq!(told(&answer), told_then, "{way}");
    }
}

/// Before nginx has read a header it has no list of them.
#[test]
fn a_request_without_a_list_of_headers_falls_through() {
    let echo = Echo::start(Protocol::Http);
    let site = site_before(&echo, FALLBACK).server("error_page 505 = /page;").start();
    let mut client = site.client();
    client.send(b"GET / HTTP/7.0\r\n\r\n");
    assert_eq!(told(&client.receive(false).unwrap()), told_of("MISS", "/page"));
}

#[test]
fn a_request_that_falls_through_twice_tells_of_the_second_lookup() {
    let echo = Echo::start(Protocol::Http);
    for (text, told_then) in [
        ("", told_of("MISS", "second:/page").to_vec()),
        ("pagecache_bypass 1;", vec!["X_PAGECACHE_STATUS=BYPASS".to_owned()]),
        ("pagecache_request_headers off;", Vec::new()),
    ] {
        let second = format!(
            "location @second {{
                 pagecache_key      second:$uri;
                 pagecache_pass     @MEMCACHED@;
                 pagecache_fallback @echo;
                 {text}
             }}"
        );
        let site = site_before(&echo, "pagecache_fallback @second;").server(&second).start();
        assert_eq!(told(&site.get("/page")), told_then, "{text}");
    }
}

/// The request for a page and those for its parts share headers.
#[test]
fn each_subrequest_tells_of_its_own_lookup() {
    let echo = Echo::start(Protocol::Http);
    let page = format!(
        "location = /page {{
             pagecache_key      $uri;
             pagecache_pass     @MEMCACHED@;
             pagecache_fallback @page;
         }}
         location @page {{ ssi on; proxy_pass http://{}; }}",
        echo.address()
    );
    let site = site_before(&echo, FALLBACK).server(&page).start();
    // the application sends this back among the other headers, and nginx then includes the parts
    let parts = "<!--# include virtual=\"/part1\" --> <!--# include virtual=\"/plain/part\" --> \
                 <!--# include virtual=\"/part2\" -->";
    let request = Request::get("/page")
        .header("X-Pagecache-Key", "forged")
        .header("X-Parts", parts)
        .header("X-Behind", "1");
    let answer = site.ask(&request);
    // the part that was not looked up has no such headers
    let mut expected = ["/page", "/part1", "/part2"].map(|key| told_of("MISS", key)).concat();
    let mut all = told(&answer);
    expected.sort();
    all.sort();
    assert_eq!(all, expected, "{}", answer.text());
    // of the page and of three parts
    assert_eq!(answer.text().matches("X-Behind: 1\n").count(), 4, "{}", answer.text());
}

#[test]
fn off_adds_none_and_removes_what_clients_send() {
    let echo = Echo::start(Protocol::Http);
    let site = site_before(&echo, &format!("{FALLBACK} pagecache_request_headers off;")).start();
    let answer = site.ask(&Request::get("/page").header("X-Pagecache-Status", "MISS"));
    assert_eq!(told(&answer), [""; 0]);
    assert_eq!(site.nginx.access_log(1)[0].status, "MISS");
}

#[test]
fn without_a_lookup_anywhere_headers_are_none_of_its_business() {
    let echo = Echo::start(Protocol::Http);
    let location = format!("location / {{ proxy_pass http://{}; }}", echo.address());
    let site = plan().without_application().locations(&location).start();
    let answer = site.ask(&Request::get("/page").header("X-Pagecache-Status", "MISS"));
    assert_eq!(told(&answer), ["X_PAGECACHE_STATUS=MISS"]);
}

#[test]
fn the_key_is_told_as_it_was_sent() {
    let echo = Echo::start(Protocol::Http);
    let site = site_before(&echo, FALLBACK).start();
    assert_eq!(told(&site.get("/a%20%C3%A4%25")), told_of("MISS", "/a%20ä%25"));
    let long = "/".to_owned() + &"a".repeat(300);
    assert_eq!(
        told(&site.get(&long)),
        told_of("MISS", &format!("%sha256:{}", bytes::sha256(&long)))
    );
    // a header must not contain this byte
    assert_eq!(told(&site.get("/a%7F")), ["X_PAGECACHE_STATUS=MISS"]);
}

/// Other modules find them by name, like a client's headers.
#[test]
fn a_configuration_can_replace_them() {
    let echo = Echo::start(Protocol::Http);
    let named = format!(
        "location @replaced {{
             proxy_set_header X-Pagecache-Status $http_x_pagecache_status/$http_x_pagecache_key;
             proxy_set_header X-Pagecache-Key    \"\";
             proxy_pass http://{};
         }}",
        echo.address()
    );
    let site = site_before(&echo, "pagecache_fallback @replaced;").server(&named).start();
    assert_eq!(told(&site.get("/page")), ["X_PAGECACHE_STATUS=MISS//page"]);
}
