//! A verb that fails leaves no file behind that it made itself, and a file that was there as it was.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Place, signal};
use std::io::Write;
use std::process::Stdio;

const TWO_LINES: &[u8] = b"1,a\nx,b\n";

#[test]
fn a_load_that_fails_takes_back_the_database_it_created() {
    let place = Place::new();
    for batch in ["", " --batch 100"] {
        let load = format!("load a.maple --create -t t --keys u8 -f csv --no-header{batch}");
        let failed = place.maple_reading(&load, TWO_LINES);
        assert_eq!(failed.code, Some(3), "{}", failed.stderr);
        assert!(failed.stderr.contains("x is not of type u8"), "{}", failed.stderr);
        assert!(place.files().is_empty(), "{:?}", place.files());
    }
}

#[test]
fn what_a_load_has_committed_stays_and_so_does_its_file() {
    let place = Place::new();
    let failed =
        place.maple_reading("load a.maple --create -t t --keys u8 -f csv --no-header --batch 1", TWO_LINES);
    assert_eq!(failed.code, Some(3), "{}", failed.stderr);
    assert_eq!(place.ok("scan a.maple -t t"), "1\ta\n");
    place.check("a.maple");
}

#[test]
fn a_file_that_was_there_is_not_taken_back() {
    let place = Place::with_a_database();
    let before = [place.ok("dump a.maple"), place.ok("stat a.maple --json")];
    let failed = place.maple_reading("load a.maple --create -t t --keys u8 -f csv --no-header", TWO_LINES);
    assert_eq!(failed.code, Some(3), "{}", failed.stderr);
    place.fails(2, "create a.maple -t t --page-size 65536");
    assert_eq!([place.ok("dump a.maple"), place.ok("stat a.maple --json")], before);
    place.check("a.maple");
}

#[test]
fn a_create_that_fails_leaves_neither_the_file_nor_its_lock_file() {
    let place = Place::new();
    let long = "n".repeat(5000);
    place.fails(2, &format!("create a.maple -t {long}"));
    assert!(place.files().is_empty(), "{:?}", place.files());
    // A lock file of somebody else stays.
    std::fs::write(place.path("a.maple-lock"), "").unwrap();
    let failed = place.maple(&format!("create a.maple -t {long}"));
    assert!(matches!(failed.code, Some(2 | 4)), "{}", failed.stderr);
    assert_eq!(place.files(), ["a.maple-lock"]);
}

#[test]
fn who_opened_the_new_file_meanwhile_keeps_it() {
    let place = Place::new();
    let mut load = place.maple_command("load a.maple --create -t t --keys u8 -f csv --no-header");
    let mut load = load.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = load.stdin.take().unwrap();
    input.write_all(b"1,a\n").unwrap();
    while !place.path("a.maple").exists() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let mut top = place.maple_command("shell a.maple");
    let mut top = top.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut other = top.stdin.take().unwrap();
    other.write_all(b"scan --count\n").unwrap();
    let mut said = [0; 2];
    std::io::Read::read_exact(top.stdout.as_mut().unwrap(), &mut said).unwrap();
    assert_eq!(&said, b"0\n");
    input.write_all(b"x,b\n").unwrap();
    drop(input);
    assert_eq!(load.wait_with_output().unwrap().status.code(), Some(3));
    assert!(place.path("a.maple").exists());
    drop(other);
    assert!(top.wait().unwrap().success());
    place.check("a.maple");
}

#[test]
fn a_load_that_is_interrupted_takes_its_database_back() {
    let place = Place::new();
    let mut load = place.maple_command("load a.maple --create -f csv --no-header");
    let mut load = load.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = load.stdin.take().unwrap();
    input.write_all(b"k,v\n").unwrap();
    while !place.path("a.maple").exists() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    signal(&load, "INT");
    // It may already be gone.
    let _ = input.write_all("k,v\n".repeat(100_000).as_bytes());
    drop(input);
    assert_eq!(load.wait_with_output().unwrap().status.code(), Some(130));
    assert!(place.files().is_empty(), "{:?}", place.files());
}
