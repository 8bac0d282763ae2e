//! A small real file, byte by byte: `docs/format.md` shows it, and this holds the two together.
//!
//! Identity and time are made the same every time; everything else follows from the calls. `MAPLE_BLESS=1` writes the
//! dump in the document anew.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used)]

use std::fmt::Write;
use std::path::{Path, PathBuf};

use mapledb::{Access, Env, Table};
use mapledb_format::leaf::{Leaf, ValueField};
use mapledb_format::{Identity, Kind, Meta, PageHeader, Pgno, Run, Slot, TableRecord, TreeRecord, lockfile};

const BLOBS: Table<'static, u64, [u8]> = Table::new("blobs");
const BEGIN: &str = "<!-- the dump begins -->\n";
const END: &str = "<!-- the dump ends -->\n";

/// A file of two commits and four entries, made as a user makes one.
fn small_file(dir: &Path) -> PathBuf {
    let path = dir.join("small.maple");
    // SAFETY: nothing but MapleDB writes to the file.
    #[allow(unsafe_code)]
    let env = unsafe { Env::options().access(Access::Exclusive).create(&path) }.unwrap();
    let mut txn = env.write().unwrap();
    txn.main().put(b"apple", b"red").unwrap();
    txn.main().put(b"apricot", b"orange").unwrap();
    txn.open_table(&BLOBS).unwrap().put(&1, &[0xab; 5000]).unwrap();
    txn.commit().unwrap();
    let mut txn = env.write().unwrap();
    txn.main().put(b"banana", b"yellow").unwrap();
    txn.commit().unwrap();
    let report = env.check(|_| {}).unwrap();
    assert!(report.is_clean(), "{:?}", report.problems);
    env.close().unwrap();
    path
}

/// The metas with an identity and times that are always the same.
fn settle(file: &mut [u8]) -> [Meta; 2] {
    [Slot::A, Slot::B].map(|slot| {
        let place = slot.offset() as usize..slot.offset() as usize + 4096;
        let mut meta = Meta::decode(&file[place.clone()], slot).unwrap();
        meta.identity = Identity(*b"0123456789abcdef");
        if meta.head.committed_at != 0 {
            meta.head.committed_at = 1_700_000_000_000_000_000;
        }
        file[place].copy_from_slice(&meta.encode());
        meta
    })
}

/// Lines of offset, bytes and meaning.
struct Dump<'f> {
    file: &'f [u8],
    text: String,
}

