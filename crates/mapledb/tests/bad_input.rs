//! Whatever is wrong with a file, its surroundings or a call: an error of its own that says what to do, and nothing
//! is lost. Damage inside a file is in `damage.rs`.

mod another;
mod files;

use std::fs::{File, Permissions};
use std::io::Read;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use files::{TestFile, check, open, open_or_create, options};
use mapledb::mvcc::layout::STATE_CLEAN;
use mapledb::mvcc::{AttachError, MvccError, lock_path};
use mapledb::{Access, Error, Table};
use mapledb_format::{Meta, PageSize, Slot, ids, lockfile, meta};

/// A test that this machine cannot run says so.
fn skip(why: &str) {
    println!("SKIP: {why}");
}

/// Whether the message names the file, if it is given, and has these words of advice.
fn says(error: &Error, path: Option<&Path>, advice: &str) {
    let message = error.to_string();
    assert!(message.contains(advice), "{message:?} does not say {advice:?}");
    if let Some(path) = path {
        assert!(message.contains(&*path.to_string_lossy()), "{message:?} does not name the file");
    }
}

/// Changes a meta and makes its checksum right again.
fn reseal(path: &Path, slot: Slot, change: impl Fn(&mut [u8; ids::META_BYTES])) {
    let file = File::options().read(true).write(true).open(path).expect("open");
    let mut bytes = [0; ids::META_BYTES];
    file.read_exact_at(&mut bytes, slot.offset()).expect("read");
    change(&mut bytes);
    let checksum = meta::sum(&bytes);
    bytes[8..16].copy_from_slice(&checksum.to_le_bytes());
    file.write_all_at(&bytes, slot.offset()).expect("write");
}

fn reseal_both(path: &Path, change: impl Fn(&mut [u8; ids::META_BYTES])) {
    reseal(path, Slot::A, &change);
    reseal(path, Slot::B, &change);
}

#[test]
fn another_file_is_not_taken_for_a_database() {
    let file = TestFile::new();
    for bytes in [&b""[..], b"MapleD", b"SQLite format 3\0", &[0; 200_000], &[7; 200_000]] {
        std::fs::write(file.path(), bytes).expect("write");
        let refused = open_or_create(file.path(), options()).expect_err("refused");
        assert!(matches!(refused, Error::NotMapleDb { .. }), "{refused:?}");
        says(&refused, Some(file.path()), "not a MapleDB file");
        assert_eq!(std::fs::read(file.path()).expect("read"), bytes, "it was not touched");
    }
    file.give_up();
}

#[test]
fn another_version_is_refused_and_left_as_it_is() {
    for slots in [&[Slot::A][..], &[Slot::B], &[Slot::A, Slot::B]] {
        let file = TestFile::with_entries(100);
        for slot in slots {
            reseal(file.path(), *slot, |meta| meta[16..20].copy_from_slice(&7u32.to_le_bytes()));
        }
        let before = std::fs::read(file.path()).expect("read");
        for access in [Access::Shared, Access::SharedReadOnly, Access::Frozen, Access::Exclusive] {
            let refused = open(file.path(), options().access(access)).expect_err("refused");
            assert!(
                matches!(refused, Error::OtherVersion { found: 7, .. }),
                "{slots:?} {access:?}: {refused:?}"
            );
            says(&refused, Some(file.path()), "the build that made it");
        }
        assert_eq!(std::fs::read(file.path()).expect("read"), before);
        for slot in slots {
            reseal(file.path(), *slot, |meta| meta[16..20].copy_from_slice(&1u32.to_le_bytes()));
        }
        let env = open(file.path(), options()).expect("open");
        assert_eq!(env.read().expect("read").main().expect("main").len(), 100, "nothing is lost");
    }
}

#[test]
fn an_unknown_feature_is_refused_and_left_as_it_is() {
    for slots in [&[Slot::A][..], &[Slot::B], &[Slot::A, Slot::B]] {
        let file = TestFile::with_entries(100);
        for slot in slots {
            reseal(file.path(), *slot, |meta| meta[34] = 0x10);
        }
        let before = std::fs::read(file.path()).expect("read");
        for access in [Access::Shared, Access::SharedReadOnly, Access::Frozen, Access::Exclusive] {
            let refused = open(file.path(), options().access(access)).expect_err("refused");
            let is_it = matches!(refused, Error::UnknownFeatures { flags: 0x10_0000, .. });
            assert!(is_it, "{slots:?} {access:?}: {refused:?}");
            says(&refused, Some(file.path()), "newer build");
        }
        assert_eq!(std::fs::read(file.path()).expect("read"), before);
        for slot in slots {
            reseal(file.path(), *slot, |meta| meta[34] = 0);
        }
    }
}

