//! The names that the tests see: the testkit, and what only these tests share: expectations, visitors, and sites
//! that follow the documentation.

pub mod document;
pub mod expect;
mod followed;
mod project;
mod visitors;

pub use followed::{Followed, NAMES};
pub use pagecache_testkit::*;
pub use visitors::{QUERIES_NAME_VISITS, SLACK, Visitor, Visits, visitors};
