//! The answers to clients: pages as they were stored, heads, conditions, codings, HTTP/2 and HTTP/3; and the
//! requests that are not hits and go on to the application.

/// `pagecache_cache_status` and the age of pages.
mod cache_status;
/// Stored heads with a Content-Encoding.
mod codings;
/// Conditions that cannot be evaluated for a hit are ignored.
mod conditions;
/// `pagecache_etag`: unchanged pages are not sent twice.
mod etag;
/// A request that is not a hit reaches the application once, as the client sent it.
mod fallback;
/// `pagecache_gzip_flag`: compressed bodies.
mod gzip_flag;
/// Directives for headers have the same effect on a hit as on a proxied response.
mod headers_as_proxied;
/// `pagecache_format http`: status, headers and body of a stored response.
mod heads;
/// Heads that were crafted to be misread.
mod heads_hostile;
/// Values that are not a response, or not one that may be served.
mod heads_refused;
/// Bodies are served byte for byte, at every size.
mod hit;
/// Hits, misses and bodies over HTTP/2.
mod http2;
/// Streams that are reset while frames of them are queued.
mod http2_resets;
/// HTTP/3, on an nginx that supports it.
mod http3;
/// HEAD, ranges, filters, limits: as with any page of nginx.
mod http_features;
/// `pagecache_ignore_client_abort`.
mod ignoring_abort;
/// Placeholders and stale items of other clients are not pages.
mod invalidation;
/// `pagecache_format auto`: a head, a note of the page's life, a body.
mod marked;
/// Locations within a cached location.
mod nested;
/// A request that continues elsewhere when its client leaves.
mod post_action;
/// `X-Pagecache-Status` and `X-Pagecache-Key` of requests.
mod request_headers;
/// SSI includes, auth_request, internal redirects, X-Accel-Redirect.
pub mod requests_within;
/// Pages that srcache stored.
mod srcache;
/// Directives of a server that take effect again in the fallback.
mod twice;
/// The variables, in each place where they can be read.
mod variables;
