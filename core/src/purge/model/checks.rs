//! What must hold for each page that is judged.

use super::world::{Fault, Lookup, PAGES, Purged, World};
use crate::purge::{Mark, Target, Validity};

impl World {
    /// A lookup has found the page of this render, with this mark.
    pub fn check(&mut self, lookup: &Lookup, validity: Validity, mark: Mark, number: usize) {
        match validity {
            Validity::Valid => self.counts.valid += 1,
            Validity::Soft => self.counts.soft += 1,
            Validity::Hard => self.counts.hard += 1,
        }
        let render = self.renders[number];
        let after = |at: Option<u64>, than: u64| at.is_some_and(|at| at > than);
        let is_over = |purge: &&Purged| {
            after(purge.appended, render.began)
                && purge.returned.is_some_and(|at| at < lookup.sampled)
        };
        let over: Vec<_> = self.purges.iter().filter(is_over).collect();
        let purged = over.iter().find(|purge| self.names(purge, lookup.page));
        if let Some(purge) = purged {
            self.counts.must_be_stale += 1;
            let shown = "a page that was purged is served as fresh";
            assert_ne!(validity, Validity::Valid, "{shown}: {purge:?} {render:?} {mark}");
        }
        self.check_hard(lookup, validity, render.began);
        self.check_not_purged(lookup, validity, mark, render.viewed);
    }

    /// A page that was purged hard is not served if the log was never lost, or if this worker has seen the purge.
    fn check_hard(&mut self, lookup: &Lookup, validity: Validity, began: u64) {
        let faults = self.plan.kinds;
        let may_be_lost = [Fault::Log, Fault::Restart, Fault::Overwrite];
        let is_kept = self.plan.faults == 0 || !faults.iter().any(|it| may_be_lost.contains(it));
        let worker = &self.workers[lookup.worker.0];
        let hard = self.purges.iter().find(|it| {
            let is_over = it.returned.is_some_and(|at| at < lookup.sampled);
            let is_known = is_kept && is_over || worker.seen.contains(&it.purge.time);
            let is_after = it.appended.is_some_and(|at| at > began);
            it.purge.is_hard && it.is_own && is_known && is_after && self.names(it, lookup.page)
        });
        if let Some(purge) = hard {
            self.counts.must_be_hard += 1;
            assert_eq!(validity, Validity::Hard, "a page that was purged hard: {purge:?}");
        }
    }

    /// A page of this log is fresh if it was not purged since its render.
    fn check_not_purged(&mut self, lookup: &Lookup, validity: Validity, mark: Mark, viewed: u64) {
        let worker = &self.workers[lookup.worker.0];
        let now = worker.view.mark();
        let is_of_log = now.is_some_and(|now| now.epoch == mark.epoch && now.offset >= mark.offset);
        let loses_segments = self.plan.kinds.contains(&Fault::Segments);
        let knows_all = worker.view.next_segment().is_none() && !loses_segments;
        let is_known = mark.offset >= worker.base || knows_all;
        let is_later = |purge: &&Purged| purge.appended.is_some_and(|at| at >= viewed);
        let mut later = self.purges.iter().filter(is_later);
        let is_purged = later.any(|it| it.is_cut || self.names(it, lookup.page));
        if is_of_log && is_known && !is_purged && !self.plan.are_careless {
            self.counts.must_be_valid += 1;
            assert_eq!(validity, Validity::Valid, "a page that nobody has purged");
        }
    }

    fn names(&self, purged: &Purged, page: usize) -> bool {
        let (key, tags) = PAGES[page];
        purged.is_malformed
            || match &purged.purge.target {
                Target::All => true,
                Target::Prefix(prefix) => key.as_bytes().starts_with(prefix),
                Target::Key(own) => key.as_bytes() == &own[..],
                Target::Tag(tag) => tags.iter().any(|own| self.zone.tag(own.as_bytes()) == *tag),
            }
    }
}
