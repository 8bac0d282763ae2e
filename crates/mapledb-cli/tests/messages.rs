//! What `maple` says when a file or its surroundings stand in the way: what was tried, where, why, and what to do; and
//! the exit code that `docs/cli.md` gives to it.
#![allow(clippy::unwrap_used)]

mod common;

use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::process::Command;

use common::{Ended, Place, end};

/// What it said, with the directory of the test left out of the names in it.
fn told(place: &Place, ended: &Ended) -> String {
    let dir = format!("{}/", place.dir().canonicalize().unwrap().display());
    ended.stderr.replace(&dir, "").trim_end().to_owned()
}

#[test]
fn each_obstacle_has_a_message_with_advice() {
    let table = [
        ("info dir", 4, "cannot open dir: Is a directory (os error 21); name a file, not a directory"),
        ("get dir k", 4, "cannot open dir: Is a directory (os error 21); name a file, not a directory"),
        ("page dir 32", 4, "dir is not a regular file: check the name"),
        ("create dir", 4, "dir exists, and is not written over: choose another name"),
        (
            "create no/x.maple",
            4,
            "cannot create no/x.maple: No such file or directory (os error 2); make the directory first, or check the name",
        ),
        (
            "copy a.maple no/x.maple",
            4,
            "cannot create no/x.maple: No such file or directory (os error 2); make the directory first, or check the name",
        ),
        (
            "copy a.maple no/x.maple --compact",
            4,
            "cannot create no/x.maple: No such file or directory (os error 2); make the directory first, or check the name",
        ),
        (
            "copy a.maple a.maple/x --compact",
            4,
            "cannot create a.maple/x: Not a directory (os error 20); check the name: a part of it is no directory",
        ),
        (
            "dump a.maple -o no/x.jsonl",
            4,
            "cannot create no/x.jsonl: No such file or directory (os error 2); make the directory first, or check the \
             name (records written 0, records in all 1)",
        ),
        (
            "dump a.maple -o a.maple/x",
            4,
            "cannot create a.maple/x: Not a directory (os error 20); check the name: a part of it is no directory \
             (records written 0, records in all 1)",
        ),
        ("dump a.maple -o dir --force", 4, "dir is a directory: name a file in it"),
        ("dump a.maple -o text", 4, "text exists: --force replaces it"),
        ("info none/x.maple", 4, "none/x.maple does not exist: create it, or check the name"),
        (
            "info a.maple/x",
            4,
            "cannot open a.maple/x: Not a directory (os error 20); check the name: a part of it is no directory",
        ),
        ("info text", 4, "text is not a MapleDB file: check the name"),
        ("info empty", 4, "empty is not a MapleDB file: check the name"),
        (
            "info /dev/null",
            4,
            "cannot open /dev/null: not a regular file; check the name: a regular file is needed",
        ),
        ("load a.maple none", 4, "cannot read none: No such file or directory (os error 2); check the name"),
        (
            "load a.maple dir",
            4,
            "cannot read dir: Is a directory (os error 21); name a file, not a directory",
        ),
        (
            "put a.maple k @none",
            4,
            "cannot read none: No such file or directory (os error 2); check the name",
        ),
        (
            "load a.maple empty",
            3,
            "empty: it is empty, which no dump is: look at what should have written it",
        ),
        ("load a.maple text", 3, "text: neither its name nor its beginning shows a format: give --format"),
        (
            "load a.maple",
            3,
            "standard input: it is empty, which no dump is: look at what should have written it",
        ),
        (
            "info linked.maple",
            4,
            "linked.maple-lock is not a regular file and cannot be the lock file: move it away",
        ),
        (
            "info beside.maple",
            4,
            "beside.maple-lock is not a regular file and cannot be the lock file: move it away",
        ),
    ];
    let place = Place::with_a_database();
    std::fs::create_dir(place.path("dir")).unwrap();
    std::fs::write(place.path("text"), "a few words").unwrap();
    std::fs::write(place.path("empty"), "").unwrap();
    place.ok("copy a.maple linked.maple");
    symlink("elsewhere", place.path("linked.maple-lock")).unwrap();
    place.ok("copy a.maple beside.maple");
    std::fs::create_dir(place.path("beside.maple-lock")).unwrap();
    let before = place.files();
    for (arguments, code, message) in table {
        let ended = place.maple(arguments);
        assert_eq!(told(&place, &ended), format!("maple: {message}"), "{arguments}");
        assert_eq!(ended.code, Some(code), "{arguments}");
        assert_eq!(place.files(), before, "{arguments}");
        let json = place.maple(&format!("{arguments} --json"));
        let object: serde_json::Value = serde_json::from_str(&json.stderr).unwrap();
        assert_eq!(object["exit_code"], code, "{arguments}");
    }
}

