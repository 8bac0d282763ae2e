//! Hostile files: whatever they hold, opening, reading, checking, dumping and writing them ends with a value or an error.
//!
//! An input is a list of damages to a small file that a real environment made. Bytes at random rarely get past a
//! checksum, so a damage may ask to be *mended*: checksums and tags are made right again from the damaged page up to
//! the meta, and what is tested is what lies behind them.
//!
//! A panic, a signal and a hang are failures. So is a wrong answer where a checksum can tell: what was damaged and not
//! mended, and is read to its end without an error, is one of the commits that were made, and not an older one without a
//! word. A file whose checksums are right is right as far as a checksum can tell.

mod mend;
pub mod random;
mod stats;

use std::cell::RefCell;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use mapledb::{Access, Env, Error, Le, Multimap, Options, Result, Table, WriteTxn};
use mapledb_format::{Meta, Slot, lockfile};

pub use stats::{Stats, stats};

const BLOBS: Table<'static, u64, [u8]> = Table::new("blobs");
/// Duplicates of any length, in leaves and their sub-pages.
const WORDS: Multimap<'static, str, [u8]> = Multimap::new("words");
/// Packed duplicates, in a tree.
const NUMBERS: Multimap<'static, u8, Le<u64>> = Multimap::new("numbers");
const PAGE: usize = 4096;
/// The pages that lie between the metas and before the first page mean nothing.
const FIRST_PAGE: usize = 32;

/// One change of the bytes of a file.
#[derive(Arbitrary, Debug)]
struct Damage {
    /// Which page, of those the file has.
    page: u16,
    /// Which 2-byte field of it; small numbers are the header and the first slots.
    field: u16,
    /// What is stored there.
    what: What,
}

#[derive(Arbitrary, Debug)]
enum What {
    Byte(u8),
    Short(u16),
    Word(u32),
    Long(u64),
    /// A number that is one too large or too small somewhere.
    Edge(u8),
    /// The first bytes of another page.
    PageCopied(u16, u16),
}

#[derive(Arbitrary, Debug)]
struct Plan {
    mends: bool,
    damages: Vec<Damage>,
}

fn plan(input: &[u8]) -> Option<Plan> {
    Plan::arbitrary(&mut Unstructured::new(input)).ok()
}

fn store(file: &mut [u8], at: usize, bytes: &[u8]) {
    for (to, from) in file.iter_mut().skip(at).zip(bytes) {
        *to = *from;
    }
}

/// The pages that may be damaged: all of a lock file; of a data file the metas and what follows them.
fn places(file: &[u8], is_data: bool) -> Vec<usize> {
    let pages = file.len() / PAGE;
    match is_data {
        true => [0, FIRST_PAGE / 2].into_iter().chain(FIRST_PAGE..pages).collect(),
        false => (0..pages).collect(),
    }
}

fn damage(file: &mut [u8], places: &[usize], damage: &Damage) {
    // Small numbers are what a fuzzer likes best, and the metas are not what it should spend its time on.
    let page_at =
        |number: u16| places.get(places.len().wrapping_sub(1 + usize::from(number) % places.len().max(1)));
    let Some(page) = page_at(damage.page).map(|page| page * PAGE) else { return };
    // Half of all damages meet the first 256 bytes, where headers, slots and tree records are.
    let field = usize::from(damage.field >> 1) % if damage.field & 1 == 0 { 128 } else { PAGE / 2 };
    let at = page + 2 * field;
    match damage.what {
        What::Byte(byte) => store(file, at, &[byte]),
        What::Short(short) => store(file, at, &short.to_le_bytes()),
        What::Word(word) => store(file, at, &word.to_le_bytes()),
        What::Long(long) => store(file, at, &long.to_le_bytes()),
        What::Edge(which) => {
            let edges = [
                0u64,
                1,
                31,
                32,
                33,
                4095,
                4096,
                4097,
                1 << 16,
                (1 << 47) - 1,
                (1 << 48) - 1,
                1 << 62,
                u64::MAX,
            ];
            store(file, at, &edges[usize::from(which) % edges.len()].to_le_bytes());
        }
        What::PageCopied(from, len) => {
            let Some(from) = page_at(from).map(|from| from * PAGE) else { return };
            let bytes = file[from..from + usize::from(len) % PAGE].to_vec();
            store(file, page, &bytes);
        }
    }
}

fn options() -> Options {
    Env::options()
        .quota_bytes(4 << 20)
        .reserve_bytes(4 << 20)
        .relaxed_bound(u64::MAX, Duration::from_secs(3600))
}

#[allow(unsafe_code)]
fn open(options: Options, path: &Path) -> Result<Env> {
    // SAFETY: the file lies in a directory of this process's own.
    unsafe { options.open(path) }
}

