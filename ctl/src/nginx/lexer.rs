//! nginx's configuration as statements: words, quotes, comments, and the end of each statement.
//!
//! ```text
//! statement = word { blank word } ( ";" | "{" )      "}" ends a block
//! word      = '"' ... '"' | "'" ... "'" | bare        a bare word ends at blank, ";", or a "{" without "$"
//! comment   = "#" ... end of line, where a word may begin
//! escapes   = \" \' \\ \t \r \n; another backslash stays
//! ```
//!
//! Follows `ngx_conf_read_token`. It does not know what the words mean.

use std::fmt;

/// One statement.
#[derive(Debug, PartialEq, Eq)]
pub struct Statement {
    pub words: Vec<String>,
    /// Line of its first word, `1..`.
    pub line: usize,
    pub ending: Ending,
}

/// The token that ends a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Semicolon,
    BlockStart,
    /// A `}`; there are no words.
    BlockEnd,
    /// There are no words.
    File,
}

/// A syntax error, which nginx reports too.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed {
    pub line: usize,
    pub reason: String,
}

/// Reads one file's text.
pub struct Lexer<'a> {
    text: &'a str,
    /// Position in bytes, always at the boundary of a character.
    at: usize,
    line: usize,
}

impl<'a> Lexer<'a> {
    pub fn new(text: &'a str) -> Lexer<'a> {
        Lexer { text: text.strip_prefix('\u{feff}').unwrap_or(text), at: 0, line: 1 }
    }

    /// The next statement.
    ///
    /// # Errors
    /// [`Malformed`]: the rest of the file cannot be read.
    pub fn statement(&mut self) -> Result<Statement, Malformed> {
        let mut words = Vec::new();
        self.skip_blanks();
        let line = self.line;
        loop {
            self.skip_blanks();
            let ending = match self.peek() {
                None if words.is_empty() => Ending::File,
                None => return Err(self.malformed("unexpected end of file, expecting \";\"")),
                Some('}') if words.is_empty() => Ending::BlockEnd,
                Some(found @ '}') => return Err(self.unexpected(found)),
                Some(found @ (';' | '{')) if words.is_empty() => {
                    return Err(self.unexpected(found));
                }
                Some(';') => Ending::Semicolon,
                Some('{') => Ending::BlockStart,
                Some(quote @ ('"' | '\'')) => {
                    words.push(self.quoted(quote)?);
                    continue;
                }
                Some(_) => {
                    words.push(self.bare()?);
                    continue;
                }
            };
            self.advance();
            return Ok(Statement { words, line, ending });
        }
    }

    /// Skips a block of Lua code after its `{`: its quotes and comments are not nginx's.
    ///
    /// # Errors
    /// The block does not end.
    pub fn skip_lua(&mut self) -> Result<(), Malformed> {
        let mut open = 1;
        while open > 0 {
            match self.advance() {
                None => return Err(self.malformed("unexpected end of file, expecting \"}\"")),
                Some('{') => open += 1,
                Some('}') => open -= 1,
                Some(quote @ ('"' | '\'')) => self.skip_lua_string(quote),
                Some('-') if self.peek() == Some('-') => self.skip_line(),
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn skip_lua_string(&mut self, quote: char) {
        while let Some(found) = self.advance() {
            match found {
                '\\' => _ = self.advance(),
                _ if found == quote || found == '\n' => return,
                _ => {}
            }
        }
    }

    fn skip_line(&mut self) {
        while self.advance().is_some_and(|found| found != '\n') {}
    }

    fn skip_blanks(&mut self) {
        while let Some(found) = self.peek() {
            match found {
                '#' => self.skip_line(),
                _ if is_blank(found) => _ = self.advance(),
                _ => return,
            }
        }
    }

    fn quoted(&mut self, quote: char) -> Result<String, Malformed> {
        self.advance();
        let start = self.at;
        loop {
            match self.peek() {
                None => {
                    return Err(
                        self.malformed(&format!("unexpected end of file, expecting {quote}"))
                    );
                }
                Some('\\') => _ = self.advance(),
                Some(found) if found == quote => break,
                Some(_) => {}
            }
            self.advance();
        }
        let word = unescape(self.text.get(start..self.at).unwrap_or_default());
        self.advance();
        match self.peek() {
            None | Some(';' | '{' | ')') => Ok(word),
            Some(found) if is_blank(found) => Ok(word),
            Some(found) => Err(self.unexpected(found)),
        }
    }

    fn bare(&mut self) -> Result<String, Malformed> {
        let start = self.at;
        let mut in_variable = false;
        loop {
            match self.peek() {
                None => return Err(self.malformed("unexpected end of file, expecting \";\"")),
                Some('{') if in_variable => {}
                Some(found) => {
                    in_variable = found == '$';
                    match found {
                        '\\' => _ = self.advance(),
                        ';' | '{' => break,
                        _ if is_blank(found) => break,
                        _ => {}
                    }
                }
            }
            self.advance();
        }
        Ok(unescape(self.text.get(start..self.at).unwrap_or_default()))
    }

    fn peek(&self) -> Option<char> {
        self.text.get(self.at..)?.chars().next()
    }

    fn advance(&mut self) -> Option<char> {
        let found = self.peek()?;
        self.at += found.len_utf8();
        self.line += usize::from(found == '\n');
        Some(found)
    }

    fn unexpected(&self, found: char) -> Malformed {
        self.malformed(&format!("unexpected \"{found}\""))
    }

    fn malformed(&self, reason: &str) -> Malformed {
        Malformed { line: self.line, reason: reason.to_owned() }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

fn is_blank(found: char) -> bool {
    matches!(found, ' ' | '\t' | '\r' | '\n')
}

fn unescape(raw: &str) -> String {
    let mut word = String::with_capacity(raw.len());
    let mut rest = raw.chars();
    while let Some(found) = rest.next() {
        let escaped = match (found, rest.clone().next()) {
            ('\\', Some(next @ ('"' | '\'' | '\\'))) => next,
            ('\\', Some('t')) => '\t',
            ('\\', Some('r')) => '\r',
            ('\\', Some('n')) => '\n',
            _ => {
                word.push(found);
                continue;
            }
        };
        rest.next();
        word.push(escaped);
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statements(text: &str) -> Vec<(Vec<String>, Ending)> {
        let mut lexer = Lexer::new(text);
        let mut found = Vec::new();
        loop {
            let statement = lexer.statement().unwrap();
            if statement.ending == Ending::File {
                return found;
            }
            found.push((statement.words, statement.ending));
        }
    }

    fn words(text: &str) -> Vec<String> {
        let mut found = statements(text);
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0).0
    }

    #[test]
    fn words_and_blocks() {
        let found = statements("events{}\nhttp { # all\n  server_name a b;\n}");
        let endings: Vec<_> = found.iter().map(|(_, ending)| *ending).collect();
        use Ending::{BlockEnd, BlockStart, Semicolon};
        assert_eq!(endings, [BlockStart, BlockEnd, BlockStart, Semicolon, BlockEnd]);
        assert_eq!(found[3].0, ["server_name", "a", "b"]);
    }

    #[test]
    fn quotes_and_escapes() {
        assert_eq!(words(r#"k "a b;{}#" 'it"s';"#), ["k", "a b;{}#", "it\"s"]);
        assert_eq!(words(r#"k "a\"b" a\ b \d\t;"#), ["k", "a\"b", "a\\ b", "\\d\t"]);
        assert_eq!(words("k \"\";"), ["k", ""]);
        assert_eq!(words("k é\"x 日本;"), ["k", "é\"x", "日本"]);
        assert_eq!(
            words("if (\"a\" = \"b\") { }".trim_end_matches(" }")),
            ["if", "(\"a\"", "=", "b", ")"]
        );
    }

    #[test]
    fn variables_in_braces_begin_no_block() {
        assert_eq!(words("pagecache_key ${uri}x${args};"), ["pagecache_key", "${uri}x${args}"]);
        assert_eq!(statements("map $a $b{").len(), 1);
    }

    #[test]
    fn comments_begin_where_words_do() {
        assert_eq!(words("a#b # c;\n d;"), ["a#b", "d"]);
    }

    #[test]
    fn what_nginx_refuses() {
        let reason = |text: &str| {
            let mut lexer = Lexer::new(text);
            loop {
                match lexer.statement() {
                    Err(malformed) => return (malformed.line, malformed.reason),
                    Ok(statement) => assert_ne!(statement.ending, Ending::File, "{text}"),
                }
            }
        };
        assert_eq!(reason("a;\n;"), (2, "unexpected \";\"".to_owned()));
        assert_eq!(reason("a }").1, "unexpected \"}\"");
        assert_eq!(reason("a \"b\"c;").1, "unexpected \"c\"");
        assert_eq!(reason("a \"b;").1, "unexpected end of file, expecting \"");
        assert_eq!(reason("a b").1, "unexpected end of file, expecting \";\"");
    }

    #[test]
    fn lua_is_skipped() {
        let text = "content_by_lua_block { -- it's {\n local t = { \"}\", '\\'}' } } next;";
        let mut lexer = Lexer::new(text);
        assert_eq!(lexer.statement().unwrap().ending, Ending::BlockStart);
        lexer.skip_lua().unwrap();
        assert_eq!(lexer.statement().unwrap().words, ["next"]);
    }
}
