//! The manual page: commands and options from the table of the command line, and the sections that the table does
//! not know from `manual.roff`.

use clap::{Arg, Command};
use clap_mangen::{Man, roff};
use roff::{Roff, italic, roman};
use std::io::{self, Write};

/// EXIT STATUS and what follows it.
const OTHER_SECTIONS: &str = include_str!("manual.roff");

/// When the page's text changed last. mandoc warns of a page without a date.
const DATE: &str = "2026-11-30";

/// Heading of the options that have none.
const GENERAL: &str = "General";

/// The page as roff.
///
/// # Errors
/// None: it is written to memory.
pub fn page(mut table: Command) -> io::Result<Vec<u8>> {
    table.build();
    let mut page = Vec::new();
    let man = Man::new(table.clone()).title("PAGECACHECTL").source("nginx-pagecache");
    let man = man.date(DATE).manual("User Commands");
    man.render_title(&mut page)?;
    names(&table).to_writer(&mut page)?;
    section("SYNOPSIS").to_writer(&mut page)?;
    for (nth, command) in table.get_subcommands().enumerate() {
        if nth > 0 {
            let mut line_break = Roff::new();
            line_break.control("br", []).to_writer(&mut page)?;
        }
        synopsis(command, &mut page)?;
    }
    description(&table).to_writer(&mut page)?;
    commands(&table).to_writer(&mut page)?;
    section("OPTIONS").to_writer(&mut page)?;
    for heading in headings(&table) {
        options(&table, heading, &mut page)?;
    }
    let mut page = without_preambles(&page);
    page.write_all(OTHER_SECTIONS.as_bytes())?;
    Ok(page)
}

fn section(name: &str) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", [name]);
    roff
}

fn names(table: &Command) -> Roff {
    let mut roff = section("NAME");
    let about = table.get_about().map(ToString::to_string).unwrap_or_default();
    roff.text([roman(format!("pagecachectl - {}", uncapitalized(&about)))]);
    roff
}

/// Command, options and operands on one line.
fn synopsis(command: &Command, page: &mut Vec<u8>) -> io::Result<()> {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").to_owned();
    let man = Man::new(command.clone().override_usage(usage));
    let mut text = Vec::new();
    man.render_synopsis_section(&mut text)?;
    page.extend(without_heading(&text));
    Ok(())
}

fn description(table: &Command) -> Roff {
    let mut roff = section("DESCRIPTION");
    let about = table.get_long_about().map(ToString::to_string).unwrap_or_default();
    // the first paragraph is NAME's
    let about = about.split_once("\n\n").map_or("", |(_, about)| about);
    roff.text([roman(sentences(about))]);
    roff
}

fn commands(table: &Command) -> Roff {
    let mut roff = section("COMMANDS");
    for command in table.get_subcommands() {
        roff.control("SS", [command.get_name()]);
        let about = command.get_long_about().or_else(|| command.get_about());
        roff.text([roman(sentences(&about.map(ToString::to_string).unwrap_or_default()))]);
        for operand in command.get_positionals() {
            let names = operand.get_value_names().unwrap_or_default();
            roff.control("TP", []);
            roff.text([italic(names.join(" "))]);
            roff.text([roman(help(operand))]);
        }
    }
    roff
}

/// Headings of options, in the order of the table.
fn headings(table: &Command) -> Vec<&str> {
    let mut headings = Vec::new();
    for option in table.get_subcommands().flat_map(Command::get_opts) {
        let heading = option.get_help_heading().unwrap_or(GENERAL);
        if !headings.contains(&heading) {
            headings.push(heading);
        }
    }
    // they are of every command
    headings.retain(|heading| *heading != GENERAL);
    headings.push(GENERAL);
    headings
}

/// The options under a heading, once each, with the commands that take them.
fn options(table: &Command, heading: &str, page: &mut Vec<u8>) -> io::Result<()> {
    let mut found: Vec<(&Command, &Arg, Vec<&str>)> = Vec::new();
    let mut commands: Vec<&str> = Vec::new();
    for command in table.get_subcommands() {
        for option in command.get_arguments().filter(|option| !option.is_positional()) {
            if option.get_help_heading().unwrap_or(GENERAL) != heading {
                continue;
            }
            match found.iter_mut().find(|(_, known, _)| are_same(known, option)) {
                Some((.., commands)) => commands.push(command.get_name()),
                None => found.push((command, option, vec![command.get_name()])),
            }
            if !commands.contains(&command.get_name()) {
                commands.push(command.get_name());
            }
        }
    }
    let mut roff = Roff::new();
    let is_every = table.get_subcommands().count() == commands.len();
    let all = if is_every { String::new() } else { format!(" ({})", commands.join(", ")) };
    roff.control("SS", [format!("{heading}{all}").as_str()]);
    roff.to_writer(page)?;
    for (command, option, own) in found {
        let whose = match own == commands {
            true => String::new(),
            false => format!("({}) ", own.join(", ")),
        };
        let help = format!("{whose}{}", help(option));
        let alone = command.clone().mut_args(|other| match other.get_id() == option.get_id() {
            true => other.help_heading(None).hide_possible_values(true).long_help(help.clone()),
            false => other.hide(true),
        });
        let mut text = Vec::new();
        Man::new(alone).render_options_section(&mut text)?;
        page.extend(without_heading(&text));
    }
    Ok(())
}

fn are_same(one: &Arg, other: &Arg) -> bool {
    one.get_long() == other.get_long()
        && one.get_default_values() == other.get_default_values()
        && help(one) == help(other)
}

/// What an option or an operand is for, in sentences.
fn help(argument: &Arg) -> String {
    let text = argument.get_long_help().or_else(|| argument.get_help());
    let mut text = sentences(&text.map(ToString::to_string).unwrap_or_default());
    let values = argument.get_possible_values();
    let values: Vec<&str> = values.iter().map(|value| value.get_name()).collect();
    if !values.is_empty() && argument.get_action().takes_values() {
        text.push_str(&format!("\nOne of {}.", values.join(", ")));
    }
    text
}

/// The paragraphs of a comment in the table, the first of which ends without a full stop.
fn sentences(text: &str) -> String {
    let paragraphs = text.split("\n\n").map(|paragraph| paragraph.trim_end_matches('.'));
    paragraphs.map(|paragraph| format!("{paragraph}.")).collect::<Vec<_>>().join("\n")
}

/// Without the line of the section's name.
fn without_heading(text: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let is_heading = |line: &&[u8]| line.starts_with(b".SH ");
    let lines = text.split_inclusive(|&byte| byte == b'\n');
    lines.filter(move |line| !is_heading(line)).flatten().copied()
}

/// With one definition of the apostrophe: roff writes it before each part.
fn without_preambles(page: &[u8]) -> Vec<u8> {
    let mut seen = 0;
    let mut is_kept = |line: &&[u8]| {
        let is_preamble = line.starts_with(b".ie ") || line.starts_with(b".el ");
        seen += usize::from(is_preamble);
        !is_preamble || seen <= 2
    };
    page.split_inclusive(|&byte| byte == b'\n')
        .filter(|line| is_kept(line))
        .flatten()
        .copied()
        .collect()
}

fn uncapitalized(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_ascii_lowercase());
    first.into_iter().chain(characters).collect()
}
