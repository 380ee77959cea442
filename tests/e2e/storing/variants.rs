//! Pages that vary (RFC 9111, section 4.1): a variant is only for requests whose selecting headers have the same
//! values.

use super::application::{Application, Rendered, Way, page};
use super::site::{Filling, HOST, filling, is_hit, is_no_hit, location, page_at, plan_for, stores};
use crate::harness::*;

const LANGUAGES: [&str; 4] = ["de", "fr", "de, en;q=0.5", ""];

/// A page that shows the request for which it was rendered.
fn varying(names: &str) -> Rendered {
    page().header("Vary", names).body("render=@RENDER@\n@ECHO@")
}

fn in_language(path: &str, language: &str) -> Request {
    Request::get(path).header("Accept-Language", language)
}

/// Requests a page until it is a hit. `is_own` checks each answer.
#[track_caller]
fn until_hit(site: &Site, request: &Request, is_own: impl Fn(&Response)) -> Response {
    wait::until_some("a hit", wait::LIMIT, || {
        let answer = site.ask(request);
        is_own(&answer);
        (answer.header("X-Cache").as_deref() == Some("HIT")).then_some(answer)
    })
}

#[track_caller]
fn language_is(answer: &Response, language: &str) {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.echoed("HTTP_ACCEPT_LANGUAGE"), language);
}

#[test]
fn each_variant_is_rendered_once_and_is_nobody_else_s() {
    for way in [Way::Uwsgi, Way::Http11, Way::Chunked, Way::FastCgi] {
        let filling = filling(way, "");
        filling.renders("/page", &varying("Accept-Language"));
        let ask = |language: &str| {
            until_hit(&filling.site, &in_language("/page", language), |it| {
                language_is(it, language)
            })
        };
        let first: Vec<String> = LANGUAGES.iter().map(|language| ask(language).text()).collect();
        let without = until_hit(&filling.site, &Request::get("/page"), |answer| {
            assert!(!answer.text().contains("HTTP_ACCEPT_LANGUAGE"), "{answer:?}");
        });
        let count = filling.application.count("/page");
        for _ in 0..2 {
            for (language, first) in LANGUAGES.iter().zip(&first) {
                let again = filling.ask(&in_language("/page", language));
                is_hit(&again);
                assert_eq!(again.text(), *first);
                assert_eq!(again.header("Vary").as_deref(), Some("Accept-Language"));
            }
            let again = filling.get("/page");
            is_hit(&again);
            assert_eq!(again.body, without.body);
        }
        assert_eq!(filling.application.count("/page"), count, "{way:?}");
    }
}

/// RFC 9111, 4.1: normalised in ways that are known to be the same.
#[test]
fn values_that_are_the_same() {
    let filling = filling(Way::Uwsgi, "");
    filling.renders("/page", &varying("accept-language, ACCEPT-ENCODING"));
    let first = until_hit(&filling.site, &in_language("/page", "de, fr"), |_| {});
    for request in [
        in_language("/page", "de,fr"),
        in_language("/page", "de ,\tfr"),
        in_language("/page", "de, fr").header("Accept-Encoding", "br"),
        in_language("/page", "de, fr").header("User-Agent", "another"),
    ] {
        let answer = filling.ask(&request);
        is_hit(&answer);
        assert_eq!(answer.body, first.body);
    }
    is_no_hit(&filling.ask(&in_language("/page", "fr, de")));
}

#[test]
fn several_headers_select() {
    let filling = filling(Way::Uwsgi, "");
    filling.renders("/page", &varying("Accept-Language").header("Vary", "X-Device, Accept"));
    for _ in 0..3 {
        for (language, device) in
            [("de", "phone"), ("de", "desk"), ("fr", "phone"), ("phone", "de")]
        {
            let request = in_language("/page", language).header("X-Device", device);
            let answer = until_hit(&filling.site, &request, |it| language_is(it, language));
            assert_eq!(answer.echoed("HTTP_X_DEVICE"), device);
        }
    }
}

