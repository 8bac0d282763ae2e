//! Planted bugs are in no build but the one that `scripts/canaries` makes, which looks for the same mark and must find it.

use std::path::{Path, PathBuf};

/// What a build with planted bugs has in it: the variable that chooses among them.
const MARK: &[u8] = b"MAPLE_CANARY";

#[test]
fn what_is_built_for_use_has_no_planted_bugs() {
    let this = PathBuf::from(env!("CARGO_BIN_EXE_mapledb-sim"));
    let target = this.parent().and_then(Path::parent).expect("a folder of builds");
    let others = ["debug", "release"]
        .into_iter()
        .flat_map(|profile| ["maple", "mapledb-sim"].map(|program| target.join(profile).join(program)));
    for program in others.filter(|program| program.exists()).chain([this.clone()]) {
        let bytes = std::fs::read(&program).expect("read");
        assert!(
            !bytes.windows(MARK.len()).any(|window| window == MARK),
            "{} has planted bugs",
            program.display()
        );
    }
}

#[test]
fn nothing_but_its_own_script_asks_for_planted_bugs() {
    let workspace =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().and_then(Path::parent).expect("the workspace");
    let mut manifests = vec![workspace.join("Cargo.toml"), workspace.join(".cargo/config.toml")];
    for krate in std::fs::read_dir(workspace.join("crates")).expect("crates").flatten() {
        manifests.extend(["Cargo.toml", "build.rs"].map(|name| krate.path().join(name)));
    }
    let mut known = 0;
    for manifest in manifests.iter().filter(|manifest| manifest.exists()) {
        let text = std::fs::read_to_string(manifest).expect("read");
        for line in text.lines().filter(|line| line.contains("maple_canar")) {
            assert!(line.starts_with("unexpected_cfgs = "), "{}: {line}", manifest.display());
            known += 1;
        }
    }
    assert_eq!(known, 1, "the lint knows of them");
}
