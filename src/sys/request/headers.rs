//! The headers of a request, nginx's list `headers_in.headers`.
//!
//! A list is a chain of parts, each an array of elements; the first part lies in the list itself.
//! Three things forbid to change one in place:
//!
//! - nginx has no delete: its modules read all elements of all parts;
//! - nginx keeps pointers to elements (`headers_in.host`), so that elements must stay where they are;
//! - a subrequest has a copy of its parent's list, which shares the parts and the elements.
//!
//! Therefore a request gets a list of its own, whose parts point to the elements that stay:
//!
//! ```text
//!   shared:   [ Host  Forged  Cookie ] -> [ Accept ]
//!   its own:  [ Host ] -> [ Cookie ] -> [ Accept ] -> [ added ]
//! ```

use super::Request;
use super::header_list::{field, slices};
use crate::sys::live::Zero;
use crate::sys::pool::Pool;
use crate::sys::process;
use crate::sys::raw::{
    NGX_OK, ngx_hash_find, ngx_hash_strlow, ngx_http_core_main_conf_t, ngx_http_header_t,
    ngx_int_t, ngx_list_part_t, ngx_list_t, ngx_str_t, ngx_table_elt_t,
};
use core::ptr::null_mut;

impl Request<'_> {
    /// Whether a header's name is one that `is_one` takes.
    pub fn has_header(&self, is_one: fn(&[u8]) -> bool) -> bool {
        self.header_parts().flatten().any(|header| is_one(header.key.as_bytes()))
    }

    /// A request's header fields.
    pub fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.header_parts().flatten().map(field)
    }

    /// The values of a request's headers of this name, compared without case.
    pub fn header_values(&self, name: &'static str) -> impl Iterator<Item = &[u8]> + Clone {
        let is_it = move |header: &&ngx_table_elt_t| {
            header.key.as_bytes().eq_ignore_ascii_case(name.as_bytes())
        };
        self.header_parts().flatten().filter(is_it).map(|header| header.value.as_bytes())
    }

    /// Gives the request a list of headers without those whose names `is_removed` takes, and with those
    /// that are `added` at the end. None without memory; the headers are then what they were.
    pub fn replace_headers(
        &self,
        is_removed: impl Fn(&[u8]) -> bool,
        added: &[(&'static str, &[u8])],
    ) -> Option<()> {
        let pool = self.pool()?;
        let mut runs: Vec<&[ngx_table_elt_t]> = self
            .header_parts()
            .flat_map(|part| part.split(|header| is_removed(header.key.as_bytes())))
            // nginx reads the first element of each part but the first without a look at their number
            .filter(|run| !run.is_empty())
            .collect();
        let added: Option<Vec<_>> =
            added.iter().map(|(name, value)| element(pool, static_text(name), value)).collect();
        let added = pool.copy_slice(&added?)?;
        if !added.is_empty() {
            runs.push(added);
        }
        // the memory behind the last part's elements is not this list's: the part counts as full, so that
        // ngx_list_push begins another one
        let nalloc = runs.last().map_or(1, |run| run.len());
        let mut runs = runs.into_iter();
        let first = match runs.next() {
            Some(run) => part_of(run),
            None => empty_part(pool)?,
        };
        // Nothing is written to parts or elements that were there before, except the part in the list itself, which is
        // the request's own and is replaced last.
        let mut next = null_mut::<ngx_list_part_t>();
        let mut last = next;
        for run in runs.rev() {
            next = pool.put(ngx_list_part_t { next, ..part_of(run) })?.as_ptr();
            if last.is_null() {
                last = next;
            }
        }
        let part = ngx_list_part_t { next, ..first };
        self.r.change((part, last, nalloc), |r, (part, last, nalloc)| {
            let list = &mut r.headers_in.headers;
            let last = if last.is_null() { &raw mut list.part } else { last };
            let size = size_of::<ngx_table_elt_t>();
            *list = ngx_list_t { last, part, size, nalloc, pool: r.pool };
        });
        Some(())
    }

    /// Gives a request that has none these headers, as if a client had sent them. None without memory, or if nginx
    /// refuses one.
    pub(in crate::sys) fn receive_headers<'f>(
        &self,
        fields: impl Iterator<Item = (&'f [u8], &'f [u8])>,
    ) -> Option<()> {
        let pool = self.pool()?;
        let elements: Option<Vec<_>> =
            fields.map(|(name, value)| element(pool, terminated(pool, name)?, value)).collect();
        let elements = elements?;
        let part = match pool.copy_slice(&elements)? {
            [] => empty_part(pool)?,
            elements => part_of(elements),
        };
        self.r.change((part, elements.len().max(1)), |r, (part, nalloc)| {
            let list = &mut r.headers_in.headers;
            let size = size_of::<ngx_table_elt_t>();
            *list = ngx_list_t { last: &raw mut list.part, part, size, nalloc, pool: r.pool };
        });
        for (at, element) in elements.iter().enumerate() {
            let header = part.elts.cast::<ngx_table_elt_t>().wrapping_add(at);
            match element.key.as_bytes().eq_ignore_ascii_case(b"host") {
                // it has been read
                true => self.r.change(header, |r, header| r.headers_in.host = header),
                false => self.note_header(header)?,
            }
        }
        Some(())
    }

    /// Has a request for which nothing is known yet be for this host, of which nginx finds the server.
    pub(in crate::sys) fn receive_host(&self, host: &[u8]) -> Option<()> {
        if host.is_empty() {
            return Some(());
        }
        let pool = self.pool()?;
        let header = pool.put(element(pool, static_text("Host"), host)?)?.as_ptr();
        self.note_header(header)?;
        // it is not in the list of the headers
        self.r.change((), |r, ()| r.headers_in.host = null_mut());
        Some(())
    }

    /// Has nginx keep track of a header, as it does of those that it reads. None if nginx refuses it.
    fn note_header(&self, header: *mut ngx_table_elt_t) -> Option<()> {
        // SAFETY: the header is in the request's pool. nginx's main configuration of HTTP has a table of the headers that it
        // keeps track of, each with a function that notes one.
        unsafe {
            let core = (*self.read(|r| r.main_conf).add(process::http_core_index()))
                .cast::<ngx_http_core_main_conf_t>();
            let known = &raw mut (*core).headers_in_hash;
            let (hash, name) = ((*header).hash, (*header).lowcase_key);
            let found = ngx_hash_find(known, hash, name, (*header).key.len);
            let handler = found
                .cast::<ngx_http_header_t>()
                .as_ref()
                .and_then(|it| Some((it.handler?, it.offset)));
            let is_taken = handler.is_none_or(|(handler, offset)| {
                handler(self.r.as_ptr(), header, offset) == NGX_OK as ngx_int_t
            });
            is_taken.then_some(())
        }
    }

    /// Takes the cookies off what nginx's variables read, `$http_cookie` and `$cookie_...`. The list is left as it is.
    pub fn drop_cookies(&self) {
        #[cfg(ngx_linked_headers)]
        self.r.change((), |r, ()| r.headers_in.cookie = null_mut());
        #[cfg(not(ngx_linked_headers))]
        self.r.change((), |r, ()| r.headers_in.cookies.nelts = 0);
    }

    /// The elements of each part. Nobody may have a part of this while nginx changes headers.
    fn header_parts(&self) -> impl Iterator<Item = &[ngx_table_elt_t]> + Clone {
        // SAFETY: the request is live; a list that has not been set up yet is zero.
        unsafe { slices(&raw mut (*self.r.as_ptr()).headers_in.headers) }
    }
}

