//! What copies leave behind: in memory, and in themselves.

mod files;

use files::{KERNEL_PAGE, TestFile, check, open, options, resident};
use mapledb::{Env, Error, Table, TreeName};
use mapledb_os::{DataFile, Seam};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

const BULK: Table<'static, u64, [u8]> = Table::new("bulk");

fn filled(file: &TestFile) -> Env {
    let env = file.open(options());
    let mut txn = env.write().expect("write");
    let mut table = txn.open_table(&BULK).expect("table");
    (0..6000u64).for_each(|key| table.put(&key, &[key as u8; 3000]).expect("put"));
    table.put(&9000, &vec![9; 3 << 20]).expect("put");
    txn.commit().expect("commit");
    env
}

#[test]
fn after_a_copy_the_hot_set_of_a_reader_is_in_memory_and_what_the_copy_dragged_in_is_not() {
    let file = TestFile::new();
    filled(&file).close().expect("close");
    for kind in ["exact", "compact", "stream"] {
        let about = DataFile::open_read_only(file.path(), Seam::unwatched()).expect("open");
        about.drop_cached(0, 0).expect("drop");
        let cold = resident(file.path()).len();
        let env = file.open(options());
        let txn = env.read().expect("read");
        let table = txn.table(&BULK).expect("table");
        for key in 1000..2000 {
            assert_eq!(table.get(&key).expect("get"), Some(&[key as u8; 3000][..]));
        }
        let hot = resident(file.path());
        let all = about.len_bytes().expect("length") / KERNEL_PAGE;
        if cold as u64 > all / 10 || hot.len() as u64 > all / 2 {
            eprintln!("SKIP copies: the file system of the temporary directory keeps files in memory");
            return;
        }
        let copy = file.dir().join(kind);
        match kind {
            "stream" => env.copy_into(&mut std::io::sink(), |_, _| true).map(drop),
            kind => env.copy_to(&copy, kind == "compact", |_, _| true).map(drop),
        }
        .expect("copy");
        let now = resident(file.path());
        let kept = hot.intersection(&now).count();
        assert!(kept * 100 >= hot.len() * 95, "{kind}: {kept} of {} hot pages are left", hot.len());
        let dragged = now.difference(&hot).count() as u64;
        assert!(dragged * 20 <= all, "{kind}: {dragged} of {all} pages stay in memory");
        if copy.exists() {
            let left = resident(&copy).len() as u64;
            assert!(left * 20 <= all, "{kind}: {left} pages of the copy stay in memory");
            check(&open(&copy, options()).expect("open the copy"));
        }
    }
}

#[test]
fn a_compact_copy_with_long_values_holds_hardly_a_free_page() {
    let mut rng = SmallRng::seed_from_u64(5);
    let file = TestFile::new();
    let env = file.open(options());
    for _ in 0..10 {
        let mut txn = env.write().expect("write");
        let mut table = txn.open_table(&BULK).expect("table");
        for _ in 0..60 {
            let len = if rng.random() { rng.random_range(5_000..600_000) } else { rng.random_range(0..500) };
            table.put(&rng.random_range(0..1000), &vec![7; len]).expect("put");
        }
        txn.commit().expect("commit");
    }
    let copy = file.dir().join("compact");
    let report = env.copy_to(&copy, true, |_, _| true).expect("copy");
    let compact = open(&copy, options()).expect("open the copy");
    check(&compact);
    let info = compact.info().expect("info");
    let free = info.available_pages + info.waiting_pages;
    assert!(report.pages > 10_000 && free <= 256, "{free} of {} pages are free", report.pages);
    let (txn, other) = (env.read().expect("read"), compact.read().expect("read"));
    let (mine, theirs) = (txn.table(&BULK).expect("table"), other.table(&BULK).expect("table"));
    assert_eq!(mine.len(), theirs.len());
    for (one, other) in mine.iter().expect("iter").zip(theirs.iter().expect("iter")) {
        assert!(one.expect("entry") == other.expect("entry"));
    }
}

#[test]
fn residency_is_told_by_table_and_level_and_branches_stay_when_locked() {
    let file = TestFile::new();
    filled(&file).close().expect("close");
    let about = DataFile::open_read_only(file.path(), Seam::unwatched()).expect("open");
    about.drop_cached(0, 0).expect("drop");
    let env = file.open(options());
    let tree = TreeName::Table(BULK.name().map(str::to_string));
    let told = |env: &Env| {
        let all = env.residency().expect("residency");
        let of =
            |level| all.iter().find(|one| one.tree == tree && one.level == level).cloned().expect("a level");
        [of(Some(0)), of(Some(1)), of(None)]
    };
    let stat = env.read().expect("read").table(&BULK).expect("table").stat();
    let [leaves, branches, runs] = told(&env);
    assert_eq!((leaves.pages, runs.pages), (stat.leaf_pages, stat.overflow_pages));
    assert!(branches.pages > 0 && branches.pages <= stat.branch_pages, "{branches:?}");
    if leaves.resident_pages > leaves.pages / 2 {
        eprintln!("SKIP residency: the file system of the temporary directory keeps files in memory");
        return;
    }
    let pages = env.warm_branches().expect("warm");
    assert!(pages >= stat.branch_pages);
    let [_, branches, _] = told(&env);
    assert_eq!(branches.resident_pages, branches.pages, "all that was warmed");
    match env.lock_branches() {
        Err(Error::Os(error)) => eprintln!("SKIP locking: {error}"),
        locked => {
            let locked = locked.expect("lock");
            assert_eq!((locked.pages(), locked.pages_wanted()), (pages, pages));
            assert!(locked.map_bytes() > 0);
            about.drop_cached(0, 0).expect("drop");
            let [_, branches, _] = told(&env);
            assert_eq!(branches.resident_pages, branches.pages, "what is locked stays");
        }
    }
}
