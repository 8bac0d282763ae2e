//! Checks of an environment: the latest snapshot, then named ones, the metas, and what waits to be used again.

use mapledb_format::{HeadBody, Kind, OverflowHead, PageHeader, Txnid};

use super::Env;
use crate::catalog::snapshots;
use crate::check::{CheckLevel, CheckProblem, CheckProgress, CheckReport, Latest, Named, check, check_waiting};
use crate::commit::check_durable_meta;
use crate::error::{Error, Result};
use crate::mvcc::{Mode, Wait};
use crate::space::{Extents, waiting_groups};
use crate::store::Snapshot;
use crate::txn::ReadTxn;

impl Env {
    /// Checks the latest snapshot: every page, every order, every count, and that no page is lost or held twice; then every named
    /// one, and that what it reaches is in use or waits for it.
    ///
    /// Of a table in a named order that is neither at hand ([`Options::order`](crate::Options::order)) everything else is checked, and
    /// [`CheckReport::orders_missing`] names it.
    ///
    /// Works beside a writer, and keeps what it checks from being used again meanwhile; a named snapshot that is dropped before its turn is
    /// left out. `progress` is called every few
    /// hundred pages.
    ///
    /// Cost: every page in use is read, and every page of each named snapshot.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// let report = env.check(|_progress| {})?;
    /// assert!(report.is_clean(), "{report:?}");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Damage does not end it: each fault is a [`CheckProblem`], and what is beside it is checked all the same. What is below a
    /// damaged page is counted in [`CheckReport::pages_unknown`]. A fault that several named snapshots share with each other or with
    /// the latest one is told once; whether what a named one reaches is in use is then not asked, since that is not known.
    pub fn check(&self, progress: impl FnMut(CheckProgress)) -> Result<CheckReport> {
        self.check_at(CheckLevel::Full, progress)
    }

    /// Checks as much of the file as `level` says, as [`check`](Env::check) does all of it.
    ///
    /// Cost: see [`CheckLevel`].
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// use mapledb::CheckLevel;
    ///
    /// let mut txn = env.write()?;
    /// for key in ["oak", "elm", "maple"] {
    ///     txn.main().put(key.as_bytes(), b"a tree")?;
    /// }
    /// txn.commit()?;
    /// assert!(env.check_at(CheckLevel::Quick, |_progress| {})?.is_clean());
    ///
    /// let keys = env.check_at(CheckLevel::Pages, |_progress| {})?.histograms.key_lengths;
    /// assert_eq!((keys[0].from, keys[0].to, keys[0].count), (2, 3, 2), "two keys of two or three bytes");
    /// assert_eq!((keys[1].from, keys[1].to, keys[1].count), (4, 7, 1));
    /// # Ok(())
    /// # }
    /// ```
    pub fn check_at(&self, level: CheckLevel, mut progress: impl FnMut(CheckProgress)) -> Result<CheckReport> {
        let (txn, head) = self.snapshot_with_head()?;
        let (mut report, reachable) = check(&txn, &head, txn.known_orders(), level, &mut progress);
        if level == CheckLevel::Full {
            self.check_snapshots(&txn, &head, &reachable, &mut report)?;
        }
        if let Some(what) = check_durable_meta(&self.core.store, &self.core.attached)? {
            report.problems.push(CheckProblem { pgno: None, table: None, what });
        }
        if level > CheckLevel::Quick && report.is_clean() {
            self.check_waiting(&txn, &head, &mut report)?;
        }
        Ok(report)
    }

    /// Checks every named snapshot, each through a window of its own.
    fn check_snapshots(
        &self,
        txn: &ReadTxn,
        head: &HeadBody,
        reachable: &Extents,
        report: &mut CheckReport,
    ) -> Result<()> {
        let kept = match snapshots::list(txn, &head.snapshots) {
            Ok(kept) => kept,
            // Their tree was walked with the others, and its damage told.
            Err(_) if !report.is_clean() => return Ok(()),
            Err(error) => {
                report.problems.push(CheckProblem { pgno: None, table: None, what: error.to_string() });
                return Ok(());
            }
        };
        let waiting = match report.is_clean() && !kept.is_empty() {
            true => Some(waiting_groups(txn, head)?),
            false => None,
        };
        let latest = waiting.as_deref().map(|waiting| Latest { reachable, waiting });
        let durable = Txnid(self.core.attached.durable()?.txnid);
        let mut named = Named::behind(report);
        for (name, record) in kept {
            // One that has been dropped meanwhile has no pages of its own any more.
            let _pin = match self.core.read_listed(&name, &record, txn, head) {
                Ok(Some(pin)) => pin,
                Ok(None) => continue,
                Err(error) => {
                    report.problems.push(CheckProblem { pgno: None, table: None, what: error.to_string() });
                    return Ok(());
                }
            };
            let view = self.core.store.view(record.txnid, record.pages_used.min(head.pages_used), durable)?;
            let pages = Snapshot { store: &self.core.store, view };
            named.check(&pages, (&name, &record), latest.as_ref(), report);
        }
        Ok(())
    }

    /// Compares waiting pages with their free records if nobody writes now and the snapshot is still the latest.
    fn check_waiting(&self, txn: &ReadTxn, head: &HeadBody, report: &mut CheckReport) -> Result<()> {
        let is_frozen = self.core.attached.mode() == Mode::Frozen;
        let guard = match self.core.options.is_read_only {
            true => None,
            // Within a change of a batch it is this very thread that writes.
            false => match self.core.lock(Wait::Try) {
                Err(Error::BatchWithin) => None,
                locked => locked?,
            },
        };
        if guard.is_none() && !is_frozen || self.core.attached.published_txnid()? != txn.txnid() {
            return Ok(());
        }
        let header_of = |pgno| {
            let page = txn.raw_pages(pgno, 1).ok()?;
            let header = PageHeader::parse(page).ok()?;
            let length = match header.kind {
                Kind::Overflow => OverflowHead::parse(page, self.core.store.page_size()).ok()?.pages,
                Kind::Leaf | Kind::Branch | Kind::Packed => 1,
            };
            Some((header.txnid, length))
        };
        report.problems.extend(check_waiting(txn, head, &self.core.whole_pins(head)?, &header_of)?);
        report.waiting_checked = true;
        Ok(())
    }
}
