//! The head of a response, `headers_out`: a list of headers, with pointers to those that nginx's filters
//! read, replace or remove. Each is set as nginx sets it for a response of an upstream
//! (`ngx_http_upstream_headers_in`), so that directives do the same to both.

use super::{Request, parse_http_time};
use crate::sys::conf::LocationPart;
use crate::sys::live::{Live, Zero};
use crate::sys::pool::text_of;
use crate::sys::process;
use crate::sys::raw::{
    NGX_OK, ngx_http_clean_header, ngx_http_core_loc_conf_t, ngx_http_headers_out_t,
    ngx_http_send_header, ngx_http_set_content_type, ngx_int_t, ngx_list_push, ngx_str_t,
    ngx_table_elt_t,
};
#[cfg(not(ngx_linked_headers))]
use crate::sys::raw::{ngx_array_create, ngx_array_push, ngx_array_t};
use core::ptr::{NonNull, null_mut};
use core::slice;
use pagecache_core::names::NameTable;

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

static KNOWN: NameTable<Header> = NameTable::new(&[
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
]);

impl Header {
    /// Of a header's name.
    pub fn of(name: &[u8]) -> Header {
        KNOWN.get(name).copied().unwrap_or(Header::Other)
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
        self.r.change((status, len), |r, (status, len)| {
            r.headers_out.status = status.into();
            r.headers_out.content_length_n = len as i64;
            r.set_allow_ranges(1);
        });
    }

    /// Sets the Content-Type that `types` and `default_type` give. None without memory.
    pub fn set_default_content_type(&self) -> Option<()> {
        if self.call(ngx_http_set_content_type) != NGX_OK as ngx_int_t {
            return None;
        }
        self.set_content_type(self.read(|r| r.headers_out.content_type));
        Some(())
    }

    /// Adds a header to the response. None without memory.
    pub fn set_header(&self, header: Header, name: &'static str, value: &[u8]) -> Option<()> {
        let value = self.pool()?.copy(value)?.as_text();
        self.push_header(header, text_of(name.as_bytes()), value)
    }

    /// Adds a header whose texts are in the request's pool, or stay for good.
    pub(super) fn push_header(
        &self,
        header: Header,
        name: ngx_str_t,
        value: ngx_str_t,
    ) -> Option<()> {
        if header == Header::ContentType {
            self.set_content_type(value);
            return Some(());
        }
        let mut element = ngx_table_elt_t::zeroed();
        element.hash = 1;
        element.key = name;
        element.value = value;
        // SAFETY: the request is live and its response has not begun; the list is of elements of this type.
        let place = unsafe {
            let list = &raw mut (*self.r.as_ptr()).headers_out.headers;
            let place = NonNull::new(ngx_list_push(list).cast::<ngx_table_elt_t>())?;
            place.write(element);
            place.as_ptr()
        };
        self.point_to(header, place, value)
    }

    /// Says that the response depends on Accept-Encoding. None without memory.
    pub fn set_vary_accept_encoding(&self) -> Option<()> {
        #[cfg(ngx_feature = "http_gzip")]
        if self.core_conf().is_some_and(|core| core.read(|core| core.gzip_vary != 0)) {
            // `gzip_vary on`: nginx writes it
            self.r.change(1, |r, on| r.set_gzip_vary(on));
            return Some(());
        }
        self.set_header(Header::Other, "Vary", b"Accept-Encoding")
    }

    /// Has the filter of one module do what it does in another location. None without memory.
    pub fn take_part_of(&self, part: LocationPart) -> Option<()> {
        // SAFETY: a request has as many configurations of its location as there are modules of HTTP.
        let parts =
            unsafe { slice::from_raw_parts(self.read(|r| r.loc_conf), process::http_modules()) };
        let mut parts = parts.to_vec();
        *parts.get_mut(part.index)? = part.conf.as_ptr();
        let parts = self.pool()?.copy_slice(&parts)?;
        self.r.change(parts.as_ptr().cast_mut(), |r, parts| r.loc_conf = parts);
        Some(())
    }

