//! A forked child has no part in what was open: it is told so, and harms nothing.

mod files;

use std::io::{Read, Write};
use std::time::Duration;

use files::{TestFile, check, options};
use mapledb::{Error, Table};

/// Runs `child` in a forked child; answers its exit code.
///
/// The child of a process with threads may do little: `child` looks, drops, and returns a number.
fn in_a_child(child: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the child runs what it was given, which takes no lock that another thread may hold, and exits without
    // returning.
    #[allow(unsafe_code)]
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).unwrap_or(101);
        // SAFETY: ends the child without running the parent's exit handlers.
        #[allow(unsafe_code)]
        unsafe {
            libc::_exit(code)
        };
    }
    let mut status = 0;
    // SAFETY: waits for the child made above and writes one number.
    #[allow(unsafe_code)]
    let waited = unsafe { libc::waitpid(pid, &mut status, 0) };
    assert_eq!(waited, pid);
    assert!(libc::WIFEXITED(status), "the child ended by a signal: {status}");
    libc::WEXITSTATUS(status)
}

/// The first of the answers that is not `AfterFork`, from 1; 0 if all are.
fn first_other(answers: &[Result<(), Error>]) -> i32 {
    let place = answers.iter().position(|answer| !matches!(answer, Err(Error::AfterFork)));
    place.map_or(0, |at| at as i32 + 1)
}

const NAMED: Table<'static, u64, u64> = Table::new("named");

#[test]
fn every_call_in_a_forked_child_is_refused_and_drops_touch_nothing() {
    let file = TestFile::with_entries(1000);
    let env = file.open(options());
    let mut txn = env.write().expect("write");
    txn.open_table(&NAMED).expect("table").put(&1, &2).expect("put");
    txn.commit().expect("commit");

    let reader = env.read().expect("read");
    let mut writer = env.write().expect("write");
    writer.main().put(b"begun", b"before the fork").expect("put");
    let code = in_a_child(|| {
        let answers = [
            env.read().map(|_| ()),
            env.write().map(|_| ()),
            env.try_write().map(|_| ()),
            env.write_timeout(Duration::from_millis(1)).map(|_| ()),
            env.wait_newer(0, Some(Duration::ZERO)).map(|_| ()),
            env.info().map(|_| ()),
            env.readers().map(|_| ()),
            env.check(|_| ()).map(|_| ()),
            env.sync(),
            reader.main().map(|_| ()),
            reader.table(&NAMED).map(|_| ()),
            reader.tables().map(|_| ()),
            writer.main().put(b"k", b"v"),
            writer.main().get(b"begun").map(|_| ()),
            writer.main().delete(b"begun").map(|_| ()),
            writer.open_table(&NAMED).map(|_| ()),
            writer.tables().map(|_| ()),
            writer.rename_table("named", "other"),
            writer.drop_table("named").map(|_| ()),
            writer.main().next_sequence(1).map(|_| ()),
        ];
        first_other(&answers)
    });
    assert_eq!(code, 0, "call {code} of the list");
    assert_eq!(env.info().expect("info").readers, 1, "the child released nothing");
    assert!(env.try_write().expect("try").is_none(), "nor the writer lock");

    writer.main().put(b"and", b"after it").expect("put");
    writer.commit().expect("commit");
    assert_eq!(reader.main().expect("main").len(), 1000);
    drop(reader);
    assert_eq!(env.read().expect("read").main().expect("main").len(), 1002);
    check(&env);
}

