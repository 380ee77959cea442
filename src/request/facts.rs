//! What the core asks of one request, answered by nginx.

use crate::request::state::Waiting;
use crate::settings::Settings;
use crate::sys::process;
use crate::sys::request::{Request, parse_http_time};
use crate::upstream::UpstreamServer;
use crate::worker::Worker;
use pagecache_core::flow::Facts;
use pagecache_core::lease::{Asker, NoLease};
use pagecache_core::memcached::{Item, Key};
use pagecache_core::method::Method;
use pagecache_core::page::{Page, Seconds};
use pagecache_core::purge::{Marks, Noted, Validity};
use std::borrow::Cow;
use std::rc::Rc;

/// A request in a location with these settings.
pub struct RequestFacts<'a> {
    pub request: &'a Request<'a>,
    pub settings: &'a Settings,
    pub worker: &'a Worker<Waiting>,
    /// The text of a long key, where it was remembered: see
    /// [`State::remember_long_key`](super::state::State::remember_long_key).
    pub long_key: Option<&'a [u8]>,
}

impl RequestFacts<'_> {
    fn server(&self, index: usize) -> Option<&Rc<UpstreamServer>> {
        self.settings.upstream.servers().get(index)
    }
}

impl<'a> Facts for RequestFacts<'a> {
    type Text = &'a [u8];

    fn method(&self) -> Method {
        self.request.method()
    }

    fn bypass(&self) -> impl Iterator<Item = Option<&'a [u8]>> {
        self.settings.bypass.iter().map(|condition| self.request.evaluate(condition))
    }

    fn args(&self) -> &'a [u8] {
        self.request.args()
    }

    fn path(&self) -> &'a [u8] {
        self.request.path()
    }

    fn has_own_target(&self) -> bool {
        self.request.has_own_target()
    }

    fn key(&self) -> Option<&'a [u8]> {
        self.request.evaluate(&self.settings.key)
    }

    fn accept_encoding(&self) -> impl Iterator<Item = &[u8]> + Clone {
        self.request.header_values("accept-encoding")
    }

    fn page_of<'value>(&self, item: &Item, value: &'value [u8]) -> Option<Page<'value>> {
        self.worker.page_of(item, value)
    }

    fn validity(&self, server: usize, key: &Key, noted: &Noted<'_>) -> Validity {
        let zone = &self.settings.purge_zone;
        let log = self.server(server).and_then(|server| self.worker.purge_log(server, zone));
        let text = key.text().or(self.long_key.map(Cow::Borrowed));
        log.zip(text).map_or(Validity::Soft, |(log, text)| log.validity(noted, &text))
    }

    fn marks(&self) -> Option<Marks> {
        if !self.settings.policy.looks_at_purges {
            return None;
        }
        let zone = &self.settings.purge_zone;
        // a variant that is stored where the log is not known yet is rendered once more
        let mark = |server| self.worker.purge_log(server, zone)?.mark();
        let servers = self.settings.upstream.servers();
        Some(Marks::new(zone.zone.clone(), servers.iter().map(mark)))
    }

    fn is_main(&self) -> bool {
        self.request.is_main()
    }

    fn is_abandoned(&self) -> bool {
        self.request.is_abandoned()
    }

    fn seconds_since(&self, date: &[u8]) -> Option<u64> {
        Some(process::seconds().saturating_sub(parse_http_time(date)?))
    }

    fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.request.fields()
    }

    fn asker(&self) -> Asker<'_> {
        let (request, args) = (self.request, self.request.args());
        let target = request.target();
        let sent_path = target.split(|&byte| byte == b'?').next().unwrap_or_default();
        let ignored = &self.settings.policy.ignored_args;
        // as the key has them, without the question mark
        let is_whole = |kept: &[u8]| kept.strip_prefix(b"?").unwrap_or_default() == args;
        Asker {
            method: request.method(),
            has_body: request.has_body(),
            is_for_nginx: request.is_for_nginx(),
            host: request.host(),
            sent_path,
            written_path: request.written_path(),
            has_ignored_args: !args.is_empty() && !is_whole(&ignored.without(args)),
        }
    }

    fn refuse_wait(&self, server: usize, key: &Key, has_cookie: bool) -> bool {
        let server = self.server(server);
        server.is_none_or(|server| self.worker.is_slow(server, key, has_cookie))
    }

    fn is_ending(&self, server: usize, key: &Key, left: Seconds, refresh: Seconds) -> bool {
        let server = self.server(server);
        server.is_some_and(|server| self.worker.is_ending(server, key, left, refresh))
    }

    fn refuse_refresh(&self, server: usize, key: &Key) -> bool {
        let server = self.server(server);
        server.is_none_or(|server| self.worker.refuses_refresh(server, key))
    }

    fn is_for_visitors_alone(&self, server: usize, key: &Key) -> bool {
        let server = self.server(server);
        server.is_some_and(|server| self.worker.is_for_visitors_alone(server, key))
    }

    fn refuse_lease(&self, server: usize, key: &Key) -> Option<NoLease> {
        let server = self.server(server)?;
        if self.worker.peer(server).lacks_cas() {
            return Some(NoLease::NoCas);
        }
        self.worker.is_uncacheable(server, key).then_some(NoLease::Uncacheable)
    }

    fn is_uncacheable_with_cookie(&self, server: usize, key: &Key) -> bool {
        let server = self.server(server);
        server.is_some_and(|server| self.worker.is_uncacheable_with_cookie(server, key))
    }
}
