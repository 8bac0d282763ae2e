//! Dependencies have licences that `deny.toml` allows and come from the public registry. `scripts/dependencies` asks
//! cargo-deny for more, where it is installed.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The licences that `deny.toml` allows.
fn allowed() -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join("deny.toml")).unwrap();
    let list = text.split_once("allow = [").unwrap().1.split_once(']').unwrap().0;
    list.lines()
        .filter_map(|line| line.trim().strip_prefix('"')?.strip_suffix("\","))
        .map(str::to_owned)
        .collect()
}

/// Every package that any member needs on this platform. The registry is asked only for what is not there yet.
fn packages() -> Vec<Value> {
    let asked = "metadata --format-version 1 --locked --filter-platform x86_64-unknown-linux-gnu";
    let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
    let ask = |more: &[&str]| {
        Command::new(&cargo).args(asked.split(' ')).args(more).current_dir(root()).output().unwrap()
    };
    let ended = Some(ask(&["--offline"])).filter(|ended| ended.status.success()).unwrap_or_else(|| ask(&[]));
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let metadata: Value = serde_json::from_slice(&ended.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

/// Whether an SPDX expression can be met with what is allowed: `OR` needs one side, `AND` both, brackets go first. The older
/// `/` means `OR`.
fn is_met(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let expression = expression.replace('/', " OR ");
    let expression = expression.trim();
    if let Some(sides) = split(expression, " AND ") {
        return sides.iter().all(|side| is_met(side, allowed));
    }
    if let Some(sides) = split(expression, " OR ") {
        return sides.iter().any(|side| is_met(side, allowed));
    }
    match expression.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')) {
        Some(inner) => is_met(inner, allowed),
        None => allowed.contains(expression),
    }
}

/// The parts between occurrences of `word` that stand in no brackets; `None` if there is no such occurrence.
///
/// `AND` binds closer than `OR`; an expression that has both without brackets is split at `AND` first, which asks for more
/// than it means, never for less.
fn split<'e>(expression: &'e str, word: &str) -> Option<Vec<&'e str>> {
    let depth = |at: usize| {
        expression[..at].matches('(').count() as isize - expression[..at].matches(')').count() as isize
    };
    let mut parts = Vec::new();
    let mut from = 0;
    for (at, _) in expression.match_indices(word).filter(|(at, _)| depth(*at) == 0) {
        parts.push(&expression[from..at]);
        from = at + word.len();
    }
    parts.push(&expression[from..]);
    (parts.len() > 1).then_some(parts)
}

#[test]
fn every_dependency_has_a_licence_that_is_allowed() {
    let allowed = allowed();
    assert!(allowed.contains("MIT"), "deny.toml is not understood: {allowed:?}");
    let packages = packages();
    let faults: Vec<String> = packages
        .iter()
        .filter(|package| !is_met(package["license"].as_str().unwrap_or("none"), &allowed))
        .map(|package| format!("{} {}: {}", package["name"], package["version"], package["license"]))
        .collect();
    assert!(faults.is_empty(), "licences that deny.toml does not allow:\n{}", faults.join("\n"));
    assert!(packages.len() > 50, "only {} packages were looked at", packages.len());
}

#[test]
fn every_dependency_comes_from_the_public_registry() {
    let faults: Vec<Value> = packages()
        .into_iter()
        .filter(|package| {
            let source = package["source"].as_str();
            source.is_some_and(|source| source != "registry+https://github.com/rust-lang/crates.io-index")
        })
        .map(|package| package["id"].clone())
        .collect();
    assert!(faults.is_empty(), "{faults:?}");
}

#[test]
fn a_licence_that_is_not_allowed_would_be_seen() {
    let allowed = BTreeSet::from(["MIT", "Apache-2.0", "Unicode-3.0"].map(str::to_owned));
    for met in ["MIT", "MIT OR GPL-3.0", "GPL-3.0/MIT", "(GPL-2.0 OR Apache-2.0) AND Unicode-3.0"] {
        assert!(is_met(met, &allowed), "{met}");
    }
    for refused in
        ["GPL-3.0", "none", "MIT AND GPL-3.0", "(MIT OR Apache-2.0) AND OpenSSL", "GPL-2.0 OR LGPL-2.1"]
    {
        assert!(!is_met(refused, &allowed), "{refused}");
    }
}
