//! What is wrong with a command line, on one line that says what to do: clap's own errors have several.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, Error};
use std::error::Error as _;

/// `name` is the word of the command line that stands where the command is expected.
pub fn explain(error: &Error, table: &Command, name: &str) -> String {
    let words = |kind| words(error, kind);
    let word = |kind| words(kind).into_iter().next().unwrap_or_default();
    // of "--config <FILE>", or "<URL>"
    let shown = word(ContextKind::InvalidArg);
    let option = shown.split(' ').next().unwrap_or_default();
    let option = option.trim_matches(['<', '>', '[', ']']);
    let value = word(ContextKind::InvalidValue);
    match error.kind() {
        ErrorKind::MissingSubcommand => "no command is given: see pagecachectl --help".to_owned(),
        ErrorKind::InvalidSubcommand => {
            let name = word(ContextKind::InvalidSubcommand);
            let names: Vec<&str> = table.get_subcommands().map(Command::get_name).collect();
            format!("no command \"{name}\": one of {} is expected", names.join(", "))
        }
        ErrorKind::UnknownArgument => {
            let suggested = word(ContextKind::SuggestedArg);
            unknown(table, name, option, &suggested)
        }
        ErrorKind::MissingRequiredArgument => {
            format!("{name} needs {option}: see pagecachectl {name} --help")
        }
        ErrorKind::ArgumentConflict => {
            let prior = word(ContextKind::PriorArg);
            match prior.split(' ').next() {
                Some(prior) if !prior.is_empty() && prior != option => {
                    format!("{option} and {prior} exclude each other")
                }
                _ => format!("{option} is given several times: once is enough"),
            }
        }
        ErrorKind::InvalidValue if value.is_empty() => {
            let expected = shown.split_once(' ').map_or("", |(_, name)| name);
            format!("{option} needs a value: {}", expected.trim_matches(['<', '>']))
        }
        ErrorKind::InvalidValue => {
            let expected = words(ContextKind::ValidValue).join(", ");
            format!("{option} {}: one of {expected} is expected", quoted(&value))
        }
        ErrorKind::ValueValidation => {
            let reason = error.source().map(ToString::to_string).unwrap_or_default();
            format!("{option} {}: {reason}", quoted(&value))
        }
        ErrorKind::TooManyValues => format!("{option} takes no value"),
        ErrorKind::InvalidUtf8 => "a word of the command line is not UTF-8".to_owned(),
        _ => error.to_string().lines().next().unwrap_or_default().to_owned(),
    }
}

fn unknown(table: &Command, name: &str, word: &str, suggested: &str) -> String {
    let Some(command) = table.find_subcommand(name) else {
        return format!("{word} is no option of pagecachectl itself: options follow the command");
    };
    let is_option = word.starts_with('-');
    let others = commands_with(table, word);
    match suggested {
        _ if !others.is_empty() => {
            format!("{name} takes no {word}, an option of {}", others.join(", "))
        }
        "" if is_option => format!("{name} takes no {word}: see pagecachectl {name} --help"),
        suggested if is_option => format!("{name} takes no {word}: did you mean {suggested}?"),
        _ if command.get_positionals().next().is_none() => {
            format!("{name} takes options only, no \"{word}\"")
        }
        _ => {
            let takes = command.get_positionals().flat_map(|it| it.get_value_names()).flatten();
            let takes: Vec<&str> = takes.map(AsRef::as_ref).collect();
            let takes = takes.join(" ");
            format!(
                "{name} takes one {takes}, and \"{word}\" is one more: see pagecachectl {name} --help"
            )
        }
    }
}

/// The commands that take an option.
fn commands_with<'a>(table: &'a Command, option: &str) -> Vec<&'a str> {
    let Some(long) = option.strip_prefix("--") else { return Vec::new() };
    let takes =
        |command: &&Command| command.get_arguments().any(|own| own.get_long() == Some(long));
    table.get_subcommands().filter(takes).map(Command::get_name).collect()
}

/// As it was typed, if that is one word.
fn quoted(value: &str) -> String {
    let is_plain = value.chars().all(|character| character.is_ascii_graphic());
    if is_plain { value.to_owned() } else { format!("\"{value}\"") }
}

/// What clap says about a part of its error.
fn words(error: &Error, kind: ContextKind) -> Vec<String> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => vec![text.clone()],
        Some(ContextValue::Strings(texts)) => texts.clone(),
        _ => Vec::new(),
    }
}
