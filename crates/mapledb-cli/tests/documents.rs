//! What the README and the documents tell the reader to type, typed; and where they point, looked up.
//!
//! - A `sh` block is run by `sh -eu`, a `console` block line by line: what stands after `$ ` is run, and what follows
//!   must be its output, where a line of `...` stands for any lines and `[..]` for any part of one. The blocks of a document share a directory, and
//!   `maple` is on the path.
//! - `sh target` marks commands that build or test everything, this test among it: each must name a target of the
//!   Makefile, a package of the workspace or a file.
//! - `docs/cli.md` has snapshot tests of its own.
//!
//! `rust` blocks are run by the documentation tests of `mapledb`, those of the guide by `mapledb-guide`.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The README, the changelog, that of the examples, everything under `docs/`, and the guide.
fn documents() -> Vec<PathBuf> {
    let mut paths =
        ["README.md", "CHANGELOG.md", "examples/README.md"].map(|name| root().join(name)).to_vec();
    for dir in ["docs", "docs/guide"] {
        for entry in std::fs::read_dir(root().join(dir)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "md") {
                paths.push(path);
            }
        }
    }
    paths
}

struct Block {
    info: String,
    line: usize,
    text: String,
}

fn blocks(path: &Path) -> Vec<Block> {
    let mut found = Vec::new();
    let mut open: Option<Block> = None;
    for (index, line) in std::fs::read_to_string(path).unwrap().lines().enumerate() {
        match (&mut open, line.trim_start().strip_prefix("```")) {
            (None, Some(info)) => {
                open = Some(Block { info: info.trim().to_string(), line: index + 1, text: String::new() });
            }
            (Some(_), Some(_)) => found.extend(open.take()),
            (Some(block), None) => block.text += &format!("{line}\n"),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "{}: a block does not end", path.display());
    found
}

fn run(dir: &Path, script: &str) -> (bool, String) {
    let bin = Path::new(env!("CARGO_BIN_EXE_maple")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let output =
        Command::new("sh").args(["-euc", script]).current_dir(dir).env("PATH", path).output().unwrap();
    let text =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (output.status.success(), text)
}

/// Whether `output` is what `expected` says, where a line of `...` stands for any lines.
fn matches(expected: &[&str], output: &[&str]) -> bool {
    match (expected.split_first(), output.split_first()) {
        (None, None) => true,
        (Some((&"...", rest)), later) => {
            matches(rest, output) || later.is_some_and(|(_, later)| matches(expected, later))
        }
        (Some((wanted, rest)), Some((got, later))) => {
            line_matches(wanted.trim_end(), got.trim_end()) && matches(rest, later)
        }
        _ => false,
    }
}

/// Whether a line is what `wanted` says, where `[..]` stands for any characters.
fn line_matches(wanted: &str, got: &str) -> bool {
    match wanted.split_once("[..]") {
        None => wanted == got,
        Some((head, rest)) => got.strip_prefix(head).is_some_and(|got| {
            got.char_indices().map(|(at, _)| at).chain([got.len()]).any(|at| line_matches(rest, &got[at..]))
        }),
    }
}

fn run_console(dir: &Path, text: &str) -> Result<(), String> {
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let command = line.strip_prefix("$ ").ok_or(format!("expected a command: {line}"))?;
        let mut expected = Vec::new();
        while let Some(line) = lines.next_if(|line| !line.starts_with("$ ")) {
            expected.push(line);
        }
        let (_, output) = run(dir, command);
        if !matches(&expected, &output.lines().collect::<Vec<_>>()) {
            return Err(format!("{command}\nshould print\n{}\nand prints\n{output}", expected.join("\n")));
        }
    }
    Ok(())
}

/// Whether each command of a `sh target` block names something that is there.
fn look_up(text: &str) -> Result<(), String> {
    for command in text.lines().flat_map(|line| line.split("&&")) {
        let words: Vec<&str> = command.split_whitespace().collect();
        match words.split_first() {
            Some((&"make", targets)) => targets.iter().try_for_each(|target| has_target(target))?,
            Some((&"cargo", rest)) => {
                let pairs = rest.windows(2).filter(|pair| pair[0] == "--package");
                pairs.map(|pair| pair[1]).try_for_each(has_package)?;
            }
            Some((program, _)) if program.starts_with("target/") || root().join(program).exists() => {}
            other => return Err(format!("{other:?} cannot be looked up")),
        }
    }
    Ok(())
}

fn has_target(name: &str) -> Result<(), String> {
    let makefile = std::fs::read_to_string(root().join("Makefile")).unwrap();
    let is_there = name.contains('=') || makefile.lines().any(|line| line.starts_with(&format!("{name}:")));
    if is_there { Ok(()) } else { Err(format!("make has no target {name}")) }
}

fn has_package(name: &str) -> Result<(), String> {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let members = manifest.lines().filter_map(|line| line.trim().strip_prefix('"')?.strip_suffix("\","));
    let is_there = members.map(|member| root().join(member).join("Cargo.toml")).any(|path| {
        std::fs::read_to_string(path)
            .is_ok_and(|text| text.lines().any(|line| line == format!("name = \"{name}\"")))
    });
    if is_there { Ok(()) } else { Err(format!("there is no package {name}")) }
}

#[test]
fn what_the_documents_say_to_type_works() {
    let mut faults = Vec::new();
    for path in documents().iter().filter(|path| !path.ends_with("docs/cli.md")) {
        let name =
            path.strip_prefix(root()).unwrap().with_extension("").display().to_string().replace('/', "-");
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("documents").join(name);
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        for block in blocks(path) {
            let done = match block.info.as_str() {
                "sh" => Some(run(&dir, &block.text))
                    .filter(|(done, _)| !done)
                    .map_or(Ok(()), |(_, output)| Err(output)),
                "console" => run_console(&dir, &block.text),
                "sh target" => look_up(&block.text),
                "rust" | "text" => Ok(()),
                other => Err(format!("a block of {other:?} is neither run nor text")),
            };
            if let Err(fault) = done {
                faults.push(format!("{}:{}: {fault}", path.display(), block.line));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn what_the_documents_point_to_is_there() {
    let mut faults = Vec::new();
    for path in documents() {
        let text = std::fs::read_to_string(&path).unwrap();
        for piece in text.split("](").skip(1) {
            let Some((link, _)) = piece.split_once(')') else { continue };
            let link = link.split(" \"").next().unwrap_or(link); // without its title
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            if link.contains("://") {
                continue;
            }
            let to = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            if !to.exists() {
                faults.push(format!("{}: {link} is not there", path.display()));
            } else if !anchor.is_empty() && !anchors(&to).iter().any(|heading| heading == anchor) {
                faults.push(format!("{}: {link} has no such heading", path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The anchors of a document's headings, as code hosts make them.
fn anchors(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let titles =
        text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    titles
        .map(|title| {
            let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
        })
        .collect()
}

#[test]
fn every_document_with_rust_is_among_those_that_are_compiled() {
    let library = std::fs::read_to_string(root().join("crates/mapledb/src/lib.rs")).unwrap();
    let guide = std::fs::read_to_string(root().join("docs/guide/lib.rs")).unwrap();
    for path in documents() {
        if blocks(&path).iter().any(|block| block.info.starts_with("rust")) {
            let name = path.strip_prefix(root()).unwrap().display().to_string();
            let is_run = match name.strip_prefix("docs/guide/") {
                Some(chapter) => guide.contains(&format!("include_str!(\"{chapter}\")")),
                None => library.contains(&format!("../../../{name}\")")),
            };
            assert!(is_run, "{name} has rust blocks that nobody runs");
        }
    }
}
