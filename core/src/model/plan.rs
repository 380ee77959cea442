//! What a world is made of: bounds within which it is drawn at random.

use crate::memcached::Msec;
use std::ops::RangeInclusive;

/// The bounds of a world.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Workers of all nginx together. Two of them are one nginx.
    pub workers: RangeInclusive<usize>,
    pub pages: RangeInclusive<usize>,
    pub kinds: &'static [Kind],
    pub visitors: RangeInclusive<usize>,
    /// The visitors come within so many msec.
    pub within: Msec,
    /// How long the application takes, in msec.
    pub render: RangeInclusive<Msec>,
    /// How long bytes take to memcached and back, each way, in msec.
    pub latency: RangeInclusive<Msec>,
    /// `pagecache_lock_timeout`, in msec.
    pub lock_timeout: Msec,
    /// The application stores its pages itself, and nginx has `pagecache_lock` without `pagecache_store`.
    pub is_filled_by_application: bool,
    /// `pagecache_refresh`, in seconds.
    pub refresh: Option<u32>,
    /// What goes wrong: so many of these.
    pub faults: &'static [Fault],
    pub most_faults: usize,
    /// Of a hundred visitors, so many leave before they have their response.
    pub impatient: u32,
    /// Of a hundred visitors, so many have a cookie.
    pub with_cookie: u32,
}

/// What the application makes of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It is fresh for longer than any world lasts.
    Lasting,
    /// It is fresh for two seconds, and may be served stale for some more.
    Short,
    /// It has a variant for each language.
    Varying,
    /// It varies sometimes.
    Fickle,
    /// It is for one visitor.
    Private,
    /// It is a status of 500.
    Failing,
    /// It is a status of 500 every other time.
    Flaky,
    /// It does not say how long it is fresh: the configuration does, for visitors without a cookie.
    Unsaid,
}

impl Kind {
    pub const ALL: [Kind; 8] = [
        Kind::Lasting,
        Kind::Short,
        Kind::Varying,
        Kind::Fickle,
        Kind::Private,
        Kind::Failing,
        Kind::Flaky,
        Kind::Unsaid,
    ];
}

/// What goes wrong, or is done by others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A worker is killed. Another one takes its place.
    Worker,
    /// Both workers of a nginx are killed, and come back much later.
    Nginx,
    /// memcached loses all items.
    Flush,
    /// memcached restarts: all connections end.
    Restart,
    /// A connection ends.
    Reset,
    /// A connection delivers nothing for a time, so that replies are late.
    Stall,
    /// The application stores a page itself.
    Set,
    /// The application deletes a page itself.
    Delete,
    /// It marks a page as stale.
    Invalidate,
    /// A body of the application is cut.
    Cut,
}

impl Fault {
    pub const ALL: [Fault; 10] = [
        Fault::Worker,
        Fault::Nginx,
        Fault::Flush,
        Fault::Restart,
        Fault::Reset,
        Fault::Stall,
        Fault::Set,
        Fault::Delete,
        Fault::Invalidate,
        Fault::Cut,
    ];
}

/// Many visitors of a few pages, and nothing goes wrong.
impl Default for Plan {
    fn default() -> Plan {
        Plan {
            workers: 1..=6,
            pages: 1..=4,
            kinds: &[Kind::Lasting, Kind::Varying],
            visitors: 10..=60,
            within: 2_000,
            render: 20..=1_500,
            latency: 0..=5,
            lock_timeout: 5_000,
            is_filled_by_application: false,
            refresh: None,
            faults: &[],
            most_faults: 0,
            impatient: 0,
            with_cookie: 0,
        }
    }
}