impl Dump<'_> {
    fn title(&mut self, what: &str) {
        writeln!(self.text, "\n{what}").unwrap();
    }

    /// One field: at most eight bytes are shown, and how many there are.
    fn field(&mut self, at: usize, len: usize, meaning: &str) {
        let bytes = &self.file[at..at + len];
        let shown: Vec<String> = bytes.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let more = if len > 8 { format!("… {len} bytes") } else { String::new() };
        writeln!(self.text, "{at:>7}  {:<23} {more:<13}{meaning}", shown.join(" ")).unwrap();
    }

    fn meta(&mut self, slot: Slot, meta: &Meta) {
        let at = slot.offset() as usize;
        self.title(&format!("meta {slot}, at byte {at}"));
        self.field(at, 8, "magic \"MapleDB\\n\"");
        self.field(at + 8, 8, "checksum of what follows");
        self.field(at + 16, 4, "version 1");
        self.field(at + 20, 4, "page_shift, slot, tail_len, reserved");
        self.field(at + 24, 12, "flags: compatible, read-only-compatible, incompatible");
        self.field(at + 40, 16, "identity");
        self.field(at + 56, 8, &format!("txnid {}", meta.head.txnid));
        self.field(at + 64, 8, &format!("base_txnid {}", meta.head.base_txnid));
        self.field(at + 72, 8, &format!("pages_used {}", meta.head.pages_used));
        self.tree(at + 80, "default table", &meta.head.default_table);
        self.field(at + 144, 8, "default table's sequence");
        self.tree(at + 152, "catalog", &meta.head.catalog);
        self.tree(at + 216, "free space", &meta.head.free);
        self.tree(at + 280, "snapshots", &meta.head.snapshots);
        self.field(at + 344, 8, "committed_at");
        self.field(at + 352, 2, "free_len");
        self.field(at + 360, 8, &format!("pages_in_use {}", meta.head.pages_in_use));
        self.field(at + 368, 8, &format!("snapshots_in {}", meta.head.snapshots_in));
        self.field(at + 376, 8, &format!("pages_available {}", meta.head.pages_available));
        self.field(at + 512, meta.head.inline_free().len().max(8), "inline free area");
        self.field(at + 1792, 2, "manifest_len");
        self.field(at + 1796, 4, &format!("manifest_pages {}", meta.manifest.pages));
        self.field(at + 1800, 8, "manifest digest");
        let extents = meta.manifest.extents(meta.bounds()).unwrap();
        let named: Vec<String> =
            extents.iter().map(|extent| format!("{} from {}", extent.pages, extent.first)).collect();
        self.field(at + 1808, 8, &format!("manifest extents: [{}]", named.join(", ")));
    }

    fn tree(&mut self, at: usize, name: &str, tree: &TreeRecord) {
        self.field(
            at,
            64,
            &format!("{name}: root {}, depth {}, {} entries", tree.root, tree.depth, tree.entries),
        );
    }

    fn header(&mut self, at: usize, header: &PageHeader) {
        self.field(at, 8, "checksum");
        self.field(at + 8, 6, &format!("pgno {}", header.pgno));
        self.field(at + 14, 2, &format!("kind {:?}, level {}", header.kind, header.level).to_lowercase());
        self.field(at + 16, 8, &format!("txnid {}", header.txnid));
    }

    fn leaf(&mut self, at: usize, header: &PageHeader, what: &str) {
        self.title(&format!("page {}, {what}", header.pgno));
        self.header(at, header);
        self.field(at + 24, 2, &format!("count {}", header.count));
        self.field(at + 26, 2, &format!("prefix_len {}", header.prefix_len));
        self.field(at + 28, 4, &format!("heap_len {}, dead {}", header.heap_len, header.dead));
        let leaf = Leaf::view(&self.file[at..at + 4096]).unwrap();
        let mut cells = Vec::new();
        for index in 0..leaf.len() {
            let slot = leaf.slot(index).unwrap();
            let key = leaf.key(index).unwrap();
            self.field(at + 32 + 8 * index, 8, &format!("slot {index}: head, offset {}, field", slot.offset));
            let value_len = usize::from(slot.field & 0x7fff);
            let value = match leaf.value(index).unwrap() {
                ValueField::Inline(value) => match TableRecord::decode(value) {
                    Ok(table) => {
                        format!("table record: root {}, {} entries", table.tree.root, table.tree.entries)
                    }
                    Err(_) => format!("value {:?}", String::from_utf8_lossy(value)),
                },
                ValueField::Overflow(run) => format!("reference: run at {}, {} bytes", run.pgno, run.len),
                ValueField::Duplicates(_) => panic!("there is no multimap in so small a file"),
            };
            let key_at = at + usize::from(slot.offset) + value_len;
            let key = if key.is_ascii() && key.iter().all(u8::is_ascii_graphic) {
                format!("key {:?}", String::from_utf8_lossy(key))
            } else {
                format!("key {key:02x?}")
            };
            cells.push((
                at + usize::from(slot.offset),
                value_len,
                value,
                key_at,
                2 + leaf.key(index).unwrap().len(),
                key,
            ));
        }
        cells.sort();
        for (value_at, value_len, value, key_at, key_len, key) in cells {
            self.field(value_at, value_len, &value);
            self.field(key_at, key_len, &format!("key_len, {key}"));
        }
    }

    fn run(&mut self, at: usize, header: &PageHeader, what: &str) -> usize {
        let run = Run::open(&self.file[at..], mapledb_format::PageSize::MIN).unwrap();
        run.check_all().unwrap();
        let (len, pages) = (run.head().len as usize, run.head().pages as usize);
        self.title(&format!("pages {} to {}, {what}", header.pgno, header.pgno.get() + pages as u64 - 1));
        self.header(at, header);
        self.field(at + 32, 8, &format!("len {len}"));
        self.field(at + 40, 8, &format!("pages {pages}"));
        self.field(at + 64, len, "the value");
        let table = at + (64 + len).next_multiple_of(8);
        self.field(table, 8, "checksum of the one chunk");
        pages
    }
}

