//! Many processes at work on one file while some are killed: each reader verifies an invariant over its whole
//! snapshot, and what was acknowledged is there at the end.
//!
//! Another process is this test binary again, told by the environment which role to play. Takes a few seconds;
//! `MAPLE_TEST_SECONDS=600` makes it as long as one likes, `MAPLE_SEED` replays the order of deaths (what the processes
//! do meanwhile is theirs).

mod another;
mod files;

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout};
use std::time::{Duration, Instant};

use files::{TestFile, check, options};
use mapledb::{Durability, Env, ReadTxn, Table, WriteTxn};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

const SLOT: &str = "MAPLE_TEST_SLOT";

const ACCOUNTS: Table<'static, u64, [u8]> = Table::new("accounts");
const JOURNAL: Table<'static, (u64, u64), u64> = Table::new("journal");
const ACCOUNTS_COUNT: u64 = 300;
const TOTAL: u64 = ACCOUNTS_COUNT * 1000;
const GENERATION: &[u8] = b"generation";

/// Another process, killed when it goes out of scope.
struct Other {
    child: Child,
    input: ChildStdin,
    lines: BufReader<ChildStdout>,
}

impl Other {
    /// Starts a process that plays `role` on `data`, and waits until it says that it is ready.
    fn start(role: &str, data: &Path, slot: u64) -> Other {
        let mut other = Other::launch(role, data, slot);
        other.expect("ready");
        other
    }

    fn launch(role: &str, data: &Path, slot: u64) -> Other {
        let mut child = another::process(role, data).env(SLOT, slot.to_string()).spawn().expect("start");
        let input = child.stdin.take().expect("piped");
        let lines = BufReader::new(child.stdout.take().expect("piped"));
        Other { child, input, lines }
    }

    /// Reads lines until one contains `word`; answers what follows it.
    fn expect(&mut self, word: &str) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            let read = self.lines.read_line(&mut line).expect("read");
            assert!(read > 0, "the other process ended without saying {word:?}");
            if let Some(at) = line.find(word) {
                return line[at + word.len()..].trim().to_string();
            }
        }
    }

    fn go_on(&mut self) {
        self.input.write_all(b"go on\n").expect("write");
    }

    /// Ends it as the kernel would. It must have been at work until then.
    fn kill(mut self) {
        if let Some(status) = self.child.try_wait().expect("wait") {
            panic!("the other process had ended by itself: {status}");
        }
        self.child.kill().expect("kill");
        let status = self.child.wait().expect("wait");
        assert_eq!(status.signal(), Some(libc::SIGKILL), "it failed before it was killed: {status}");
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn say(word: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "{word}").expect("write");
    out.flush().expect("flush");
}

fn wait_for_word() {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).expect("read");
}

fn open(path: &Path) -> Env {
    // A bound so small that relaxed commits are synced in the middle of everything.
    let options = options().relaxed_bound(1 << 20, Duration::from_millis(20));
    files::open_or_create(path, options).expect("open")
}

/// Where writers leave a byte that says who holds the writer lock, and after it how far each was acknowledged.
fn state_path(data: &Path) -> PathBuf {
    data.with_extension("state")
}

/// What another process does.
#[test]
fn as_another_process() {
    let Some((role, path)) = another::role() else { return };
    let slot: u64 = std::env::var(SLOT).expect("a slot").parse().expect("a number");
    match role.as_str() {
        "transfer for ever" => transfer_for_ever(&path, slot),
        "audit for ever" => audit_for_ever(&path, slot),
        "hold the writer lock" => {
            let env = open(&path);
            let mut txn = env.write().expect("write");
            txn.main().put(b"unfinished", &[1; 100_000]).expect("put");
            say("ready");
            wait_for_word();
        }
        "hold a snapshot" => {
            let env = open(&path);
            let _txn = env.read().expect("read");
            say("ready");
            wait_for_word();
        }
        "open and commit" => {
            say("ready");
            wait_for_word();
            let env = open(&path);
            let mut txn = env.write().expect("write");
            txn.main().put(&slot.to_be_bytes(), b"here").expect("put");
            txn.commit().expect("commit");
            say("done");
            wait_for_word();
            env.close().expect("close");
        }
        "wait for a newer commit" => {
            let env = open(&path);
            let txnid = env.read().expect("read").txnid();
            say("ready");
            let newer = env.wait_newer(txnid, Some(Duration::from_secs(20))).expect("wait");
            say(&format!("saw {}", newer.expect("one came")));
        }
        role => panic!("no such role: {role}"),
    }
}

