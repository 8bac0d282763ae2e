//! Every "yes" of MapleDB in `docs/features.md` points to a test or an example that is there.
//!
//! A cell is `[yes](path "name")`: the file must have a function of that name, and, unless it is an example's `main`, that
//! function must be a test.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").canonicalize().unwrap()
}

/// The cells under "MapleDB": the second of each row of each table, without the heads.
fn own_cells(page: &str) -> Vec<(&str, &str)> {
    let rows = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| |"));
    rows.filter_map(|row| {
        let mut cells = row.trim_matches('|').split(" | ").map(str::trim);
        Some((cells.next()?, cells.next()?))
    })
    .collect()
}

/// What a cell claims: where, and the name of a function.
fn claim(cell: &str) -> Option<(&str, &str)> {
    let link = cell.strip_prefix("[yes](")?.strip_suffix("\")")?;
    link.split_once(" \"")
}

/// Whether the claim of a row holds; else why not.
fn resolve(what: &str, cell: &str) -> Result<(), String> {
    if !cell.contains("yes") {
        return Ok(());
    }
    let (path, name) = claim(cell).ok_or(format!("{what}: a yes without a link to a test: {cell}"))?;
    let text =
        std::fs::read_to_string(docs().join(path)).map_err(|error| format!("{what}: {path}: {error}"))?;
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let function = format!("fn {name}(");
    let at = lines
        .iter()
        .position(|line| line.starts_with(&function))
        .ok_or(format!("{what}: {path} has no function {name}"))?;
    let attributes =
        lines[..at].iter().rev().take_while(|line| line.starts_with("#[") || line.starts_with("//"));
    let is_test = attributes.into_iter().any(|line| line.starts_with("#[test]"));
    let is_example = path.contains("examples/") && name == "main";
    if is_test || is_example { Ok(()) } else { Err(format!("{what}: {name} in {path} is no test")) }
}

#[test]
fn every_yes_of_ours_points_to_a_test_or_an_example() {
    let page = std::fs::read_to_string(docs().join("features.md")).unwrap();
    let cells = own_cells(&page);
    let faults: Vec<String> = cells.iter().filter_map(|(what, cell)| resolve(what, cell).err()).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let claims = cells.iter().filter(|(_, cell)| claim(cell).is_some()).count();
    assert!(claims >= 40, "only {claims} claims were found: is the table still read?");
}

#[test]
fn a_wrong_link_is_noticed() {
    let here = "../crates/mapledb-cli/tests/features.rs";
    let right = format!("[yes]({here} \"a_wrong_link_is_noticed\")");
    assert_eq!(resolve("right", &right), Ok(()));
    assert_eq!(resolve("absent", "—"), Ok(()));
    assert_eq!(resolve("later", "not yet"), Ok(()));
    let wrong = [
        "yes".to_owned(),
        format!("[yes]({here})"),
        format!("[yes]({here} \"no_such_test\")"),
        format!("[yes]({here} \"resolve\")"),
        "[yes](../crates/nowhere.rs \"a_wrong_link_is_noticed\")".to_owned(),
        "[yes, mostly](https://example.org \"main\")".to_owned(),
    ];
    for cell in wrong {
        assert!(resolve("wrong", &cell).is_err(), "{cell}");
    }
}

#[test]
fn the_cells_of_ours_are_the_second_of_each_row() {
    let page = "text\n\n| | MapleDB | LMDB |\n|---|---|---|\n| a | [yes](p \"t\") | — |\n| b | — | yes |\n";
    assert_eq!(own_cells(page), [("a", "[yes](p \"t\")"), ("b", "—")]);
    assert_eq!(claim("[yes](p \"t\")"), Some(("p", "t")));
}
