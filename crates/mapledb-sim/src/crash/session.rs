//! A session: a file is made, and transactions, syncs, closes and other work follow each other on it, as its seed draws them.

use std::path::Path;
use std::sync::Arc;

use mapledb::Error;
use mapledb_os::Seam;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::birth::{Cradle, Moment};
use super::run::{Fate, Run};
use super::{Counts, io, open};
use crate::actor::options;
use crate::disk::{Bytes, Disk};
use crate::model::{Bounds, History, State};
use crate::scratch::Scratch;
use crate::verify::{Broken, said};
use crate::workload::Profile;
/// The session of one seed.
pub(super) struct Session<'c> {
    pub(super) exe: &'c Path,
    pub(super) is_over: &'c dyn Fn() -> bool,
    pub(super) counts: &'c mut Counts,
}

impl Session<'_> {
    pub(super) fn run(mut self, seed: u64) -> Result<(), Broken> {
        let mut rng = SmallRng::seed_from_u64(seed);
        let profile = Profile::random(&mut rng);
        let dir = Scratch::new().map_err(io("no directory"))?;
        let path = dir.path().join("run.maple");
        let txnid = self.create(&path, &profile, &mut rng).map_err(|b| format!("{profile:?}: {b}"))?;
        let history = History::new(txnid, State::default());
        let disk = Disk::synced(&Bytes::of(&std::fs::read(&path).map_err(io("read the file"))?));
        let bounds = Bounds::exactly(0, txnid);
        let transactions = profile.transactions;
        let mut run = Run::new(path, disk, history, bounds, profile, &mut rng)?;
        self.open(&mut run)?;
        for _ in 0..transactions {
            if (self.is_over)() {
                break;
            }
            self.step(&mut run)?;
            let points = run.recorder.take_points();
            self.examine(points, &run.profile, 0, 3, &mut rng)
                .map_err(|b| format!("{:?}: {b}", run.profile))?;
        }
        run.tell(self.counts);
        run.close()
    }

    /// Makes the file, and verifies what crashes on the way leave. Answers its first txnid.
    fn create(&mut self, path: &Path, profile: &Profile, rng: &mut SmallRng) -> Result<u64, Broken> {
        let cut_after = rng.random_ratio(1, 3).then(|| rng.random_range(0..8));
        let cradle = Arc::new(Cradle::new(path, cut_after));
        let seam = Seam::watched(Arc::clone(&cradle) as Arc<_>);
        let made = open(path, options(profile).seam(seam));
        let was_cut = cradle.was_cut() && made.is_err();
        let moments = if was_cut { Vec::new() } else { cradle.moments().map_err(io("watch a creation"))? };
        let env = match made {
            Ok(env) => env,
            // As if the process had died there: what it left is found by the next one.
            Err(_) if was_cut => {
                open(path, options(profile)).map_err(said("after a creation was cut off"))?
            }
            Err(error) => return Err(format!("create: {error}")),
        };
        let txnid = env.read().map_err(said("read"))?.txnid();
        env.close().map_err(said("close"))?;
        for moment in moments {
            self.counts.births += 1;
            self.counts.points += 1;
            self.verify_birth(&moment, profile, txnid, rng)
                .map_err(|broken| format!("{broken}\n  at creation, {}", moment.label))?;
        }
        Ok(txnid)
    }

    /// Verifies what a crash of the system during a creation may leave.
    fn verify_birth(
        &mut self,
        moment: &Moment,
        profile: &Profile,
        txnid: u64,
        rng: &mut SmallRng,
    ) -> Result<(), Broken> {
        if moment.label == "after creation" && moment.may_be_absent {
            return Err("the file was made, and its name may not last".to_string());
        }
        let absent = moment.may_be_absent.then_some(None);
        let present = moment.file.iter().map(|disk| Some(disk.after_crash(rng).0));
        for file in absent.into_iter().chain(present.collect::<Vec<_>>()) {
            let dir = Scratch::new().map_err(io("no directory"))?;
            let path = dir.path().join("image.maple");
            if let Some(bytes) = &file {
                let written = std::fs::File::create(&path).and_then(|file| bytes.write(&file));
                written.map_err(io("write an image"))?;
            }
            self.counts.images += 1;
            let history = History::new(txnid, State::default());
            let bounds = Bounds::exactly(0, 0);
            self.verify_opened(&path, &history, bounds, profile, rng)?;
        }
        Ok(())
    }

    /// Opens the run's environment and holds it against the law; from then on what it shows is durable.
    pub(super) fn open(&mut self, run: &mut Run) -> Result<(), Broken> {
        let recovery = run.open()?;
        self.counts.note(&recovery);
        Ok(())
    }

    /// One transaction, a sync, or a clean close; with a sync that fails now and then.
    pub(super) fn step(&mut self, run: &mut Run) -> Result<(), Broken> {
        if run.rng.random_ratio(1, 12) {
            run.recorder.fail_sync_after(run.rng.random_range(0..3));
        }
        let fate = match run.rng.random_range(0..29) {
            0 | 1 => run.sync()?,
            24 | 25 => {
                self.counts.trims += 1;
                run.trim()?
            }
            26..29 => {
                self.counts.packings += 1;
                run.pack()?
            }
            20..24 => {
                run.recorder.stop_failing();
                self.counts.seconds += 1;
                self.counts.deaths += u64::from(run.beside_another(self.exe)?);
                Fate::Well
            }
            2 => {
                run.recorder.stop_failing();
                run.close()?;
                self.open(run)?;
                Fate::Well
            }
            _ => {
                self.counts.commits += 1;
                run.transact()?
            }
        };
        if fate == Fate::SyncFailed {
            self.after_failed_sync(run)?;
        }
        run.recorder.take_broken().map_or(Ok(()), Err)
    }

    /// The environment is poisoned: closed and opened again, with or without the kernel having evicted meanwhile, and
    /// perhaps with another failure on the way.
    fn after_failed_sync(&mut self, run: &mut Run) -> Result<(), Broken> {
        self.counts.failed_syncs += 1;
        if run.rng.random_ratio(1, 2) {
            self.counts.live_evictions += 1;
            run.evict_beside_readers()?;
        }
        run.abandon();
        run.maybe_evict()?;
        if run.rng.random_ratio(1, 3) {
            let failing = run.rng.random_range(0..2);
            self.open_failing(run, failing)?;
        }
        self.open(run)
    }

    /// Opens the run's environment while a sync fails, after so many that do not: recovery must say so.
    pub(super) fn open_failing(&mut self, run: &mut Run, after: u32) -> Result<(), Broken> {
        run.recorder.fail_sync_after(after);
        let opened = open(&run.path, run.watched());
        let failed = run.recorder.stop_failing();
        match opened {
            Err(Error::Os(_)) if failed => {
                self.counts.failed_syncs += 1;
                run.maybe_evict()
            }
            Err(error) => Err(format!("opening while a sync fails: {error}")),
            Ok(_) if failed => Err("a sync failed during recovery, and it went on".to_string()),
            Ok(env) => {
                drop(env);
                Ok(())
            }
        }
    }
}
