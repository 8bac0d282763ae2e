//! Defragmentation: what lies at the end of the file moves into free space before it, while others read and write.
//!
//! It goes in rounds. A round looks, on a snapshot and without the writer lock, for the pages that lie last and how to come
//! to each; then it moves them in batches, the last ones first, each batch one ordinary commit. Whatever others changed
//! meanwhile is noticed by the page not being where it was, and left. Then two commits of nothing let go of what the metas
//! held, and what is free at the end of the used part is given back. Rounds follow until the used part is hardly longer than
//! what is in use, or a round has gained nothing.
//!
//! Each move takes a page to a lower place, so it ends however the file looks; and a page moves only if there is room below
//! it, so the file does not grow for it.

mod plan;

use std::sync::Arc;
use std::time::{Duration, Instant};

use mapledb_format::{HeadBody, Pgno, Txnid};

use self::plan::{Home, Plan, Planned};
use super::{Core, TableId, TrimReport, WriteTxn};
use crate::catalog::Asked;
use crate::error::{Error, Result};
use crate::mvcc::Wait;
use crate::space::{Free, each_free};
use crate::tree::{KeyOrder, PairOrder, Part, TreeMut, in_its_order};

/// Rounds in a row that may move something without the used part getting shorter, while others write to its end.
const FRUITLESS_MAX: u32 = 3;
/// Levels that a tree of duplicates hardly exceeds: with eight bytes each, 500 to the power of so many of them.
const DUPLICATES_DEPTH: u64 = 4;

/// How far a [defragmentation](crate::Env::defragment) goes.
///
/// ```
/// use mapledb::Defragment;
/// use std::time::Duration;
///
/// let nightly = Defragment::default().time_max(Duration::from_secs(600)).batch_pages(256);
/// # let _ = nightly;
/// ```
#[derive(Clone, Debug)]
pub struct Defragment {
    time_max: Option<Duration>,
    pages_max: u64,
    transactions_max: u64,
    batch_pages: u64,
    trim: bool,
}

impl Default for Defragment {
    /// No limits, batches of 1,000 pages, and [`trim`](crate::Env::trim) at the end.
    fn default() -> Defragment {
        Defragment { time_max: None, pages_max: u64::MAX, transactions_max: u64::MAX, batch_pages: 1000, trim: true }
    }
}

impl Defragment {
    /// No further batch begins after so long. What is left to do then, letting go and [`trim`](crate::Env::trim), is five
    /// commits of nothing more.
    pub fn time_max(mut self, time: Duration) -> Defragment {
        self.time_max = Some(time);
        self
    }

    /// No further batch begins once so many pages have been moved.
    pub fn pages_max(mut self, pages: u64) -> Defragment {
        self.pages_max = pages;
        self
    }

    /// No more than so many commits that move something.
    ///
    /// ```
    /// # fn main() -> mapledb::Result<()> {
    /// # let dir = tempfile::tempdir().expect("a directory for the example");
    /// # // SAFETY: nothing but MapleDB writes to the file while it is open.
    /// # let env = unsafe { mapledb::Env::options().create(dir.path().join("e.maple")) }?;
    /// use mapledb::{Defragment, Stopped};
    ///
    /// for n in 0..2000u32 {
    ///     let mut txn = env.write()?;
    ///     txn.main().put(&n.to_be_bytes(), &[7; 2000])?;
    ///     txn.commit_later()?;
    /// }
    /// let mut txn = env.write()?;
    /// txn.main().retain(|key, _| key[3] % 4 == 0)?;
    /// txn.commit()?;
    /// let report = env.defragment(&Defragment::default().transactions_max(1).batch_pages(10).trim(false), |_| true)?;
    /// assert_eq!((report.stopped, report.transactions), (Stopped::TransactionLimit, 1));
    /// # Ok(())
    /// # }
    /// ```
    pub fn transactions_max(mut self, transactions: u64) -> Defragment {
        self.transactions_max = transactions;
        self
    }

    /// How many pages a commit moves, about: other writers wait as long as that takes. 1,000 by default; at least 1. A value of
    /// more pages moves by a commit of its own.
    pub fn batch_pages(mut self, pages: u64) -> Defragment {
        self.batch_pages = pages.max(1);
        self
    }

    /// Whether [`trim`](crate::Env::trim) follows, by which the file system gets the end of the file back while it is open, and
    /// long free runs inside it. True by default.
    pub fn trim(mut self, trim: bool) -> Defragment {
        self.trim = trim;
        self
    }
}

/// Why a defragmentation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stopped {
    /// The used part is hardly longer than what is in use: by a thirty-second, and 64 pages at least.
    Done,
    /// [`Defragment::time_max`] is over.
    TimeLimit,
    /// [`Defragment::pages_max`] is reached.
    PageLimit,
    /// [`Defragment::transactions_max`] is reached.
    TransactionLimit,
    /// The caller's `progress` said so.
    Interrupted,
    /// Pages at the end wait for a reader, or a snapshot with a name; [`Env::space`](crate::Env::space) says who holds `txnid`.
    Pinned {
        /// The snapshot.
        txnid: u64,
    },
    /// What lies at the end fits nowhere before it: there is less room than it needs, or none in a row for a large value.
    NothingLower,
    /// Others write to the end as fast as it is cleared.
    Busy,
}

