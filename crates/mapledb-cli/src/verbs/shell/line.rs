//! What a line means: split into words, the file and the chosen table put in, and what is not allowed refused.

use std::path::PathBuf;

use clap::CommandFactory;

use crate::cli::{Cli, Manner, Reading};
use crate::door::{self, failure};
use crate::failure::Failure;
use crate::selection;

/// Verbs that look at the database.
const READING: &[&str] = &[
    "info",
    "stat",
    "tables",
    "get",
    "scan",
    "rank",
    "nth",
    "sample",
    "dump",
    "check",
    "diff",
    "copy",
    "backup",
    "readers",
    "top",
    "residency",
    "metrics",
    "doctor",
    "page",
    "space",
];
/// Verbs that change it.
const WRITING: &[&str] = &["create", "put", "del", "load", "trim", "compact", "defrag"];
/// Of both, those that work on one table.
const OF_A_TABLE: &[&str] = &["get", "scan", "rank", "nth", "sample", "put", "del", "load", "stat", "dump"];

/// The verbs that a line may begin with, and what each is for.
pub fn verbs() -> Vec<(String, String)> {
    let known = |name: &str| READING.contains(&name) || WRITING.contains(&name);
    let command = Cli::command();
    let verbs = command.get_subcommands().filter(|verb| known(verb.get_name()));
    verbs
        .map(|verb| {
            (verb.get_name().to_owned(), verb.get_about().map(ToString::to_string).unwrap_or_default())
        })
        .collect()
}

/// The options of a verb, as they are typed.
pub fn options(verb: &str) -> Vec<String> {
    let mut command = Cli::command();
    command.build();
    let Some(verb) = command.find_subcommand(verb) else { return Vec::new() };
    verb.get_arguments().filter_map(|argument| argument.get_long()).map(|long| format!("--{long}")).collect()
}

/// What a line asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// It is empty, or a comment.
    Nothing,
    /// The end.
    End,
    /// Help, on a verb or on all.
    Help(Vec<String>),
    /// Another table for what follows.
    Use(Option<String>),
    /// A whole command line.
    Verb(Vec<String>),
}

/// A shell on one database.
#[derive(Debug)]
pub struct Session {
    file: PathBuf,
    may_write: bool,
    table: Option<String>,
    /// How verbs go about it.
    pub manner: Manner,
}

impl Session {
    /// A shell on `file`, at its default table.
    pub fn new(file: PathBuf, may_write: bool, manner: Manner) -> Session {
        Session { file, may_write, table: None, manner }
    }

    /// What stands before a line.
    pub fn prompt(&self) -> String {
        let name = self.file.file_name().unwrap_or(self.file.as_os_str()).to_string_lossy();
        let table = self.table.as_ref().map(|table| format!(":{table}")).unwrap_or_default();
        format!("{name}{table}{} ", if self.may_write { "#" } else { ">" })
    }

    /// Reads a line.
    pub fn read(&self, line: &str) -> Result<Line, Failure> {
        let words = shlex::split(line).ok_or_else(|| Failure::usage("a quotation mark is left open"))?;
        let Some((verb, rest)) = words.split_first() else { return Ok(Line::Nothing) };
        match (verb.as_str(), rest) {
            ("exit" | "quit", []) => Ok(Line::End),
            ("help" | "?", rest) => Ok(Line::Help(rest.to_vec())),
            ("use", []) => Ok(Line::Use(None)),
            ("use", [table]) => Ok(Line::Use(Some(table.clone()))),
            ("use", _) => Err(Failure::usage("use takes the name of one table, or none")),
            (verb, rest) => self.verb(verb, rest),
        }
    }