#[test]
fn a_feature_that_only_writers_must_know_leaves_the_file_readable() {
    let file = TestFile::with_entries(100);
    reseal_both(file.path(), |meta| meta[28] = 0x80);
    let before = std::fs::read(file.path()).expect("read");
    let refused = open(file.path(), options()).expect_err("nobody has closed these metas cleanly");
    assert!(matches!(refused, Error::NeedsRecovery { .. }), "{refused:?}");
    says(&refused, Some(file.path()), "frozen");
    let frozen = open(file.path(), options().access(Access::Frozen)).expect("open frozen");
    assert_eq!(frozen.read().expect("read").main().expect("main").len(), 100);
    frozen.close().expect("close");
    note_clean_close(file.path());
    let env = open(file.path(), options()).expect("open");
    assert_eq!(env.read().expect("read").main().expect("main").len(), 100);
    assert!(matches!(env.write(), Err(Error::ReadOnly)));
    drop(env);
    assert_eq!(std::fs::read(file.path()).expect("read"), before);
}

#[test]
fn flags_that_may_be_ignored_are_kept_by_commits_and_recovery() {
    let file = TestFile::with_entries(10);
    reseal_both(file.path(), |meta| meta[24] = 0x40);
    for crash in [false, true] {
        let env = file.open(options());
        for n in 0..2u64 {
            let mut txn = env.write().expect("write");
            txn.main().put(&n.to_be_bytes(), b"new").expect("put");
            txn.commit().expect("commit");
        }
        env.close().expect("close");
        if crash {
            std::fs::remove_file(file.lock_path()).expect("remove");
            drop(file.open(options()));
        }
        let bytes = std::fs::read(file.path()).expect("read");
        for slot in [Slot::A, Slot::B] {
            let meta = Meta::decode(&bytes[slot.offset() as usize..], slot).expect("meta");
            assert_eq!(meta.compatible, 0x40, "{slot}");
        }
    }
}

#[test]
fn a_word_of_the_lock_file_that_nobody_can_have_written_is_not_made_durable() {
    for far in [(1u64 << 62) - 4, (1 << 62) - 1000, 1 << 61, u64::MAX] {
        let file = TestFile::with_entries(10);
        let lock = File::options().write(true).open(file.lock_path()).expect("lock file");
        lock.write_all_at(&far.to_le_bytes(), 256).expect("last txnid");
        for n in 0..3u64 {
            let env = file.open(options());
            let mut txn = env.write().expect("write");
            assert!(txn.txnid() < 1 << 40, "{far}: {}", txn.txnid());
            txn.main().put(&n.to_be_bytes(), b"new").expect("put");
            txn.commit().expect("commit");
            env.close().expect("close");
        }
        // While it is open nobody believes it either, and the next opener writes it anew.
        let env = file.open(options());
        lock.write_all_at(&far.to_le_bytes(), 256).expect("last txnid");
        let refused = env.write().expect_err("refused");
        assert!(matches!(refused, Error::Shared(MvccError::BadLockFile { .. })), "{refused:?}");
        drop(env);
    }
}

#[test]
fn a_lock_file_shorter_than_its_blocks_is_written_anew() {
    for (blocks, len) in [(5u32, None), (60_000, None), (1, Some(32768)), (3, Some(8192)), (1, Some(0))] {
        let file = TestFile::with_entries(10);
        let lock = File::options().write(true).open(file.lock_path()).expect("lock file");
        lock.write_all_at(&blocks.to_le_bytes(), 448).expect("blocks");
        if let Some(len) = len {
            lock.set_len(len).expect("cut");
        }
        let env = file.open(options());
        assert_eq!(env.read().expect("read").main().expect("main").len(), 10, "{blocks} {len:?}");
        env.write().expect("write").commit().expect("commit");
    }
}

/// Has the lock file tell that whoever made the newest meta has closed cleanly.
fn note_clean_close(path: &Path) {
    let bytes = std::fs::read(path).expect("read");
    let metas = [Slot::A, Slot::B].map(|slot| {
        let meta = &bytes[slot.offset() as usize..][..ids::META_BYTES];
        (
            Meta::decode(meta, slot).expect("meta").head.txnid.get(),
            meta::stored_sum(meta.try_into().expect("a meta")),
        )
    });
    let (txnid, checksum) = metas.into_iter().max().expect("two metas");
    let lock = File::options().write(true).open(lock_path(path)).expect("lock file");
    lock.write_all_at(&STATE_CLEAN.to_le_bytes(), 12).expect("state");
    lock.write_all_at(&txnid.to_le_bytes(), 320).expect("durable txnid");
    lock.write_all_at(&checksum.to_le_bytes(), 344).expect("its meta's checksum");
}