/// A data file, and the lock file of its last use, as they were after a clean close.
struct Sample {
    data: Vec<u8>,
    lock: Vec<u8>,
    /// What each commit made, the newest last.
    commits: Vec<u64>,
}

fn sample() -> &'static Sample {
    static SAMPLE: OnceLock<Sample> = OnceLock::new();
    SAMPLE.get_or_init(|| {
        // The shorter the file, the more of a damage meets something that matters.
        let quotas = (40..1000).map(|pages| pages * PAGE as u64);
        let made = quotas.map(make_sample).find(|made| !matches!(made, Err(Error::QuotaReached { .. })));
        made.expect("a quota that is enough").expect("a fresh directory takes a fresh file")
    })
}

/// A directory in memory if that can be had.
fn scratch() -> tempfile::TempDir {
    let shm = Path::new("/dev/shm");
    let made = if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() };
    made.expect("a directory for temporary files")
}

/// Every form in which a key has its duplicates: alone, in a sub-page, in a tree of one page and in one of several.
fn fill_multimaps(txn: &mut WriteTxn, round: u32) -> Result<()> {
    let mut words = txn.open_multimap(&WORDS)?;
    words.insert("one", &[round as u8; 9])?;
    for n in 0..12u8 {
        words.insert(["few", "some"][n as usize % 2], &[n; 20][..8 + usize::from(n)])?;
    }
    let mut numbers = txn.open_multimap(&NUMBERS)?;
    for (key, count) in [(0, 300), (1, 140), (2, 10), (3, 1)] {
        numbers.insert_all(&key, (0..count).map(|n| Le(n * 7 + u64::from(round % 2))))?;
    }
    Ok(())
}

/// Trees of several levels, multimaps, overflow runs, waiting and available pages, a free tree.
#[allow(unsafe_code)]
fn make_sample(quota: u64) -> Result<Sample> {
    let dir = scratch();
    let path = dir.path().join("sample.maple");
    // SAFETY: as in `open`.
    let env = unsafe { options().quota_bytes(quota).create(&path) }?;
    let mut commits = Vec::new();
    for round in 0..4u32 {
        let mut txn = env.write()?;
        for n in 0..90u32 {
            let n = n * 7 % 90 + round * 30;
            txn.main().put(format!("key {n:05}").as_bytes(), &[n as u8; 60])?;
        }
        txn.open_table(&BLOBS)?.put(&u64::from(round), &[9; 5000])?;
        fill_multimaps(&mut txn, round)?;
        txn.commit()?;
        commits.push(digest(&env)?);
    }
    let mut txn = env.write()?;
    for n in (0..180u32).step_by(3) {
        txn.main().delete(format!("key {n:05}").as_bytes())?;
    }
    txn.table(&BLOBS)?.delete(&1)?;
    txn.multimap(&NUMBERS)?.delete(&0, &Le(7))?;
    txn.multimap(&WORDS)?.delete_all("one")?;
    txn.commit()?;
    commits.push(digest(&env)?);
    env.close()?;
    let read = |path: &Path| std::fs::read(path).expect("the file was just closed");
    let lock = read(&dir.path().join(format!("sample.maple{}", lockfile::LOCK_SUFFIX)));
    Ok(Sample { data: read(&path), lock, commits })
}

/// What a dump shows: every table with its types and sequence, every entry.
fn digest(env: &Env) -> Result<u64> {
    let txn = env.read()?;
    let mut digest = DefaultHasher::new();
    for info in txn.tables()? {
        (&info.name, info.sequence).hash(&mut digest);
        match info.name.as_deref() {
            None => txn.main()?.iter()?.try_for_each(|entry| entry.map(|entry| entry.hash(&mut digest)))?,
            Some("blobs") => {
                let table = txn.table(&BLOBS)?;
                table.iter()?.try_for_each(|entry| entry.map(|entry| entry.hash(&mut digest)))?;
            }
            Some(name) if info.duplicates.is_some() => {
                let table = txn.multimap(&Multimap::untyped(name))?;
                table.iter()?.try_for_each(|pair| pair.map(|pair| pair.hash(&mut digest)))?;
            }
            Some(name) => {
                let table = txn.table(&Table::<[u8], [u8]>::new(name))?;
                table.iter()?.try_for_each(|entry| entry.map(|entry| entry.hash(&mut digest)))?;
            }
        }
    }
    Ok(digest.finish())
}

