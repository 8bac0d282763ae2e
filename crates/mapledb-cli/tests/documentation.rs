//! `docs/cli.md` is true: its console blocks print what they say, and its tables list the fields that verbs print.
//!
//! `SNAPSHOTS=overwrite cargo test -p mapledb-cli --test documentation` writes what is printed into the page.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use common::Place;
use serde_json::Value;
use snapbox::{Assert, Data};

fn page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md")
}

/// Runs a line of shell with `maple` on the path, and answers what it printed, and its exit code unless it is 0.
fn shell(place: &Place, line: &str) -> String {
    let bin = Path::new(env!("CARGO_BIN_EXE_maple")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    // In a subshell, so that all of a pipe prints to one place.
    let mut command = place.command("sh");
    command.args(["-c", &format!("( {line} ) 2>&1")]).env("PATH", path).env_remove("COLUMNS");
    let ended = common::end(&mut command);
    let mut printed = String::from_utf8(ended.stdout).unwrap();
    match ended.code {
        Some(0) => {}
        code => printed.insert_str(0, &format!("? {}\n", code.unwrap())),
    }
    printed
}

/// The page with what its commands print today.
fn rerun(page: &str) -> String {
    let place = Place::new();
    let mut out = String::new();
    let mut in_console = false;
    for line in page.lines() {
        match line {
            "```console" => in_console = true,
            "```" => in_console = false,
            _ => {}
        }
        let command = line.strip_prefix("$ ").filter(|_| in_console);
        if !in_console || command.is_some() || line == "```console" {
            out.push_str(line);
            out.push('\n');
        }
        if let Some(command) = command {
            out.push_str(&shell(&place, command));
        }
    }
    out
}

#[test]
fn the_console_blocks_print_what_they_say() {
    let page = page();
    let text = std::fs::read_to_string(&page).unwrap();
    Assert::new()
        .action_env("SNAPSHOTS")
        .normalize_paths(false)
        .eq(rerun(&text), Data::read_from(&page, None));
}

/// The fields that the page lists between one heading and the next.
fn listed(page: &str, heading: &str) -> BTreeSet<String> {
    let mut lines = page.lines().skip_while(|line| *line != heading);
    assert_eq!(lines.next(), Some(heading));
    lines
        .take_while(|line| !line.starts_with('#'))
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`').map(|(field, _)| field.to_owned()))
        .collect()
}

/// The fields of a JSON value, down to those that hold no further ones.
fn fields(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) if !object.is_empty() => {
            for (name, value) in object {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                fields(value, &path, found);
            }
        }
        Value::Array(values) if values.first().is_some_and(Value::is_object) => {
            values.iter().for_each(|value| fields(value, &format!("{path}[]"), found));
        }
        _ => {
            found.insert(path.to_owned());
        }
    }
}

/// The fields that a verb prints, over several runs.
fn printed(place: &Place, runs: &[&str]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for run in runs {
        let ended = place.maple(&format!("{run} --json"));
        let text = String::from_utf8(ended.stdout).unwrap();
        for line in text.lines() {
            fields(&serde_json::from_str(line).unwrap(), "", &mut found);
        }
    }
    found
}

/// Flips a bit of the default table's root.
fn damage_root(place: &Place, file: &str) {
    let meta: Value = serde_json::from_str(&place.ok(&format!("page {file} meta-a --json"))).unwrap();
    let root = meta["trees"][0]["root"].as_u64().unwrap();
    let mut bytes = std::fs::read(place.path(file)).unwrap();
    bytes[usize::try_from(root).unwrap() * 4096 + 4000] ^= 1;
    std::fs::write(place.path(file), bytes).unwrap();
}

#[test]
fn the_fields_that_verbs_print_are_the_ones_that_are_listed() {
    let page = std::fs::read_to_string(page()).unwrap();
    let place = Place::new();
    let created = printed(&place, &["create a.maple"]);
    let rows: String = (0..2000).map(|number| format!("key{number:06},{}\n", "v".repeat(100))).collect();
    std::fs::write(place.path("rows.csv"), rows).unwrap();
    std::fs::write(place.path("big"), vec![b'x'; 100_000]).unwrap();
    place.ok("load a.maple rows.csv --no-header");
    place.ok("put a.maple zbig @big");
    place.ok("create a.maple -t many --multimap");
    place.ok("del a.maple --prefix key0001");
    let root = |of: &str| -> Value {
        serde_json::from_str(&place.ok(&format!("page a.maple {of} --json"))).unwrap()
    };
    let (a, b) = (root("meta-a"), root("meta-b"));
    let newest = if a["txnid"].as_u64() > b["txnid"].as_u64() { a } else { b };
    let branch = newest["trees"][0]["root"].as_u64().unwrap();
    let leaf =
        root(&branch.to_string())["slots"].as_array().unwrap().last().unwrap()["child"].as_u64().unwrap();
    let run =
        root(&leaf.to_string())["slots"].as_array().unwrap().last().unwrap()["value"]["overflow"]["page"]
            .clone();
    let of_page: Vec<String> = ["meta-a".to_owned(), "meta-b".to_owned()]
        .into_iter()
        .chain([branch, leaf, run.as_u64().unwrap()].map(|page| page.to_string()))
        .map(|what| format!("page a.maple {what}"))
        .collect();
    let of_page: Vec<&str> = of_page.iter().map(String::as_str).collect();
    // Before other verbs write: then these pages may be others.
    let of_page = printed(&place, &of_page);
    let lmdb = Path::new(env!("CARGO_MANIFEST_DIR")).join("../mapledb-lmdb/tests/golden/format-3.mdb");
    let import = format!("import {} i.maple --main", lmdb.display());
    let differing = [
        "create f.maple -t t",
        "create g.maple -t t --keys u64",
        "create g.maple -t u",
        "create f.maple -t kind",
        "create g.maple -t kind --multimap --order reverse",
        "put f.maple k old",
        "put f.maple l x",
        "put g.maple k new",
        "put g.maple m x",
    ];
    for changes in differing {
        place.ok(changes);
    }
    let of_diff = printed(&place, &["diff f.maple g.maple"]);
    place.ok("backup g.maple h.maple");
    damage_root(&place, "h.maple");
    let of_rescue = printed(&place, &["rescue h.maple h.jsonl"]);
    let of_residency = {
        // SAFETY: nothing but MapleDB writes to the file while it is open.
        #[allow(unsafe_code)]
        let _mapped = unsafe { mapledb::Env::options().open(place.path("g.maple")) }.unwrap();
        let ways = ["residency g.maple", "residency g.maple --tables", "residency g.maple --processes"];
        printed(&place, &ways)
    };
    let table = [
        ("### `maple create`", created),
        ("### `maple put`", printed(&place, &["put a.maple k v"])),
        ("### `maple get`", printed(&place, &["get a.maple k"])),
        ("### `maple del`", printed(&place, &["del a.maple k"])),
        ("### `maple scan`", printed(&place, &["scan a.maple", "scan a.maple --count"])),
        ("### `maple rank`", printed(&place, &["rank a.maple k"])),
        ("### `maple nth`", printed(&place, &["nth a.maple 0"])),
        ("### `maple sample`", printed(&place, &["sample a.maple"])),
        ("### `maple tables`", printed(&place, &["tables a.maple"])),
        ("### `maple stat`", printed(&place, &["stat a.maple"])),
        ("### `maple info`", printed(&place, &["info a.maple"])),
        ("### `maple dump`", printed(&place, &["dump a.maple -o a.jsonl"])),
        ("### `maple load`", printed(&place, &["load a.maple a.jsonl"])),
        ("### `maple import`", printed(&place, &[&import])),
        ("### `maple copy`", printed(&place, &["copy a.maple b.maple"])),
        ("### `maple backup`", printed(&place, &["backup a.maple e.maple"])),
        ("### `maple compact`", printed(&place, &["compact e.maple"])),
        ("### `maple diff`", of_diff),
        ("### `maple rescue`", of_rescue),
        ("### `maple top`", printed(&place, &["top a.maple --once --interval 0.01"])),
        (
            "### `maple warm`",
            printed(&place, &["warm a.maple", "warm a.maple --branches", "warm a.maple --levels 1"]),
        ),
        ("### `maple residency`", of_residency),
        ("### `maple metrics`", printed(&place, &["metrics a.maple"])),
        ("### `maple doctor`", printed(&place, &["doctor a.maple"])),
        ("### `maple space`", printed(&place, &["space a.maple --map"])),
        ("### `maple defrag`", printed(&place, &["defrag a.maple"])),
        ("### `maple trim`", printed(&place, &["trim a.maple"])),
        ("### `maple page`", of_page),
        ("### `maple completions`", printed(&place, &["completions fish"])),
        ("### `maple man`", printed(&place, &["man", "man --to ."])),
    ];
    for (heading, printed) in table {
        let mut listed = listed(&page, heading);
        if heading == "### `maple page`" {
            // Which of these a meta holds depends on how the file came to be.
            listed.retain(|field| !field.starts_with("free_") && !field.starts_with("manifest["));
            let printed: BTreeSet<_> = printed
                .into_iter()
                .filter(|field| !field.starts_with("free_") && !field.starts_with("manifest["))
                .collect();
            assert_eq!(listed, printed, "{heading}");
        } else {
            assert_eq!(listed, printed, "{heading}");
        }
    }
}