#[test]
fn metas_of_two_files_are_told() {
    let (file, other) = (TestFile::with_entries(10), TestFile::with_entries(20));
    let mut bytes = std::fs::read(file.path()).expect("read");
    let strange = std::fs::read(other.path()).expect("read");
    let b = Slot::B.offset() as usize..Slot::B.offset() as usize + ids::META_BYTES;
    bytes[b.clone()].copy_from_slice(&strange[b]);
    std::fs::write(file.path(), &bytes).expect("write");
    let refused = open(file.path(), options()).expect_err("refused");
    assert!(matches!(refused, Error::BadMetas { .. }), "{refused:?}");
    says(&refused, Some(file.path()), "different files");
    assert_eq!(std::fs::read(file.path()).expect("read"), bytes, "it was not touched");
    file.give_up();
}

#[test]
fn no_meta_left_is_an_error_that_names_both() {
    let file = TestFile::with_entries(10);
    let data = File::options().write(true).open(file.path()).expect("open");
    for slot in [Slot::A, Slot::B] {
        data.write_all_at(b"damage", slot.offset() + 100).expect("write");
    }
    let refused = open(file.path(), options()).expect_err("refused");
    assert!(matches!(refused, Error::NoMeta { .. }), "{refused:?}");
    says(&refused, Some(file.path()), "restore it from a copy");
    says(&refused, None, "meta B: checksum");
    file.give_up();
}

#[test]
fn a_path_that_leads_to_no_file_is_told_apart() {
    let file = TestFile::new();
    let missing = open(file.path(), options()).expect_err("refused");
    assert!(matches!(missing, Error::Missing { .. }), "{missing:?}");
    says(&missing, Some(file.path()), "create it");

    let nowhere = file.dir().join("no/such/test.maple");
    assert!(matches!(open(&nowhere, options()), Err(Error::Missing { .. })));
    let refused = open_or_create(&nowhere, options()).expect_err("refused");
    says(&refused, Some(&nowhere), "No such file or directory (os error 2); make the directory first");
    assert!(!file.dir().join("no").exists(), "no directory is made unasked");

    for access in [Access::Shared, Access::Frozen] {
        let refused = open(file.dir(), options().access(access)).expect_err("refused");
        assert!(matches!(refused, Error::Os(_)), "{refused:?}");
        says(&refused, Some(file.dir()), "Is a directory (os error 21); name a file, not a directory");
    }

    let dangling = file.dir().join("dangling");
    symlink(file.dir().join("gone"), &dangling).expect("symlink");
    assert!(matches!(open(&dangling, options()), Err(Error::Missing { .. })));
    let bad = open_or_create(file.path(), options().page_size(5000)).expect_err("refused");
    assert!(matches!(bad, Error::BadOption { .. }));
    says(&bad, None, "power of two");
}

#[test]
fn a_symbolic_link_leads_to_the_same_environment() {
    let file = TestFile::with_entries(10);
    let link = file.dir().join("link");
    symlink(file.path(), &link).expect("symlink");
    let (a, b) = (file.open(options()), open(&link, options()).expect("open"));
    assert_eq!(a.path(), b.path());
    let _txn = a.write().expect("write");
    assert!(b.try_write().expect("try").is_none());
    assert!(!file.dir().join("link-lock").exists());
}

#[test]
fn creating_over_a_file_is_refused() {
    let file = TestFile::with_entries(10);
    // SAFETY: nothing but MapleDB writes to the test's own file.
    #[allow(unsafe_code)]
    let refused = unsafe { options().create(file.path()) }.expect_err("refused");
    assert!(matches!(refused, Error::Exists { .. }), "{refused:?}");
    says(&refused, Some(file.path()), "another name");
}

#[test]
fn one_file_is_open_in_one_way_in_a_process() {
    let file = TestFile::with_entries(10);
    let env = file.open(options());
    for access in [Access::SharedReadOnly, Access::Frozen, Access::Exclusive] {
        let refused = open(file.path(), options().access(access)).expect_err("refused");
        assert!(matches!(refused, Error::OpenDifferently { .. }), "{refused:?}");
        says(&refused, Some(file.path()), "close it first");
    }
    drop(env);
}

#[test]
fn a_read_only_handle_reads_and_does_not_write() {
    let file = TestFile::with_entries(10);
    for access in [Access::SharedReadOnly, Access::Frozen] {
        let env = open(file.path(), options().access(access)).expect("open");
        assert_eq!(env.read().expect("read").main().expect("main").len(), 10);
        for refused in [env.write().map(|_| ()), env.try_write().map(|_| ())] {
            let refused = refused.expect_err("refused");
            assert!(matches!(refused, Error::ReadOnly), "{refused:?}");
            says(&refused, None, "for writing");
        }
        check(&env);
        env.close().expect("close");
    }
}

