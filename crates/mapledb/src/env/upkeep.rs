//! Giving free space back while the environment is in use.

use super::Env;
use crate::error::Result;
use crate::txn::{Defragment, DefragmentProgress, DefragmentReport, TrimReport};

impl Env {
    /// Gives free space back to the file system while the environment is in use, in any number of processes: free runs of at
    /// least 16 pages become holes, and so does what the file has grown by in advance. The file stays as long as it is; what
    /// it takes of the disk (`du`) becomes less. Free pages that a reader or an older meta still holds stay, and up to 256
    /// for the next commits.
    ///
    /// Space that was given back may be gone when it is needed again: blocks are allocated before a page is stored to, and
    /// if there are none that is [`Error::DiskFull`](crate::Error::DiskFull), nothing worse. A commit that takes such a run syncs twice.
    ///
    /// Cost: three commits of one or two syncs each, two more syncs if relaxed commits are to become durable; the free-space
    /// records are rewritten once and read a few times; a system call for each run. The idea: `fstrim`, and the hole punching of InnoDB's compressed pages.
    ///
    /// # Errors
    /// As [`Env::write`] and [`WriteTxn::commit`](crate::WriteTxn::commit). Nothing is lost by one; what was not given back is by the next call.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # let path = dir.path().join("cache.maple");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(&path) }?;
    /// let mut txn = env.write()?;
    /// txn.main().put(b"page", &vec![7; 4 << 20])?;
    /// txn.commit()?;
    /// let mut txn = env.write()?;
    /// txn.main().clear()?;
    /// txn.commit()?;
    ///
    /// let report = env.trim()?;
    /// assert!(report.bytes >= 2 << 20 || !report.is_supported);
    /// # env.close()
    /// # }
    /// ```
    pub fn trim(&self) -> Result<TrimReport> {
        self.core.trim()
    }

    /// Moves pages from the end of the file to free ones before them, while readers and writers go on, so that the end can be
    /// given back: to [`trim`](Env::trim), which this calls at last, and to whoever closes the file last. A large value
    /// moves as a whole, to a free run that is long enough. Tables in a [named order](crate::NamedOrder) move if the environment
    /// was opened with it.
    ///
    /// What is moved is copied by ordinary commits of bounded size; between two of them other writers get their turn.
    /// `progress` is called after each, and when it answers `false` that was the last. The report says how it ended; what
    /// had been moved by then stays moved. Pages that a reader pins stay where they are until the reader goes, and their
    /// copies take room meanwhile that was free before: with a long reader this gains nothing until it ends.
    ///
    /// Cost: for every page moved about two written, the page and its share of the branches above, once more for each commit
    /// that such a branch is part of; a sync a commit, or two; before each 131,072 pages a look at all branches, and at all
    /// leaves of tables with values of several pages. A compact copy costs as much writing as the file is long, and orders
    /// tables as well, which this does not.
    ///
    /// # Errors
    /// As [`Env::write`], [`WriteTxn::commit`](crate::WriteTxn::commit) and [`Env::trim`]. What had been moved stays moved.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # let path = dir.path().join("cache.maple");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(&path) }?;
    /// use mapledb::Defragment;
    ///
    /// for n in 0..2000u32 {
    ///     let mut txn = env.write()?;
    ///     txn.main().put(&n.to_be_bytes(), &[7; 2000])?;
    ///     txn.commit_later()?;
    /// }
    /// let mut txn = env.write()?;
    /// txn.main().retain(|key, _| key[3] % 4 == 0)?;
    /// txn.commit()?;
    ///
    /// let report = env.defragment(&Defragment::default(), |_| true)?;
    /// assert!(report.used_pages < report.used_pages_before);
    /// # env.close()
    /// # }
    /// ```
    pub fn defragment(
        &self,
        options: &Defragment,
        mut progress: impl FnMut(&DefragmentProgress) -> bool,
    ) -> Result<DefragmentReport> {
        self.core.defragment(options, &mut progress)
    }
}
