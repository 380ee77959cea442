//! The way of one request: look the page up, then serve it or fall through.
//!
//! ```text
//!   content_handler --- no lookup (method, bypass, key, server down) ---> fall_through
//!          |
//!     lookup is on its way, NGX_DONE --- the client leaves ---> Record::end
//!          |
//!   keep, resume --- page ---> output
//!          +-------- none ---> fall_through
//! ```

pub mod headers;
mod serve;
pub mod state;

use crate::conf::{LocationConf, Settings};
use crate::log;
use crate::peer::{Delivery, Peer};
use crate::sys::process;
use crate::sys::raw::{
    NGX_DECLINED, NGX_DONE, NGX_HTTP_CLIENT_CLOSED_REQUEST, NGX_HTTP_INTERNAL_SERVER_ERROR,
    ngx_http_request_t, ngx_int_t,
};
use crate::sys::request::Request;
use pagecache_core::memcached::{Bytes, Completion, Key, Lookup, OperationError};
use pagecache_core::outcome::{Outcome, Reason};
use pagecache_core::page::Coding;
use serve::{AnsweredPage, send_page};
use state::Record;

const DELIVERY: Delivery = Delivery { keep, resume };

/// The content handler of locations with `pagecache_pass`.
pub unsafe extern "C" fn content_handler(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: nginx passes a live request, which is not used after this returns.
    match unsafe { Request::from_raw(r) } {
        Some(request) => begin(request),
        None => NGX_DECLINED as ngx_int_t,
    }
}

fn begin(request: Request) -> ngx_int_t {
    let Some(settings) = settings_of(request) else { return NGX_DECLINED as ngx_int_t };
    let Some(record) = Record::begin(request, settings) else {
        return NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t;
    };
    match look_up(request, settings, record) {
        Ok(()) => {
            request.hold();
            request.watch_client(Some(on_client_write), settings.ignores_client_abort);
            NGX_DONE as ngx_int_t
        }
        Err(reason) => fall_through(request, settings, reason),
    }
}

fn look_up(request: Request, settings: &Settings, record: &Record) -> Result<(), Reason> {
    if !(request.is_get() || (settings.head && request.is_head())) {
        return Err(Reason::Method);
    }
    for condition in settings.bypass.iter() {
        // one that cannot be computed may hold
        let value = request.evaluate(condition).ok_or(Reason::Overload)?;
        if !matches!(value.as_bytes(), b"" | b"0") {
            return Err(Reason::Bypass);
        }
    }
    let has_own_target = request.has_own_target();
    let (args, ignored) = (&settings.key.args, &settings.ignored_args);
    if !args.cover(request.args().as_bytes(), ignored, has_own_target) {
        return Err(Reason::Args);
    }
    let is_of_another_page = settings.key.has_target_alone && !has_own_target;
    let is_unclear = settings.key.confuses_question_marks && request.path_contains(b'?');
    if is_of_another_page || is_unclear {
        return Err(Reason::NoKey);
    }
    let raw = request.evaluate(&settings.key.value).ok_or(Reason::Overload)?;
    let key = Key::new(raw.as_bytes(), settings.long_keys)?;
    let server = settings.upstream.server(&key).ok_or(Reason::Down)?;
    record.set_lookup(&key, server);
    if server.is_down {
        return Err(Reason::Down);
    }
    let peer = Peer::of(server, DELIVERY).ok_or(OperationError::Overload)?;
    let ticket = peer.submit(request, |token| Lookup {
        token,
        visitor: request.client(),
        key,
        deadline: process::now() + settings.timeout,
        protocol: settings.protocol.unwrap_or(server.protocol),
        connect_timeout: settings.connect_timeout,
        max_size: settings.max_size,
    })?;
    record.set_waiting(peer, ticket);
    Ok(())
}

