//! The head of a response, `headers_out`: a list of headers, with pointers to those that nginx's filters
//! read, replace or remove. Each is set as nginx sets it for a response of an upstream
//! (`ngx_http_upstream_headers_in`), so that directives do the same to both.

use super::Request;
use crate::sys::chain::whole_body;
use crate::sys::raw::{
    NGX_ERROR, NGX_OK, ngx_http_headers_out_t, ngx_http_output_filter, ngx_http_request_t,
    ngx_http_send_header, ngx_http_set_content_type, ngx_int_t, ngx_list_push, ngx_parse_http_time,
    ngx_pool_t, ngx_str_t, ngx_table_elt_t,
};
#[cfg(not(ngx_linked_headers))]
use crate::sys::raw::{ngx_array_create, ngx_array_push, ngx_array_t};
#[cfg(ngx_feature = "http_gzip")]
use crate::sys::raw::{ngx_http_core_loc_conf_t, ngx_http_core_module};
use core::ptr::NonNull;
use std::rc::Rc;

/// The headers that nginx keeps track of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    CacheControl,
    ContentEncoding,
    ContentType,
    Date,
    Etag,
    Expires,
    LastModified,
    Link,
    Location,
    Refresh,
    Server,
    WwwAuthenticate,
    Other,
}

/// By name.
const KNOWN: [(&str, Header); 12] = [
    ("cache-control", Header::CacheControl),
    ("content-encoding", Header::ContentEncoding),
    ("content-type", Header::ContentType),
    ("date", Header::Date),
    ("etag", Header::Etag),
    ("expires", Header::Expires),
    ("last-modified", Header::LastModified),
    ("link", Header::Link),
    ("location", Header::Location),
    ("refresh", Header::Refresh),
    ("server", Header::Server),
    ("www-authenticate", Header::WwwAuthenticate),
];

impl Header {
    /// Of a header's name.
    pub fn of(name: &str) -> Header {
        let known = KNOWN.iter().find(|(known, _)| name.eq_ignore_ascii_case(known));
        known.map_or(Header::Other, |(_, header)| *header)
    }

    /// Whether nginx takes one such header of a response, and no more.
    pub fn is_single(&self) -> bool {
        !matches!(
            self,
            Header::CacheControl
                | Header::ContentEncoding
                | Header::Link
                | Header::Other
                | Header::WwwAuthenticate
        )
    }
}

