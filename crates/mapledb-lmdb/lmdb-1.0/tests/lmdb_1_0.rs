//! Files of LMDB 1.0, made by it: what we read in them is what it reads.
#![allow(clippy::unwrap_used, unsafe_code)]

extern crate heed3 as heed;

#[path = "../../tests/with_lmdb/mod.rs"]
mod with_lmdb;

use std::path::Path;

use heed3::{DatabaseFlags, Env, EnvOpenOptions};
use mapledb_lmdb::{Error, Foreign, Format, LmdbFile};
use with_lmdb::*;

const SEEDS: u64 = 60;

#[test]
fn we_read_what_lmdb_reads() {
    let mut records = 0;
    for seed in 100..100 + SEEDS {
        let dir = tempfile::tempdir().unwrap();
        fill(dir.path(), seed);
        assert_eq!(LmdbFile::open(dir.path()).unwrap().format(), Format::V3);
        records += compare(dir.path(), seed);
    }
    assert!(records > 10_000, "{records}");
}

#[test]
fn pages_of_every_size_are_read() {
    for (seed, page_size) in [(3, 8192), (8, 16384), (9, 32768), (11, 65536)] {
        let dir = tempfile::tempdir().unwrap();
        if !fill_with_pages_of(page_size, dir.path(), seed, "child_fills_a_directory") {
            return;
        }
        assert_eq!(LmdbFile::open(dir.path()).unwrap().page_size(), page_size as u32);
        compare(dir.path(), seed);
    }
}

#[test]
#[ignore = "run by another test as a process of its own"]
fn child_fills_a_directory() {
    fill_as_told();
}

#[test]
fn damaged_files_end_in_an_error_or_in_records() {
    let (mut found, mut copies) = (0, 0);
    for seed in 0..12 {
        let dir = tempfile::tempdir().unwrap();
        fill(dir.path(), seed);
        let path = dir.path().join("data.mdb");
        // Small files, so that damage meets something.
        if std::fs::metadata(&path).unwrap().len() < 8 << 20 {
            found += read_damaged(&path, 250, seed);
            copies += 250;
        }
    }
    assert!(copies >= 1000 && found > copies / 3, "{found} of {copies} were found damaged");
}

#[test]
fn an_encrypted_file_is_refused() {
    type Cipher = chacha20poly1305::ChaCha20Poly1305;
    let dir = tempfile::tempdir().unwrap();
    let mut options = EnvOpenOptions::new();
    options.map_size(1 << 20);
    let key = chacha20poly1305::Key::from([7; 32]);
    // SAFETY: LMDB alone writes to the file in the test's own directory while it is open.
    let env = unsafe { options.open_encrypted::<Cipher, _>(key, dir.path()) }.unwrap();
    env.prepare_for_closing().wait();
    let refused = LmdbFile::open(dir.path());
    assert!(matches!(refused, Err(Error::Foreign { why: Foreign::Encrypted, .. })), "{refused:?}");
}

#[test]
fn a_file_that_is_open_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let env = open(dir.path());
    assert!(matches!(LmdbFile::open(dir.path()), Err(Error::InUse { .. })));
    close(env);
    assert!(LmdbFile::open(dir.path()).is_ok());
}

/// The golden file of format 3 holds what LMDB 1.0 stores today; it is written anew if `MAPLE_BLESS` is set. That of format 2 was made
/// by the same calls of heed3 0.22, a preview of 1.0.
#[test]
fn golden_files_are_read_as_ever() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden");
    let dir = tempfile::tempdir().unwrap();
    fill_golden(dir.path());
    if std::env::var_os("MAPLE_BLESS").is_some() {
        std::fs::copy(dir.path().join("data.mdb"), golden.join("format-3.mdb")).unwrap();
    }
    let new = all(&LmdbFile::open(dir.path()).unwrap());
    for (name, format) in [("format-2.mdb", Format::V2), ("format-3.mdb", Format::V3)] {
        let file = LmdbFile::open(golden.join(name)).unwrap();
        assert_eq!(file.format(), format);
        assert_eq!(all(&file), new, "{name}");
    }
}

fn all(file: &LmdbFile) -> Vec<(String, Pairs)> {
    let databases = file.databases().unwrap();
    let records = |database| file.records(database).collect::<Result<_, _>>().unwrap();
    databases.iter().map(|database| (database.to_string(), records(database))).collect()
}

fn fill_golden(dir: &Path) {
    // SAFETY: LMDB alone writes to the file in the test's own directory while it is open.
    let env = unsafe { EnvOpenOptions::new().map_size(1 << 20).max_dbs(8).open(dir) }.unwrap();
    let texts = |count: u32| (0..count).map(|number| format!("value {number}").into_bytes());
    let numbers = |count: u32| (0..count).map(|number| number.to_be_bytes().to_vec());
    let dup_fixed = DatabaseFlags::DUP_SORT | DatabaseFlags::DUP_FIXED;
    store(&env, None, DatabaseFlags::empty(), [(b"main key".to_vec(), b"main value".to_vec())]);
    let plain =
        (0..100).map(|number| (format!("key {number}").into_bytes(), format!("value {number}").into_bytes()));
    store(&env, Some("plain"), DatabaseFlags::empty(), plain);
    store(&env, Some("plain"), DatabaseFlags::empty(), [(b"long".to_vec(), vec![b'x'; 5000])]);
    store(&env, Some("duplicates"), DatabaseFlags::DUP_SORT, texts(5).map(|value| (b"few".to_vec(), value)));
    store(
        &env,
        Some("duplicates"),
        DatabaseFlags::DUP_SORT,
        texts(300).map(|value| (b"many".to_vec(), value)),
    );
    store(&env, Some("duplicates"), DatabaseFlags::DUP_SORT, [(b"one".to_vec(), b"value".to_vec())]);
    store(&env, Some("fixed"), dup_fixed, numbers(5).map(|value| (b"few".to_vec(), value)));
    store(&env, Some("fixed"), dup_fixed, numbers(1500).map(|value| (b"many".to_vec(), value)));
    close(env);
}

fn store(
    env: &Env,
    name: Option<&str>,
    flags: DatabaseFlags,
    pairs: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>,
) {
    write_to(env, name, flags, |db, txn| {
        for (key, value) in pairs {
            db.put(txn, &key, &value)?;
        }
        Ok(())
    })
    .unwrap();
}
