//! A database larger than the memory that its process may use: random reads in a memory cgroup.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::process::{Killed, Order, Process, Task};
use crate::Result;
use crate::engine::{Durability, Setup};
use crate::engines::Role;
use crate::page_cache;
use crate::results::Ask;
use crate::suite::{Closed, ENTRIES_100_MB, Seat, Suite, remove};

pub const ABOUT: &str = "Random lookups by a process in a memory cgroup of which the bound is about a third of the keys and \
    values; it pays for the page cache that it fills. Caches of an engine's own are half the bound. Left out where the \
    system does not let this process make such a cgroup.";

/// A memory cgroup that goes when it is dropped.
struct Cgroup(PathBuf);

impl Cgroup {
    /// Under version 2 of the interface, or 1.
    fn new(bound: u64) -> Result<Self> {
        let name = format!("mapledb-bench-{}", std::process::id());
        let (root, file) = match Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
            true => (Path::new("/sys/fs/cgroup"), "memory.max"),
            false => (Path::new("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
        };
        let cgroup = Self(root.join(name));
        std::fs::create_dir(&cgroup.0)?;
        std::fs::write(cgroup.0.join(file), bound.to_string())?;
        Ok(cgroup)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // One that still holds a process cannot be removed, and harms nobody.
        let _ = std::fs::remove_dir(&self.0);
    }
}

pub fn measure(suite: &mut Suite) -> Result<()> {
    let entries = suite.profile.pick(100_000, ENTRIES_100_MB, 5_750_000);
    let workload = suite.workload(entries);
    let bound = (workload.live_bytes() / 3).max(24 << 20);
    let cgroup = match Cgroup::new(bound) {
        Ok(cgroup) => cgroup,
        Err(error) => {
            suite.skip(&format!("no memory cgroup can be made here: {error}"));
            return Ok(());
        }
    };
    let seats = suite.filled(&[Role::Whole], Durability::Sync, &workload)?;
    let closed = seats.into_iter().map(Seat::closed).collect::<Result<Vec<_>>>()?;
    let rounds = suite.profile.pick(1, 2, 5);
    let time = Duration::from_millis(suite.profile.pick(30, 700, 5_000));
    let (program, seed) = (suite.worker.clone(), suite.seed);
    let killed = RefCell::new(BTreeSet::new());
    let ask = Ask::higher("random reads/s, a third of the data fits memory", "1/s");
    suite.ask_closed(&closed, [ask], rounds, |closed, round| {
        page_cache::drop_all(&closed.dir)?;
        let pick = seed + round as u64;
        let cgroup = Some(cgroup.0.as_path());
        let order =
            Order { program: &program, task: Task::Read, entries, seed, pick, threads: 1, time, cgroup };
        let setup = Setup { cache_bytes: bound / 2, ..closed.setup };
        let rate = Process::start(order, closed.peer.name, &closed.dir, &setup).and_then(|mut process| {
            process.go()?;
            Ok(process.outcome()?.0)
        });
        match rate {
            // What lives in more memory than it is given has no rate, and keeps nobody from having one.
            Err(error) if error.is::<Killed>() => {
                killed.borrow_mut().insert(closed.peer.name);
                Ok([f64::NAN])
            }
            other => Ok([other?]),
        }
    })?;
    for name in killed.into_inner() {
        suite.skip(&format!("{name}: it was killed for want of memory"));
    }
    remove(closed.iter().map(Closed::open).collect::<Result<_>>()?)
}
