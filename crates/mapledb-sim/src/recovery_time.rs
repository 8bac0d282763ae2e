//! How long an opening takes that recovers, by the size of the file: it must not depend on it.
//!
//! Files of 10 MB, 100 MB, 1 GB and so on are filled in order. A sample commits, closes, removes the lock file, so that
//! nobody can say that the end was clean, drops the file from the page cache, and times the opening, which reads and
//! verifies what the last commit wrote, stores it again and syncs. Sizes take turns, and the median counts.
//!
//! There are two kinds of last commit: one that puts a single entry, and one that fills its manifest, which is all that a
//! recovery ever reads after a durable one.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use mapledb::{Env, Options};
use mapledb_format::{Meta, Slot, ids};
use plotters::prelude::{
    BLUE, ChartBuilder, Circle, Color, IntoDrawingArea, IntoLogRange, LineSeries, RED, RGBColor, SVGBackend,
    WHITE,
};
use serde::Serialize;

/// A value that nearly fills a manifest: 1,900 of 2,048 pages.
const LONG_VALUE: usize = 1900 * 4096;
/// How much slower the largest may be than the smallest.
const RATIO_MAX: f64 = 1.5;
/// When it is a failure, and not a busy machine.
const RATIO_FAILS: f64 = 10.0;
const SMALLEST: u64 = 10_000_000;

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where the files are made. They are removed at the end.
    pub dir: PathBuf,
    /// The largest file in bytes.
    pub max_bytes: u64,
    /// Openings of each file after each kind of commit.
    pub samples: u32,
}

/// The last commit before the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LastCommit {
    /// Of one entry.
    OnePut,
    /// Of as many pages as a manifest lists.
    FullManifest,
}

const KINDS: [LastCommit; 2] = [LastCommit::OnePut, LastCommit::FullManifest];

impl LastCommit {
    fn words(self) -> &'static str {
        match self {
            LastCommit::OnePut => "after a commit of one entry",
            LastCommit::FullManifest => "after a commit that fills its manifest",
        }
    }

    fn color(self) -> RGBColor {
        match self {
            LastCommit::OnePut => BLUE,
            LastCommit::FullManifest => RED,
        }
    }
}

/// The openings of one file after one kind of commit.
#[derive(Clone, Debug, Serialize)]
pub struct Point {
    /// The last commit.
    pub last_commit: LastCommit,
    /// The file's length in bytes.
    pub file_bytes: u64,
    /// The median opening.
    pub median_ms: f64,
    /// The shortest.
    pub shortest_ms: f64,
    /// The longest.
    pub longest_ms: f64,
    /// How many.
    pub samples: u32,
}

/// All of it.
#[derive(Clone, Debug, Serialize)]
pub struct Times {
    /// The kernel's version.
    pub kernel: String,
    /// The file system of the files.
    pub file_system: String,
    /// By kind of commit, then by size.
    pub points: Vec<Point>,
    /// For each kind of commit, the median of the largest file over that of the smallest.
    pub ratios: BTreeMap<LastCommit, f64>,
}

impl Times {
    /// Whether the largest file takes at most one and a half times as long as the smallest.
    pub fn is_bounded(&self) -> bool {
        self.ratios.values().all(|ratio| *ratio <= RATIO_MAX)
    }

    /// Whether it takes so much longer that no busy machine explains it.
    pub fn is_broken(&self) -> bool {
        self.ratios.values().any(|ratio| *ratio > RATIO_FAILS)
    }
}

/// A file and the times of its openings.
struct Subject {
    path: PathBuf,
    file_bytes: u64,
    taken: BTreeMap<LastCommit, Vec<Duration>>,
}

impl Drop for Subject {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
        let _ = std::fs::remove_file(lock_path(&self.path));
    }
}

/// Measures. `tell` hears how far it is.
///
/// # Errors
/// What the engine or the system refused.
pub fn measure(plan: &Plan, tell: &mut dyn FnMut(&str)) -> Result<Times, String> {
    let mut subjects = Vec::new();
    let mut bytes = SMALLEST;
    while bytes <= plan.max_bytes.max(SMALLEST) {
        tell(&format!("fills a file of {} MB", bytes / 1_000_000));
        subjects.push(fill(&plan.dir, bytes)?);
        bytes = bytes.saturating_mul(10);
    }
    for turn in 0..plan.samples {
        tell(&format!("opens, turn {} of {}", turn + 1, plan.samples));
        for kind in KINDS {
            for subject in &mut subjects {
                let took = sample(&subject.path, kind, turn)?;
                subject.taken.entry(kind).or_default().push(took);
            }
        }
    }
    let mut points = Vec::new();
    for kind in KINDS {
        points.extend(subjects.iter_mut().map(|subject| point(subject, kind)));
    }
    let ratio = |kind: LastCommit| {
        let mut medians =
            points.iter().filter(|point| point.last_commit == kind).map(|point| point.median_ms);
        let first = medians.next().unwrap_or(1.0);
        medians.next_back().unwrap_or(first) / first
    };
    let ratios = KINDS.into_iter().map(|kind| (kind, ratio(kind))).collect();
    let first = open(&subjects[0].path)?;
    let file_system = first.info().map_err(|error| error.to_string())?.filesystem;
    Ok(Times { kernel: mapledb_os::kernel_version().to_string(), file_system, points, ratios })
}