fn part_of(run: &[ngx_table_elt_t]) -> ngx_list_part_t {
    ngx_list_part_t { elts: run.as_ptr().cast_mut().cast(), nelts: run.len(), next: null_mut() }
}

/// A part with room for one element.
fn empty_part(pool: Pool<'_>) -> Option<ngx_list_part_t> {
    let elts = pool.put(ngx_table_elt_t::zeroed())?.as_ptr().cast();
    Some(ngx_list_part_t { elts, nelts: 0, next: null_mut() })
}

fn static_text(text: &'static str) -> ngx_str_t {
    ngx_str_t { len: text.len(), data: text.as_ptr().cast_mut() }
}

/// A copy with a zero behind it, as nginx's parser leaves names and values: nginx searches some of them without a look at
/// their length, as User-Agent.
fn terminated(pool: Pool<'_>, text: &[u8]) -> Option<ngx_str_t> {
    let copy = pool.copy(&[text, b"\0"].concat())?.as_text();
    Some(ngx_str_t { len: text.len(), ..copy })
}

/// A header as nginx's parser makes them: modules find it by its hash and its name in lower case. The name stays where it
/// is.
fn element(pool: Pool<'_>, key: ngx_str_t, value: &[u8]) -> Option<ngx_table_elt_t> {
    let lowercase = pool.copy(key.as_bytes())?.as_text();
    let value = terminated(pool, value)?;
    let mut element = ngx_table_elt_t::zeroed();
    // SAFETY: the copy has as many bytes as the name, and nobody writes to the name.
    element.hash = unsafe { ngx_hash_strlow(lowercase.data, key.data, key.len) };
    element.key = key;
    element.value = value;
    element.lowcase_key = lowercase.data;
    Some(element)
}
