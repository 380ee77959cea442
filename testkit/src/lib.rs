//! Starts what the tests of the module and of pagecachectl run, speaks to it, and ends it: real servers in a
//! temporary prefix, and scripted ones in the test's own process. It does not know what the tests assert.
//!
//! | to | modules |
//! |---|---|
//! | start a whole site: nginx, memcached, Django | [`site`], [`prefix`](mod@prefix) |
//! | start one server | [`nginx`], [`bare`], [`memcached`], [`application`], [`twemproxy`] |
//! | start several, or one in another way | [`cluster`], [`daemon`], [`srcache`] |
//! | play a server that fails | [`fake`], [`between`], [`firewall`], [`silent`](mod@silent), [`unreachable`](mod@unreachable), [`echo`] |
//! | speak HTTP | [`http`], [`http2`], [`curl`](mod@curl), [`batch`], [`answer`] |
//! | run other programs | [`process`], [`language`], [`gzip`], [`parts`] |
//! | wait, take a port, signal a process, measure it | [`wait`], [`ports`], [`kernel`], [`measure`], [`tcp`] |
//! | write configurations, bodies and keys | [`directives`], [`names`], [`bytes`], [`escapes`] |

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "a test fails where it stands"
)]

pub mod answer;
pub mod application;
pub mod bare;
pub mod batch;
pub mod between;
pub mod bytes;
pub mod cluster;
pub mod curl;
pub mod daemon;
pub mod directives;
pub mod echo;
pub mod escapes;
pub mod fake;
pub mod firewall;
pub mod gzip;
pub mod http;
pub mod http2;
pub mod kernel;
pub mod language;
pub mod measure;
pub mod memcached;
pub mod names;
pub mod nginx;
pub mod parts;
pub mod ports;
pub mod prefix;
pub mod process;
pub mod silent;
pub mod site;
pub mod srcache;
pub mod tcp;
pub mod twemproxy;
pub mod unreachable;
pub mod wait;

pub use answer::Answer;
pub use application::{Application, Interface, Seen, Writes};
pub use bare::Bare;
pub use batch::Batch;
pub use between::Between;
pub use cluster::Cluster;
pub use curl::curl;
pub use daemon::{Daemon, is_alive};
pub use echo::{Echo, Protocol};
pub use escapes::unescape;
pub use fake::{Fake, Gate, Lookup, Step};
pub use firewall::Firewall;
pub use http::{Client, Lost, Request, Response};
pub use http2::Http2;
pub use language::Language;
pub use memcached::{BYTES, Memcached, PICKLE, TEXT};
pub use nginx::{Nginx, SINGLE_PROCESS};
pub use ports::free as free_port;
pub use prefix::prefix;
pub use silent::silent;
pub use site::{Plan, Site, plan};
pub use srcache::Srcache;
pub use twemproxy::Twemproxy;
pub use unreachable::Unreachable;
