//! What `--help` prints, made of the tables in `options.rs`.

use crate::options::{COMMANDS, Command, ROWS, Row};
use std::fmt::Write;

/// Behind each command's help and on the manual page.
const EXIT_CODES: &str = "\
exit codes:
  0  everything was done
  1  something is not there: an item, a page, a key for a URL
  2  the command line or the configuration cannot be used; nothing was done
  3  a memcached server, the site or a file failed; the rest was done
";

/// Of all commands.
pub fn overview() -> String {
    let mut text = String::from(
        "usage: pagecachectl COMMAND [OPTION...] [URL...]\n\n\
         Looks at, drops and fills the pages that nginx serves from memcached with nginx-pagecache.\n\n",
    );
    for command in &COMMANDS {
        line(&mut text, command.name, command.about, 8);
    }
    text.push_str("\n\"pagecachectl COMMAND --help\" lists a command's options.\n\n");
    text.push_str(EXIT_CODES);
    text
}

/// Of one command.
pub fn of(command: &Command) -> String {
    let operands = command.operands;
    let space = if operands.is_empty() { "" } else { " " };
    let mut text = format!("usage: pagecachectl {} [OPTION...]{space}{operands}\n\n", command.name);
    let _ = writeln!(text, "{}.\n", sentence(command.about));
    for row in ROWS.iter().filter(|row| row.is_of(command.name)) {
        line(&mut text, &spelling(row), row.about, 26);
    }
    if operands.ends_with('-') {
        text.push_str("\nWith - for URLs they are read from standard input, one on each line.\n");
    }
    text.push('\n');
    text.push_str(EXIT_CODES);
    text
}

fn line(text: &mut String, name: &str, about: &str, width: usize) {
    let _ = writeln!(text, "  {name:width$} {about}");
}

fn spelling(row: &Row) -> String {
    match row.value {
        Some(value) => format!("--{} {value}", row.name),
        None => format!("--{}", row.name),
    }
}

fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(characters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_lists_its_options() {
        let warm = of(&COMMANDS[3]);
        assert!(warm.starts_with("usage: pagecachectl warm [OPTION...] URL...|-\n"), "{warm}");
        assert!(warm.contains("--rate N ") && !warm.contains("--raw-key"), "{warm}");
        assert!(overview().contains("\n  stats "));
    }
}
