//! What a client is answered: pages as they were stored, heads, conditions, codings, HTTP/2 and HTTP/3; and
//! how a request that is no hit goes on to the application.

/// `pagecache_cache_status` and the age of pages.
mod cache_status;
/// Stored heads with a Content-Encoding.
mod codings;
/// Conditions that a hit cannot be judged by are ignored.
mod conditions;
/// `pagecache_etag`: unchanged pages are not sent twice.
mod etag;
/// Whatever is not a hit reaches the application once, as the client sent it.
mod fallback;
/// `pagecache_gzip_flag`: bodies that are stored compressed.
mod gzip_flag;
/// Directives of headers do to a hit what they do to a proxied response.
mod headers_as_proxied;
/// `pagecache_format http`: status, headers and body of a stored response.
mod heads;
/// Heads made up to be read as something else.
mod heads_hostile;
/// Values that are no response, or none that may be served.
mod heads_refused;
/// Bodies come back byte for byte, at every size.
mod hit;
/// Hits, misses and bodies over HTTP/2.
mod http2;
/// Streams that are reset while frames of them are queued.
mod http2_resets;
/// HTTP/3, on an nginx that has it.
mod http3;
/// HEAD, ranges, filters, limits: as with any page of nginx.
mod http_features;
/// `pagecache_ignore_client_abort`.
mod ignoring_abort;
/// Placeholders and stale items of other clients are no pages.
mod invalidation;
/// `pagecache_format auto`: a head, a note of freshness, a body.
mod marked;
/// Locations within a cached location.
mod nested;
/// A request that goes on elsewhere when its client leaves.
mod post_action;
/// `X-Pagecache-Status` and `X-Pagecache-Key` of requests.
mod request_headers;
/// SSI includes, auth_request, internal redirects, X-Accel-Redirect.
pub mod requests_within;
/// Pages that srcache stored.
mod srcache;
/// What a server's directives do once more in the fallback.
mod twice;
/// The variables, in each place that may read them.
mod variables;
