//! `pagecache_store on`: nginx stores the responses of the fallback. No visitor gets what is another one's, what was
//! cut, or what the application has not allowed to store.

/// The application whose responses the test decides.
pub mod application;
/// `pagecache_lock` where the application stores its pages itself.
mod application_filled;
/// What is decided before a response is whole: sizes, error pages.
mod bounds;
/// Requests of unsafe methods end the pages that they change.
mod changes;
/// Directives that concern the store, and what is remembered of pages that cannot be stored.
mod configured;
mod counted;
/// A memcached that fails under load.
mod failing;
/// Several nginx with one memcached.
mod fleet;
/// Responses that are cut, wrong, or too large, and a memcached that fails meanwhile.
mod incomplete;
/// An origin server that cuts its responses.
mod origin;
/// Cache poisoning: requests that would store their own page for all.
mod poisoning;
/// Purges.
mod purged;
/// Purges with a memcached that fails.
mod purged_failing;
/// Purges of a fleet that is under load.
mod purged_fleet;
/// Purged pages that the application would find unchanged.
mod purged_unchanged;
/// Pages that are renewed before their time is over.
mod refresh;
/// Stale pages, which the application may find unchanged, and what visitors say of stored responses.
mod renewal;
/// Connections of visitors who have pages renewed.
mod renewal_connections;
/// Responses, each stored or not by the rules of HTTP.
mod responses;
/// The table of responses.
mod rows;
/// A site that fills the cache.
pub mod site;
/// Visitors who read slowly, and the memory of many fills.
mod slow;
/// Stale pages that are served.
mod stale;
/// Stale pages among nginx's own directives.
mod stale_surroundings;
/// Other directives of nginx, long keys, and unusual paths.
mod surroundings;
/// Pages that vary.
mod variants;
/// Requests that wait for the render of another one.
mod waiting;
/// An address of memcached that fails, of two.
mod waiting_addresses;
/// A memcached that fails while requests wait and a page is renewed.
mod waiting_faults;
/// What another client writes into the item of a page for which requests wait.
mod waiting_items;
/// The one who renders is killed.
mod waiting_killed;
/// A lease whose reply is lost.
mod waiting_lost;
/// Pages that cannot be stored are rendered in parallel.
mod waiting_parallel;
/// A page that is rendered for longer than requests wait.
mod waiting_slow;
/// Reloads, and the memory of many waits and renewals.
mod waiting_soaks;
/// Subrequests and internal redirects.
mod within;
