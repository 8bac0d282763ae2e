//! Errors that a sound file in sound surroundings does not meet, each reached by what would cause it; and that no
//! variant of any error goes without a test. What is wrong with files and surroundings is in `bad_input.rs`.

mod files;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use files::{TestFile, check, open, open_or_create, options};
use mapledb::mvcc::AttachError;
use mapledb::{Access, Env, Error, Table};
use mapledb_format::leaf::{Leaf, ValueField};
use mapledb_format::{
    FormatError, HeadBody, Manifest, Meta, OrderId, PageSize, RunGeometry, Slot, TableRecord, TreeRecord,
    header, ids, lockfile,
};

/// Whether the message has these words of advice.
fn says(error: &Error, advice: &str) {
    assert!(error.to_string().contains(advice), "{:?} does not say {advice:?}", error.to_string());
}

#[test]
fn a_transaction_is_unusable_after_an_error_half_way() {
    let file = TestFile::with_entries(10);
    let env = file.open(options().quota_bytes(4 << 20));
    let mut txn = env.write().expect("write");
    let refused = (0u64..).find_map(|n| txn.main().put(&n.to_be_bytes(), &[7; 900]).err());
    let refused = refused.expect("the quota ends it");
    assert!(matches!(refused, Error::QuotaReached { .. }), "{refused:?}");
    let refused = txn.main().put(b"more", b"").expect_err("refused");
    assert!(matches!(refused, Error::TxnUnusable), "{refused:?}");
    says(&refused, "begin another");
    assert!(matches!(txn.commit(), Err(Error::TxnUnusable)));
    assert_eq!(env.read().expect("read").main().expect("main").len(), 10);
    check(&env);
}

#[test]
fn a_run_that_would_pass_the_last_page_number_is_refused() {
    let file = TestFile::with_entries(10);
    let env = file.open(options());
    // The longest value whose run a file could hold if it held nothing else.
    let (mut fits, mut too_long) = (0, u64::MAX);
    while too_long - fits > 1 {
        let middle = fits + (too_long - fits) / 2;
        match RunGeometry::of(middle, PageSize::MIN) {
            Some(_) => fits = middle,
            None => too_long = middle,
        }
    }
    let mut txn = env.write().expect("write");
    let refused = txn.main().reserve(b"k", fits, |_| panic!("there is no room")).expect_err("refused");
    assert!(matches!(refused, Error::FileTooLarge { .. }), "{refused:?}");
    says(&refused, "store less");
    drop(txn);
    let mut txn = env.write().expect("write");
    let refused = txn.main().reserve(b"k", too_long, |_| panic!("there is no room")).expect_err("refused");
    assert!(matches!(refused, Error::ValueTooLong { .. }), "{refused:?}");
    drop(txn);
    check(&env);
}

#[test]
fn a_type_name_that_the_catalog_cannot_hold_is_refused() {
    let file = TestFile::with_entries(10);
    let env = file.open(options());
    let mut txn = env.write().expect("write");
    let long = "x".repeat(70_000);
    for (key, value) in [(&long[..], "str"), ("str", &long[..])] {
        let refused = txn.open_table_as("t", key, value).map(|_| ()).expect_err("refused");
        assert!(matches!(refused, Error::TypeNameTooLong { .. }), "{refused:?}");
        says(&refused, "shorten it");
    }
    txn.open_table_as("t", "str", "str").expect("the transaction is as good as before");
    txn.commit().expect("commit");
    check(&env);
}

#[test]
fn what_the_caller_read_from_and_could_not_is_handed_through() {
    let file = TestFile::with_entries(10);
    let env = file.open(options());
    let mut txn = env.write().expect("write");
    let unreadable = || Error::Input { what: "line 2 is torn".to_string() };
    let refused =
        txn.main().load_sorted([Ok((&b"z"[..], &b""[..])), Err(unreadable())]).expect_err("refused");
    assert!(matches!(&refused, Error::Input { what } if what == "line 2 is torn"), "{refused:?}");
}

