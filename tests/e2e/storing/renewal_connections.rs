//! A visitor who has a page renewed keeps his connection for himself: he gets his next responses over it while the application
//! still renders.

use super::application::{Application, Rendered, Way, page, rendered};
use super::site::{Filling, HOST, KEY, is_hit, location, page_at};
use super::stale::cached;
use crate::harness::*;

/// How a page comes to be renewed: directives, its Cache-Control, and the seconds that are left of it then.
const RENEWED: [(&str, &str, u32, &str); 3] = [
    ("", "max-age=600, stale-while-revalidate=600", 300, "STALE"),
    ("pagecache_stale 600s; pagecache_use_stale updating;", "max-age=600", 300, "STALE"),
    ("pagecache_refresh 600s;", "max-age=600", 100, "HIT"),
];

/// Each has another end of the response.
const WAYS: [Way; 5] = [Way::Uwsgi, Way::Chunked, Way::ByClose, Way::FastCgiByRecord, Way::Http11];

/// The next responses over the connection of a visitor whose request has had `/page` renewed, which is held.
#[track_caller]
fn is_free(client: &mut Client, application: &Application, old: &[u8]) {
    // the same page, one that is there, one that is rendered, and a form
    assert_eq!(client.get("/page").body, old);
    is_hit(&client.get("/there"));
    assert_eq!(client.get("/new").status, 200);
    let form = client.ask(&Request::new("POST", "/new").body("a=b"));
    assert_eq!((form.status, form.header("X-Cache").as_deref()), (200, Some("BYPASS")));
    assert_eq!(application.count("/new"), 2);
    // several in one write
    let wire = [Request::get("/page").head(), Request::get("/there").head()].concat();
    client.send(&wire);
    assert_eq!(client.receive(false).unwrap().body, old);
    is_hit(&client.receive(false).unwrap());
    // a condition, and a part
    let part = client.ask(&Request::get("/there").header("Range", "bytes=0-3"));
    assert_eq!((part.status, part.body.len()), (206, 4));
    let head = client.ask(&Request::new("HEAD", "/page"));
    assert_eq!(head.status, 200);
}

#[test]
fn of_pages_that_nginx_stores() {
    for (nth, way) in WAYS.into_iter().enumerate() {
        let (directives, control, left, status) = RENEWED[nth % RENEWED.len()];
        let directives = format!("pagecache_store_unframed on; {directives}");
        let filling = Filling::start(way, &location("/", &directives));
        let key = format!("{HOST}/page");
        let short = |body: &str| rendered(200).header("Cache-Control", control).body(body);
        filling.renders("/page", &short("old"));
        filling.get("/page");
        filling.get("/there");
        filling.wait_for_page_at(&format!("{HOST}/there"));
        filling.wait_for_page_at(&key);
        filling.site.memcached().link().meta(format!("mg {key} T{left}"));
        filling.renders("/page", &short("new").waits());
        let mut client = filling.site.client();
        let answer = client.get("/page");
        cached(&answer, status);
        wait::until("it is being renewed", || filling.application.count("/page") == 2);
        is_free(&mut client, &filling.application, &answer.body);
        // nobody else renews it
        assert_eq!(filling.application.count("/page"), 2, "{way:?} {directives}");
        filling.application.release();
        wait::until("it is renewed", || {
            let answer = client.get("/page");
            assert_eq!(answer.status, 200);
            answer.text() == "new"
        });
        assert_eq!(filling.application.count("/page"), 2, "{way:?} {directives}");
    }
}

/// Renewed ahead, without `pagecache_store`.
#[test]
fn of_pages_that_the_application_stores() {
    let application = Application::start();
    let locations = format!(
        "location / {{
             pagecache_pass pages;
             pagecache_key \"{KEY}\";
             pagecache_fallback @app;
             pagecache_refresh 200s;
         }}
         location @app {{ {} }}",
        application.pass(Way::Uwsgi)
    );
    let plan = plan().without_application().upstream("server @MEMCACHED@;");
    let site = plan.locations(&locations).start();
    let stored = |path: &str, response: Rendered| {
        let response = response.stored(site.memcached(), &format!("{HOST}{path}"), 600);
        application.renders(path, &response);
    };
    stored("/page", page().body("old"));
    stored("/there", page());
    for path in ["/page", "/there"] {
        site.get(path);
        is_hit(&site.get(path));
    }
    site.memcached().link().meta(format!("mg {HOST}/page T100"));
    stored("/page", page().body("new").waits());
    let mut client = site.client();
    is_hit(&client.get("/page"));
    wait::until("it is being renewed", || application.count("/page") == 2);
    is_free(&mut client, &application, b"old");
    application.release();
    wait::until("it is renewed", || client.get("/page").text() == "new");
    assert_eq!(application.count("/page"), 2);
    assert!(page_at(site.memcached(), &format!("{HOST}/page")).is_none(), "nginx has stored it");
}
