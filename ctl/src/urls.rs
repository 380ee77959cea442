//! Lists of URLs, from the command line, standard input and files.

use crate::exit::Stop;
use std::fs;
use std::io::{self, Read};

/// The URLs of the command line, in which `-` stands for the lines of standard input.
///
/// # Errors
/// Standard input cannot be read.
pub fn operands(operands: &[String]) -> Result<Vec<String>, Stop> {
    let mut urls = Vec::new();
    for operand in operands {
        if operand == "-" {
            let mut text = Vec::new();
            io::stdin()
                .read_to_end(&mut text)
                .map_err(|error| Stop::Failed(format!("cannot read standard input: {error}")))?;
            urls.extend(lines(&text));
        } else {
            urls.push(operand.clone());
        }
    }
    Ok(urls)
}

/// The URLs of a file.
///
/// # Errors
/// The file cannot be read.
pub fn file(name: &str) -> Result<Vec<String>, Stop> {
    match fs::read(name) {
        Ok(text) => Ok(lines(&text).collect()),
        Err(error) => Err(Stop::Failed(format!("cannot read \"{name}\": {error}"))),
    }
}

/// One URL per line. Blank lines and lines that begin with `#` are skipped.
fn lines(text: &[u8]) -> impl Iterator<Item = String> + '_ {
    let lines = text.split(|&byte| byte == b'\n');
    let lines = lines.map(|line| String::from_utf8_lossy(line).trim().to_owned());
    lines.filter(|line| !line.is_empty() && !line.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_stand_on_lines() {
        let found: Vec<_> = lines(b"/a\r\n\n# no\n  https://h.test/b#c \n/d").collect();
        assert_eq!(found, ["/a", "https://h.test/b#c", "/d"]);
    }
}
