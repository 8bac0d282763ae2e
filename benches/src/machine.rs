//! What the figures were measured on, and the kernel's counts about this process.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::Result;

/// Where a run took place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Processor model and number of processors.
    pub machine: String,
    /// Kernel release.
    pub kernel: String,
    /// Type of the file system that holds the data.
    pub file_system: String,
    /// Versions of the engines by name.
    pub versions: BTreeMap<String, String>,
}

impl Machine {
    /// This machine, with the data in directory `dir`.
    pub fn here(dir: &Path, versions: BTreeMap<String, String>) -> Result<Self> {
        let processors = std::thread::available_parallelism()?;
        Ok(Self {
            machine: format!("{} x {}", processors, processor_model()),
            kernel: read("/proc/sys/kernel/osrelease"),
            file_system: file_system(dir)?,
            versions,
        })
    }
}

impl Machine {
    /// How many processors there are.
    pub fn processors(&self) -> usize {
        self.machine.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(1)
    }
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}

fn processor_model() -> String {
    let text = read("/proc/cpuinfo");
    let field = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    field("model name").or_else(|| field("CPU part")).unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

/// The type of the file system that holds `dir`: that of the longest mount point above it, the later one
/// where two are mounted over each other.
fn file_system(dir: &Path) -> Result<String> {
    let dir = dir.canonicalize()?;
    let mounts = read("/proc/self/mountinfo");
    let under = |line: &str| {
        let (mount, kind) = line.split_once(" - ")?;
        let point = mount.split(' ').nth(4)?.replace("\\040", " ");
        dir.starts_with(&point).then(|| (point.len(), kind.split(' ').next().unwrap_or("unknown").to_owned()))
    };
    let innermost = mounts.lines().filter_map(under).max_by_key(|(length, _)| *length);
    Ok(innermost.map_or_else(|| "unknown".to_owned(), |(_, kind)| kind))
}

/// Processes that wanted a processor over the last minute, on average.
pub fn load_average() -> Option<f64> {
    read("/proc/loadavg").split(' ').next()?.parse().ok()
}

/// What has been written so far, by two counts. Neither is the truth alone, so both are shown.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    /// Bytes of page cache that this process made dirty: the whole folio at the first store to a page of it.
    /// Too much for a `pwrite`, of which a file system with a dirty bit for each block writes back no more
    /// than the blocks.
    pub dirtied: Option<u64>,
    /// Bytes that the device was given, by whomever: the file system's journal too, and other processes.
    pub device: Option<u64>,
}

impl Written {
    /// The counts now, for the device that holds `file`.
    pub fn so_far(file: &Path) -> Self {
        Self { dirtied: bytes_dirtied(), device: bytes_to_device(file) }
    }

    /// Bytes for each of `operations` since `before`: dirtied, and given to the device.
    pub fn each_since(self, before: Self, operations: usize) -> [f64; 2] {
        let each = |before: Option<u64>, after: Option<u64>| match (before, after) {
            (Some(before), Some(after)) => after.saturating_sub(before) as f64 / operations as f64,
            _ => f64::NAN,
        };
        [each(before.dirtied, self.dirtied), each(before.device, self.device)]
    }
}

/// Bytes that this process has had read from a device so far.
pub fn bytes_read() -> Option<u64> {
    io_count("read_bytes: ")
}

fn bytes_dirtied() -> Option<u64> {
    io_count("write_bytes: ")
}

fn io_count(name: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/io").ok()?;
    text.lines().find_map(|line| line.strip_prefix(name))?.parse().ok()
}

/// The seventh number of a device's `stat` is 512-byte sectors written.
fn bytes_to_device(file: &Path) -> Option<u64> {
    let id = std::fs::metadata(file).ok()?.dev();
    let major = (id >> 8 & 0xfff) | (id >> 32 & !0xfff);
    let minor = (id & 0xff) | (id >> 12 & !0xff);
    let text = std::fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")).ok()?;
    let sectors: u64 = text.split_whitespace().nth(6)?.parse().ok()?;
    Some(sectors * 512)
}

/// Measures time without what this thread spent waiting for a processor that other processes held, which
/// the kernel counts where it keeps scheduling statistics; a busy machine then spreads the figures less. On
/// an idle machine it is a plain clock.
pub struct Stopwatch {
    schedstat: Option<File>,
}

/// A running measurement.
pub struct Started<'a> {
    watch: &'a Stopwatch,
    at: Moment,
}

