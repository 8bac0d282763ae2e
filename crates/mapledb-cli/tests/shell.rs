//! `maple shell`: the database stays open from line to line, each verb sees its latest state, and what changes it is refused
//! unless it was asked for.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use common::{Place, signal};

/// A shell with a pipe to each end.
struct Shell {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Shell {
    fn start(place: &Place, arguments: &str) -> Shell {
        let mut command = place.maple_command(&format!("shell {arguments}"));
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Shell { child, input, output }
    }

    /// Types a line that prints one line, and answers that.
    fn line(&mut self, line: &str) -> String {
        writeln!(self.input, "{line}").unwrap();
        let mut said = String::new();
        self.output.read_line(&mut said).unwrap();
        said.trim_end().to_owned()
    }

    fn end(self) -> (Option<i32>, String) {
        drop(self.input);
        let ended = self.child.wait_with_output().unwrap();
        (ended.status.code(), String::from_utf8(ended.stderr).unwrap())
    }
}

fn run(place: &Place, arguments: &str, lines: &str) -> common::Ended {
    place.maple_reading(&format!("shell {arguments}"), lines.as_bytes())
}

fn printed(place: &Place, arguments: &str, lines: &str) -> String {
    let ended = run(place, arguments, lines);
    assert_eq!(ended.code, Some(0), "{lines}: {}", ended.stderr);
    String::from_utf8(ended.stdout).unwrap()
}

#[test]
fn the_database_stays_open_and_each_line_sees_its_latest_state() {
    for arguments in ["a.maple", "a.maple --write"] {
        let place = Place::with_a_database();
        let mut shell = Shell::start(&place, arguments);
        assert_eq!(shell.line("get k"), "v");
        // Who needs the file alone does not get it between two lines.
        let refused = place.fails(4, "compact a.maple");
        assert!(refused.contains("is open shared in another process"), "{refused}");
        place.ok("put a.maple k new");
        assert_eq!(shell.line("get k"), "new");
        assert!(shell.line("check").starts_with("clean: "));
        // No snapshot is held while nothing is done.
        assert_eq!(place.ok("readers a.maple --json").matches("\"pid\"").count(), 0);
        assert_eq!(shell.end(), (Some(0), String::new()));
        place.ok("compact a.maple");
        assert_eq!(place.ok("get a.maple k"), "new\n");
        place.check("a.maple");
    }
}

#[test]
fn every_verb_about_the_database_does_in_it_what_it_does_outside() {
    let place = Place::with_a_database();
    for verb in
        ["info --json", "stat", "tables", "scan", "dump", "snapshot list", "readers", "page meta-a", "space"]
    {
        let (name, rest) = verb.split_once(' ').unwrap_or((verb, ""));
        let outside = match name {
            "snapshot" => format!("snapshot {rest} a.maple"),
            _ => format!("{name} a.maple {rest}").trim_end().to_owned(),
        };
        if name == "info" {
            assert!(printed(&place, "a.maple", verb).contains("\"txnid\":"));
            continue;
        }
        assert_eq!(printed(&place, "a.maple", &format!("{verb}\n")), place.ok(&outside), "{verb}");
    }
    for verb in [
        "warm",
        "warm --branches",
        "residency",
        "residency --tables",
        "metrics",
        "top --once",
        "rescue out.dump",
    ] {
        assert_eq!(run(&place, "a.maple", verb).code, Some(0), "{verb}");
    }
    let written = "put k2 v2\nsnapshot create monday\nput k2 other\ncompact --drop-snapshots\nget k2\nsnapshot create tuesday\n\
                   del k2\nsnapshot rollback tuesday\nsnapshot drop tuesday\ntrim\ndefrag\nput k3 v3\nscan\n";
    let said = printed(&place, "a.maple --write", written);
    assert!(said.contains("\nother\n") && said.ends_with("k\tv\nk2\tother\nk3\tv3\n"), "{said}");
    place.check("a.maple");
    let help = printed(&place, "a.maple", "help\n");
    for verb in ["snapshot", "import", "rescue", "warm", "compact", "residency", "space"] {
        assert!(help.contains(&format!("{verb} ")), "{help}");
    }
}

#[test]
fn verbs_that_watch_for_ctrl_c_follow_one_another() {
    let place = Place::with_a_database();
    let said = printed(&place, "a.maple", "dump -q\ncopy b.maple\nbackup c.maple\ndump -q\nwarm\n");
    assert_eq!(said.matches("{\"key\":\"k\"").count(), 2, "{said}");
    // And between two lines it ends the shell.
    let mut shell = Shell::start(&place, "a.maple");
    assert!(shell.line("warm").contains(" in memory"));
    std::thread::sleep(std::time::Duration::from_millis(50));
    signal(&shell.child, "INT");
    assert_eq!(shell.child.wait().unwrap().code(), Some(130));
    place.check("a.maple");
}

#[test]
fn a_verb_that_reads_standard_input_takes_the_lines_after_its_own() {
    let place = Place::with_a_database();
    let said = printed(&place, "a.maple --write", "put a b\nload -q -f csv --no-header\nc,d\nput,e\n");
    assert!(!said.contains("e\n"), "{said}");
    assert_eq!(printed(&place, "a.maple", "scan\n"), "a\tb\nc\td\nk\tv\nput\te\n");
    place.check("a.maple");
}

#[test]
fn what_changes_the_database_is_refused_unless_it_was_asked_for() {
    let place = Place::with_a_database();
    for line in
        ["put k w", "del k", "import x", "snapshot create s", "snapshot -q drop s", "compact", "trim", "load"]
    {
        let ended = run(&place, "a.maple", line);
        assert_eq!(ended.code, Some(2), "{line}");
        assert!(
            ended.stderr.contains(" changes the database: begin the shell with --write"),
            "{}",
            ended.stderr
        );
    }
    for line in ["shell", "torture", "completions bash", "man"] {
        assert!(run(&place, "a.maple", line).stderr.contains("there is no verb"), "{line}");
    }
    assert_eq!(place.ok("scan a.maple"), "k\tv\n");
    place.check("a.maple");
}

#[test]
fn another_file_is_opened_and_closed_by_the_line_that_names_it() {
    let place = Place::with_a_database();
    place.ok("create b.maple");
    place.ok("put b.maple k v");
    assert_eq!(printed(&place, "a.maple", "diff b.maple\n"), "");
    let mut shell = Shell::start(&place, "a.maple --write");
    writeln!(shell.input, "diff b.maple\nput k w").unwrap();
    assert_eq!(shell.line("get k"), "w");
    place.ok("compact b.maple");
    assert_eq!(shell.end().0, Some(0));
    place.check("a.maple");
}

#[test]
fn a_frozen_database_is_looked_at_without_a_lock_file() {
    let place = Place::new();
    place.ok("create a.maple");
    place.ok("put a.maple key value");
    std::fs::remove_file(place.path("a.maple-lock")).unwrap();
    let shown = place.maple_reading("shell a.maple --frozen", b"get key\nget 1 --bogus\n");
    assert_eq!((shown.code, &shown.stdout[..]), (Some(2), &b"value\n"[..]), "{}", shown.stderr);
    assert!(!shown.stderr.contains("\\n"), "a message is a line: {}", shown.stderr);
    place.ok("residency a.maple --tables --frozen");
    place.ok("warm a.maple --branches --frozen");
    assert!(!place.path("a.maple-lock").exists());
    place.fails(2, "shell a.maple --frozen --write");
}
