//! The lines of a stored head (RFC 9112, sections 2.2, 4 and 5), read where they lie. It does not know what the
//! fields mean.
//!
//! ```text
//! head        = *newline status-line *field-line newline
//! status-line = ( "HTTP/1.0" / "HTTP/1.1" ) SP 3DIGIT [ SP *text ] newline
//! field-line  = 1*tchar ":" *text newline
//! text        = HTAB / SP / VCHAR / obs-text
//! newline     = [ CR ] LF
//! ```
//!
//! What is valid is what the crate httparse takes, with which the tests compare this.

use super::cache_control::trim;
use super::token::token_len;

/// A line behind the status line.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// A name and a value, without spaces around it.
    Field(&'a [u8], &'a [u8]),
    /// The end of the head.
    End,
}

/// What follows the status line.
pub struct Lines<'a>(&'a [u8]);

/// The status, and the lines behind it. None if there is no such line, or not its end.
pub fn status_line(head: &[u8]) -> Option<(u16, Lines<'_>)> {
    let mut head = head;
    while let Some(behind) = newline(head) {
        head = behind;
    }
    let version = head.strip_prefix(b"HTTP/1.1 ").or_else(|| head.strip_prefix(b"HTTP/1.0 "));
    let (code, behind) = version?.split_first_chunk::<3>()?;
    let mut digits = code.iter().map(|&digit| digit.is_ascii_digit().then(|| digit - b'0'));
    let status = digits.try_fold(0, |status, digit| Some(status * 10 + u16::from(digit?)))?;
    let end = match behind.strip_prefix(b" ") {
        Some(reason) => reason.get(text_len(reason)..)?,
        None => behind,
    };
    Some((status, Lines(newline(end)?)))
}

impl<'a> Lines<'a> {
    /// Takes the first line. None if it is not valid, or not whole.
    pub fn take(&mut self) -> Option<Line<'a>> {
        if let Some(behind) = newline(self.0) {
            self.0 = behind;
            return Some(Line::End);
        }
        let (name, behind) = self.0.split_at_checked(token_len(self.0))?;
        let text = behind.strip_prefix(b":").filter(|_| !name.is_empty())?;
        let (value, end) = text.split_at_checked(text_len(text))?;
        self.0 = newline(end)?;
        Some(Line::Field(name, trim(value)))
    }

    /// The bytes that are left.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// What follows the newline at the beginning.
fn newline(rest: &[u8]) -> Option<&[u8]> {
    rest.strip_prefix(b"\n").or_else(|| rest.strip_prefix(b"\r\n"))
}

/// The bytes of text at the beginning.
fn text_len(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    loop {
        let (_, end) = rest.split_at_checked(plain_len(rest)).unwrap_or_default();
        match end.strip_prefix(b"\t") {
            Some(behind) => rest = behind,
            None => return bytes.len() - end.len(),
        }
    }
}

/// The bytes in front of the first control character: eight at a time, since most of a head are values.
fn plain_len(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while let Some((eight, behind)) = rest.split_first_chunk::<8>() {
        let controls = controls(u64::from_le_bytes(*eight));
        if controls != 0 {
            return bytes.len() - rest.len() + controls.trailing_zeros() as usize / 8;
        }
        rest = behind;
    }
    let last = rest.iter().position(u8::is_ascii_control).unwrap_or(rest.len());
    bytes.len() - rest.len() + last
}

/// The highest bit of a byte is set if it is a control character, below 0x20 or 0x7f. Bytes behind the first one,
/// which is the lowest, may be marked, too: a subtraction borrows from them.
fn controls(eight: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    let below = |eight: u64, limit: u64| eight.wrapping_sub(ONES * limit) & !eight;
    (below(eight, 0x20) | below(eight ^ (ONES * 0x7f), 1)) & (ONES * 0x80)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Fields<'a> = Vec<(&'a [u8], &'a [u8])>;

    /// The status, the fields and the length of a head.
    fn read(value: &[u8]) -> Option<(u16, Fields<'_>, usize)> {
        let (status, mut lines) = status_line(value)?;
        let mut fields = Vec::new();
        while let Line::Field(name, value) = lines.take()? {
            fields.push((name, value));
        }
        Some((status, fields, value.len() - lines.len()))
    }

    /// As httparse reads them.
    fn reference(value: &[u8]) -> Option<(u16, Fields<'_>, usize)> {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(len) = response.parse(value).ok()? else { return None };
        let fields = response.headers.iter().map(|it| (it.name.as_bytes(), it.value)).collect();
        Some((response.code?, fields, len))
    }

    #[test]
    fn lines() {
        let head = b"HTTP/1.1 200 OK\r\nA:b\nC: \t d\te \r\nF:\r\n\r\nbody";
        let fields = vec![(&b"A"[..], &b"b"[..]), (b"C", b"d\te"), (b"F", b"")];
        assert_eq!(read(head), Some((200, fields, head.len() - 4)));
        for end in 0..head.len() - 4 {
            assert_eq!(read(&head[..end]), None, "{end}");
        }
        let least = b"\r\n\nHTTP/1.0 000\n\n";
        assert_eq!(read(least), Some((0, Vec::new(), least.len())));
    }

    /// Each byte in each place of a head, in place of another and as one more.
    #[test]
    fn each_byte_in_each_place() {
        let head = b"\nHTTP/1.1 204 No \xe9\r\nX-A: 12345678 \xe91234567\r\nB:\t\r\n\r\n";
        for (at, byte) in (0..=head.len()).flat_map(|at| (0..=255).map(move |byte| (at, byte))) {
            for behind in [at, at + 1] {
                let behind = head.get(behind..).unwrap_or_default();
                let value = [&head[..at], &[byte], behind].concat();
                assert_eq!(read(&value), reference(&value), "{}", value.escape_ascii());
            }
        }
    }

    #[test]
    fn the_first_control_character_ends_what_is_plain() {
        for (at, byte) in (0..20).flat_map(|at| (0..=255).map(move |byte| (at, byte))) {
            for others in [b' ', b'~', 0x80, 0xff, 0x1f, 0x7f] {
                let mut text = [b'a'; 20];
                text[at..].fill(others);
                text[at] = byte;
                let first = text.iter().position(|byte| byte.is_ascii_control());
                assert_eq!(plain_len(&text), first.unwrap_or(20), "{}", text.escape_ascii());
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes(value in proptest::collection::vec(any::<u8>(), 0..60)) {
            let value = [&b"HTTP/1.1 200 "[..], &value, b"\r\n\r\n"].concat();
            prop_assert_eq!(read(&value), reference(&value));
        }

        #[test]
        fn pieces_of_heads(pieces in proptest::collection::vec(
            proptest::sample::select(vec![
                &b"HTTP/1.1 200"[..], b"HTTP/1.0 ", b" OK", b"\r\n", b"\n", b"\r", b"X-A", b":", b" ", b"\t", b"value",
                b"\xc3\xa9", b"\0", b"\x7f", b"\"a\"", b"X_b:  c\r\n", b"12345678",
            ]), 0..16))
        {
            let value = pieces.concat();
            prop_assert_eq!(read(&value), reference(&value));
            let behind = [b"HTTP/1.1 200 OK\r\n", &value[..], b"\r\n\r\n"].concat();
            prop_assert_eq!(read(&behind), reference(&behind));
        }
    }
}