    fn verb(&self, verb: &str, rest: &[String]) -> Result<Line, Failure> {
        if WRITING.contains(&verb) && !self.may_write {
            return Err(Failure::usage(format!("{verb} changes the database: begin the shell with --write")));
        }
        if !READING.contains(&verb) && !WRITING.contains(&verb) {
            return Err(Failure::usage(format!("there is no verb {verb:?} here: \"help\" lists them")));
        }
        let mut words = vec!["maple".to_owned(), verb.to_owned()];
        let table = self.table.as_ref().filter(|_| OF_A_TABLE.contains(&verb) && !names_a_table(rest));
        words.extend(table.map(|table| format!("--table={table}")));
        let manner = [("--json", self.manner.json), ("--quiet", self.manner.quiet)];
        let wanted = manner.iter().filter(|(word, is_on)| *is_on && !rest.iter().any(|given| given == word));
        words.extend(wanted.map(|(word, _)| (*word).to_owned()));
        // As a path, or it may look like an option.
        let is_bare = self.file.is_relative();
        let file = if is_bare { PathBuf::from(".").join(&self.file) } else { self.file.clone() };
        words.push(
            file.to_str().ok_or_else(|| Failure::usage("the name of the database is no text"))?.to_owned(),
        );
        words.extend(rest.iter().cloned());
        Ok(Line::Verb(words))
    }

    /// Chooses the table of the verbs that follow.
    pub fn choose(&mut self, table: Option<String>) -> Result<(), Failure> {
        if let Some(name) = &table
            && !self.tables()?.contains(name)
        {
            return Err(selection::missing(name));
        }
        self.table = table;
        Ok(())
    }

    /// The names of the tables there are.
    pub fn tables(&self) -> Result<Vec<String>, Failure> {
        let quiet = Manner { quiet: true, ..self.manner };
        let env = door::open_to_read(&Reading { file: self.file.clone(), frozen: false }, quiet)?;
        let tables = env.read().and_then(|txn| txn.tables()).map_err(failure)?;
        Ok(tables.into_iter().filter_map(|table| table.name).collect())
    }
}

/// Whether a line says itself which table it is about.
fn names_a_table(words: &[String]) -> bool {
    let options = words.iter().take_while(|word| *word != "--");
    options.into_iter().any(|word| {
        word == "-t"
            || word == "--main"
            || word.starts_with("--table")
            || word.starts_with("-t") && word.len() > 2
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(may_write: bool) -> Session {
        Session::new("a.maple".into(), may_write, Manner { json: false, quiet: false })
    }

    fn words(line: &str) -> Line {
        Line::Verb(line.split(' ').map(str::to_owned).collect())
    }

    #[test]
    fn lines_become_command_lines() {
        let mut session = session(true);
        let table = [
            ("", Line::Nothing),
            ("  # a remark", Line::Nothing),
            ("exit", Line::End),
            ("help get", Line::Help(vec!["get".into()])),
            ("use users", Line::Use(Some("users".into()))),
            ("get k", words("maple get ./a.maple k")),
            ("put k v --json", words("maple put ./a.maple k v --json")),
        ];
        for (line, meant) in table {
            assert_eq!(session.read(line).unwrap(), meant, "{line}");
        }
        session.table = Some("users".into());
        assert_eq!(session.read("get 7").unwrap(), words("maple get --table=users ./a.maple 7"));
        assert_eq!(session.read("get -t towns 7").unwrap(), words("maple get ./a.maple -t towns 7"));
        assert_eq!(session.read("info").unwrap(), words("maple info ./a.maple"));
        assert_eq!(session.prompt(), "a.maple:users# ");
    }

    #[test]
    fn what_is_not_allowed_is_refused_in_words() {
        let table = [
            ("put k v", "put changes the database: begin the shell with --write"),
            ("shell a.maple", "there is no verb \"shell\" here"),
            ("get 'k", "a quotation mark is left open"),
            ("use a b", "use takes the name of one table, or none"),
        ];
        for (line, why) in table {
            let refused = session(false).read(line).unwrap_err();
            assert!(refused.message.starts_with(why), "{line}: {}", refused.message);
        }
    }

    #[test]
    fn every_verb_of_the_shell_is_one_of_the_command() {
        assert_eq!(verbs().len(), READING.len() + WRITING.len());
        assert!(OF_A_TABLE.iter().all(|verb| options(verb).contains(&"--table".to_owned())));
        assert!(options("fly").is_empty());
    }
}
