//! What is made from the command line itself: completions for shells, and manual pages.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Place, end};

/// The verbs, as the help lists them.
fn verbs(place: &Place) -> Vec<String> {
    let help = place.ok("--help");
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    lines
        .take_while(|line| !line.is_empty())
        // A long description goes on in a line that is indented further.
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .filter(|verb| verb != "help")
        .collect()
}

#[test]
fn every_shell_gets_completions_that_name_every_verb() {
    let place = Place::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = place.ok(&format!("completions {shell}"));
        for verb in verbs(&place) {
            assert!(script.contains(&verb), "{shell} does not know {verb}");
        }
        let as_json: serde_json::Value =
            serde_json::from_str(&place.ok(&format!("completions {shell} --json"))).unwrap();
        assert_eq!(as_json, serde_json::json!({ "shell": shell, "script": script }));
    }
    place.fails(2, "completions csh");
}

#[test]
fn bash_completes_verbs_and_options() {
    let place = Place::new();
    std::fs::write(place.path("script"), place.ok("completions bash")).unwrap();
    for (words, offered) in [("maple sam", "sample"), ("maple sample --fro", "--from"), ("maple q", "")] {
        let count = words.split(' ').count();
        let ask = format!(
            "source ./script; COMP_WORDS=({words}); COMP_CWORD={}; _maple maple '{}' x; echo \"${{COMPREPLY[*]}}\"",
            count - 1,
            words.split(' ').next_back().unwrap()
        );
        let mut bash = place.command("bash");
        let ended = end(bash.args(["--norc", "-c", &ask]));
        let answer = String::from_utf8(ended.stdout).unwrap();
        assert!(
            answer.split_whitespace().any(|word| word == offered) || answer.trim() == offered,
            "{words}: {answer}"
        );
    }
}

#[test]
fn each_verb_has_a_manual_page_of_its_own() {
    let place = Place::new();
    std::fs::create_dir(place.path("man1")).unwrap();
    let verbs = verbs(&place);
    let said = place.ok("man --to man1");
    let of_snapshots = ["create", "list", "drop", "rollback"];
    assert_eq!(said, format!("wrote {} pages to man1\n", verbs.len() + 1 + of_snapshots.len()));
    for verb in of_snapshots {
        let page = std::fs::read_to_string(place.path(&format!("man1/maple-snapshot-{verb}.1"))).unwrap();
        assert_eq!(page, place.ok(&format!("man snapshot {verb}")));
    }
    for page in std::fs::read_dir(place.path("man1")).unwrap() {
        let roff = std::fs::read_to_string(page.unwrap().path()).unwrap();
        let named = roff.lines().filter_map(|line| line.strip_suffix("(1)"));
        for page in named.map(|name| name.replace('\\', "")) {
            assert!(place.path(&format!("man1/{page}.1")).exists(), "{page} is pointed to, and is not there");
        }
    }
    for verb in &verbs {
        let page = std::fs::read_to_string(place.path(&format!("man1/maple-{verb}.1"))).unwrap();
        assert_eq!(page, place.ok(&format!("man {verb}")));
        assert!(page.contains(&format!(".TH maple-{verb} 1 ")), "{page}");
        assert!(page.contains(".SH OPTIONS") && page.contains(r"\fB\-\-json\fR"), "{page}");
    }
    let page = place.ok("man");
    assert!(page.contains(".TH maple 1 ") && page.contains("the answer is no"), "{page}");
    let as_json: serde_json::Value = serde_json::from_str(&place.ok("man --json")).unwrap();
    assert_eq!(as_json, serde_json::json!({ "page": "maple.1", "roff": page }));
    place.ok("man --to man1");
}

#[test]
fn pages_that_cannot_be_made_are_told() {
    let place = Place::new();
    assert!(place.fails(2, "man fly").contains("there is no verb called \"fly\""));
    assert!(place.fails(2, "man snapshot fly").contains("\"maple snapshot --help\" lists them"));
    assert!(place.fails(4, "man --to none").starts_with("maple: cannot write none/maple.1: "));
    place.fails(2, "man get --to .");
}