#[test]
fn a_lock_file_that_cannot_have_its_name_is_told() {
    let file = TestFile::new();
    // Five bytes more, and the name is too long for any file system.
    let path = file.dir().join("x".repeat(252));
    let refused = open_or_create(&path, options()).expect_err("refused");
    assert!(matches!(&refused, Error::Attach(AttachError::LockFile(_))), "{refused:?}");
    says(&refused, "choose a shorter name");
    let env = open(&path, options().access(Access::Frozen)).expect("frozen it needs no lock file");
    check(&env);
}

/// The newest meta of a file.
fn newest(file: &File) -> Meta {
    let metas = [Slot::A, Slot::B].map(|slot| {
        let mut bytes = [0; ids::META_BYTES];
        file.read_exact_at(&mut bytes, slot.offset()).expect("read");
        Meta::decode(&bytes, slot).expect("a whole meta")
    });
    metas.into_iter().max_by_key(|meta| meta.head.txnid).expect("two metas")
}

/// Changes the root page of a tree and seals it and the meta again, as a build with a fault in it might have done.
fn forge(path: &Path, tree: fn(&mut HeadBody) -> &mut TreeRecord, change: impl FnOnce(&mut [u8])) {
    let file = File::options().read(true).write(true).open(path).expect("open");
    let mut meta = newest(&file);
    let record = tree(&mut meta.head);
    let mut page = vec![0; meta.page_size.bytes()];
    let offset = record.root.offset(meta.page_size);
    file.read_exact_at(&mut page, offset).expect("read");
    change(&mut page);
    record.root_tag = header::tag(header::seal(&mut page));
    file.write_all_at(&page, offset).expect("write");
    meta.manifest = Manifest::empty();
    file.write_all_at(&meta.encode(), meta.slot.offset()).expect("write");
}

fn main_table(head: &mut HeadBody) -> &mut TreeRecord {
    &mut head.default_table
}

#[test]
fn a_table_whose_record_names_another_order_is_refused() {
    let file = TestFile::with_entries(10);
    let env = file.open(options());
    let mut txn = env.write().expect("write");
    txn.open_table(&Table::<[u8], [u8]>::new("t")).expect("table").put(b"k", b"v").expect("put");
    txn.commit().expect("commit");
    env.close().expect("close");
    forge(
        file.path(),
        |head| &mut head.catalog,
        |page| {
            let leaf = Leaf::view(page).expect("a leaf");
            let ValueField::Inline(value) = leaf.value(0).expect("a table") else { panic!("it is short") };
            let mut record = TableRecord::decode(value).expect("a record");
            record.tree.order = OrderId::Reverse;
            let at = page.windows(value.len()).position(|bytes| bytes == value).expect("it lies in the page");
            let len = value.len();
            page[at..at + len].copy_from_slice(&record.encode());
        },
    );
    let env = file.open(options());
    let txn = env.read().expect("read");
    let refused = txn.table(&Table::<[u8], [u8]>::new("t")).map(|_| ()).expect_err("refused");
    assert!(matches!(&refused, Error::TableOrder { recorded, .. } if recorded == "reverse"), "{refused:?}");
    says(&refused, "cannot be opened with \"bytewise\": open it with its own");
    assert_eq!(txn.main().expect("main").len(), 10, "other tables are read as before");
    drop((txn, env));
    file.give_up();
}