/// The names may change; what was stored under the old ones is nobody's any more.
#[test]
fn other_names_than_before() {
    let filling = filling(Way::Uwsgi, "pagecache_pass_time 1s;");
    let device =
        |language: &str, device: &str| in_language("/page", language).header("X-Device", device);
    filling.renders("/page", &varying("Accept-Language"));
    for language in ["de", "fr"] {
        until_hit(&filling.site, &device(language, "phone"), |it| language_is(it, language));
    }
    // the page changes, and now depends on the device as well: a new variant says so
    filling.renders("/page", &varying("Accept-Language, X-Device"));
    for _ in 0..3 {
        for name in ["phone", "desk"] {
            let own = |answer: &Response| {
                language_is(answer, "es");
                assert_eq!(answer.echoed("HTTP_X_DEVICE"), name, "{answer:?}");
            };
            until_hit(&filling.site, &device("es", name), own);
        }
    }
    // it does not vary any more: it is one page for all
    filling.renders("/page", &page().body("@RENDER@ for all"));
    let mut last = String::new();
    wait::until("one page for all", || {
        let answers = ["it", "pl"].map(|language| filling.ask(&device(language, "phone")));
        last = answers[0].text();
        answers.iter().all(|answer| {
            assert!(answer.text().ends_with(" for all"), "{answer:?}");
            answer.header("X-Cache").as_deref() == Some("HIT") && answer.text() == last
        })
    });
}

/// The item that names the headers, or that of a variant, may be evicted: the others are right.
#[test]
fn items_that_are_lost() {
    let filling = filling(Way::Uwsgi, "");
    filling.renders("/page", &varying("Accept-Language"));
    let ask = |language: &str| {
        until_hit(&filling.site, &in_language("/page", language), |it| language_is(it, language))
    };
    let before = ["de", "fr"].map(|language| ask(language).text());
    // a new generation: the old variants are not those of it
    assert_eq!(filling.site.memcached().link().meta(format!("md {HOST}/page")), "HD");
    let after = ["de", "fr"].map(|language| ask(language).text());
    assert!(before.iter().zip(&after).all(|(before, after)| before != after), "{after:?}");
    filling.site.memcached().link().flush();
    ask("fr");
    ask("de");
}

#[test]
fn conditions_ranges_and_head_are_of_the_variant() {
    let filling = filling(Way::Uwsgi, "");
    for (language, tag) in [("de", "\"german\""), ("fr", "\"french\"")] {
        let response = varying("Accept-Language").header("ETag", tag);
        filling.renders("/page", &response.body(format!("page in {language}")));
        let request = in_language("/page", language);
        until_hit(&filling.site, &request, |it| {
            assert_eq!(it.text(), format!("page in {language}"))
        });
    }
    let ask =
        |name: &str, value: &str| filling.ask(&in_language("/page", "de").header(name, value));
    assert_eq!(ask("If-None-Match", "\"german\"").status, 304);
    assert_eq!(ask("If-None-Match", "\"french\"").text(), "page in de");
    assert_eq!(ask("Range", "bytes=8-").text(), "de");
    let head = filling.ask(&Request::new("HEAD", "/page").header("Accept-Language", "fr"));
    is_hit(&head);
    assert_eq!(head.header("ETag").as_deref(), Some("\"french\""));
}

/// A header that selects a variant may be one of those that take no lease.
#[test]
fn a_variant_of_an_attacker_is_not_stored() {
    let filling = filling(Way::Uwsgi, "");
    filling.renders("/page", &varying("X-Forwarded-Host"));
    let attack = Request::get("/page").header("X-Forwarded-Host", "evil.test");
    let own = until_hit(&filling.site, &Request::get("/page"), |it| {
        assert!(!it.text().contains("evil"), "{it:?}");
    });
    for _ in 0..3 {
        let answer = filling.ask(&attack);
        is_no_hit(&answer);
        assert_eq!(answer.echoed("HTTP_X_FORWARDED_HOST"), "evil.test");
        assert_eq!(filling.get("/page").body, own.body);
    }
    let log = filling.stores("/page", 3);
    assert!(log.contains(&"header".to_owned()), "{log:?}");
}