fn balance(value: &[u8]) -> u64 {
    u64::from_le_bytes(value[..8].try_into().expect("eight bytes"))
}

fn generation_in(value: &[u8]) -> u64 {
    u64::from_le_bytes(value[8..16].try_into().expect("eight bytes"))
}

/// A balance, the generation it was written in, and as many bytes more as the generation says.
fn account(balance: u64, generation: u64) -> Vec<u8> {
    let mut value = [balance.to_le_bytes(), generation.to_le_bytes()].concat();
    let len = if generation.is_multiple_of(50) { 30_000 } else { 16 + generation % 300 };
    value.resize(len as usize, generation as u8);
    value
}

fn found(env: &Env) {
    let mut txn = env.write().expect("write");
    let mut accounts = txn.open_table(&ACCOUNTS).expect("table");
    for n in 0..ACCOUNTS_COUNT {
        accounts.put(&n, &account(TOTAL / ACCOUNTS_COUNT, 0)).expect("put");
    }
    txn.open_table(&JOURNAL).expect("table");
    txn.main().put(GENERATION, &0u64.to_le_bytes()).expect("put");
    txn.commit().expect("commit");
}

fn transfer(txn: &mut WriteTxn, rng: &mut SmallRng, slot: u64, number: u64) {
    let generation = balance(txn.main().get(GENERATION).expect("get").expect("founded")) + 1;
    let mut accounts = txn.table(&ACCOUNTS).expect("table");
    for _ in 0..rng.random_range(1..20) {
        let (from, to) = (rng.random_range(0..ACCOUNTS_COUNT), rng.random_range(0..ACCOUNTS_COUNT));
        let of = |n| balance(accounts.get(&n).expect("get").expect("an account"));
        let (has, had) = (of(from), of(to));
        let amount = rng.random_range(0..=has);
        if from != to {
            accounts.put(&from, &account(has - amount, generation)).expect("put");
            accounts.put(&to, &account(had + amount, generation)).expect("put");
        }
    }
    txn.table(&JOURNAL).expect("table").put(&(slot, number), &generation).expect("put");
    txn.main().put(GENERATION, &generation.to_le_bytes()).expect("put");
}

/// Commits transfers until it is killed, and writes down what was acknowledged after it was.
fn transfer_for_ever(path: &Path, slot: u64) {
    let env = open(path);
    let state = OpenOptions::new().write(true).open(state_path(path)).expect("state");
    let mut rng = SmallRng::seed_from_u64(u64::from(std::process::id()));
    say("ready");
    loop {
        let mut txn = env.write().expect("write");
        state.write_all_at(b"L", slot).expect("state");
        let is_relaxed = rng.random_ratio(1, 2);
        txn.durability(match (is_relaxed, rng.random()) {
            (true, _) => Durability::Relaxed,
            (false, true) => Durability::Group,
            (false, false) => Durability::Sync,
        });
        // The last commit of one who died may be there without anybody's having noted it. A writer sees it before its sync, so
        // that is no acknowledgement; but there may be one more from here on.
        let journal = txn.open_table(&JOURNAL).expect("table");
        let number = journal.count(&(slot, 0)..&(slot + 1, 0)).expect("count");
        state.write_all_at(&number.to_le_bytes(), begun_at(slot)).expect("state");
        transfer(&mut txn, &mut rng, slot, number);
        if rng.random_ratio(1, 10) {
            state.write_all_at(b"-", slot).expect("state");
            continue;
        }
        txn.commit().expect("commit");
        state.write_all_at(&(number + 1).to_le_bytes(), acknowledged_at(slot)).expect("state");
        state.write_all_at(b"-", slot).expect("state");
    }
}

fn acknowledged_at(slot: u64) -> u64 {
    64 + 8 * slot
}

/// Where a writer notes how many of its commits the one it begins builds on.
fn begun_at(slot: u64) -> u64 {
    128 + 8 * slot
}

