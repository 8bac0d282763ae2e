//! Completion: verbs, then their options, and the names of tables where one is wanted.

use rustyline::completion::Completer as Complete;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Context, Helper};

use super::line::{self, Session};

/// Completes lines by what was known when the line began.
pub struct Completer {
    verbs: Vec<String>,
    tables: Vec<String>,
}

impl Completer {
    /// What may be typed next in this session.
    pub fn of(session: &Session) -> Completer {
        let own = ["use", "help", "exit"].map(str::to_owned);
        let verbs = line::verbs().into_iter().map(|(verb, _)| verb).chain(own).collect();
        // Without tables to offer the rest still works.
        Completer { verbs, tables: session.tables().unwrap_or_default() }
    }

    /// Where the word before the end of `line` begins, and what it may become.
    fn candidates(&self, line: &str) -> (usize, Vec<String>) {
        let start = line.rfind(char::is_whitespace).map_or(0, |at| at + 1);
        let (before, word) = line.split_at(start);
        let before: Vec<&str> = before.split_whitespace().collect();
        let offered: Vec<String> = match before.as_slice() {
            [] | ["help"] => self.verbs.clone(),
            ["use"] | [.., "-t" | "--table"] => self.tables.clone(),
            [verb, ..] if word.starts_with('-') => line::options(verb),
            _ => Vec::new(),
        };
        (start, offered.into_iter().filter(|offer| offer.starts_with(word)).collect())
    }
}

impl Complete for Completer {
    type Candidate = String;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(self.candidates(&line[..at]))
    }
}

impl Hinter for Completer {
    type Hint = String;
}

impl Highlighter for Completer {}
impl Validator for Completer {}
impl Helper for Completer {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_options_and_tables_are_offered_where_they_belong() {
        let completer = Completer {
            verbs: vec!["get".into(), "del".into(), "use".into()],
            tables: vec!["users".into(), "towns".into()],
        };
        let table: [(&str, usize, &[&str]); 6] = [
            ("g", 0, &["get"]),
            ("use t", 4, &["towns"]),
            ("get -t u", 7, &["users"]),
            ("get --ta", 4, &["--table"]),
            ("help d", 5, &["del"]),
            ("get k", 4, &[]),
        ];
        for (line, at, offered) in table {
            assert_eq!(
                completer.candidates(line),
                (at, offered.iter().map(|offer| (*offer).to_owned()).collect())
            );
        }
    }
}
