//! Pages that the system cannot deliver or store, under [`catch_sigbus`](mapledb::Options::catch_sigbus) and without it.
//!
//! What happens to a process is looked at from another one: this test binary again, told by the environment what to do.

mod files;

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use files::{TestFile, check, open, open_or_create, options};
use mapledb::{Access, Env, Error, ReadTxn};

const ROLE: &str = "MAPLE_SIGBUS_ROLE";
const DATA: &str = "MAPLE_SIGBUS_DATA";
const ENTRIES: u64 = 5000;

fn filled() -> TestFile {
    let file = TestFile::new();
    let env = file.open(options());
    fill(&env, 1).expect("fill");
    env.close().expect("close");
    file
}

fn fill(env: &Env, with: u8) -> mapledb::Result<()> {
    let mut txn = env.write()?;
    for n in 0..ENTRIES {
        txn.main().put(&n.to_be_bytes(), &[with; 200])?;
    }
    txn.commit().map(|_| ())
}

/// Cuts the file behind MapleDB's back, as nobody should.
fn cut(path: &Path, len: u64) {
    File::options().write(true).open(path).expect("open").set_len(len).expect("cut");
}

fn is_fault(error: &Error) -> bool {
    match error {
        Error::Fault { .. } => true,
        Error::SyncFailed { cause } | Error::Indeterminate { cause, .. } => is_fault(cause),
        _ => false,
    }
}