#[test]
fn levels_and_views_in_a_forked_child_are_refused_and_undo_nothing() {
    let file = TestFile::with_entries(1000);
    let env = file.open(options());
    let mut reader = env.read().expect("read");
    let resting = env.read().expect("read").reset();
    let mut writer = env.write().expect("write");
    writer.main().put(b"parent", b"1").expect("put");
    let savepoint = writer.savepoint().expect("savepoint");
    let mut nested = Some(writer.nested().expect("nested"));
    nested.as_mut().expect("some").main().put(b"parent", b"2").expect("put");
    let mut resting = Some(resting);
    let code = in_a_child(|| {
        let mut inner = nested.take().expect("some");
        let mut answers = vec![
            inner.main().put(b"k", b"v"),
            inner.nested().map(|_| ()),
            inner.savepoint().map(|_| ()),
            inner.rollback_to(&savepoint),
            inner.release(&savepoint),
            inner.view().main().map(|_| ()),
            inner.view().tables().map(|_| ()),
            inner.commit(),
            reader.refresh().map(|_| ()),
            reader.upgrade().map(|_| ()),
        ];
        answers.push(resting.take().expect("some").renew().map(|_| ()));
        first_other(&answers)
    });
    assert_eq!(code, 0, "call {code} of the list");
    let nested = nested.expect("the child's memory is its own");
    assert_eq!(
        nested.view().main().expect("main").get(b"parent").expect("get"),
        Some(&b"2"[..]),
        "nothing was undone"
    );
    nested.commit().expect("commit");
    writer.commit().expect("commit");
    assert_eq!(resting.expect("it, too").renew().expect("renew").main().expect("main").len(), 1001);
    check(&env);
}

#[test]
fn a_child_that_drops_everything_leaves_the_parent_whole() {
    let file = TestFile::with_entries(1000);
    let env = file.open(options());
    let reader = env.read().expect("read");
    let mut writer = env.write().expect("write");
    writer.main().put(b"begun", b"before the fork").expect("put");
    // Moved into the child: there they are dropped; here they are what they were.
    let mut kept = Some((reader, writer, env));
    let code = in_a_child(|| {
        drop(kept.take());
        0
    });
    assert_eq!(code, 0);
    let (reader, writer, env) = kept.expect("the child's memory is its own");
    assert_eq!(env.info().expect("info").readers, 1);
    assert_eq!(reader.main().expect("main").len(), 1000);
    writer.commit().expect("commit");
    drop(reader);
    check(&env);
    env.close().expect("close");
}

#[test]
fn a_commit_in_a_forked_child_is_refused() {
    let file = TestFile::with_entries(10);
    let env = file.open(options());
    let mut writer = env.write().expect("write");
    writer.main().put(b"begun", b"before the fork").expect("put");
    let mut kept = Some(writer);
    let code = in_a_child(|| first_other(&[kept.take().expect("still there").commit().map(|_| ())]));
    assert_eq!(code, 0);
    kept.expect("the child's memory is its own").commit().expect("commit");
    assert_eq!(env.read().expect("read").main().expect("main").len(), 11);
    check(&env);
}

#[test]
fn a_child_may_open_the_file_for_itself() {
    let file = TestFile::with_entries(10);
    let env = file.open(options());
    let code = in_a_child(|| {
        let own = match files::open(file.path(), options()) {
            Ok(own) => own,
            Err(_) => return 1,
        };
        let Ok(mut txn) = own.write() else { return 2 };
        if txn.main().put(b"child", b"was here").is_err() || txn.commit().is_err() {
            return 3;
        }
        drop(own);
        0
    });
    assert_eq!(code, 0);
    assert_eq!(
        env.read().expect("read").main().expect("main").get(b"child").expect("get"),
        Some(&b"was here"[..])
    );
    check(&env);
}

/// Forks; the child does `child`, which does not return.
fn fork(child: impl FnOnce()) -> i32 {
    // SAFETY: as in `in_a_child`.
    #[allow(unsafe_code)]
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child));
        // SAFETY: ends the child without running the parent's exit handlers.
        #[allow(unsafe_code)]
        unsafe {
            libc::_exit(101)
        };
    }
    pid
}

fn kill(pid: i32) {
    // SAFETY: ends a process that this test has made.
    #[allow(unsafe_code)]
    let killed = unsafe { libc::kill(pid, libc::SIGKILL) };
    assert_eq!(killed, 0, "process {pid}");
}

#[test]
fn a_forked_child_does_not_keep_its_killed_parent_alive() {
    let file = TestFile::with_entries(10);
    let (mut said, says) = std::io::pipe().expect("pipe");
    let holder = fork(|| {
        let env = file.open(options());
        let _reader = env.read().expect("read");
        let _writer = env.write().expect("write");
        let heir = fork(|| std::thread::sleep(Duration::from_secs(60)));
        (&says).write_all(&heir.to_le_bytes()).expect("say");
        std::thread::sleep(Duration::from_secs(60));
    });
    let mut heir = [0; 4];
    said.read_exact(&mut heir).expect("read");
    let env = file.open(options());
    kill(holder);
    let next = env.write_timeout(Duration::from_secs(5)).expect("write");
    let is_free = next.is_some();
    drop(next);
    let readers = env.info().expect("info").readers;
    kill(i32::from_le_bytes(heir));
    assert!(is_free, "the writer lock of a dead process is held by its child");
    assert_eq!(readers, 0, "so is its reader slot");
    check(&env);
}