/// Fills a file in order until it has about so many bytes.
fn fill(dir: &Path, bytes: u64) -> Result<Subject, String> {
    let path = dir.join(format!("recovery-time-{bytes}.maple"));
    for old in [path.clone(), lock_path(&path)] {
        let _ = std::fs::remove_file(old);
    }
    let said = {
        let path = path.clone();
        move |error: mapledb::Error| format!("{}: {error}", path.display())
    };
    let mut subject = Subject { path, file_bytes: 0, taken: BTreeMap::new() };
    let env = create(&subject.path)?;
    // A pair takes about 1,030 bytes, three to a leaf of 4 KiB with a quarter of it left; the long value is a part, too.
    let pairs = bytes.saturating_sub(LONG_VALUE as u64).max(1_000_000) / 1365;
    let mut txn = env.write().map_err(&said)?;
    let keys = (0..pairs).map(|n| (n * 2).to_be_bytes()).collect::<Vec<_>>();
    let value = vec![7u8; 1000];
    txn.main().load_sorted(keys.iter().map(|key| Ok((&key[..], &value[..])))).map_err(&said)?;
    txn.commit().map_err(&said)?;
    commit(&env, LastCommit::FullManifest, 0).map_err(&said)?;
    env.close().map_err(&said)?;
    subject.file_bytes = std::fs::metadata(&subject.path).map_err(|error| error.to_string())?.len();
    Ok(subject)
}

fn commit(env: &Env, kind: LastCommit, turn: u32) -> mapledb::Result<()> {
    let mut txn = env.write()?;
    match kind {
        LastCommit::OnePut => txn.main().put(&u64::from(turn).to_be_bytes(), &turn.to_le_bytes())?,
        LastCommit::FullManifest => txn.main().put(b"\xffthe long one", &vec![turn as u8; LONG_VALUE])?,
    }
    txn.commit().map(drop)
}

/// Commits, leaves an unclean end, and times the opening.
fn sample(path: &Path, kind: LastCommit, turn: u32) -> Result<Duration, String> {
    let said = |error: mapledb::Error| format!("{}: {error}", path.display());
    let env = open(path)?;
    // A commit that grows the file syncs its pages first and leaves no manifest to verify; before long one need not grow.
    let least = match kind {
        LastCommit::OnePut => 1,
        LastCommit::FullManifest => (LONG_VALUE / 4096) as u64,
    };
    let mut tries = 0;
    loop {
        commit(&env, kind, turn).map_err(said)?;
        let pages = manifest_pages(path)?;
        tries += 1;
        match pages >= least {
            true => break,
            false if tries < 20 => {}
            false => return Err(format!("{}: a manifest has {pages} pages and no more", path.display())),
        }
    }
    env.close().map_err(said)?;
    std::fs::remove_file(lock_path(path)).map_err(|error| format!("the lock file: {error}"))?;
    drop_from_cache(path)?;
    let began = Instant::now();
    let env = open(path)?;
    let took = began.elapsed();
    if env.recovery().recovered_txnid.is_none() {
        return Err(format!("{}: nothing was recovered: {:?}", path.display(), env.recovery()));
    }
    env.close().map_err(said)?;
    Ok(took)
}

/// How many pages the newest meta vouches for.
fn manifest_pages(path: &Path) -> Result<u64, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let file = File::open(path).map_err(failed)?;
    let mut newest = None;
    for slot in [Slot::A, Slot::B] {
        let mut bytes = [0; ids::META_BYTES];
        file.read_exact_at(&mut bytes, slot.offset()).map_err(failed)?;
        if let Ok(meta) = Meta::decode(&bytes, slot) {
            let extents = meta.manifest.extents(meta.bounds()).map_err(|error| error.to_string())?;
            let pages = extents.iter().map(|extent| extent.pages).sum();
            newest = newest.max(Some((meta.head.txnid, pages)));
        }
    }
    newest.map(|(_, pages)| pages).ok_or_else(|| format!("{}: no meta stands", path.display()))
}

