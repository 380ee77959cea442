//! Owns the directives that each nginx of the tests needs to run where the tests start it, and to write only under
//! its own prefix.

use std::fmt::Display;

use crate::kernel;

/// The beginning of a configuration, outside of all blocks: nginx stays in the foreground.
pub fn foreground(prefix: impl Display) -> String {
    format!("daemon off; {} pid {prefix}/nginx.pid;", user())
}

/// As root, nginx would run its workers under an account that cannot reach the prefix.
pub fn user() -> &'static str {
    if kernel::is_root() { "user root;" } else { "" }
}

/// Temporary paths, for `http {}`.
pub fn temp_paths(prefix: impl Display) -> String {
    ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {prefix}/temp/{kind};"))
        .concat()
}
