//! Owns the directives that each nginx of the tests needs, so that it runs where the tests start it and writes
//! under its own prefix alone.

use std::fmt::Display;

use crate::kernel;

/// What a configuration begins with, outside of all blocks: nginx stays in the foreground.
pub fn foreground(prefix: impl Display) -> String {
    format!("daemon off; {} pid {prefix}/nginx.pid;", user())
}

/// As root, nginx would give its workers away to an account that cannot reach the prefix.
pub fn user() -> &'static str {
    if kernel::is_root() { "user root;" } else { "" }
}

/// For `http {}`.
pub fn temp_paths(prefix: impl Display) -> String {
    ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {prefix}/temp/{kind};"))
        .concat()
}