impl Request<'_> {
    /// Sets the response's status, and the length of its body in bytes.
    pub fn set_status(&self, status: u16, len: usize) {
        // SAFETY: the request is live and its response has not begun.
        unsafe {
            let r = self.r.as_ptr();
            (*r).headers_out.status = status.into();
            (*r).headers_out.content_length_n = len as i64;
            (*r).set_allow_ranges(1);
        }
    }

    /// Sets the Content-Type that `types` and `default_type` give. None without memory.
    pub fn set_default_content_type(&self) -> Option<()> {
        // SAFETY: the request is live and its response has not begun.
        unsafe {
            if ngx_http_set_content_type(self.r.as_ptr()) != NGX_OK as ngx_int_t {
                return None;
            }
            set_content_type(self.r.as_ptr(), (*self.r.as_ptr()).headers_out.content_type);
        }
        Some(())
    }

    /// Adds a header to the response. None without memory.
    pub fn set_header(&self, header: Header, name: &str, value: &[u8]) -> Option<()> {
        let value = self.pool()?.copy(value)?.as_text();
        // SAFETY: the request is live and its response has not begun; the list is of
        // ngx_table_elt_t, for which zero is a value.
        unsafe {
            let out = &raw mut (*self.r.as_ptr()).headers_out;
            if header == Header::ContentType {
                set_content_type(self.r.as_ptr(), value);
                return Some(());
            }
            let name = self.pool()?.copy(name.as_bytes())?.as_text();
            let place = ngx_list_push(&raw mut (*out).headers).cast::<ngx_table_elt_t>();
            let place = NonNull::new(place)?.as_ptr();
            place.write(core::mem::zeroed());
            (*place).hash = 1;
            (*place).key = name;
            (*place).value = value;
            point_to(out, header, place, (*self.r.as_ptr()).pool)
        }
    }

    /// Says that the response depends on Accept-Encoding. None without memory.
    pub fn set_vary_accept_encoding(&self) -> Option<()> {
        #[cfg(ngx_feature = "http_gzip")]
        // SAFETY: the request is live; the core module has a configuration for each location.
        unsafe {
            let r = self.r.as_ptr();
            let core = *(*r).loc_conf.add(ngx_http_core_module.ctx_index);
            if (*core.cast::<ngx_http_core_loc_conf_t>()).gzip_vary != 0 {
                // `gzip_vary on`: nginx writes it
                (*r).set_gzip_vary(1);
                return Some(());
            }
        }
        self.set_header(Header::Other, "Vary", b"Accept-Encoding")
    }

    /// Sends the response's head. Returns nginx's status, and whether no body is to follow.
    pub fn send_head(&self) -> (ngx_int_t, bool) {
        // SAFETY: the request is live and its response has not begun.
        let status = unsafe { ngx_http_send_header(self.r.as_ptr()) };
        (status, self.read(|r| r.header_only()) != 0)
    }

    /// Sends the whole body, which is the `part` of a value. The value stays until nginx needs it no more.
    pub fn send_body<B: 'static>(
        &self,
        owner: Rc<B>,
        part: impl FnOnce(&B) -> Option<&[u8]>,
    ) -> ngx_int_t {
        let chain = self.pool().and_then(|pool| {
            let owner = pool.keep(owner)?;
            whole_body(pool, part(owner)?, self.is_main())
        });
        match chain {
            // SAFETY: the request is live. The chain is of its pool, and the body is of a value that the pool keeps.
            Some(chain) => unsafe { ngx_http_output_filter(self.r.as_ptr(), chain) },
            // the head has gone out already: all that is left is to close the connection
            None => NGX_ERROR as ngx_int_t,
        }
    }

    /// Takes conditions off the request that its response, whose head is set, cannot be judged by. nginx
    /// would answer 412 to each of them:
    ///
    /// - If-Unmodified-Since without a Last-Modified, beside If-Match, or with what is no date (RFC 9110,
    ///   section 13.1.4);
    /// - If-Match without an ETag, which a cache may leave to the application (section 13.1.1).
    ///
    /// nginx's variables and logs read the list of headers, which stays.
    pub fn drop_blind_conditions(&self) {
        // SAFETY: the request is live and its response has not begun; a header that is pointed to is in
        // the request's list.
        unsafe {
            let r = self.r.as_ptr();
            let (headers_in, out) = (&raw mut (*r).headers_in, &raw const (*r).headers_out);
            if let Some(since) = (*headers_in).if_unmodified_since.as_ref() {
                // -1 without a date
                let is_date = ngx_parse_http_time(since.value.data, since.value.len) >= 0;
                let is_judged =
                    is_date && (*out).last_modified_time >= 0 && (*headers_in).if_match.is_null();
                if !is_judged {
                    (*headers_in).if_unmodified_since = core::ptr::null_mut();
                }
            }
            if (*out).etag.is_null() {
                (*headers_in).if_match = core::ptr::null_mut();
            }
        }
    }
}

/// Has nginx's pointer for a header point to `place`. None without memory.
///
/// # Safety
/// `out` is of a live request whose pool is `pool` and whose response has not begun, and `place` is a
/// header in its list.
unsafe fn point_to(
    out: *mut ngx_http_headers_out_t,
    header: Header,
    place: *mut ngx_table_elt_t,
    pool: *mut ngx_pool_t,
) -> Option<()> {
    // SAFETY: as above.
    unsafe {
        let value = (*place).value;
        match header {
            Header::CacheControl => append(&raw mut (*out).cache_control, place, pool)?,
            Header::ContentEncoding => (*out).content_encoding = place,
            Header::Date => (*out).date = place,
            Header::Etag => (*out).etag = place,
            Header::Expires => (*out).expires = place,
            Header::LastModified => {
                (*out).last_modified = place;
                (*out).last_modified_time = ngx_parse_http_time(value.data, value.len);
            }
            Header::Link => append(&raw mut (*out).link, place, pool)?,
            // nginx would make an absolute URL of a path, with the port it listens on
            Header::Location if value.as_bytes().starts_with(b"/") => {}
            Header::Location => (*out).location = place,
            Header::Refresh => (*out).refresh = place,
            Header::Server => (*out).server = place,
            Header::WwwAuthenticate => set_www_authenticate(out, place),
            Header::ContentType | Header::Other => {}
        }
    }
    Some(())
}

