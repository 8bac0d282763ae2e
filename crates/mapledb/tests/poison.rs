//! After a failed sync: what readers of each snapshot get, what processes get that had the file open before the error
//! or open it after, and how it is healed.
//!
//! A failed sync leaves pages *clean* that are not on the disk. The kernel may evict them, and then the file shows what
//! the disk has: older pages, or torn ones. Here the file is changed so under open readers.
#![cfg(feature = "seam")]

mod files;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use files::{TestFile, check, open, options};
use mapledb::{Access, Durability, Env, Error, ReadTxn};
use mapledb_os::{Effect, Observer, Seam};

const ENTRIES: u64 = 2000;
const PAGE: usize = 4096;

/// Fails every sync from the moment it is told to.
#[derive(Default)]
struct FailingSyncs(AtomicBool);

impl Observer for FailingSyncs {
    fn before(&self, effect: &Effect) -> io::Result<()> {
        let is_sync = matches!(effect, Effect::Sync { .. } | Effect::SyncFile { .. });
        match is_sync && self.0.load(Ordering::SeqCst) {
            true => Err(io::Error::from_raw_os_error(libc::EIO)),
            false => Ok(()),
        }
    }

    fn after(&self, _: &Effect, _: bool) {}
}

/// Sets every value to `with`, relaxed or not.
fn fill(env: &Env, with: u8, durability: Durability) -> mapledb::Result<()> {
    let mut txn = env.write()?;
    txn.durability(durability);
    for n in 0..ENTRIES {
        txn.main().put(&n.to_be_bytes(), &[with; 100])?;
    }
    // A run of several pages, which is verified and remembered as one.
    txn.main().put(b"long", &vec![with; 5 * PAGE])?;
    txn.commit().map(|_| ())
}

/// What a reader of a snapshot that holds `with` got: true bytes and errors are counted, anything else is a lie.
#[derive(Debug, Default, PartialEq, Eq)]
struct Got {
    right: u64,
    refused: u64,
}