#[test]
fn arguments_that_cannot_be_are_refused_and_change_nothing() {
    let file = TestFile::new();
    let env = file.open(options());
    let mut txn = env.write().expect("write");
    let max = env.key_max();
    assert_eq!(max, 1024);
    txn.main().put(&vec![1; max], b"the longest").expect("put");
    let long = vec![1; max + 1];
    let refusals = [
        txn.main().put(&long, b"").expect_err("refused"),
        txn.main().reserve(&long, 8, |_| ()).expect_err("refused"),
        txn.main().compare_and_set(&long, None, Some(b"")).expect_err("refused"),
        txn.main().load_sorted([Ok((&long[..], b""))]).expect_err("refused"),
    ];
    for refused in refusals {
        assert!(matches!(refused, Error::KeyTooLong { len: 1025, max: 1024 }), "{refused:?}");
        says(&refused, None, "the most is 1024");
    }
    assert_eq!(txn.main().get(&long).expect("get"), None, "a key that cannot be is not there");
    assert!(!txn.main().delete(&long).expect("delete"));
    let refused = txn.main().append(b"", b"").expect_err("refused");
    assert!(matches!(refused, Error::NotSorted));

    let other: Table<'_, u32, str> = Table::new("typed");
    txn.open_table(&Table::<str, u64>::new("typed")).expect("table").put("a", &1).expect("put");
    let refused = txn.open_table(&other).map(|_| ()).expect_err("refused");
    assert!(matches!(refused, Error::TableTypes { .. }), "{refused:?}");
    says(&refused, None, "\"typed\"");
    let refused = txn.table(&Table::<str, str>::new("none")).map(|_| ()).expect_err("refused");
    assert!(matches!(refused, Error::TableMissing { .. }), "{refused:?}");
    says(&refused, None, "\"none\"");
    let refused = txn.rename_table("none", "some").expect_err("refused");
    assert!(matches!(refused, Error::TableMissing { .. }), "{refused:?}");
    txn.open_table(&Table::<str, u64>::new("taken")).expect("table");
    let refused = txn.rename_table("typed", "taken").expect_err("refused");
    assert!(matches!(refused, Error::TableExists { .. }), "{refused:?}");
    let too_long = "x".repeat(max + 1);
    for name in ["", &too_long] {
        let refused = txn.open_table(&Table::<str, u64>::new(name)).map(|_| ()).expect_err("refused");
        assert!(matches!(refused, Error::TableName { .. }), "{refused:?}");
        let refused = txn.rename_table("typed", name).expect_err("refused");
        assert!(matches!(refused, Error::TableName { .. }), "{refused:?}");
    }
    txn.main().next_sequence(u64::MAX).expect("sequence");
    assert!(matches!(txn.main().next_sequence(1), Err(Error::SequenceExhausted)));
    txn.commit().expect("none of it left the transaction unusable");
    let txn = env.read().expect("read");
    assert_eq!(txn.main().expect("main").len(), 1);
    assert!(matches!(txn.table(&other), Err(Error::TableTypes { .. })));
    check(&env);
}

#[test]
fn a_value_no_file_could_hold_is_refused() {
    let file = TestFile::with_entries(10);
    let env = file.open(options());
    for len in [u64::MAX, u64::MAX / 2, 1 << 60] {
        let mut txn = env.write().expect("write");
        let refused = txn.main().reserve(b"k", len, |_| panic!("there is no room")).expect_err("refused");
        let is_it = matches!(
            refused,
            Error::ValueTooLong { .. }
                | Error::FileTooLarge { .. }
                | Error::DiskFull(_)
                | Error::FileSizeLimit(_)
                | Error::Os(_)
        );
        assert!(is_it, "{len}: {refused:?}");
        drop(txn);
        check(&env);
    }
    assert!(std::fs::metadata(file.path()).expect("metadata").len() < 1 << 30, "no growth is left behind");
}

#[test]
fn bytes_that_are_no_value_of_the_type_are_refused() {
    let file = TestFile::new();
    let env = file.open(options());
    let mut txn = env.write().expect("write");
    txn.open_table(&Table::<u64, u64>::new("typed")).expect("table");
    txn.table(&Table::untyped("typed")).expect("table").put(b"short", b"x").expect("put");
    txn.commit().expect("commit");
    let txn = env.read().expect("read");
    let typed = txn.table(&Table::<u64, u64>::new("typed")).expect("table");
    let refused = typed.first().map(|_| ()).expect_err("refused");
    assert!(matches!(refused, Error::Decode { .. }), "{refused:?}");
    says(&refused, None, "are not a");
}

#[test]
fn closing_what_is_in_use_is_refused_and_leaves_it_open() {
    let file = TestFile::with_entries(10);
    let env = file.open(options());
    let txn = env.read().expect("read");
    let refused = env.close().expect_err("refused");
    assert!(matches!(refused, Error::StillInUse), "{refused:?}");
    says(&refused, None, "alive");
    assert_eq!(txn.main().expect("main").len(), 10);
}

