//! What a line means: split into words, the file and the chosen table put in, and what is not allowed refused.

use std::path::PathBuf;

use clap::CommandFactory;

use crate::cli::{Cli, Manner, Reading};
use crate::door::{self, failure};
use crate::failure::Failure;
use crate::kept;
use crate::selection;

/// Where in a verb's words the database goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before all others.
    First,
    /// Behind the word that says what to do.
    Second,
    /// Behind all others.
    Last,
}

/// A verb of the shell.
#[derive(Clone, Copy, Debug)]
struct Known {
    name: &'static str,
    /// It changes the database.
    writes: bool,
    /// It works on one table.
    of_a_table: bool,
    place: Place,
}

const fn reads(name: &'static str) -> Known {
    Known { name, writes: false, of_a_table: false, place: Place::First }
}

const fn writes(name: &'static str) -> Known {
    Known { writes: true, ..reads(name) }
}

const fn of_a_table(known: Known) -> Known {
    Known { of_a_table: true, ..known }
}

const VERBS: &[Known] = &[
    writes("create"),
    reads("info"),
    of_a_table(reads("stat")),
    reads("tables"),
    of_a_table(reads("get")),
    of_a_table(writes("put")),
    of_a_table(writes("del")),
    of_a_table(reads("scan")),
    of_a_table(reads("rank")),
    of_a_table(reads("nth")),
    of_a_table(reads("sample")),
    of_a_table(writes("load")),
    of_a_table(reads("dump")),
    Known { place: Place::Last, ..writes("import") },
    reads("check"),
    reads("diff"),
    reads("rescue"),
    reads("copy"),
    reads("backup"),
    writes("compact"),
    writes("defrag"),
    writes("trim"),
    reads("space"),
    Known { place: Place::Second, ..reads("snapshot") },
    reads("readers"),
    reads("top"),
    reads("warm"),
    reads("residency"),
    reads("metrics"),
    reads("doctor"),
    reads("page"),
];

/// What "snapshot" may be told to do that changes the database: all but "list".
const SNAPSHOT_WRITES: &[&str] = &["create", "drop", "rollback"];

fn known(verb: &str) -> Option<&'static Known> {
    VERBS.iter().find(|known| known.name == verb)
}

impl Known {
    fn changes(&self, rest: &[String]) -> bool {
        let told = |what: &&str| rest.iter().any(|word| word == what);
        self.writes || self.name == "snapshot" && SNAPSHOT_WRITES.iter().any(told)
    }

    /// The words of the verb, with `file` where it belongs.
    fn with_file(&self, file: String, rest: &[String]) -> Vec<String> {
        let at = match self.place {
            Place::First => 0,
            Place::Second => {
                rest.iter().position(|word| !word.starts_with('-')).map_or(rest.len(), |at| at + 1)
            }
            Place::Last => rest.len(),
        };
        [&rest[..at], &[file], &rest[at..]].concat()
    }
}

/// The verbs that a line may begin with, and what each is for.
pub fn verbs() -> Vec<(String, String)> {
    let command = Cli::command();
    let verbs = command.get_subcommands().filter(|verb| known(verb.get_name()).is_some());
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
    database: Reading,
    may_write: bool,
    table: Option<String>,
    /// How verbs go about it.
    pub manner: Manner,
}

impl Session {
    /// A shell on `database`, at its default table.
    pub fn new(database: Reading, may_write: bool, manner: Manner) -> Session {
        Session { database, may_write, table: None, manner }
    }

    /// What stands before a line.
    pub fn prompt(&self) -> String {
        let name = self.database.file.file_name().unwrap_or(self.database.file.as_os_str()).to_string_lossy();
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
        let Some(known) = known(verb) else {
            return Err(Failure::usage(format!("there is no verb {verb:?} here: \"help\" lists them")));
        };
        if known.changes(rest) && !self.may_write {
            return Err(Failure::usage(format!("{verb} changes the database: begin the shell with --write")));
        }
        let mut words = vec!["maple".to_owned(), verb.to_owned()];
        let table = self.table.as_ref().filter(|_| known.of_a_table && !names_a_table(rest));
        words.extend(table.map(|table| format!("--table={table}")));
        let manner = [("--json", self.manner.json), ("--quiet", self.manner.quiet)];
        let wanted = manner.iter().filter(|(word, is_on)| *is_on && !rest.iter().any(|given| given == word));
        words.extend(wanted.map(|(word, _)| (*word).to_owned()));
        words.extend(known.with_file(self.file_as_a_word()?, rest));
        Ok(Line::Verb(words))
    }

    /// As a path, or it may look like an option.
    fn file_as_a_word(&self) -> Result<String, Failure> {
        let is_bare = self.database.file.is_relative();
        let file =
            if is_bare { PathBuf::from(".").join(&self.database.file) } else { self.database.file.clone() };
        file.into_os_string().into_string().map_err(|_| Failure::usage("the name of the database is no text"))
    }

    /// Opens the database, to be kept open, unless it is.
    pub fn open(&self) -> Result<(), Failure> {
        if kept::is_any() {
            return Ok(());
        }
        kept::keep(match self.may_write {
            true => door::open_to_write(&self.database.file, self.manner)?,
            false => door::open_to_read(&self.database, self.manner)?,
        })
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
        let env = door::open_to_read(&self.database, quiet)?;
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
        Session::new(
            Reading { file: "a.maple".into(), frozen: false },
            may_write,
            Manner { json: false, quiet: false },
        )
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
            ("import lmdb --main", words("maple import lmdb --main ./a.maple")),
            ("snapshot list", words("maple snapshot list ./a.maple")),
            ("snapshot -q create monday", words("maple snapshot -q create ./a.maple monday")),
            ("rescue out", words("maple rescue ./a.maple out")),
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
            ("import lmdb", "import changes the database"),
            ("snapshot drop monday", "snapshot changes the database"),
            ("snapshot --json rollback monday", "snapshot changes the database"),
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
        assert_eq!(verbs().len(), VERBS.len());
        let of_a_table = VERBS.iter().filter(|known| known.of_a_table);
        assert!(of_a_table.into_iter().all(|known| options(known.name).contains(&"--table".to_owned())));
        let not_here = ["shell", "torture", "completions", "man", "help"];
        let command = Cli::command();
        let mut others = command.get_subcommands().filter(|verb| known(verb.get_name()).is_none());
        assert!(
            others.all(|verb| not_here.contains(&verb.get_name())),
            "every verb that has a database is there"
        );
        assert!(options("fly").is_empty());
    }
}
