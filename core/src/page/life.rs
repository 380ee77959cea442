//! How long a page is fresh and how old it is, as its writer notes it in the item.
//!
//! ```text
//! X-Pagecache: v=1; life=300; window=60; ttl=360; age=12
//! ```
//!
//! In this example the page was rendered 12 seconds before it was stored. memcached keeps it for `ttl` seconds, and
//! in the last `window` of them it is no longer fresh. Only memcached's clock is used: the remaining time that it
//! reports decides. `swr` and `sie` are how much of the window the page may be served while it is renewed, and while
//! the application fails; `mr=1` forbids any other stale use. These three may be left out. Members with other names are
//! ignored.

use super::cache_control::{Seconds, leading_number, number};
use super::freshness::Terms;

/// The only known version of the line.
const VERSION: u32 = 1;

/// The values of the line, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// How long the page is fresh after it was stored.
    life: u32,
    /// How long memcached keeps the page after that.
    window: u32,
    /// The expiry with which the page was stored.
    ttl: u32,
    /// How old the page was when it was stored.
    age: u32,
    /// How much of the window the page may be served while it is renewed.
    pub stale_while_revalidate: u32,
    /// How much of the window the page may be served while the application fails.
    pub stale_if_error: u32,
    /// It must not be served stale for longer than that, whatever the configuration says.
    pub must_revalidate: bool,
}

impl Life {
    /// Reads the value of the line. None if it is of another version, or if a member is missing, given twice, or
    /// not a number.
    ///
    /// ```
    /// use pagecache_core::page::Life;
    ///
    /// let life = Life::parse(b"v=1; life=300; window=60; ttl=360; age=12").unwrap();
    /// assert_eq!(life.age(Some(350)), 22);
    /// assert_eq!(life.fresh_for(Some(350)), Some(290));
    /// assert!(!life.is_fresh(Some(60)));
    /// assert!(Life::parse(b"v=2; life=300; window=60; ttl=360; age=12").is_none());
    /// ```
    pub fn parse(line: &[u8]) -> Option<Life> {
        let (first, others) = match first_members(line) {
            Some((first, rest)) => (first.map(Some), rest.strip_prefix(b";")),
            None => ([None; 5], Some(line)),
        };
        let [mut version, mut life, mut window, mut ttl, mut age] = first;
        let [mut swr, mut sie, mut mr] = [None; 3];
        for member in others.into_iter().flat_map(members_of_note) {
            let (name, value) = split_member(member)?;
            let place = match name {
                b"v" => &mut version,
                b"life" => &mut life,
                b"window" => &mut window,
                b"ttl" => &mut ttl,
                b"age" => &mut age,
                b"swr" => &mut swr,
                b"sie" => &mut sie,
                b"mr" => &mut mr,
                _ => continue,
            };
            if place.replace(number(value)?).is_some() {
                return None;
            }
        }
        let life = Life {
            life: life?,
            window: window?,
            ttl: ttl?,
            age: age?,
            stale_while_revalidate: swr.unwrap_or(0),
            stale_if_error: sie.unwrap_or(0),
            must_revalidate: mr.is_some_and(|mr| mr != 0),
        };
        (version? == VERSION).then_some(life)
    }

    /// The value of the line for a page that is stored on these terms.
    pub fn note(terms: &Terms) -> String {
        let Terms { age, life, window, stale_while_revalidate, stale_if_error, .. } = terms;
        let ttl = terms.ttl();
        let mut note = format!("v={VERSION}; life={life}; window={window}; ttl={ttl}; age={age}");
        for (name, span) in [("swr", *stale_while_revalidate), ("sie", *stale_if_error)] {
            if span > 0 {
                note.push_str(&format!("; {name}={span}"));
            }
        }
        if terms.must_revalidate {
            note.push_str("; mr=1");
        }
        note
    }

    /// Whether the page may be served if `left` seconds remain of its item. None: the server does not report the
    /// time, or the item does not expire. If more time remains than the writer gave the item, a client has touched
    /// it to keep it longer.
    pub fn is_fresh(&self, left: Option<u32>) -> bool {
        left.is_none_or(|left| left > self.window || left > self.ttl)
    }

