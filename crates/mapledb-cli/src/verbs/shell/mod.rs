//! `maple shell FILE`: the verbs without the file's name, one a line, with completion and history.
//!
//! A line is a command line: it is split as a shell splits it, the file is put where it belongs, and then it is what
//! `maple VERB FILE …` is, to the last byte printed. Lines from a pipe are taken alike; the first that fails ends it.
//!
//! The database is kept open from the first line to the last, and each verb begins a snapshot of its own.

mod complete;
mod line;

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use clap::{Args, Parser};
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Config, Editor};

use crate::cli::{Cli, Manner, Reading};
use crate::failure::{Failure, Kind};
use crate::output::Output;
use crate::{interrupt, kept};

use complete::Completer;
use line::{Line, Session};

/// Type verbs without the file's name: completion, history, or lines from a pipe
#[derive(Debug, Args)]
#[command(after_help = "\
Each line is a verb and its arguments, without the database: get KEY, scan --limit 5. Besides,
\"use TABLE\" chooses the table of the verbs that follow, \"use\" alone the default one; \"help\"
lists the verbs, \"exit\" or Ctrl-D ends it. Verbs that change the database are refused without
--write. A line of a pipe that fails ends it with that exit code; \"the answer is no\" does not.

The database stays open from line to line, and each verb sees its latest state; \"compact\" closes it
for as long as it takes. Verbs that are about no database are not here: shell, torture, completions
and man.")]
pub struct ShellArgs {
    #[command(flatten)]
    database: Reading,
    /// Allow verbs that change the database
    #[arg(long, conflicts_with = "frozen")]
    write: bool,
    /// Keep no history of what is typed
    #[arg(long)]
    no_history: bool,
}

/// Reads lines and does what they say.
pub fn run(args: &ShellArgs, manner: Manner) -> Result<(), Failure> {
    let mut session = Session::new(args.database.clone(), args.write, manner);
    // Told now rather than at the first verb.
    session.open()?;
    let done = match io::stdin().is_terminal() {
        true => interactive(&mut session, args.no_history),
        false => from_pipe(&mut session),
    };
    done.and(kept::let_go())
}

/// Standard input is let go of between lines: a verb that reads it takes what is left.
fn from_pipe(session: &mut Session) -> Result<(), Failure> {
    for number in 1.. {
        let mut line = String::new();
        let read = io::stdin().read_line(&mut line);
        if read.map_err(|error| Failure::os("read from", Path::new("standard input"), error))? == 0 {
            break;
        }
        let at = |failure: Failure| failure.at(format_args!("line {number}"));
        match act(session, &line) {
            Ok(Next::End) => break,
            Ok(Next::GoOn) => {}
            Err(failure) if failure.kind == Kind::Absent => tell(&failure, session.manner),
            // A reader that went away is no failure, and has no sentence.
            Err(failure) if failure.message.is_empty() => return Err(failure),
            Err(failure) => return Err(at(failure)),
        }
    }
    Ok(())
}

fn interactive(session: &mut Session, no_history: bool) -> Result<(), Failure> {
    let config = Config::builder().auto_add_history(true).max_history_size(1000).map_err(unusable)?.build();
    let mut editor: Editor<Completer, FileHistory> = Editor::with_config(config).map_err(unusable)?;
    let history = history_file().filter(|_| !no_history);
    if let Some(path) = &history {
        // There is none the first time.
        let _ = editor.load_history(path);
    }
    loop {
        editor.set_helper(Some(Completer::of(session)));
        match editor.readline(&session.prompt()) {
            Ok(line) => match act(session, &line) {
                Ok(Next::End) => break,
                Ok(Next::GoOn) => {}
                Err(failure) => tell(&failure, session.manner),
            },
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(unusable(error)),
        }
    }
    if let Some(path) = &history {
        // A history that cannot be kept is no reason to fail what was done.
        let _ = path.parent().map(std::fs::create_dir_all);
        let _ = editor.save_history(path);
    }
    Ok(())
}

/// What comes after a line.
enum Next {
    GoOn,
    End,
}

/// Does what a line says.
fn act(session: &mut Session, line: &str) -> Result<Next, Failure> {
    match session.read(line)? {
        Line::Nothing => {}
        Line::End => return Ok(Next::End),
        Line::Help(words) => help(&words)?,
        Line::Use(table) => session.choose(table)?,
        Line::Verb(words) => {
            let cli = Cli::try_parse_from(words).map_err(|error| explained(&error))?;
            session.open()?;
            let done = super::run(&cli);
            interrupt::pass();
            done?;
        }
    }
    Ok(Next::GoOn)
}

/// What clap has to say: help is printed, and no failure. Of a refusal the first paragraph, for messages are lines.
fn explained(error: &clap::Error) -> Failure {
    if error.use_stderr() {
        let rendered = error.render().to_string();
        let first = rendered.trim_start_matches("error: ").split("\n\n").next().unwrap_or_default();
        let words: Vec<&str> = first.split_whitespace().collect();
        return Failure::usage(words.join(" "));
    }
    match error.print() {
        Ok(()) => Failure::absent(""),
        Err(error) => Failure::writing("the output", &error),
    }
}

fn help(words: &[String]) -> Result<(), Failure> {
    match words {
        [] => {
            let mut output = Output::open();
            for (name, about) in line::verbs() {
                output.line(format!("{name:12} {about}"))?;
            }
            output.line(format!(
                "{:12} Choose the table of the verbs that follow; alone, the default one",
                "use"
            ))?;
            output.line(format!("{:12} End the shell", "exit"))?;
            output.finish()
        }
        [verb, ..] => {
            let asked = Cli::try_parse_from(["maple", verb, "--help"]).err().map(|error| explained(&error));
            asked.filter(|failure| failure.kind != Kind::Absent).map_or(Ok(()), Err)
        }
    }
}

fn tell(failure: &Failure, manner: Manner) {
    if !failure.message.is_empty() {
        let _ = failure.tell(manner.json);
    }
}

fn unusable(error: ReadlineError) -> Failure {
    Failure::file(format!("cannot use the terminal: {error}"))
}

/// Where what was typed is kept: with the user's state, not with the database.
fn history_file() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    Some(state.join("maple/shell-history"))
}
