//! The decisions of a location, as its directives make them: plain data, which every request of the location reads.

use crate::args::{Ignored, KeyArgs};
use crate::distribution::Distribution;
use crate::key_template::{confuses_question_marks, has_target_alone};
use crate::lease::KeyParts;
use crate::memcached::{Key, LongKeys, Msec, Protocol};
use crate::outcome::Reason;
use crate::page::{PageRules, Seconds, StoreRules, UseStale};
use std::rc::Rc;

/// The decisions of one location.
#[derive(Debug)]
pub struct Policy {
    /// What the text of `pagecache_key` means for requests.
    pub key: KeyRules,
    /// `pagecache_ignore_args`: arguments that need not be in the key.
    pub ignored_args: Rc<Ignored>,
    /// What happens with a key that is too long for memcached.
    pub long_keys: LongKeys,
    /// Whether HEAD is looked up, like GET.
    pub head: bool,
    /// Time to open a connection, in msec.
    pub connect_timeout: Msec,
    /// Time for a whole lookup, in msec.
    pub timeout: Msec,
    /// The location's protocol; None: the upstream's.
    pub protocol: Option<Protocol>,
    /// The largest value to accept, in bytes.
    pub max_size: usize,
    /// Which items are pages.
    pub pages: PageRules,
    /// Whether nginx decompresses gzip for clients that do not accept it.
    pub unpacks_gzip: bool,
    /// Whether pages get an ETag.
    pub etag: bool,
    /// Whether a request continues to the fallback after its client has left.
    pub ignores_client_abort: bool,
    /// How requests take turns in rendering a page. None: they do not.
    pub leases: Option<LeasePolicy>,
    /// Pages that note the log of purges are compared with it.
    pub looks_at_purges: bool,
    /// `pagecache_store`: what nginx itself stores, with leases. None: nothing.
    pub store: Option<StorePolicy>,
}

/// How requests for a page take turns in rendering it: the one that gets its lease from memcached goes to the fallback.
#[derive(Debug)]
pub struct LeasePolicy {
    /// What the key contains.
    pub key: KeyParts,
    /// `pagecache_lock_age`: how long the lease of a page that is not there lasts if it is not prolonged, in seconds. None:
    /// requests for such a page take no turns.
    pub lock_age: Option<Seconds>,
    /// `pagecache_refresh`: the last seconds of a page in which it is renewed in the background. None: `off`.
    pub refresh: Option<Seconds>,
    /// `pagecache_lock_timeout`: how long a request waits for a page that another one renders, in msec. None with
    /// `pagecache_lock off`.
    pub lock_timeout: Option<Msec>,
    /// `pagecache_lock_waiters`: how many requests of a worker wait at once.
    pub lock_waiters: usize,
    /// `pagecache_pass_time`: for how long a worker remembers that a page cannot be stored, in msec.
    pub pass_time: Msec,
    /// `pagecache_client_cache_control`: the Cache-Control of requests is obeyed.
    pub obeys_client: bool,
    /// `pagecache_background_update`: a page that may be served meanwhile is renewed in the background.
    pub updates_in_background: bool,
}

/// What a location stores of the responses of its fallback.
#[derive(Debug)]
pub struct StorePolicy {
    /// Which responses, and for how long.
    pub rules: StoreRules,
    /// `pagecache_store_unframed`: also bodies that end with the connection, so that nobody knows whether they are whole.
    pub unframed: bool,
    /// `pagecache_use_stale`: when a stale page is served, besides what the page itself permits.
    pub use_stale: UseStale,
    /// `pagecache_invalidate`: a request that may have changed a page invalidates it.
    pub invalidates: bool,
}

/// Whether a condition with this value is met, as those of nginx's own directives.
pub fn is_met(value: &[u8]) -> bool {
    !matches!(value, b"" | b"0")
}

/// What a key's text means for requests.
#[derive(Debug, Clone)]
pub struct KeyRules {
    /// Which arguments the key contains.
    pub args: Rc<KeyArgs>,
    /// Whether a question mark within the path could be taken for the one that begins the query.
    pub confuses_question_marks: bool,
    /// Whether the key contains `$request_uri` and not the decoded path.
    pub has_target_alone: bool,
}

impl KeyRules {
    /// Reads the text of `pagecache_key`.
    pub fn of(text: &str) -> KeyRules {
        KeyRules {
            args: Rc::new(KeyArgs::of(text)),
            confuses_question_marks: confuses_question_marks(text),
            has_target_alone: has_target_alone(text),
        }
    }

    /// Whether a request has a key of its own: the key contains everything that may change the page, and no other
    /// page has the same key. `has_own_target`: `$request_uri` names the page that the request is for. `path`
    /// returns the decoded path, and is called only if the decision depends on it.
    ///
    /// # Errors
    /// [`Reason::Args`] or [`Reason::NoKey`]: the request is not looked up.
    pub fn check<P: AsRef<[u8]>>(
        &self,
        args: &[u8],
        ignored: &Ignored,
        has_own_target: bool,
        path: impl FnOnce() -> P,
    ) -> Result<(), Reason> {
        if !self.args.cover(args, ignored, has_own_target) {
            return Err(Reason::Args);
        }
        let is_of_another_page = self.has_target_alone && !has_own_target;
        let is_ambiguous = || self.confuses_question_marks && path().as_ref().contains(&b'?');
        if is_of_another_page || is_ambiguous() {
            return Err(Reason::NoKey);
        }
        Ok(())
    }
}

/// The servers of one upstream, as far as decisions about requests depend on them.
#[derive(Debug)]
pub struct Cluster {
    /// None for a single server.
    pub distribution: Option<Distribution>,
    /// For each server, in the configuration's order: whether it is marked `down`.
    pub is_down: Vec<bool>,
    /// For locations without a protocol of their own.
    pub protocol: Protocol,
}

impl Cluster {
    /// The index of the only server that can have an item of this key.
    pub fn server(&self, key: &Key) -> usize {
        self.distribution.as_ref().map_or(0, |rule| rule.index(key.as_bytes()))
    }
}
