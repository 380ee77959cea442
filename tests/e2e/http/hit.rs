//! Hits: pages that Django stored are served byte for byte, at every size, with the right headers; other values are
//! never served.

use std::io::Read;
use std::net::TcpStream;

use crate::harness::*;

#[test]
fn the_first_get_renders_and_the_second_is_a_hit() {
    let site = plan().storing().start();
    let rendered = site.get("/artikel/");
    expect::application(&rendered, "MISS", "absent");
    assert_eq!(rendered.echoed("render"), "1");

    let mut client = site.client();
    for _ in 0..3 {
        let hit = client.get("/artikel/");
        expect::hit(&hit, &rendered.body);
        assert_eq!(hit.header("Content-Type"), rendered.header("Content-Type"));
        assert_eq!(hit.header("Content-Type").as_deref(), Some("text/html; charset=utf-8"));
    }
    assert_eq!(site.application().count(), 1);
    assert_eq!(site.memcached().link().get(b"/artikel/"), Some((BYTES, rendered.body)));
}

#[test]
fn a_decorated_view_is_a_hit_and_its_neighbour_is_not() {
    let site = plan().start();
    let rendered = site.get("/stored/page");
    expect::application(&rendered, "MISS", "absent");
    expect::hit(&site.get("/stored/page"), &rendered.body);
    for _ in 0..2 {
        expect::application(&site.get("/not-stored"), "MISS", "absent");
    }
    assert_eq!(site.application().count(), 3);
}

#[test]
fn a_hit_has_the_content_type_of_the_page_that_django_rendered() {
    for content_type in ["text/plain; charset=utf-8", "application/json"] {
        let site = plan().storing().content_type(content_type).start();
        let rendered = site.get("/page");
        assert_eq!(rendered.header("Content-Type").as_deref(), Some(content_type));
        let hit = site.get("/page");
        expect::hit(&hit, &rendered.body);
        assert_eq!(hit.header("Content-Type").as_deref(), Some(content_type));
    }
}

#[test]
fn the_content_type_comes_from_types_before_default_type() {
    let site = plan().without_application().start();
    for (path, content_type) in [
        ("/data.json", "application/json"),
        ("/feed.xml", "application/xml"),
        ("/page", "text/html; charset=utf-8"),
    ] {
        site.memcached().set(path, "{}", BYTES);
        let hit = site.get(path);
        expect::hit(&hit, "{}");
        assert_eq!(hit.header("Content-Type").as_deref(), Some(content_type), "{path}");
    }
}

#[test]
fn values_of_all_sizes_come_back_whole() {
    // One byte around each power of two that a buffer may have, up to memcached's largest value by default.
    let edges = (6..=20).map(|power| 1 << power).flat_map(|edge: usize| [edge - 1, edge, edge + 1]);
    let sizes: Vec<usize> =
        [1, 2, 100, 20_000, 200_000, 1_000_000, 1_048_000].into_iter().chain(edges).collect();
    let site = plan().without_application().start();
    let mut client = site.client();
    for (seed, &size) in (0..).zip(&sizes) {
        let value = bytes::pattern(size, seed);
        site.memcached().set(&format!("/{size}"), &value, BYTES);
        // Twice: on a connection to memcached that has just carried another size, and the same one.
        expect::hit(&client.get(format!("/{size}")), &value);
        expect::hit(&client.get(format!("/{size}")), &value);
    }
}

#[test]
fn large_and_small_values_asked_for_at_once_do_not_mix() {
    let site = plan().without_application().start();
    let sizes = [1, 1_048_000, 100, 70_000, 2, 300_000, 16_384, 9];
    let values: Vec<Vec<u8>> =
        (0..).zip(sizes).map(|(seed, size)| bytes::pattern(size, seed)).collect();
    for (nth, value) in values.iter().enumerate() {
        site.memcached().set(&format!("/{nth}"), value, BYTES);
    }
    std::thread::scope(|scope| {
        for first in 0..values.len() {
            let (site, values) = (&site, &values);
            scope.spawn(move || {
                let mut client = site.client();
                for round in 0..10 {
                    let nth = (first + round) % values.len();
                    expect::hit(&client.get(format!("/{nth}")), &values[nth]);
                }
            });
        }
    });
}