/// Reads everything; answers how many values were right and how many were refused. Nothing is wrong, unless the
/// transaction says in its next call that it may be.
fn read_all(txn: &ReadTxn) -> (u64, u64) {
    let (mut right, mut refused) = (0, 0);
    for n in 0..ENTRIES {
        let is_right = txn.main().and_then(|table| match table.get(&n.to_be_bytes())? {
            Some(value) => Ok(value.iter().all(|byte| *byte == 1)),
            None => Ok(false),
        });
        match is_right.and_then(|is_right| txn.check_faults().map(|()| is_right)) {
            Ok(true) => right += 1,
            Ok(false) => panic!("a wrong answer for {n}, and no word of it"),
            Err(error) if is_fault(&error) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    (right, refused)
}

/// What another process does.
#[test]
fn as_another_process() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let path = PathBuf::from(std::env::var_os(DATA).expect("a file"));
    match role.as_str() {
        "read a cut file" => read_a_cut_file(&path),
        "hand out and cut" => hand_out_and_cut(&path),
        "write to a cut file" => write_to_a_cut_file(&path),
        "read a cut file, uncaught" => {
            let env = open(&path, options()).expect("open");
            cut(&path, 2 * 65536);
            read_all(&env.read().expect("read"));
        }
        "overwrite a clone" => overwrite_a_clone(&path),
        role => foreign(role, &path),
    }
    println!("survived");
}

fn read_a_cut_file(path: &Path) {
    for verify in [mapledb::Verify::FirstTouch, mapledb::Verify::Always] {
        let whole = std::fs::read(path).expect("read");
        let env = open(path, options().catch_sigbus(true).verify(verify)).expect("open");
        let txn = env.read().expect("read");
        assert_eq!(read_all(&txn), (ENTRIES, 0));
        cut(path, whole.len() as u64 / 2);
        let (right, refused) = read_all(&txn);
        assert!(refused > 0 && right + refused == ENTRIES, "{right} right, {refused} refused");
        let error = txn.main().err().expect("every further call says so");
        let told = error.to_string();
        assert!(is_fault(&error) && told.contains("test.maple") && told.contains("open it again"), "{told}");
        // Another snapshot shows what can be verified, and nothing else.
        let anew = env.read().expect("read");
        let scanned = anew.main().and_then(|table| table.iter()?.find_map(Result::err).map_or(Ok(()), Err));
        let told = scanned.expect_err("half of the file is gone");
        assert!(is_fault(&told), "{told}");
        let error = env.write().map(|_| ()).expect_err("nothing is written any more");
        assert!(is_fault(&error), "{error}");
        drop((txn, anew));
        drop(env);
        std::fs::write(path, &whole).expect("as it was");
    }
}

fn hand_out_and_cut(path: &Path) {
    let env = open(path, options().catch_sigbus(true)).expect("open");
    let txn = env.read().expect("read");
    let table = txn.main().expect("main");
    let len = std::fs::metadata(path).expect("metadata").len();
    let values: Vec<_> = table.iter().expect("iter").map(|entry| entry.expect("an entry").1).collect();
    txn.check_faults().expect("all is well so far");
    cut(path, 2 * 65536);
    // The caveat: a value that was handed out reads as zeros now.
    let zeros = values.iter().filter(|value| value.contains(&0)).count();
    assert!(zeros > values.len() / 2, "only {zeros} of {} are gone", values.len());
    let error = txn.check_faults().expect_err("and the next call says so");
    assert!(matches!(error, Error::Fault { offset, .. } if (2 * 65536..len).contains(&offset)), "{error}");
    let error = table.get(&7u64.to_be_bytes()[..]).expect_err("as does any other");
    assert!(is_fault(&error), "{error}");
}

fn write_to_a_cut_file(path: &Path) {
    let env = open(path, options().catch_sigbus(true)).expect("open");
    let mut txn = env.write().expect("write");
    for n in 0..50u64 {
        txn.main().put(&n.to_be_bytes(), &[2; 200]).expect("put");
    }
    cut(path, 2 * 65536);
    let failed = (50..ENTRIES).find_map(|n| txn.main().put(&n.to_be_bytes(), &[2; 200]).err());
    let error = failed.expect("no later than when it stores past the end");
    // Growing asks the file for its length, and may be the first to notice.
    assert!(is_fault(&error) || matches!(error, Error::Truncated { .. } | Error::Os(_)), "{error:?}");
    assert!(txn.commit().is_err());
    let error = env.write().map(|_| ()).expect_err("nobody writes any more");
    assert!(is_fault(&error), "{error}");
    assert!(env.info().expect("info").is_poisoned, "and all processes know it");
    let mut line = String::new();
    println!("> cut");
    std::io::stdin().read_line(&mut line).expect("a word");
}

/// Overwrites what a clone shares with its original until something fails, which it must before long.
fn overwrite_a_clone(path: &Path) {
    let env = open(path, options().catch_sigbus(true)).expect("open");
    for turn in 0..10_000u64 {
        let committed = env.write().and_then(|mut txn| {
            // Few pages, which are stored to one by one; then many, which are made present by a call.
            for n in 0..if turn % 2 == 0 { 1 } else { ENTRIES } {
                txn.main().put(&n.to_be_bytes(), &[turn as u8 | 1; 200])?;
            }
            txn.main().put(b"turn", &turn.to_le_bytes())?;
            txn.commit()
        });
        match committed {
            Ok(_) => println!("> committed {turn}"),
            Err(error) => {
                println!("> failed {error}");
                let is_known = is_fault(&error)
                    || matches!(
                        error,
                        Error::DiskFull(_) | Error::SyncFailed { .. } | Error::Indeterminate { .. }
                    );
                assert!(is_known, "{error:?}");
                return;
            }
        }
    }
    panic!("the disk is never full");
}

/// Faults and signals that are none of ours, after a handler of another has been installed or not.
#[allow(unsafe_code)]
fn foreign(role: &str, path: &Path) {
    extern "C" fn with_info(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
        // SAFETY: the system hands a whole struct.
        let about = unsafe { &*info };
        // SAFETY: the field is read as a number.
        let address = unsafe { about.si_addr() };
        // SAFETY: ends the process at once, running nothing of it.
        unsafe { libc::_exit(if address.is_null() { 70 } else { 71 }) }
    }
    extern "C" fn plain(_: libc::c_int) {
        // SAFETY: ends the process at once.
        unsafe { libc::_exit(72) }
    }
    let (before, what) = role.split_once(", ").expect("two parts");
    let (handler, flags) = match before {
        "with info" => (with_info as *const () as usize, libc::SA_SIGINFO),
        "plain" => (plain as *const () as usize, 0),
        "default" => (libc::SIG_DFL, 0),
        "ignored" => (libc::SIG_IGN, 0),
        other => panic!("no such handler: {other}"),
    };
    // SAFETY: zeros are a valid value of this struct.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler;
    action.sa_flags = flags;
    // SAFETY: the struct is whole, its handler is a function of this program.
    assert_eq!(unsafe { libc::sigaction(libc::SIGBUS, &action, std::ptr::null_mut()) }, 0);
    let env = open(path, options().catch_sigbus(true)).expect("open");
    let txn = env.read().expect("read");
    match what {
        "fault elsewhere" => {
            let other = path.with_extension("other");
            File::create(&other).expect("create").set_len(4096).expect("grow");
            let file = File::open(&other).expect("open");
            let fd = std::os::fd::AsRawFd::as_raw_fd(&file);
            // SAFETY: maps an open file at an address that the system chooses.
            let at =
                unsafe { libc::mmap(std::ptr::null_mut(), 8192, libc::PROT_READ, libc::MAP_SHARED, fd, 0) };
            assert_ne!(at, libc::MAP_FAILED);
            let past = at.cast::<u8>().wrapping_add(4096);
            // SAFETY: mapped; past the end of the file, which is the point.
            println!("{}", unsafe { past.read_volatile() });
        }
        "signal" => {
            // SAFETY: takes a number.
            unsafe { libc::raise(libc::SIGBUS) };
        }
        other => panic!("no such thing: {other}"),
    }
    // Whoever comes here was not ended, and ours is still there.
    txn.check_faults().expect("no fault of ours");
    cut(path, 2 * 65536);
    let error = txn.main().and_then(|table| table.iter()?.find_map(Result::err).map_or(Ok(()), Err)).err();
    assert!(error.is_none_or(|error| is_fault(&error)));
}

fn play(role: &str, data: &Path) -> Output {
    Command::new(std::env::current_exe().expect("this binary"))
        .args(["as_another_process", "--exact", "--nocapture", "--test-threads=1"])
        .env(ROLE, role)
        .env(DATA, data)
        .stdin(Stdio::null())
        .output()
        .expect("another process")
}

fn survives(role: &str, data: &Path) -> String {
    let output = play(role, data);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let also = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("survived"), "{role}: {}: {said}{also}", output.status);
    said
}

