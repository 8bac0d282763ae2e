//! The observer of a data file's seam: it keeps the model of the disk up to date, notes crash points, and fails syncs
//! when it is told to.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;

use mapledb_os::{Effect, Observer};
use rand::Rng;
use rand::seq::IndexedRandom;

use crate::disk::{Disk, SyncId};
use crate::image::lock_path;
use crate::model::{Bounds, History};
use crate::verify::Broken;

/// How many earlier contents of the lock file are kept.
const OLD_LOCKS: usize = 6;
/// Where meta A and meta B are.
const META_OFFSETS: [u64; 2] = [0, 64 << 10];
const META_BYTES: u64 = 4096;

/// What is done while a sync is on its way, once for each. It may use the environment, and is not asked again meanwhile.
pub type Meanwhile = Box<dyn FnMut(&Recorder) -> Result<(), Broken> + Send>;

/// A moment at which everything may end.
#[derive(Clone, Debug)]
pub struct CrashPoint {
    /// The data file.
    pub disk: Disk,
    /// The lock file.
    pub lock: Arc<Vec<u8>>,
    /// The lock file at earlier moments.
    pub old_locks: Vec<Arc<Vec<u8>>>,
    /// What the law allows to be found.
    pub bounds: Bounds,
    /// The commits.
    pub history: History,
    /// What was happening.
    pub label: String,
}

/// Watches one data file and its lock file.
pub struct Recorder {
    path: PathBuf,
    inner: Mutex<Inner>,
}

struct Inner {
    data: File,
    disk: Disk,
    lock: Arc<Vec<u8>>,
    old_locks: VecDeque<Arc<Vec<u8>>>,
    bounds: Bounds,
    history: History,
    /// The commit in flight: it reaches its commit point when its meta is stored.
    in_flight: Option<usize>,
    syncs_until_failure: Option<u32>,
    has_failed: bool,
    points: Vec<CrashPoint>,
    buffer: Vec<u8>,
    /// The syncs on their way, each with the thread that waits for it.
    syncs: Vec<(ThreadId, SyncId)>,
    meanwhile: Option<Meanwhile>,
    broken: Option<Broken>,
    /// What the transaction at work has stored to: where and how much.
    stored: Vec<(u64, u64)>,
}

impl Recorder {
    /// A recorder of the file at `path`, about which `disk` is known.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn new(path: &Path, disk: Disk, history: History, bounds: Bounds) -> io::Result<Arc<Recorder>> {
        let lock = Arc::new(read_or_empty(&lock_path(path))?);
        let inner = Inner {
            data: File::options().read(true).write(true).open(path)?,
            disk,
            lock,
            old_locks: VecDeque::new(),
            bounds,
            history,
            in_flight: None,
            syncs_until_failure: None,
            has_failed: false,
            points: Vec::new(),
            buffer: Vec::new(),
            syncs: Vec::new(),
            meanwhile: None,
            broken: None,
            stored: Vec::new(),
        };
        Ok(Arc::new(Recorder { path: path.to_path_buf(), inner: Mutex::new(inner) }))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a crash point between two effects: pages that are being built are stores, too.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn note(&self, label: &str) -> io::Result<()> {
        self.inner().note(&self.path, label)
    }

    /// The crash points noted since the last call.
    pub fn take_points(&self) -> Vec<CrashPoint> {
        std::mem::take(&mut self.inner().points)
    }

    /// What the law allows to be found now.
    pub fn bounds(&self) -> Bounds {
        self.inner().bounds
    }

    /// Sets what the law allows to be found from now on, and the commits it is about.
    pub fn set_law(&self, history: &History, bounds: Bounds) {
        let mut inner = self.inner();
        inner.history = history.clone();
        inner.bounds = bounds;
        inner.in_flight = None;
    }

    /// A transaction has been given its number.
    pub fn given_out(&self, txnid: u64) {
        let mut inner = self.inner();
        inner.bounds.txnid_max = inner.bounds.txnid_max.max(txnid);
    }

    /// A commit is about to be made, durable or not. A relaxed one reaches its commit point when it is acknowledged,
    /// since it makes no effect.
    pub fn commit_begins(&self, history: &History, index: usize) {
        let mut inner = self.inner();
        inner.stored.clear();
        inner.history = history.clone();
        // A relaxed one is made durable, too, where it has had blocks allocated that only a sync makes certain.
        inner.in_flight = Some(index);
    }

    /// Another process is about to publish the commit, which may be seen before that process can say so.
    pub fn may_be_seen(&self, index: usize) {
        let mut inner = self.inner();
        inner.bounds.reached = inner.bounds.reached.max(index);
    }

