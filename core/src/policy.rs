//! What a location does with requests, as its directives say: plain data, which every request of the location reads.

use crate::args::{Ignored, KeyArgs};
use crate::distribution::Distribution;
use crate::memcached::{Key, LongKeys, Msec, Protocol};
use crate::page::PageRules;
use crate::pattern::{confuses_question_marks, has_target_alone};
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
