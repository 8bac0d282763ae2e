//! Many threads on one environment that opens and closes under them: what sanitizers look at, and poisoned pages.
//!
//! Two writers move amounts between accounts and store long values of one byte, at both levels of durability; readers look
//! at whole snapshots, hand them to each other and hold some of them; a thread syncs, one opens the file once more, one
//! waits for commits. Then all is closed, checked and opened again. `MAPLE_STRESS_SECONDS` makes it longer, `MAPLE_SEED`
//! repeats the choices but not the order of threads.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mapledb::{Durability, Env, Error, ReadTxn, Table};
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

const ACCOUNTS: Table<'static, u64, [u8]> = Table::new("accounts");
const ACCOUNTS_LEN: u64 = 300;
const EACH: u64 = 1000;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[allow(unsafe_code)]
fn open(path: &Path) -> mapledb::Result<Env> {
    let options = Env::options().reserve_bytes(256 << 20).relaxed_bound(256 << 10, Duration::from_millis(5));
    // SAFETY: only MapleDB writes to the test's own file.
    unsafe { options.open_or_create(path) }
}

fn amount(value: &[u8]) -> u64 {
    let (amount, rest) = value.split_at(8);
    assert!(rest.iter().all(|byte| *byte == amount[0]), "an account of two transactions");
    u64::from_le_bytes(amount.try_into().expect("eight bytes"))
}

fn account(amount: u64) -> Vec<u8> {
    let mut value = amount.to_le_bytes().to_vec();
    value.resize(8 + (amount % 90) as usize, amount as u8);
    value
}

/// Every snapshot has the same sum, and each long value one byte.
fn verify(txn: &ReadTxn) -> mapledb::Result<()> {
    let accounts = txn.table(&ACCOUNTS)?;
    let mut sum = 0;
    for entry in accounts.iter()? {
        sum += amount(entry?.1);
    }
    assert_eq!((accounts.len(), sum), (ACCOUNTS_LEN, ACCOUNTS_LEN * EACH), "snapshot {}", txn.txnid());
    for entry in txn.main()?.iter()? {
        let (_, value) = entry?;
        assert!(value.iter().all(|byte| *byte == value[0]), "a long value of two transactions");
    }
    Ok(())
}

fn write(env: &Env, rng: &mut SmallRng) -> mapledb::Result<()> {
    let mut txn = env.write()?;
    txn.durability(if rng.random_ratio(2, 3) { Durability::Relaxed } else { Durability::Sync });
    let mut accounts = txn.table(&ACCOUNTS)?;
    for _ in 0..rng.random_range(1..8) {
        let (from, to) = (rng.random_range(0..ACCOUNTS_LEN), rng.random_range(0..ACCOUNTS_LEN));
        let has = amount(accounts.get(&from)?.expect("an account"));
        let moved = rng.random_range(0..=has);
        accounts.put(&from, &account(has - moved)[..])?;
        let has = amount(accounts.get(&to)?.expect("an account"));
        accounts.put(&to, &account(has + moved)[..])?;
    }
    let key = [rng.random_range(0..20u8)];
    match rng.random_ratio(1, 4) {
        true => drop(txn.main().delete(&key[..])?),
        false => txn.main().put(&key[..], &vec![rng.random::<u8>(); rng.random_range(1..20_000)][..])?,
    }
    if rng.random_ratio(1, 10) {
        return Ok(());
    }
    txn.commit().map(drop)
}

/// A time with the environment open: threads at work on it, until it is closed.
fn round(path: &Path, seed: u64, time: Duration, done: &AtomicU64) -> mapledb::Result<()> {
    let env = open(path)?;
    let end = Instant::now() + time;
    // Snapshots that one thread began and another goes on with.
    let handed: Mutex<Vec<ReadTxn>> = Mutex::new(Vec::new());
    let hold = |txn: Option<ReadTxn>| -> Option<ReadTxn> {
        let mut handed = handed.lock();
        handed.extend(txn);
        if handed.len() > 3 { Some(handed.swap_remove(0)) } else { None }
    };
    // Each is joined by name: thread sanitizer does not see the wait at the end of a scope.
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for writer in 0..2 {
            let env = env.clone();
            threads.push(scope.spawn(move || {
                let mut rng = SmallRng::seed_from_u64(seed * 100 + writer);
                while Instant::now() < end {
                    write(&env, &mut rng).expect("write");
                    done.fetch_add(1, Ordering::Relaxed);
                }
            }));
        }
        for reader in 0..3 {
            let (env, hold) = (env.clone(), &hold);
            threads.push(scope.spawn(move || {
                let mut rng = SmallRng::seed_from_u64(seed * 100 + 10 + reader);
                while Instant::now() < end {
                    let txn = env.read().expect("read");
                    verify(&txn).expect("verify");
                    let twin = rng.random_ratio(1, 3).then(|| txn.clone());
                    if let Some(older) = hold(twin) {
                        verify(&older).expect("verify");
                    }
                }
            }));
        }
        let (waiter, syncer) = (env.clone(), env.clone());
        threads.push(scope.spawn(move || {
            let mut last = 0;
            while Instant::now() < end {
                last =
                    waiter.wait_newer(last, Some(Duration::from_millis(20))).expect("wait").unwrap_or(last);
            }
        }));
        threads.push(scope.spawn(move || {
            while Instant::now() < end {
                let again = open(path).expect("the same environment");
                again.sync().expect("sync");
                assert!(matches!(again.close(), Err(Error::StillInUse)));
                drop(syncer.info());
                thread::sleep(Duration::from_millis(3));
            }
        }));
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    });
    handed.into_inner().iter().try_for_each(verify)?;
    let report = env.check(|_| {})?;
    assert!(report.is_clean(), "{:?}", report.problems);
    env.close()
}

#[test]
fn threads_of_all_kinds_at_once_see_whole_snapshots() {
    let shm = Path::new("/dev/shm");
    let dir =
        if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() }.expect("a directory");
    let path = dir.path().join("stress.maple");
    let seed = number("MAPLE_SEED", 1);
    let env = open(&path).expect("create");
    let mut txn = env.write().expect("write");
    let mut accounts = txn.open_table(&ACCOUNTS).expect("a table");
    for id in 0..ACCOUNTS_LEN {
        accounts.put(&id, &account(EACH)[..]).expect("put");
    }
    txn.commit().expect("commit");
    env.close().expect("close");
    let end = Instant::now() + Duration::from_secs(number("MAPLE_STRESS_SECONDS", 2));
    let (done, mut rounds) = (AtomicU64::new(0), 0);
    while Instant::now() < end {
        let left = end.saturating_duration_since(Instant::now());
        let time = left.min(Duration::from_millis(700));
        round(&path, seed + rounds, time, &done).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        rounds += 1;
    }
    println!("STRESS {} transactions in {rounds} rounds", done.load(Ordering::Relaxed));
}