#[test]
fn a_reader_of_a_file_that_was_cut_gets_errors_and_no_signal() {
    let file = filled();
    survives("read a cut file", file.path());
}

#[test]
fn bytes_handed_out_read_as_zeros_and_the_next_call_says_so() {
    let file = filled();
    survives("hand out and cut", file.path());
    file.give_up();
}

#[test]
fn a_writer_whose_stores_go_nowhere_poisons_the_environment_in_every_process() {
    let file = filled();
    let env = file.open(options());
    let whole = std::fs::read(file.path()).expect("read");
    survives("write to a cut file", file.path());
    std::fs::write(file.path(), &whole).expect("as it was");
    let error = env.write().map(|_| ()).expect_err("refused here too");
    assert!(matches!(error, Error::Poisoned { .. }), "{error}");
    assert_eq!(read_all(&env.read().expect("read")), (ENTRIES, 0), "readers go on");
    drop(env);
    let env = file.open(options());
    assert!(env.recovery().was_poisoned);
    fill(&env, 1).expect("it is healed");
}

#[test]
fn without_being_asked_for_it_stays_a_signal() {
    let file = filled();
    let output = play("read a cut file, uncaught", file.path());
    assert_eq!(output.status.signal(), Some(libc::SIGBUS), "{}", output.status);
    file.give_up();
}