unsafe extern "C" fn on_client_write(r: *mut ngx_http_request_t) {
    // SAFETY: nginx passes a live request, which is not used after this returns.
    if let Some(request) = unsafe { Request::from_raw(r) } {
        request.leave_output();
        if is_over(request) {
            request.finalize(NGX_HTTP_CLIENT_CLOSED_REQUEST as ngx_int_t);
        }
    }
}

/// Whether the client has left and the request is for nobody else.
fn is_over(request: Request) -> bool {
    let goes_on = || settings_of(request).is_some_and(|settings| settings.ignores_client_abort);
    request.is_abandoned() && !goes_on()
}

/// Keeps of an answer what the request needs.
fn keep(request: Request, completion: Completion<Bytes<'_>>) {
    if let Some(record) = Record::of(request) {
        record.set_answer(completion);
    }
}

/// Goes on with a request whose answer was kept, if it is still here. One whose client has left while a
/// request beside it was the active one has not been told, and is not for the application.
fn resume(request: Request) {
    if !request.watches_client(Some(on_client_write)) {
        return;
    }
    let connection = request.connection();
    connection.set_log_request(request);
    request.ignore_client();
    let status = match is_over(request) {
        true => NGX_HTTP_CLIENT_CLOSED_REQUEST as ngx_int_t,
        false => conclude(request),
    };
    request.finalize(status);
    connection.run_posted_requests();
}

fn conclude(request: Request) -> ngx_int_t {
    let (Some(record), Some(settings)) = (Record::of(request), settings_of(request)) else {
        return NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t;
    };
    match read(request, settings, record) {
        // only the application may have use for a request without a client
        Ok(_) if request.is_abandoned() => {
            record.set_outcome(Outcome::Hit);
            NGX_HTTP_CLIENT_CLOSED_REQUEST as ngx_int_t
        }
        Ok((page, value)) => {
            record.set_outcome(Outcome::Hit);
            log::served(request, record.key());
            if let Some(server) = record.server() {
                server.counted.count(Outcome::Hit, page.page.body.len());
            }
            send_page(request, &page, value)
        }
        Err(reason) => fall_through(request, settings, reason),
    }
}

/// The page that memcached answered with, and the value that has its body.
fn read<'a>(
    request: Request,
    settings: &Settings,
    record: &'a Record,
) -> Result<(AnsweredPage<'a>, &'a [u8]), Reason> {
    let stored = record.answer().ok_or(Reason::Overload)?.as_ref().map_err(|&reason| reason)?;
    let value = stored.value();
    let page = settings.policy.read(&stored.item, value)?;
    let is_unpacked = page.coding == Coding::Gzip && settings.unpacks_gzip;
    if !is_unpacked && !page.coding.is_taken_by(request.header_values("accept-encoding")) {
        return Err(Reason::Format);
    }
    let left = stored.item.ttl;
    record.set_fresh_for(page.fresh_for(left));
    let age = page.age(left, serve::seconds_since_date(&page));
    let is_tagged = page.header("etag").is_some();
    let wants_tag = settings.etag && request.is_main() && page.status == 200 && !is_tagged;
    let etag = wants_tag.then(|| stored.etag(&page));
    Ok((AnsweredPage { page, etag, age }, value))
}

/// Leaves the request to the fallback, after which it may be gone, or to `error_page`.
fn fall_through(request: Request, settings: &Settings, reason: Reason) -> ngx_int_t {
    if let Some(record) = Record::of(request) {
        let outcome = Outcome::Fallthrough(reason);
        record.set_outcome(outcome);
        let server = record.server().map(|server| &server.counted);
        if let Some(counted) = server.or_else(|| settings.upstream.before()) {
            counted.count(outcome, 0);
        }
        log::fell_through(request, reason, record.key());
        if headers::tell(request, settings, record).is_none() {
            return NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t;
        }
    }
    match &settings.fallback {
        Some(name) => request.named_location(name),
        None => reason.http_status() as ngx_int_t,
    }
}

fn settings_of<'conf>(request: Request) -> Option<&'conf Settings> {
    request.location_conf::<LocationConf>()?.settings()
}
