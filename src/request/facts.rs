//! What the core asks of one request, answered by nginx.

use crate::settings::Settings;
use crate::sys::process;
use crate::sys::request::{Request, parse_http_time};
use pagecache_core::flow::Facts;
use pagecache_core::method::Method;

/// A request in a location with these settings.
pub struct RequestFacts<'a> {
    pub request: &'a Request<'a>,
    pub settings: &'a Settings,
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

    fn is_main(&self) -> bool {
        self.request.is_main()
    }

    fn is_abandoned(&self) -> bool {
        self.request.is_abandoned()
    }

    fn seconds_since(&self, date: &[u8]) -> Option<u64> {
        Some(process::seconds().saturating_sub(parse_http_time(date)?))
    }
}
