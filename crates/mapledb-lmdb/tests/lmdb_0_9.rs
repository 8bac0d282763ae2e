//! Files of LMDB 0.9, made by it: what we read in them is what it reads, and what `mdb_dump` prints.
#![allow(clippy::unwrap_used, unsafe_code)]

mod with_lmdb;

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use heed::types::Bytes;
use heed::{CommitOrAbort, EnvFlags, EnvOpenOptions};
use mapledb_lmdb::{Error, Fault, Foreign, Format, LmdbFile};
use with_lmdb::*;

const SEEDS: u64 = 60;

#[test]
fn we_read_what_lmdb_reads() {
    let mut records = 0;
    for seed in 0..SEEDS {
        let dir = tempfile::tempdir().unwrap();
        fill(dir.path(), seed);
        records += compare(dir.path(), seed);
    }
    assert!(records > 10_000, "{records}");
}

#[test]
fn we_read_what_mdb_dump_prints() {
    if Command::new("mdb_dump").arg("-V").output().is_err() {
        return skip("mdb_dump is not installed (Debian package lmdb-utils)");
    }
    for seed in 0..SEEDS / 2 {
        let dir = tempfile::tempdir().unwrap();
        fill(dir.path(), seed);
        let file = LmdbFile::open(dir.path()).unwrap();
        let databases = file.databases().unwrap();
        let names: Vec<&[u8]> = databases.iter().filter_map(|database| database.name()).collect();
        for database in &databases {
            let name = database.name().map(|name| str::from_utf8(name).unwrap());
            let dumped = Dumped::of(dir.path(), name);
            let theirs: Pairs = dumped
                .pairs
                .into_iter()
                .filter(|(key, _)| name.is_some() || !names.contains(&&key[..]))
                .collect();
            let ours: Pairs = file.records(database).collect::<Result<_, _>>().unwrap();
            assert_eq!(difference(&ours, &theirs), None, "seed {seed}: {database}");
            for flag in ["reversekey", "dupsort", "integerkey", "dupfixed", "integerdup", "reversedup"] {
                let ours = database.flags().names().any(|name| name == flag);
                assert_eq!(
                    ours,
                    dumped.header.get(flag).is_some_and(|value| value == "1"),
                    "seed {seed}: {database}: {flag}"
                );
            }
            assert_eq!(dumped.header["db_pagesize"], file.page_size().to_string());
            assert_eq!(dumped.header["mapsize"], file.map_size().to_string());
        }
    }
}

/// What `mdb_dump` prints.
struct Dumped {
    header: BTreeMap<String, String>,
    pairs: Pairs,
}

impl Dumped {
    fn of(dir: &Path, name: Option<&str>) -> Dumped {
        let named = name.map(|name| ["-s", name]);
        let ended = Command::new("mdb_dump").args(named.iter().flatten()).arg(dir).output().unwrap();
        let text = String::from_utf8(ended.stdout).unwrap();
        assert!(text.ends_with("DATA=END\n"), "{}", String::from_utf8_lossy(&ended.stderr));
        let (header, data) = text.split_once("HEADER=END\n").unwrap();
        let header = header.lines().filter_map(|line| line.split_once('='));
        let lines: Vec<Vec<u8>> = data.lines().filter_map(|line| line.strip_prefix(' ')).map(unhex).collect();
        Dumped {
            header: header.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            pairs: lines.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect(),
        }
    }
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap()).collect()
}

#[test]
fn pages_of_every_size_are_read() {
    // The largest that LMDB 0.9 makes.
    for (seed, page_size) in [(3, 8192), (8, 16384), (9, 32768), (11, 65536)] {
        let dir = tempfile::tempdir().unwrap();
        if !fill_with_pages_of(page_size, dir.path(), seed, "child_fills_a_directory") {
            return;
        }
        assert_eq!(LmdbFile::open(dir.path()).unwrap().page_size(), page_size.min(32768) as u32);
        compare(dir.path(), seed);
    }
}

#[test]
#[ignore = "run by another test as a process of its own"]
fn child_fills_a_directory() {
    fill_as_told();
}