    /// Whether the page is in its last `refresh` seconds, if it remains fresh for `left` seconds. Of a short life, these are a
    /// half at most.
    pub fn is_ending(&self, left: Seconds, refresh: Seconds) -> bool {
        left <= refresh.min(self.life / 2)
    }

    /// Whether the application confirms each use of the page, which is never served otherwise.
    pub fn is_confirmed_each_time(&self) -> bool {
        let may_be_stale = self.stale_while_revalidate > 0 || self.stale_if_error > 0;
        self.life == 0 && self.must_revalidate && !may_be_stale
    }

    /// Seconds since the page ceased to be fresh. 0 if it is fresh.
    pub fn stale_for(&self, left: Option<u32>) -> u32 {
        match left {
            Some(left) if !self.is_fresh(Some(left)) => self.window - left,
            _ => 0,
        }
    }

    /// Seconds for which the page remains fresh.
    pub fn fresh_for(&self, left: Option<u32>) -> Option<u32> {
        left.map(|left| left.saturating_sub(self.window))
    }

    /// Seconds since the page was rendered, at least.
    pub fn age(&self, left: Option<u32>) -> u64 {
        let kept_for = left.map_or(0, |left| {
            (u64::from(self.life) + u64::from(self.window)).saturating_sub(left.into())
        });
        u64::from(self.age) + kept_for
    }

    /// Whether [`Life::age`] includes the time for which memcached has kept the item.
    pub fn is_timed(&self, left: Option<u32>) -> bool {
        left.is_some_and(|left| left <= self.ttl)
    }
}

/// The numbers of the first members of a line as [`Life::note`] writes it, and the rest of the line: most pages have no
/// more, and are read in a third of the time. None if the line begins otherwise.
fn first_members(line: &[u8]) -> Option<([u32; 5], &[u8])> {
    let (version, rest) = leading_number(line.strip_prefix(b"v=")?)?;
    let (life, rest) = leading_number(rest.strip_prefix(b"; life=")?)?;
    let (window, rest) = leading_number(rest.strip_prefix(b"; window=")?)?;
    let (ttl, rest) = leading_number(rest.strip_prefix(b"; ttl=")?)?;
    let (age, rest) = leading_number(rest.strip_prefix(b"; age=")?)?;
    matches!(rest, [] | [b';', ..]).then_some(([version, life, window, ttl, age], rest))
}

/// The members of the note, which may be long: a page may have many tags.
pub(crate) fn members_of_note(note: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(note);
    std::iter::from_fn(move || {
        let all = rest?;
        let end = memchr::memchr(b';', all).unwrap_or(all.len());
        let (member, behind) = all.split_at_checked(end)?;
        rest = behind.get(1..);
        Some(member)
    })
}

