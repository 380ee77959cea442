//! Owns the two checks of nearly each test: the answer is a hit with this body, or it is the application's, for
//! this reason.

use pagecache_testkit::Response;

/// A hit: status 200, this body and its length, nothing from the application.
#[track_caller]
pub fn hit(response: &Response, body: impl AsRef<[u8]>) {
    let body = body.as_ref();
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(response.header("X-Cache").as_deref(), Some("HIT"), "{response:?}");
    assert_eq!(response.header("X-Application"), None, "{response:?}");
    let length = response.header("Content-Length");
    assert_eq!(length, Some(body.len().to_string()), "{response:?}");
    assert!(response.body == body, "not the stored {} bytes: {response:?}", body.len());
}

/// The application answered, because the lookup ended with this status for this reason.
#[track_caller]
pub fn application(response: &Response, status: &str, reason: &str) {
    assert_eq!(response.status, 200, "{response:?}");
    let django = response.header("X-Application");
    assert_eq!(django.as_deref(), Some("django"), "{response:?}");
    because(response, status, &[reason]);
}

/// The lookup ended with this status for one of these reasons, whichever server answered.
#[track_caller]
pub fn because(response: &Response, status: &str, reasons: &[&str]) {
    assert_eq!(response.header("X-Cache").as_deref(), Some(status), "{response:?}");
    let reason = response.header("X-Reason").unwrap_or_default();
    assert!(reasons.contains(&reason.as_str()), "reason not of {reasons:?}: {response:?}");
}

/// On a site without an application: its named location answered, for one of these reasons.
#[track_caller]
pub fn fell_through(response: &Response, status: &str, reasons: &[&str]) {
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(response.text(), "application", "{response:?}");
    because(response, status, reasons);
}

/// Whether it is a hit; if not, the named location must have answered.
#[track_caller]
pub fn hit_or_fallen_through(response: &Response, body: impl AsRef<[u8]>) -> bool {
    let is_hit = response.header("X-Cache").as_deref() == Some("HIT");
    match is_hit {
        true => hit(response, body),
        false => {
            assert_eq!((response.status, response.text().as_str()), (200, "application"));
        }
    }
    is_hit
}