/// Advises the kernel to drop the file's pages, which are all clean.
fn drop_from_cache(path: &Path) -> Result<(), String> {
    let mut of = std::ffi::OsString::from("of=");
    of.push(path);
    let status = Command::new("dd")
        .args(["oflag=nocache", "conv=notrunc,fdatasync", "count=0"])
        .arg(of)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        other => Err(format!("dd cannot drop {} from the page cache: {other:?}", path.display())),
    }
}

fn point(subject: &mut Subject, kind: LastCommit) -> Point {
    let mut taken = subject.taken.remove(&kind).unwrap_or_default();
    taken.sort_unstable();
    let ms = |took: Option<&Duration>| took.map_or(0.0, |took| took.as_secs_f64() * 1000.0);
    Point {
        last_commit: kind,
        file_bytes: subject.file_bytes,
        median_ms: ms(taken.get(taken.len() / 2)),
        shortest_ms: ms(taken.first()),
        longest_ms: ms(taken.last()),
        samples: taken.len() as u32,
    }
}

fn lock_path(path: &Path) -> PathBuf {
    path.with_extension("maple-lock")
}

fn options() -> Options {
    Env::options()
}

#[allow(unsafe_code)]
fn open(path: &Path) -> Result<Env, String> {
    // SAFETY: a file of this run's own, to which nothing but MapleDB writes while it is open.
    unsafe { options().open(path) }.map_err(|error| format!("{}: {error}", path.display()))
}

#[allow(unsafe_code)]
fn create(path: &Path) -> Result<Env, String> {
    // SAFETY: as above.
    unsafe { options().create(path) }.map_err(|error| format!("{}: {error}", path.display()))
}

/// Draws the medians over the size of the file, both on logarithmic scales.
///
/// # Errors
/// The file cannot be written.
pub fn plot(times: &Times, to: &Path) -> Result<(), String> {
    let said = |error: &dyn std::fmt::Display| format!("{}: {error}", to.display());
    let sizes = times.points.iter().map(|point| point.file_bytes as f64);
    let (low, high) = sizes.fold((f64::MAX, 0f64), |(low, high), size| (low.min(size), high.max(size)));
    let longest = times.points.iter().map(|point| point.median_ms).fold(0.1, f64::max);
    let area = SVGBackend::new(to, (640, 360)).into_drawing_area();
    area.fill(&WHITE).map_err(|error| said(&error))?;
    let mut chart = ChartBuilder::on(&area)
        .caption("Opening after an unclean end, cold", ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(48)
        .build_cartesian_2d((low / 1.5..high * 1.5).log_scale(), (0.1..longest * 4.0).log_scale())
        .map_err(|error| said(&error))?;
    chart
        .configure_mesh()
        .x_desc("length of the file")
        .y_desc("median, ms")
        .x_label_formatter(&|bytes| match *bytes {
            bytes if bytes >= 1e9 => format!("{:.0} GB", bytes / 1e9),
            bytes => format!("{:.0} MB", bytes / 1e6),
        })
        .y_label_formatter(&|ms| format!("{ms}"))
        .draw()
        .map_err(|error| said(&error))?;
    for kind in KINDS {
        let of_kind = times.points.iter().filter(|point| point.last_commit == kind);
        let line: Vec<_> = of_kind.map(|point| (point.file_bytes as f64, point.median_ms)).collect();
        let color = kind.color();
        chart
            .draw_series(LineSeries::new(line.iter().copied(), color))
            .map_err(|error| said(&error))?
            .label(kind.words())
            .legend(move |(x, y)| plotters::prelude::PathElement::new([(x, y), (x + 16, y)], color));
        let dots = line.into_iter().map(|at| Circle::new(at, 3, color.filled()));
        chart.draw_series(dots).map_err(|error| said(&error))?;
    }
    chart.configure_series_labels().background_style(WHITE).draw().map_err(|error| said(&error))?;
    area.present().map_err(|error| said(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn the_time_of_a_recovery_is_measured_and_drawn() {
        let scratch = Scratch::new().expect("a directory");
        let plan = Plan { dir: scratch.path().to_path_buf(), max_bytes: SMALLEST, samples: 2 };
        let mut said = 0;
        let times = measure(&plan, &mut |_| said += 1).expect("measured");
        assert_eq!(times.points.len(), 2);
        assert!(times.points.iter().all(|point| point.median_ms > 0.0 && point.samples == 2));
        assert!(times.points[0].file_bytes > SMALLEST / 2, "{:?}", times.points);
        assert!(!times.is_broken() && said > 0);
        let svg = scratch.path().join("plot.svg");
        plot(&times, &svg).expect("drawn");
        assert!(std::fs::read_to_string(&svg).expect("read").contains("length of the file"));
        assert!(!scratch.path().join("recovery-time-10000000.maple").exists(), "the files are removed");
    }
}
