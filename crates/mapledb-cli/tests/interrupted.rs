//! Ctrl-C, at any moment: what was to appear is there whole or not at all.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::Write;
use std::process::{Child, Output, Stdio};
use std::time::Duration;

use common::{Place, signal};

fn large() -> Place {
    let place = Place::new();
    place.ok("create a.maple");
    let value = "v".repeat(900);
    let text: String = (0..30_000).map(|number| format!("key{number:08},{value}\n")).collect();
    let loaded = place.maple_reading("load a.maple -f csv --no-header", text.as_bytes());
    assert_eq!(loaded.code, Some(0), "{}", loaded.stderr);
    place
}

fn start(place: &Place, arguments: &str) -> Child {
    let mut command = place.maple_command(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn interrupt_after(child: Child, microseconds: u64) -> Output {
    std::thread::sleep(Duration::from_micros(microseconds));
    signal(&child, "INT");
    child.wait_with_output().unwrap()
}

/// What there may be beside the database: its lock file, and the target if the command said that it is done.
fn left_behind(place: &Place, target: &str) -> Vec<String> {
    place
        .files()
        .into_iter()
        .filter(|name| !["a.maple", "a.maple-lock", target].contains(&name.as_str()))
        .collect()
}

#[test]
fn a_copy_or_dump_that_is_interrupted_leaves_nothing() {
    let place = large();
    let mut interrupted = 0;
    for (arguments, target) in [
        ("copy a.maple b.maple", "b.maple"),
        ("copy a.maple b.maple --compact", "b.maple"),
        ("dump a.maple -o b.dump", "b.dump"),
    ] {
        for step in 0..12 {
            // From at once to one second: the early ones find it starting, the last ones done.
            let output = interrupt_after(start(&place, arguments), (1 << step) * 500 - 500);
            let is_there = place.path(target).exists();
            match output.status.code() {
                Some(0) => assert!(is_there, "{arguments}: done, and nothing there"),
                // Without a code it was a signal that came before the command had begun to catch it.
                Some(130) | None => assert!(!is_there, "{arguments}: interrupted, and something there"),
                other => panic!("{arguments}: {other:?}: {}", String::from_utf8_lossy(&output.stderr)),
            }
            interrupted += u32::from(output.status.code() == Some(130));
            if is_there && target == "b.maple" {
                place.check(target);
            }
            std::fs::remove_file(place.path(target)).ok();
            std::fs::remove_file(place.path("b.maple-lock")).ok();
            assert_eq!(left_behind(&place, target), Vec::<String>::new(), "{arguments} after {step}");
        }
    }
    assert!(interrupted > 0, "not one of 36 was interrupted at work");
    place.check("a.maple");
}

#[test]
fn what_a_killed_copy_leaves_is_gone_after_the_next() {
    let place = large();
    let mut left = 0;
    for step in 0..12 {
        let mut child = start(&place, "copy a.maple b.maple --compact");
        std::thread::sleep(Duration::from_micros((1 << step) * 500));
        child.kill().unwrap();
        child.wait().unwrap();
        left += left_behind(&place, "b.maple").len();
        for file in ["b.maple", "b.maple-lock"] {
            std::fs::remove_file(place.path(file)).ok();
        }
    }
    assert!(left > 0, "not one of 12 was killed at work");
    place.ok("copy a.maple b.maple");
    assert_eq!(left_behind(&place, "b.maple"), Vec::<String>::new());
}

#[test]
fn a_load_that_is_interrupted_keeps_nothing_and_says_how_far_it_was() {
    let place = Place::new();
    place.ok("create a.maple");
    let mut child = start(&place, "load a.maple -f tsv --no-header");
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"a\t1\nb\t2\n").unwrap();
    stdin.flush().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    signal(&child, "INT");
    std::thread::sleep(Duration::from_millis(100));
    // It waits in a read: with the next line it sees that it is to stop.
    stdin.write_all(b"c\t3\n").ok();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.starts_with("maple: standard input: interrupted (records read "), "{told}");
    assert_eq!(place.ok("scan a.maple --count"), "0\n");
}

#[test]
fn a_load_that_waits_for_input_ends_with_the_second_ctrl_c() {
    let place = Place::new();
    place.ok("create a.maple");
    let mut child = start(&place, "load a.maple -f tsv --no-header");
    child.stdin.as_mut().unwrap().write_all(b"a\t1\n").unwrap();
    std::thread::sleep(Duration::from_millis(300));
    signal(&child, "INT");
    std::thread::sleep(Duration::from_millis(200));
    signal(&child, "INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(place.ok("scan a.maple --count"), "0\n");
    place.check("a.maple");
}
