//! A job queue across processes: workers take jobs from one file, a worker that dies loses none, and nobody polls.
//!
//! A job is in one of three tables. Taking one moves it from `waiting` to `taken`, with a time by which it must be done; finishing it
//! moves it on to `done`. Each move is a transaction, so a job is always in exactly one. What has been taken and is overdue is put back by whoever
//! looks for work next. A worker without work sleeps until some process commits.
//!
//! ```sh
//! cargo run --release --package mapledb-examples --bin job_queue -- 200
//! ```

use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mapledb::{Durability, Env, Result, Table, WriteTxn};

const WAITING: Table<'static, u64, str> = Table::new("waiting");
const TAKEN: Table<'static, u64, (u64, String)> = Table::new("taken"); // until when, in ms; the job
const DONE: Table<'static, u64, (u32, String)> = Table::new("done"); // by which process; the answer

const WORKERS: usize = 3;
/// How long a worker may take for a job.
const LEASE: Duration = Duration::from_secs(2);
/// The word that makes a worker hang, as workers do.
const CURSED: &str = "hang";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("work") => work(&open(Path::new(&arguments[2]))?),
        count => run(count.map_or(40, |text| text.parse().expect("a number of jobs"))),
    }
}

/// Enqueues jobs, starts workers, kills the one that hangs, and waits until everything is done.
fn run(jobs: u64) -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("queue.maple");
    let env = open(&path)?;
    let first_cursed = enqueue(&env, jobs)?;
    let mut workers: Vec<Child> = (0..WORKERS).map(|_| start_worker(&path)).collect();

    let victim = wait_for(&env, |env| holder_of(env, first_cursed))?;
    let at = workers.iter().position(|worker| worker.id() == victim).expect("one of ours took it");
    workers[at].kill().expect("a worker of ours");
    workers[at].wait().expect("a worker of ours");
    println!("killed worker {victim} while it held job {first_cursed}");
    workers[at] = start_worker(&path);

    wait_for(&env, |env| Ok((env.read()?.table(&DONE)?.len() == jobs).then_some(())))?;
    for mut worker in workers {
        worker.kill().expect("a worker of ours");
        worker.wait().expect("a worker of ours");
    }
    let txn = env.read()?;
    assert!(txn.table(&WAITING)?.is_empty() && txn.table(&TAKEN)?.is_empty());
    let (by, answer) = txn.table(&DONE)?.get(&first_cursed)?.expect("somebody else did it");
    assert!(by != victim && answer == CURSED.to_uppercase());
    println!("{jobs} jobs done, each once");
    drop(txn);
    assert!(env.check(|_| {})?.is_clean());
    env.close()
}

/// Many small commits by many processes: `Group` lets them share their syncs.
fn open(path: &Path) -> Result<Env> {
    let options = Env::options().durability(Durability::Group);
    // SAFETY: nothing but MapleDB writes to the file while it is open.
    #[allow(unsafe_code)]
    unsafe {
        options.open_or_create(path)
    }
}

fn start_worker(path: &Path) -> Child {
    let this = std::env::current_exe().expect("this program");
    Command::new(this).arg("work").arg(path).spawn().expect("a worker starts")
}

/// Puts all jobs in, in one transaction; answers the number of the one that will hang.
fn enqueue(env: &Env, jobs: u64) -> Result<u64> {
    let mut txn = env.write()?;
    txn.open_table(&TAKEN)?;
    txn.open_table(&DONE)?;
    let mut waiting = txn.open_table(&WAITING)?;
    for job in 0..jobs {
        let number = waiting.next_sequence(1)?;
        waiting.append(&number, if job == jobs / 2 { CURSED } else { "shout" })?;
    }
    txn.commit()?;
    Ok(jobs / 2)
}

/// Takes jobs and does them, for ever.
fn work(env: &Env) -> Result<()> {
    loop {
        let seen = env.read()?.txnid();
        let Some((number, job)) = take(env)? else {
            // Until somebody commits, or something may be overdue.
            env.wait_newer(seen, Some(LEASE / 4))?;
            continue;
        };
        if job == CURSED && !is_second_try(env, number)? {
            std::thread::sleep(Duration::from_secs(3600));
        }
        finish(env, number, &job)?;
    }
}

/// Takes the job that has waited longest.
fn take(env: &Env) -> Result<Option<(u64, String)>> {
    let mut txn = env.write()?;
    put_back_overdue(&mut txn)?;
    let mut waiting = txn.open_table(&WAITING)?;
    let Some((number, job)) = waiting.first()?.map(|(number, job)| (number, job.to_owned())) else {
        return txn.commit().map(|_| None); // what was put back was taken by nobody
    };
    waiting.delete(&number)?;
    let until = now_ms() + LEASE.as_millis() as u64;
    let holder = format!("{} {job}", std::process::id());
    txn.open_table(&TAKEN)?.put(&number, &(until, holder))?;
    txn.commit()?;
    Ok(Some((number, job)))
}

/// Moves what should have been done by now back to where it waits, marked as tried.
fn put_back_overdue(txn: &mut WriteTxn) -> Result<()> {
    let now = now_ms();
    let mut overdue = Vec::new();
    for entry in txn.open_table(&TAKEN)?.iter()? {
        let (number, (until, job)) = entry?;
        if until < now {
            overdue.push((number, job));
        }
    }
    for (number, job) in overdue {
        txn.open_table(&TAKEN)?.delete(&number)?;
        let (_, job) = job.split_once(' ').expect("a holder and a job");
        txn.open_table(&WAITING)?.put(&number, job)?;
        txn.main().put(&number.to_be_bytes(), b"tried")?;
    }
    Ok(())
}

fn is_second_try(env: &Env, number: u64) -> Result<bool> {
    env.read()?.main()?.contains(&number.to_be_bytes())
}

/// Moves a job from `taken` to `done`, unless it took too long and is somebody else's now.
fn finish(env: &Env, number: u64, job: &str) -> Result<()> {
    let me = std::process::id();
    let mut txn = env.write()?;
    let held = txn.open_table(&TAKEN)?.get(&number)?;
    if held.is_none_or(|(_, holder)| !holder.starts_with(&format!("{me} "))) {
        return Ok(());
    }
    txn.open_table(&TAKEN)?.delete(&number)?;
    txn.open_table(&DONE)?.put(&number, &(me, job.to_uppercase()))?;
    txn.commit().map(drop)
}

/// The process that holds a job.
fn holder_of(env: &Env, number: u64) -> Result<Option<u32>> {
    let held = env.read()?.table(&TAKEN)?.get(&number)?;
    Ok(held.and_then(|(_, holder)| holder.split_once(' ')?.0.parse().ok()))
}

/// Looks after each commit of any process until there is an answer.
fn wait_for<T>(env: &Env, look: impl Fn(&Env) -> Result<Option<T>>) -> Result<T> {
    loop {
        let seen = env.read()?.txnid();
        if let Some(answer) = look(env)? {
            return Ok(answer);
        }
        env.wait_newer(seen, Some(LEASE))?;
    }
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
