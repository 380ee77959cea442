//! The response of the application that nginx is receiving for a request: `u->headers_in` has its head as it came.

use super::Request;
use super::header_list::{field, parts, slices};
use crate::sys::chain::consume;
use crate::sys::live::Live;
use crate::sys::pool::bytes_of;
use crate::sys::raw::{
    ngx_event_pipe_t, ngx_http_upstream_state_t, ngx_http_upstream_t, ngx_http_weak_etag, ngx_str_t,
};
use pagecache_core::fill::BodyEnd;
use pagecache_core::page::Failure;

/// A response of an upstream, whose head has come.
pub struct UpstreamResponse<'request> {
    u: Live<'request, ngx_http_upstream_t>,
}

impl Request<'_> {
    /// The response that is being received and sent on. None if the response is of another origin: nginx itself, a file,
    /// a cache of nginx's; or if another upstream has answered before, whose response may have been for one client.
    pub fn upstream_response(&self) -> Option<UpstreamResponse<'_>> {
        // SAFETY: null, or made by nginx for this request, in whose pool it is.
        let u = unsafe { Live::of(self.read(|r| r.upstream)) }?;
        // an upstream that has been given up has no connection
        let is_there = u.read(|u| !u.peer.connection.is_null());
        let is_cached = self.read(|r| r.cached()) != 0;
        (is_there && !is_cached && !self.has_asked_another_upstream())
            .then_some(UpstreamResponse { u })
    }

    /// Marks as sent what the upstream has passed on and the client has not got: it gets no more.
    pub fn forget_unsent(&self) {
        // SAFETY: as in upstream_response.
        let Some(u) = (unsafe { Live::of(self.read(|r| r.upstream)) }) else { return };
        // SAFETY: as in upstream_end. The chains are the upstream's, and nobody else looks at them. A connection with an
        // error is not written to, so that their memory may be used again.
        unsafe {
            if let Some(pipe) = Live::<ngx_event_pipe_t>::of(u.read(|u| u.pipe)) {
                consume(pipe.read(|pipe| pipe.busy));
            }
            consume(u.read(|u| u.busy_bufs));
        }
    }

    /// Whether another upstream than the current one has been asked, as before X-Accel-Redirect. nginx separates the
    /// states of two upstreams by one without a peer.
    fn has_asked_another_upstream(&self) -> bool {
        // SAFETY: null, or made by nginx for this request: an array of states, which nginx changes only when it asks.
        let states = unsafe { self.read(|r| r.upstream_states).as_ref() };
        states.is_some_and(|states| {
            let first = states.elts.cast::<ngx_http_upstream_state_t>();
            // SAFETY: as above.
            (0..states.nelts).any(|at| unsafe { (*first.add(at)).peer.is_null() })
        })
    }

    /// How the body of the last upstream has ended. nginx may have closed the connection by then.
    pub fn upstream_end(&self) -> BodyEnd {
        // SAFETY: as in upstream_response.
        let Some(u) = (unsafe { Live::of(self.read(|r| r.upstream)) }) else {
            return BodyEnd::Cut;
        };
        // SAFETY: a buffered response has a pipe, which is in the request's pool.
        let pipe = unsafe { Live::<ngx_event_pipe_t>::of(u.read(|u| u.pipe)) };
        let (is_done, left) = match pipe.filter(|_| u.read(ngx_http_upstream_t::buffering) != 0) {
            Some(pipe) => pipe.read(|pipe| (pipe.upstream_done() != 0, pipe.length)),
            None => (false, u.read(|u| u.length)),
        };
        match left {
            0 => BodyEnd::Seen,
            _ if is_done => BodyEnd::Seen,
            // FastCGI has a record for the end
            -1 if bytes(&u, |u| u.schema).starts_with(b"fastcgi") => BodyEnd::Cut,
            -1 => BodyEnd::Unframed,
            _ => BodyEnd::Cut,
        }
    }

    /// Whether the request is in a named location, or in an `if` of one, and has not come there by an error.
    pub fn is_where_fallbacks_are(&self) -> bool {
        let is_named = self.core_conf().is_some_and(|core| {
            let name = core.read(|core| core.name);
            name.as_bytes().first() == Some(&b'@')
        });
        is_named && self.read(|r| r.error_page() == 0 && r.err_status == 0)
    }

    /// The header fields of the response that the client is about to get.
    pub fn sent_fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        // SAFETY: the request is live, and its list of headers is set up. nginx adds to it, but not while this is read.
        let list = unsafe { slices(&raw mut (*self.r.as_ptr()).headers_out.headers) };
        list.flatten().filter(|header| header.hash != 0).map(field)
    }

    /// The Content-Type that the client is about to get. Empty if there is none.
    pub fn sent_content_type(&self) -> &[u8] {
        self.text(|r| r.headers_out.content_type)
    }

    /// Takes the response's headers of this name, compared without case, off what the client gets.
    pub fn hide_header(&self, name: &str) {
        // SAFETY: as in sent_fields; nobody has a reference to an element.
        unsafe {
            for (first, len) in parts(&raw mut (*self.r.as_ptr()).headers_out.headers) {
                for header in (0..len).map(|at| first.add(at).as_ptr()) {
                    if (*header).key.as_bytes().eq_ignore_ascii_case(name.as_bytes()) {
                        (*header).hash = 0;
                    }
                }
            }
        }
    }

    /// Makes the strong ETag that the client is about to get a weak one.
    pub fn weaken_etag(&self) {
        self.call(ngx_http_weak_etag);
    }

    /// Whether a filter has asked for bodies in memory, as those do that change their text.
    pub fn wants_body_in_memory(&self) -> bool {
        self.read(|r| r.filter_need_in_memory()) != 0
    }

    /// How the fallback has failed, if the response whose head is set says so, and the status of that.
    pub fn failure(&self) -> Option<(Failure, u16)> {
        let status = u16::try_from(self.read(|r| r.headers_out.status)).ok()?;
        let is_its_own = self.is_where_fallbacks_are() && self.upstream_response().is_some();
        let failure = match status {
            ..400 => return None,
            // nginx's own words for an application without a response
            502 if !is_its_own => Failure::Error,
            504 if !is_its_own => Failure::Timeout,
            _ => Failure::Status(status),
        };
        Some((failure, status))
    }

    /// The response is no error any more.
    pub fn clear_error(&self) {
        self.r.change(0, |r, none| r.err_status = none);
    }

    /// Has nginx answer a condition of the client by the head that is set, as it does not for an upstream's.
    pub fn judge_conditions(&self) {
        self.r.change(0, |r, off| r.set_disable_not_modified(off));
    }
}

