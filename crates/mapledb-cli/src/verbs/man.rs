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
    /// The page of this verb; that of the command if left out
    verb: Option<String>,
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
    match &args.to {
        Some(dir) => {
            let written = write_all(&maple, dir)?;
            output::report(manner.json, &written, |written, output| {
                let pages = table::plural(written.pages.len() as u64, "page", "pages");
                output.line(format!("wrote {pages} to {}", written.to.display()))
            })
        }
        None => {
            let page = Page::of(find(&maple, args.verb.as_deref())?)?;
            output::report(manner.json, &page, |page, output| output.bytes(page.roff.as_bytes()))
        }
    }
}

fn find<'c>(maple: &'c Command, verb: Option<&str>) -> Result<&'c Command, Failure> {
    let Some(verb) = verb else { return Ok(maple) };
    maple.find_subcommand(verb).ok_or_else(|| {
        Failure::usage(format!("there is no verb called {verb:?}: \"maple --help\" lists them"))
    })
}

fn write_all(maple: &Command, dir: &Path) -> Result<Written, Failure> {
    let verbs = maple.get_subcommands().filter(|verb| verb.get_name() != "help");
    let mut pages = Vec::new();
    for command in std::iter::once(maple).chain(verbs) {
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
