//! `man [PAGE]`: the manual pages, as roff. `netpol-ebpf(8)` is made from the same definition as the arguments themselves, with what
//! they cannot say from `man/netpol-ebpf.8.in`; `netpol.d(5)`, the policy language, is written by hand.

use std::fs;
use std::path::Path;

use anyhow::Context;
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::{Cli, DONE, print};

/// The policy language.
const LANGUAGE: &str = include_str!("../../man/netpol.d.5");
/// Files, exit codes, signals and the like of netpol-ebpf(8).
const MORE: &str = include_str!("../../man/netpol-ebpf.8.in");

/// The arguments of `man`.
#[derive(Debug, clap::Args)]
pub(super) struct ManArgs {
    /// The page to print
    #[arg(value_parser = ["netpol-ebpf", "netpol.d"], default_value = "netpol-ebpf")]
    page: String,
    /// Write all pages into this directory instead
    #[arg(long, value_name = "DIR")]
    dir: Option<std::path::PathBuf>,
}

/// Prints a page, or writes all of them.
pub(super) fn man(arguments: &ManArgs) -> anyhow::Result<u8> {
    if let Some(directory) = &arguments.dir {
        write(directory, "netpol-ebpf.8", &program()?)?;
        write(directory, "netpol.d.5", LANGUAGE)?;
    } else {
        print::text(&if arguments.page == "netpol.d" { LANGUAGE.to_owned() } else { program()? })?;
    }
    Ok(DONE)
}

fn write(directory: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    let path = directory.join(name);
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// netpol-ebpf(8), all commands on one page.
fn program() -> anyhow::Result<String> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let man = Man::new(command.clone()).section("8").manual("System Administration");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    let mut commands = Roff::default();
    commands.control("SH", ["COMMANDS"]);
    for sub in command.get_subcommands() {
        describe(&mut commands, sub, "");
    }
    commands.to_writer(&mut page)?;
    man.render_options_section(&mut page)?;
    Ok(String::from_utf8(page)? + MORE)
}

/// One command with its own arguments; of a command of commands, each of these.
fn describe(page: &mut Roff, command: &Command, before: &str) {
    let name = format!("{before}{}", command.get_name());
    if command.has_subcommands() {
        for sub in command.get_subcommands() {
            describe(page, sub, &format!("{name} "));
        }
        return;
    }
    let own = || command.get_arguments().filter(|argument| !argument.is_global_set() && argument.get_id() != "help");
    let mut line = vec![bold(name)];
    for argument in own() {
        let value = argument.get_value_names().map(|names| names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
        let value = value.unwrap_or_else(|| argument.get_id().to_string().to_uppercase());
        line.push(roman(match argument.get_long() {
            Some(long) if argument.get_action().takes_values() => format!(" [--{long} {value}]"),
            Some(long) => format!(" [--{long}]"),
            None if argument.is_required_set() => format!(" {value}"),
            None => format!(" [{value}]"),
        }));
    }
    page.control("TP", []);
    page.text(line);
    page.text([roman(about(command.get_long_about().or(command.get_about())))]);
    for argument in own().filter(|argument| argument.get_long().is_some()) {
        let long = argument.get_long().unwrap_or_default();
        page.control("IP", []);
        page.text([bold(format!("--{long}")), roman(format!(": {}", about(argument.get_help())))]);
    }
}

fn about(text: Option<&clap::builder::StyledStr>) -> String {
    text.map(ToString::to_string).unwrap_or_default()
}
