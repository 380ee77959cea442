//! Cache-Control of a request (RFC 9111, section 5.2.1).

use super::cache_control::{Seconds, delta_seconds, directive, members};

/// The directives of a request that a cache knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestControl {
    /// No response of a cache without asking the application.
    pub no_cache: bool,
    /// No response of a cache, and the response is not to be stored.
    pub no_store: bool,
    /// Only a response of a cache.
    pub only_if_cached: bool,
    /// Only a response that is at most so old.
    pub max_age: Option<Seconds>,
    /// Only a response that remains fresh for so long.
    pub min_fresh: Option<Seconds>,
    /// Also a response that has been stale for so long.
    pub max_stale: Option<Seconds>,
}

impl RequestControl {
    /// Reads a field. What is invalid has no effect: the request gets what any other one would.
    pub fn read(&mut self, field: &[u8]) {
        for (name, value) in members(field).filter_map(directive) {
            let seconds = value.and_then(delta_seconds);
            match name.to_ascii_lowercase().as_slice() {
                b"no-cache" => self.no_cache = true,
                b"no-store" => self.no_store = true,
                b"only-if-cached" => self.only_if_cached = true,
                b"max-age" => self.max_age = lesser(self.max_age, seconds),
                b"max-stale" => {
                    // without a number, however stale it is
                    let any = value.is_none().then_some(Seconds::MAX);
                    self.max_stale = lesser(self.max_stale, seconds.or(any));
                }
                b"min-fresh" => self.min_fresh = self.min_fresh.max(seconds),
                _ => {}
            }
        }
    }

    /// What is obeyed of it: `only-if-cached`, and the rest if the configuration says so.
    pub fn obeyed(self, obeys_all: bool) -> RequestControl {
        let only_if_cached = self.only_if_cached;
        match obeys_all {
            true => self,
            false => RequestControl { only_if_cached, ..RequestControl::default() },
        }
    }

    /// Whether a page that is so old may be the response, which remains fresh for so many seconds.
    pub fn permits(&self, age: Option<u64>, fresh_for: Option<Seconds>) -> bool {
        let is_young = self.max_age.is_none_or(|most| age.unwrap_or(0) <= most.into());
        let is_fresh = self.min_fresh.is_none_or(|least| fresh_for.is_none_or(|it| it >= least));
        is_young && is_fresh && self.permits_stale()
    }

    /// Whether a page may be the response of which the application has not said that it is still the right one.
    pub fn permits_stale(&self) -> bool {
        !self.no_cache && !self.no_store
    }
}

fn lesser(one: Option<Seconds>, other: Option<Seconds>) -> Option<Seconds> {
    [one, other].into_iter().flatten().min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> RequestControl {
        let mut read = RequestControl::default();
        read.read(value.as_bytes());
        read
    }

    #[test]
    fn directives() {
        let none = RequestControl::default();
        for (value, expected) in [
            ("", none),
            ("nothing-to-see-here, max-age=0", RequestControl { max_age: Some(0), ..none }),
            ("No-Cache", RequestControl { no_cache: true, ..none }),
            ("no-store", RequestControl { no_store: true, ..none }),
            ("only-if-cached", RequestControl { only_if_cached: true, ..none }),
            ("max-age=5, max-age=3", RequestControl { max_age: Some(3), ..none }),
            ("min-fresh=5, min-fresh=8", RequestControl { min_fresh: Some(8), ..none }),
            ("max-age=\"7\"", RequestControl { max_age: Some(7), ..none }),
            ("max-age=x, max-stale=x, max-age", none),
            ("max-stale=5, max-stale=3", RequestControl { max_stale: Some(3), ..none }),
            ("max-stale=3, max-stale", RequestControl { max_stale: Some(3), ..none }),
            ("max-stale", RequestControl { max_stale: Some(Seconds::MAX), ..none }),
        ] {
            assert_eq!(read(value), expected, "{value}");
        }
    }

    #[test]
    fn what_a_request_permits() {
        for (value, age, fresh_for, is_permitted) in [
            ("", None, None, true),
            ("max-age=5", Some(5), Some(1), true),
            ("max-age=5", Some(6), Some(1), false),
            ("max-age=0", Some(0), None, true),
            ("max-age=0", None, None, true),
            ("min-fresh=5", None, Some(5), true),
            ("min-fresh=5", None, Some(4), false),
            ("min-fresh=5", None, None, true),
            ("no-cache", Some(0), Some(9), false),
            ("no-store", Some(0), Some(9), false),
        ] {
            assert_eq!(read(value).permits(age, fresh_for), is_permitted, "{value} {age:?}");
        }
    }
}
