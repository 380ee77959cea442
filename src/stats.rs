//! `pagecache_stats`: answers with what all workers have counted, as Prometheus's text, as JSON, or as
//! a page that draws it.

use super::conf::{LocationConf, MainConf};
use super::sys::raw::{
    NGX_DECLINED, NGX_HTTP_BAD_REQUEST, NGX_HTTP_INTERNAL_SERVER_ERROR, NGX_HTTP_NOT_ALLOWED,
    NGX_HTTP_OK, NGX_OK, ngx_http_request_t, ngx_int_t,
};
use super::sys::request::{Header, Request};
use pagecache_core::method::Method;
use pagecache_core::stats::{PAGE, Report, json, prometheus};

/// The forms of a report.
#[derive(Clone, Copy)]
enum Form {
    Prometheus,
    Json,
    Page,
}

impl Form {
    /// `?format=` decides; without it the Accept header, where a browser's has `text/html` in it.
    /// None for a format that there is not.
    fn choose(format: &[u8], accept: &[u8]) -> Option<Form> {
        let accepts = |kind: &[u8]| accept.windows(kind.len()).any(|part| part == kind);
        match format {
            b"prometheus" => Some(Form::Prometheus),
            b"json" => Some(Form::Json),
            b"html" => Some(Form::Page),
            b"" if accepts(b"text/html") => Some(Form::Page),
            b"" if accepts(b"application/json") => Some(Form::Json),
            b"" => Some(Form::Prometheus),
            _ => None,
        }
    }

    fn content_type(self) -> &'static [u8] {
        match self {
            Form::Prometheus => b"text/plain; version=0.0.4; charset=utf-8",
            Form::Json => b"application/json",
            Form::Page => b"text/html; charset=utf-8",
        }
    }
}

/// The content handler of locations with `pagecache_stats`.
pub unsafe extern "C" fn stats_handler(r: *mut ngx_http_request_t) -> ngx_int_t {
    let answer = |request: &Request<'_>| answer(request).unwrap_or_else(|status| status);
    // SAFETY: nginx passes a live request.
    unsafe { Request::look(r, answer) }.unwrap_or(NGX_DECLINED as ngx_int_t)
}

/// Returns what a content handler returns.
fn answer(request: &Request<'_>) -> Result<ngx_int_t, ngx_int_t> {
    const NO_MEMORY: ngx_int_t = NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t;
    if !matches!(request.method(), Method::Get | Method::Head) {
        return Err(NGX_HTTP_NOT_ALLOWED as ngx_int_t);
    }
    let status = request.discard_body();
    if status != NGX_OK as ngx_int_t {
        return Err(status);
    }
    let conf = request.location_conf::<LocationConf>().and_then(|conf| conf.stats.as_ref());
    let (conf, main) = conf.zip(request.main_conf::<MainConf>()).ok_or(NO_MEMORY)?;
    let format = request.evaluate(&conf.format).ok_or(NO_MEMORY)?;
    let accept = request.evaluate(&conf.accept).ok_or(NO_MEMORY)?;
    let form = Form::choose(format, accept).ok_or(NGX_HTTP_BAD_REQUEST as ngx_int_t)?;
    let text = match form {
        Form::Prometheus => prometheus(&report(main)),
        Form::Json => json(&report(main)),
        Form::Page => PAGE.to_owned(),
    };
    request.set_status(NGX_HTTP_OK as u16, text.len());
    request
        .set_header(Header::ContentType, "Content-Type", form.content_type())
        .ok_or(NO_MEMORY)?;
    request.set_header(Header::Other, "Cache-Control", b"no-store").ok_or(NO_MEMORY)?;
    request.set_header(Header::Other, "Vary", b"Accept").ok_or(NO_MEMORY)?;
    let text = request.keep(text, |text| text.as_bytes()).ok_or(NO_MEMORY)?;
    Ok(text.send_all())
}

fn report(main: &MainConf) -> Report {
    let zone = &main.zone;
    let totals = zone.totals();
    let upstreams = main.upstreams().iter().map(|upstream| upstream.report(&totals)).collect();
    Report { started: zone.started(), uncounted: zone.uncounted(), upstreams }
}
