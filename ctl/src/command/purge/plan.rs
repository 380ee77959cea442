//! What each server is asked to do, and what became of each thing that is to be purged.
//!
//! A purge is written to the log of every server: the variants of a page are on other servers than the page. The page's own
//! item is purged besides, as pages that the application has stored do not heed the log.

use super::named::Named;
use crate::cluster::{Cluster, Server};
use crate::memcached::{Batch, Purger, Said, Step, ask, now};
use pagecache_core::memcached::Key;
use pagecache_core::purge::{self, Zone};
use std::time::Duration;

/// How many lines of the log are sent at once.
const LINES: usize = 100;

/// How pages are purged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Not served any more.
    Hard,
    /// Served as stale pages.
    Soft {
        /// Whether the servers can mark items as stale.
        has_marks: bool,
    },
}

/// What became of one thing on one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnServer {
    /// Index of the server.
    pub server: usize,
    /// Whether something was there. Or why it was not purged.
    pub said: Result<bool, String>,
}

/// The steps of all servers.
pub struct Plan {
    /// The lines of the log, which all servers get.
    chunks: Vec<Vec<purge::Purge>>,
    log: Option<Key>,
    /// The steps for the items of each server.
    items: Vec<Vec<Step>>,
    /// For each thing.
    parts: Vec<Part>,
}

/// The steps for one thing.
struct Part {
    /// Its place in `chunks`.
    line: Option<usize>,
    /// The server, and the place in `items`.
    item: Option<(usize, usize)>,
}

impl Plan {
    /// `zone`: the zone of the log. None if there is none to be written.
    pub fn of(named: &[Named], zone: Option<&Zone>, how: How, cluster: &Cluster) -> Plan {
        let (time, is_hard) = (now(), how == How::Hard);
        let mut lines = Vec::new();
        let mut items = vec![Vec::new(); cluster.servers().len()];
        let mut parts = Vec::new();
        for named in named {
            let target = zone.and_then(|zone| named.target(zone));
            let line = target.map(|target| {
                lines.push(purge::Purge { is_hard, time, target });
                (lines.len() - 1) / LINES
            });
            let item = named.page().and_then(|place| {
                let own = items.get_mut(place.server)?;
                own.push(match how {
                    How::Soft { has_marks: true } => Step::Mark(place.key),
                    How::Soft { has_marks: false } | How::Hard => Step::Delete(place.key),
                });
                Some((place.server, own.len() - 1))
            });
            parts.push(Part { line, item });
        }
        let chunks = lines.chunks(LINES).map(<[_]>::to_vec).collect();
        Plan { chunks, log: zone.and_then(Zone::log_key), items, parts }
    }

    /// Asks all servers. Returns for each thing what became of it on each server that it concerns.
    pub fn perform(self, cluster: &Cluster, timeout: Duration) -> Vec<Vec<OnServer>> {
        let Plan { chunks, log, items, parts } = self;
        let lines = log.map(|key| chunks.iter().map(move |chunk| Step::Log(key, chunk.clone())));
        let lines: Vec<Step> = lines.into_iter().flatten().collect();
        let batch = |(server, items): (&Server, Vec<Step>)| Batch {
            server: server.clone(),
            questions: lines.iter().cloned().chain(items).collect(),
        };
        let batches: Vec<_> = cluster.servers().iter().zip(items).map(batch).collect();
        // a server that has nothing to do is not connected to: it may be away
        let answers = ask(batches, timeout, Purger::open, Purger::perform);
        let result = |server: usize, places: &[Option<usize>]| {
            let said = places.iter().flatten().map(|&nth| answers.get(server)?.get(nth));
            let said: Vec<_> = said.collect();
            (!said.is_empty()).then(|| OnServer { server, said: together(&said) })
        };
        let of_part = |Part { line, item }| {
            let of_server = |server| {
                let item = item.filter(|(own, _)| *own == server);
                result(server, &[line, item.map(|(_, nth)| lines.len() + nth)])
            };
            (0..answers.len()).filter_map(of_server).collect()
        };
        parts.into_iter().map(of_part).collect()
    }
}

/// Several answers as one: the first reason, or whether nothing is absent.
fn together(said: &[Option<&Result<Said, String>>]) -> Result<bool, String> {
    let mut is_there = true;
    for said in said {
        match said {
            Some(Ok(Said::Done)) => {}
            Some(Ok(Said::Absent)) => is_there = false,
            Some(Ok(Said::Refused(reason)) | Err(reason)) => return Err(reason.clone()),
            None => return Err("no answer".to_owned()),
        }
    }
    Ok(is_there)
}
