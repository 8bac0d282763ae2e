//! Files of formats 2 and 3, read without LMDB. How they were made is said in the tests of LMDB 1.0.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use mapledb_lmdb::{Error, Fault, LmdbFile};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

#[test]
fn all_databases_are_found_with_their_flags_and_records() {
    for name in ["format-2.mdb", "format-3.mdb"] {
        let file = LmdbFile::open(golden(name)).unwrap();
        let databases = file.databases().unwrap();
        let seen: Vec<_> =
            databases.iter().map(|db| (db.to_string(), db.flags().to_string(), db.entries())).collect();
        let expected = [
            ("the main database", "none", 1),
            ("database \"duplicates\"", "dupsort", 306),
            ("database \"fixed\"", "dupsort,dupfixed", 1505),
            ("database \"plain\"", "none", 101),
        ];
        assert_eq!(seen, expected.map(|(name, flags, entries)| (name.to_owned(), flags.to_owned(), entries)));
        let records: Vec<_> = file.records(&databases[2]).map(Result::unwrap).collect();
        assert_eq!(records[4], (b"few".to_vec(), vec![0, 0, 0, 4]));
        assert_eq!(records[1504], (b"many".to_vec(), 1499u32.to_be_bytes().to_vec()));
        let long = file.records(&databases[3]).map(Result::unwrap).find(|(key, _)| key == b"long").unwrap();
        assert_eq!(long.1, vec![b'x'; 5000]);
    }
}

/// One bit after the other of everything but the values, in a small file: whatever is read ends.
#[test]
fn no_single_bit_leads_astray() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("damaged.mdb");
    let bytes = std::fs::read(golden("format-3.mdb")).unwrap();
    let mut found = 0;
    for page in 0..bytes.len() / 4096 {
        for at in (0..200).step_by(3) {
            let mut damaged = bytes.clone();
            damaged[page * 4096 + at] ^= 1 << (at % 8);
            std::fs::write(&path, damaged).unwrap();
            found += usize::from(read_all(&path).is_err());
        }
    }
    // Half of the pages are free, and most of the bytes are values.
    assert!(found > 100, "{found}");
}

fn read_all(path: &Path) -> mapledb_lmdb::Result<()> {
    let file = LmdbFile::open(path)?;
    for database in file.databases()? {
        file.records(&database).try_for_each(|record| record.map(drop))?;
    }
    Ok(())
}

/// A file of which bytes were overwritten.
fn read_with(changes: &[(usize, &[u8])]) -> mapledb_lmdb::Result<()> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("damaged.mdb");
    let mut bytes = std::fs::read(golden("format-3.mdb")).unwrap();
    for (at, new) in changes {
        bytes[*at..*at + new.len()].copy_from_slice(new);
    }
    std::fs::write(&path, bytes).unwrap();
    read_all(&path)
}

