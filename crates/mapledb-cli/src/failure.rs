//! Why a verb could not do what it was asked, and the exit code that says so.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use mapledb_os::OsError;

use crate::text::form;
use crate::{door, output};

/// The classes of failure. Each has one exit code, and one word in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Whoever read our output went away. They have what they wanted: not an error.
    PipeClosed,
    /// The answer is no: there is no such key.
    Absent,
    /// The command line asks for what makes no sense.
    Usage,
    /// A dump or a value that was to be read is malformed, or asks for what is not there yet.
    Input,
    /// A file could not be opened, created, locked, read or written, or has no such table.
    File,
    /// The database is damaged.
    Damaged,
    /// Ctrl-C.
    Interrupted,
}

impl Kind {
    /// The exit code.
    pub fn code(self) -> u8 {
        match self {
            Kind::PipeClosed => 0,
            Kind::Absent => 1,
            Kind::Usage => 2,
            Kind::Input => 3,
            Kind::File => 4,
            Kind::Damaged => 5,
            Kind::Interrupted => 130,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Kind::PipeClosed => "pipe-closed",
            Kind::Absent => "absent",
            Kind::Usage => "usage",
            Kind::Input => "input",
            Kind::File => "file",
            Kind::Damaged => "damaged",
            Kind::Interrupted => "interrupted",
        }
    }
}

/// A failure, told in one sentence.
#[derive(Debug)]
pub struct Failure {
    /// Its class.
    pub kind: Kind,
    /// The sentence; empty where the verb has said all there is.
    pub message: String,
    /// How far the work had come, where that matters.
    counts: Vec<(&'static str, u64)>,
}

impl Failure {
    /// A failure of this class.
    pub fn new(kind: Kind, message: impl Into<String>) -> Failure {
        Failure { kind, message: message.into(), counts: Vec::new() }
    }

    /// The answer is no.
    pub fn absent(message: impl Into<String>) -> Failure {
        Failure::new(Kind::Absent, message)
    }

    /// The command line makes no sense.
    pub fn usage(message: impl Into<String>) -> Failure {
        Failure::new(Kind::Usage, message)
    }

    /// The input makes no sense.
    pub fn input(message: impl Into<String>) -> Failure {
        Failure::new(Kind::Input, message)
    }

    /// A file could not be used.
    pub fn file(message: impl Into<String>) -> Failure {
        Failure::new(Kind::File, message)
    }

    /// The system refused an effect on a file: what, and where.
    pub fn os(what: &'static str, path: &Path, error: io::Error) -> Failure {
        door::failure(OsError::new(what, path, error).into())
    }

    /// Standard output, or what stands in its place, did not take what was written.
    pub fn writing(to: &str, error: &io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::new(Kind::PipeClosed, ""),
            _ => Failure::file(format!("cannot write {to}: {error}; {}", mapledb_os::advice(error))),
        }
    }

    /// Puts where it happened in front of the sentence.
    pub fn at(self, place: impl fmt::Display) -> Failure {
        Failure { message: format!("{place}: {}", self.message), ..self }
    }

    /// Says how far the work had come.
    pub fn after(self, counts: impl IntoIterator<Item = (&'static str, u64)>) -> Failure {
        Failure { counts: counts.into_iter().collect(), ..self }
    }

    /// Tells the failure on standard error and answers the exit code.
    pub fn tell(&self, as_json: bool) -> ExitCode {
        if !self.message.is_empty() {
            output::aside(&self.line(as_json));
        }
        ExitCode::from(self.kind.code())
    }

    fn line(&self, as_json: bool) -> String {
        if as_json {
            return serde_json::Value::Object(self.object()).to_string();
        }
        let counts: Vec<String> = self.counts.iter().map(|(what, count)| format!("{what} {count}")).collect();
        let counts = if counts.is_empty() { String::new() } else { format!(" ({})", counts.join(", ")) };
        // Names and dumps may hold anything; what reaches the terminal is one harmless line.
        form::harmless(&format!("maple: {}{counts}", shortened(&self.message))).into_owned()
    }

    fn object(&self) -> serde_json::Map<String, serde_json::Value> {
        let mut object = serde_json::Map::new();
        object.insert("error".to_owned(), self.message.as_str().into());
        object.insert("kind".to_owned(), self.kind.word().into());
        object.insert("exit_code".to_owned(), self.kind.code().into());
        for (what, count) in &self.counts {
            object.insert(what.replace(' ', "_"), (*count).into());
        }
        object
    }
}

/// A message as long as a reader can be asked to look at: names in dumps are of any length.
fn shortened(message: &str) -> Cow<'_, str> {
    const CHARS_MAX: usize = 2_000;
    match message.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &message[..end]).into(),
        None => message.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_has_its_own_exit_code() {
        let kinds = [
            Kind::PipeClosed,
            Kind::Absent,
            Kind::Usage,
            Kind::Input,
            Kind::File,
            Kind::Damaged,
            Kind::Interrupted,
        ];
        let codes: Vec<u8> = kinds.iter().map(|kind| kind.code()).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 130]);
    }

    #[test]
    fn a_failure_is_one_line_in_words_or_in_json() {
        let failure = Failure::input("no \"key\"").at("line 3");
        assert_eq!(failure.line(false), "maple: line 3: no \"key\"");
        assert_eq!(Failure::file("no a\x1b[2J\n").line(false), "maple: no a\\u{1b}[2J\\n");
        assert_eq!(failure.line(true), r#"{"error":"line 3: no \"key\"","exit_code":3,"kind":"input"}"#);
        let failure = Failure::input("cut short").after([("records read", 7), ("records loaded", 0)]);
        assert_eq!(failure.line(false), "maple: cut short (records read 7, records loaded 0)");
        assert_eq!(
            failure.line(true),
            r#"{"error":"cut short","exit_code":3,"kind":"input","records_loaded":0,"records_read":7}"#
        );
    }

    #[test]
    fn a_reader_who_went_away_is_no_error() {
        let gone = io::Error::from(io::ErrorKind::BrokenPipe);
        assert_eq!(Failure::writing("the output", &gone).kind, Kind::PipeClosed);
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert_eq!(Failure::writing("the output", &full).kind, Kind::File);
    }
}