/// The canary of the comparisons above.
#[test]
fn a_wrong_byte_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let plan = plans(0)[0].clone();
    let env = open(dir.path());
    write(&env, &plan, |db, txn| db.put(txn, b"canary key 1", b"canary value").unwrap());
    close(env);
    let theirs = read_by_lmdb(dir.path(), &plan, &[]);
    let path = dir.path().join("data.mdb");
    let mut bytes = std::fs::read(&path).unwrap();
    let at: Vec<_> = bytes
        .windows(12)
        .enumerate()
        .filter(|(_, bytes)| bytes == b"canary value")
        .map(|(at, _)| at)
        .collect();
    at.into_iter().for_each(|at| bytes[at] = b'C');
    std::fs::write(&path, bytes).unwrap();
    let file = LmdbFile::open(&path).unwrap();
    let ours: Pairs = file.records(&file.databases().unwrap()[0]).collect::<Result<_, _>>().unwrap();
    assert!(difference(&ours, &theirs).unwrap().starts_with("record 0: "));
    assert_eq!(difference(&theirs, &Vec::new()).unwrap(), format!("ours are {}, theirs 0", theirs.len()));
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
fn a_file_that_a_process_has_open_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let env = open(dir.path());
    let us = i32::try_from(std::process::id()).unwrap();
    let refused = LmdbFile::open(dir.path());
    assert!(matches!(refused, Err(Error::InUse { pid, .. }) if pid == us), "{refused:?}");
    let refused = another_process_opens(dir.path());
    assert!(refused.contains(&format!("in use by process {us}")), "{refused}");
    assert!(LmdbFile::options().in_use(true).open(dir.path()).is_ok());
    close(env);
    assert!(LmdbFile::open(dir.path()).is_ok());
    assert_eq!(another_process_opens(dir.path()), "opened");
}

fn another_process_opens(dir: &Path) -> String {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "child_opens_a_directory", "--ignored", "--nocapture"]).env("MAPLE_LMDB_DIR", dir);
    let text = String::from_utf8(child.output().unwrap().stdout).unwrap();
    text.lines().find_map(|line| line.split_once("answer: ")).unwrap().1.to_owned()
}

#[test]
#[ignore = "run by another test as a process of its own"]
fn child_opens_a_directory() {
    let Some(dir) = std::env::var_os("MAPLE_LMDB_DIR") else { return };
    match LmdbFile::open(dir) {
        Ok(_) => println!("answer: opened"),
        Err(error) => println!("answer: {error}"),
    }
}

#[test]
fn a_commit_while_we_read_is_told_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let plan = plans(0)[0].clone();
    let env = open(dir.path());
    let put = |key: &[u8]| write(&env, &plan, |db, txn| db.put(txn, key, b"value").unwrap());
    put(b"before");
    let file = LmdbFile::options().in_use(true).open(dir.path()).unwrap();
    let databases = file.databases().unwrap();
    assert_eq!(file.records(&databases[0]).filter(Result::is_ok).count(), 1);
    put(b"meanwhile");
    let last = file.records(&databases[0]).last().unwrap();
    assert!(matches!(last, Err(Error::Changed { .. })), "{last:?}");
    assert!(matches!(file.databases(), Err(Error::Changed { .. })));
    close(env);
}

/// Each transaction of a writer gives all keys its own value; what is read without an error is of one transaction.
#[test]
fn what_is_read_beside_a_writer_is_one_snapshot_or_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let plan = plans(0)[0].clone();
    let env = open(dir.path());
    let store = |round: u32| {
        write(&env, &plan, |db, txn| {
            for key in 0..2000u32 {
                db.put(txn, &key.to_be_bytes(), &vec![round as u8; 20 + key as usize % 200]).unwrap();
            }
        });
    };
    store(0);
    let is_over = AtomicBool::new(false);
    let (whole, changed) = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut round = 0;
            while !is_over.load(Relaxed) {
                round += 1;
                store(round);
                std::thread::sleep(std::time::Duration::from_millis(u64::from(round % 7)));
            }
        });
        let (mut whole, mut changed) = (0, 0);
        let begun = std::time::Instant::now();
        while (whole < 30 || changed < 30) && begun.elapsed().as_secs() < 10 {
            match read_in_use(dir.path()) {
                Ok(rounds) if rounds.len() == 2000 && rounds.iter().all(|round| *round == rounds[0]) => {
                    whole += 1
                }
                Ok(rounds) => panic!("several snapshots: {rounds:?}"),
                Err(Error::Changed { .. }) => changed += 1,
                Err(error) => panic!("{error}"),
            }
        }
        is_over.store(true, Relaxed);
        (whole, changed)
    });
    assert!(whole > 0 && changed > 0, "{whole} whole, {changed} changed");
    close(env);
}

