//! The floors of the code, held against the code: imports only go down, and `unsafe` has an address.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The crates, lowest first. Each may depend on those above it in this list.
const CRATES: [&str; 7] = [
    "mapledb-format",
    "mapledb-os",
    "mapledb-derive",
    "mapledb",
    "mapledb-lmdb",
    "mapledb-sim",
    "mapledb-cli",
];

/// The modules of the engine, lowest first. Each may import those above it in this list.
///
/// The protocol of shared memory stands alone, since it is what the models run; its errors are a part of the one
/// error. `pages` is the pair of traits that keeps the tree from knowing the store.
const MODULES: [&str; 13] = [
    "mvcc", "error", "pages", "store", "tree", "dup", "catalog", "space", "commit", "check", "txn", "env",
    "api",
];

/// Where the engine may say `unsafe`, and why.
const UNSAFE_FILES: [(&str, &str); 6] = [
    ("store/mod.rs", "a pinned page becomes a slice"),
    ("env/open.rs", "opening is the one unsafe call: its contract"),
    ("env/copy.rs", "opens the copy it has just made"),
    ("api/cost_tests.rs", "opens its own file"),
    ("api/level_tests.rs", "opens its own file"),
    ("mvcc/loom_tests.rs", "models of shared memory, compiled for loom alone"),
];

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the folder of all crates").to_path_buf()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The sources of a crate: each file with its path below `src` and its lines, comments blanked.
fn code_of(name: &str) -> Vec<(String, Vec<String>)> {
    let root = crates().join(name).join("src");
    let mut found = Vec::new();
    sources(&root, &mut found);
    assert!(!found.is_empty(), "{name} has no sources");
    let relative = |path: &Path| path.strip_prefix(&root).expect("below src").display().to_string();
    found.sort();
    found
        .iter()
        .map(|path| {
            let text = std::fs::read_to_string(path).expect("read");
            (relative(path), text.lines().map(without_comment).collect())
        })
        .collect()
}

fn without_comment(line: &str) -> String {
    line.find("//").map_or(line, |at| &line[..at]).to_string()
}

/// Whether `word` stands in `line` by itself.
fn has_word(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(is_part) && !line[at + word.len()..].starts_with(is_part))
}

/// The module of the crate that a file belongs to.
fn module_of(file: &str) -> &str {
    file.split('/').next().unwrap_or(file).trim_end_matches(".rs")
}

/// The modules named after each `crate::` in `code`, whether alone or in braces.
fn imports(code: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let mut found = Vec::new();
    for (at, start) in code.match_indices("crate::") {
        if code[..at].ends_with('$') {
            continue;
        }
        let rest = &code[at + start.len()..];
        match rest.strip_prefix('{') {
            None => found.push(name(rest)),
            Some(list) => {
                let (mut depth, mut begins) = (1, true);
                for (at, c) in list.char_indices() {
                    if begins && !c.is_whitespace() {
                        found.push(name(&list[at..]));
                    }
                    begins = (begins && c.is_whitespace()) || (c == ',' && depth == 1);
                    depth += match c {
                        '{' => 1,
                        '}' => -1,
                        _ => 0,
                    };
                    if depth == 0 {
                        break;
                    }
                }
            }
        }
    }
    found
}

