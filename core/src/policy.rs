//! What a location does with requests, as its directives say: plain data, which every request of the location reads.

use crate::args::{Ignored, KeyArgs};
use crate::distribution::Distribution;
use crate::key_template::{confuses_question_marks, has_target_alone};
use crate::memcached::{Key, LongKeys, Msec, Protocol};
use crate::outcome::Reason;
use crate::page::PageRules;
use std::rc::Rc;

/// The decisions of one location.
#[derive(Debug)]
pub struct Policy {
    /// What the text of `pagecache_key` means for requests.
    pub key: KeyRules,
    /// `pagecache_ignore_args`: arguments that need not be in the key.
    pub ignored_args: Rc<Ignored>,
    /// What becomes of a key that is too long for memcached.
    pub long_keys: LongKeys,
    /// Whether HEAD is looked up, as GET is.
    pub head: bool,
    /// Budget of opening a connection, in msec.
    pub connect_timeout: Msec,
    /// Budget of a whole lookup, in msec.
    pub timeout: Msec,
    /// As the location says; else it is the upstream's.
    pub protocol: Option<Protocol>,
    /// Largest value to accept, in bytes.
    pub max_size: usize,
    /// Which items are pages.
    pub pages: PageRules,
    /// Whether nginx unpacks gzip for clients that do not take it.
    pub unpacks_gzip: bool,
    /// Whether pages get an ETag.
    pub etag: bool,
    /// Whether a request whose client leaves goes on to the fallback.
    pub ignores_client_abort: bool,
}

/// What a key's text means for requests.
#[derive(Debug, Clone)]
pub struct KeyRules {
    /// Which arguments are in it.
    pub args: Rc<KeyArgs>,
    /// A question mark within the path might pass for the one that begins the query.
    pub confuses_question_marks: bool,
    /// Of a request's path and query, only `$request_uri` is in it.
    pub has_target_alone: bool,
}

impl KeyRules {
    /// Of the text of `pagecache_key`.
    pub fn of(text: &str) -> KeyRules {
        KeyRules {
            args: Rc::new(KeyArgs::of(text)),
            confuses_question_marks: confuses_question_marks(text),
            has_target_alone: has_target_alone(text),
        }
    }

    /// Whether a request has a key of its own: everything that may change its page is in the key, and no other
    /// page has the same. `has_own_target`: `$request_uri` names the page that the request is for. `path` is the
    /// decoded path, and asked for only if the decision depends on it.
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

/// The servers of one upstream, as far as requests are decided by them.
#[derive(Debug)]
pub struct Cluster {
    /// None for a single server.
    pub distribution: Option<Distribution>,
    /// Of each server, in the configuration's order: whether it is marked `down`.
    pub is_down: Vec<bool>,
    /// For locations that do not say.
    pub protocol: Protocol,
}

impl Cluster {
    /// The index of the one server that may have an item of this key.
    pub fn server(&self, key: &Key) -> usize {
        self.distribution.as_ref().map_or(0, |rule| rule.index(key.as_bytes()))
    }
}
