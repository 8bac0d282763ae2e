//! `maple top` tells what other processes do, and `maple shell` does what the verbs do.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::Write;
use std::process::{Child, Stdio};

use common::Place;
use serde_json::Value;

/// Another process that reads and writes until it is told to stop by the end of its input.
struct Worker(Child);

impl Worker {
    fn start(place: &Place) -> Worker {
        let mut command = place.command(std::env::current_exe().unwrap().to_str().unwrap());
        command.args(["works_until_its_input_ends", "--exact", "--nocapture", "--ignored"]);
        Worker(
            command
                .env("MAPLE_TEST_DATA", place.path("a.maple"))
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .spawn()
                .unwrap(),
        )
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

/// The other process. It is no test by itself.
#[test]
#[ignore = "is started by another test, as a process"]
fn works_until_its_input_ends() {
    let Some(path) = std::env::var_os("MAPLE_TEST_DATA") else { return };
    let ended = std::thread::spawn(|| std::io::read_to_string(std::io::stdin()));
    // SAFETY: nothing but MapleDB writes to the file while it is open.
    #[allow(unsafe_code)]
    let env = unsafe { mapledb::Env::options().durability(mapledb::Durability::Relaxed).open(path) }.unwrap();
    let held = env.read().unwrap();
    while !ended.is_finished() {
        let mut txn = env.write().unwrap();
        txn.main().put(b"k", b"w").unwrap();
        txn.commit().unwrap();
        let txn = env.read().unwrap();
        for _ in 0..10 {
            txn.main().unwrap().get(b"k").unwrap();
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    drop(held);
}

#[test]
fn top_shows_what_another_process_does_and_holds() {
    let place = Place::with_a_database();
    let worker = Worker::start(&place);
    let pid = u64::from(worker.0.id());
    let report = (0..200).find_map(|_| {
        let report: Value =
            serde_json::from_str(&place.ok("top a.maple --once --interval 0.1 --json")).unwrap();
        report["processes"][0]["commits_per_second"].as_u64().is_some_and(|rate| rate > 0).then_some(report)
    });
    let report = report.expect("the worker is seen at work");
    let process = &report["processes"][0];
    assert_eq!(process["pid"], pid);
    assert_eq!(process["readers"].as_u64().unwrap().max(2), 2, "one is held, one comes and goes");
    for (count, least) in
        [("gets", 10), ("changes", 1), ("commits", 1), ("pages_written", 1), ("oldest_snapshot", 1)]
    {
        assert!(process[count].as_u64().unwrap() >= least, "{count}: {report}");
    }
    let gets = process["gets_per_second"].as_u64().unwrap();
    assert!(gets >= process["commits_per_second"].as_u64().unwrap(), "ten lookups a commit: {report}");
    let stages = report["stages"].as_array().unwrap();
    let names: Vec<_> = stages.iter().map(|stage| stage["stage"].as_str().unwrap()).collect();
    assert_eq!(names, ["lock_wait", "seal", "sync", "commit"]);
    let commits = &stages[3];
    assert!(
        commits["count"].as_u64().unwrap() > 0 && commits["p99_us"].as_f64() >= commits["p50_us"].as_f64()
    );
    assert_eq!(report["readers"][0]["pid"], pid);
    assert!(report["readers"][0]["behind"].as_u64().unwrap() > 0, "{report}");

    let words = place.ok("top a.maple --once --interval 0.05");
    assert!(
        words.contains("gets/s") && words.contains("99 % below") && words.contains(&pid.to_string()),
        "{words}"
    );
    drop(worker);
    place.ok("check a.maple");
}

#[test]
fn what_a_process_has_done_is_not_forgotten_when_it_goes() {
    let place = Place::with_a_database();
    // SAFETY: nothing but MapleDB writes to the file while it is open.
    #[allow(unsafe_code)]
    let env = unsafe { mapledb::Env::options().open(place.path("a.maple")) }.unwrap();
    let worker = Worker::start(&place);
    let seen = |name| env.metrics().get(name).unwrap();
    while seen("changes") < 3 || seen("gets") < 3 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(env.processes().unwrap().len(), 2);
    let (changes, gets) = (seen("changes"), seen("gets"));
    drop(worker);
    assert!(seen("changes") >= changes && seen("gets") >= gets);
    let left = env.processes().unwrap();
    assert_eq!((left.len(), left[0].is_own, left[0].changes), (1, true, 0));
}

#[test]
fn top_without_anybody_says_so_and_nonsense_is_refused() {
    let place = Place::with_a_database();
    assert!(
        place.ok("top a.maple --once --interval 0.01").contains("no other process has the database open")
    );
    for nonsense in ["--interval 0", "--interval soon", "--frozen"] {
        let ended = place.maple(&format!("top a.maple --once {nonsense}"));
        assert_eq!(ended.code, Some(2), "{nonsense}: {}", ended.stderr);
    }
}

/// Types lines into a shell; answers its exit code, what it printed, and what it told.
fn shell(place: &Place, options: &[&str], lines: &str) -> (i32, String, String) {
    let mut command = place.command(env!("CARGO_BIN_EXE_maple"));
    command.arg("shell").args(options).arg("a.maple");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // One that ends early does not read to the end.
    let _ = child.stdin.take().unwrap().write_all(lines.as_bytes());
    let ended = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (ended.status.code().unwrap(), text(ended.stdout), text(ended.stderr))
}

#[test]
fn a_shell_does_what_the_verbs_do() {
    let place = Place::with_a_database();
    place.ok("create a.maple -t users --keys u64 --values str");
    let lines = "put k2 'two words' # a remark\nscan\n\nuse users\nput 7 Ida\nget 7 --json\nuse\nget k2\nexit\nget nothing\n";
    let (code, printed, told) = shell(&place, &["--write"], lines);
    assert_eq!((code, told.as_str()), (0, ""));
    assert_eq!(printed, "k\tv\nk2\ttwo words\n{\"key\":7,\"value\":\"Ida\"}\ntwo words\n");
    assert_eq!(place.ok("get a.maple k2"), "two words\n");
    place.ok("check a.maple");
}

#[test]
fn a_shell_only_reads_unless_it_is_asked_to_write() {
    let place = Place::with_a_database();
    for verb in ["put k new", "del k", "create -t t", "load", "trim", "compact"] {
        let (code, _, told) = shell(&place, &[], &format!("{verb}\n"));
        assert_eq!(code, 2, "{verb}");
        assert!(told.contains("line 1: ") && told.contains("begin the shell with --write"), "{told}");
    }
    assert_eq!(place.ok("get a.maple k"), "v\n");
}

#[test]
fn a_line_that_fails_ends_a_pipe_and_no_is_an_answer() {
    let place = Place::with_a_database();
    let (code, printed, told) = shell(&place, &[], "get nothing\nget k\n");
    assert_eq!((code, printed.as_str()), (0, "v\n"));
    assert!(told.contains("there is no key \"nothing\""), "{told}");
    let (code, printed, told) = shell(&place, &[], "get k\nget k --table nowhere\nget k\n");
    assert_eq!((code, printed.as_str()), (4, "v\n"));
    assert!(told.contains("line 2: there is no table called \"nowhere\""), "{told}");
    let table = [("use nowhere", 4), ("fly", 2), ("get 'k", 2), ("get", 2), ("get k --fly", 2)];
    for (line, wanted) in table {
        let (code, _, told) = shell(&place, &[], &format!("{line}\n"));
        assert_eq!(code, wanted, "{line}: {told}");
    }
    let (code, printed, _) = shell(&place, &[], "help\nhelp get\nget --help\n");
    assert_eq!(code, 0);
    assert_eq!(
        printed.matches("Print the value of a key; exit code 1 if there is none").count(),
        3,
        "{printed}"
    );
}

#[test]
fn a_shell_on_what_is_no_database_is_refused_at_once() {
    let place = Place::new();
    let (code, _, told) = shell(&place, &[], "info\n");
    assert_eq!(code, 4);
    assert!(told.contains("a.maple does not exist"), "{told}");
}
