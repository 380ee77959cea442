//! Owns curl, for protocols that the tests' own client does not speak: HTTP/2, unix sockets, gzip.

use std::process::Command;

use crate::{Site, parts};

/// Runs curl in the site's prefix and returns its output. If curl fails, the test fails with curl's message.
#[track_caller]
pub fn curl(site: &Site, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(parts::installed("curl"))
        .args(["--silent", "--show-error", "--max-time", "60"])
        .args(arguments)
        .current_dir(site.prefix())
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "curl {arguments:?}: {complaint}");
    output.stdout
}
