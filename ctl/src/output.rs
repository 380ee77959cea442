//! Output: results go to standard output, as JSON one object per line, and messages to standard error. URLs come from
//! sitemaps, keys and pages from memcached, and names from servers. None of them may control a terminal or be
//! displayed as another text than it is.

use serde_json::Value;
use std::io::{self, Write};

/// Standard output. A terminal gets control characters as text, a pipe or a file gets every byte unchanged.
pub struct Output<W> {
    out: W,
    is_terminal: bool,
    /// The first bytes of a character whose last byte has not been written yet.
    begun: Vec<u8>,
}

impl<W: Write> Output<W> {
    pub fn new(out: W, is_terminal: bool) -> Output<W> {
        Output { out, is_terminal, begun: Vec::new() }
    }
}

impl<W: Write> Write for Output<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.is_terminal {
            return self.out.write(bytes);
        }
        let mut all = std::mem::take(&mut self.begun);
        all.extend_from_slice(bytes);
        self.begun = all.split_off(all.len() - unfinished(&all));
        self.out.write_all(readable(&all).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let begun = std::mem::take(&mut self.begun);
        self.out.write_all(readable(&begun).as_bytes())?;
        self.out.flush()
    }
}

/// Number of bytes at the end that are the beginning of an incomplete character.
fn unfinished(bytes: &[u8]) -> usize {
    let last = bytes.utf8_chunks().last().map(|chunk| chunk.invalid()).unwrap_or_default();
    match std::str::from_utf8(last) {
        Err(error) if error.error_len().is_none() => last.len(),
        _ => 0,
    }
}

/// Bytes as printable text.
fn readable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(&printable(chunk.valid()));
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    text
}

/// Writes one object.
///
/// # Errors
/// The reader has closed the output.
pub fn json_line(out: &mut dyn Write, value: &Value) -> io::Result<()> {
    let mut line = String::new();
    for character in value.to_string().chars() {
        // serde_json leaves those above the space as they are; only strings have them
        match steers(character) {
            true => line.push_str(&format!("\\u{:04x}", u32::from(character))),
            false => line.push(character),
        }
    }
    writeln!(out, "{line}")
}

/// Prints a message to standard error. A closed standard error is ignored.
pub fn say(text: &str) {
    let _ = writeln!(io::stderr(), "pagecachectl: {}", printable(text));
}

/// Text with its control characters escaped.
pub fn printable(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match steers(character) {
            true => safe.extend(character.escape_unicode()),
            false => safe.push(character),
        }
    }
    safe
}

/// Whether a terminal acts on the character: control characters, and those that change the direction of text.
fn steers(character: char) -> bool {
    match character {
        '\n' | '\t' => false,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            true
        }
        other => other.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nothing_steers_the_terminal() {
        assert_eq!(
            printable("é\n\t\u{1b}[2J\u{9b}2J\r\u{202e}"),
            "é\n\t\\u{1b}[2J\\u{9b}2J\\u{d}\\u{202e}"
        );
    }

    fn written(is_terminal: bool, pieces: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut out = Output::new(&mut bytes, is_terminal);
        pieces.iter().for_each(|piece| out.write_all(piece).unwrap());
        out.flush().unwrap();
        bytes
    }

    #[test]
    fn a_terminal_gets_text_and_all_else_gets_bytes() {
        let bytes = b"\xc3\xa9\t\x1b[2J\xc2\x9b2J\x9b\xff\xe4\xb8\x00\n\xe4";
        let text = "é\t\\u{1b}[2J\\u{9b}2J\\x9b\\xff\\xe4\\xb8\\u{0}\n\\xe4";
        assert_eq!(written(false, &[bytes]), bytes);
        assert_eq!(String::from_utf8(written(true, &[bytes])).unwrap(), text);
        // wherever it is cut
        for cut in 0..=bytes.len() {
            let (before, behind) = bytes.split_at(cut);
            assert_eq!(written(true, &[before, behind]), text.as_bytes(), "{cut}");
        }
        let bytes: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(written(true, &bytes), text.as_bytes());
    }

    #[test]
    fn json_has_them_as_escapes() {
        let mut line = Vec::new();
        let value = json!({ "a": "é\u{1b}\u{7f}\u{9b}\n\u{202e}" });
        json_line(&mut line, &value).unwrap();
        assert_eq!(
            String::from_utf8(line.clone()).unwrap(),
            "{\"a\":\"é\\u001b\\u007f\\u009b\\n\\u202e\"}\n"
        );
        assert_eq!(serde_json::from_slice::<Value>(&line).unwrap(), value);
    }
}
