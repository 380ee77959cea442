//! `pagecache_purge`: requests with the method PURGE. They purge one page, the pages below a URL, those with a tag, or all
//! pages of the zone.
//!
//! The purge is added to the log of each server, since variants of a page are on any of them, and its response is sent when
//! all have replied. Pages that an application stores note no log: the one of the URL is marked as stale, or removed.

use super::facts::RequestFacts;
use super::state::{State, Waiting};
use super::{ON_CLIENT_WRITE, Turn, resume};
use crate::purge_log::Limits;
use crate::settings::Settings;
use crate::sys::process;
use crate::sys::raw::{
    NGX_HTTP_BAD_REQUEST, NGX_HTTP_INTERNAL_SERVER_ERROR, NGX_HTTP_NO_CONTENT,
    NGX_HTTP_NOT_ALLOWED, NGX_HTTP_SERVICE_UNAVAILABLE, NGX_OK, ngx_int_t,
};
use crate::sys::request::{Header, Request};
use crate::worker::Worker;
use pagecache_core::flow::place;
use pagecache_core::memcached::{Command, Completion, Delete, Key, OperationError};
use pagecache_core::policy::is_met;
use pagecache_core::purge::{Purge, Target};
use std::rc::Rc;

/// A purge that is under way.
pub struct Purging {
    /// How many servers have not replied.
    left: usize,
    /// The names of the servers that could not be reached.
    failed: Vec<String>,
}

/// What is purged.
struct Purges {
    is_hard: bool,
    targets: Vec<Target>,
    /// The page of the URL, and the index of its server.
    page: Option<(usize, Key)>,
}

/// Whether the request is a purge in a location for those.
pub fn is_one(request: &Request<'_>, settings: &Settings) -> bool {
    !settings.purge.is_empty() && request.has_method(b"PURGE")
}

/// The content handler of a purge.
pub fn begin(
    request: Request<'_>,
    settings: Rc<Settings>,
    worker: Rc<Worker<Waiting>>,
) -> ngx_int_t {
    // nobody may whose condition cannot be computed
    let is_met = |condition| request.evaluate(condition).is_some_and(is_met);
    if !settings.purge.iter().any(is_met) {
        return NGX_HTTP_NOT_ALLOWED as ngx_int_t;
    }
    let status = request.discard_body();
    if status != NGX_OK as ngx_int_t {
        return status;
    }
    let Some(state) = State::begin(&request, settings, worker) else {
        return NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t;
    };
    let Some(purges) = Purges::of(&request, &state) else {
        return NGX_HTTP_BAD_REQUEST as ngx_int_t;
    };
    // one more until all have begun
    let purging = Purging { left: 1, failed: Vec::new() };
    state.purging.replace(Some(purging));
    state.purge(&state, &purges);
    match state.is_purged(None) {
        true => answer(&request, &state),
        false => request.park(ON_CLIENT_WRITE, true),
    }
}

impl Purges {
    /// None if the request does not say what is purged, or says it of pages that have no key.
    fn of(request: &Request<'_>, state: &State) -> Option<Purges> {
        let settings = state.settings();
        let words = |name| request.header_values(name).flat_map(words_of);
        let mut purges = Purges { is_hard: false, targets: Vec::new(), page: None };
        for word in words("pagecache-purge") {
            match word {
                b"hard" => purges.is_hard = true,
                b"all" => purges.targets.push(Target::All),
                _ => return None,
            }
        }
        let zone = &settings.purge_zone.zone;
        purges.targets.extend(words("pagecache-tags").map(|tag| Target::Tag(zone.tag(tag))));
        if !purges.targets.is_empty() {
            return Some(purges);
        }
        let facts = RequestFacts { request, settings, worker: state.worker(), long_key: None };
        let page = place(&facts, &settings.policy, settings.upstream.cluster()?).ok()?;
        let key = request.evaluate(&settings.key)?;
        if request.path().ends_with(b"*") {
            // all keys of the pages below begin so
            purges.targets.push(Target::prefix(key.strip_suffix(b"*")?));
        } else {
            purges.targets.push(Target::key(key));
            purges.page = Some(page);
        }
        Some(purges)
    }
}

fn words_of(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|word| !word.is_empty())
}

impl State {
    /// Sends the purges to all servers.
    fn purge(&self, me: &Waiting, purges: &Purges) {
        let limits = Limits::of(&self.settings().policy);
        let (is_hard, time) = (purges.is_hard, process::seconds());
        let purge = |target: &Target| Purge { is_hard, time, target: target.clone() };
        let lines: Vec<Purge> = purges.targets.iter().map(purge).collect();
        let servers = self.settings().upstream.servers().len();
        for server in 0..servers {
            self.begins_to_purge();
            let me = me.clone();
            match self.purge_log(server) {
                Some(log) => {
                    let read = log.clone();
                    log.append(&lines, limits, move |is_done| {
                        has_purged(&me, server, is_done);
                        // a log that becomes long is made short by its readers, also where no visitors come
                        let _ = read.wait(limits, |_| {});
                    });
                }
                None => has_purged(&me, server, false),
            }
        }
        if let Some((server, key)) = purges.page {
            self.begins_to_purge();
            let me = me.clone();
            let delete = Command::Delete(Delete { cas: None, marks_stale: !is_hard });
            let done = move |completion| {
                let is_done = matches!(completion, Completion::Deleted | Completion::NotFound);
                has_purged(&me, server, is_done);
            };
            match self.peer(server) {
                Some(peer) => peer.run(self.operation_within(limits.timeout, key, delete), done),
                None => done(Completion::Failed(OperationError::Down)),
            }
        }
    }

    fn begins_to_purge(&self) {
        if let Some(purging) = &mut *self.purging.borrow_mut() {
            purging.left += 1;
        }
    }

    /// A server has replied, or could not be reached.
    fn is_purged(&self, failed: Option<String>) -> bool {
        let mut purging = self.purging.borrow_mut();
        let Some(purging) = &mut *purging else { return false };
        purging.left -= 1;
        purging.failed.extend(failed);
        purging.left == 0
    }
}

/// A server has been asked to purge. Responds if that was the last one.
fn has_purged(state: &Waiting, server: usize, is_done: bool) {
    let configured = state.server_at(server);
    if let Some(configured) = configured {
        let counter = state.worker().counter(configured);
        counter.tally().into_iter().for_each(|tally| tally.count_purge(is_done));
    }
    let failed = configured.filter(|_| !is_done).map(|it| it.name.clone());
    if state.is_purged(failed) {
        // does nothing if the request has ended
        let _ = state.enter(|request| {
            resume(request, state, |request, state| Turn::Ends(answer(request, state)));
        });
    }
}

/// Sends the response: 204, or 503 with the names of the servers that were not reached.
fn answer(request: &Request<'_>, state: &State) -> ngx_int_t {
    let mut failed = state.purging.take().map(|purging| purging.failed).unwrap_or_default();
    if failed.is_empty() {
        request.set_status(NGX_HTTP_NO_CONTENT as u16, 0);
        return request.send_head().0;
    }
    failed.sort();
    failed.dedup();
    let text = format!("not purged on {}\n", failed.join(", "));
    request.set_status(NGX_HTTP_SERVICE_UNAVAILABLE as u16, text.len());
    let said = request.set_header(Header::ContentType, "Content-Type", b"text/plain");
    let text = said.and_then(|()| request.keep(text, |text| text.as_bytes()));
    text.map_or(NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t, |text| text.send_all())
}
