//! What the machine itself can do: the bounds that no engine passes, measured in the same run.

use std::fs::OpenOptions;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::Result;
use crate::machine::Stopwatch;
use crate::rounds::median;
use crate::suite::Profile;
use crate::workload::SplitMix64;

/// Bytes of a cache line.
const LINE: usize = 64;
/// Bytes of a page.
const PAGE: usize = 4096;
/// Steps of a chase.
const STEPS: usize = 200_000;
/// Syncs of which the median counts.
const SYNCS: usize = 50;

/// What the machine can do.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    /// Nanoseconds of an access whose place depends on the one before it, by bytes of memory that they fall into.
    pub access_ns: Vec<(usize, f64)>,
    /// Bytes of memory read a second, ascending.
    pub bandwidth: f64,
    /// Microseconds of a page's write and its `fdatasync`.
    pub sync_us: f64,
    /// Nanoseconds of a `pread` of a page that the system has cached.
    pub pread_ns: f64,
}

impl Limits {
    /// Measures them, with a file in `dir`.
    pub fn measure(dir: &Path, profile: Profile) -> Result<Self> {
        let sizes: &[usize] =
            profile.pick(&[1 << 20], &[1 << 20, 128 << 20], &[1 << 20, 128 << 20, 1 << 30, 4 << 30]);
        let largest = sizes.iter().copied().max().unwrap_or(1 << 20);
        let mut memory = vec![0u32; largest / 4];
        let access_ns = sizes.iter().map(|bytes| (*bytes, chase(&mut memory[..bytes / 4]))).collect();
        let (sync_us, pread_ns) = file(dir)?;
        Ok(Self { access_ns, bandwidth: read_through(&memory), sync_us, pread_ns })
    }

    /// Nanoseconds of a dependent access in `bytes` of memory, by the nearest size that was measured.
    pub fn access_in(&self, bytes: u64) -> Option<f64> {
        let distance = |size: usize| (size as f64 / bytes as f64).ln().abs();
        let nearest = self.access_ns.iter().min_by(|a, b| distance(a.0).total_cmp(&distance(b.0)))?;
        Some(nearest.1)
    }

    /// Nanoseconds to read `bytes` of memory in order.
    pub fn stream_ns(&self, bytes: usize) -> Option<f64> {
        Some(bytes as f64 / self.bandwidth * 1e9)
    }

    /// Durable writes a second, one after the other.
    pub fn syncs_per_second(&self) -> Option<f64> {
        Some(1e6 / self.sync_us)
    }
}

/// Nanoseconds a step along one cycle through all cache lines in random order.
fn chase(memory: &mut [u32]) -> f64 {
    let step = LINE / 4;
    let mut order: Vec<u32> = (0..(memory.len() / step) as u32).collect();
    SplitMix64::new(1).shuffle(&mut order);
    for (at, line) in order.iter().enumerate() {
        memory[*line as usize * step] = order[(at + 1) % order.len()];
    }
    let watch = Stopwatch::new();
    let mut line = order[0];
    let mut walk = |steps: usize| {
        let started = watch.start();
        for _ in 0..steps {
            line = memory[line as usize * step];
        }
        black_box(line);
        started.nanoseconds() / steps as f64
    };
    walk(STEPS);
    walk(STEPS)
}

/// Bytes a second of a sum over all of it.
fn read_through(memory: &[u32]) -> f64 {
    let watch = Stopwatch::new();
    let started = watch.start();
    black_box(memory.iter().fold(0u32, |sum, word| sum.wrapping_add(*word)));
    (memory.len() * 4) as f64 / started.nanoseconds() * 1e9
}

/// Microseconds of a durable write of a page, and nanoseconds of a cached `pread`.
fn file(dir: &Path) -> Result<(f64, f64)> {
    let path = dir.join("limits");
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
    let pages = 1024;
    let mut page = [1u8; PAGE];
    for at in 0..pages {
        file.write_all_at(&page, at * PAGE as u64)?;
    }
    file.sync_all()?;
    let mut random = SplitMix64::new(2);
    let watch = Stopwatch::new();
    let mut syncs = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let at = random.below(pages as usize) as u64 * PAGE as u64;
        let started = watch.start();
        file.write_all_at(&page, at)?;
        file.sync_data()?;
        syncs.push(started.nanoseconds() / 1000.0);
    }
    let reads = 20_000;
    let started = watch.start();
    for _ in 0..reads {
        file.read_exact_at(&mut page, random.below(pages as usize) as u64 * PAGE as u64)?;
        black_box(page[0]);
    }
    let pread_ns = started.nanoseconds() / f64::from(reads);
    std::fs::remove_file(path)?;
    Ok((median(&syncs), pread_ns))
}