#[test]
fn each_fault_is_told_with_its_page() {
    let bytes = std::fs::read(golden("format-3.mdb")).unwrap();
    let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let u16_at = |at: usize| usize::from(u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap()));
    // The meta in force: the tree of the main database begins 72 bytes behind the page header.
    let meta = if u64_at(24 + 128) > u64_at(4096 + 24 + 128) { 24 } else { 4096 + 24 };
    let main = meta + 72;
    let root = u64_at(main + 40);
    let page = root as usize * 4096;
    let first_node = page + 24 + u16_at(page + 24);
    let second_node = page + 24 + u16_at(page + 26);
    let tree_of = |node: usize| node + 8 + u16_at(node + 6).next_multiple_of(2);
    // The first is "duplicates": its page begins with "few", whose values lie on a page inside the node.
    let duplicates = u64_at(tree_of(first_node) + 40) as usize * 4096;
    let few = duplicates + 24 + u16_at(duplicates + 24);
    let inside = tree_of(few);
    let long = (2..bytes.len() / 4096)
        .find(|page| {
            bytes[page * 4096..].starts_with(&(*page as u64).to_le_bytes()) && bytes[page * 4096 + 18] == 4
        })
        .unwrap();
    type Case<'a> = (&'a str, Vec<(usize, Vec<u8>)>, u64, fn(Fault) -> bool);
    let dup = (duplicates / 4096) as u64;
    let cases: [Case; 17] = [
        ("no meta", vec![(4096 + 18, vec![0, 0])], 1, |f| f == Fault::NoMeta),
        ("page size", vec![(24 + 24, vec![1, 2, 3, 0])], 0, |f| f == Fault::PageSize(0x30201)),
        ("page sizes", vec![(4096 + 24 + 24, vec![0, 32, 0, 0])], 1, |f| f == Fault::PageSizes(8192)),
        ("outside", vec![(main + 40, vec![99])], 99, |f| matches!(f, Fault::Outside { .. })),
        ("a meta as root", vec![(main + 40, vec![1])], 1, |f| matches!(f, Fault::Outside { .. })),
        ("misplaced", vec![(page, vec![77])], root, |f| f == Fault::Misplaced(77)),
        ("kind", vec![(page + 18, vec![4])], root, |f| matches!(f, Fault::Kind { flags: 4, .. })),
        ("bounds", vec![(page + 20, vec![1])], root, |f| matches!(f, Fault::Bounds { lower: 1, .. })),
        ("empty", vec![(page + 20, vec![0, 0])], root, |f| f == Fault::Empty),
        ("node", vec![(page + 24, vec![0xff, 0xff])], root, |f| f == Fault::Node(0)),
        ("node flags", vec![(first_node + 4, vec![0x40])], root, |f| {
            f == Fault::NodeFlags { index: 0, flags: 0x40 }
        }),
        ("tree record", vec![(first_node, vec![47])], root, |f| f == Fault::TreeRecord { index: 0, len: 47 }),
        ("tree flags", vec![(tree_of(first_node) + 5, vec![1])], root, |f| f == Fault::TreeFlags(0x104)),
        ("depth", vec![(main + 6, vec![2])], root, |f| f == Fault::Depth(2)),
        ("order", vec![(second_node + 8, b"a".to_vec())], root, |f| f == Fault::Order(1)),
        ("entries", vec![(tree_of(first_node) + 32, vec![7, 0])], dup, |f| {
            f == Fault::Entries { found: 8, recorded: 7 }
        }),
        ("size inside", vec![(inside + 18, vec![0x62])], dup, |f| {
            matches!(f, Fault::DuplicateSize(_) | Fault::Bounds { .. })
        }),
    ];
    for (name, changes, at, is_it) in cases {
        let changes: Vec<_> = changes.iter().map(|(at, new)| (*at, &new[..])).collect();
        match read_with(&changes) {
            Err(Error::Damaged { page, fault, .. }) => {
                assert!(page == at && is_it(fault), "{name}: page {page}, not {at}: {fault:?}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    // A cycle: the first child of a branch is the branch itself.
    let branch = (2..bytes.len() / 4096).find(|&page| bytes[page * 4096 + 18] == 1).unwrap() * 4096;
    let node = branch + 24 + u16_at(branch + 24);
    let other = branch + 24 + u16_at(branch + 26);
    let itself = ((branch / 4096) as u64).to_le_bytes();
    assert!(matches!(
        read_with(&[(node, &itself[..6])]),
        Err(Error::Damaged { fault: Fault::ReachedTwice, .. })
    ));
    let sibling = bytes[other..other + 6].to_vec();
    assert!(matches!(
        read_with(&[(node, &sibling)]),
        Err(Error::Damaged { fault: Fault::ReachedTwice | Fault::Order(_), .. })
    ));
    // A long value of which pages are missing, by its own count.
    let pages = long * 4096 + 20;
    assert!(matches!(
        read_with(&[(pages, &[1])]),
        Err(Error::Damaged { fault: Fault::Overflow { len: 5000, pages: 1 }, .. })
    ));
}