impl UpstreamResponse<'_> {
    /// The status.
    pub fn status(&self) -> u16 {
        u16::try_from(self.u.read(|u| u.headers_in.status_n)).unwrap_or(0)
    }

    /// The text behind the status.
    pub fn reason(&self) -> &[u8] {
        let line = self.text(|u| u.headers_in.status_line);
        line.split_at_checked(3).map_or(&[], |(_, reason)| reason.trim_ascii())
    }

    /// The header fields.
    pub fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        // SAFETY: the upstream is live, and has read the head.
        unsafe { slices(&raw mut (*self.u.as_ptr()).headers_in.headers) }.flatten().map(field)
    }

    /// The length of the body, if it is announced.
    pub fn length(&self) -> Option<u64> {
        u64::try_from(self.u.read(|u| u.headers_in.content_length_n)).ok()
    }

    fn text(&self, field: fn(&ngx_http_upstream_t) -> ngx_str_t) -> &[u8] {
        bytes(&self.u, field)
    }
}

fn bytes<'u>(
    u: &Live<'u, ngx_http_upstream_t>,
    field: fn(&ngx_http_upstream_t) -> ngx_str_t,
) -> &'u [u8] {
    // SAFETY: the text is in the request's pool or in the configuration, and nginx does not change it.
    unsafe { bytes_of(u.read(field)) }
}
