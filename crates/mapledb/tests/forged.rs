//! Files in which references lead where an honest one never would: each is an error, and nothing is changed by it.

mod files;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::mpsc;
use std::time::Duration;

use files::{TestFile, open, options};
use mapledb::{Env, Error, Result, ScanAdvice, Table};
use mapledb_format::branch::{Branch, BranchMut, Entry};
use mapledb_format::leaf::{Leaf, ValueField};
use mapledb_format::overflow::OVERFLOW_HEAD_BYTES;
use mapledb_format::{Manifest, Meta, OverflowRef, Pgno, Slot, header, ids};

const OTHER: Table<'static, [u8], [u8]> = Table::untyped("other");

/// Changes the root of the default table, and has the newest meta vouch for it.
fn forge_root(file: &TestFile, change: impl FnOnce(&mut [u8])) {
    let handle = File::options().read(true).write(true).open(file.path()).expect("open");
    let metas = [Slot::A, Slot::B].map(|slot| {
        let mut bytes = [0; ids::META_BYTES];
        handle.read_exact_at(&mut bytes, slot.offset()).expect("read");
        Meta::decode(&bytes, slot).expect("a whole meta")
    });
    let mut meta = metas.into_iter().max_by_key(|meta| meta.head.txnid).expect("two metas");
    let offset = meta.head.default_table.root.offset(meta.page_size);
    let mut page = vec![0; 4096];
    handle.read_exact_at(&mut page, offset).expect("read");
    change(&mut page);
    meta.head.default_table.root_tag = header::tag(header::seal(&mut page));
    meta.manifest = Manifest::empty();
    handle.write_all_at(&page, offset).expect("write");
    handle.write_all_at(&meta.encode(), meta.slot.offset()).expect("write");
}

/// Loads another table, puts a value there that has the bytes of a page where a page begins, and one into the default table.
fn load_and_put(env: &Env, crafted: &[u8]) -> Result<()> {
    let mut txn = env.write()?;
    let mut other = txn.open_table(&OTHER)?;
    other.load_sorted((0..400u32).map(|n| Ok((n.to_be_bytes(), [1u8; 100]))))?;
    let mut large = vec![0xaa; 3 * 4096];
    let second_page = 4096 - OVERFLOW_HEAD_BYTES;
    large[second_page..second_page + 4096].copy_from_slice(crafted);
    other.put(b"zzz", &large)?;
    txn.main().put(&0u64.to_be_bytes(), b"mine")?;
    assert!(
        txn.open_table(&OTHER)?.get(b"zzz")? == Some(&large[..]),
        "a put to one table has changed another's value"
    );
    txn.commit().map(drop)
}

#[test]
fn a_reference_to_a_page_that_a_load_has_just_been_given_is_not_followed() {
    // An empty leaf by its kind, and nothing else about it is right.
    let mut crafted = vec![0; 4096];
    crafted[8..14].copy_from_slice(&[9; 6]);
    crafted[14] = 1;
    let file = TestFile::with_entries(3000);
    let copy = file.dir().join("copy.maple");
    std::fs::copy(file.path(), &copy).expect("copied");
    let dry_run = open(&copy, options()).expect("open");
    load_and_put(&dry_run, &crafted).expect("the copy is sound");
    dry_run.close().expect("close");
    let bytes = std::fs::read(&copy).expect("read");
    let at = bytes.chunks(4096).position(|page| page == crafted).expect("it lies there as a page") as u64;
    forge_root(&file, |page| {
        let entry = Branch::view(page).and_then(|node| node.entry(0)).expect("a branch");
        let forged = Entry { child: Pgno::new(at).expect("a number"), ..entry };
        BranchMut::new(page).set_entry(0, forged).expect("set");
    });
    let refused =
        load_and_put(&file.open(options()), &crafted).expect_err("it leads to what is not there yet");
    assert!(matches!(refused, Error::Corrupt { .. }), "{refused:?}");
    file.give_up();
}

/// Fails if `act` takes long.
fn in_time(what: &'static str, act: impl FnOnce() + Send + 'static) {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        act();
        // Nobody listens any more if it took too long.
        let _ = tell.send(());
    });
    told.recv_timeout(Duration::from_secs(20)).unwrap_or_else(|_| panic!("{what} does not end, or fails"));
}

#[test]
fn a_length_that_no_file_has_room_for_is_an_error_to_every_kind_of_read() {
    let file = TestFile::new();
    let env = file.open(options());
    let mut txn = env.write().expect("write");
    txn.main().put(b"large", &[1; 10_000]).expect("put");
    txn.commit().expect("commit");
    env.close().expect("close");
    forge_root(&file, |page| {
        let Ok(ValueField::Overflow(run)) = Leaf::view(page).and_then(|leaf| leaf.value(0)) else {
            panic!("a value of several pages")
        };
        let there = run.encode();
        let at = page.windows(there.len()).position(|bytes| bytes == there).expect("the reference");
        page[at..at + there.len()].copy_from_slice(&OverflowRef { len: 1 << 62, ..run }.encode());
    });
    let env = file.open(options());
    let copy = file.dir().join("copy.maple");
    in_time("a read", move || {
        let txn = env.read().expect("read");
        assert!(txn.main().expect("main").get(b"large").is_err());
        for advice in [ScanAdvice::new().release(), ScanAdvice::new().sequential()] {
            assert!(txn.scan(advice).main().expect("main").get(b"large").is_err());
        }
        assert!(env.copy_to(&copy, true, |_, _| true).is_err());
    });
    file.give_up();
}
