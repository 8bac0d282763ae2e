//! What the kernel says of itself: files under `/proc` and `/sys`, read as they are. What is not there is `None`.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use mapledb_os::KernelVersion;

/// Where the kernel's files lie.
pub struct Roots {
    pub proc: PathBuf,
    pub sys: PathBuf,
}

impl Roots {
    /// Those of the running kernel.
    pub fn of_this_system() -> Roots {
        Roots { proc: "/proc".into(), sys: "/sys".into() }
    }

    fn proc(&self, name: &str) -> Option<String> {
        text(&self.proc.join(name))
    }

    fn proc_number(&self, name: &str) -> Option<u64> {
        self.proc(name)?.trim().parse().ok()
    }

    fn sys(&self, name: &str) -> Option<String> {
        text(&self.sys.join(name))
    }
}

/// A limit of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    None,
    At(u64),
}

/// The file system of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Its kind, such as `ext4`.
    pub kind: String,
    /// What it is mounted from.
    pub source: String,
    /// Where it is mounted.
    pub at: PathBuf,
    /// The options of the mount and of the file system.
    pub options: Vec<String>,
    /// Major and minor number of its device.
    pub device: String,
}

/// All that is judged.
#[derive(Debug, Default)]
pub struct Facts {
    pub kernel: Option<KernelVersion>,
    pub swappiness: Option<u64>,
    pub swap_bytes: Option<u64>,
    pub memory_bytes: Option<u64>,
    pub dirty_ratio: Option<u64>,
    pub dirty_bytes: Option<u64>,
    pub background_ratio: Option<u64>,
    pub background_bytes: Option<u64>,
    pub overcommit: Option<u64>,
    pub map_count_max: Option<u64>,
    pub huge_pages: Option<String>,
    pub address_space: Option<Limit>,
    pub file_size: Option<Limit>,
    pub open_files: Option<Limit>,
    pub locked: Option<Limit>,
    pub cgroup_bytes: Option<Limit>,
    pub mount: Option<Mount>,
    pub write_cache: Option<String>,
    /// The length of the database; 0 if a directory was named.
    pub file_bytes: u64,
}

impl Facts {
    /// Reads them for a path, symbolic links resolved.
    pub fn read(roots: &Roots, path: &Path) -> io::Result<Facts> {
        let about = fs::metadata(path)?;
        let device = device_of(about.dev());
        let limits = roots.proc("self/limits").unwrap_or_default();
        let memory = roots.proc("meminfo").unwrap_or_default();
        let mount = roots.proc("self/mountinfo").and_then(|mounts| mount_of(&mounts, &device, path));
        Ok(Facts {
            kernel: roots.proc("sys/kernel/osrelease").map(|release| KernelVersion::parse(release.trim())),
            swappiness: roots.proc_number("sys/vm/swappiness"),
            swap_bytes: meminfo(&memory, "SwapTotal:"),
            memory_bytes: meminfo(&memory, "MemTotal:"),
            dirty_ratio: roots.proc_number("sys/vm/dirty_ratio"),
            dirty_bytes: roots.proc_number("sys/vm/dirty_bytes"),
            background_ratio: roots.proc_number("sys/vm/dirty_background_ratio"),
            background_bytes: roots.proc_number("sys/vm/dirty_background_bytes"),
            overcommit: roots.proc_number("sys/vm/overcommit_memory"),
            map_count_max: roots.proc_number("sys/vm/max_map_count"),
            huge_pages: roots.sys("kernel/mm/transparent_hugepage/enabled").and_then(|line| chosen(&line)),
            address_space: soft_limit(&limits, "Max address space"),
            file_size: soft_limit(&limits, "Max file size"),
            open_files: soft_limit(&limits, "Max open files"),
            locked: soft_limit(&limits, "Max locked memory"),
            cgroup_bytes: cgroup_limit(roots),
            write_cache: mount.as_ref().and_then(|mount| write_cache(roots, mount)),
            mount,
            file_bytes: if about.is_file() { about.len() } else { 0 },
        })
    }
}

