//! What the tests of the command share: a directory of its own, and `maple` run in it.
#![allow(dead_code, clippy::unwrap_used)]

mod hostile;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

/// A directory, and `maple` in it.
pub struct Place {
    dir: TempDir,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Place {
    pub fn new() -> Place {
        Place { dir: tempfile::tempdir().unwrap() }
    }

    /// With `a.maple` in it, which holds one pair.
    pub fn with_a_database() -> Place {
        let place = Place::new();
        place.ok("create a.maple");
        place.ok("put a.maple k v");
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The names of the files there, in order.
    pub fn files(&self) -> Vec<String> {
        let entries = self.dir.path().read_dir().unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// A command in the directory.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.dir.path()).stdin(Stdio::null());
        command
    }

    /// `maple` with arguments that are split at spaces.
    pub fn maple_command(&self, arguments: &str) -> Command {
        let mut command = self.command(env!("CARGO_BIN_EXE_maple"));
        command.args(arguments.split(' '));
        command
    }

    /// Runs `maple` with arguments that are split at spaces.
    pub fn maple(&self, arguments: &str) -> Ended {
        end(&mut self.maple_command(arguments))
    }

    /// Runs `maple` with these arguments.
    pub fn maple_with(&self, arguments: &[&str]) -> Ended {
        end(self.command(env!("CARGO_BIN_EXE_maple")).args(arguments))
    }

    /// Runs `maple` with something to read on standard input.
    pub fn maple_reading(&self, arguments: &str, input: &[u8]) -> Ended {
        feed(&mut self.maple_command(arguments), input)
    }

    /// Runs `maple`, which must succeed, and answers what it printed.
    pub fn ok(&self, arguments: &str) -> String {
        let ended = self.maple(arguments);
        assert_eq!(ended.code, Some(0), "maple {arguments}: {}", ended.stderr);
        String::from_utf8(ended.stdout).unwrap()
    }

    /// Runs `maple`, which must fail with this exit code, and answers what it said.
    pub fn fails(&self, code: i32, arguments: &str) -> String {
        let ended = self.maple(arguments);
        assert_eq!(ended.code, Some(code), "maple {arguments}: {}", ended.stderr);
        ended.stderr
    }

    /// Checks a database to its last page.
    pub fn check(&self, file: &str) {
        let found = self.ok(&format!("check {file}"));
        assert!(found.starts_with("clean: "), "{found}");
    }
}

impl Ended {
    pub fn of(output: Output) -> Ended {
        Ended {
            code: output.status.code(),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

pub fn end(command: &mut Command) -> Ended {
    Ended::of(command.output().unwrap())
}

pub fn feed(command: &mut Command, input: &[u8]) -> Ended {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        // It may stop reading early: that is for the caller to judge by how it ends.
        scope.spawn(move || stdin.write_all(input).ok());
        Ended::of(child.wait_with_output().unwrap())
    })
}

/// Sends a signal to a process, by name.
pub fn signal(child: &Child, name: &str) {
    Command::new("kill").args(["-s", name, &child.id().to_string()]).status().unwrap();
}

/// Keys and values that are hard on text.
pub fn hostile() -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut pairs: Vec<_> =
        hostile::TEXTS.iter().map(|text| (text.as_bytes().to_vec(), text.as_bytes().to_vec())).collect();
    pairs.push(((0..=255).collect(), (0..=255).rev().collect()));
    pairs.push((vec![0xff; 3], vec![0; 100_000]));
    pairs.push((vec![0, 0], Vec::new()));
    pairs.sort();
    pairs
}

/// Pairs as JSON lines.
pub fn json_lines(pairs: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let json = |bytes: &[u8]| match std::str::from_utf8(bytes) {
        Ok(text) => serde_json::json!(text),
        Err(_) => serde_json::json!({ "hex": data_encoding::HEXLOWER.encode(bytes) }),
    };
    let line = |(key, value): &(Vec<u8>, Vec<u8>)| {
        serde_json::json!({ "key": json(key), "value": json(value) }).to_string() + "\n"
    };
    pairs.iter().map(line).collect::<String>().into_bytes()
}