/// The first byte of each value of the main database.
fn read_in_use(dir: &Path) -> mapledb_lmdb::Result<Vec<u8>> {
    let file = LmdbFile::options().in_use(true).open(dir)?;
    let databases = file.databases()?;
    file.records(&databases[0]).map(|record| record.map(|(_, value)| value[0])).collect()
}

#[test]
fn a_file_without_a_directory_is_read_and_its_users_are_seen() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alone");
    let mut options = EnvOpenOptions::new();
    // SAFETY: the flag says where files lie, and takes no lock away.
    unsafe { options.map_size(1 << 20).flags(EnvFlags::NO_SUB_DIR) };
    // SAFETY: LMDB alone writes to the file in the test's own directory while it is open.
    let env = unsafe { options.open(&path) }.unwrap();
    assert!(matches!(LmdbFile::open(&path), Err(Error::InUse { .. })));
    close(env);
    // Nothing was ever stored.
    let file = LmdbFile::open(&path).unwrap();
    let databases = file.databases().unwrap();
    assert_eq!((databases.len(), databases[0].entries(), file.txnid()), (1, 0, 0));
    assert_eq!(file.records(&databases[0]).count(), 0);
    assert_eq!(file.first_key_with_duplicates(&databases[0]).unwrap(), None);
}

enum Downwards {}

impl heed::Comparator for Downwards {
    fn compare(a: &[u8], b: &[u8]) -> Ordering {
        b.cmp(a)
    }
}

#[test]
fn an_order_of_the_programs_own_is_read_if_that_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let env = open(dir.path());
    let txn = env.write_txn().unwrap();
    let done = env.create_databases_and_commit(txn, |opener, txn| {
        let mut options = opener.database_options().types::<Bytes, Bytes>().key_comparator::<Downwards>();
        let db = options.name("downwards").create(txn)?;
        (0..100u8).try_for_each(|key| db.put(txn, &[key], b"value"))?;
        heed::Result::Ok(CommitOrAbort::<_, ()>::Commit(()))
    });
    done.unwrap().unwrap_commit();
    close(env);
    let file = LmdbFile::open(dir.path()).unwrap();
    let refused = file.records(&file.databases().unwrap()[1]).find_map(Result::err);
    assert!(matches!(refused, Some(Error::Damaged { fault: Fault::Order(1), .. })), "{refused:?}");
    let file = LmdbFile::options().any_order(true).open(dir.path()).unwrap();
    let keys: Vec<_> =
        file.records(&file.databases().unwrap()[1]).map(|record| record.unwrap().0[0]).collect();
    assert!(keys.into_iter().eq((0..100).rev()));
}

#[test]
fn the_newest_of_the_two_metas_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let plan = plans(0)[0].clone();
    for number in 1..5u8 {
        let env = open(dir.path());
        write(&env, &plan, |db, txn| db.put(txn, &[number; 9], b"value").unwrap());
        close(env);
        let file = LmdbFile::open(dir.path()).unwrap();
        assert_eq!(file.databases().unwrap()[0].entries(), u64::from(number));
        assert_eq!(file.format(), Format::V1);
    }
}

#[test]
fn what_is_no_lmdb_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let refused = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        LmdbFile::open(&path).unwrap_err()
    };
    assert!(matches!(refused(b""), Error::Foreign { why: Foreign::Empty, .. }));
    assert!(matches!(refused(b"MapleDB\n"), Error::Foreign { why: Foreign::MapleDb, .. }));
    assert!(matches!(refused(&[7; 9000]), Error::Foreign { why: Foreign::NoMagic, .. }));
    assert!(matches!(LmdbFile::open(dir.path()), Err(Error::Io { what: "open", .. })));
    assert!(matches!(LmdbFile::open("/dev/null"), Err(Error::Io { what: "read", .. })));
    // Cut behind the first meta.
    let env = open(dir.path());
    close(env);
    let bytes = std::fs::read(dir.path().join("data.mdb")).unwrap();
    assert!(matches!(refused(&bytes[..4096]), Error::Damaged { page: 1, fault: Fault::CutShort, .. }));
    assert!(
        refused(&bytes[..4096])
            .to_string()
            .ends_with("is damaged: page 1: the file ends before the end of it")
    );
}