/// What is where in the file.
fn dump(file: &mut [u8]) -> String {
    let metas = settle(file);
    let mut dump = Dump { file, text: String::new() };
    writeln!(dump.text, " offset  bytes").unwrap();
    let newest = if metas[0].head.txnid > metas[1].head.txnid { &metas[0] } else { &metas[1] };
    for (slot, meta) in [(Slot::A, &metas[0]), (Slot::B, &metas[1])] {
        dump.meta(slot, meta);
    }
    let catalog = newest.head.catalog.root;
    let page = &dump.file[catalog.get() as usize * 4096..][..4096];
    let ValueField::Inline(record) = Leaf::view(page).unwrap().value(0).unwrap() else {
        panic!("a short record")
    };
    let roots = [
        (newest.head.default_table.root, "the default table"),
        (catalog, "the catalog"),
        (TableRecord::decode(record).unwrap().tree.root, "the table \"blobs\""),
    ];
    let mut at = 32;
    while at < newest.head.pages_used.get() as usize {
        let offset = at * 4096;
        let header = PageHeader::parse(&dump.file[offset..offset + 4096]);
        let Ok(header) = header else {
            at += 1;
            continue;
        };
        assert_eq!(header.pgno, Pgno::new(at as u64).unwrap());
        at += match header.kind {
            Kind::Leaf => {
                let what = roots.iter().find(|(root, _)| *root == header.pgno);
                dump.leaf(offset, &header, what.map_or("given up by the second commit", |(_, what)| what));
                1
            }
            Kind::Overflow => dump.run(offset, &header, "the value of blobs[1]"),
            Kind::Branch | Kind::Packed => panic!("no tree of so small a file has a branch, or packed keys"),
        };
    }
    format!("```text\n{}```\n", dump.text)
}

#[test]
fn the_document_shows_the_bytes_of_a_real_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = std::fs::read(small_file(dir.path())).unwrap();
    let text = dump(&mut file);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/format.md");
    let document = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = document.split_once(BEGIN).expect("the document marks where the dump begins");
    let (shown, after) = rest.split_once(END).expect("the document marks where the dump ends");
    if std::env::var_os("MAPLE_BLESS").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{text}{END}{after}")).unwrap();
    } else {
        assert_eq!(
            shown, text,
            "docs/format.md shows other bytes than a real file has; see the head of this test"
        );
    }
}

#[test]
fn a_live_lock_file_holds_its_words_where_the_layout_says() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("live.maple");
    // SAFETY: nothing but MapleDB writes to the file.
    #[allow(unsafe_code)]
    let env = unsafe { Env::options().create(&path) }.unwrap();
    let mut txn = env.write().unwrap();
    txn.main().put(b"k", b"v").unwrap();
    let txnid = txn.commit().unwrap();
    let reader = env.read().unwrap();
    let bytes = std::fs::read(dir.path().join(format!("live.maple{}", lockfile::LOCK_SUFFIX))).unwrap();
    let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    assert_eq!(bytes[lockfile::MAGIC_AT..8], lockfile::LOCK_MAGIC);
    assert_eq!(word(lockfile::DURABLE_TXNID_AT), txnid);
    assert_eq!(word(lockfile::PUBLISHED_SEQ_AT), word(lockfile::HEAD_SEQ_AT));
    let place = lockfile::RING_AT
        + word(lockfile::PUBLISHED_SEQ_AT) as usize % lockfile::RING_LEN * lockfile::RECORD_BYTES;
    let words = std::array::from_fn(|at| word(place + 8 * at));
    assert_eq!(lockfile::HeadRecord::decode(&words).unwrap().body.txnid.get(), txnid);
    let slots = lockfile::BLOCKS_AT + lockfile::BLOCK_SLOTS_AT;
    let pins = (0..lockfile::BLOCK_SLOTS)
        .map(|slot| word(slots + slot * lockfile::SLOT_BYTES + lockfile::SLOT_PIN_AT));
    assert_eq!(pins.filter(|pin| *pin == txnid).count(), 1, "one reader pins its snapshot");
    drop(reader);
    let report = env.check(|_| {}).unwrap();
    assert!(report.is_clean(), "{:?}", report.problems);
    env.close().unwrap();
}