/// Everything a user does with a file. Errors are answers.
fn use_it(env: &Env) -> Result<()> {
    let _ = env.check(|_| {});
    let _ = env.info();
    let _ = read_it(env);
    let mut txn = env.write()?;
    for n in 0..12u32 {
        txn.main().put(format!("key {:05}", n * 13).as_bytes(), &[1; 200])?;
    }
    txn.main().delete_range(&b"key 00100"[..]..&b"key 00150"[..])?;
    txn.open_table(&BLOBS)?.put(&77, &[3; 6_000])?;
    txn.commit()?;
    let _ = read_pairs(env);
    // A refusal of what is damaged is an answer, and gives all of it up.
    let mut txn = env.write()?;
    match change_pairs(&mut txn) {
        Ok(()) => drop(txn.commit()?),
        Err(_) => txn.abort(),
    }
    let _ = read_pairs(env);
    let mut txn = env.write()?;
    for name in ["blobs", "words", "numbers"] {
        txn.drop_table(name)?;
    }
    txn.main().clear()?;
    txn.commit().map(|_| ())
}

fn read_it(env: &Env) -> Result<()> {
    let txn = env.read()?;
    let main = txn.main()?;
    let _ = main.get(b"key 00123")?;
    let _ = main.count(&b"key 00010"[..]..&b"key 00300"[..])?;
    let _ = main.nth(5)?;
    for entry in main.iter()?.rev().take(5000) {
        entry?;
    }
    for entry in main.range(&b"key 00020"[..]..&b"key 00120"[..])?.take(5000) {
        entry?;
    }
    Ok(())
}

/// Changes that make each form of duplicates out of the others.
fn change_pairs(txn: &mut WriteTxn) -> Result<()> {
    let mut words = txn.open_multimap(&WORDS)?;
    for n in 0..60u8 {
        words.insert("few", &[n; 40])?;
    }
    words.insert("one", b"more")?;
    words.delete("some", &[1; 9])?;
    let mut numbers = txn.open_multimap(&NUMBERS)?;
    numbers.insert_all(&2, (0..400).map(|n| Le(n * 5)))?;
    for n in 0..135 {
        numbers.delete(&1, &Le(n * 7))?;
    }
    numbers.delete_range(..&1)?;
    Ok(())
}

fn read_pairs(env: &Env) -> Result<()> {
    let txn = env.read()?;
    let words = txn.multimap(&WORDS)?;
    for pair in words.iter()?.rev().take(5000) {
        pair?;
    }
    let numbers = txn.multimap(&NUMBERS)?;
    let _ = (numbers.count(..)?, numbers.rank(&1, &Le(70))?, numbers.nth(200)?);
    for key in numbers.keys().take(5000) {
        let key = key?;
        let _ = (numbers.count_of(&key)?, numbers.last_of(&key)?);
        for chunk in numbers.chunks(&key)?.take(5000) {
            chunk?;
        }
    }
    let mut cursor = numbers.cursor();
    cursor.ceiling(&0, &Le(100))?;
    for _ in 0..600 {
        cursor.next()?;
    }
    let _ = (cursor.rank()?, cursor.previous_key()?, cursor.first_in_key()?, cursor.next_in_key()?);
    Ok(())
}

/// Opens what `bench` holds and uses it. Where `is_told` a checksum can tell right from wrong.
fn use_file(options: Options, path: &Path, is_told: bool) {
    let Ok(env) = open(options, path) else { return };
    stats().opened();
    let found = digest(&env);
    if let (true, Ok(found)) = (is_told, found) {
        let commits = &sample().commits;
        let place = commits.iter().position(|commit| *commit == found);
        assert!(place.is_some(), "a state that no commit made");
        let recovery = env.recovery();
        let is_newest = commits.last() == Some(&found);
        let says_so = recovery.passed_over.is_some() || recovery.refused_relaxed.is_some();
        assert!(is_newest || says_so, "commit {place:?} stands, and nobody is told");
    }
    let _ = use_it(&env);
    let _ = env.close();
}

/// A directory whose two files are used again and again.
struct Bench {
    path: PathBuf,
    lock_path: PathBuf,
    data: File,
    buffer: Vec<u8>,
    _dir: tempfile::TempDir,
}

thread_local! {
    static BENCH: RefCell<Bench> = RefCell::new(Bench::new().expect("room for small files"));
}

impl Bench {
    fn new() -> io::Result<Bench> {
        let dir = scratch();
        let path = dir.path().join("hostile.maple");
        let lock_path = dir.path().join(format!("hostile.maple{}", lockfile::LOCK_SUFFIX));
        let data = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
        Ok(Bench { path, lock_path, data, buffer: Vec::new(), _dir: dir })
    }