#[test]
fn a_removed_lock_file_is_noticed_at_the_next_writer_lock() {
    let file = TestFile::with_entries(10);
    let env = file.open(options());
    std::fs::remove_file(file.lock_path()).expect("remove");
    let refused = env.write().expect_err("refused");
    assert!(matches!(refused, Error::Shared(MvccError::LockFileGone(_))), "{refused:?}");
    says(&refused, Some(&file.lock_path()), "close it in every process");
    assert_eq!(env.read().expect("read").main().expect("main").len(), 10, "readers go on");
    let other = in_another_process("open", file.path());
    assert!(other.contains("in use through another lock file"), "{other}");
    drop(env);
    let env = file.open(options());
    env.write().expect("after it was closed there is one universe again");
}

#[test]
fn a_replaced_data_file_is_noticed_at_the_next_writer_lock() {
    let (file, other) = (TestFile::with_entries(10), TestFile::with_entries(20));
    let env = file.open(options());
    std::fs::rename(other.path(), file.path()).expect("rename");
    let refused = env.write().expect_err("refused");
    assert!(matches!(refused, Error::Shared(MvccError::DataFileGone(_))), "{refused:?}");
    says(&refused, Some(file.path()), "open the new one");
    assert_eq!(env.read().expect("read").main().expect("main").len(), 10, "readers keep their file");
    let answer = in_another_process("open", file.path());
    assert!(answer.contains("close them first"), "{answer}");
    drop(env);
    let env = file.open(options());
    assert_eq!(env.read().expect("read").main().expect("main").len(), 20);
}

#[test]
fn a_hard_link_is_no_second_database() {
    let file = TestFile::with_entries(10);
    let link = file.dir().join("link.maple");
    std::fs::hard_link(file.path(), &link).expect("link");
    let env = file.open(options());
    let answer = in_another_process("open", &link);
    assert!(answer.contains("in use through another lock file"), "{answer}");
    assert!(answer.contains("hard link"), "{answer}");
    assert!(in_another_process("open", file.path()).contains("opened 10"));
    drop(env);
    assert!(in_another_process("open", &link).contains("opened 10"));
}

#[test]
fn a_lock_file_of_another_version_is_refused_while_others_use_it() {
    let file = TestFile::with_entries(10);
    let env = file.open(options());
    let lock = File::options().read(true).write(true).open(file.lock_path()).expect("open");
    let mut version = [0; 4];
    lock.read_exact_at(&mut version, 8).expect("read");
    lock.write_all_at(&9u32.to_le_bytes(), 8).expect("write");
    let answer = in_another_process("open", file.path());
    assert!(answer.contains("layout version 9") && answer.contains("use their version"), "{answer}");
    lock.write_all_at(&version, 8).expect("write");
    drop(env);
    lock.write_all_at(&9u32.to_le_bytes(), 8).expect("write");
    let env = file.open(options());
    assert_eq!(env.read().expect("read").main().expect("main").len(), 10, "once alone it is made anew");
}

#[test]
fn a_lock_file_of_garbage_or_of_another_file_is_made_anew() {
    let (file, other) = (TestFile::with_entries(10), TestFile::with_entries(20));
    for garbage in
        [vec![], vec![0xa5; 100], vec![0xff; 40_000], std::fs::read(other.lock_path()).expect("read")]
    {
        std::fs::write(file.lock_path(), &garbage).expect("write");
        let env = file.open(options());
        let mut txn = env.write().expect("write");
        txn.main().put(&3u64.to_be_bytes(), &3u64.to_le_bytes()).expect("put");
        txn.commit().expect("commit");
        assert_eq!(env.read().expect("read").main().expect("main").len(), 10);
        check(&env);
    }
}

#[test]
fn what_is_no_file_cannot_be_the_lock_file() {
    let file = TestFile::with_entries(10);
    std::fs::remove_file(file.lock_path()).expect("remove");
    let refused = || {
        for access in [Access::Shared, Access::SharedReadOnly, Access::Exclusive] {
            let refused = open(file.path(), options().access(access)).expect_err("refused");
            assert!(
                matches!(refused, Error::Attach(AttachError::NotALockFile(_))),
                "{access:?}: {refused:?}"
            );
            says(&refused, Some(&file.lock_path()), "move it away");
        }
    };
    std::fs::create_dir(file.lock_path()).expect("mkdir");
    refused();
    std::fs::remove_dir(file.lock_path()).expect("rmdir");
    symlink(file.dir().join("elsewhere"), file.lock_path()).expect("symlink");
    refused();
    assert!(!file.dir().join("elsewhere").exists(), "the link was not followed");
    std::fs::remove_file(file.lock_path()).expect("remove");
}