    /// The commit has failed, and nothing is to be said about it that is not known.
    pub fn commit_is_over(&self) {
        self.inner().in_flight = None;
    }

    /// The commit has been acknowledged.
    pub fn commit_ends(&self, index: usize, is_durable: bool) {
        let mut inner = self.inner();
        inner.in_flight = None;
        inner.bounds.acked = inner.bounds.acked.max(index);
        inner.bounds.reached = inner.bounds.reached.max(index);
        if is_durable {
            inner.bounds.durable = inner.bounds.durable.max(index);
        }
    }

    /// Everything acknowledged has been acknowledged as durable.
    pub fn all_durable(&self) {
        let mut inner = self.inner();
        inner.bounds.durable = inner.bounds.acked;
    }

    /// Has `act` done during each sync from now on, or nothing.
    pub fn during_syncs(&self, act: Option<Meanwhile>) {
        self.inner().meanwhile = act;
    }

    /// What was found during an effect to break the law.
    pub fn take_broken(&self) -> Option<Broken> {
        self.inner().broken.take()
    }

    /// Flips a bit of what the last commit has stored, behind the engine's back, and then flips it back. `look` may look
    /// at the file in between. Answers whether there was anything to flip.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn with_a_flipped_bit(
        &self,
        rng: &mut rand::rngs::SmallRng,
        look: impl FnOnce() -> Result<(), Broken>,
    ) -> io::Result<Result<bool, Broken>> {
        let inner = self.inner();
        let Some((offset, len)) = inner.stored.choose(rng).copied().filter(|(_, len)| *len > 0) else {
            return Ok(Ok(false));
        };
        let data = inner.data.try_clone()?;
        drop(inner);
        let (at, bit) = (offset + rng.random_range(0..len), 1 << rng.random_range(0..8));
        let mut byte = [0];
        data.read_exact_at(&mut byte, at)?;
        data.write_all_at(&[byte[0] ^ bit], at)?;
        let found = look();
        data.write_all_at(&byte, at)?;
        Ok(found.map(|()| true).map_err(|broken| format!("a bit of byte {at} was flipped: {broken}")))
    }

    /// Another process has died: its syncs have no end.
    pub fn cut_syncs_off(&self) {
        let mut inner = self.inner();
        for (_, sync) in std::mem::take(&mut inner.syncs) {
            inner.disk.sync_is_cut_off(sync);
        }
    }

    /// The sync after so many others fails.
    pub fn fail_sync_after(&self, syncs: u32) {
        self.inner().syncs_until_failure = Some(syncs);
    }

    /// No sync fails any more. Answers whether one did.
    pub fn stop_failing(&self) -> bool {
        let mut inner = self.inner();
        inner.syncs_until_failure = None;
        std::mem::take(&mut inner.has_failed)
    }

    /// Changes the file behind the engine's back, as the kernel does when it evicts what a failed sync left clean.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn evict(&self, rng: &mut rand::rngs::SmallRng) -> io::Result<()> {
        let mut inner = self.inner();
        for (offset, content) in inner.disk.evict(rng) {
            inner.data.write_all_at(&content[..], offset)?;
        }
        // Relaxed commits were in the page cache alone.
        inner.bounds.acked = inner.bounds.durable;
        Ok(())
    }
}

impl Inner {
    fn observe(&mut self, path: &Path) -> io::Result<()> {
        self.disk.observe_file(&self.data, &mut self.buffer)?;
        let lock = read_or_empty(&lock_path(path))?;
        if *self.lock != lock {
            if self.old_locks.len() == OLD_LOCKS {
                // The oldest stays: it may be the one of a clean close.
                self.old_locks.remove(1);
            }
            self.old_locks.push_back(std::mem::replace(&mut self.lock, Arc::new(lock)));
        }
        Ok(())
    }

    fn note(&mut self, path: &Path, label: &str) -> io::Result<()> {
        self.observe(path)?;
        self.points.push(CrashPoint {
            disk: self.disk.clone(),
            lock: Arc::clone(&self.lock),
            old_locks: self.old_locks.iter().cloned().collect(),
            bounds: self.bounds,
            history: self.history.clone(),
            label: label.to_string(),
        });
        Ok(())
    }

    /// The last sync of a thread that began has ended.
    fn sync_ends(&mut self, thread: ThreadId, ok: bool) {
        let Some(at) = self.syncs.iter().rposition(|(of, _)| *of == thread) else { return };
        let (_, sync) = self.syncs.remove(at);
        match ok {
            true => self.disk.sync_succeeds(sync),
            false => self.disk.sync_fails(sync),
        }
    }