#[test]
fn a_value_that_looks_like_the_protocol_is_only_a_value() {
    let site = plan().without_application().start();
    let mut client = site.client();
    for (nth, value) in [
        "\r\n",
        "\r\nEN\r\n",
        "END\r\nVALUE /x 0 1\r\nx\r\nEND\r\n",
        "VA 2 f0 s2 k/0 O1\r\nhi\r\n",
        "HTTP/1.1 500 Oops\r\nSet-Cookie: a=b\r\n\r\nbody",
        "SERVER_ERROR out of memory\r\n",
    ]
    .into_iter()
    .enumerate()
    {
        site.memcached().set(&format!("/{nth}"), value, BYTES);
        let hit = client.get(format!("/{nth}"));
        expect::hit(&hit, value);
        assert_eq!(hit.header("Set-Cookie"), None);
    }
}

#[test]
fn a_page_that_is_written_again_is_served_anew() {
    let site = plan().without_application().start();
    let mut client = site.client();
    for version in ["first", "second, longer", "3"] {
        site.memcached().set("/page", version, TEXT);
        expect::hit(&client.get("/page"), version);
    }
}

#[test]
fn a_client_that_reads_slowly_gets_its_page_and_delays_nobody() {
    let site = plan().without_application().start();
    let value = bytes::pattern(1_048_000, 1);
    site.memcached().set("/large", &value, BYTES);
    site.memcached().set("/small", "small", BYTES);

    // Nothing is read before the others have been served: the bytes that do not fit into the sockets wait in nginx.
    let mut slow = TcpStream::connect(site.nginx.address()).unwrap();
    let request = Request::get("/large").header("Connection", "close");
    std::io::Write::write_all(&mut slow, &request.head()).unwrap();
    let mut client = site.client();
    for _ in 0..50 {
        expect::hit(&client.get("/small"), "small");
        expect::hit(&client.get("/large"), &value);
    }
    let mut answer = Vec::new();
    slow.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
    assert!(answer.ends_with(&value), "{} bytes came", answer.len());
}

#[test]
fn a_pickled_safestring_is_not_served() {
    let site = plan().start();
    for _ in 0..2 {
        site.get("/safestring/x");
    }
    let (flags, value) = site.memcached().link().get(b"/safestring/x").unwrap();
    assert_eq!(flags, PICKLE);
    assert!(value.starts_with(b"\x80\x05"), "no pickle: {}", value.escape_ascii());

    let answer = site.get("/safestring/x");
    expect::application(&answer, "MISS", "flags");
    assert_eq!(answer.text(), "<p>x</p>");
    assert_eq!(site.application().count(), 3);
}

#[test]
fn bytes_and_text_are_pages_and_other_flags_are_not() {
    let site = plan().start();
    let mut client = site.client();
    for flags in [BYTES, TEXT] {
        site.memcached().set("/page", "page", flags);
        expect::hit(&client.get("/page"), "page");
    }
    // The flags of values other than pages in clients, and 16 with one more bit.
    for flags in [1, 2, 4, 5, 8, 17, 24, 48, 80, 65_536, u32::MAX] {
        site.memcached().set("/page", "page", flags);
        expect::application(&client.get("/page"), "MISS", "flags");
    }
}

#[test]
fn pagecache_flags_says_which_flags_are_pages() {
    let site = plan().location("pagecache_flags 4 4294967295;").start();
    let mut client = site.client();
    for flags in [4, u32::MAX] {
        site.memcached().set("/page", "page", flags);
        expect::hit(&client.get("/page"), "page");
    }
    for flags in [BYTES, TEXT, 5] {
        site.memcached().set("/page", "page", flags);
        expect::application(&client.get("/page"), "MISS", "flags");
    }
}

#[test]
fn pagecache_flags_any_takes_all() {
    let site = plan().without_application().location("pagecache_flags any;").start();
    for flags in [BYTES, PICKLE, TEXT, u32::MAX] {
        site.memcached().set("/page", "page", flags);
        expect::hit(&site.get("/page"), "page");
    }
}