fn read_all(txn: &ReadTxn, with: u8) -> Got {
    let mut got = Got::default();
    let Ok(table) = txn.main() else { return Got { right: 0, refused: ENTRIES + 1 } };
    let keys = (0..ENTRIES).map(|n| n.to_be_bytes().to_vec()).chain([b"long".to_vec()]);
    for key in keys {
        match table.get(&key[..]) {
            Ok(Some(value)) => {
                assert!(
                    value.iter().all(|byte| *byte == with),
                    "a wrong value was handed out for {key:02x?}"
                );
                got.right += 1;
            }
            Ok(None) => panic!("{key:02x?} is said not to be there"),
            Err(Error::Corrupt { .. }) => got.refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    got
}

const EVERYTHING: Got = Got { right: ENTRIES + 1, refused: 0 };

/// How the disk's content differs from the page cache's.
#[derive(Clone, Copy, Debug)]
enum Evicted {
    /// All but the last sector was written: what tells a page from another agrees, and most of its entries.
    Torn,
    /// Nothing was written.
    Older,
}

/// Puts what the disk had in the place of what the page cache has, in every page that differs.
fn evict(path: &Path, on_disk: &[u8], how: Evicted) -> u64 {
    let now = std::fs::read(path).expect("read");
    let file = File::options().write(true).open(path).expect("open");
    let mut changed = 0;
    for at in (2 * 65536..now.len()).step_by(PAGE) {
        let zeros = [0; PAGE];
        let old = on_disk.get(at..at + PAGE).unwrap_or(&zeros);
        if now[at..at + PAGE] == *old {
            continue;
        }
        let from = match how {
            Evicted::Torn => PAGE - 512,
            Evicted::Older => 0,
        };
        file.write_all_at(&old[from..], (at + from) as u64).expect("write");
        changed += 1;
    }
    changed
}

fn quiet(options: mapledb::Options) -> mapledb::Options {
    options.relaxed_bound(1 << 40, Duration::from_secs(3600))
}

#[test]
fn a_reader_of_a_later_head_gets_its_true_bytes_or_an_error_after_a_failed_sync() {
    for how in [Evicted::Torn, Evicted::Older] {
        let file = TestFile::new();
        let failing = Arc::new(FailingSyncs::default());
        let env = file.open(quiet(options()).seam(Seam::watched(failing.clone())));
        fill(&env, 1, Durability::Sync).expect("fill");
        let durable = env.read().expect("read");
        let on_disk = std::fs::read(file.path()).expect("read");
        fill(&env, 2, Durability::Relaxed).expect("fill");
        let later = env.read().expect("read");
        assert_eq!(read_all(&later, 2), EVERYTHING, "and so the memo knows every page");
        assert_eq!(read_all(&durable, 1), EVERYTHING);

        failing.0.store(true, Ordering::SeqCst);
        assert!(matches!(env.sync(), Err(Error::SyncFailed { .. } | Error::Indeterminate { .. })));
        assert!(env.info().expect("info").is_poisoned);
        assert_eq!(read_all(&later, 2), EVERYTHING, "nothing has been evicted yet");
        let changed = evict(file.path(), &on_disk, how);
        assert!(changed > 50, "only {changed} pages differ");

        assert_eq!(read_all(&durable, 1), EVERYTHING, "readers of the durable snapshot go on");
        let got = read_all(&later, 2);
        assert_eq!(got.right, 0, "every page of the later head has been evicted: {got:?}");
        let anew = env.read().expect("a read may begin");
        assert_eq!(read_all(&anew, 2).right, 0);
        drop((durable, later, anew));
        drop(env);
        failing.0.store(false, Ordering::SeqCst);
        let env = file.open(options());
        assert!(env.recovery().was_poisoned && env.recovery().refused_relaxed.is_some());
        assert_eq!(read_all(&env.read().expect("read"), 1), EVERYTHING, "the durable snapshot stands");
        fill(&env, 3, Durability::Sync).expect("it is healed");
    }
}

/// What another process does: it says what it sees of an environment, as often as it is asked.
#[test]
fn as_another_process() {
    let Ok(path) = std::env::var("MAPLE_POISON_DATA") else { return };
    let read_only = std::env::var("MAPLE_POISON_ACCESS").is_ok_and(|access| access == "read-only");
    let access = if read_only { Access::SharedReadOnly } else { Access::Shared };
    let env = open(&path, quiet(options()).access(access)).expect("open");
    let held = env.read().expect("read");
    println!("\n> ready {:?}", env.recovery());
    for line in io::stdin().lines() {
        match line.expect("a line").as_str() {
            "held" => println!("> {:?}", read_all(&held, 2)),
            "new" => println!("> {:?}", read_all(&env.read().expect("read"), 2)),
            "write" => match env.write() {
                Ok(_) => println!("> may write"),
                Err(error) => println!("> {error:?}: {error}"),
            },
            "close" => {
                drop(held);
                println!("> {:?}", env.close().map_err(|error| error.to_string()));
                return;
            }
            other => panic!("no such word: {other}"),
        }
    }
}

struct Other {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Other {
    fn start(path: &Path, access: &str) -> (Other, String) {
        let mut child = Command::new(std::env::current_exe().expect("this binary"))
            .args(["--exact", "as_another_process", "--nocapture"])
            .env("MAPLE_POISON_DATA", path)
            .env("MAPLE_POISON_ACCESS", access)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("another process");
        let to = child.stdin.take().expect("piped");
        let from = BufReader::new(child.stdout.take().expect("piped"));
        let mut other = Other { child, to, from };
        let first = other.listen();
        (other, first)
    }

    fn listen(&mut self) -> String {
        let mut line = String::new();
        while self.from.read_line(&mut line).expect("read") > 0 {
            if let Some(said) = line.trim_end().strip_prefix("> ") {
                return said.to_string();
            }
            line.clear();
        }
        panic!("the other process said nothing");
    }

    fn ask(&mut self, word: &str) -> String {
        writeln!(self.to, "{word}").expect("write");
        self.listen()
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_poisoned_environment_is_healed_by_the_first_to_open_it_after_all_have_closed_it() {
    let file = TestFile::new();
    let failing = Arc::new(FailingSyncs::default());
    let env = file.open(quiet(options()).seam(Seam::watched(failing.clone())));
    fill(&env, 1, Durability::Sync).expect("fill");
    let on_disk = std::fs::read(file.path()).expect("read");
    fill(&env, 2, Durability::Relaxed).expect("fill");

    let (mut before, said) = Other::start(file.path(), "read-write");
    assert!(said.contains("was_clean: true") && said.contains("was_poisoned: false"), "{said}");
    assert_eq!(before.ask("held"), format!("{EVERYTHING:?}"));
    failing.0.store(true, Ordering::SeqCst);
    assert!(matches!(env.sync(), Err(Error::SyncFailed { .. } | Error::Indeterminate { .. })));

    // Who had it open goes on reading, and is told why it cannot write.
    assert_eq!(before.ask("held"), format!("{EVERYTHING:?}"), "the page cache still has it");
    let said = before.ask("write");
    assert!(said.starts_with("Poisoned") && said.contains("close it in every process"), "{said}");
    // Who comes now joins, reads what can be verified, is told at once, and cannot write either.
    let (mut after, said) = Other::start(file.path(), "read-write");
    assert!(said.contains("was_clean: false") && said.contains("was_poisoned: true"), "{said}");
    let (mut reader, said) = Other::start(file.path(), "read-only");
    assert!(said.contains("was_clean: false") && said.contains("was_poisoned: true"), "{said}");
    assert_eq!(after.ask("new"), format!("{EVERYTHING:?}"));
    assert!(after.ask("write").starts_with("Poisoned"));

    let changed = evict(file.path(), &on_disk, Evicted::Torn);
    assert!(changed > 50, "only {changed} pages differ");
    for other in [&mut before, &mut after, &mut reader] {
        for word in ["held", "new"] {
            let said = other.ask(word);
            assert!(said.starts_with("Got { right: 0, "), "{word}: {said}");
        }
    }

    // It stays so until the last has closed it. Closing says so to whoever leaves commits of its own undone, and to the
    // last; who has lost nothing is told nothing.
    assert!(matches!(env.close(), Err(Error::Poisoned { .. })));
    failing.0.store(false, Ordering::SeqCst);
    assert_eq!(before.ask("close"), "Ok(())");
    let env = file.open(options());
    assert!(env.recovery().was_poisoned && !env.recovery().was_clean, "{:?}", env.recovery());
    assert!(matches!(env.write().map(|_| ()), Err(Error::Poisoned { .. })), "two others hold it open");
    env.close().expect("it owes nothing");
    assert_eq!(reader.ask("close"), "Ok(())");
    assert!(after.ask("close").contains("poisoned"), "the last to go leaves something undone");
    for mut other in [before, after, reader] {
        other.child.wait().expect("wait");
    }

    let refused = open(file.path(), options().access(Access::SharedReadOnly)).map(|_| ());
    assert!(matches!(refused, Err(Error::NeedsRecovery { .. })), "{refused:?}");
    let env = file.open(options());
    assert!(env.recovery().was_poisoned && env.recovery().refused_relaxed.is_some(), "{:?}", env.recovery());
    assert!(!env.info().expect("info").is_poisoned);
    assert_eq!(read_all(&env.read().expect("read"), 1), EVERYTHING);
    fill(&env, 2, Durability::Sync).expect("it is healed");
    assert_eq!(read_all(&env.read().expect("read"), 2), EVERYTHING);
    check(&env);
    env.close().expect("close");
    assert!(file.open(options()).recovery().was_clean);
}