#[test]
fn what_no_process_writes_into_a_live_lock_file_is_told_with_its_name() {
    for (at, number) in
        [(lockfile::LAST_TXNID_AT, u64::MAX), (lockfile::HEAD_SEQ_AT, 0), (lockfile::HEAD_SEQ_AT, 77)]
    {
        let file = TestFile::with_entries(10);
        let env = file.open(options());
        let lock = File::options().read(true).write(true).open(file.lock_path()).expect("open");
        lock.write_all_at(&number.to_le_bytes(), at as u64).expect("write");
        let mut refused = env.write().and_then(|mut txn| {
            txn.main().put(b"k", b"v")?;
            txn.commit()
        });
        let refused = refused.as_mut().expect_err("refused");
        assert!(matches!(refused, Error::Shared(MvccError::BadLockFile { .. })), "{at}: {refused:?}");
        says(refused, Some(&file.lock_path()), "close the environment in every process");
        drop(env);
        let env = file.open(options());
        assert_eq!(env.read().expect("read").main().expect("main").len(), 10, "{at}: it was written anew");
    }
}

#[test]
fn a_last_commit_that_nobody_can_have_counted_to_is_told() {
    let file = TestFile::with_entries(10);
    reseal_both(file.path(), |meta| {
        meta[56..64].copy_from_slice(&(1u64 << 62).to_le_bytes());
        meta[64..72].copy_from_slice(&(1u64 << 62).to_le_bytes());
    });
    std::fs::remove_file(file.lock_path()).expect("remove");
    let refused = open(file.path(), options()).expect_err("refused");
    let is_it = matches!(&refused, Error::Attach(AttachError::Mvcc(MvccError::TxnidOutOfRange { .. })));
    assert!(is_it, "{refused:?}");
    says(&refused, Some(file.path()), "restore it from a copy");
    file.give_up();
}

#[test]
fn a_copy_of_both_files_is_a_database_of_its_own() {
    let file = TestFile::with_entries(10);
    let env = file.open(options());
    let copy = TestFile::new();
    std::fs::copy(file.path(), copy.path()).expect("copy");
    std::fs::copy(file.lock_path(), copy.lock_path()).expect("copy");
    let mut txn = env.write().expect("write");
    txn.main().put(b"only", b"here").expect("put");
    txn.commit().expect("commit");
    let twin = copy.open(options());
    assert_eq!(twin.read().expect("read").main().expect("main").len(), 10);
    let _writing = env.write().expect("write");
    twin.write().expect("the lock of one is not the lock of the other");
}

#[test]
fn modes_that_exclude_each_other_say_so_across_processes() {
    let file = TestFile::with_entries(10);
    let table = [
        (Access::Shared, "open frozen", "open it shared here too"),
        (Access::Shared, "open exclusively", "open it shared here too"),
        (Access::Frozen, "open", "open it frozen here too"),
        (Access::Frozen, "open exclusively", "open it frozen here too"),
        (Access::Exclusive, "open", "close it there"),
        (Access::Exclusive, "open frozen", "close it there"),
        (Access::Shared, "open read-only", "opened 10"),
        (Access::Frozen, "open frozen", "opened 10"),
    ];
    for (access, role, expected) in table {
        let env = open(file.path(), options().access(access)).expect("open");
        let answer = in_another_process(role, file.path());
        assert!(answer.contains(expected), "{access:?} here, {role:?} there: {answer}");
        env.close().expect("close");
    }
}

/// Starts this binary again to play `role` on `data`.
fn launch(role: &str, data: &Path, change: impl FnOnce(&mut Command)) -> std::io::Result<Child> {
    let mut command = another::process(role, data);
    change(&mut command);
    command.spawn()
}

/// What another process says after "answer: ".
fn answer_of(mut child: Child) -> String {
    let mut text = String::new();
    child.stdout.take().expect("piped").read_to_string(&mut text).expect("read");
    let status = child.wait().expect("wait");
    let answer = text.lines().filter_map(|line| line.split_once("answer: ")).map(|(_, answer)| answer).next();
    answer.unwrap_or_else(|| panic!("no answer, {status}: {text}")).to_string()
}

fn in_another_process(role: &str, data: &Path) -> String {
    answer_of(launch(role, data, |_| ()).expect("start"))
}

/// What another process does.
#[test]
fn as_another_process() {
    let Some((role, path)) = another::role() else { return };
    let access = match role.as_str() {
        "open frozen" => Access::Frozen,
        "open exclusively" => Access::Exclusive,
        "open read-only" => Access::SharedReadOnly,
        "open" | "create" => Access::Shared,
        "fill" => return println!("answer: {}", fill(&path)),
        "reuse" => return println!("answer: {}", reuse(&path)),
        other => panic!("no such role: {other}"),
    };
    let options = options().access(access);
    let env = match role.as_str() {
        "create" => open_or_create(&path, options),
        _ => open(&path, options),
    };
    match env.and_then(|env| Ok((env.read()?.main()?.len(), env))) {
        Ok((entries, _env)) => println!("answer: opened {entries}"),
        Err(error) => println!("answer: {error}"),
    }
}