#[test]
fn pages_that_do_not_fit_their_place_are_refused_whatever_their_checksum() {
    type Change = fn(&mut [u8]);
    let table: [(u64, Change, FormatError); 2] = [
        // A leaf that says that it is a level up.
        (10, |page| page[15] = 1, FormatError::WrongLevel { found: 1, expected: 0 }),
        // A branch that counts one entry more below its first child.
        (1000, count_one_more, FormatError::WrongCount { slot: 0 }),
    ];
    for (entries, change, fault) in table {
        let file = TestFile::with_entries(entries);
        forge(file.path(), main_table, change);
        let env = file.open(options());
        // An exact copy walks everything.
        let refused = env.copy_to(file.dir().join("copy"), false, |_, _| true).expect_err("refused");
        assert!(matches!(&refused, Error::Corrupt { cause, .. } if *cause == fault), "{refused:?}");
        says(&refused, "restore it from a copy");
        assert!(!env.check(|_| ()).expect("check").is_clean());
        drop(env);
        file.give_up();
    }
}

fn count_one_more(page: &mut [u8]) {
    use mapledb_format::branch::{Branch, BranchMut, Entry};
    let entry = Branch::view(page).expect("a branch").entry(0).expect("a child");
    BranchMut::new(page).set_entry(0, Entry { count: entry.count + 1, ..entry }).expect("it is there");
}

#[test]
fn a_head_record_that_makes_no_sense_is_refused() {
    let file = TestFile::with_entries(10);
    let env = file.open(options());
    let lock = File::options().read(true).write(true).open(file.lock_path()).expect("open");
    let word = |at: usize| {
        let mut bytes = [0; 8];
        lock.read_exact_at(&mut bytes, at as u64).expect("read");
        u64::from_le_bytes(bytes)
    };
    let store = |at: usize, word: u64| lock.write_all_at(&word.to_le_bytes(), at as u64).expect("write");
    let seq = word(lockfile::HEAD_SEQ_AT);
    let record = lockfile::RING_AT + (seq as usize % lockfile::RING_LEN) * lockfile::RECORD_BYTES;
    let sealed = record + lockfile::RECORD_SEALED_AT;
    // The third word is the number of pages, and there can be no such number.
    store(sealed + 16, 1 << 60);
    let words: [u64; 219] = std::array::from_fn(|at| word(sealed + 8 * at));
    store(record + lockfile::RECORD_CHECKSUM_AT, lockfile::record_checksum(seq, &words));
    for refused in [env.write().map(|_| ()), env.read().map(|_| ())] {
        let refused = refused.expect_err("refused");
        assert!(matches!(refused, Error::BadHead { .. }), "{refused:?}");
        says(&refused, "close the environment in every process");
    }
    drop(env);
    let env = file.open(options());
    assert_eq!(env.read().expect("read").main().expect("main").len(), 10);
}

#[cfg(feature = "seam")]
mod syncs {
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

    use mapledb_os::{Effect, Observer, Seam};

    use super::*;

    /// Fails syncs from when it is told to.
    #[derive(Default)]
    struct Failing(AtomicBool);

    impl Observer for Failing {
        fn before(&self, effect: &Effect) -> io::Result<()> {
            let is_sync = matches!(effect, Effect::Sync { .. } | Effect::SyncFile { .. });
            match is_sync && self.0.load(Ordering::Relaxed) {
                true => Err(io::Error::from_raw_os_error(libc::EIO)),
                false => Ok(()),
            }
        }

        fn after(&self, _: &Effect, _: bool) {}
    }

    /// Fails one kind of effect with one error as long as there is one.
    #[derive(Default)]
    struct Refusing {
        grows: AtomicI32,
        populates: AtomicI32,
    }

