//! `--quiet`, of every verb: on a terminal too there is no progress then, and no notes.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::Write;

use common::{Place, end};

/// What `maple` prints on a terminal, which `script` makes for it; `None` where that is not installed.
fn on_a_terminal(place: &Place, arguments: &str) -> Option<String> {
    let mut command = place.command("script");
    command.args(["-qec", &format!("{} {arguments}", env!("CARGO_BIN_EXE_maple")), "/dev/null"]);
    if place.command("script").arg("--version").output().is_err() {
        let line = "SKIP quiet: script not installed (Debian package bsdutils)\n";
        std::io::stderr().write_all(line.as_bytes()).unwrap();
        return None;
    }
    let ended = end(&mut command);
    assert_eq!(ended.code, Some(0), "{arguments}: {}", ended.stderr);
    Some(String::from_utf8(ended.stdout).unwrap())
}

#[test]
fn a_quiet_load_draws_no_progress_on_a_terminal_and_another_does() {
    let place = Place::new();
    let rows: String = (0..400_000u32).map(|n| format!("{:08x},v\n", n.wrapping_mul(0x9e37_79b9))).collect();
    std::fs::write(place.path("rows.csv"), rows).unwrap();
    let load = "load a.maple rows.csv --create -f csv --no-header";
    let Some(loud) = on_a_terminal(&place, load) else { return };
    assert!(loud.contains(" records in "), "{loud:?}");
    for quiet in ["-q", "--quiet"] {
        let said = on_a_terminal(&place, &format!("{load} {quiet}")).unwrap();
        assert_eq!(said.lines().count(), 1, "{said:?}");
        assert!(said.starts_with("loaded 400,000 records"), "{said:?}");
    }
    let checked = on_a_terminal(&place, "check a.maple -q").unwrap();
    assert!(checked.starts_with("clean: ") && checked.lines().count() == 1, "{checked:?}");
}

#[test]
fn every_verb_takes_it() {
    let place = Place::new();
    let help = place.ok("--help");
    let verbs = help.split_once("Commands:\n").unwrap().1.split_once("\n\n").unwrap().0;
    let verbs: Vec<&str> = verbs
        .lines()
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|verb| !verb.is_empty())
        .collect();
    assert!(verbs.len() > 30, "{verbs:?}");
    for verb in verbs.into_iter().filter(|verb| *verb != "help") {
        let help = place.ok(&format!("{verb} --help"));
        // Those with verbs of their own have it in each of them, too.
        assert!(help.contains("-q, --quiet"), "{verb}: {help}");
    }
    for what in ["create", "list", "drop", "rollback"] {
        assert!(place.ok(&format!("snapshot {what} --help")).contains("-q, --quiet"), "{what}");
    }
}
