//! `docs/src/reference/commands.md`: every command and option, from the arguments
//! themselves. `UPDATE_DOCS=1 cargo test` writes the page.

use std::fmt::Write;
use std::path::Path;

use clap::{Arg, ArgAction, Command, CommandFactory};

use crate::args::Cli;

const PAGE: &str = "docs/src/reference/commands.md";

const HEAD: &str = "# Commands

Generated from the program's arguments by `UPDATE_DOCS=1 cargo test`; do not edit.
`tokenroute help COMMAND` prints the same in the terminal. Every command takes `--quiet` (`-q`), which leaves results
and errors alone.
";

/// The order of use, with a heading for each kind.
const GROUPS: [(&str, &[&str]); 6] = [
    ("Run and use a pair", &["run", "chat", "generate", "serve", "cloud"]),
    (
        "Stages of an experiment",
        &["label", "inspect", "train", "sweep", "calibrate", "report", "latency", "check-sweep"],
    ),
    ("Several routers", &["compare", "metrics"]),
    ("Router files", &["router export", "router import", "router card"]),
    ("Models", &["step", "bench", "export"]),
    ("Set up", &["completions", "man"]),
];

/// The whole page.
fn page(cli: &Command) -> String {
    let mut page = HEAD.to_owned();
    for (heading, names) in GROUPS {
        let _ = write!(page, "\n## {heading}\n");
        for name in names {
            let inner = |found: &Command, word| found.find_subcommand(word).cloned();
            let command = name.split(' ').try_fold(cli.clone(), |found, word| inner(&found, word));
            section(name, &command.expect("a command of the groups"), &mut page);
        }
    }
    page
}

fn section(name: &str, command: &Command, page: &mut String) {
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").replace("\n       ", "\n");
    let _ = write!(page, "\n### `{name}`\n\n{about}.\n\n```text\n{usage}\n```\n");
    let shown = |arg: &&Arg| !arg.is_hide_set() && !arg.is_global_set() && arg.get_id() != "help";
    let arguments: Vec<&Arg> = command.get_arguments().filter(shown).collect();
    if !arguments.is_empty() {
        page.push_str("\n| argument | default | effect |\n| --- | --- | --- |\n");
    }
    for argument in arguments {
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|");
        let _ = writeln!(page, "| {} | {} | {help} |", written(argument), default(argument));
    }
}

/// An argument as it is typed.
fn written(argument: &Arg) -> String {
    let values = argument.get_value_names().unwrap_or_default();
    let value = values.first().map(|name| format!("{name}")).unwrap_or_default();
    let typed = match argument.get_long() {
        None => value,
        Some(long) if !takes_value(argument) => format!("--{long}"),
        Some(long) if argument.get_num_args().is_some_and(|n| n.min_values() == 0) => {
            format!("--{long} [{value}]")
        }
        Some(long) => format!("--{long} {value}"),
    };
    format!("`{typed}`")
}

fn default(argument: &Arg) -> String {
    let values = argument.get_default_values();
    let values: Vec<_> = values.iter().map(|value| value.to_string_lossy()).collect();
    match values.is_empty() || !takes_value(argument) {
        true => String::new(),
        false => format!("`{}`", values.join(",")),
    }
}

fn takes_value(argument: &Arg) -> bool {
    matches!(argument.get_action(), ArgAction::Set | ArgAction::Append)
}

fn cli() -> Command {
    let mut cli = Cli::command().disable_help_subcommand(true);
    cli.build();
    cli
}

#[test]
fn every_command_has_its_group_and_help_lists_them_in_that_order() {
    let cli = cli();
    let shown = cli.get_subcommands().filter(|command| !command.is_hide_set());
    let mut listed = Vec::new();
    for command in shown {
        let name = command.get_name().to_owned();
        let inner: Vec<String> =
            command.get_subcommands().map(|inner| format!("{name} {}", inner.get_name())).collect();
        listed.extend(if inner.is_empty() { vec![name] } else { inner });
    }
    let grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| *names).copied().collect();
    assert_eq!(listed, grouped);
}

#[test]
fn the_page_of_commands_is_that_of_the_arguments() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(PAGE);
    let page = page(&cli());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).expect("a writable page");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == page, "{PAGE} is old; `UPDATE_DOCS=1 cargo test` writes it again");
}