    impl Observer for Refusing {
        fn before(&self, effect: &Effect) -> io::Result<()> {
            let code = match effect {
                Effect::Grow { .. } => self.grows.load(Ordering::Relaxed),
                Effect::Populate { .. } => self.populates.load(Ordering::Relaxed),
                _ => 0,
            };
            if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code)) }
        }

        fn after(&self, _: &Effect, _: bool) {}
    }

    fn write_a_lot(env: &Env) -> mapledb::Result<u64> {
        let mut txn = env.write()?;
        for n in 0..3000u64 {
            txn.main().put(&n.to_be_bytes(), &[7; 900])?;
        }
        txn.commit()
    }

    #[test]
    fn each_want_of_room_has_its_own_error_and_loses_nothing() {
        type Is = fn(&Error) -> bool;
        let table: [(i32, Is, &str); 3] = [
            (libc::ENOSPC, |e| matches!(e, Error::DiskFull(_)), "free some space"),
            (libc::EDQUOT, |e| matches!(e, Error::DiskQuotaReached(_)), "have it raised"),
            (libc::EFBIG, |e| matches!(e, Error::FileSizeLimit(_)), "ulimit -f"),
        ];
        for (code, is_it, advice) in table {
            let file = TestFile::with_entries(10);
            let refusing = Arc::new(Refusing::default());
            let env = file.open(options().seam(Seam::watched(refusing.clone())));
            let len = std::fs::metadata(file.path()).expect("metadata").len();
            refusing.grows.store(code, Ordering::Relaxed);
            for _ in 0..2 {
                let refused = write_a_lot(&env).expect_err("refused");
                assert!(is_it(&refused), "{refused:?}");
                says(&refused, advice);
                says(&refused, "nothing is lost");
                assert_eq!(std::fs::metadata(file.path()).expect("metadata").len(), len);
                assert_eq!(env.read().expect("read").main().expect("main").len(), 10);
                check(&env);
            }
            refusing.grows.store(0, Ordering::Relaxed);
            write_a_lot(&env).expect("there is room again");
        }
    }

    #[test]
    fn pages_that_cannot_be_made_present_say_why() {
        let file = TestFile::with_entries(10);
        let refusing = Arc::new(Refusing::default());
        let env = file.open(options().seam(Seam::watched(refusing.clone())));
        refusing.populates.store(libc::EFAULT, Ordering::Relaxed);
        let refused = write_a_lot(&env).expect_err("refused");
        // Which of the two depends on how full this disk is.
        assert!(matches!(refused, Error::Os(_) | Error::DiskFull(_)), "{refused:?}");
        assert!(!refused.to_string().contains("Bad address"), "{refused}");
        assert_eq!(env.read().expect("read").main().expect("main").len(), 10);
        refusing.populates.store(0, Ordering::Relaxed);
        write_a_lot(&env).expect("as before");
    }

    /// Every way to commit and to wait for it.
    const COMMITS: [fn(mapledb::WriteTxn) -> mapledb::Result<()>; 4] = [
        |txn| txn.commit().map(drop),
        |txn| txn.commit_and_read().map(drop),
        |txn| txn.commit_and_continue().map(drop),
        |mut txn| {
            txn.durability(mapledb::Durability::Group);
            txn.commit_and_read().map(drop)
        },
    ];

    /// A commit whose first sync fails, and what the environment says then.
    fn fail(
        file: &TestFile,
        two_syncs: bool,
        commit: fn(mapledb::WriteTxn) -> mapledb::Result<()>,
    ) -> (Env, Error) {
        let failing = Arc::new(Failing::default());
        let env = file.open(options().two_syncs(two_syncs).seam(Seam::watched(failing.clone())));
        // What the file grew by before has been synced: the next commit may make do with one.
        for n in 0..2u64 {
            let mut txn = env.write().expect("write");
            txn.main().put(b"before", &n.to_le_bytes()).expect("put");
            txn.commit().expect("commit");
        }
        failing.0.store(true, Ordering::Relaxed);
        let mut txn = env.write().expect("write");
        txn.main().put(b"new", b"").expect("put");
        let refused = commit(txn).expect_err("refused");
        let poisoned = env.write().map(|_| ()).expect_err("refused");
        assert!(matches!(poisoned, Error::Poisoned { .. }), "{poisoned:?}");
        says(&poisoned, "close it in every process and open it again");
        assert!(poisoned.to_string().contains(&*file.path().to_string_lossy()), "{poisoned}");
        assert_eq!(env.read().expect("read").main().expect("main").len(), 11, "readers go on");
        (env, refused)
    }

    #[test]
    fn a_sync_that_fails_before_the_meta_means_that_nothing_happened() {
        for commit in COMMITS {
            let file = TestFile::with_entries(10);
            let (env, refused) = fail(&file, true, commit);
            assert!(matches!(refused, Error::SyncFailed { .. }), "{refused:?}");
            says(&refused, "did not happen");
            says(&refused, "Input/output error (os error 5)");
            drop(env);
            let env = file.open(options());
            assert!(env.recovery().was_poisoned);
            assert_eq!(env.read().expect("read").main().expect("main").len(), 11);
            env.write().expect("it is healed");
        }
    }

    #[test]
    fn a_sync_that_fails_after_the_meta_means_whole_or_not_at_all() {
        for commit in COMMITS {
            let file = TestFile::with_entries(10);
            let (env, refused) = fail(&file, false, commit);
            assert!(matches!(refused, Error::Indeterminate { .. }), "{refused:?}");
            says(&refused, "whole or not at all");
            drop(env);
            let env = file.open(options());
            let entries = env.read().expect("read").main().expect("main").len();
            assert!((11..=12).contains(&entries), "{entries}");
            env.write().expect("it is healed");
        }
    }
}