/// Splits a member of the note, `name=value`, and removes spaces around it.
pub(super) fn split_member(member: &[u8]) -> Option<(&[u8], &[u8])> {
    let member = member.trim_ascii();
    let (name, value) = member.split_at_checked(memchr::memchr(b'=', member)?)?;
    Some((name, value.get(1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: Life = Life {
        life: 300,
        window: 60,
        ttl: 360,
        age: 12,
        stale_while_revalidate: 0,
        stale_if_error: 0,
        must_revalidate: false,
    };

    #[test]
    fn lines_as_writers_have_them() {
        for line in [
            "v=1; life=300; window=60; ttl=360; age=12",
            "v=1;life=300;window=60;ttl=360;age=12",
            "age=12; ttl=360; window=60; life=300; v=1",
            " v=1 ;\tlife=300; window=60; ttl=360; took=60; tags=a,b; key=/a=b; age=012; mr=0 ",
        ] {
            assert_eq!(Life::parse(line.as_bytes()), Some(LIFE), "{line}");
        }
    }

    #[test]
    fn what_is_noted_is_read_back() {
        let terms = Terms { age: 12, life: 300, window: 60, ..Terms::default() };
        assert_eq!(Life::note(&terms), "v=1; life=300; window=60; ttl=360; age=12");
        let more = Terms { stale_while_revalidate: 60, stale_if_error: 5, ..terms };
        assert_eq!(Life::note(&more), "v=1; life=300; window=60; ttl=360; age=12; swr=60; sie=5");
        let none = Terms { must_revalidate: true, ..terms };
        assert_eq!(Life::note(&none), "v=1; life=300; window=60; ttl=360; age=12; mr=1");
        for terms in [terms, more, none] {
            let Terms { stale_while_revalidate, stale_if_error, must_revalidate, .. } = terms;
            let life = Life { stale_while_revalidate, stale_if_error, must_revalidate, ..LIFE };
            assert_eq!(Life::parse(Life::note(&terms).as_bytes()), Some(life));
        }
    }

    #[test]
    fn other_lines_are_refused() {
        for line in [
            "v=1; life=300; window=60; ttl=360; age=12 x",
            "v=1; life=300; window=60; ttl=360; age=12; x",
            "v=1; life=300; window=60; ttl=360; age=",
            "v=1; life=300; window=60; ttl=360; age=4294967296",
            "",
            "v=1",
            "life=300; window=60; ttl=360; age=12",
            "v=2; life=300; window=60; ttl=360; age=12",
            "v=1; v=1; life=300; window=60; ttl=360; age=12",
            "v=1; life=300; window=60; ttl=360",
            "v=1; life=300; window=60; ttl=360; age=12; age=12",
            "v=1; life=-300; window=60; ttl=360; age=12",
            "v=1; life=+300; window=60; ttl=360; age=12",
            "v=1; life=; window=60; ttl=360; age=12",
            "v=1; life=4294967296; window=60; ttl=360; age=12",
            "v=1; life=300; window=60; ttl=360; age=12;",
            "v=1; life=300; window=60; ttl=360; age=12; swr=1; swr=1",
            "v=1; life=300; window=60; ttl=360; age=12; mr=yes",
            "v=1, life=300, window=60, ttl=360, age=12",
            "V=1; Life=300; Window=60; Ttl=360; Age=12",
        ] {
            assert_eq!(Life::parse(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn a_page_is_fresh_until_its_window_begins() {
        for (left, is_fresh) in [(360, true), (61, true), (60, false), (1, false), (0, false)] {
            assert_eq!(LIFE.is_fresh(Some(left)), is_fresh, "{left}");
        }
        assert!(LIFE.is_fresh(None));
        // touched items, also if the window alone is longer than the life
        assert!(LIFE.is_fresh(Some(361)));
        assert!(Life { life: 0, window: 400, ttl: 360, age: 0, ..LIFE }.is_fresh(Some(361)));
    }

    #[test]
    fn from_then_on_it_becomes_more_stale() {
        for (left, stale_for) in [(361, 0), (360, 0), (61, 0), (60, 0), (59, 1), (0, 60)] {
            assert_eq!(LIFE.stale_for(Some(left)), stale_for, "{left}");
        }
        assert_eq!(LIFE.stale_for(None), 0);
    }

    #[test]
    fn its_age_grows_as_its_time_runs_out() {
        for (left, age) in [(Some(360), 12), (Some(359), 13), (Some(61), 311), (Some(0), 372)] {
            assert_eq!(LIFE.age(left), age, "{left:?}");
            assert!(LIFE.is_timed(left));
        }
        for unknown in [None, Some(361)] {
            assert_eq!(LIFE.age(unknown), 12);
            assert!(!LIFE.is_timed(unknown));
        }
        assert_eq!(LIFE.fresh_for(Some(360)), Some(300));
        assert_eq!(LIFE.fresh_for(Some(10)), Some(0));
        let most = Life { life: u32::MAX, window: u32::MAX, ttl: u32::MAX, age: u32::MAX, ..LIFE };
        assert_eq!(most.age(Some(0)), 3 * u64::from(u32::MAX));
    }
}
