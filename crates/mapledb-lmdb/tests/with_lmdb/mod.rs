//! Files made by real LMDB of random databases, and what LMDB itself reads in them. `heed` is the crate of that name for
//! LMDB 0.9, and `heed3` for 1.0: whoever includes this chapter says which.
// heed deprecates the flags of integers in favour of comparators, which files do not record.
#![allow(dead_code, deprecated, unsafe_code, clippy::unwrap_used)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use heed::types::Bytes;
use heed::{CommitOrAbort, Database, DatabaseFlags, Env, EnvOpenOptions, RwTxn};
use mapledb_lmdb::LmdbFile;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

pub type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// A database that is to be made.
#[derive(Debug, Clone)]
pub struct Plan {
    pub name: Option<String>,
    pub flags: DatabaseFlags,
    key_len: Size,
    value_len: Size,
    puts: usize,
}

#[derive(Debug, Clone, Copy)]
enum Size {
    Fixed(usize),
    UpTo(usize),
}

impl Size {
    fn of(self, rng: &mut SmallRng) -> usize {
        match self {
            Size::Fixed(len) => len,
            // Short ones more often.
            Size::UpTo(max) if rng.random_bool(0.9) => rng.random_range(1..=max.min(24)),
            Size::UpTo(max) => rng.random_range(1..=max),
        }
    }
}

/// What databases a seed stands for: half of the seeds put records into the main one beside the names of others.
pub fn plans(seed: u64) -> Vec<Plan> {
    let rng = &mut SmallRng::seed_from_u64(seed);
    let named = rng.random_range(0..6);
    let main = if named == 0 { random_flags(rng) } else { DatabaseFlags::empty() };
    let mut plans = vec![plan(None, main, rng)];
    for number in 0..named {
        let flags = random_flags(rng);
        plans.push(plan(Some(format!("database {number}")), flags, rng));
    }
    plans
}

fn random_flags(rng: &mut SmallRng) -> DatabaseFlags {
    let mut flags = DatabaseFlags::empty();
    flags |= [DatabaseFlags::empty(), DatabaseFlags::INTEGER_KEY, DatabaseFlags::REVERSE_KEY]
        [rng.random_range(0..3)];
    if rng.random_bool(0.7) {
        flags |= DatabaseFlags::DUP_SORT;
        flags |= [
            DatabaseFlags::empty(),
            DatabaseFlags::REVERSE_DUP,
            DatabaseFlags::DUP_FIXED,
            DatabaseFlags::DUP_FIXED | DatabaseFlags::REVERSE_DUP,
            DatabaseFlags::DUP_FIXED | DatabaseFlags::INTEGER_DUP,
        ][rng.random_range(0..5)];
    }
    flags
}

fn plan(name: Option<String>, flags: DatabaseFlags, rng: &mut SmallRng) -> Plan {
    let integer = |rng: &mut SmallRng| Size::Fixed([4, 8][rng.random_range(0..2)]);
    let key_len = if flags.contains(DatabaseFlags::INTEGER_KEY) {
        integer(rng)
    } else {
        Size::UpTo([4, 100, 511][rng.random_range(0..3)])
    };
    let value_len = if flags.contains(DatabaseFlags::INTEGER_DUP) {
        integer(rng)
    } else if flags.contains(DatabaseFlags::DUP_FIXED) {
        Size::Fixed(rng.random_range(1..40))
    } else if flags.contains(DatabaseFlags::DUP_SORT) {
        Size::UpTo(511)
    } else {
        Size::UpTo([10, 3000, 50_000][rng.random_range(0..3)])
    };
    let puts = [0, 1, 3, 200, 2000][rng.random_range(0..5)];
    Plan { name, flags, key_len, value_len, puts }
}

/// Opens an environment with LMDB.
pub fn open(dir: &Path) -> Env {
    // SAFETY: LMDB alone writes to the file in the test's own directory while it is open.
    unsafe { EnvOpenOptions::new().map_size(256 << 20).max_dbs(16).open(dir) }.unwrap()
}

/// Closes it, so that nothing of it is locked.
pub fn close(env: Env) {
    env.prepare_for_closing().wait();
}

/// Makes the databases of a seed in several transactions, with records that come, change and go.
pub fn fill(dir: &Path, seed: u64) {
    let env = open(dir);
    let plans = plans(seed);
    for round in 0..3 {
        let rng = &mut SmallRng::seed_from_u64(seed ^ round << 32);
        for plan in &plans {
            match try_write(&env, plan, |db, txn| change(db, txn, plan, rng)) {
                // LMDB 1.0 as of heed3 0.23 fails to split some pages of values near half a page: nothing is changed.
                Err(heed::Error::Mdb(heed::MdbError::PageFull)) => make(&env, plan),
                done => done.unwrap(),
            }
        }
    }
    close(env);
}