#[test]
fn what_is_not_ours_goes_to_the_handler_there_was_before() {
    let table = [
        ("with info, fault elsewhere", Ok(71)),
        ("plain, fault elsewhere", Ok(72)),
        ("plain, signal", Ok(72)),
        ("default, fault elsewhere", Err(libc::SIGBUS)),
        ("default, signal", Err(libc::SIGBUS)),
        ("ignored, fault elsewhere", Err(libc::SIGBUS)),
    ];
    for (role, expected) in table {
        let file = filled();
        let status = play(role, file.path()).status;
        match expected {
            Ok(code) => assert_eq!(status.code(), Some(code), "{role}: {status}"),
            Err(signal) => assert_eq!(status.signal(), Some(signal), "{role}: {status}"),
        }
        file.give_up();
    }
    let file = filled();
    survives("ignored, signal", file.path());
    file.give_up();
}

fn skip(why: &str) {
    eprintln!("SKIP {}: {why}", std::thread::current().name().unwrap_or("?"));
}

/// A btrfs on a loop device, unmounted when it goes out of scope.
struct Btrfs(tempfile::TempDir);

impl Btrfs {
    fn new() -> Option<Btrfs> {
        let dir = tempfile::tempdir().expect("a directory");
        let image = dir.path().join("image");
        let mount = dir.path().join("mount");
        std::fs::create_dir(&mount).expect("a directory");
        File::create(&image).expect("create").set_len(150 << 20).expect("grow");
        let made = run(Command::new("mkfs.btrfs").args(["-q", "-m", "single"]).arg(&image));
        (made && run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&mount))).then(|| Btrfs(dir))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join("mount").join(name)
    }
}

impl Drop for Btrfs {
    fn drop(&mut self) {
        run(Command::new("umount").arg(self.0.path().join("mount")));
    }
}

fn run(command: &mut Command) -> bool {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

#[test]
fn a_full_disk_under_a_clone_is_an_error_and_no_signal() {
    let Some(disk) = Btrfs::new() else { return skip("cannot make and mount a btrfs") };
    let (original, clone) = (disk.path("original.maple"), disk.path("clone.maple"));
    let env = open_or_create(&original, options()).expect("create");
    // Pages that were given up: the clone will store to them, and they will be shared with the original.
    for _ in 0..4 {
        fill(&env, 1).expect("fill");
    }
    env.close().expect("close");
    File::create(&clone).expect("create");
    let cloned = run(Command::new("chattr").arg("+C").arg(&clone))
        && run(Command::new("cp").arg("--reflink=always").arg(&original).arg(&clone));
    if !cloned {
        return skip("cannot clone a file");
    }
    // It gets its lock file while there is room for one.
    open(&clone, options()).expect("open").close().expect("close");
    let ballast = disk.path("ballast");
    for block in ["1M", "4k"] {
        run(Command::new("dd")
            .args(["if=/dev/zero", "oflag=append", "conv=notrunc"])
            .arg(format!("bs={block}"))
            .arg(format!("of={}", ballast.display())));
    }
    assert!(run(&mut Command::new("sync")));
    let said = survives("overwrite a clone", &clone);
    assert!(said.contains("> failed"), "{said}");
    let last = said.lines().rev().find_map(|line| line.strip_prefix("> committed "));
    let last = last.map_or(0, |turn| turn.parse::<u64>().expect("a number"));
    std::fs::remove_file(&ballast).expect("remove");
    assert!(run(&mut Command::new("sync")));
    let env = open(&clone, options()).expect("open");
    check(&env);
    let txn = env.read().expect("read");
    let found = txn
        .main()
        .expect("main")
        .get(&b"turn"[..])
        .expect("get")
        .map_or(0, |turn| u64::from_le_bytes(turn.try_into().expect("eight bytes")));
    assert!(found == last || found == last + 1, "commit {found} stands, {last} was the last acknowledged");
    drop(txn);
    fill(&env, 1).expect("there is room again");
    drop(env);
    let env = open(&original, options().access(Access::Exclusive)).expect("open");
    assert_eq!(read_all(&env.read().expect("read")), (ENTRIES, 0), "the original was not touched");
    check(&env);
    println!("{said}");
}
