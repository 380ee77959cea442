//! Everything the tests share: a site of real parts in a temporary prefix, a scripted memcached, an
//! HTTP client. The tests see the parts through these names only.

mod answer;
mod application;
mod batch;
pub mod bytes;
mod curl;
mod daemon;
pub mod document;
mod echo;
pub mod expect;
mod fake;
mod fleet;
pub mod gzip;
mod http;
mod http2;
pub mod kernel;
mod language;
pub mod measure;
mod memcached;
mod nginx;
pub mod parts;
mod ports;
mod process;
mod site;
mod srcache;
mod unreachable;
mod visitors;
pub mod wait;

pub use answer::Answer;
pub use application::{Application, Interface, Seen, Writes};
pub use batch::Batch;
pub use curl::curl;
pub use daemon::{Daemon, is_alive};
pub use echo::{Echo, Protocol};
pub use fake::{Fake, Gate, Lookup, Step};
pub use fleet::Fleet;
pub use http::{Client, Lost, Request, Response};
pub use http2::Http2;
pub use language::Language;
pub use memcached::{BYTES, Memcached, PICKLE, TEXT};
pub use nginx::{Nginx, SINGLE_PROCESS, unescape};
pub use ports::free as free_port;
pub use site::{Plan, Site, plan, prefix};
pub use srcache::Srcache;
pub use unreachable::Unreachable;
pub use visitors::{QUERIES_NAME_VISITS, SLACK, Visitor, Visits, visitors};