    /// The response is sent whole, whatever range the client wants.
    pub fn ignore_range(&self) {
        self.r.change(0, |r, off| r.set_allow_ranges(off));
    }

    pub(super) fn core_conf(&self) -> Option<Live<'_, ngx_http_core_loc_conf_t>> {
        // SAFETY: the core module has a configuration for each location, to which nginx keeps no reference.
        unsafe { Live::of((*self.read(|r| r.loc_conf).add(process::http_core_index())).cast()) }
    }

    /// Sends the response's head. Returns nginx's status, and whether no body is to follow.
    pub fn send_head(&self) -> (ngx_int_t, bool) {
        let status = self.call(ngx_http_send_header);
        (status, self.is_header_only())
    }

    /// Whether the response that is about to begin says that the request has succeeded: 2xx or 3xx.
    pub fn is_success(&self) -> bool {
        matches!(self.read(|r| r.headers_out.status), 200..=399)
    }

    /// Whether no body is sent behind the head that is set.
    pub fn is_header_only(&self) -> bool {
        self.read(|r| r.header_only()) != 0
    }

    /// Takes the head back that an upstream has made for the response, so that another one can be set.
    pub fn clear_head(&self) {
        // SAFETY: the request is live, and its response has not begun.
        unsafe { ngx_http_clean_header(self.r.as_ptr()) }
    }

    /// Takes conditions off the request that its response, whose head is set, cannot be judged by. nginx
    /// would answer 412 to each of them:
    ///
    /// - If-Unmodified-Since without a Last-Modified, beside If-Match, or with what is no date (RFC 9110,
    ///   section 13.1.4);
    /// - If-Match without an ETag, which a cache may leave to the application (section 13.1.1).
    ///
    /// If-Modified-Since does not count beside If-None-Match (section 13.1.3); to nginx both must be met.
    ///
    /// nginx's variables and logs read the list of headers, which stays.
    pub fn drop_blind_conditions(&self) {
        // SAFETY: the request is live, and a header that is pointed to is in its list.
        let since = unsafe { self.read(|r| r.headers_in.if_unmodified_since).as_ref() };
        let is_judged = since.is_some_and(|since| {
            parse_http_time(since.value.as_bytes()).is_some()
                && self.read(|r| r.headers_out.last_modified_time) >= 0
                && self.read(|r| r.headers_in.if_match.is_null())
        });
        self.r.change(is_judged, |r, is_judged| {
            if !is_judged {
                r.headers_in.if_unmodified_since = null_mut();
            }
            if r.headers_out.etag.is_null() {
                r.headers_in.if_match = null_mut();
            } else if !r.headers_in.if_none_match.is_null() {
                r.headers_in.if_modified_since = null_mut();
            }
        });
    }

    /// Takes all conditions off the request, so that no filter of nginx judges the response by them.
    pub fn drop_conditions(&self) {
        self.r.change((), |r, ()| {
            r.headers_in.if_modified_since = null_mut();
            r.headers_in.if_unmodified_since = null_mut();
            r.headers_in.if_match = null_mut();
            r.headers_in.if_none_match = null_mut();
            r.headers_in.if_range = null_mut();
        });
    }

    /// Has nginx's pointer for a header point to `place`, which is in the list. None without memory.
    fn point_to(
        &self,
        header: Header,
        place: *mut ngx_table_elt_t,
        value: ngx_str_t,
    ) -> Option<()> {
        let set = |set: fn(&mut ngx_http_headers_out_t, *mut ngx_table_elt_t)| {
            self.r.change((place, set), |r, (place, set)| set(&mut r.headers_out, place));
        };
        match header {
            Header::CacheControl => return self.append(|out| &raw mut out.cache_control, place),
            Header::ContentEncoding => set(|out, place| out.content_encoding = place),
            Header::Date => set(|out, place| out.date = place),
            Header::Etag => set(|out, place| out.etag = place),
            Header::Expires => set(|out, place| out.expires = place),
            Header::LastModified => {
                set(|out, place| out.last_modified = place);
                let time = parse_http_time(value.as_bytes());
                let time = time.and_then(|time| i64::try_from(time).ok()).unwrap_or(-1);
                self.r.change(time, |r, time| r.headers_out.last_modified_time = time);
            }
            Header::Link => return self.append(|out| &raw mut out.link, place),
            // nginx would make an absolute URL of a path, with the port it listens on
            Header::Location if value.as_bytes().starts_with(b"/") => {}
            Header::Location => set(|out, place| out.location = place),
            Header::Refresh => set(|out, place| out.refresh = place),
            Header::Server => set(|out, place| out.server = place),
            // what `auth_request` hands to the client of its subrequest: all of them since 1.23.0, the first one before
            #[cfg(ngx_linked_headers)]
            Header::WwwAuthenticate => {
                return self.append(|out| &raw mut out.www_authenticate, place);
            }
            #[cfg(not(ngx_linked_headers))]
            Header::WwwAuthenticate => set(|out, place| {
                if out.www_authenticate.is_null() {
                    out.www_authenticate = place;
                }
            }),
            Header::ContentType | Header::Other => {}
        }
        Some(())
    }

    /// Puts a header behind those of its name, which nginx has as a list of their own since 1.23.0.
    #[cfg(ngx_linked_headers)]
    fn append(
        &self,
        list: fn(&mut ngx_http_headers_out_t) -> *mut *mut ngx_table_elt_t,
        place: *mut ngx_table_elt_t,
    ) -> Option<()> {
        // SAFETY: the request is live, and its response has not begun; `place` is in its list of headers, and the list
        // of those of a name ends in null.
        unsafe {
            let mut end = list(&mut (*self.r.as_ptr()).headers_out);
            while let Some(header) = (*end).as_mut() {
                end = &raw mut header.next;
            }
            *end = place;
        }
        Some(())
    }

    /// The same before 1.23.0, when it was an array of pointers. None without memory.
    #[cfg(not(ngx_linked_headers))]
    fn append(
        &self,
        array: fn(&mut ngx_http_headers_out_t) -> *mut ngx_array_t,
        place: *mut ngx_table_elt_t,
    ) -> Option<()> {
        // SAFETY: the request is live, and its response has not begun. An array that nobody has used is zero; what it
        // gives is room for a pointer.
        unsafe {
            let array = array(&mut (*self.r.as_ptr()).headers_out);
            if (*array).elts.is_null() {
                let size = size_of::<*mut ngx_table_elt_t>();
                let new = ngx_array_create((*self.r.as_ptr()).pool, 1, size);
                array.write(*NonNull::new(new)?.as_ptr());
            }
            let end = ngx_array_push(array).cast::<*mut ngx_table_elt_t>();
            NonNull::new(end)?.as_ptr().write(place);
        }
        Some(())
    }

    /// As `ngx_http_upstream_copy_content_type`: what `gzip_types`, `sub_filter_types` and `ssi_types` compare
    /// ends where the charset begins, and `charset` leaves a type alone that has one.
    fn set_content_type(&self, text: ngx_str_t) {
        self.r.change(text, |r, text| {
            let (kind, charset) = split_charset(text.as_bytes());
            let out = &mut r.headers_out;
            out.content_type = text;
            out.content_type_len = kind;
            out.content_type_lowcase = null_mut();
            if let Some(charset) = charset {
                out.charset = ngx_str_t { len: charset.len(), data: charset.as_ptr().cast_mut() };
            }
        });
    }
}

/// The length of a content type without its charset, and the charset.
fn split_charset(text: &[u8]) -> (usize, Option<&[u8]>) {
    let ends = memchr::memchr_iter(b';', text);
    let found = ends.filter_map(|end| {
        let parameter = text.get(end + 1..)?.trim_ascii_start();
        let (name, charset) = parameter.split_at_checked(b"charset=".len())?;
        let is_charset = name == b"charset=" || name.eq_ignore_ascii_case(b"charset=");
        is_charset.then_some((end, charset))
    });
    match found.into_iter().next() {
        Some((end, charset)) => {
            let charset = charset.strip_prefix(b"\"").unwrap_or(charset);
            (end, Some(charset.strip_suffix(b"\"").unwrap_or(charset)))
        }
        None => (text.len(), None),
    }
}