/// One transaction on one database, which is made if it is not there.
pub fn write(env: &Env, plan: &Plan, work: impl FnOnce(Database<Bytes, Bytes>, &mut RwTxn<'_>)) {
    try_write(env, plan, |db, txn| {
        work(db, txn);
        Ok(())
    })
    .unwrap();
}

fn try_write(
    env: &Env,
    plan: &Plan,
    work: impl FnOnce(Database<Bytes, Bytes>, &mut RwTxn<'_>) -> heed::Result<()>,
) -> heed::Result<()> {
    write_to(env, plan.name.as_deref(), plan.flags, work)
}

/// One transaction on a database of this name and these flags, which is made if it is not there.
pub fn write_to(
    env: &Env,
    name: Option<&str>,
    flags: DatabaseFlags,
    work: impl FnOnce(Database<Bytes, Bytes>, &mut RwTxn<'_>) -> heed::Result<()>,
) -> heed::Result<()> {
    let txn = env.write_txn().unwrap();
    let done = env.create_databases_and_commit(txn, |opener, txn| {
        let mut options = opener.database_options().types::<Bytes, Bytes>();
        options.flags(flags);
        if let Some(name) = name {
            options.name(name);
        }
        work(options.create(txn)?, txn)?;
        heed::Result::Ok(CommitOrAbort::<_, ()>::Commit(()))
    });
    done.map(|done| done.unwrap_commit())
}

fn make(env: &Env, plan: &Plan) {
    write(env, plan, |_, _| ());
}

fn change(
    db: Database<Bytes, Bytes>,
    txn: &mut RwTxn<'_>,
    plan: &Plan,
    rng: &mut SmallRng,
) -> heed::Result<()> {
    let mut keys: Vec<Vec<u8>> = Vec::new();
    for _ in 0..plan.puts {
        // With duplicates, few keys that have many.
        let again = plan.flags.contains(DatabaseFlags::DUP_SORT) && rng.random_bool(0.8);
        let key = match again.then_some(keys.len()).filter(|&len| len > 0) {
            Some(len) => keys[rng.random_range(0..len.min(5))].clone(),
            None => bytes(plan.key_len, rng),
        };
        db.put(txn, &key, &bytes(plan.value_len, rng))?;
        keys.push(key);
    }
    for key in keys.iter().filter(|_| plan.puts > 1) {
        if rng.random_bool(0.1) {
            db.delete(txn, key)?;
        }
    }
    Ok(())
}

fn bytes(len: Size, rng: &mut SmallRng) -> Vec<u8> {
    let mut bytes = vec![0; len.of(rng)];
    rng.fill(&mut bytes[..]);
    bytes
}

/// What LMDB's cursors find in a database: its records, without the names of databases in the main one.
pub fn read_by_lmdb(dir: &Path, plan: &Plan, names: &[&str]) -> Pairs {
    let env = open(dir);
    let mut pairs = Vec::new();
    // Made if it is not there, by a transaction that changes nothing, so that all plans can be asked for.
    write(&env, plan, |db, txn| {
        for pair in db.iter(txn).unwrap() {
            let (key, value) = pair.unwrap();
            pairs.push((key.to_vec(), value.to_vec()));
        }
    });
    close(env);
    if plan.name.is_none() {
        // LMDB 1.0 keeps the zero at the end of C's strings.
        let is_name =
            |key: &[u8]| names.iter().any(|name| key.strip_suffix(&[0]).unwrap_or(key) == name.as_bytes());
        pairs.retain(|(key, _)| !is_name(key));
    }
    pairs
}

/// The first difference between two lists of records, told in a sentence.
pub fn difference(ours: &Pairs, theirs: &Pairs) -> Option<String> {
    let at = ours.iter().zip(theirs).position(|(ours, theirs)| ours != theirs);
    match at {
        Some(at) => Some(format!("record {at}: ours {:x?}, theirs {:x?}", ours[at], theirs[at])),
        None if ours.len() != theirs.len() => {
            Some(format!("ours are {}, theirs {}", ours.len(), theirs.len()))
        }
        None => None,
    }
}

/// Fails unless we read in a directory what LMDB reads there. Answers how many records that were.
pub fn compare(dir: &Path, seed: u64) -> usize {
    let plans = plans(seed);
    let names: Vec<&str> = plans.iter().filter_map(|plan| plan.name.as_deref()).collect();
    let theirs: Vec<Pairs> = plans.iter().map(|plan| read_by_lmdb(dir, plan, &names)).collect();
    let file = LmdbFile::open(dir).unwrap();
    let databases = file.databases().unwrap();
    let mut records = 0;
    for (plan, theirs) in plans.iter().zip(theirs) {
        let about = format!("seed {seed}: {plan:?}");
        let name = plan.name.as_deref().map(str::as_bytes);
        let database = databases.iter().find(|database| database.name() == name).expect(&about);
        assert_eq!(u32::from(database.flags().bits()), plan.flags.bits(), "{about}");
        assert_eq!(database.entries(), theirs.len() as u64, "{about}");
        let ours: Pairs = file
            .records(database)
            .collect::<Result<_, _>>()
            .unwrap_or_else(|error| panic!("{about}: {error}"));
        assert_eq!(difference(&ours, &theirs), None, "{about}");
        let repeated = ours.windows(2).find(|pair| pair[0].0 == pair[1].0).map(|pair| pair[0].0.clone());
        assert_eq!(file.first_key_with_duplicates(database).unwrap(), repeated, "{about}");
        records += ours.len();
    }
    assert_eq!(databases.len(), plans.len(), "seed {seed}");
    records
}

/// Says SKIP past the test harness, which keeps what macros print to itself.
pub fn skip(why: &str) {
    std::io::stderr().write_all(format!("SKIP lmdb: {why}\n").as_bytes()).unwrap();
}

/// Lets this test program fill a directory as if the machine had pages of another size: a library that answers so when
/// asked is loaded before all others. `child` is the name of the ignored test that fills the directory that
/// `MAPLE_LMDB_DIR` names by the seed in `MAPLE_LMDB_SEED`. Answers whether there is a compiler to make it.
pub fn fill_with_pages_of(page_size: usize, dir: &Path, seed: u64, child: &str) -> bool {
    let Some(library) = library_of_page_size(dir) else {
        skip("no C compiler: files of other page sizes are not made");
        return false;
    };
    let ended = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", child, "--ignored", "--test-threads=1"])
        .env("LD_PRELOAD", library)
        .env("MAPLE_PAGE_SIZE", page_size.to_string())
        .env("MAPLE_LMDB_DIR", dir)
        .env("MAPLE_LMDB_SEED", seed.to_string())
        .output()
        .unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    true
}

/// What the ignored test of [`fill_with_pages_of`] does.
pub fn fill_as_told() {
    let (Some(dir), Ok(seed)) = (std::env::var_os("MAPLE_LMDB_DIR"), std::env::var("MAPLE_LMDB_SEED")) else {
        return;
    };
    fill(Path::new(&dir), seed.parse().unwrap());
}

fn library_of_page_size(dir: &Path) -> Option<PathBuf> {
    const SOURCE: &str = "
        #define _GNU_SOURCE
        #include <dlfcn.h>
        #include <stdlib.h>
        #include <unistd.h>
        static long asked(void) { return atol(getenv(\"MAPLE_PAGE_SIZE\")); }
        int getpagesize(void) { return (int)asked(); }
        long sysconf(int name) {
            long (*real)(int) = (long (*)(int))dlsym(RTLD_NEXT, \"sysconf\");
            return name == _SC_PAGESIZE ? asked() : real(name);
        }";
    let (source, library) = (dir.join("page_size.c"), dir.join("page_size.so"));
    std::fs::write(&source, SOURCE).unwrap();
    let compiled =
        Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).arg("-ldl").status();
    compiled.is_ok_and(|status| status.success()).then_some(library)
}

/// Damages copies of a file at random, and reads each to its end. What is read may be anything; that it ends without a
/// panic is what is asked. Answers how many of the copies were found damaged.
pub fn read_damaged(original: &Path, copies: usize, seed: u64) -> usize {
    let bytes = std::fs::read(original).unwrap();
    let path = original.with_file_name("damaged.mdb");
    let mut found = 0;
    for copy in 0..copies as u64 {
        let rng = &mut SmallRng::seed_from_u64(seed ^ copy << 20);
        let mut damaged = bytes.clone();
        for _ in 0..rng.random_range(1..8) {
            damage(&mut damaged, rng);
        }
        std::fs::write(&path, damaged).unwrap();
        found += usize::from(read_all(&path, bytes.len()).is_err());
    }
    found
}

fn damage(bytes: &mut Vec<u8>, rng: &mut SmallRng) {
    const PAGE: usize = 4096;
    let page = rng.random_range(0..bytes.len().div_ceil(PAGE).max(1)) * PAGE;
    let at = match rng.random_range(0..4) {
        // In its header or first slots, in the meta's fields, anywhere.
        0 | 1 => page + rng.random_range(0..64),
        2 => rng.random_range(0..2) * PAGE + rng.random_range(0..180),
        _ => rng.random_range(0..bytes.len().max(1)),
    };
    match rng.random_range(0..12) {
        // Another page in its place.
        0 => {
            let other = rng.random_range(0..bytes.len().div_ceil(PAGE).max(1)) * PAGE;
            if other + PAGE <= bytes.len() && page + PAGE <= bytes.len() {
                bytes.copy_within(other..other + PAGE, page);
            }
        }
        1 if rng.random_bool(0.2) => bytes.truncate(at),
        kind => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = if kind < 6 { rng.random() } else { *byte ^ 1 << rng.random_range(0..8) };
            }
        }
    }
}

fn read_all(path: &Path, len: usize) -> mapledb_lmdb::Result<()> {
    for options in [LmdbFile::options(), LmdbFile::options().any_order(true)] {
        let file = options.open(path)?;
        for database in file.databases()? {
            let mut records = file.records(&database);
            let mut read = 0;
            while let Some((_, value)) = records.next_record()? {
                read += 1 + value.len();
                // No page is read twice, but slots of one may overlap.
                assert!(read <= len.saturating_mul(4096), "more records than the file can hold");
            }
        }
    }
    Ok(())
}