#[test]
fn a_variant_of_one_nginx_is_served_by_another() {
    let application = Application::start();
    let memcached = Memcached::alone();
    let servers = [(); 3].map(|()| {
        plan_for(&application, Way::Uwsgi, &location("/", "")).store_at(memcached.address()).start()
    });
    application.renders("/page", &varying("Accept-Language"));
    for (nth, language) in LANGUAGES.iter().enumerate() {
        let request = in_language("/page", language);
        let first = until_hit(&servers[nth % 3], &request, |it| language_is(it, language));
        for server in &servers {
            let answer = server.ask(&request);
            is_hit(&answer);
            assert_eq!(answer.body, first.body);
        }
    }
    for server in &servers {
        for store in stores(server, "/page", 1) {
            assert!(["stored", "", "taken"].contains(&store.as_str()), "{store}");
        }
    }
}

/// Each variant's visitors at once, on workers of their own.
#[test]
fn visitors_of_all_variants_at_once() {
    let filling = Filling::start_with(Way::Uwsgi, &location("/", ""), |plan| plan.workers(2));
    let response = varying("Accept-Language").without("Cache-Control");
    filling.renders("/page", &response.header("Cache-Control", "max-age=1"));
    std::thread::scope(|scope| {
        for visitor in 0..8 {
            let filling = &filling;
            scope.spawn(move || {
                let mut client = filling.site.client();
                for turn in 0..300 {
                    let language = format!("x-{}", (visitor + turn) % 5);
                    language_is(&client.ask(&in_language("/page", &language)), &language);
                }
            });
        }
    });
}

/// Whoever finds the item of a page looks for its variant at once: that is stored before.
#[test]
fn a_variant_is_stored_before_the_item_that_leads_to_it() {
    let (gate, memcached) = (Gate::default(), Memcached::alone());
    let application = Application::start();
    let closed = gate.clone();
    // one of two servers takes its time for what it is to store
    let slow = Fake::start(move |lookup| {
        let reply = |line: String| Step::Send(line.into_bytes());
        match lookup.line.get(..3) {
            Some(b"mg ") => vec![Step::Send(lookup.miss())],
            Some(b"ms ") => {
                let opaque = lookup.flags().into_iter().find(|flag| flag.starts_with('O'));
                let stored = format!("HD c1 k{} {}\r\n", lookup.key_text(), opaque.unwrap());
                vec![Step::Wait(closed.clone()), reply(stored)]
            }
            _ => vec![],
        }
    });
    let http = format!(
        "upstream all {{ server {}; server {}; pagecache_distribution rendezvous; }}",
        memcached.address(),
        slow.address()
    );
    let plan = plan_for(&application, Way::Uwsgi, &location("/", "pagecache_pass all;"));
    let site = plan.http(&http).start();
    let sent = || slow.lookups().iter().filter(|it| it.line.starts_with(b"ms %vary:")).count();
    let is_there = |path: &str| page_at(&memcached, &format!("{HOST}{path}")).is_some();
    let path = (0..100).map(|nth| format!("/page{nth}")).find(|path| {
        application.renders(path, &page().header("Vary", "Accept-Language"));
        site.get(path);
        let is_stored = stores(&site, path, 1) == ["stored"];
        wait::until("it is sent", || !is_stored || sent() > 0 || is_there(path));
        sent() > 0
    });
    let path = path.expect("a variant on the slow server");
    // what is sent later is stored
    let mut others = (0..).map(|nth| format!("/other{nth}"));
    wait::until("another page is stored", || {
        let other = others.next().unwrap();
        site.get(&other);
        let is_stored = stores(&site, &other, 1) == ["stored"];
        if is_stored {
            wait::until("it is there", || is_there(&other));
        }
        is_stored
    });
    assert!(!is_there(&path));
    gate.open();
    wait::until("the item of the page is stored", || is_there(&path));
}