fn text(path: &Path) -> Option<String> {
    fs::read(path).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// `254:0` of a device number, by the kernel's layout of it.
fn device_of(dev: u64) -> String {
    let major = (dev >> 8) & 0xfff | (dev >> 32) & !0xfff;
    let minor = dev & 0xff | (dev >> 12) & !0xff;
    format!("{}:{}", major as u32, minor as u32)
}

/// Bytes of a line of `/proc/meminfo`.
fn meminfo(memory: &str, name: &str) -> Option<u64> {
    let line = memory.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// The word in brackets.
fn chosen(line: &str) -> Option<String> {
    let (_, rest) = line.split_once('[')?;
    rest.split_once(']').map(|(word, _)| word.to_owned())
}

/// The soft limit of a line of `/proc/self/limits`.
fn soft_limit(limits: &str, name: &str) -> Option<Limit> {
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(Limit::None),
        number => number.parse().ok().map(Limit::At),
    }
}

/// The smallest limit of memory from this process's group up to the root.
fn cgroup_limit(roots: &Roots) -> Option<Limit> {
    let groups = roots.proc("self/cgroup")?;
    let of_first = groups.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, group) = rest.split_once(':')?;
        controllers.split(',').any(|controller| controller == "memory").then_some(("fs/cgroup/memory", group))
    });
    let of_second = || {
        let group = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
        Some(("fs/cgroup", group))
    };
    let (root, group) = of_first.or_else(of_second)?;
    let names = ["memory.max", "memory.high", "memory.limit_in_bytes"];
    let mut least: Option<Limit> = None;
    for dir in Path::new(group.trim_start_matches('/')).ancestors() {
        for name in names {
            let limit =
                text(&roots.sys.join(root).join(dir).join(name)).and_then(|text| memory_limit(text.trim()));
            least = match (least, limit) {
                (Some(Limit::At(a)), Some(Limit::At(b))) => Some(Limit::At(a.min(b))),
                (Some(Limit::At(a)), _) => Some(Limit::At(a)),
                (least, limit) => limit.or(least),
            };
        }
    }
    least
}

/// `max`, or a number; the first version of groups says a number near 2^63 for none.
fn memory_limit(text: &str) -> Option<Limit> {
    match text.parse() {
        Ok(bytes) if bytes < 1 << 62 => Some(Limit::At(bytes)),
        Ok(_) => Some(Limit::None),
        Err(_) => (text == "max").then_some(Limit::None),
    }
}

/// The mount that holds `path`: by its device, and where several have it, or none has (as on btrfs), by its place.
fn mount_of(mounts: &str, device: &str, path: &Path) -> Option<Mount> {
    let all: Vec<Mount> =
        mounts.lines().filter_map(mount_line).filter(|mount| path.starts_with(&mount.at)).collect();
    // Of mounts at one place the last covers the others.
    let deepest =
        |mounts: Vec<&Mount>| mounts.into_iter().max_by_key(|mount| mount.at.as_os_str().len()).cloned();
    deepest(all.iter().filter(|mount| mount.device == device).collect())
        .or_else(|| deepest(all.iter().collect()))
}

/// `36 35 98:0 / /mnt rw,noatime shared:1 - ext3 /dev/root rw,errors=continue`.
fn mount_line(line: &str) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let left: Vec<&str> = left.split(' ').collect();
    let right: Vec<&str> = right.split(' ').collect();
    let options = [left.get(5)?, *right.get(2).unwrap_or(&"")];
    Some(Mount {
        kind: (*right.first()?).to_owned(),
        source: (*right.get(1)?).to_owned(),
        at: unescaped(left.get(4)?).into(),
        options: options.iter().flat_map(|options| options.split(',')).map(str::to_owned).collect(),
        device: (*left.get(2)?).to_owned(),
    })
}

