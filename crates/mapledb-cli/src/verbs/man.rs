//! `maple man`: manual pages, made from what the command line knows of itself.

use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Command, CommandFactory};
use clap_mangen::Man;
use serde::Serialize;

use crate::cli::{Cli, Manner};
use crate::failure::Failure;
use crate::output;
use crate::table;

/// Print a manual page, or write them all
#[derive(Debug, Args)]
#[command(after_help = HOW_TO_USE)]
pub struct ManArgs {
    /// The page of this verb, such as get or snapshot create; that of the command if left out
    verb: Vec<String>,
    /// Write the pages of the command and of every verb to this directory, over those that are there
    #[arg(long, value_name = "DIR", conflicts_with = "verb")]
    to: Option<PathBuf>,
}

const HOW_TO_USE: &str = "\
To read one: maple man get | man -l -. To keep them: maple man --to ~/.local/share/man/man1.";

#[derive(Debug, Serialize)]
struct Page {
    page: String,
    roff: String,
}

#[derive(Debug, Serialize)]
struct Written {
    to: PathBuf,
    pages: Vec<String>,
}

/// Prints it, or writes them.
pub fn run(args: &ManArgs, manner: Manner) -> Result<(), Failure> {
    let mut maple = Cli::command();
    maple.build();
    let maple = without_help(maple);
    match &args.to {
        Some(dir) => {
            let written = write_all(&maple, dir)?;
            output::report(manner.json, &written, |written, output| {
                let pages = table::plural(written.pages.len() as u64, "page", "pages");
                output.line(format!("wrote {pages} to {}", written.to.display()))
            })
        }
        None => {
            let page = Page::of(find(&maple, &args.verb)?)?;
            output::report(manner.json, &page, |page, output| output.bytes(page.roff.as_bytes()))
        }
    }
}

/// The same without the verb `help`, of which there is no page.
fn without_help(command: Command) -> Command {
    command.mut_subcommands(|verb| match verb.get_name() {
        "help" => verb.hide(true),
        _ => without_help(verb),
    })
}

fn verbs(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|verb| !verb.is_hide_set())
}

fn find<'c>(maple: &'c Command, names: &[String]) -> Result<&'c Command, Failure> {
    names.iter().try_fold(maple, |command, name| {
        verbs(command).find(|verb| verb.get_name() == name).ok_or_else(|| {
            let all = command.get_bin_name().unwrap_or("maple");
            Failure::usage(format!("there is no verb called {name:?}: \"{all} --help\" lists them"))
        })
    })
}

/// A command, and then its verbs, each with its own.
fn every<'c>(command: &'c Command, found: &mut Vec<&'c Command>) {
    found.push(command);
    verbs(command).for_each(|verb| every(verb, found));
}

fn write_all(maple: &Command, dir: &Path) -> Result<Written, Failure> {
    let mut commands = Vec::new();
    every(maple, &mut commands);
    let mut pages = Vec::new();
    for command in commands {
        let page = Page::of(command)?;
        let path = dir.join(&page.page);
        std::fs::write(&path, &page.roff).map_err(|error| Failure::os("write", &path, error))?;
        pages.push(page.page);
    }
    Ok(Written { to: dir.to_owned(), pages })
}

impl Page {
    fn of(command: &Command) -> Result<Page, Failure> {
        let source = format!("maple {}", env!("CARGO_PKG_VERSION"));
        let man = Man::new(command.clone()).source(source).manual("MapleDB");
        let mut roff = Vec::new();
        let made: io::Result<()> = man.render(&mut roff);
        made.map_err(|error| Failure::writing("the page", &error))?;
        Ok(Page { page: man.get_filename(), roff: String::from_utf8_lossy(&roff).into_owned() })
    }
}
