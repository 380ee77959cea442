//! What the decisions about a request depend on.

use crate::lease::{Asker, NoLease};
use crate::memcached::{Item, Key};
use crate::method::Method;
use crate::page::{Page, Seconds};
use crate::purge::{Marks, Noted, Validity};

/// What the flow may ask about a request.
pub trait Facts {
    /// A string that was computed for the request.
    type Text: AsRef<[u8]>;

    /// The method.
    fn method(&self) -> Method;
    /// The values of the conditions of `pagecache_bypass`; None for one that cannot be computed.
    fn bypass(&self) -> impl Iterator<Item = Option<Self::Text>>;
    /// The query as it was sent, `$args`.
    fn args(&self) -> Self::Text;
    /// The decoded path, `$uri`.
    fn path(&self) -> Self::Text;
    /// Whether `$request_uri` is this request's own URI. It is not in a subrequest, nor after `error_page`.
    fn has_own_target(&self) -> bool;
    /// The value of `pagecache_key`. None if it cannot be computed.
    fn key(&self) -> Option<Self::Text>;
    /// The fields of `Accept-Encoding`.
    fn accept_encoding(&self) -> impl Iterator<Item = &[u8]> + Clone;
    /// As [`Page::of_value`], for the value of an item. A driver may know the page from an earlier request.
    fn page_of<'value>(&self, _: &Item, value: &'value [u8]) -> Option<Page<'value>> {
        Page::of_value(value)
    }
    /// Whether a page of a server may be served, as far as purges are concerned. Asked where they are looked at.
    fn validity(&self, _server: usize, _: &Key, _: &Noted<'_>) -> Validity {
        Validity::Valid
    }
    /// What the pages note that are rendered from now on. None where purges are not looked at.
    fn marks(&self) -> Option<Marks> {
        None
    }
    /// Whether this is a request of a client, rather than a subrequest.
    fn is_main(&self) -> bool;
    /// Whether the client has left, so that no response can be sent.
    fn is_abandoned(&self) -> bool;
    /// Seconds since `date`, in a format of HTTP. None if it is not a date.
    fn seconds_since(&self, date: &[u8]) -> Option<u64>;
    /// The header fields.
    fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])>;
    /// What decides whether the request may fill the cache, beside its header fields.
    fn asker(&self) -> Asker<'_>;
    /// Whether this process knows that a request, which `has_cookie`, would wait too long for the page of this key of a server,
    /// or in vain.
    fn refuse_wait(&self, server: usize, key: &Key, has_cookie: bool) -> bool;
    /// What this process knows against a lease for this key of a server.
    fn refuse_lease(&self, server: usize, key: &Key) -> Option<NoLease>;
    /// Whether this process knows that responses to requests with a cookie are not stored for this key of a server.
    fn is_uncacheable_with_cookie(&self, server: usize, key: &Key) -> bool;
    /// Whether the page of this key of a server is in its last `refresh` seconds, if `left` remain of an item that does not
    /// say how long it was to last.
    fn is_ending(&self, server: usize, key: &Key, left: Seconds, refresh: Seconds) -> bool;
    /// What this process knows against a renewal of this page before its time is over.
    fn refuse_refresh(&self, server: usize, key: &Key) -> bool;
    /// Whether this process has found that a request of its own does not lead to this page of a server.
    fn is_for_visitors_alone(&self, server: usize, key: &Key) -> bool;
}