/// A path with `\040` and the like resolved.
fn unescaped(path: &str) -> String {
    [(r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", "\\")]
        .iter()
        .fold(path.to_owned(), |path, (code, character)| path.replace(code, character))
}

/// What the kernel takes the device's cache to be; of a partition, that of its disk.
fn write_cache(roots: &Roots, mount: &Mount) -> Option<String> {
    let by_number = roots.sys.join("dev/block").join(&mount.device);
    let by_name = roots.sys.join("class/block").join(mount.source.strip_prefix("/dev/").unwrap_or("none"));
    let device = [by_number, by_name].into_iter().find_map(|device| device.canonicalize().ok())?;
    let mut places = std::iter::once(device.as_path()).chain(device.parent());
    places.find_map(|place| text(&place.join("queue/write_cache"))).map(|cache| cache.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A fake `/proc` and `/sys`.
    fn roots(files: &[(&str, &str)]) -> (tempfile::TempDir, Roots) {
        let dir = tempfile::tempdir().unwrap();
        for (name, contents) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, contents).unwrap();
        }
        let roots = Roots { proc: dir.path().join("proc"), sys: dir.path().join("sys") };
        (dir, roots)
    }

    #[test]
    fn a_system_is_read_as_it_says() {
        let here = tempfile::tempdir().unwrap();
        let device = device_of(fs::metadata(here.path()).unwrap().dev());
        let mountinfo = format!(
            "22 27 0:21 / /proc rw - proc proc rw\n36 1 {device} / / rw,noatime shared:1 - ext4 /dev/vda1 rw,discard\n"
        );
        let (_dir, roots) = roots(&[
            ("proc/sys/kernel/osrelease", "6.12.3-generic\n"),
            ("proc/sys/vm/swappiness", "60\n"),
            ("proc/sys/vm/dirty_ratio", "20\n"),
            ("proc/sys/vm/dirty_bytes", "0\n"),
            ("proc/meminfo", "MemTotal:       1024 kB\nSwapTotal:         2 kB\n"),
            (
                "proc/self/limits",
                "Limit   Soft Limit\nMax file size    unlimited  unlimited  bytes\nMax open files   1024  4096  files\n",
            ),
            ("proc/self/cgroup", "0::/a/b\n"),
            ("proc/self/mountinfo", &mountinfo),
            ("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n"),
            ("sys/fs/cgroup/a/memory.max", "8192\n"),
            ("sys/fs/cgroup/a/b/memory.max", "max\n"),
            (&format!("sys/dev/block/{device}/start"), "2048\n"),
            ("sys/dev/block/queue/write_cache", "write back\n"),
        ]);
        let facts = Facts::read(&roots, &here.path().canonicalize().unwrap()).unwrap();
        assert_eq!(facts.kernel, Some(KernelVersion { major: 6, minor: 12 }));
        assert_eq!((facts.swappiness, facts.dirty_ratio, facts.dirty_bytes), (Some(60), Some(20), Some(0)));
        assert_eq!((facts.memory_bytes, facts.swap_bytes), (Some(1 << 20), Some(2048)));
        assert_eq!((facts.file_size, facts.open_files), (Some(Limit::None), Some(Limit::At(1024))));
        assert_eq!((facts.address_space, facts.map_count_max), (None, None));
        assert_eq!(facts.cgroup_bytes, Some(Limit::At(8192)));
        assert_eq!(facts.huge_pages.as_deref(), Some("madvise"));
        let mount = facts.mount.unwrap();
        assert_eq!((&mount.kind[..], &mount.source[..]), ("ext4", "/dev/vda1"));
        assert_eq!(mount.options, ["rw", "noatime", "rw", "discard"]);
        assert_eq!(facts.write_cache.as_deref(), Some("write back"), "that of the partition's disk");
    }

    #[test]
    fn a_system_that_says_nothing_is_no_error() {
        let (dir, roots) = roots(&[]);
        let facts = Facts::read(&roots, dir.path()).unwrap();
        assert!(facts.kernel.is_none() && facts.mount.is_none() && facts.cgroup_bytes.is_none());
    }

    #[test]
    fn limits_of_groups_of_both_versions_are_found() {
        let (first, second) = ("sys/fs/cgroup/memory", "sys/fs/cgroup");
        let table = [
            ("4:memory:/x\n0::/\n", format!("{first}/x/memory.limit_in_bytes"), "77\n", Some(Limit::At(77))),
            (
                "4:memory:/\n",
                format!("{first}/memory.limit_in_bytes"),
                "9223372036854771712",
                Some(Limit::None),
            ),
            ("0::/x\n", format!("{second}/x/memory.max"), "max", Some(Limit::None)),
            ("0::/x/y\n", format!("{second}/x/memory.high"), "9", Some(Limit::At(9))),
            ("0::/\n", format!("{second}/x/memory.max"), "9", None),
        ];
        for (group, name, contents, limit) in table {
            let (_dir, roots) = roots(&[("proc/self/cgroup", group), (&name, contents)]);
            assert_eq!(cgroup_limit(&roots), limit, "{name}");
        }
    }

    #[test]
    fn the_mount_is_the_deepest_of_the_device() {
        let mounts = "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 8:2 / /data rw - xfs /dev/sda2 rw\n\
                      3 1 0:44 / /my\\040files rw - btrfs /dev/sdb rw,nodatacow\nnonsense\n";
        for (device, path, kind) in [
            ("8:1", "/home/a", "ext4"),
            ("8:2", "/data/a", "xfs"),
            ("0:99", "/my files/a", "btrfs"),
            ("8:1", "/database", "ext4"),
        ] {
            assert_eq!(mount_of(mounts, device, Path::new(path)).unwrap().kind, kind, "{path}");
        }
        assert_eq!(mount_of("", "8:1", Path::new("/")), None);
    }
}
