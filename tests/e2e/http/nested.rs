//! Locations within a cached location: each has its own handler, as with every `*_pass`.

use crate::harness::*;

#[test]
fn a_location_within_a_cached_one_is_not_cached() {
    let site =
        plan().without_application().location("location /page/plain { return 200 plain; }").start();
    for page in ["/page", "/page/plain"] {
        site.memcached().set(page, "the page", BYTES);
    }
    expect::hit(&site.get("/page"), "the page");
    let plain = site.get("/page/plain");
    assert_eq!((plain.text().as_str(), plain.header("X-Cache")), ("plain", None), "{plain:?}");
}

#[test]
fn a_location_within_a_cached_one_needs_no_fallback_of_its_own() {
    let inner = "location /plain { pagecache_fallback @nobody; return 200 plain; }";
    let checked = plan().without_application().location(inner).check();
    assert!(checked.passed, "{}", checked.output);
}

#[test]
fn limit_except_within_it_leaves_other_methods_to_their_own_module() {
    let site = plan()
        .without_application()
        .location(
            "location /dav/ {
                 root @PREFIX@;
                 dav_methods PUT;
                 create_full_put_path on;
                 limit_except GET { allow all; }
             }",
        )
        .start();
    let put = site.ask(&Request::new("PUT", "/dav/file").body("content"));
    assert_eq!(put.status, 201, "{put:?}");
}
