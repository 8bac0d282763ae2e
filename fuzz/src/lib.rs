//! Hostile files: whatever they hold, opening, reading, checking and writing them ends with a value or an error.
//!
//! An input is a list of damages to a small file that a real environment made. Bytes at random rarely get past a
//! checksum, so a damage may ask to be *mended*: checksums and tags are made right again from the damaged page up to
//! the meta, and what is tested is what lies behind them.
//!
//! What counts as a failure is a panic, a signal or a hang. That a wrong answer is told apart from a right one is not
//! tested here: a file whose checksums are right is right as far as a checksum can tell.

mod mend;

use std::path::Path;
use std::sync::OnceLock;

use arbitrary::{Arbitrary, Unstructured};
use mapledb::{Access, Env, Options, Result, Table};
use mapledb_format::lockfile;

const BLOBS: Table<'static, u64, [u8]> = Table::new("blobs");
const PAGE: usize = 4096;

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

fn damage(file: &mut [u8], damage: &Damage) {
    let pages = file.len() / PAGE;
    if pages == 0 {
        return;
    }
    let page = usize::from(damage.page) % pages * PAGE;
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
            let from = usize::from(from) % pages * PAGE;
            let bytes = file[from..from + usize::from(len) % PAGE].to_vec();
            store(file, page, &bytes);
        }
    }
}

fn options() -> Options {
    Env::options().quota_bytes(8 << 20).reserve_bytes(64 << 20)
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
}

fn sample() -> &'static Sample {
    static SAMPLE: OnceLock<Sample> = OnceLock::new();
    SAMPLE.get_or_init(|| make_sample().expect("a fresh directory takes a fresh file"))
}

/// Trees of several levels, overflow runs, waiting and available pages, a free tree.
#[allow(unsafe_code)]
fn make_sample() -> Result<Sample> {
    let dir = tempfile::tempdir().expect("a directory for temporary files");
    let path = dir.path().join("sample.maple");
    // SAFETY: as in `open`.
    let env = unsafe { options().create(&path) }?;
    for round in 0..4u32 {
        let mut txn = env.write()?;
        for n in 0..400u32 {
            let n = n * 7 % 400 + round * 100;
            txn.main().put(format!("key {n:05}").as_bytes(), &[n as u8; 60])?;
        }
        txn.open_table(&BLOBS)?.put(&u64::from(round), &[9; 9000])?;
        txn.commit()?;
    }
    let mut txn = env.write()?;
    for n in (0..700u32).step_by(3) {
        txn.main().delete(format!("key {n:05}").as_bytes())?;
    }
    txn.table(&BLOBS)?.delete(&1)?;
    txn.commit()?;
    env.close()?;
    let read = |path: &Path| std::fs::read(path).expect("the file was just closed");
    Ok(Sample {
        data: read(&path),
        lock: read(&dir.path().join(format!("sample.maple{}", lockfile::LOCK_SUFFIX))),
    })
}

/// Everything a user does with a file. Errors are answers.
fn use_it(env: &Env) -> Result<()> {
    let _ = env.check(|_| {});
    let _ = env.info();
    let _ = read_it(env);
    let mut txn = env.write()?;
    for n in 0..50u32 {
        txn.main().put(format!("key {:05}", n * 13).as_bytes(), &[1; 200])?;
    }
    txn.main().delete_range(&b"key 00100"[..]..&b"key 00200"[..])?;
    txn.open_table(&BLOBS)?.put(&77, &[3; 20_000])?;
    txn.commit()?;
    read_it(env)?;
    let mut txn = env.write()?;
    txn.drop_table("blobs")?;
    txn.main().clear()?;
    txn.commit().map(|_| ())
}

fn read_it(env: &Env) -> Result<()> {
    let txn = env.read()?;
    let main = txn.main()?;
    let _ = main.get(b"key 00123")?;
    let _ = main.count(&b"key 00010"[..]..&b"key 00300"[..])?;
    let _ = main.nth(5)?;
    for entry in main.iter()?.take(5000) {
        entry?;
    }
    for entry in main.iter()?.rev().take(5000) {
        entry?;
    }
    for (_, value) in txn.table(&BLOBS)?.iter()?.flatten().take(100) {
        std::hint::black_box(value.iter().map(|byte| u64::from(*byte)).sum::<u64>());
    }
    let _ = txn.tables()?;
    Ok(())
}

fn use_file(options: Options, path: &Path) {
    if let Ok(env) = open(options, path) {
        let _ = use_it(&env);
        let _ = env.close();
    }
}

/// Opens a damaged data file and uses it.
pub fn data_file(input: &[u8]) {
    let Some(plan) = plan(input) else { return };
    let mut file = sample().data.clone();
    for one in plan.damages.iter().take(16) {
        damage(&mut file, one);
    }
    if plan.mends {
        mend::data_file(&mut file);
    }
    let dir = tempfile::tempdir().expect("a directory for temporary files");
    let path = dir.path().join("hostile.maple");
    std::fs::write(&path, &file).expect("room for a small file");
    use_file(options().access(Access::Exclusive), &path);
}

/// Opens a sound data file beside a damaged lock file, and uses it.
pub fn lock_file(input: &[u8]) {
    let Some(plan) = plan(input) else { return };
    let sample = sample();
    let dir = tempfile::tempdir().expect("a directory for temporary files");
    let path = dir.path().join("hostile.maple");
    std::fs::write(&path, &sample.data).expect("room for a small file");
    let mut lock = sample.lock.clone();
    mend::bind(&mut lock, &path);
    for one in plan.damages.iter().take(16) {
        damage(&mut lock, one);
    }
    if plan.mends {
        mend::lock_file(&mut lock);
    }
    let lock_path = dir.path().join(format!("hostile.maple{}", lockfile::LOCK_SUFFIX));
    std::fs::write(lock_path, &lock).expect("room for a small file");
    use_file(options(), &path);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a file with these bytes opens, checks clean and can be used.
    fn is_sound(file: &[u8]) -> bool {
        let dir = tempfile::tempdir().expect("a directory for temporary files");
        let path = dir.path().join("file.maple");
        std::fs::write(&path, file).expect("room for a small file");
        open(options().access(Access::Exclusive), &path).is_ok_and(|env| {
            let is_clean = env.check(|_| {}).is_ok_and(|report| report.is_clean());
            is_clean && use_it(&env).is_ok()
        })
    }

    /// A file with one bit turned in a value, in every page that holds or held it.
    fn damaged(mut file: Vec<u8>) -> Vec<u8> {
        let key = b"key 00100";
        // A leaf cell holds the value before the key and the key's length.
        let places: Vec<usize> = (32 * PAGE..file.len() - 9).filter(|at| &file[*at..at + 9] == key).collect();
        assert!(!places.is_empty(), "the sample has the key");
        places.into_iter().for_each(|at| file[at - 12] ^= 1);
        file
    }

    #[test]
    fn a_damage_is_noticed_unless_it_is_mended() {
        let sample = &sample().data;
        assert!(is_sound(sample));
        let mut mended = sample.clone();
        mend::data_file(&mut mended);
        assert!(is_sound(&mended), "mending spoils nothing");

        let mut damaged = damaged(sample.clone());
        assert!(!is_sound(&damaged), "a checksum notices");
        mend::data_file(&mut damaged);
        assert!(is_sound(&damaged), "mending gets past the checksums");
    }
}
