//! Where text goes: results to standard output, JSON one object a line; everything else to standard
//! error.

use serde_json::Value;
use std::io::{self, Write};

/// Writes one object.
///
/// # Errors
/// The reader has left.
pub fn json_line(out: &mut dyn Write, value: &Value) -> io::Result<()> {
    writeln!(out, "{value}")
}

/// Tells whoever runs this. Standard error may be closed, which is no reason to stop.
pub fn say(text: &str) {
    let _ = writeln!(io::stderr(), "pagecachectl: {}", printable(text));
}

/// URLs come from sitemaps, and answers from servers: neither may steer a terminal.
fn printable(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character.is_control() && character != '\n' {
            true => safe.extend(character.escape_default()),
            false => safe.push(character),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_steers_the_terminal() {
        assert_eq!(printable("é\n\u{1b}[2J\u{9b}2J\r"), "é\n\\u{1b}[2J\\u{9b}2J\\r");
    }
}
