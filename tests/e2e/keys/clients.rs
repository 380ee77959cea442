//! Client libraries of other languages: each stores 1,000 pages on five servers, and nginx, with the same servers
//! and the client's rule, finds all of them; with another rule it finds some by chance.

use crate::harness::*;

const PAGES: usize = 1_000;
const SERVERS: usize = 5;

/// The weights of the servers, `None` without any; each entry is a run of its own.
type Weights = Option<[u32; SERVERS]>;
const EQUAL: &[Weights] = &[None];
const EITHER: &[Weights] = &[None, Some([1, 3, 1, 2, 1])];

/// Each line is a test: a writer of `tests/clients/` with its mode, the weights of its servers, the rule by which
/// nginx finds its pages, and a wrong rule that a site could confuse with it.
macro_rules! each_is_found {
    ($($name:ident: $language:ident $writer:literal $weights:ident $rule:literal $other:literal;)*) => {
        $(
            #[test]
            fn $name() {
                for weights in $weights {
                    all_are_found(Language::$language, $writer, *weights, $rule, $other);
                }
            }
        )*
    };
}

each_is_found! {
    django_with_several_locations: Django  "django_pymemcache.py"             EQUAL   "rendezvous"       "modula";
    pylibmc:                       Python  "pylibmc_modes.py default"         EQUAL   "modula"           "crc32";
    pylibmc_crc:                   Python  "pylibmc_modes.py crc"             EQUAL   "crc32"            "modula";
    pylibmc_ketama:                Python  "pylibmc_modes.py ketama"          EITHER  "ketama"           "ketama_weighted";
    pylibmc_ketama_weighted:       Python  "pylibmc_modes.py ketama_weighted" EITHER  "ketama_weighted"  "ketama";
    python_memcached:              Python  "python_memcached.py"              EITHER  "crc32"            "nginx_consistent";
    php_memcached:                 Php     "php_memcached.php default"        EQUAL   "modula"           "crc32";
    php_memcached_crc:             Php     "php_memcached.php crc"            EQUAL   "crc32"            "modula";
    php_memcached_consistent:      Php     "php_memcached.php consistent"     EITHER  "ketama"           "ketama_weighted";
    php_memcached_ketama:          Php     "php_memcached.php ketama"         EITHER  "ketama_weighted"  "ketama";
    php_memcache:                  Php     "php_memcache.php consistent"      EITHER  "pecl_consistent"  "nginx_consistent";
    php_memcache_standard:         Php     "php_memcache.php standard"        EITHER  "crc32"            "pecl_consistent";
    cache_memcached:               Perl    "cache_memcached.pl"               EITHER  "crc32"            "ketama_weighted";
    cache_memcached_fast:          Perl    "cache_memcached_fast.pl default"  EITHER  "crc32"            "nginx_consistent";
    cache_memcached_fast_ketama:   Perl    "cache_memcached_fast.pl ketama"   EITHER  "nginx_consistent" "crc32";
    dalli:                         Ruby    "dalli.rb"                         EITHER  "dalli"            "nginx_consistent";
    memjs:                         Node    "memjs.js"                         EQUAL   "memjs"            "modula";
    node_memcached:                Node    "node_memcached.js"                EITHER  "ketama_weighted"  "ketama";
}

/// `writer` is a file of `tests/clients/` and its mode.
#[track_caller]
fn all_are_found(language: Language, writer: &str, weights: Weights, rule: &str, other: &str) {
    let cluster = match weights {
        None => Cluster::start(SERVERS),
        Some(weights) => Cluster::weighted(&weights),
    };
    let pages = pages();
    write(language, writer, &cluster, &pages);
    let items = cluster.items();
    assert_eq!(items.iter().sum::<usize>(), PAGES, "{items:?}");
    assert!(items.iter().all(|&count| count > 20), "not spread: {items:?}");

    let servers = cluster.server_lines();
    let site = plan()
        .store_at(cluster.servers()[0].address())
        .without_application()
        .upstream(&format!("{servers} pagecache_distribution {rule};"))
        .http(&format!("upstream other {{ {servers} pagecache_distribution {other}; }}"))
        .location("if ($arg_by = other) { pagecache_pass other; }")
        .start();
    let missing = missed(&site, &pages, "");
    let some: Vec<_> = missing.iter().take(8).collect();
    assert!(missing.is_empty(), "{} of {PAGES} missed by {rule}: {some:?}", missing.len());
    // By chance it finds a quarter at most: the sum of the squares of each server's share.
    let missing = missed(&site, &pages, "?by=other").len();
    assert!(missing > PAGES / 2, "only {missing} of {PAGES} missed by {other}");
}

/// Runs the writer in its language.
#[track_caller]
fn write(language: Language, writer: &str, cluster: &Cluster, pages: &[Page]) {
    let mut words = writer.split(' ');
    let program = parts::root().join("tests/clients").join(words.next().unwrap());
    let arguments: Vec<String> = words.map(str::to_owned).chain(cluster.arguments()).collect();
    let lines = pages.iter().flat_map(|page| [&page.key, "\t", &page.html, "\n"]);
    language.run(&program, &arguments, lines.collect::<String>().as_bytes());
}

/// The targets of the pages that are not hits; a hit must be the page of its own key.
#[track_caller]
fn missed<'a>(site: &Site, pages: &'a [Page], query: &str) -> Vec<&'a str> {
    let mut client = site.client();
    let mut missed = Vec::new();
    for page in pages {
        let answer = client.get(format!("{}{query}", page.target));
        if !expect::hit_or_fallen_through(&answer, &page.html) {
            missed.push(page.target.as_str());
        }
    }
    missed
}

/// One page: its target in a browser, its key by `$uri`, and its text.
struct Page {
    target: String,
    key: String,
    html: String,
}

fn pages() -> Vec<Page> {
    (0..PAGES).map(page).collect()
}

/// Pages with every kind of key: plain, with escaped bytes, with letters of two, three and four bytes in UTF-8, and
/// too long for memcached; and some large ones, which a few clients compress.
fn page(nth: usize) -> Page {
    let (mut target, mut key) = match nth % 5 {
        0 => (format!("/page/{nth}"), format!("/page/{nth}")),
        1 => (format!("/page/{nth}/%20x"), format!("/page/{nth}/%20x")),
        2 => (format!("/gr%C3%B6%C3%9Fe/{nth}"), format!("/gr\u{f6}\u{df}e/{nth}")),
        3 => (format!("/100%25/{nth}"), format!("/100%25/{nth}")),
        _ => (format!("/%E2%82%AC/%F0%9F%98%80/{nth}"), format!("/\u{20ac}/\u{1f600}/{nth}")),
    };
    if nth % 97 == 0 {
        let long = "/long".repeat(60);
        target.push_str(&long);
        key = bytes::long_key(key + &long);
    }
    let rest = if nth % 50 == 0 { "<p>a large page</p>".repeat(2_000) } else { String::new() };
    let html = format!("<h1>the page under {key}</h1>{rest}");
    Page { target, key, html }
}
