//! The format as committed bytes: what the code writes must be what it wrote when version 1 was fixed.
//!
//! Each file under `golden/` is a page or a record as hexadecimal text, lines of zeros left out. A difference means
//! that files made before can no longer be read, or are read as something else: then the format has a new version.
//! `MAPLE_BLESS=1` writes the files anew, for a format that no release has had yet.
#![allow(clippy::unwrap_used)]

use std::fmt::Write;
use std::path::Path;

use mapledb_format::branch::{Branch, BranchMut, Entry};
use mapledb_format::free::bitmap::Bitmap;
use mapledb_format::free::list::InlineFree;
use mapledb_format::free::record::{self, AvailableIn, ChunkNo, ChunkRecord};
use mapledb_format::leaf::{Leaf, LeafMut, NewValue, ValueField};
use mapledb_format::lockfile;
use mapledb_format::order::Bytewise;
use mapledb_format::overflow::{OVERFLOW_HEAD_BYTES, seal_run};
use mapledb_format::{
    Extent, FreedExtent, HeadBody, Identity, Kind, Manifest, Meta, OrderId, OverflowRef, PageHeader,
    PageSize, PendingGroup, Pgno, Run, RunGeometry, Slot, SnapshotRecord, TableRecord, TreeRecord, Txnid,
    header,
};

const SIZE: PageSize = PageSize::MIN;

fn pgno(number: u64) -> Pgno {
    Pgno::new(number).unwrap()
}

/// Bytes as lines of sixteen, lines of zeros left out; the last line says how many bytes there are.
fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (index, line) in bytes.chunks(16).enumerate() {
        if line.iter().any(|byte| *byte != 0) {
            let digits: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
            writeln!(text, "{:06x}  {}", index * 16, digits.join(" ")).unwrap();
        }
    }
    writeln!(text, "{:06x}", bytes.len()).unwrap();
    text
}

fn unhex(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let offset = usize::from_str_radix(words.next().unwrap(), 16).unwrap();
        bytes.resize(offset, 0);
        bytes.extend(words.map(|word| u8::from_str_radix(word, 16).unwrap()));
    }
    bytes
}