/// Everything that must hold of a snapshot; answers its generation.
fn audit(txn: &ReadTxn) -> u64 {
    let generation = balance(txn.main().expect("main").get(GENERATION).expect("get").expect("founded"));
    let accounts = txn.table(&ACCOUNTS).expect("table");
    let (mut sum, mut count) = (0, 0);
    for entry in accounts.iter().expect("iter") {
        let (n, value) = entry.expect("sound");
        assert_eq!(n, count, "an account is missing");
        let written = generation_in(value);
        assert!(
            written <= generation,
            "account {n} is of generation {written}, its snapshot of {generation}"
        );
        assert_eq!(value, account(balance(value), written), "account {n} is not whole");
        sum += balance(value);
        count += 1;
    }
    assert_eq!((sum, count), (TOTAL, ACCOUNTS_COUNT), "generation {generation} does not add up");
    let journal = txn.table(&JOURNAL).expect("table");
    assert_eq!(journal.len(), generation, "each commit wrote one line");
    generation
}

fn audit_for_ever(path: &Path, slot: u64) {
    let env = open(path);
    say("ready");
    let mut rng = SmallRng::seed_from_u64(slot);
    let mut last = (0, 0);
    loop {
        let txn = env.read().expect("read");
        let now = (txn.txnid(), audit(&txn));
        assert!(now >= last, "{now:?} after {last:?}");
        last = now;
        if rng.random_ratio(1, 10) {
            std::thread::sleep(Duration::from_millis(rng.random_range(0..60)));
            assert_eq!((txn.txnid(), audit(&txn)), now, "a snapshot changed under its reader");
        }
    }
}

fn seconds() -> u64 {
    std::env::var("MAPLE_TEST_SECONDS").map_or(12, |text| text.parse().expect("a number"))
}

/// Every writer's acknowledged commits are in the journal, in order and without a gap.
fn nothing_acknowledged_is_lost(path: &Path, writers: u64) {
    let env = open(path);
    let state = File::open(state_path(path)).expect("state");
    let txn = env.read().expect("read");
    audit(&txn);
    let journal = txn.table(&JOURNAL).expect("table");
    for slot in 0..writers {
        let [acknowledged, begun] = [acknowledged_at(slot), begun_at(slot)].map(|at| {
            let mut bytes = [0; 8];
            state.read_exact_at(&mut bytes, at).expect("state");
            u64::from_le_bytes(bytes)
        });
        let mut there = 0;
        for entry in journal.range(&(slot, 0)..&(slot + 1, 0)).expect("range") {
            assert_eq!(entry.expect("sound").0, (slot, there), "a gap in what writer {slot} did");
            there += 1;
        }
        // A writer may have been killed between its commit and its note.
        assert!(
            (acknowledged..=begun + 1).contains(&there),
            "{there} of {acknowledged} acknowledged and {begun} that were built on, of writer {slot}"
        );
    }
    check(&env);
}

#[test]
fn snapshots_add_up_while_processes_are_killed_and_nothing_acknowledged_is_lost() {
    let seed = std::env::var("MAPLE_SEED").map_or(5, |text| text.parse().expect("a number"));
    println!("seed {seed}");
    let mut rng = SmallRng::seed_from_u64(seed);
    let file = TestFile::new();
    found(&open(file.path()));
    let state = OpenOptions::new().read(true).write(true).create_new(true).open(state_path(file.path()));
    let state = state.expect("state");
    state.write_all_at(&[0; 256], 0).expect("state");
    const WRITERS: u64 = 2;
    let role = |slot| if slot < WRITERS { "transfer for ever" } else { "audit for ever" };
    let start = |slot: u64| Other::start(role(slot), file.path(), slot);
    let mut others: Vec<_> = (0..4).map(start).collect();
    let (mut deaths, mut holders, mut routs) = (0, 0, 0);
    let end = Instant::now() + Duration::from_secs(seconds());
    while Instant::now() < end {
        std::thread::sleep(Duration::from_micros(rng.random_range(0..120_000)));
        let victim = match rng.random_range(0..3) {
            0 => {
                holders += 1;
                holder(&state, WRITERS)
            }
            _ => rng.random_range(0..others.len() as u64),
        };
        if rng.random_ratio(1, 12) {
            // Nobody is left: whoever comes next recovers, and adopts what was relaxed.
            others.drain(..).for_each(Other::kill);
            routs += 1;
            if rng.random() {
                nothing_acknowledged_is_lost(file.path(), WRITERS);
            }
            others = (0..4).map(start).collect();
        } else {
            let other = others.swap_remove(victim as usize);
            other.kill();
            deaths += 1;
            others.push(start(victim));
            let last = others.len() - 1;
            others.swap(victim as usize, last);
        }
    }
    others.drain(..).for_each(Other::kill);
    nothing_acknowledged_is_lost(file.path(), WRITERS);
    let env = open(file.path());
    let generation = audit(&env.read().expect("read"));
    println!(
        "{generation} commits, {deaths} deaths, {holders} of a holder of the writer lock, {routs} of all at once"
    );
    assert!(generation > 20 && deaths > 10, "hardly anything happened");
}