    /// Lays both files out; without a lock file if it is `None`.
    fn lay(&mut self, data: &[u8], lock: Option<&[u8]>) -> io::Result<()> {
        restore(&self.data, data, &mut self.buffer)?;
        let Some(lock) = lock else {
            return match std::fs::remove_file(&self.lock_path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        };
        let file =
            File::options().read(true).write(true).create(true).truncate(false).open(&self.lock_path)?;
        restore(&file, lock, &mut self.buffer)
    }
}

/// Writes the pages that differ from `bytes`.
fn restore(file: &File, bytes: &[u8], buffer: &mut Vec<u8>) -> io::Result<()> {
    if file.metadata()?.len() != bytes.len() as u64 {
        file.set_len(bytes.len() as u64)?;
    }
    buffer.resize(bytes.len(), 0);
    file.read_exact_at(buffer, 0)?;
    for (index, (has, wants)) in buffer.chunks(PAGE).zip(bytes.chunks(PAGE)).enumerate() {
        if has != wants {
            file.write_all_at(wants, (index * PAGE) as u64)?;
        }
    }
    Ok(())
}

/// Whether both metas of a file are taken for metas.
fn has_metas(file: &[u8]) -> bool {
    [Slot::A, Slot::B].into_iter().all(|slot| {
        let at = slot.offset() as usize;
        file.get(at..at + PAGE).is_some_and(|bytes| Meta::decode(bytes, slot).is_ok())
    })
}

/// Opens a damaged data file and uses it.
pub fn data_file(input: &[u8]) {
    let Some(plan) = plan(input) else { return };
    let mut file = sample().data.clone();
    let places = places(&file, true);
    for one in plan.damages.iter().take(16) {
        damage(&mut file, &places, one);
    }
    if plan.mends {
        mend::data_file(&mut file);
    }
    stats().began(has_metas(&file));
    BENCH.with_borrow_mut(|bench| {
        bench.lay(&file, None).expect("room for a small file");
        use_file(options().access(Access::Exclusive), &bench.path, !plan.mends);
    });
}

/// Opens a sound data file beside a damaged lock file, and uses it.
pub fn lock_file(input: &[u8]) {
    let Some(plan) = plan(input) else { return };
    let sample = sample();
    BENCH.with_borrow_mut(|bench| {
        let mut lock = sample.lock.clone();
        mend::bind(&mut lock, &bench.path);
        let places = places(&lock, false);
        for one in plan.damages.iter().take(16) {
            damage(&mut lock, &places, one);
        }
        if plan.mends {
            mend::lock_file(&mut lock);
        }
        stats().began(true);
        bench.lay(&sample.data, Some(&lock)).expect("room for a small file");
        use_file(options(), &bench.path, !plan.mends);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a file with these bytes opens, checks clean and can be used.
    fn is_sound(file: &[u8]) -> bool {
        let dir = scratch();
        let path = dir.path().join("file.maple");
        std::fs::write(&path, file).expect("room for a small file");
        open(options().access(Access::Exclusive), &path).is_ok_and(|env| {
            let is_clean = env.check(|_| {}).is_ok_and(|report| report.is_clean());
            is_clean && use_it(&env).is_ok()
        })
    }

    /// A file with a bit turned so many bytes before each place that has `bytes`.
    fn damaged(mut file: Vec<u8>, bytes: &[u8], before: usize) -> Vec<u8> {
        let is_it = |at: &usize| &file[*at..at + bytes.len()] == bytes;
        let places: Vec<usize> = (32 * PAGE..file.len() - bytes.len()).filter(is_it).collect();
        assert!(!places.is_empty(), "the sample has it");
        places.into_iter().for_each(|at| file[at - before] ^= 1);
        file
    }

    #[test]
    fn a_damage_is_noticed_unless_it_is_mended() {
        let sample = &sample().data;
        assert!(is_sound(sample));
        let mut mended = sample.clone();
        mend::data_file(&mut mended);
        assert!(is_sound(&mended), "mending spoils nothing");

        // A leaf cell holds the value before the key and the key's length; packed duplicates hold nothing else, and 860 is none.
        for (bytes, before) in [(&b"key 00100"[..], 12), (&861u64.to_le_bytes(), 0)] {
            let mut damaged = damaged(sample.clone(), bytes, before);
            assert!(!is_sound(&damaged), "a checksum notices");
            mend::data_file(&mut damaged);
            assert!(is_sound(&damaged), "mending gets past the checksums of {bytes:02x?}");
        }
    }

    #[test]
    fn the_sample_has_duplicates_in_every_form() {
        let dir = scratch();
        let path = dir.path().join("file.maple");
        std::fs::write(&path, &sample().data).expect("room for a small file");
        let env = open(options().access(Access::Exclusive), &path).expect("open");
        let txn = env.read().expect("read");
        let numbers = txn.multimap(&NUMBERS).expect("open");
        let counts: Vec<u64> = (0..4).map(|key| numbers.count_of(&key).expect("count")).collect();
        assert_eq!(counts, [599, 280, 20, 2]);
        // Two trees beside the leaf of keys, one of them of several pages.
        assert!(numbers.stat().overflow_pages >= 4, "{:?}", numbers.stat());
        let words = txn.multimap(&WORDS).expect("open");
        assert_eq!((words.len(), words.stat().overflow_pages), (12, 0), "in sub-pages");
    }
}
