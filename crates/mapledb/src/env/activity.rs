//! What the attached processes do, for those who look on: counts of each, and how long commits take.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Env;
use crate::error::Result;

/// What a process has done since it opened the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessInfo {
    /// The process, as it is numbered in its own namespace. Two of one number are shown as one.
    pub pid: u32,
    /// When it opened the environment, in nanoseconds since 1970.
    pub attached_at_ns: u64,
    /// Whether it is this process.
    pub is_own: bool,
    /// Keys it has looked up in read transactions, by `get`, `contains` and `multi_get` of tables and by `get`, `first_of`,
    /// `last_of`, `chunks`, `arrays`, `count_of`, `contains` and `contains_key` of multimaps. A thread hands its lookups in when a
    /// transaction ends, and after 256.
    pub gets: u64,
    /// Calls that changed a table: a `put`, a deletion, a bulk load.
    pub changes: u64,
    /// Its commits.
    pub commits: u64,
    /// Pages that they wrote.
    pub pages_written: u64,
}

/// How long a stage of commits took, over all processes since the first of them opened the environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StageInfo {
    /// `lock_wait`, for those who had to wait for the writer lock; `seal`, trees and free space brought into their final
    /// form; `sync`, pages and meta made durable, for one commit or several; `commit`, the whole call.
    pub name: &'static str,
    /// The sum of the times in nanoseconds.
    pub total_ns: u64,
    /// Count i is of times below 2^(i + 8) nanoseconds that count i - 1 is not of; the last is of all others.
    pub counts: Vec<u64>,
}

impl StageInfo {
    /// How many times there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// A time that `share` of all times are not above, 0.5 for the median: exact to a factor of two, since the steps double.
    /// `None` if there are none.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("a.maple")) }?;
    /// let mut txn = env.write()?;
    /// txn.main().put(b"k", b"v")?;
    /// txn.commit()?;
    /// let stages = env.stages();
    /// let commit = stages.iter().find(|stage| stage.name == "commit").expect("it is always there");
    /// assert_eq!(commit.count(), 1);
    /// assert!(commit.quantile(0.5).is_some_and(|median| median.as_nanos() as u64 >= commit.total_ns));
    /// # Ok(())
    /// # }
    /// ```
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let count = self.count();
        let wanted = ((count as f64 * share).ceil() as u64).clamp(1, count.max(1));
        let mut seen = 0;
        let at = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        })?;
        Some(Duration::from_nanos(1 << (at + 8)))
    }

    /// What has been added since `before`, an earlier answer for the same stage.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// let before = env.stages();
    /// let mut txn = env.write()?;
    /// txn.main().put(b"k", b"v")?;
    /// txn.commit()?;
    /// let stages = env.stages();
    /// let (commits, so_far) = (stages.last().expect("there are some"), before.last().expect("there are some"));
    /// assert_eq!((commits.name, commits.since(so_far).count()), ("commit", 1));
    /// # Ok(())
    /// # }
    /// ```
    pub fn since(&self, before: &StageInfo) -> StageInfo {
        let less = |(now, before): (&u64, Option<&u64>)| now.saturating_sub(before.copied().unwrap_or(0));
        let earlier = before.counts.iter().map(Some).chain(std::iter::repeat(None));
        StageInfo {
            name: self.name,
            total_ns: self.total_ns.saturating_sub(before.total_ns),
            counts: self.counts.iter().zip(earlier).map(less).collect(),
        }
    }
}

impl Env {
    /// What each process that has the environment open has done. Whoever opens it frozen is in no list.
    ///
    /// Cost: a look at every reader slot.
    ///
    /// # Errors
    /// Only in a forked child, or when shared memory holds nonsense.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("a.maple")) }?;
    /// let mut txn = env.write()?;
    /// txn.main().put(b"k", b"v")?;
    /// txn.commit()?;
    /// env.read()?.main()?.get(b"k")?;
    ///
    /// let processes = env.processes()?;
    /// assert_eq!((processes[0].pid, processes[0].is_own), (std::process::id(), true));
    /// assert_eq!((processes[0].gets, processes[0].changes, processes[0].commits), (1, 1, 1));
    /// # Ok(())
    /// # }
    /// ```
    pub fn processes(&self) -> Result<Vec<ProcessInfo>> {
        let processes = self.core.attached.processes()?;
        Ok(processes
            .into_iter()
            .map(|process| ProcessInfo {
                pid: process.pid,
                attached_at_ns: process.attached_at,
                is_own: process.is_own,
                gets: process.counts.gets,
                changes: process.counts.changes,
                commits: process.counts.commits,
                pages_written: process.counts.pages_written,
            })
            .collect())
    }

    /// How long each stage of commits took, the whole call last.
    ///
    /// Cost: a few hundred loads; no system call.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// let names: Vec<_> = env.stages().into_iter().map(|stage| stage.name).collect();
    /// assert_eq!(names, ["lock_wait", "seal", "sync", "commit"]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn stages(&self) -> Vec<StageInfo> {
        let stages = self.core.attached.counters().stages();
        stages
            .into_iter()
            .map(|(name, stage)| StageInfo {
                name,
                total_ns: stage.total_ns.load(Ordering::Relaxed),
                counts: stage.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(counts: &[u64]) -> StageInfo {
        StageInfo { name: "sync", total_ns: 7, counts: counts.to_vec() }
    }

    #[test]
    fn quantiles_are_the_upper_ends_of_their_steps() {
        let table = [
            (&[0, 0][..], 0.5, None),
            (&[1, 0], 0.5, Some(256)),
            (&[1, 1], 0.5, Some(256)),
            (&[1, 1], 0.51, Some(512)),
            (&[0, 99, 1], 0.99, Some(512)),
            (&[0, 99, 1], 1.0, Some(1024)),
        ];
        for (counts, share, ns) in table {
            assert_eq!(stage(counts).quantile(share), ns.map(Duration::from_nanos), "{counts:?} {share}");
        }
    }

    #[test]
    fn what_was_before_is_taken_away() {
        let now = StageInfo { total_ns: 10, ..stage(&[3, 5]) };
        assert_eq!(now.since(&stage(&[1, 5])), StageInfo { total_ns: 3, ..stage(&[2, 0]) });
        assert_eq!(now.since(&StageInfo::default()), now);
    }
}
