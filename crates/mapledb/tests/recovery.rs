//! What opening does after an unclean end: the numbers it gives out, and the disk that does not deliver.
#![cfg(feature = "seam")]

mod files;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use files::{TestFile, check, open, options};
use mapledb::{Durability, Env, Error};
use mapledb_os::{Effect, Observer, Seam};

/// Where the lock file keeps the last txnid that was given out.
const LAST_TXNID: u64 = 256;

/// Counts syncs of the lock file, and fails reads while it is told to.
#[derive(Default)]
struct Disk {
    fails_reads: AtomicBool,
    lock_syncs: AtomicU64,
}

impl Observer for Disk {
    fn before(&self, effect: &Effect) -> io::Result<()> {
        match effect {
            // The metas are read before the file is mapped; what comes later are pages.
            Effect::Read { offset, .. } if *offset > 64 << 10 && self.fails_reads.load(Ordering::Relaxed) => {
                Err(io::Error::from_raw_os_error(5))
            }
            Effect::SyncLockFile => {
                self.lock_syncs.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn after(&self, _: &Effect, _: bool) {}
}

fn put(env: &Env, key: &[u8], durability: Durability) -> u64 {
    let mut txn = env.write().expect("write");
    txn.durability(durability);
    txn.main().put(key, b"value").expect("put");
    txn.commit().expect("commit")
}

/// The file as a crash of the system would leave it if all of it had reached the disk, without its lock file.
fn crashed_copy(path: &Path, dir: &Path, name: &str) -> std::path::PathBuf {
    let copy = dir.join(name);
    std::fs::copy(path, &copy).expect("copy");
    copy
}

#[test]
fn a_txnid_is_given_out_once_however_often_the_system_crashes_before_anything_is_durable() {
    let file = TestFile::with_entries(100);
    let mut path = file.path().to_path_buf();
    let mut last = 0;
    for crash in 0..5 {
        let env = open(&path, options()).expect("open");
        let recovery = env.recovery().clone();
        assert_eq!(recovery.was_clean, crash == 0, "{recovery:?}");
        assert_eq!(recovery.recovered_txnid.is_some(), crash != 0, "{recovery:?}");
        assert!(env.read().expect("read").txnid() > last, "what stands goes by a new number");
        for _ in 0..3 {
            let txnid = env.write().expect("write").txnid();
            assert!(txnid > last, "{txnid} is given out and {last} was");
            last = txnid;
        }
        path = crashed_copy(&path, file.dir(), &format!("crash{crash}.maple"));
        check(&env);
    }
}

#[test]
fn the_note_of_a_clean_close_is_taken_back_on_the_disk_before_the_first_txnid() {
    let file = TestFile::with_entries(100);
    let disk = Arc::new(Disk::default());
    let env = open(file.path(), options().seam(Seam::watched(disk.clone()))).expect("open");
    assert!(env.recovery().was_clean);
    assert_eq!(env.read().expect("read").main().expect("main").len(), 100);
    assert_eq!(disk.lock_syncs.load(Ordering::Relaxed), 0, "reading costs no sync");
    drop(env.write().expect("write"));
    assert_eq!(disk.lock_syncs.load(Ordering::Relaxed), 1);
    drop(env.write().expect("write"));
    assert_eq!(disk.lock_syncs.load(Ordering::Relaxed), 1);
}

/// A page of the last commit is damaged: was it torn by a crash, or later? After a clean close there was no crash.
#[test]
fn damage_after_a_clean_close_is_told_and_costs_no_commit() {
    let file = TestFile::new();
    let env = file.open(options());
    let mut txn = env.write().expect("write");
    (0..3000u32).for_each(|n| txn.main().put(&n.to_be_bytes(), &[7; 20]).expect("put"));
    txn.commit().expect("commit");
    let mut txn = env.write().expect("write");
    (0..900u32).for_each(|n| txn.main().put(&n.to_be_bytes(), &[8; 20]).expect("put"));
    let last = txn.commit().expect("commit");
    env.close().expect("close");
    let damaged = file.dir().join("damaged.maple");
    let lock = file.dir().join("damaged.maple-lock");
    let bytes = std::fs::read(file.path()).expect("read");
    let (mut detected, mut passed_over) = (0, 0);
    for page in 32..bytes.len() / 4096 {
        // In its place, for the note is of this very file.
        let mut hurt = bytes.clone();
        hurt[page * 4096 + 2000] ^= 1;
        std::fs::write(file.path(), &hurt).expect("write");
        let env = open(file.path(), options()).expect("open");
        assert!(env.recovery().was_clean && env.recovery().passed_over.is_none(), "{:?}", env.recovery());
        let txn = env.read().expect("read");
        assert_eq!((txn.txnid(), txn.main().expect("main").len()), (last, 3000));
        let lost = (0..3000u32).filter(|n| txn.main().expect("main").get(&n.to_be_bytes()).is_err()).count();
        drop(txn);
        let problems = env.check(|_| ()).expect("check").problems;
        assert_eq!(
            lost > 0,
            problems.iter().any(|problem| problem.pgno == Some(page as u64)),
            "{problems:?}"
        );
        detected += u32::from(lost > 0);
        env.close().expect("close");
        assert_eq!(std::fs::read(file.path()).expect("read"), hurt, "reading it changes nothing");

        // Without the note nobody knows, and the commit before it stands.
        std::fs::write(&damaged, &hurt).expect("write");
        let env = open(&damaged, options()).expect("open");
        passed_over += u32::from(env.recovery().passed_over.is_some());
        drop(env);
        std::fs::remove_file(&lock).expect("remove");
    }
    assert!(detected > 10 && passed_over > 3, "{detected} and {passed_over}");
    std::fs::write(file.path(), &bytes).expect("write");
}

#[test]
fn a_commit_is_made_durable_before_txnids_run_further_ahead_than_recovery_jumps() {
    let file = TestFile::with_entries(100);
    let env = open(file.path(), options()).expect("open");
    let before = env.write().expect("write").txnid();
    let far = before + (1 << 31);
    let lock = std::fs::File::options().write(true).open(file.lock_path()).expect("lock file");
    std::os::unix::fs::FileExt::write_all_at(&lock, &far.to_le_bytes(), LAST_TXNID).expect("give many out");
    assert!(env.info().expect("info").durable_txnid < before);
    let txnid = env.write().expect("write").txnid();
    assert!(txnid > far);
    assert!(env.info().expect("info").durable_txnid > far);
    check(&env);
}

#[test]
fn a_page_that_cannot_be_read_is_an_error_and_no_reason_to_fall_back() {
    let file = TestFile::with_entries(100);
    let env = open(file.path(), options()).expect("open");
    put(&env, b"newest", Durability::Sync);
    let path = crashed_copy(file.path(), file.dir(), "crash.maple");
    let before = std::fs::read(&path).expect("read");
    let disk = Arc::new(Disk::default());
    disk.fails_reads.store(true, Ordering::Relaxed);
    let refused = open(&path, options().seam(Seam::watched(disk))).expect_err("a page cannot be read");
    assert!(matches!(&refused, Error::Os(error) if error.source.raw_os_error() == Some(5)), "{refused:?}");
    assert_eq!(std::fs::read(&path).expect("read"), before, "nothing was stored");
    let env = open(&path, options()).expect("the disk delivers again");
    assert!(env.recovery().passed_over.is_none());
    assert!(env.read().expect("read").main().expect("main").get(b"newest").expect("get").is_some());
    check(&env);
}

#[test]
fn what_a_crash_leaves_is_recovered_under_a_new_number_and_told() {
    let file = TestFile::with_entries(100);
    let env = open(file.path(), options()).expect("open");
    let durable = put(&env, b"durable", Durability::Sync);
    let path = crashed_copy(file.path(), file.dir(), "crash.maple");
    let env = open(&path, options()).expect("open");
    assert_eq!(env.recovery().recovered_txnid, Some(durable));
    assert!(env.read().expect("read").txnid() > durable);
    put(&env, b"more", Durability::Sync);
    check(&env);
    env.close().expect("close");
    let env = open(&path, options()).expect("open");
    assert!(env.recovery().was_clean);
    assert_eq!(env.recovery().recovered_txnid, None);
}