/// Puts a header behind those of its name, which nginx has as a list of their own since 1.23.0.
///
/// # Safety
/// As of [`point_to`]; `first` is one of the lists of `headers_out`.
#[cfg(ngx_linked_headers)]
unsafe fn append(
    first: *mut *mut ngx_table_elt_t,
    place: *mut ngx_table_elt_t,
    _: *mut ngx_pool_t,
) -> Option<()> {
    // SAFETY: the list ends in null.
    unsafe {
        let mut end = first;
        while let Some(header) = (*end).as_mut() {
            end = &raw mut header.next;
        }
        *end = place;
    }
    Some(())
}

/// The same before 1.23.0, when it was an array of pointers. None without memory.
///
/// # Safety
/// As of [`point_to`]; `array` is one of the arrays of `headers_out`.
#[cfg(not(ngx_linked_headers))]
unsafe fn append(
    array: *mut ngx_array_t,
    place: *mut ngx_table_elt_t,
    pool: *mut ngx_pool_t,
) -> Option<()> {
    // SAFETY: an array that nobody has used is zero; what it gives is room for a pointer.
    unsafe {
        if (*array).elts.is_null() {
            let size = size_of::<*mut ngx_table_elt_t>();
            array.write(*NonNull::new(ngx_array_create(pool, 1, size))?.as_ptr());
        }
        let end = ngx_array_push(array).cast::<*mut ngx_table_elt_t>();
        NonNull::new(end)?.as_ptr().write(place);
    }
    Some(())
}

/// What `auth_request` hands to the client of its subrequest: all of them since 1.23.0, the first one before.
///
/// # Safety
/// As of [`point_to`].
unsafe fn set_www_authenticate(out: *mut ngx_http_headers_out_t, place: *mut ngx_table_elt_t) {
    // SAFETY: as above.
    unsafe {
        #[cfg(ngx_linked_headers)]
        let _ = append(&raw mut (*out).www_authenticate, place, core::ptr::null_mut());
        #[cfg(not(ngx_linked_headers))]
        if (*out).www_authenticate.is_null() {
            (*out).www_authenticate = place;
        }
    }
}

/// As `ngx_http_upstream_copy_content_type`: what `gzip_types`, `sub_filter_types` and `ssi_types` compare
/// ends where the charset begins, and `charset` leaves a type alone that has one.
///
/// # Safety
/// The request is live, its response has not begun, and the text lives as long as the request.
unsafe fn set_content_type(r: *mut ngx_http_request_t, text: ngx_str_t) {
    let (kind, charset) = split_charset(text.as_bytes());
    // SAFETY: as above; the charset is a part of the text.
    unsafe {
        let out = &raw mut (*r).headers_out;
        (*out).content_type = text;
        (*out).content_type_len = kind;
        (*out).content_type_lowcase = core::ptr::null_mut();
        if let Some(charset) = charset {
            (*out).charset = ngx_str_t { len: charset.len(), data: charset.as_ptr().cast_mut() };
        }
    }
}

/// The length of a content type without its charset, and the charset.
fn split_charset(text: &[u8]) -> (usize, Option<&[u8]>) {
    let ends = memchr::memchr_iter(b';', text);
    let found = ends.filter_map(|end| {
        let parameter = text.get(end + 1..)?.trim_ascii_start();
        let (name, charset) = parameter.split_at_checked(b"charset=".len())?;
        name.eq_ignore_ascii_case(b"charset=").then_some((end, charset))
    });
    match found.into_iter().next() {
        Some((end, charset)) => {
            let charset = charset.strip_prefix(b"\"").unwrap_or(charset);
            (end, Some(charset.strip_suffix(b"\"").unwrap_or(charset)))
        }
        None => (text.len(), None),
    }
}
