//! The parts of a request target, as nginx parses it: the path is decoded, slashes are merged, and dot segments are
//! resolved.
//!
//! ```text
//! /a//b/../c%20d?e=%20f#g     path "/a/c d", query "e=%20f"
//! ```
//!
//! Follows `ngx_http_parse_complex_uri`, whose states these are. nginx has a faster parser for simple targets, with the
//! same result.

/// A target's parts.
#[derive(Debug, PartialEq, Eq)]
pub struct Target {
    /// Decoded: `$uri`.
    pub path: Vec<u8>,
    /// As sent, without the `?`: `$args`.
    pub query: Vec<u8>,
}

/// nginx answers 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invalid {
    /// It does not begin with a slash.
    Beginning,
    /// It contains a space or a control byte.
    Byte,
    /// A `%` without two hex digits, or `%00`.
    Escape,
    /// It has more `..` than folders.
    AboveRoot,
}

/// The last bytes of the path so far.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Usual,
    Slash,
    Dot,
    DotDot,
}

impl Target {
    /// # Errors
    /// [`Invalid`]: nginx refuses the request.
    pub fn parse(target: &[u8], merge_slashes: bool) -> Result<Target, Invalid> {
        if target.first() != Some(&b'/') {
            return Err(Invalid::Beginning);
        }
        if target.iter().any(|&byte| byte <= 0x20 || byte == 0x7f) {
            return Err(Invalid::Byte);
        }
        let mut path = Path { bytes: Vec::with_capacity(target.len()), state: State::Usual };
        let mut rest = target;
        while let Some((&byte, tail)) = rest.split_first() {
            rest = tail;
            match byte {
                b'?' => {
                    path.end()?;
                    let query = rest.split(|&byte| byte == b'#').next().unwrap_or_default();
                    return Ok(Target { path: path.bytes, query: query.to_vec() });
                }
                b'#' => break,
                b'%' => {
                    let (decoded, tail) = decode(rest)?;
                    rest = tail;
                    match decoded {
                        // decoded, these three have no special meaning
                        b'%' | b'#' | b'?' => path.plain(decoded),
                        _ => path.push(decoded, merge_slashes)?,
                    }
                }
                _ => path.push(byte, merge_slashes)?,
            }
        }
        path.end()?;
        Ok(Target { path: path.bytes, query: Vec::new() })
    }
}

struct Path {
    bytes: Vec<u8>,
    state: State,
}

impl Path {
    fn push(&mut self, byte: u8, merge_slashes: bool) -> Result<(), Invalid> {
        match (self.state, byte) {
            (State::Usual, b'/') => {
                self.bytes.push(byte);
                self.state = State::Slash;
            }
            (State::Slash, b'/') if merge_slashes => {}
            (State::Slash, b'/') => self.bytes.push(byte),
            (State::Slash, b'.') => {
                self.bytes.push(byte);
                self.state = State::Dot;
            }
            (State::Dot, b'.') => {
                self.bytes.push(byte);
                self.state = State::DotDot;
            }
            (State::Dot, b'/') => {
                self.bytes.pop();
                self.state = State::Slash;
            }
            (State::DotDot, b'/') => {
                self.leave_folder()?;
                self.state = State::Slash;
            }
            _ => self.plain(byte),
        }
        Ok(())
    }

    fn plain(&mut self, byte: u8) {
        self.bytes.push(byte);
        self.state = State::Usual;
    }

    /// Resolves a dot segment at the end of the path.
    fn end(&mut self) -> Result<(), Invalid> {
        match self.state {
            State::Dot => _ = self.bytes.pop(),
            State::DotDot => self.leave_folder()?,
            State::Usual | State::Slash => {}
        }
        Ok(())
    }

    /// `/a/..` becomes `/`.
    fn leave_folder(&mut self) -> Result<(), Invalid> {
        let behind = self.bytes.len().checked_sub(b"/..".len()).ok_or(Invalid::AboveRoot)?;
        let before = self.bytes.get(..behind).unwrap_or_default();
        let slash = before.iter().rposition(|&byte| byte == b'/').ok_or(Invalid::AboveRoot)?;
        self.bytes.truncate(slash + 1);
        Ok(())
    }
}

/// Decodes two hex digits. Returns the byte and the rest of the text.
fn decode(text: &[u8]) -> Result<(u8, &[u8]), Invalid> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let [high, low, rest @ ..] = text else { return Err(Invalid::Escape) };
    match (digit(*high), digit(*low)) {
        (Some(high), Some(low)) if high + low > 0 => Ok((high << 4 | low, rest)),
        _ => Err(Invalid::Escape),
    }
}

impl Invalid {
    /// Completes a sentence that begins with the URL.
    pub fn reason(self) -> &'static str {
        match self {
            Invalid::Beginning => "is no URL: https://HOST/PATH, or a path that begins with \"/\"",
            Invalid::Byte => "has a space or a control byte: write %20 for a space",
            Invalid::Escape => "has a \"%\" that is not followed by two hex digits, or %00",
            Invalid::AboveRoot => "has more \"..\" than folders",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(target: &str) -> Result<String, Invalid> {
        Target::parse(target.as_bytes(), true).map(|parsed| String::from_utf8(parsed.path).unwrap())
    }

    #[test]
    fn paths_are_decoded_and_resolved() {
        for (target, expected) in [
            ("/", "/"),
            ("/a%20b", "/a b"),
            ("/a%2Fb", "/a/b"),
            ("/a/%2fb", "/a/b"),
            ("//a///b/", "/a/b/"),
            ("/a/./b/../c", "/a/c"),
            ("/a/%2E%2e/c", "/c"),
            ("/a/.", "/a/"),
            ("/a/..", "/"),
            ("/a/b/..#x", "/a/"),
            ("/a/b/..?x", "/a/"),
            ("/.a/..b/...", "/.a/..b/..."),
            ("/a./b../", "/a./b../"),
            ("/a%3Fb%23c%25d", "/a?b#c%d"),
            ("/./%3F", "/?"),
            ("/.%2525", "/.%25"),
        ] {
            assert_eq!(path(target).unwrap(), expected, "{target}");
        }
    }

    #[test]
    fn what_nginx_refuses() {
        for (target, expected) in [
            ("", Invalid::Beginning),
            ("a", Invalid::Beginning),
            ("/a b", Invalid::Byte),
            ("/a\x7f", Invalid::Byte),
            ("/a?b c", Invalid::Byte),
            ("/%", Invalid::Escape),
            ("/%2", Invalid::Escape),
            ("/%2x", Invalid::Escape),
            ("/%00", Invalid::Escape),
            ("/..", Invalid::AboveRoot),
            ("/a/../../b", Invalid::AboveRoot),
        ] {
            assert_eq!(path(target).unwrap_err(), expected, "{target}");
        }
    }

    #[test]
    fn queries_stay_as_they_are() {
        let query = |target: &str| Target::parse(target.as_bytes(), true).unwrap().query;
        assert_eq!(query("/a?b=%20/../c?d#e"), b"b=%20/../c?d");
        assert_eq!(query("/a?"), b"");
        assert_eq!(query("/a#b?c"), b"");
    }

    #[test]
    fn slashes_may_stay() {
        let kept = Target::parse(b"//a//./b//../c", false).unwrap();
        assert_eq!(kept.path, b"//a//b/c");
    }
}