/// The writer that holds the writer lock now, or after a while any.
fn holder(state: &File, writers: u64) -> u64 {
    for _ in 0..20_000 {
        for slot in 0..writers {
            let mut byte = [0];
            state.read_exact_at(&mut byte, slot).expect("state");
            if byte == *b"L" {
                return slot;
            }
        }
        std::hint::spin_loop();
    }
    0
}

#[test]
fn processes_that_open_a_missing_file_at_once_share_one() {
    let file = TestFile::new();
    for round in 0..3 {
        let mut others: Vec<_> =
            (0..6).map(|slot| Other::start("open and commit", file.path(), 6 * round + slot)).collect();
        others.iter_mut().for_each(Other::go_on);
        for other in &mut others {
            other.expect("done");
        }
        let env = open(file.path());
        assert_eq!(env.read().expect("read").main().expect("main").len(), 6 * (round + 1));
        check(&env);
    }
}

#[test]
fn the_next_writer_takes_over_within_200_ms_and_nothing_unfinished_is_left() {
    let file = TestFile::with_entries(100);
    let env = open(file.path());
    for _ in 0..5 {
        let mut other = Other::start("hold the writer lock", file.path(), 0);
        assert!(env.try_write().expect("try").is_none());
        assert!(env.write_timeout(Duration::from_millis(30)).expect("wait").is_none());
        let waiter = std::thread::spawn({
            let env = env.clone();
            move || {
                let txn = env.write().expect("write");
                (Instant::now(), txn)
            }
        });
        std::thread::sleep(Duration::from_millis(20));
        other.child.kill().expect("kill");
        let killed = Instant::now();
        let (taken, mut txn) = waiter.join().expect("no panic");
        assert!(taken.duration_since(killed) < Duration::from_millis(200), "{:?}", taken - killed);
        assert_eq!(txn.main().get(b"unfinished").expect("get"), None);
        txn.main().put(b"after", b"it").expect("put");
        txn.commit().expect("commit");
        check(&env);
    }
}

#[test]
fn a_dead_readers_snapshot_holds_nothing_back() {
    let file = TestFile::with_entries(2000);
    let env = open(file.path());
    Other::start("hold a snapshot", file.path(), 0).kill();
    let before = env.info().expect("info").used_pages;
    for round in 0..60u64 {
        let mut txn = env.write().expect("write");
        for n in 0..2000u64 {
            txn.main().put(&n.to_be_bytes(), &round.to_le_bytes()).expect("put");
        }
        txn.commit().expect("commit");
    }
    let after = env.info().expect("info");
    assert_eq!(after.readers, 0);
    assert!(after.used_pages < 6 * before, "{} pages, {before} before", after.used_pages);
}

#[test]
fn a_wait_ends_with_another_processs_commit() {
    let file = TestFile::with_entries(1);
    let env = open(file.path());
    let mut others: Vec<_> =
        (0..2).map(|slot| Other::start("wait for a newer commit", file.path(), slot)).collect();
    std::thread::sleep(Duration::from_millis(50));
    let mut txn = env.write().expect("write");
    txn.durability(Durability::Relaxed);
    txn.main().put(b"news", b"!").expect("put");
    let txnid = txn.commit().expect("commit");
    for other in &mut others {
        assert_eq!(other.expect("saw "), txnid.to_string());
    }
    assert_eq!(env.wait_newer(txnid, Some(Duration::from_millis(20))).expect("wait"), None);
}