/// A time, and what the thread had waited until then, in nanoseconds.
#[derive(Clone, Copy)]
struct Moment {
    clock: Instant,
    waited: u64,
}

impl Stopwatch {
    /// A stopwatch for the calling thread.
    pub fn new() -> Self {
        Self { schedstat: File::open("/proc/thread-self/schedstat").ok() }
    }

    /// Starts.
    pub fn start(&self) -> Started<'_> {
        Started { watch: self, at: self.moment() }
    }

    /// Both clocks at one moment: read again if the thread had to wait between them, or that wait would be
    /// taken off a time it is not part of. Costs about a microsecond.
    fn moment(&self) -> Moment {
        loop {
            let waited = self.waited();
            let clock = Instant::now();
            if self.waited() == waited {
                return Moment { clock, waited };
            }
        }
    }

    /// Nanoseconds that this thread was ready to run and did not.
    fn waited(&self) -> u64 {
        let read = |file: &File| {
            let mut text = [0; 64];
            let length = file.read_at(&mut text, 0).ok()?;
            std::str::from_utf8(&text[..length]).ok()?.split_whitespace().nth(1)?.parse().ok()
        };
        self.schedstat.as_ref().and_then(read).unwrap_or(0)
    }
}

impl Default for Stopwatch {
    fn default() -> Self {
        Self::new()
    }
}

impl Started<'_> {
    /// Nanoseconds since the start.
    pub fn nanoseconds(&self) -> f64 {
        let now = self.watch.moment();
        let all = now.clock.duration_since(self.at.clock).as_nanos() as u64;
        all.saturating_sub(now.waited - self.at.waited) as f64
    }
}

/// Bytes of the blocks that `file` occupies.
pub fn occupied_bytes(file: &Path) -> Result<u64> {
    Ok(std::fs::metadata(file)?.blocks() * 512)
}

/// Bytes of the blocks that all files in `dir` occupy, those of directories in it too.
pub fn occupied_bytes_in(dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        bytes += match entry.file_type()?.is_dir() {
            true => occupied_bytes_in(&entry.path())?,
            // An engine may remove a file of its own at any time.
            false => occupied_bytes(&entry.path()).unwrap_or(0),
        };
    }
    Ok(bytes)
}

/// Bytes that the file system of `dir` has left for this user.
#[expect(unsafe_code, reason = "a system call that the standard library does not have")]
pub fn free_bytes(dir: &Path) -> Result<u64> {
    let path = std::ffi::CString::new(dir.as_os_str().as_bytes())?;
    // SAFETY: all zeros are a value of a structure of integers.
    let mut stat: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: the path ends with a zero byte, and the structure is there to be written.
    match unsafe { libc::statvfs(path.as_ptr(), &raw mut stat) } {
        0 => Ok(stat.f_bavail * stat.f_frsize),
        _ => Err(std::io::Error::last_os_error().into()),
    }
}

/// Bytes of memory that the machine has.
pub fn memory_bytes() -> u64 {
    let text = read("/proc/meminfo");
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kibibytes = total.and_then(|rest| rest.trim().split(' ').next()?.parse::<u64>().ok());
    kibibytes.map_or(1 << 30, |kibibytes| kibibytes << 10)
}

/// The version of crate `name` that this benchmark was built with, by its lock file.
pub fn locked_version(name: &str) -> &'static str {
    let lock = include_str!("../Cargo.lock");
    let head = format!("name = \"{name}\"\nversion = \"");
    let version = lock.split_once(&head).and_then(|(_, rest)| rest.split('"').next());
    version.unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_file_names_the_version_of_a_peer() {
        assert!(locked_version("heed").starts_with("0.23."));
        assert_eq!(locked_version("no-such-crate"), "unknown");
    }

    #[test]
    fn waiting_for_a_processor_is_not_counted_and_working_is() {
        let watch = Stopwatch::new();
        let started = watch.start();
        let began = Instant::now();
        while began.elapsed().as_millis() < 20 {}
        assert!(started.nanoseconds() > 1e6);
        assert!(started.nanoseconds() <= began.elapsed().as_nanos() as f64);
    }

    #[test]
    fn the_root_has_a_file_system() {
        assert_ne!(file_system(Path::new("/proc")).unwrap(), "unknown");
        assert_eq!(file_system(Path::new("/proc/self")).unwrap(), "proc");
    }
}
