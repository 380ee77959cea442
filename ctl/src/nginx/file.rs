//! nginx's configuration as a tree of directives, in which each `include` is replaced by the files it names.

use super::lexer::{Ending, Lexer};
use crate::exit::Stop;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Nested blocks and files at most, so that a file that includes itself is an error.
const MAX_DEPTH: usize = 64;

/// One directive, with the directives in its braces.
#[derive(Debug)]
pub struct Directive {
    pub name: String,
    pub arguments: Vec<String>,
    /// Empty for a directive without braces.
    pub block: Vec<Directive>,
    pub place: Place,
}

/// File and line of a directive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    file: Rc<Path>,
    line: usize,
}

/// Reads a configuration and all that it includes.
///
/// # Errors
/// A file cannot be read, or nginx would refuse it.
pub fn read(file: &Path) -> Result<Vec<Directive>, Stop> {
    // as in nginx, a relative path is relative to the folder of nginx.conf, whichever file names it
    let folder = file.parent().unwrap_or(Path::new("")).to_owned();
    let text = fs::read(file).map_err(|error| {
        Stop::Refused(format!(
            "cannot read \"{}\": {error}; name nginx's configuration with --config, or the servers with \
             --server",
            file.display()
        ))
    })?;
    Reader { folder }.file(&text, file, 0)
}

struct Reader {
    folder: PathBuf,
}

impl Reader {
    fn file(&self, text: &[u8], file: &Path, depth: usize) -> Result<Vec<Directive>, Stop> {
        let text = String::from_utf8_lossy(text);
        let mut lexer = Lexer::new(&text);
        self.block(&mut lexer, &file.into(), depth, Ending::File)
    }

    fn block(
        &self,
        lexer: &mut Lexer<'_>,
        file: &Rc<Path>,
        depth: usize,
        end: Ending,
    ) -> Result<Vec<Directive>, Stop> {
        let mut found = Vec::new();
        loop {
            let statement = lexer.statement().map_err(|malformed| {
                refused(&Place { file: file.clone(), line: malformed.line }, malformed)
            })?;
            let place = Place { file: file.clone(), line: statement.line };
            if depth > MAX_DEPTH {
                return Err(refused(&place, "too many blocks or files within each other"));
            }
            let mut words = statement.words.into_iter();
            let name = words.next().unwrap_or_default();
            let arguments: Vec<String> = words.collect();
            let block = match statement.ending {
                ending if ending == end => return Ok(found),
                Ending::BlockEnd => return Err(refused(&place, "unexpected \"}\"")),
                Ending::File => {
                    return Err(refused(&place, "unexpected end of file, expecting \"}\""));
                }
                Ending::Semicolon => Vec::new(),
                Ending::BlockStart if name.ends_with("_by_lua_block") => {
                    lexer.skip_lua().map_err(|malformed| refused(&place, malformed))?;
                    Vec::new()
                }
                Ending::BlockStart => self.block(lexer, file, depth + 1, Ending::BlockEnd)?,
            };
            match (name.as_str(), arguments.as_slice()) {
                ("include", [pattern]) => {
                    for file in self.included(pattern, &place)? {
                        let text = fs::read(&file).map_err(|error| {
                            refused(&place, format!("cannot read \"{}\": {error}", file.display()))
                        })?;
                        found.append(&mut self.file(&text, &file, depth + 1)?);
                    }
                }
                _ => found.push(Directive { name, arguments, block, place }),
            }
        }
    }

    /// As in nginx, a pattern may match no file, but a plain name must exist.
    fn included(&self, pattern: &str, place: &Place) -> Result<Vec<PathBuf>, Stop> {
        let path = self.folder.join(pattern);
        if !pattern.contains(['*', '?', '[']) {
            return Ok(vec![path]);
        }
        let options = glob::MatchOptions {
            require_literal_separator: true,
            require_literal_leading_dot: true,
            ..glob::MatchOptions::default()
        };
        let found = glob::glob_with(&path.to_string_lossy(), options)
            .map_err(|error| refused(place, format!("cannot include \"{pattern}\": {error}")))?;
        Ok(found.filter_map(Result::ok).filter(|path| path.is_file()).collect())
    }
}

fn refused(place: &Place, reason: impl fmt::Display) -> Stop {
    Stop::Refused(format!("{place}: {reason}"))
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes files, reads the first, and lists its directives: `name arguments {...}`.
    fn listed(files: &[(&str, &str)]) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let found = read(&folder.path().join(files[0].0)).map_err(|stop| {
            stop.to_string().replace(&format!("{}/", folder.path().display()), "")
        })?;
        Ok(list(&found))
    }

    fn list(directives: &[Directive]) -> String {
        let line = |directive: &Directive| {
            let mut words = vec![directive.name.clone()];
            words.extend(directive.arguments.clone());
            if !directive.block.is_empty() {
                words.push(format!("{{{}}}", list(&directive.block)));
            }
            words.join(" ")
        };
        directives.iter().map(line).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn includes_stand_where_they_are() {
        let found = listed(&[
            ("nginx.conf", "a; http { include sites/*.conf; include one; z; }"),
            ("sites/2.conf", "server { include sites/deep/in; }"),
            ("sites/1.conf", "first;"),
            ("sites/.hidden.conf", "hidden;"),
            ("sites/deep/in", "inner;"),
            ("one", "b c;"),
        ]);
        assert_eq!(found.unwrap(), "a; http {first; server {inner}; b c; z}");
    }

    #[test]
    fn a_pattern_may_match_nothing_but_a_name_must_be_there() {
        assert_eq!(listed(&[("nginx.conf", "include none/*; a;")]).unwrap(), "a");
        let missing = listed(&[("nginx.conf", "include none;")]).unwrap_err();
        assert!(missing.starts_with("nginx.conf:1: cannot read \"none\": No such"), "{missing}");
    }

    #[test]
    fn errors_say_where() {
        let reason = |text| listed(&[("nginx.conf", text)]).unwrap_err();
        assert_eq!(reason("a;\nb }"), "nginx.conf:2: unexpected \"}\"");
        assert_eq!(reason("a {\n"), "nginx.conf:2: unexpected end of file, expecting \"}\"");
        assert_eq!(reason("a; }"), "nginx.conf:1: unexpected \"}\"");
        assert!(reason("include nginx.conf;").contains("too many"), "includes itself");
        assert!(reason(&"a {".repeat(500)).contains("too many"));
    }
}
