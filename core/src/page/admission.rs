//! Whether a response of the application may be stored (RFC 9111, section 3).

use super::cache_control::{Seconds, members, trim};
use super::fields::Fields;
use super::freshness::{DefaultLifetimes, Freshness, IgnoredHeaders, LONGEST, Terms};
use super::head::may_be_served;
use super::redirect;
use super::vary::{Vary, VaryError};

/// How long a stale page is kept that may be found unchanged, in seconds. It is not served without asking.
const REVALIDATION: Seconds = 600;

/// What a location stores.
#[derive(Debug, Clone, Default)]
pub struct StoreRules {
    /// `pagecache_ignore_headers`.
    pub ignored: IgnoredHeaders,
    /// `pagecache_ignore_cookies`: the application gets no cookies, so that no response is one visitor's for them.
    pub ignores_cookies: bool,
    /// `pagecache_valid` and `pagecache_heuristic`.
    pub lifetimes: DefaultLifetimes,
    /// `pagecache_stale`, in seconds.
    pub stale: u32,
    /// `pagecache_revalidate`: a stale page with an ETag or a Last-Modified is kept for a time, since the application may
    /// find it unchanged.
    pub revalidates: bool,
    /// `pagecache_store_gzip`: texts are stored as gzip.
    pub gzip: bool,
    /// Headers that are neither stored nor sent, in lower case: `pagecache_tag_header`.
    pub hidden_headers: Vec<String>,
    /// `pagecache_store_max_size`: the most bytes of an item, with its head.
    pub max_size: usize,
}

/// A response of the application, of which the head has come.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// Its status.
    pub status: u16,
    /// Its header fields, as the application has sent them.
    pub fields: Fields<'a>,
    /// When it came, in seconds since the epoch.
    pub now: u64,
    /// The path and query of the request, as the application got them.
    pub target: &'a [u8],
    /// The request had a Cookie.
    pub had_cookie: bool,
    /// The request had an Authorization.
    pub had_authorization: bool,
}

/// How a response is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// For how long.
    pub terms: Terms,
    /// For which requests.
    pub vary: Vary,
    /// Its body may be compressed.
    pub may_compress: bool,
}

/// Why a response is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No response with this status is stored.
    Status,
    /// `no-store`, or a Cache-Control that cannot be read.
    NoStore,
    /// `private`: it is one visitor's.
    Private,
    /// `no-cache`: the application would have to confirm it each time, and could not.
    NoCache,
    /// The request had an Authorization, and the response does not say that it is everybody's.
    Authorization,
    /// It sets a cookie.
    SetCookie,
    /// The request had a Cookie, and the response does not say itself how long it is fresh.
    Cookie,
    /// It varies with what no key can hold.
    Vary,
    /// It sends the client to the page that was asked for.
    Redirect,
    /// It is sent as it comes about, perhaps without an end.
    Stream,
    /// It has a content coding that not every client reads.
    Coding,
    /// Nothing says how long it is fresh.
    NoLifetime,
    /// It is stale already.
    Stale,
}

impl StoreRules {
    /// Whether a response may be stored, and how.
    ///
    /// ```
    /// use pagecache_core::page::{Candidate, Fields, Refusal, StoreRules};
    ///
    /// let fields = [(&b"Cache-Control"[..], &b"max-age=60"[..]), (b"Set-Cookie", b"id=1")];
    /// let candidate = |fields| Candidate {
    ///     status: 200,
    ///     fields: Fields(fields),
    ///     now: 0,
    ///     target: b"/blog",
    ///     had_cookie: false,
    ///     had_authorization: false,
    /// };
    /// let rules = StoreRules::default();
    /// assert_eq!(rules.admit(&candidate(&fields[..1])).unwrap().terms.life, 60);
    /// assert_eq!(rules.admit(&candidate(&fields)), Err(Refusal::SetCookie));
    /// ```
    ///
    /// # Errors
    /// The first of the reasons against it.
    pub fn admit(&self, candidate: &Candidate<'_>) -> Result<Admission, Refusal> {
        let Candidate { status, fields, now, .. } = *candidate;
        if !may_be_served(status) {
            return Err(Refusal::Status);
        }
        let freshness = Freshness::of(fields, self.ignored, now);
        self.forbid(candidate, &freshness)?;
        let vary = match self.ignored.vary {
            true => Vary::default(),
            false => {
                Vary::parse(fields.values("vary"), self.ignores_cookies).map_err(Refusal::from)?
            }
        };
        let is_personal = candidate.had_cookie && !self.ignores_cookies;
        let may_compress = !freshness.forbids_transform() && !fields.has("content-encoding");
        if freshness.control.no_cache {
            let terms = freshness.confirmed_terms(REVALIDATION);
            return match is_personal {
                true => Err(Refusal::Cookie),
                false => Ok(Admission { terms, vary, may_compress }),
            };
        }
        let lifetime = match freshness.own() {
            Some(lifetime) => lifetime,
            None if is_personal => return Err(Refusal::Cookie),
            None => freshness.configured(status, &self.lifetimes).ok_or(Refusal::NoLifetime)?,
        };
        let mut terms = freshness.terms(lifetime, self.stale).ok_or(Refusal::Stale)?;
        if self.may_revalidate(fields) && terms.life > 0 {
            terms.window = terms.window.max(REVALIDATION.min(LONGEST - terms.life));
        }
        Ok(Admission { terms, vary, may_compress })
    }

