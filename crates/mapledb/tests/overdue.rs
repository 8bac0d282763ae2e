//! Readers that stay too long: who they are, what they hold, and what is done about them.

mod files;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use files::{TestFile, check, options};
use mapledb::{Durability, Env, Error, ReaderPolicy};

fn fill(env: &Env, round: u8) -> Result<u64, Error> {
    let mut txn = env.write()?;
    txn.durability(Durability::Relaxed);
    for n in 0..300u64 {
        txn.main().put(&n.to_be_bytes(), &[round; 100])?;
    }
    txn.commit()
}

fn rounds(env: &Env, rounds: std::ops::Range<u8>) {
    for round in rounds {
        fill(env, round).expect("commit");
    }
    env.sync().expect("sync");
}

#[test]
fn a_reader_is_named_with_its_lag_and_what_it_retains() {
    let file = TestFile::with_entries(10);
    let env = file.open(options());
    rounds(&env, 0..2);
    let reader = env.read().expect("read");
    rounds(&env, 2..7);
    let readers = env.readers().expect("readers");
    let [it] = &readers[..] else { panic!("{readers:?}") };
    assert_eq!((it.pid, it.txnid, it.behind), (std::process::id(), reader.txnid(), Some(5)));
    assert_eq!((it.is_own, it.is_parked, it.clones), (true, false, 0));
    assert!(it.command.is_some(), "{it:?}");
    assert!((30_000..200_000).contains(&it.retained_bytes), "{it:?}");
    assert!(it.age() < Duration::from_secs(600), "{it:?}");
    env.create_snapshot("named").expect("create");
    let named = env.read_snapshot("named").expect("open");
    let behind =
        env.readers().expect("readers").iter().find(|it| it.txnid == named.txnid()).map(|it| it.behind);
    assert_eq!(behind, Some(None));
}

/// Its slot is taken before the commit, and what it reads is the commit.
#[test]
fn a_read_that_a_commit_answers_is_as_far_behind_as_any_other_of_that_commit() {
    let file = TestFile::with_entries(10);
    let env = file.open(options());
    rounds(&env, 0..2);
    let mut txn = env.write().expect("write");
    txn.main().put(&7u64.to_be_bytes(), &[9]).expect("put");
    let _answered = txn.commit_and_read().expect("commit");
    let _begun = env.read().expect("read");
    rounds(&env, 2..7);
    let behind: Vec<_> = env.readers().expect("readers").iter().map(|reader| reader.behind).collect();
    assert_eq!(behind, [Some(5), Some(5)]);
}

#[test]
fn a_parked_reader_goes_on_unless_it_was_evicted() {
    let file = TestFile::with_entries(10);
    let env = file.open(options());
    rounds(&env, 0..1);
    let value = |txn: &mapledb::ReadTxn| {
        txn.main().expect("main").get(&7u64.to_be_bytes()).expect("get").map(|v| v[0])
    };
    let kept = env.read().expect("read").park().expect("park");
    let evicted = env.read().expect("read").park().expect("park");
    let active = env.read().expect("read");
    rounds(&env, 1..4);
    let kept = kept.unpark().expect("nobody minded");
    assert_eq!(value(&kept), Some(0));
    assert_eq!(env.evict_parked(|reader| reader.is_own).expect("evict"), 1);
    rounds(&env, 4..9);
    assert!(matches!(evicted.unpark(), Err(Error::Evicted { txnid }) if txnid == active.txnid()));
    assert_eq!((value(&active), value(&kept)), (Some(0), Some(0)));
    assert_eq!(env.evict_parked(|_| true).expect("evict"), 0, "nobody is parked");
    let clone = kept.clone();
    assert!(matches!(kept.park(), Err(Error::StillCloned)));
    assert_eq!(value(&clone), Some(0));
    let parked = clone.park().expect("it is alone now");
    assert_eq!(env.readers().expect("readers").iter().filter(|reader| reader.is_parked).count(), 1);
    drop(parked);
    drop(active);
    assert_eq!(env.readers().expect("readers"), []);
    check(&env);
}

#[test]
fn an_evicted_readers_pages_are_used_again() {
    let file = TestFile::with_entries(10);
    let env = file.open(options().readers(ReaderPolicy::new().behind_max(3).evict_parked()));
    rounds(&env, 0..2);
    let parked = env.read().expect("read").park().expect("park");
    let active = env.read().expect("read");
    rounds(&env, 2..12);
    assert_eq!(env.readers().expect("readers").len(), 1, "the parked one is gone");
    assert!(matches!(parked.unpark(), Err(Error::Evicted { .. })));
    assert_eq!(active.main().expect("main").get(&7u64.to_be_bytes()).expect("get"), Some(&[1; 100][..]));
    check(&env);
}

#[test]
fn who_stays_too_long_is_told_of_once_and_keeps_the_file_from_growing() {
    let file = TestFile::with_entries(10);
    let told = Arc::new(Mutex::new(Vec::new()));
    let note = Arc::clone(&told);
    let policy = ReaderPolicy::new()
        .age_max(Duration::ZERO)
        .behind_max(2)
        .refuse_growth()
        .warn(move |reader| note.lock().expect("told").push((reader.pid, reader.txnid)));
    let env = file.open(options().readers(policy));
    rounds(&env, 0..2);
    let reader = env.read().expect("read");
    std::thread::sleep(Duration::from_millis(30));
    let more = |round: u64| {
        let mut txn = env.write()?;
        txn.main().put(&(1000 + round).to_be_bytes(), &[7; 20_000])?;
        txn.commit()
    };
    let refused = (0..500).find_map(|round| more(round).err()).expect("the file would grow for ever");
    match &refused {
        Error::ReaderStaysTooLong { pid, txnid, command, .. } => {
            assert_eq!((*pid, *txnid), (std::process::id(), reader.txnid()));
            assert!(command.is_some());
        }
        other => panic!("{other}"),
    }
    assert_eq!(*told.lock().expect("told"), [(std::process::id(), reader.txnid())]);
    assert!(format!("{:?}", ReaderPolicy::new().age_max(Duration::ZERO)).contains("age_max"));
    drop(reader);
    rounds(&env, 0..9);
    check(&env);
}

#[test]
fn who_reads_the_latest_commit_keeps_no_file_from_growing_however_long() {
    let file = TestFile::with_entries(10);
    let env = file.open(options().readers(ReaderPolicy::new().age_max(Duration::ZERO).refuse_growth()));
    for round in 0..6u64 {
        let mut reader = env.read().expect("read");
        std::thread::sleep(Duration::from_millis(10));
        assert!(!reader.refresh().expect("nothing is newer"));
        let mut txn = env.write().expect("write");
        txn.main().put(&(1000 + round).to_be_bytes(), &vec![7; 4 << 20]).expect("the file grows");
        txn.commit().expect("commit");
    }
    check(&env);
}
