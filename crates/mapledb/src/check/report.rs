//! What is asked of a check, and what it answers.

use super::histograms::CheckHistograms;

/// How much of a file a check reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum CheckLevel {
    /// Metas, catalog, branches and free space: counts, references, and that no page of a branch, leaf or free record is held
    /// twice. Leaves, what hangs on them, named snapshots and waiting pages are left out.
    ///
    /// Cost: about a hundredth of the file or less.
    Quick,
    /// Every page of the latest state, but of a long value only the header. Named snapshots are left out.
    ///
    /// Cost: all of the file in use but long values.
    Pages,
    /// Everything: the bytes of long values and the named snapshots, too.
    #[default]
    Full,
}

/// How far a check has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckProgress {
    /// Pages looked at so far.
    pub pages_done: u64,
    /// Pages in use in all.
    pub pages_total: u64,
}

/// Something that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckProblem {
    /// The page, if it is about one.
    pub pgno: Option<u64>,
    /// The table it was found through; `None` for the default table and for what belongs to no table.
    pub table: Option<String>,
    /// What is wrong.
    pub what: String,
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckReport {
    /// The snapshot that was checked.
    pub txnid: u64,
    /// Pages of the file up to the first never allocated, metas left out.
    pub pages_total: u64,
    /// Pages reachable from the snapshot, damaged ones among them.
    pub pages_reachable: u64,
    /// Pages in use that damage keeps from being reached: what they hold is not known.
    pub pages_unknown: u64,
    /// Pages in free records.
    pub pages_free: u64,
    /// Entries of all tables.
    pub entries: u64,
    /// Named tables.
    pub tables: u64,
    /// Named snapshots.
    pub snapshots: u64,
    /// Whether waiting pages were compared with their free records, which takes a moment without a writer.
    pub waiting_checked: bool,
    /// Tables whose keys or duplicates are in a named order that is not at hand: all of them was checked, but that order.
    pub orders_missing: Vec<String>,
    /// How full pages are and how long what is in them, of the default table and all named ones.
    pub histograms: CheckHistograms,
    /// What is wrong, in the order it was found.
    pub problems: Vec<CheckProblem>,
}

impl CheckReport {
    /// Whether nothing is wrong.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// let report = env.check(|_| ())?;
    /// assert!(report.is_clean() && report.problems.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }
}
