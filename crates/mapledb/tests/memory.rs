//! What scans, advice and images do to memory, as the kernel tells it: `mincore` and `/proc/self/smaps`.

mod files;

use std::os::unix::fs::FileExt;

use files::{KERNEL_PAGE, TestFile, check, open, options, resident};
use mapledb::{
    Access, Env, HugePageState, ImageMemory, KeyOrder, MapAdvice, Multimap, NamedOrder, Options, ScanAdvice,
    Table,
};
use mapledb_os::{DataFile, Seam};

const BULK: Table<'static, u64, [u8]> = Table::new("bulk");
const SETS: Multimap<'static, u64, u64> = Multimap::new("sets");

/// Makes a file of 24 MiB whose table lies in its order, and closes it.
fn fill(file: &TestFile) {
    let env = file.open(options());
    let mut txn = env.write().expect("write");
    let value = [7; 1000];
    let mut bulk = txn.open_table(&BULK).expect("table");
    (0..18_000).for_each(|key| bulk.append(&key, &value).expect("append"));
    bulk.put(&20_000, &vec![9; 3 << 20]).expect("put");
    let mut sets = txn.open_multimap(&SETS).expect("multimap");
    (0..5000).for_each(|n| assert!(sets.insert(&(n % 3), &n).expect("insert")));
    txn.commit().expect("commit");
    env.close().expect("close");
}

/// Drops what is cached of the file and opens it; `None` where the file system keeps files in memory.
fn cold(file: &TestFile, options: Options) -> Option<Env> {
    let about = DataFile::open_read_only(file.path(), Seam::unwatched()).expect("open");
    about.drop_cached(0, 0).expect("drop");
    let left = resident(file.path()).len() as u64;
    if left > about.len_bytes().expect("length") / KERNEL_PAGE / 10 {
        eprintln!("SKIP memory: the file system of the temporary directory keeps files in memory");
        return None;
    }
    Some(file.open(options))
}

#[test]
fn a_scan_that_releases_leaves_in_memory_what_was_there_and_nothing_else() {
    let file = TestFile::new();
    fill(&file);
    for advice in [ScanAdvice::new().release(), ScanAdvice::new().release().sequential()] {
        for backwards in [false, true] {
            let Some(env) = cold(&file, options()) else { return };
            let txn = env.read().expect("read");
            let table = txn.table(&BULK).expect("table");
            (3000..5000).for_each(|key| assert!(table.get(&key).expect("get").is_some()));
            let hot = resident(file.path());
            {
                let scan = txn.scan(advice);
                let table = scan.table(&BULK).expect("table");
                let entries = table.iter().expect("iter");
                let sum = |sum: u64, len: usize| sum + len as u64;
                let lens = |entry: mapledb::Result<(u64, &[u8])>| entry.expect("entry").1.len();
                let total = if backwards {
                    entries.rev().map(lens).fold(0, sum)
                } else {
                    entries.map(lens).fold(0, sum)
                };
                assert_eq!(total, 18_000 * 1000 + (3 << 20));
                let seen = scan.multimap(&SETS).expect("multimap").iter().expect("iter").count();
                assert_eq!(seen, 5000);
                assert_eq!(scan.main().expect("main").len(), 0);
            }
            let now = resident(file.path());
            let kept = hot.intersection(&now).count();
            assert!(kept * 100 >= hot.len() * 95, "{advice:?}: {kept} of {} hot pages are left", hot.len());
            let dragged = now.difference(&hot).count();
            assert!(dragged * 100 <= 6000, "{advice:?}: {dragged} pages stay in memory");
        }
    }
    let env = file.open(options());
    check(&env);
}

#[test]
fn a_sequential_scan_reads_a_stretch_ahead_and_an_ordinary_one_what_it_comes_to() {
    let file = TestFile::new();
    fill(&file);
    let after_the_first = |advice: ScanAdvice| {
        let env = cold(&file, options())?;
        let before = resident(file.path()).len();
        let txn = env.read().expect("read");
        let scan = txn.scan(advice);
        let table = scan.table(&BULK).expect("table");
        let mut entries = table.iter().expect("iter");
        entries.next().expect("one").expect("entry");
        // What was asked for comes in meanwhile.
        std::thread::sleep(std::time::Duration::from_millis(300));
        let ahead = resident(file.path()).len() - before;
        assert_eq!(entries.count(), 18_000);
        let all = resident(file.path()).len();
        assert!(all > 5000, "without release all that was read stays: {all}");
        drop(txn.clone());
        Some(ahead)
    };
    let Some(plain) = after_the_first(ScanAdvice::new()) else { return };
    let Some(ahead) = after_the_first(ScanAdvice::new().sequential()) else { return };
    assert!(plain < 32, "{plain} pages for one entry");
    assert!(ahead >= 256, "{ahead} pages for one entry of a sequential scan");
    check(&file.open(options()));
}

#[test]
fn advice_to_the_environment_decides_how_much_one_read_drags_in() {
    let file = TestFile::new();
    fill(&file);
    let pages_of_one_read = |advice: MapAdvice| {
        let env = cold(&file, options().advice(advice))?;
        let txn = env.read().expect("read");
        let table = txn.table(&BULK).expect("table");
        let before = resident(file.path()).len();
        table.get(&9000).expect("get").expect("it is there");
        drop(txn);
        Some(resident(file.path()).len() - before)
    };
    let Some(random) = pages_of_one_read(MapAdvice::Random) else { return };
    let Some(normal) = pages_of_one_read(MapAdvice::Normal) else { return };
    assert!(random <= 4, "{random} pages under random advice");
    assert!(normal > 4 * random.max(1), "{normal} pages under none, {random} under random advice");
    check(&file.open(options()));
}