/// As `imports`, for paths that leave a module's folder by `super`.
fn imports_by_super(file: &str, code: &str) -> Vec<String> {
    let depth = file.matches('/').count() + usize::from(!file.ends_with("mod.rs"));
    let chain = "super::".repeat(depth.max(1));
    let name = |at: usize| -> String {
        code[at + chain.len()..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let is_whole = |at: usize| !code[..at].ends_with("super::");
    let found = code.match_indices(&chain).filter(|(at, _)| is_whole(*at)).map(|(at, _)| name(at));
    found.filter(|name| MODULES.contains(&name.as_str())).collect()
}

#[test]
fn modules_of_the_engine_import_lower_ones_only() {
    let floor: BTreeMap<_, _> = MODULES.iter().enumerate().map(|(floor, name)| (*name, floor)).collect();
    let mut faults = Vec::new();
    for (file, lines) in code_of("mapledb") {
        let module = module_of(&file);
        if module == "lib" {
            continue;
        }
        let code = lines.join("\n");
        let Some(own) = floor.get(module) else {
            faults.push(format!("{file}: the module {module} has no floor; give it one here"));
            continue;
        };
        for import in imports(&code).into_iter().chain(imports_by_super(&file, &code)) {
            match floor.get(import.as_str()) {
                Some(other) if other <= own => {}
                Some(_) => faults.push(format!("{file} imports {import}, which lies above {module}")),
                None => {
                    faults.push(format!("{file} imports crate::{import}, which is no module with a floor"))
                }
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn an_import_that_goes_up_is_seen() {
    assert_eq!(imports("use crate::{txn::Core, api::{self, Key},\n env};"), ["txn", "api", "env"]);
    assert_eq!(imports("let x = crate::env::Env::of(core);"), ["env"]);
    assert_eq!(imports_by_super("tree/cull.rs", "use super::super::txn::Core; use super::Path;"), ["txn"]);
    assert_eq!(imports_by_super("tree/mod.rs", "use super::api::Key;"), ["api"]);
    assert!(imports_by_super("tree/cull.rs", "use super::store;").is_empty(), "a module of the same folder");
}

#[test]
fn crates_depend_on_lower_ones_only() {
    for (floor, name) in CRATES.iter().enumerate() {
        let manifest = std::fs::read_to_string(crates().join(name).join("Cargo.toml")).expect("a manifest");
        let runtime = manifest.split("[dev-dependencies]").next().unwrap_or(&manifest);
        for (above, other) in CRATES.iter().enumerate().skip(floor + 1) {
            let depends = runtime
                .lines()
                .any(|line| line.strip_prefix(other).is_some_and(|rest| rest.starts_with(['.', ' ', '='])));
            assert!(!depends, "{name} (floor {floor}) depends on {other} (floor {above})");
        }
    }
}

#[test]
fn the_format_forbids_unsafe_and_has_no_effects() {
    let code = code_of("mapledb-format");
    let root = code.iter().find(|(file, _)| file == "lib.rs").expect("a root");
    assert!(root.1.iter().any(|line| line.contains("forbid(unsafe_code)")));
    for (file, lines) in &code {
        for (at, line) in lines.iter().enumerate() {
            let effect = ["std::fs", "std::io", "std::net", "std::process", "std::thread", "libc::"]
                .into_iter()
                .find(|effect| line.contains(effect));
            assert_eq!(effect, None, "{file}:{}: {line}", at + 1);
        }
    }
}

#[test]
fn only_the_system_floor_calls_the_system() {
    for (file, lines) in code_of("mapledb") {
        let code = lines.split(|line| line.contains("cfg(test)")).next().unwrap_or(&lines);
        for (at, line) in code.iter().enumerate() {
            assert!(!line.contains("libc::") && !line.contains("memmap2::"), "{file}:{}: {line}", at + 1);
        }
    }
}

#[test]
fn unsafe_is_where_its_address_is() {
    let mut faults = Vec::new();
    for name in CRATES {
        for (file, lines) in code_of(name) {
            for (at, line) in lines.iter().enumerate().filter(|(_, line)| has_word(line, "unsafe")) {
                let is_allowed = match name {
                    "mapledb-os" => true,
                    "mapledb" => UNSAFE_FILES.iter().any(|(allowed, _)| *allowed == file),
                    // The calls that no safe wrapper has.
                    "mapledb-sim" if file == "sys.rs" => true,
                    // Whoever opens an environment makes the promise that opening asks for; nothing else.
                    "mapledb-sim" | "mapledb-cli" => opens(&lines[at..lines.len().min(at + 4)]),
                    _ => false,
                };
                if !is_allowed {
                    faults.push(format!("{name}/src/{file}:{}: {}", at + 1, line.trim()));
                }
            }
        }
    }
    assert!(faults.is_empty(), "unsafe without an address: {faults:#?}");
}

fn opens(lines: &[String]) -> bool {
    lines.iter().any(|line| [".open(", ".create(", ".open_or_create("].iter().any(|call| line.contains(call)))
}

#[test]
fn every_unsafe_says_why_it_is_sound() {
    let mut faults = Vec::new();
    let mut found = 0;
    for name in CRATES {
        for folder in ["src", "tests", "benches"] {
            let mut files = Vec::new();
            sources(&crates().join(name).join(folder), &mut files);
            for file in files {
                let text = std::fs::read_to_string(&file).expect("read");
                let lines: Vec<_> = text.lines().collect();
                for (at, line) in lines.iter().enumerate() {
                    if !has_word(&without_strings(&without_comment(line)), "unsafe") {
                        continue;
                    }
                    found += 1;
                    if !says_why(&lines, at) {
                        faults.push(format!("{}:{}: {}", file.display(), at + 1, line.trim()));
                    }
                }
            }
        }
    }
    assert!(found > 20, "only {found} places found: this test is blind");
    assert!(faults.is_empty(), "unsafe without a reason: {faults:#?}");
}

/// A `SAFETY:` in the four lines above or in the comment they end; for an unsafe function, a section `# Safety`; for
/// its type or an implementation's member, the reason is the trait's or the function's.
fn says_why(lines: &[&str], at: usize) -> bool {
    let line = lines[at];
    let above = &lines[..at];
    let is_prose = |line: &&&str| {
        let line = line.trim();
        line.starts_with("//") || line.starts_with("#[") || line.ends_with(')') && line.starts_with("#")
    };
    let comment = above.iter().rev().take_while(is_prose).any(|line| is_reason(line));
    let near = lines[at.saturating_sub(4)..=at].iter().any(|line| is_reason(line));
    let in_unsafe_impl = line.trim_start().starts_with("unsafe fn")
        && above.iter().rev().take(40).any(|line| line.starts_with("unsafe impl"));
    let is_type = line.contains("unsafe extern \"C\" fn(");
    comment || near || in_unsafe_impl || is_type
}

fn is_reason(line: &str) -> bool {
    line.contains("SAFETY:") || line.contains("# Safety")
}

fn without_strings(line: &str) -> String {
    line.split('"').step_by(2).collect()
}