/// Where errors are declared, and which.
const DECLARED: [(&str, &[&str]); 3] = [
    ("mapledb/src/error.rs", &["Error"]),
    ("mapledb/src/mvcc/error.rs", &["MvccError", "AttachError"]),
    ("mapledb-format/src/error.rs", &["FormatError", "MetaFault"]),
];

/// The variants of `pub enum name` in a source.
fn variants(source: &str, name: &str) -> Vec<String> {
    let (_, body) = source.split_once(&format!("pub enum {name} {{\n")).expect("the enum");
    let (body, _) = body.split_once("\n}").expect("its end");
    let lines = body.lines().filter_map(|line| line.strip_prefix("    "));
    let names = lines.map(|line| line.chars().take_while(char::is_ascii_alphanumeric).collect::<String>());
    names.filter(|name| name.starts_with(|c: char| c.is_ascii_uppercase())).collect()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => sources(&path, found),
            false if path.extension().is_some_and(|extension| extension == "rs") => found.push(path),
            false => {}
        }
    }
}

/// What is compiled for tests alone: the folders `tests`, and of other files what follows `mod tests`.
fn tests_of(crates: &Path) -> String {
    let mut found = Vec::new();
    sources(crates, &mut found);
    let mut text = String::new();
    for path in found {
        let source = std::fs::read_to_string(&path).expect("read");
        let is_test = path.components().any(|part| part.as_os_str() == "tests") || path.ends_with("tests.rs");
        match source.split_once("mod tests {") {
            _ if is_test => text.push_str(&source),
            Some((_, tests)) => text.push_str(tests),
            None => {}
        }
    }
    text
}

/// Whether `word` stands in `text` by itself.
fn has_word(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric();
    text.match_indices(word)
        .any(|(at, _)| !text[..at].ends_with(is_part) && !text[at + word.len()..].starts_with(is_part))
}

/// A variant is taken for tested if a test names it. What it asserts of it is for who reads the test.
#[test]
fn every_variant_of_every_error_is_named_by_a_test() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the folder of all crates");
    let tests = tests_of(crates);
    for (file, names) in DECLARED {
        let source = std::fs::read_to_string(crates.join(file)).expect("read");
        for name in names {
            let variants = variants(&source, name);
            assert!(variants.len() > 5, "{name} was not understood: {variants:?}");
            let untested: Vec<_> =
                variants.iter().filter(|variant| !has_word(&tests, &format!("{name}::{variant}"))).collect();
            assert!(untested.is_empty(), "no test names these of {name}: {untested:?}");
        }
    }
}