#[test]
fn huge_pages_are_told_as_the_kernel_maps_them() {
    let file = TestFile::new();
    fill(&file);
    let Some(env) = cold(&file, options().access(Access::Frozen)) else { return };
    check(&env);
    let plain = env.huge_pages().expect("facts");
    assert!(plain.mapped_bytes > 20 << 20, "{plain:?}");
    assert!(plain.state == HugePageState::NotAdvised || plain.huge_bytes > 0, "{plain:?}");
    env.close().expect("close");
    let Some(env) = cold(&file, options().access(Access::Frozen).advice(MapAdvice::HugePage)) else { return };
    check(&env);
    let huge = env.huge_pages().expect("facts");
    assert!(huge.mapped_bytes > 20 << 20 && huge.huge_bytes <= huge.mapped_bytes, "{huge:?}");
    assert_eq!(huge.state == HugePageState::Mapped, huge.huge_bytes > 0, "{huge:?}");
    assert_eq!(huge.huge_bytes % (2 << 20), 0, "{huge:?}");
    match huge.state {
        HugePageState::Mapped => assert!(huge.huge_bytes >= 16 << 20, "{huge:?}"),
        state => eprintln!("SKIP huge pages of a file: {state:?} by this file system or kernel"),
    }
}

/// By length, then by bytes.
struct ByLength;

impl NamedOrder for ByLength {
    const NAME: &'static str = "by-length/1";

    fn compare(a: &[u8], b: &[u8]) -> std::cmp::Ordering {
        a.len().cmp(&b.len()).then_with(|| a.cmp(b))
    }
}

#[test]
fn an_image_is_the_snapshot_in_memory_of_its_own_and_reads_as_any_frozen_environment() {
    let file = TestFile::new();
    fill(&file);
    let env = file.open(options().order(KeyOrder::named::<ByLength>()));
    env.create_snapshot("before").expect("snapshot");
    let mut txn = env.write().expect("write");
    let words = Table::<[u8], [u8]>::new("words").in_order(KeyOrder::named::<ByLength>());
    txn.open_table(&words).expect("table").put(b"maple", b"tree").expect("put");
    txn.table(&BULK).expect("table").delete(&77).expect("delete");
    txn.commit().expect("commit");

    let mut told = Vec::new();
    let image = env.image(|done, total| {
        told.push((done, total));
        true
    });
    let image = image.expect("image");
    assert_eq!(told[0].0, 0);
    assert!(told.windows(2).all(|pair| pair[0].0 <= pair[1].0), "{told:?}");
    assert_eq!(told.last().map(|(done, total)| done == total), Some(true));
    assert_eq!(image.txnid, env.read().expect("read").txnid());
    assert!(image.bytes >= 20 << 20 && image.huge_bytes <= image.bytes, "{image:?}");
    match image.memory {
        ImageMemory::Plain => assert_eq!(image.huge_bytes, 0),
        _ => assert!(image.huge_bytes >= 16 << 20, "{image:?}"),
    }
    eprintln!("an image of {} bytes is {:?}, {} of them huge", image.bytes, image.memory, image.huge_bytes);

    // The file goes on, and the image does not.
    let mut txn = env.write().expect("write");
    txn.table(&BULK).expect("table").clear().expect("clear");
    txn.commit().expect("commit");
    let image = image.env;
    assert!(matches!(image.write(), Err(mapledb::Error::ReadOnly)));
    let txn = image.read().expect("read");
    let table = txn.table(&BULK).expect("table");
    assert_eq!((table.len(), table.get(&77).expect("get")), (18_000, None));
    assert_eq!(table.get(&78).expect("get").map(<[u8]>::len), Some(1000));
    assert_eq!(txn.multimap(&SETS).expect("multimap").len(), 5000);
    assert_eq!(
        txn.table(&Table::untyped("words")).expect("words").get(b"maple").expect("get"),
        Some(&b"tree"[..])
    );
    let before = image.read_snapshot("before").expect("snapshot");
    assert!(before.table(&BULK).expect("table").get(&77).expect("get").is_some());
    let other = txn.clone();
    std::thread::spawn(move || {
        assert_eq!(other.table(&BULK).expect("table").iter().expect("iter").count(), 18_000)
    })
    .join()
    .expect("no panic");
    drop((txn, before));
    check(&image);
    // A copy of it is a database.
    let copy = file.dir().join("copy");
    image.copy_to(&copy, false, |_, _| true).expect("copy");
    check(&open(&copy, options().order(KeyOrder::named::<ByLength>())).expect("open the copy"));
    // An image of an image is another one.
    let second = image.image(|_, _| true).expect("a second image");
    image.close().expect("close");
    check(&second.env);
    check(&env);
}

#[test]
fn an_image_that_is_given_up_or_of_a_damaged_file_is_an_error() {
    let file = TestFile::new();
    fill(&file);
    let env = file.open(options());
    assert!(matches!(env.image(|_, _| false), Err(mapledb::Error::Interrupted)));
    let mut calls = 0;
    let given_up = env.image(|_, _| {
        calls += 1;
        calls < 3
    });
    assert!(matches!(given_up, Err(mapledb::Error::Interrupted)));
    check(&env);
    env.close().expect("close");
    let bytes = std::fs::OpenOptions::new().write(true).open(file.path()).expect("open");
    let middle = bytes.metadata().expect("length").len() / 3;
    bytes.write_all_at(&[0xAA; 16 << 10], middle).expect("damage");
    let damaged = file.open(options());
    assert!(matches!(damaged.image(|_, _| true), Err(mapledb::Error::Corrupt { .. })));
    file.give_up();
}