/// Compares text with a golden file, or writes it.
fn hold_text(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("MAPLE_BLESS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(golden, text, "{name} is not what it was; see the head of this file");
}

/// Compares bytes with a golden file, and answers what the file holds.
fn hold(name: &str, bytes: &[u8]) -> Vec<u8> {
    hold_text(name, &hex(bytes));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    unhex(&std::fs::read_to_string(path).unwrap())
}

#[test]
fn a_page_header_stands_as_it_did() {
    let header = PageHeader {
        count: 3,
        prefix_len: 2,
        heap_len: 0x120,
        dead: 0x18,
        ..PageHeader::new(pgno(0x0102_0304_0506), Kind::Branch, 1, Txnid(0x1112_1314_1516_1718))
    };
    let mut page = vec![0; SIZE.bytes()];
    header.store(&mut page).unwrap();
    let checksum = header::seal(&mut page);
    let golden = hold("page_header.hex", &page[..32]);
    assert_eq!(PageHeader::parse(&page).unwrap(), PageHeader { checksum, ..header });
    assert_eq!(golden, page[..32]);
}

#[test]
fn a_leaf_stands_as_it_did() {
    let mut page = vec![0; SIZE.bytes()];
    PageHeader::new(pgno(40), Kind::Leaf, 0, Txnid(7)).store(&mut page).unwrap();
    let run = OverflowRef { tag: 0xdead_beef, pgno: pgno(77), len: 100_000 };
    let pairs: [(&[u8], NewValue<'_>); 4] = [
        (b"", NewValue::Inline(b"the empty key")),
        (b"apple", NewValue::Inline(b"")),
        (b"apricot", NewValue::Overflow(run)),
        (b"pear", NewValue::Inline(b"green")),
    ];
    for (index, (key, value)) in pairs.iter().enumerate() {
        LeafMut::new(&mut page).insert_pair(Bytewise, index, key, value).unwrap();
    }
    header::seal(&mut page);
    let golden = hold("leaf.hex", &page);
    header::check_sum(&golden).unwrap();
    let leaf = Leaf::validate(Bytewise, &golden).unwrap();
    assert_eq!(leaf.key(3).unwrap(), b"pear");
    assert_eq!(leaf.value(3).unwrap(), ValueField::Inline(b"green"));
    assert_eq!(leaf.value(2).unwrap(), ValueField::Overflow(run));
}

#[test]
fn a_branch_stands_as_it_did() {
    let mut page = vec![0; SIZE.bytes()];
    PageHeader::new(pgno(41), Kind::Branch, 1, Txnid(7)).store(&mut page).unwrap();
    let entries: [(&[u8], Entry); 3] = [
        (b"", Entry { child: pgno(40), tag: 0x0102_0304, count: 12 }),
        (b"user:7", Entry { child: pgno(0xabcd_ef01_2345), tag: 1, count: 1 << 40 }),
        (b"user:70", Entry { child: pgno(42), tag: u32::MAX, count: 1 }),
    ];
    for (index, (separator, entry)) in entries.iter().enumerate() {
        BranchMut::new(&mut page).insert_child(Bytewise, index, separator, *entry).unwrap();
    }
    header::seal(&mut page);
    let golden = hold("branch.hex", &page);
    header::check_sum(&golden).unwrap();
    let branch = Branch::validate(Bytewise, &golden).unwrap();
    for (index, (separator, entry)) in entries.iter().enumerate() {
        assert_eq!((branch.key(index).unwrap(), branch.entry(index).unwrap()), (*separator, *entry));
    }
}

#[test]
fn an_overflow_run_stands_as_it_did() {
    // Two chunks: a whole one and a byte.
    let len = (64 << 10) + 1;
    let geometry = RunGeometry::of(len, SIZE).unwrap();
    let mut run = vec![0; geometry.run_bytes(SIZE) as usize];
    run[OVERFLOW_HEAD_BYTES] = 0x11;
    run[OVERFLOW_HEAD_BYTES + len as usize - 1] = 0x22;
    seal_run(&mut run, pgno(77), Txnid(5), len, SIZE).unwrap();
    let golden = hold("overflow.hex", &run);
    let run = Run::open(&golden, SIZE).unwrap();
    run.check_all().unwrap();
    assert_eq!((run.head().len, run.head().pages), (len, 17));
}

fn head() -> HeadBody {
    let tree = |root, entries| TreeRecord {
        root: pgno(root),
        depth: 1,
        root_tag: 0x0a0b_0c0d,
        entries,
        leaf_pages: 1,
        ..TreeRecord::empty(OrderId::Bytewise)
    };
    let mut head = HeadBody::empty(Txnid(12), pgno(90));
    head.base_txnid = Txnid(11);
    head.default_table = tree(40, 4);
    head.default_sequence = 9;
    head.catalog = tree(41, 1);
    head.free = tree(42, 2);
    head.committed_at = 1_700_000_000_000_000_000;
    head.pages_in_use = 21;
    head.pages_available = 33;
    let inline = InlineFree {
        available: vec![Extent::new(pgno(50), 2), Extent::new(pgno(60), 1)],
        pending: vec![
            PendingGroup {
                blocker: Txnid(11),
                freed: Txnid(12),
                extents: vec![FreedExtent { extent: Extent::new(pgno(70), 3), born: Txnid(8) }],
            }
            .pack(),
        ],
    };
    head.set_inline_free(&inline.encode()).unwrap();
    head
}

#[test]
fn a_meta_stands_as_it_did() {
    let meta = Meta {
        slot: Slot::B,
        page_size: SIZE,
        compatible: 0,
        read_only_compatible: 0,
        incompatible: 0,
        identity: Identity(*b"an identity of16"),
        head: head(),
        manifest: Manifest::build([
            (Extent::new(pgno(40), 1), 0x0102_0304_0506_0708),
            (Extent::new(pgno(42), 17), 9),
        ])
        .unwrap(),
    };
    let golden = hold("meta.hex", &meta.encode());
    assert_eq!(Meta::decode(&golden, Slot::B).unwrap(), meta);
}

#[test]
fn records_of_tables_and_free_space_stand_as_they_did() {
    let mut table = TableRecord::new(head().default_table);
    table.sequence = 5;
    table.set_attribute(1, b"str").unwrap();
    table.set_attribute(2, b"u64").unwrap();
    let golden = hold("table_record.hex", &table.encode());
    assert_eq!(TableRecord::decode(&golden).unwrap(), table);

    let snapshot = SnapshotRecord {
        txnid: Txnid(0x0107),
        dropped_in: Some(Txnid(0x0109)),
        pages_used: pgno(0x0203),
        default_table: head().default_table,
        default_sequence: 9,
        catalog: head().catalog,
        created_at: 0x0301,
    };
    let golden = hold("snapshot_record.hex", &snapshot.encode());
    assert_eq!(SnapshotRecord::decode(&golden).unwrap(), snapshot);

    let group = PendingGroup {
        blocker: Txnid(0x0102),
        freed: Txnid(0x0105),
        extents: vec![
            FreedExtent { extent: Extent::new(pgno(1000), 4), born: Txnid(0x0100) },
            FreedExtent { extent: Extent::new(pgno(70_000), 1), born: Txnid(0x0102) },
        ],
    };
    let (key, list) = record::encode_pending(&group).unwrap();
    let chunk = ChunkNo::new(3).unwrap();
    let mut bitmap = Bitmap::EMPTY;
    assert!(bitmap.set_range(5..9) && bitmap.set_range(1000..1024));
    let some = ChunkRecord { available: AvailableIn::Bitmap(bitmap), punched: false };
    let whole = ChunkRecord { available: AvailableIn::Chunks(6), punched: true };
    let text = [
        ("pending key", &key[..]),
        ("pending list", &list),
        ("chunk key", &record::chunk_key(chunk)),
        ("chunk, a bitmap", &some.encode()),
        ("chunk, six whole ones without blocks", &whole.encode()),
        ("longest key", &record::longest_key(24, chunk)),
    ]
    .map(|(name, bytes)| format!("{name}\n{}", hex(bytes)))
    .concat();
    hold_text("free_records.txt", &text);
}

#[test]
fn the_lock_files_layout_stands_as_it_did() {
    let words =
        lockfile::HeadRecord { seq: 9, body: head(), durable_txnid: Txnid(11), durable_checksum: 5 }.encode();
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let golden = hold("lock_head_record.hex", &bytes);
    let (words, _) = golden.as_chunks::<8>();
    let words = std::array::from_fn(|at| u64::from_le_bytes(words[at]));
    assert_eq!(lockfile::HeadRecord::decode(&words).unwrap().body, head());

    let places = [
        ("version", lockfile::VERSION_AT),
        ("state", lockfile::STATE_AT),
        ("identity", lockfile::IDENTITY_AT),
        ("dev", lockfile::DEV_AT),
        ("ino", lockfile::INO_AT),
        ("boot id", lockfile::BOOT_ID_AT),
        ("published seq", lockfile::PUBLISHED_SEQ_AT),
        ("head seq", lockfile::HEAD_SEQ_AT),
        ("writer word", lockfile::WRITER_WORD_AT),
        ("next ticket", lockfile::NEXT_TICKET_AT),
        ("last txnid", lockfile::LAST_TXNID_AT),
        ("durable txnid", lockfile::DURABLE_TXNID_AT),
        ("meta txnids", lockfile::META_TXNID_AT),
        ("durable meta checksum", lockfile::DURABLE_CHECKSUM_AT),
        ("poisoned", lockfile::POISONED_AT),
        ("wake word", lockfile::WAKE_WORD_AT),
        ("wake waiters", lockfile::WAKE_WAITERS_AT),
        ("blocks", lockfile::BLOCKS_LEN_AT),
        ("sync word", lockfile::SYNC_WORD_AT),
        ("flight txnid", lockfile::FLIGHT_TXNID_AT),
        ("counters", lockfile::COUNTERS_AT),
        ("ring", lockfile::RING_AT),
        ("head record bytes", lockfile::RECORD_BYTES),
        ("head records", lockfile::RING_LEN),
        ("process blocks", lockfile::BLOCKS_AT),
        ("process block bytes", lockfile::BLOCK_BYTES),
        ("reader slots in a block", lockfile::BLOCK_SLOTS_AT),
        ("reader slots of a block", lockfile::BLOCK_SLOTS),
        ("reader slot bytes", lockfile::SLOT_BYTES),
        ("most blocks", lockfile::BLOCKS_MAX),
        ("ticket in a block", lockfile::BLOCK_TICKET_AT),
        ("turn in a block", lockfile::BLOCK_TURN_AT),
        ("waiting in a block", lockfile::BLOCK_WAITING_AT),
    ];
    let text: String = places.iter().map(|(name, place)| format!("{place:>6}  {name}\n")).collect();
    hold_text("lock_places.txt", &format!("layout version {}\n{text}", lockfile::LOCK_VERSION));
}