/// Puts until there is no room, says why there is none, and that nothing was lost.
fn fill(path: &Path) -> String {
    let env = open_or_create(path, options()).expect("open");
    let mut committed = 0u64;
    let refused = loop {
        let mut txn = env.write().expect("write");
        let stored =
            (0..10).try_for_each(|n| txn.main().put(&(committed * 10 + n).to_be_bytes(), &[1; 3000]));
        match stored.and_then(|()| txn.commit()) {
            Ok(_) => committed += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, Error::DiskFull(_) | Error::FileSizeLimit(_)), "{refused:?}");
    assert_eq!(env.read().expect("read").main().expect("main").len(), committed * 10);
    check(&env);
    // What is there can be deleted, which makes room for other things.
    for turn in 0..committed.min(20) {
        let mut txn = env.write().expect("write");
        let deleted = (0..10).try_for_each(|n| txn.main().delete(&(turn * 10 + n).to_be_bytes()).map(|_| ()));
        if let Err(error) = deleted.and_then(|()| txn.commit().map(|_| ())) {
            return format!("{refused}; but deleting failed: {error}");
        }
    }
    check(&env);
    env.close().expect("close");
    format!("{refused}; {committed} commits")
}

/// Forbids this process, or whatever it becomes, to write further into a file.
fn limit_file_size(bytes: u64) -> std::io::Result<()> {
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
    // SAFETY: reads one struct that outlives the call.
    #[allow(unsafe_code)]
    let set = unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &limit) };
    if set == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

#[test]
fn growth_past_the_file_size_limit_is_an_error_and_no_signal() {
    let file = TestFile::new();
    let child = launch("fill", file.path(), |command| {
        // SAFETY: between fork and exec it makes one system call, which is safe there.
        #[allow(unsafe_code)]
        unsafe {
            command.pre_exec(|| limit_file_size(3 << 20))
        };
    });
    let answer = answer_of(child.expect("start"));
    assert!(answer.contains("no file may be so long") && answer.contains("nothing is lost"), "{answer}");
    assert!(!answer.contains("but deleting failed"), "{answer}");
}

/// Puts values of many pages where others were that have been deleted, and reserves some.
fn reuse(path: &Path) -> String {
    let env = open(path, options()).expect("open");
    for round in 0..20u32 {
        let mut txn = env.write().expect("write");
        txn.main().put(&round.to_be_bytes(), &[round as u8; 200_000]).expect("put");
        txn.main().reserve(&(round + 100).to_be_bytes(), 100_000, |bytes| bytes.fill(7)).expect("reserve");
        txn.commit().expect("commit");
    }
    check(&env);
    let len = env.read().expect("read").main().expect("main").len();
    env.close().expect("close");
    format!("{len} entries")
}

#[test]
fn a_process_that_may_not_write_so_far_into_the_file_uses_what_is_free_there() {
    let file = TestFile::new();
    let env = file.open(options());
    let mut txn = env.write().expect("write");
    (0..100u32).for_each(|n| txn.main().put(&n.to_be_bytes(), &[1; 100_000]).expect("put"));
    txn.commit().expect("commit");
    // What is deleted lies behind what stays, and before an entry that keeps the file as long as it is.
    let mut txn = env.write().expect("write");
    (5..100u32).for_each(|n| assert!(txn.main().delete(&n.to_be_bytes()).expect("delete")));
    txn.main().put(b"the last", &[2; 100_000]).expect("put");
    txn.commit().expect("commit");
    env.close().expect("close");
    let child = launch("reuse", file.path(), |command| {
        // SAFETY: between fork and exec it makes one system call, which is safe there.
        #[allow(unsafe_code)]
        unsafe {
            command.pre_exec(|| limit_file_size(2 << 20))
        };
    });
    assert_eq!(answer_of(child.expect("start")), "41 entries");
}

/// A small file system of its own, unmounted when it goes out of scope.
struct Mounted(tempfile::TempDir);