/// How far a defragmentation has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DefragmentProgress {
    /// Pages moved so far.
    pub pages_moved: u64,
    /// Pages that the current plan moves in all, with those moved before: an estimate that later rounds may raise.
    pub pages_planned: u64,
    /// Commits that have moved something.
    pub transactions: u64,
    /// Pages of the file up to the first never allocated, metas left out, when this round began.
    pub used_pages: u64,
    /// Where that is to end up.
    pub used_pages_wanted: u64,
}

/// What a defragmentation did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DefragmentReport {
    /// Why it ended.
    pub stopped: Stopped,
    /// Pages moved.
    pub pages_moved: u64,
    /// Pages written for it, copies of the branches above among them, free space's own left out.
    pub pages_written: u64,
    /// Commits that moved something.
    pub transactions: u64,
    /// Rounds, each of which looked for what lies last.
    pub rounds: u64,
    /// Pages of the file up to the first never allocated, metas left out, before.
    pub used_pages_before: u64,
    /// And now.
    pub used_pages: u64,
    /// What was given back to the file system; zeros without [`Defragment::trim`].
    pub trim: TrimReport,
}

impl Core {
    /// Moves what lies last to where there is room before it.
    pub(crate) fn defragment(
        self: &Arc<Core>,
        options: &Defragment,
        progress: &mut dyn FnMut(&DefragmentProgress) -> bool,
    ) -> Result<DefragmentReport> {
        self.sync()?;
        let deadline = options.time_max.and_then(|time| Instant::now().checked_add(time));
        let report = DefragmentReport {
            stopped: Stopped::Done,
            pages_moved: 0,
            pages_written: 0,
            transactions: 0,
            rounds: 0,
            used_pages_before: self.used_pages()?,
            used_pages: 0,
            trim: TrimReport::default(),
        };
        let mut job = Job { core: self, options, progress, deadline, report, fruitless: 0 };
        job.let_go()?;
        job.report.stopped = loop {
            if let Some(stopped) = job.round()? {
                break stopped;
            }
        };
        if options.trim {
            job.report.trim = self.trim()?;
        }
        job.report.used_pages = self.used_pages()?;
        Ok(job.report)
    }

    fn used_pages(self: &Arc<Core>) -> Result<u64> {
        let (_, head) = self.read_with_head()?;
        Ok(head.pages_used.get().saturating_sub(self.first_page().get()))
    }

    fn first_page(&self) -> Pgno {
        self.store.page_size().first_data_pgno()
    }
}

struct Job<'j> {
    core: &'j Arc<Core>,
    options: &'j Defragment,
    progress: &'j mut dyn FnMut(&DefragmentProgress) -> bool,
    deadline: Option<Instant>,
    report: DefragmentReport,
    /// Rounds in a row after which the used part was as long as before.
    fruitless: u32,
}