#[test]
fn a_forked_child_does_not_keep_the_file_open_after_its_parent() {
    let file = TestFile::with_entries(10);
    let env = file.open(options());
    // SAFETY: the child sleeps until it is killed; it calls nothing else.
    #[allow(unsafe_code)]
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        loop {
            std::thread::sleep(Duration::from_secs(1));
        }
    }
    env.close().expect("close");
    let alone = files::open(file.path(), options().access(mapledb::Access::Exclusive));
    // SAFETY: ends and reaps the child made above; a null status is allowed.
    #[allow(unsafe_code)]
    unsafe {
        libc::kill(pid, libc::SIGKILL)
    };
    // SAFETY: as above.
    #[allow(unsafe_code)]
    unsafe {
        libc::waitpid(pid, std::ptr::null_mut(), 0)
    };
    let alone = alone.expect("nobody has it open");
    check(&alone);
    drop(alone);
}

/// Holds an opening up before it maps the file, until it is let go.
#[cfg(feature = "seam")]
#[derive(Default)]
struct Gate {
    is_reached: std::sync::atomic::AtomicBool,
    is_open: std::sync::atomic::AtomicBool,
}

#[cfg(feature = "seam")]
impl mapledb_os::Observer for Gate {
    fn before(&self, effect: &mapledb_os::Effect) -> std::io::Result<()> {
        use std::sync::atomic::Ordering::SeqCst;
        if matches!(effect, mapledb_os::Effect::Map { .. }) {
            self.is_reached.store(true, SeqCst);
            while !self.is_open.load(SeqCst) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        Ok(())
    }

    fn after(&self, _: &mapledb_os::Effect, _: bool) {}
}

/// Does `act` while another thread sits in the middle of opening `file`; a while later that one goes on.
#[cfg(feature = "seam")]
fn while_another_opens<R>(file: &TestFile, act: impl FnOnce() -> R) -> R {
    use std::sync::atomic::Ordering::SeqCst;
    let gate = std::sync::Arc::new(Gate::default());
    let seam = mapledb_os::Seam::watched(gate.clone());
    std::thread::scope(|scope| {
        let opening = scope.spawn(|| files::open(file.path(), options().seam(seam)).expect("open"));
        while !gate.is_reached.load(SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(1500));
            gate.is_open.store(true, SeqCst);
        });
        let answer = act();
        gate.is_open.store(true, SeqCst);
        opening.join().expect("no panic");
        answer
    })
}

#[test]
#[cfg(feature = "seam")]
fn opening_one_file_does_not_wait_for_another() {
    let (slow, other) = (TestFile::with_entries(10), TestFile::with_entries(10));
    while_another_opens(&slow, || {
        let begun = std::time::Instant::now();
        check(&other.open(options()));
        assert!(begun.elapsed() < Duration::from_millis(1400), "{:?}", begun.elapsed());
        check(&slow.open(options()));
        assert!(begun.elapsed() >= Duration::from_millis(1400), "the same file is opened once");
    });
}

#[test]
#[cfg(feature = "seam")]
fn a_child_forked_while_another_thread_opens_a_file_may_open_it_and_others() {
    let (slow, other) = (TestFile::with_entries(10), TestFile::with_entries(20));
    let code = while_another_opens(&slow, || {
        in_a_child(|| {
            // SAFETY: ends the child by a signal if it hangs.
            #[allow(unsafe_code)]
            unsafe {
                libc::alarm(20)
            };
            for (file, entries) in [(&other, 20), (&slow, 10)] {
                let Ok(env) = files::open(file.path(), options()) else { return 1 };
                let is_whole = env.read().is_ok_and(|txn| txn.main().is_ok_and(|main| main.len() == entries));
                if !is_whole || env.close().is_err() {
                    return 2;
                }
            }
            0
        })
    });
    assert_eq!(code, 0);
}
