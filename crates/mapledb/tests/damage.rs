//! Flipped bits and cut-off ends anywhere in a file: never a panic, never a wrong answer.
//!
//! What may happen to a file with damage: the damage lies where nothing is read and everything is as it was; or
//! opening is refused; or some reads are refused, and every answer that is given is right; or the newest commit is
//! passed over whole, which the environment says, and the one before it is there whole.

mod files;

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use files::{TestFile, check, open, open_or_create, options};
use mapledb::{Access, Env, Error, ReadTxn, Table};
use mapledb_format::{Meta, Slot, ids};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

const NAMED: Table<'static, [u8], [u8]> = Table::new("named");
/// Written once: its pages are older than both metas, so no manifest lists them.
const OLD: Table<'static, [u8], [u8]> = Table::new("old");

/// All tables of one commit.
type World = [BTreeMap<Vec<u8>, Vec<u8>>; 3];

/// A small file, what its newest commit holds and what the one before it held.
struct Specimen {
    _dir: tempfile::TempDir,
    path: PathBuf,
    bytes: Vec<u8>,
    newest: World,
    before: World,
}

fn commit(env: &Env, round: u8) -> World {
    let mut txn = env.write().expect("write");
    for n in 0..90u16 {
        if (n + u16::from(round)).is_multiple_of(3) {
            let value = vec![round ^ n as u8; 40 + usize::from(n) % 50];
            txn.main().put(&n.to_be_bytes(), &value).expect("put");
        }
    }
    txn.main().put(b"large", &vec![round; 9000]).expect("put");
    let mut named = txn.open_table(&NAMED).expect("table");
    for n in 0..20u8 {
        named.put(&[n], &[round, n]).expect("put");
    }
    if round == 0 {
        let mut old = txn.open_table(&OLD).expect("table");
        for n in 0..200u8 {
            old.put(&[b'o', b'l', b'd', n], &[n; 60]).expect("put");
        }
        old.put(b"large", &[9; 5000]).expect("put");
    }
    txn.commit().expect("commit");
    let txn = env.read().expect("read");
    let all = |table: mapledb::ReadTable<'_, [u8], [u8]>| {
        let entries = table.iter().expect("iter").map(|entry| entry.expect("sound"));
        entries.map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
    };
    [
        all(txn.main().expect("main")),
        all(txn.table(&NAMED).expect("table")),
        all(txn.table(&OLD).expect("table")),
    ]
}

impl Specimen {
    fn make() -> Specimen {
        // In memory if there is such a place: a hundred thousand files are opened and synced.
        let memory = std::path::Path::new("/dev/shm");
        let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let dir = dir.or_else(|_| tempfile::tempdir()).expect("a directory");
        let path = dir.path().join("specimen.maple");
        let env = open_or_create(&path, options()).expect("create");
        for round in 0..4 {
            commit(&env, round);
        }
        let before = commit(&env, 4);
        // With readers of neither, so that the two metas are these two commits.
        let newest = commit(&env, 5);
        check(&env);
        assert_ne!(before, newest);
        env.close().expect("close");
        let mut bytes = std::fs::read(&path).expect("read");
        // Growth leaves room behind the last page in use.
        let used = bytes.iter().rposition(|byte| *byte != 0).expect("not empty") + 1;
        bytes.truncate(used.next_multiple_of(4096));
        Specimen { _dir: dir, path, bytes, newest, before }
    }

    /// Lays the undamaged file down again.
    fn lay_down(&self) -> File {
        let _ = std::fs::remove_file(self.path.with_extension("maple-lock"));
        std::fs::write(&self.path, &self.bytes).expect("write");
        File::options().write(true).open(&self.path).expect("open")
    }