    /// Whether the application may find a response with these fields unchanged.
    fn may_revalidate(&self, fields: Fields<'_>) -> bool {
        self.revalidates && (fields.has("etag") || fields.has("last-modified"))
    }

    /// What forbids to store a response, whatever its lifetime.
    fn forbid(&self, candidate: &Candidate<'_>, freshness: &Freshness<'_>) -> Result<(), Refusal> {
        let (fields, control) = (candidate.fields, &freshness.control);
        let refusals = [
            (Refusal::Status, control.must_understand && !is_understood(candidate.status)),
            // RFC 9111, section 5.2.2.3: who understands it ignores no-store
            (Refusal::NoStore, control.no_store && !control.must_understand),
            (Refusal::Private, control.private),
            (
                Refusal::NoCache,
                control.no_cache && !(candidate.status == 200 && self.may_revalidate(fields)),
            ),
            (Refusal::Authorization, candidate.had_authorization && !is_for_everybody(freshness)),
            (Refusal::SetCookie, !self.ignored.set_cookie && sets_cookie(fields)),
            (Refusal::Redirect, is_to_itself(candidate)),
            (Refusal::Stream, is_stream(fields)),
            (Refusal::Coding, !has_known_coding(fields)),
        ];
        let refusal = refusals.into_iter().find_map(|(refusal, holds)| holds.then_some(refusal));
        refusal.map_or(Ok(()), Err)
    }
}

impl From<VaryError> for Refusal {
    fn from(error: VaryError) -> Refusal {
        match error {
            VaryError::Unpredictable | VaryError::Cookie => Refusal::Vary,
        }
    }
}

/// Whether the status is one of RFC 9110, section 15. `must-understand` forbids to store others (RFC 9111, section
/// 5.2.2.3).
fn is_understood(status: u16) -> bool {
    matches!(status, 200..=206 | 300..=308 | 400..=417 | 421 | 422 | 426 | 500..=505)
}

/// RFC 9111, section 3.5: the directives by which a response to a request with credentials may be stored.
fn is_for_everybody(freshness: &Freshness<'_>) -> bool {
    let control = &freshness.control;
    control.public || control.must_revalidate || control.s_maxage.is_some()
}

fn sets_cookie(fields: Fields<'_>) -> bool {
    fields.has("set-cookie") || fields.has("set-cookie2")
}

fn is_to_itself(candidate: &Candidate<'_>) -> bool {
    let is_redirect = matches!(candidate.status, 300..=399);
    let mut locations = candidate.fields.values("location");
    is_redirect && locations.any(|location| redirect::is_to_itself(location, candidate.target))
}

fn is_stream(fields: Fields<'_>) -> bool {
    let is_endless = |media_type: &[u8]| {
        let endless: [&[u8]; 2] = [b"text/event-stream", b"multipart/x-mixed-replace"];
        endless.iter().any(|it| media_type.eq_ignore_ascii_case(it))
    };
    let is_no = |value: &[u8]| trim(value).eq_ignore_ascii_case(b"no");
    fields.media_types().any(is_endless) || fields.values("x-accel-buffering").any(is_no)
}

/// Whether the body is as it is, or gzip, which nginx unpacks for clients that do not read it.
fn has_known_coding(fields: Fields<'_>) -> bool {
    let mut codings = fields.values("content-encoding").flat_map(members);
    let first = codings.next();
    let is_known = |coding: &[u8]| {
        coding.eq_ignore_ascii_case(b"gzip") || coding.eq_ignore_ascii_case(b"identity")
    };
    first.is_none_or(is_known) && codings.next().is_none()
}

#[cfg(test)]
mod tests;