impl Mounted {
    fn tmpfs(size: &str) -> Option<Mounted> {
        let dir = tempfile::tempdir().expect("a directory");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size},mode=777"), "tmpfs"])
            .arg(dir.path())
            .stderr(Stdio::null())
            .status();
        mounted.is_ok_and(|status| status.success()).then(|| Mounted(dir))
    }

    fn make_read_only(&self) -> bool {
        let remounted = Command::new("mount")
            .args(["-o", "remount,ro"])
            .arg(self.0.path())
            .stderr(Stdio::null())
            .status();
        remounted.is_ok_and(|status| status.success())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_is_an_error_and_no_signal() {
    let Some(disk) = Mounted::tmpfs("4m") else { return skip("cannot mount a small file system") };
    let answer = in_another_process("fill", &disk.0.path().join("test.maple"));
    assert!(answer.contains("the disk is full") && answer.contains("nothing is lost"), "{answer}");
    assert!(!answer.contains("but deleting failed"), "{answer}");
}

#[test]
fn a_read_only_file_system_is_read_frozen() {
    let Some(disk) = Mounted::tmpfs("8m") else { return skip("cannot mount a file system") };
    let path = disk.0.path().join("test.maple");
    let answer = in_another_process("create", &path);
    assert!(answer.contains("opened 0"), "{answer}");
    if !disk.make_read_only() {
        return skip("cannot make a file system read-only");
    }
    let answer = in_another_process("open", &path);
    assert!(answer.contains("Read-only file system"), "{answer}");
    let answer = in_another_process("open read-only", &path);
    assert!(answer.contains("frozen") || answer.contains("opened 0"), "{answer}");
    let answer = in_another_process("open frozen", &path);
    assert!(answer.contains("opened 0"), "{answer}");
    let answer = in_another_process("create", &disk.0.path().join("other.maple"));
    assert!(answer.contains("Read-only file system"), "{answer}");
}

/// Starts another process as nobody; `None` where that is not possible.
fn as_nobody(role: &str, data: &Path) -> Option<String> {
    let child = launch(role, data, |command| {
        command.uid(65534).gid(65534).current_dir("/");
    });
    child.ok().map(answer_of)
}

#[test]
fn permissions_that_lack_are_named() {
    let file = TestFile::with_entries(10);
    let mode =
        |path: &Path, mode| std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("chmod");
    mode(file.dir(), 0o755);
    mode(file.path(), 0o600);
    let Some(answer) = as_nobody("open", file.path()) else {
        return skip("cannot become another user");
    };
    assert!(answer.contains("Permission denied") && answer.contains("test.maple"), "{answer}");
    mode(file.path(), 0o644);
    let answer = as_nobody("open", file.path()).expect("as before");
    assert!(answer.contains("Permission denied"), "{answer}");
    std::fs::remove_file(file.lock_path()).expect("remove");
    let answer = as_nobody("open read-only", file.path()).expect("as before");
    assert!(answer.contains("writable lock file") && answer.contains("frozen"), "{answer}");
    let answer = as_nobody("open frozen", file.path()).expect("as before");
    assert!(answer.contains("opened 10"), "{answer}");
    let answer = as_nobody("create", &file.dir().join("other.maple")).expect("as before");
    assert!(answer.contains("Permission denied"), "{answer}");
}

#[test]
fn page_sizes_are_what_the_format_says() {
    for size in [4096, 8192, 65536] {
        let file = TestFile::new();
        let env = file.open(options().page_size(size));
        assert_eq!(env.page_size(), size);
        assert!(PageSize::new(size).is_some());
    }
}

/// An overlay of two directories on a tmpfs, unmounted when it goes out of scope.
struct Overlay(Mounted);

impl Overlay {
    fn new() -> Option<Overlay> {
        let below = Mounted::tmpfs("16m")?;
        let dir = |name: &str| below.0.path().join(name);
        for name in ["lower", "upper", "work", "merged"] {
            std::fs::create_dir(dir(name)).expect("a directory");
        }
        let env = open_or_create(dir("lower").join("test.maple"), options()).expect("create");
        env.close().expect("close");
        let layers = format!(
            "lowerdir={},upperdir={},workdir={}",
            dir("lower").display(),
            dir("upper").display(),
            dir("work").display()
        );
        let mounted = Command::new("mount")
            .args(["-t", "overlay", "-o", &layers, "overlay"])
            .arg(dir("merged"))
            .stderr(Stdio::null())
            .status();
        mounted.is_ok_and(|status| status.success()).then(|| Overlay(below))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.0.path().join("merged").join(name)
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.0.path().join("merged")).status();
    }
}

#[test]
fn on_an_overlay_a_file_is_not_shared() {
    let Some(overlay) = Overlay::new() else { return skip("cannot mount an overlay") };
    // Of the lower layer, and of the upper one.
    for name in ["test.maple", "new.maple"] {
        let refused = open_or_create(overlay.path(name), options()).map(|_| ()).expect_err("refused");
        assert!(matches!(&refused, Error::OverlayFileSystem { .. }), "{refused:?}");
        let told = refused.to_string();
        assert!(
            told.contains(name) && told.contains("lies on overlay") && told.contains("bind mount"),
            "{told}"
        );
        let refused = open(overlay.path(name), options().access(Access::SharedReadOnly)).map(|_| ());
        assert!(matches!(refused, Err(Error::OverlayFileSystem { .. })), "{refused:?}");
        let answer = in_another_process("open frozen", &overlay.path(name));
        assert!(answer.contains("opened 0"), "{answer}");
        let env = open(overlay.path(name), options().access(Access::Exclusive)).expect("open");
        let mut txn = env.write().expect("write");
        txn.main().put(b"k", b"v").expect("put");
        txn.commit().expect("commit");
        check(&env);
        env.close().expect("close");
        let answer = in_another_process("open frozen", &overlay.path(name));
        assert!(answer.contains("opened 1"), "{answer}");
    }
}
