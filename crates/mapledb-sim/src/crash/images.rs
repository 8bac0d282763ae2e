//! What a crash may leave, made and held against the law; and crashes during the recovery from that, and after it.

use std::panic::AssertUnwindSafe;
use std::path::Path;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::run::Run;
use super::session::Session;
use super::{io, open};
use crate::actor::options;
use crate::image::Image;
use crate::model::{Bounds, History};
use crate::recorder::CrashPoint;
use crate::scratch::Scratch;
use crate::verify::{Broken, law, said};
use crate::workload::Profile;
/// How deep crashes nest: a crash, one during its recovery, one during the recovery from that.
const DEPTH_MAX: u32 = 2;

impl Session<'_> {
    /// Makes images of crash points and verifies them.
    pub(super) fn examine(
        &mut self,
        points: Vec<CrashPoint>,
        profile: &Profile,
        depth: u32,
        images_max: u32,
        rng: &mut SmallRng,
    ) -> Result<(), Broken> {
        for point in points {
            if (self.is_over)() {
                break;
            }
            self.counts.points += 1;
            let images = match point.disk.open_blocks() {
                0 => u32::from(rng.random_ratio(1, 4)),
                _ => rng.random_range(0..=images_max),
            };
            for _ in 0..images {
                let image = Image::choose(&point, rng);
                self.counts.images += 1;
                self.counts.again += u64::from(depth > 0);
                *self.counts.by_ending.entry(image.ending).or_default() += 1;
                let verified = match depth < DEPTH_MAX && rng.random_ratio(1, 6 * (depth + 1)) {
                    true => self.crash_again(&image, profile, depth, rng),
                    false => self.verify(&image, profile, rng).map_err(|broken| {
                        format!("{broken}{}", self.smallest(image.clone(), &point, profile))
                    }),
                };
                verified.map_err(|broken| format!("{broken}\n  at {}", image.label))?;
            }
        }
        Ok(())
    }

    /// Opens an image and holds it against the law.
    fn verify(&mut self, image: &Image, profile: &Profile, rng: &mut SmallRng) -> Result<(), Broken> {
        let dir = Scratch::new().map_err(io("no directory"))?;
        let path = image.write(&dir).map_err(io("write an image"))?;
        self.verify_opened(&path, &image.history, image.bounds, profile, rng)
    }

    /// Which blocks of an image that breaks the law must not have been written for it to do so: as many are put right
    /// as can be.
    fn smallest(&mut self, mut image: Image, point: &CrashPoint, profile: &Profile) -> String {
        let mut needed = Vec::new();
        for (block, content) in image.differing(&point.disk.newest()) {
            let was = image.put(block, content);
            let still_breaks = std::panic::catch_unwind(AssertUnwindSafe(|| {
                self.verify(&image, profile, &mut SmallRng::seed_from_u64(0)).is_err()
            }));
            if !still_breaks.unwrap_or(true) {
                image.put(block, was);
                needed.push(block);
            }
        }
        match needed.is_empty() {
            true => "\n  as soon as everything is as it was last stored".to_string(),
            false => format!("\n  as soon as blocks {needed:?} are not as they were last stored"),
        }
    }

    /// Opens an image under watch, works on, and verifies what crashes meanwhile leave.
    fn crash_again(
        &mut self,
        image: &Image,
        profile: &Profile,
        depth: u32,
        rng: &mut SmallRng,
    ) -> Result<(), Broken> {
        let dir = Scratch::new().map_err(io("no directory"))?;
        let path = image.write(&dir).map_err(io("write an image"))?;
        let mut run =
            Run::new(path, image.disk(), image.history.clone(), image.bounds, profile.clone(), rng)?;
        if rng.random_ratio(1, 6) {
            self.open_failing(&mut run, 0)?;
        }
        self.open(&mut run)?;
        for _ in 0..rng.random_range(0..3) {
            self.step(&mut run)?;
        }
        let points = run.recorder.take_points();
        run.abandon();
        run.tell(self.counts);
        self.examine(points, profile, depth + 1, 1, rng)
    }

    /// Opens an image and holds it against the law, and so what it gives out and what it leaves behind.
    pub(super) fn verify_opened(
        &mut self,
        path: &Path,
        history: &History,
        bounds: Bounds,
        profile: &Profile,
        rng: &mut SmallRng,
    ) -> Result<(), Broken> {
        let env = open(path, options(profile)).map_err(said("opening"))?;
        let recovery = env.recovery().clone();
        self.counts.note(&recovery);
        let (found, stands) = law(&env, history, &bounds)?;
        let txnid = env.write().map_err(said("a write cannot begin"))?.txnid();
        if txnid <= bounds.txnid_max {
            return Err(format!("transaction {txnid} is given out, and {} was before", bounds.txnid_max));
        }
        env.close().map_err(said("closing"))?;
        if recovery.passed_over.is_some() || rng.random_ratio(1, 4) {
            let env = open(path, options(profile)).map_err(said("opening again"))?;
            let recovery = env.recovery();
            if !recovery.was_clean || recovery.passed_over.is_some() {
                return Err(format!("after a recovery and a clean close: {recovery:?}"));
            }
            let mut history = history.clone();
            history.renumber(found, stands);
            law(&env, &history, &Bounds::exactly(found, txnid)).map_err(|b| format!("opened again: {b}"))?;
        }
        Ok(())
    }
}
