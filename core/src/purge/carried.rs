//! The hard purges that outlive the lines of the log in which they were made.

use super::Target;
use super::mark::TagList;
use std::collections::BTreeMap;

/// For how many seconds a hard purge is repeated: no page is kept for longer (30 days).
const LIFE: u64 = 30 * 86_400;

/// The most bytes of them in a header.
const MAX_BYTES: usize = 1536;

/// How many a worker keeps at most.
const MAX_COUNT: usize = 1024;

/// Hard purges, and when each was made at last. Beyond a bound, one purge of all pages stands for them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Carried(BTreeMap<Target, u64>);

impl Carried {
    /// Adds a purge that was made at this time.
    pub fn add(&mut self, target: Target, time: u64) {
        let last = self.0.entry(target).or_default();
        *last = time.max(*last);
        if self.0.len() > MAX_COUNT {
            *self = self.all();
        }
    }

    /// Adds those of another one.
    pub fn add_all(&mut self, other: &Carried) {
        other.0.iter().for_each(|(target, &time)| self.add(target.clone(), time));
    }

    /// Whether each of these purges is in `self`, too, and as late.
    pub fn covers(&self, other: &Carried) -> bool {
        let is_in = |target, time| self.0.get(target).is_some_and(|&last| last >= time);
        other.0.iter().all(|(target, &time)| is_in(target, time) || is_in(&Target::All, time))
    }

    /// Those that may concern a page that is still kept. A time that has not come yet is taken for now.
    pub fn at(&self, now: u64) -> Carried {
        let young = self.0.iter().filter(|(_, time)| time.saturating_add(LIFE) >= now);
        Carried(young.map(|(target, &time)| (target.clone(), time.min(now))).collect())
    }

    /// Whether one of them names the page.
    pub fn names(&self, key: &[u8], tags: TagList<'_>) -> bool {
        self.0.keys().any(|target| match target {
            Target::All => true,
            Target::Prefix(prefix) => key.starts_with(prefix),
            Target::Key(own) => key == &own[..],
            Target::Tag(tag) => tags.may_have(*tag),
        })
    }

    /// Writes those of the last 30 days for a header.
    pub(super) fn write(&self, now: u64, out: &mut Vec<u8>) {
        let young = self.at(now);
        let start = out.len();
        young.write_all(out);
        if out.len() - start > MAX_BYTES {
            out.truncate(start);
            young.all().write_all(out);
        }
    }

    fn write_all(&self, out: &mut Vec<u8>) {
        for (target, time) in &self.0 {
            out.extend_from_slice(format!(" {time} ").as_bytes());
            target.write(out);
        }
    }

    /// One purge of all pages, as late as the last one.
    fn all(&self) -> Carried {
        Carried(self.0.values().max().map(|&time| (Target::All, time)).into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::purge::Zone;

    const NOW: u64 = 1_764_515_000;

    fn carried(count: u64) -> Carried {
        let mut carried = Carried::default();
        (0..count)
            .for_each(|nth| carried.add(Target::key(format!("/{nth}").as_bytes()), NOW + nth));
        carried
    }

    fn written(carried: &Carried, now: u64) -> String {
        let mut out = Vec::new();
        carried.write(now, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_last_purge_of_each_target_is_kept_for_30_days() {
        let mut carried = carried(2);
        carried.add(Target::key(b"/0"), 3);
        assert_eq!(written(&carried, NOW + 1), format!(" {NOW} u:/0 {} u:/1", NOW + 1));
        assert_eq!(written(&carried, NOW + LIFE), format!(" {NOW} u:/0 {} u:/1", NOW + 1));
        assert_eq!(written(&carried, NOW + LIFE + 1), format!(" {} u:/1", NOW + 1));
        assert_eq!(written(&carried, NOW + LIFE + 2), "");
        // a clock that is ahead keeps none for longer
        assert_eq!(written(&carried, 5), " 5 u:/0 5 u:/1");
    }

    #[test]
    fn beyond_each_bound_all_pages_are_purged() {
        let many = carried(200);
        assert_eq!(written(&many, NOW + 1_000), format!(" {} *", NOW + 199));
        let more = carried(MAX_COUNT as u64 + 1);
        assert_eq!(written(&more, NOW + 9_999), format!(" {} *", NOW + MAX_COUNT as u64));
        assert!(more.covers(&many) && !many.covers(&more));
        assert!(more.names(b"/other", TagList::default()));
    }

    #[test]
    fn a_later_purge_of_the_same_or_of_all_covers_one() {
        let [mut later, one] = [carried(1), carried(1)];
        assert!(later.covers(&one) && one.covers(&Carried::default()));
        later.add(Target::key(b"/0"), NOW + 1);
        assert!(later.covers(&one) && !one.covers(&later));
        let mut all = Carried::default();
        all.add(Target::All, NOW);
        assert!(all.covers(&one) && !all.covers(&later));
    }

    #[test]
    fn pages_are_named_by_key_prefix_and_tag() {
        let zone = Zone::new("z").unwrap();
        let mut carried = carried(1);
        carried.add(Target::prefix(b"/blog/"), 1);
        carried.add(Target::Tag(zone.tag(b"a")), 1);
        let note = crate::purge::Tags::of(&zone, [&b"a"[..]])
            .note(crate::purge::Mark { epoch: crate::purge::Epoch(1), offset: 1 });
        let tags = crate::purge::Noted::read(note.as_bytes()).unwrap().tags;
        for (key, tags, is_named) in [
            (&b"/0"[..], TagList::default(), true),
            (b"/00", TagList::default(), false),
            (b"/blog/", TagList::default(), true),
            (b"/blog/1", TagList::default(), true),
            (b"/blog", TagList::default(), false),
            (b"/other", tags, true),
        ] {
            assert_eq!(carried.names(key, tags), is_named, "{}", key.escape_ascii());
        }
    }
}