    /// A store to a page without a block is a signal on a full disk.
    fn look_for_holes(&mut self, effect: &Effect) {
        let (Effect::StorePages { offset, len }
        | Effect::WritePages { offset, len }
        | Effect::Redirty { offset, len }
        | Effect::Populate { offset, len }) = *effect
        else {
            return;
        };
        if let Some(block) = self.disk.hole_in(offset, len) {
            self.broken.get_or_insert(format!("{effect:?} stores to block {block}, which may be a hole"));
        }
    }

    fn reach_commit_point(&mut self) {
        if let Some(index) = self.in_flight {
            self.bounds.reached = self.bounds.reached.max(index);
        }
    }

    fn fails_now(&mut self) -> bool {
        match &mut self.syncs_until_failure {
            Some(0) => {
                self.syncs_until_failure = None;
                self.has_failed = true;
                true
            }
            Some(more) => {
                *more -= 1;
                false
            }
            None => false,
        }
    }
}

/// Effects that neither store nor sync.
pub(crate) fn is_silent(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::Open { .. }
            | Effect::Read { .. }
            | Effect::Map { .. }
            | Effect::Advise { .. }
            | Effect::SyncDir
            | Effect::Create { .. }
            | Effect::Fill { .. }
            | Effect::Link
            | Effect::Rename
            | Effect::Unlink
    )
}

impl Recorder {
    /// A sync is on its way: an interval, in which readers begin and writers try to.
    fn wait_for_sync(&self, effect: &Effect) {
        let Some(mut act) = self.inner().meanwhile.take() else { return };
        let found = act(self);
        let mut inner = self.inner();
        if let Err(broken) = found {
            inner.broken.get_or_insert(format!("during {effect:?}: {broken}"));
        }
        inner.meanwhile.get_or_insert(act);
    }
}

impl Observer for Recorder {
    fn before(&self, effect: &Effect) -> io::Result<()> {
        if is_silent(effect) {
            return Ok(());
        }
        let mut inner = self.inner();
        inner.note(&self.path, &format!("before {effect:?}"))?;
        inner.look_for_holes(effect);
        let range = match *effect {
            Effect::Sync { offset, len } => Some((offset, len, false)),
            Effect::SyncFile { .. } => Some((0, u64::from(u32::MAX), true)),
            Effect::StoreMeta { .. } => {
                inner.reach_commit_point();
                None
            }
            _ => None,
        };
        let me = std::thread::current().id();
        if let Some((offset, len, with_length)) = range {
            let sync = inner.disk.sync_begins(offset, len, with_length);
            inner.syncs.push((me, sync));
            drop(inner);
            self.wait_for_sync(effect);
            inner = self.inner();
        }
        if (range.is_some() || *effect == Effect::SyncLockFile) && inner.fails_now() {
            if range.is_some() {
                inner.sync_ends(me, false);
            }
            inner.note(&self.path, &format!("failed {effect:?}"))?;
            return Err(io::Error::from_raw_os_error(5));
        }
        Ok(())
    }

    fn after(&self, effect: &Effect, ok: bool) {
        if is_silent(effect) {
            return;
        }
        let mut inner = self.inner();
        match *effect {
            Effect::StorePages { offset, len } => {
                inner.stored.push((offset, len));
                inner.disk.stored(offset, len);
            }
            Effect::WritePages { offset, len } | Effect::Redirty { offset, len } => {
                inner.disk.stored(offset, len)
            }
            Effect::Punch { offset, len } if ok => inner.disk.punched(offset, len),
            Effect::Grow { offset, len } | Effect::WriteZeros { offset, len } if ok => {
                inner.disk.allocated(offset, len);
            }
            Effect::StoreMeta { slot } => {
                if let Some(offset) = META_OFFSETS.get(usize::from(slot)) {
                    inner.disk.stored(*offset, META_BYTES);
                }
            }
            Effect::Sync { .. } | Effect::SyncFile { .. } => inner.sync_ends(std::thread::current().id(), ok),
            // What it held before cannot come back.
            Effect::SyncLockFile if ok => inner.old_locks.clear(),
            _ => {}
        }
        // The points of an effect are as good without this one if the file cannot be read: the next note says so.
        let _ = inner.note(&self.path, &format!("after {effect:?}"));
    }
}

fn read_or_empty(path: &Path) -> io::Result<Vec<u8>> {
    match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other,
    }
}