    /// Opens the file as it lies there and holds every answer against the truth.
    fn examine(&self, access: Access, what: &str) -> Outcome {
        let env = match open(&self.path, options().reserve_bytes(1 << 28).access(access)) {
            Ok(env) => env,
            Err(_) => return Outcome::Refused,
        };
        let txn = match env.read() {
            Ok(txn) => txn,
            Err(_) => return Outcome::Refused,
        };
        let is_newest = agrees(&txn, &self.newest);
        let outcome = match (&is_newest, env.recovery().passed_over.is_some()) {
            (Ok(faults), false) if faults.is_empty() => Outcome::Harmless,
            (Ok(faults), _) if !faults.is_empty() => Outcome::Partly,
            (Ok(_), true) => Outcome::HarmlessButSaid,
            _ => match agrees(&txn, &self.before) {
                Ok(faults) if env.recovery().passed_over.is_some() => {
                    if faults.is_empty() {
                        Outcome::Previous
                    } else {
                        Outcome::PreviousPartly
                    }
                }
                wrong => panic!("{what}: {access:?}: neither commit: {is_newest:?}, {wrong:?}"),
            },
        };
        let report = env.check(|_| ());
        let is_clean = report.as_ref().is_ok_and(|report| report.is_clean());
        if matches!(outcome, Outcome::Partly | Outcome::PreviousPartly) {
            assert!(!is_clean, "{what}: {access:?}: reads are refused and the check finds nothing");
        }
        if matches!(outcome, Outcome::Previous | Outcome::HarmlessButSaid) {
            assert!(is_clean, "{what}: {access:?}: {outcome:?}, and the check finds {report:?}");
        }
        outcome
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Harmless,
    /// A meta that was not needed is damaged, which opening reports.
    HarmlessButSaid,
    Previous,
    Partly,
    /// Only where there is damage in two places.
    PreviousPartly,
    Refused,
}

/// Whether every answer of the snapshot is that of `world`: the errors it gave in place of answers, or the first
/// answer that is another.
fn agrees(txn: &ReadTxn, world: &World) -> Result<Vec<String>, String> {
    let mut faults = Vec::new();
    for (at, entries) in world.iter().enumerate() {
        let table = match at {
            0 => txn.main(),
            1 => txn.table(&NAMED),
            _ => txn.table(&OLD),
        };
        let table = match table {
            Ok(table) => table,
            Err(Error::TableMissing { .. }) => return Err("the table is missing".to_string()),
            Err(error) => {
                faults.push(error.to_string());
                continue;
            }
        };
        if table.len() != entries.len() as u64 {
            return Err(format!("{} entries of {}", table.len(), entries.len()));
        }
        let mut expected = entries.iter();
        match table.iter() {
            Err(error) => faults.push(error.to_string()),
            Ok(range) => {
                for found in range {
                    match (found, expected.next()) {
                        (Ok(found), Some((key, value))) if found == (&key[..], &value[..]) => {}
                        (Ok(found), _) => return Err(format!("{:?} is not what comes next", found.0)),
                        (Err(error), _) => {
                            faults.push(error.to_string());
                            break;
                        }
                    }
                }
            }
        }
        if faults.is_empty() && expected.next().is_some() {
            return Err("the table ends early".to_string());
        }
        for (key, value) in entries {
            match table.get(key) {
                Ok(Some(found)) if found == value => {}
                Ok(found) => return Err(format!("{key:?} has {:?}", found.map(<[u8]>::len))),
                Err(error) => faults.push(error.to_string()),
            }
        }
        for nothing in [&b"large!"[..], b"\xff\xff\xff"] {
            match table.get(nothing) {
                Ok(None) => {}
                Ok(Some(_)) => return Err(format!("{nothing:?} is there")),
                Err(error) => faults.push(error.to_string()),
            }
        }
    }
    Ok(faults)
}

/// Where bytes are read at all: the metas and the pages. The rest must be zero and is not looked at.
fn is_read(offset: usize) -> bool {
    let meta_b = ids::META_B_OFFSET as usize;
    offset < ids::META_BYTES
        || (meta_b..meta_b + ids::META_BYTES).contains(&offset)
        || offset >= ids::DATA_OFFSET as usize
}

fn flips(access: Access, stride: usize) {
    let seed = std::env::var("MAPLE_SEED").map_or(3, |text| text.parse().expect("a number"));
    println!("seed {seed}");
    let mut rng = SmallRng::seed_from_u64(seed);
    let specimen = Specimen::make();
    let mut outcomes = BTreeMap::<Outcome, u64>::new();
    let mut file = specimen.lay_down();
    for offset in 0..specimen.bytes.len() {
        let step = if is_read(offset) { stride } else { 997 * stride };
        if !(offset + seed as usize).is_multiple_of(step) {
            continue;
        }
        let bit = 1u8 << rng.random_range(0..8);
        file.write_all_at(&[specimen.bytes[offset] ^ bit], offset as u64).expect("flip");
        let what = format!("bit {bit:#04x} of byte {offset} (page {})", offset / 4096);
        *outcomes.entry(specimen.examine(access, &what)).or_default() += 1;
        match access {
            Access::Frozen => {
                file.write_all_at(&specimen.bytes[offset..=offset], offset as u64).expect("flip back")
            }
            _ => file = specimen.lay_down(),
        }
    }
    println!("{access:?}, {} bytes: {outcomes:?}", specimen.bytes.len());
    let is_seen = |outcome| outcomes.contains_key(&outcome);
    // Else what is tested is not what is meant.
    assert!(is_seen(Outcome::Harmless) && is_seen(Outcome::Partly), "{outcomes:?}");
    assert!(!is_seen(Outcome::PreviousPartly), "one flipped bit damaged two commits: {outcomes:?}");
    assert!(is_seen(Outcome::Previous), "{outcomes:?}");
}

#[test]
fn no_flipped_bit_gives_a_wrong_answer_to_a_frozen_reader() {
    flips(Access::Frozen, 5);
}

#[test]
fn no_flipped_bit_gives_a_wrong_answer_after_recovery() {
    flips(Access::Shared, 31);
}

#[test]
fn no_flipped_bit_gives_a_wrong_answer_to_one_alone() {
    flips(Access::Exclusive, 61);
}

#[test]
fn a_file_cut_short_anywhere_is_refused_and_left_as_it_is() {
    let specimen = Specimen::make();
    let mut outcomes = BTreeMap::<Outcome, u64>::new();
    let ends = (0..specimen.bytes.len()).filter(|end| {
        let into_page = end % 4096;
        into_page < 2 || into_page == 4095 || end % 509 == 0
    });
    for end in ends {
        for access in [Access::Shared, Access::Frozen] {
            specimen.lay_down().set_len(end as u64).expect("cut");
            *outcomes.entry(specimen.examine(access, &format!("cut to {end} bytes"))).or_default() += 1;
            let left = std::fs::read(&specimen.path).expect("read");
            assert!(left == specimen.bytes[..end], "cut to {end} bytes: {access:?}: opening has changed it");
        }
    }
    println!("{outcomes:?}");
    assert!(outcomes.keys().eq([&Outcome::Refused]));
}

/// A file whose newest commit is much longer than the one before it, with a bit flipped in the meta of the newest.
fn with_a_damaged_meta(file: &TestFile) -> Vec<u8> {
    let env = file.open(options());
    for (key, len) in [(b"a", 10), (b"b", 10), (b"c", 8 << 20)] {
        let mut txn = env.write().expect("write");
        txn.main().put(key, &vec![7; len]).expect("put");
        txn.commit().expect("commit");
    }
    env.close().expect("close");
    let mut bytes = std::fs::read(file.path()).expect("read");
    let txnid = |slot: Slot| {
        let at = slot.offset() as usize;
        Meta::decode(&bytes[at..at + ids::META_BYTES], slot).expect("sound").head.txnid
    };
    let newest = if txnid(Slot::A) > txnid(Slot::B) { Slot::A } else { Slot::B };
    bytes[newest.offset() as usize + 200] ^= 4;
    std::fs::write(file.path(), &bytes).expect("write");
    // The lock file remembers the newest head, whose pages are all there, and would make it good.
    std::fs::remove_file(file.lock_path()).expect("remove");
    bytes
}

#[test]
fn what_a_commit_that_is_passed_over_has_written_stays_in_the_file() {
    for writes in [false, true] {
        let file = TestFile::new();
        let bytes = with_a_damaged_meta(&file);
        let env = file.open(options());
        assert!(env.recovery().passed_over.is_some());
        assert!(!env.read().expect("read").main().expect("main").contains(b"c").expect("get"));
        if writes {
            let mut txn = env.write().expect("write");
            txn.main().put(b"d", b"").expect("put");
            txn.commit().expect("commit");
        }
        check(&env);
        env.close().expect("close");
        let left = std::fs::read(file.path()).expect("read");
        assert_eq!(left.len(), bytes.len(), "writes: {writes}");
        assert!(left[1 << 20..] == bytes[1 << 20..], "writes: {writes}");
        // Whoever opens it next and only reads leaves it, too.
        file.open(options()).close().expect("close");
        assert_eq!(std::fs::metadata(file.path()).expect("stat").len(), bytes.len() as u64);
    }
}

#[test]
fn damage_to_one_meta_of_a_copy_leaves_the_whole_of_it() {
    let file = TestFile::with_entries(5000);
    let env = file.open(options());
    let copies = [file.dir().join("compact.maple"), file.dir().join("exact.maple")];
    env.copy_to(&copies[0], true, |_, _| true).expect("copied");
    env.copy_to(&copies[1], false, |_, _| true).expect("copied");
    for copy in copies {
        for slot in [Slot::A, Slot::B] {
            let damaged = file.dir().join("damaged.maple");
            let mut bytes = std::fs::read(&copy).expect("read");
            bytes[slot.offset() as usize + 100] ^= 1;
            std::fs::write(&damaged, bytes).expect("write");
            let copy = open(&damaged, options()).expect("the other one stands");
            assert!(copy.recovery().passed_over.is_some());
            assert_eq!(copy.read().expect("read").main().expect("main").len(), 5000, "meta {slot}");
            check(&copy);
            drop(copy);
            std::fs::remove_file(&damaged).expect("remove");
            std::fs::remove_file(damaged.with_extension("maple-lock")).expect("remove");
        }
    }
}

#[test]
fn pages_that_change_places_are_told() {
    let specimen = Specimen::make();
    let pages = specimen.bytes.len() / 4096;
    let mut outcomes = BTreeMap::<Outcome, u64>::new();
    for a in 32..pages {
        for b in a + 1..pages {
            let page = |n: usize| &specimen.bytes[n * 4096..(n + 1) * 4096];
            if page(a) == page(b) {
                continue;
            }
            let file = specimen.lay_down();
            file.write_all_at(page(a), b as u64 * 4096).expect("write");
            file.write_all_at(page(b), a as u64 * 4096).expect("write");
            *outcomes.entry(specimen.examine(Access::Shared, &format!("pages {a} and {b}"))).or_default() +=
                1;
        }
    }
    println!("{outcomes:?}");
}

#[test]
fn a_page_that_never_reached_the_disk_is_told() {
    let specimen = Specimen::make();
    for page in 32..specimen.bytes.len() / 4096 {
        let file = specimen.lay_down();
        file.write_all_at(&[0; 4096], page as u64 * 4096).expect("write");
        specimen.examine(Access::Shared, &format!("page {page} lost"));
    }
}