impl Job<'_> {
    /// Moves what lies last now; answers why there is to be no other round, if so.
    fn round(&mut self) -> Result<Option<Stopped>> {
        let (txn, head) = self.core.read_with_head()?;
        let wanted = wanted_end(&head, self.core.first_page());
        if head.pages_used <= wanted {
            return Ok(Some(Stopped::Done));
        }
        self.report.rounds += 1;
        let plan = Plan::of(&txn, &head, wanted)?;
        // The pages it holds are the very ones that are to become free.
        drop(txn);
        let moved_before = self.report.pages_moved;
        let stopped = self.carry_out(plan, &head, wanted)?;
        self.let_go()?;
        let (_, now) = self.core.read_with_head()?;
        self.fruitless = if now.pages_used < head.pages_used { 0 } else { self.fruitless + 1 };
        Ok(match stopped {
            Some(stopped) => Some(stopped),
            None if self.fruitless == 0 => None,
            None if self.report.pages_moved == moved_before => Some(self.why_not()?),
            None if self.fruitless >= FRUITLESS_MAX => Some(Stopped::Busy),
            None => None,
        })
    }

    fn carry_out(&mut self, plan: Plan, head: &HeadBody, wanted: Pgno) -> Result<Option<Stopped>> {
        let first = self.core.first_page().get();
        let mut told = DefragmentProgress {
            pages_planned: self.report.pages_moved + plan.pages.iter().map(|page| page.pages).sum::<u64>(),
            used_pages: head.pages_used.get().saturating_sub(first),
            used_pages_wanted: wanted.get().saturating_sub(first),
            ..DefragmentProgress::default()
        };
        let (names, batches) = plan.batches(self.options.batch_pages);
        for batch in batches {
            if let Some(limit) = self.limit() {
                return Ok(Some(limit));
            }
            if !self.move_batch(&names, &batch)? {
                return Ok(Some(Stopped::TimeLimit));
            }
            told.pages_moved = self.report.pages_moved;
            told.transactions = self.report.transactions;
            if !(self.progress)(&told) {
                return Ok(Some(Stopped::Interrupted));
            }
        }
        Ok(None)
    }

    fn limit(&self) -> Option<Stopped> {
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Some(Stopped::TimeLimit);
        }
        if self.report.pages_moved >= self.options.pages_max {
            return Some(Stopped::PageLimit);
        }
        (self.report.transactions >= self.options.transactions_max).then_some(Stopped::TransactionLimit)
    }

    /// One commit. False if the writer lock was not to be had before the time was over.
    fn move_batch(&mut self, names: &[String], batch: &[Planned]) -> Result<bool> {
        let wait = match self.deadline {
            Some(deadline) => Wait::For(deadline.saturating_duration_since(Instant::now())),
            None => Wait::Forever,
        };
        let Some(mut txn) = self.core.begin_write(wait)? else { return Ok(self.deadline.is_none()) };
        txn.attempt(|txn| txn.draft.pack())?;
        let mut moved = 0;
        for page in batch {
            moved += txn.move_down(names, page)?;
        }
        if moved == 0 {
            return Ok(true);
        }
        self.report.pages_moved += moved;
        self.report.pages_written += txn.draft.space.handed_pages();
        self.report.transactions += 1;
        txn.commit().map(|_| true)
    }

    /// Lets the metas go by what was given up, and then gives the free end of the used part back.
    fn let_go(&self) -> Result<()> {
        for _ in 0..2 {
            let mut txn = self.core.begin_write_at_last()?;
            txn.attempt(|txn| txn.draft.pack())?;
            txn.commit_as_anchor()?;
        }
        Ok(())
    }

    /// Why nothing was gained although there are pages free.
    fn why_not(&self) -> Result<Stopped> {
        let (txn, head) = self.core.read_with_head()?;
        let metas = self.core.attached.durable()?.meta_txnids;
        let oldest_own = metas.into_iter().fold(txn.txnid(), u64::min);
        let wanted = wanted_end(&head, self.core.first_page());
        let mut holder: Option<Txnid> = None;
        each_free(&txn, &head, &mut |free| {
            if let Free::Waiting { run, blocker, .. } = free
                && run.end() > wanted.get()
                && blocker.get() < oldest_own
            {
                holder = holder.min(Some(blocker)).or(Some(blocker));
            }
        })?;
        Ok(holder.map_or(Stopped::NothingLower, |txnid| Stopped::Pinned { txnid: txnid.get() }))
    }
}

/// Where the used part may end: behind as many pages as are in use, and some for the next commits.
fn wanted_end(head: &HeadBody, first: Pgno) -> Pgno {
    let spare = (head.pages_in_use / 32).max(64);
    first.checked_add(head.pages_in_use.saturating_add(spare)).unwrap_or(Pgno::MAX)
}

impl WriteTxn {
    /// Moves a page or run to a lower place; answers how many pages. None if it is not there any more, or there is no room.
    fn move_down(&mut self, names: &[String], page: &Planned) -> Result<u64> {
        const BYTEWISE: PairOrder = PairOrder::of_keys(KeyOrder::BYTEWISE);
        let (table, order) = match page.home {
            Home::Named(at) => match self.open_named(&names[at], &Asked::default(), false) {
                Err(Error::TableMissing { .. }) => return Ok(0),
                opened => opened.map(|(table, order)| (Some(table), order))?,
            },
            Home::Main => (Some(TableId::Main), BYTEWISE),
            Home::Catalog | Home::Free => (None, BYTEWISE),
        };
        if !order.is_at_hand() {
            return Ok(0);
        }
        let run = if page.part == Part::Run && page.pages > 1 { page.pages } else { 0 };
        self.attempt(|txn| {
            let depth = match (table, page.home) {
                (Some(table), _) => txn.record(table).depth,
                (None, Home::Catalog) => txn.head.catalog.depth,
                (None, _) => txn.draft.space.tree().depth,
            };
            let below = if matches!(page.part, Part::Duplicates(_)) { DUPLICATES_DEPTH } else { 0 };
            if !txn.draft.make_room_below(page.pgno, u64::from(depth) + below + 1, run)? {
                return Ok(0);
            }
            let (key, duplicate) = (page.key.as_deref(), page.duplicate.as_deref());
            let is_moved = match (table, page.home) {
                (Some(table), _) => in_its_order!(order.keys, keys => {
                    txn.tree_mut(table, keys).relocate(page.part, key, duplicate, order.duplicates, page.pgno)
                }),
                (None, Home::Catalog) => {
                    TreeMut::new(&mut txn.draft, &mut txn.head.catalog).relocate(page.part, key, duplicate, order.duplicates, page.pgno)
                }
                (None, _) => txn.draft.free_tree(|tree| tree.relocate(page.part, key, duplicate, order.duplicates, page.pgno)),
            }?;
            Ok(if is_moved { page.pages } else { 0 })
        })
    }
}