/// Runs `maple` as nobody, who may not come to where it was built; `None` where that cannot be.
fn as_nobody(place: &Place, arguments: &str) -> Option<Ended> {
    let reachable = place.path("maple-of-all");
    if !reachable.exists() {
        std::fs::copy(env!("CARGO_BIN_EXE_maple"), &reachable).unwrap();
    }
    let mut command = Command::new(&reachable);
    command.args(arguments.split(' ')).current_dir(place.dir()).uid(65534).gid(65534);
    loop {
        match command.output() {
            Ok(output) => return Some(Ended::of(output)),
            // Another test's child was forked while the copy was open for writing, and has not begun yet.
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => continue,
            Err(_) => return None,
        }
    }
}

#[test]
fn what_is_not_permitted_is_told_with_what_would_help() {
    let place = Place::with_a_database();
    let mode = |name, mode| {
        std::fs::set_permissions(place.path(name), PermissionsExt::from_mode(mode)).unwrap();
    };
    mode("", 0o755);
    mode("a.maple", 0o600);
    let Some(ended) = as_nobody(&place, "get a.maple k") else {
        return println!("SKIP: cannot become another user");
    };
    let denied =
        "Permission denied (os error 13); get permission for the file and its directory, or be another user";
    assert_eq!(
        (told(&place, &ended), ended.code),
        (format!("maple: cannot open a.maple: {denied}"), Some(4))
    );
    mode("a.maple", 0o644);
    std::fs::remove_file(place.path("a.maple-lock")).unwrap();
    let ended = as_nobody(&place, "get a.maple k").unwrap();
    assert_eq!(
        told(&place, &ended),
        "maple: a writable lock file is needed beside the data file, even to read: cannot create a.maple-lock: Permission denied (os \
         error 13); make it writable, or open the environment frozen if nobody writes to it (--frozen)"
    );
    assert_eq!(as_nobody(&place, "get a.maple k --frozen").unwrap().stdout, b"v\n");
    for (arguments, message) in [
        ("create b.maple", format!("cannot create b.maple: {denied}")),
        ("put a.maple k v", format!("cannot open a.maple: {denied}")),
        ("copy a.maple b.maple --frozen", format!("cannot create b.maple: {denied}")),
        ("copy a.maple b.maple --frozen --compact", format!("cannot create b.maple: {denied}")),
        (
            "dump a.maple --frozen -o b",
            format!("cannot create b: {denied} (records written 0, records in all 1)"),
        ),
    ] {
        let ended = as_nobody(&place, arguments).unwrap();
        assert_eq!((told(&place, &ended), ended.code), (format!("maple: {message}"), Some(4)));
    }
}

/// A file system of its own, unmounted when it goes out of scope.
struct Mounted<'p>(&'p Place);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        Command::new("umount").arg(self.0.path("disk")).status().ok();
    }
}

#[test]
fn on_a_read_only_file_system_the_way_in_is_frozen() {
    let place = Place::new();
    std::fs::create_dir(place.path("disk")).unwrap();
    let mounted = end(place.command("mount").args(["-t", "tmpfs", "-o", "size=8m", "tmpfs", "disk"]));
    if mounted.code != Some(0) {
        return println!("SKIP: cannot mount a file system");
    }
    let _mounted = Mounted(&place);
    place.ok("create disk/a.maple");
    place.ok("put disk/a.maple k v");
    if end(place.command("mount").args(["-o", "remount,ro", "disk"])).code != Some(0) {
        return println!("SKIP: cannot make a file system read-only");
    }
    let why = "Read-only file system (os error 30)";
    for (arguments, message) in [
        (
            "put disk/a.maple k w",
            format!("cannot open disk/a.maple: {why}; open it frozen, which stores nothing"),
        ),
        (
            "get disk/a.maple k",
            format!(
                "a writable lock file is needed beside the data file, even to read: cannot open disk/a.maple-lock: {why}; make it \
                 writable, or open the environment frozen if nobody writes to it (--frozen)"
            ),
        ),
        (
            "create disk/b.maple",
            format!("cannot create disk/b.maple: {why}; put it on a file system that can be written"),
        ),
    ] {
        let ended = place.maple(arguments);
        assert_eq!((told(&place, &ended), ended.code), (format!("maple: {message}"), Some(4)));
    }
    assert_eq!(place.ok("get disk/a.maple k --frozen"), "v\n");
}
