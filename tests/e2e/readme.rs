//! A site that follows the README to the letter.

use crate::harness::*;

#[test]
fn each_name_has_its_pages_in_memcached() {
    let site = Followed::start(1, str::to_owned);
    for name in NAMES {
        let request = Request::get("/list/?page=2").header("Host", name);
        let made = site.ask_past_the_cache(&request);
        for status in ["MISS", "HIT", "HIT"] {
            let answer = site.ask(&request);
            assert_eq!(answer.header("X-Cache").as_deref(), Some(status), "{answer:?}");
            assert_eq!((answer.status, &answer.body), (200, &made.body), "{answer:?}");
        }
    }
}
