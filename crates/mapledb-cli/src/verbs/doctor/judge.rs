//! What is well and what is not: pure functions from what the kernel says to a verdict, with the reason and the command
//! that changes it.

use mapledb_os::KernelVersion;
use serde::Serialize;

use super::facts::{Facts, Limit, Mount};
use crate::table;

/// Whether a setting suits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    Pass,
    Warn,
}

impl Verdict {
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Pass => "PASS",
            Verdict::Warn => "WARN",
        }
    }
}

/// A setting, judged.
#[derive(Debug, Serialize)]
pub struct Finding {
    pub check: &'static str,
    pub verdict: Verdict,
    pub value: String,
    pub why: String,
    pub fix: Option<String>,
}

impl Finding {
    fn pass(check: &'static str, value: impl Into<String>, why: impl Into<String>) -> Finding {
        Finding { check, verdict: Verdict::Pass, value: value.into(), why: why.into(), fix: None }
    }

    fn warn(check: &'static str, value: impl Into<String>, why: impl Into<String>, fix: &str) -> Finding {
        let fix = Some(fix.to_owned());
        Finding { check, verdict: Verdict::Warn, value: value.into(), why: why.into(), fix }
    }

    /// A setting that this system does not have, or does not tell.
    fn untold(check: &'static str) -> Finding {
        Finding::pass(check, "not told by this system", "nothing can be said of it")
    }
}

/// Judges every setting, each by itself.
pub fn judge(facts: &Facts) -> Vec<Finding> {
    vec![
        or_untold("kernel", facts.kernel, kernel),
        or_untold("vm.swappiness", facts.swappiness, |value| {
            swappiness(value, facts.swap_bytes.unwrap_or(0))
        }),
        dirty_limit(facts),
        dirty_background(facts),
        or_untold("transparent huge pages", facts.huge_pages.as_deref(), huge_pages),
        or_untold("vm.overcommit_memory", facts.overcommit, overcommit),
        or_untold("vm.max_map_count", facts.map_count_max, map_count),
        or_untold("limit of address space (RLIMIT_AS)", facts.address_space, address_space),
        or_untold("limit of file sizes (RLIMIT_FSIZE)", facts.file_size, file_size),
        or_untold("limit of open files (RLIMIT_NOFILE)", facts.open_files, open_files),
        or_untold("limit of locked memory (RLIMIT_MEMLOCK)", facts.locked, |limit| {
            locked(limit, facts.file_bytes)
        }),
        or_untold("memory of the cgroup", facts.cgroup_bytes, |limit| cgroup(limit, facts.file_bytes)),
        or_untold("file system", facts.mount.as_ref(), file_system),
        or_untold("mount options", facts.mount.as_ref(), mount_options),
        or_untold("write cache of the device", facts.write_cache.as_deref(), write_cache),
    ]
}

fn or_untold<T>(check: &'static str, fact: Option<T>, judge: impl FnOnce(T) -> Finding) -> Finding {
    fact.map_or_else(|| Finding::untold(check), judge)
}

fn kernel(version: KernelVersion) -> Finding {
    let check = "kernel";
    let upgrade = "install Linux 6.5 or later";
    if version < (KernelVersion { major: 5, minor: 14 }) {
        let why = "before 5.14 there is no MADV_POPULATE_WRITE: new pages are prepared one by one, which makes commits slower";
        return Finding::warn(check, version.to_string(), why, upgrade);
    }
    if version < (KernelVersion { major: 6, minor: 5 }) {
        let why = "before 6.5 there is no cachestat: what is in memory is asked page by page through a map";
        return Finding::warn(check, version.to_string(), why, upgrade);
    }
    Finding::pass(check, version.to_string(), "has MADV_POPULATE_WRITE and cachestat")
}

fn swappiness(value: u64, swap_bytes: u64) -> Finding {
    let check = "vm.swappiness";
    if swap_bytes == 0 {
        return Finding::pass(check, format!("{value}, without swap"), "there is no swap to go to");
    }
    match value {
        0 => Finding::warn(
            check,
            "0",
            "the kernel drops pages of files, the hot ones of the database among them, before it swaps out what no program \
             has touched for hours",
            "sysctl -w vm.swappiness=10",
        ),
        1..=100 => Finding::pass(
            check,
            value.to_string(),
            "idle memory of programs may go before pages of the database",
        ),
        _ => Finding::warn(
            check,
            value.to_string(),
            "above 100 the kernel would rather swap out programs, this one among them, than drop pages of files nobody reads",
            "sysctl -w vm.swappiness=60",
        ),
    }
}

/// The most that may be dirty at once, in bytes: of the two settings the one that is not 0 rules.
fn dirty_bytes(bytes: Option<u64>, ratio: Option<u64>, memory_bytes: Option<u64>) -> Option<u64> {
    match bytes {
        Some(bytes) if bytes > 0 => Some(bytes),
        _ => Some(memory_bytes?.checked_mul(ratio?)? / 100),
    }
}

/// A sync waits for the device's queue, and other programs' writes fill it when they are let go all at once.
const DIRTY_BYTES_MAX: u64 = 8 << 30;
/// With less than that, relaxed commits are slowed down to the speed of the disk.
const DIRTY_BYTES_MIN: u64 = 64 << 20;

fn dirty_limit(facts: &Facts) -> Finding {
    let check = "vm.dirty_ratio, vm.dirty_bytes";
    let Some(limit) = dirty_bytes(facts.dirty_bytes, facts.dirty_ratio, facts.memory_bytes) else {
        return Finding::untold(check);
    };
    let fix = "sysctl -w vm.dirty_bytes=2147483648 vm.dirty_background_bytes=536870912";
    let value = format!("about {}", table::size(limit));
    if limit > DIRTY_BYTES_MAX {
        let why = "so much of other programs' writes may pile up, and a commit's sync waits behind them when they are let go";
        return Finding::warn(check, value, why, fix);
    }
    if limit < DIRTY_BYTES_MIN {
        let why =
            "a writer of relaxed commits and a load are stopped again and again until the disk has caught up";
        return Finding::warn(check, value, why, fix);
    }
    Finding::pass(check, value, "enough for relaxed commits, and not so much that syncs wait for long")
}

fn dirty_background(facts: &Facts) -> Finding {
    let check = "vm.dirty_background_ratio, vm.dirty_background_bytes";
    let limit = dirty_bytes(facts.dirty_bytes, facts.dirty_ratio, facts.memory_bytes);
    let begin = dirty_bytes(facts.background_bytes, facts.background_ratio, facts.memory_bytes);
    let (Some(limit), Some(begin)) = (limit, begin) else { return Finding::untold(check) };
    let value = format!("about {}", table::size(begin));
    if begin >= limit {
        let why =
            "writing out in the background begins no earlier than writers are stopped: they stall instead";
        let fix = "sysctl -w vm.dirty_background_bytes=536870912 vm.dirty_bytes=2147483648";
        return Finding::warn(check, value, why, fix);
    }
    Finding::pass(check, value, "writing out begins well before writers are stopped")
}

fn huge_pages(chosen: &str) -> Finding {
    let check = "transparent huge pages";
    match chosen {
        "always" => Finding::warn(
            check,
            chosen,
            "programs' own memory is taken 2 MiB at a time, which leaves less for pages of files and stalls while memory is \
             compacted; the database's map gains nothing from it",
            "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
        ),
        _ => Finding::pass(check, chosen, "only who asks for huge pages gets them"),
    }
}

fn overcommit(mode: u64) -> Finding {
    let check = "vm.overcommit_memory";
    match mode {
        2 => Finding::warn(
            check,
            "2",
            "memory that is reserved and not touched is counted: the room for notes of verified pages is cut down, so pages \
             are verified more than once",
            "sysctl -w vm.overcommit_memory=0",
        ),
        _ => Finding::pass(check, mode.to_string(), "address space may be reserved ahead"),
    }
}

fn map_count(max: u64) -> Finding {
    let check = "vm.max_map_count";
    if max < 65_530 {
        let why = "below the kernel's own default; a process with many environments and threads may run out of ranges";
        return Finding::warn(check, table::count(max), why, "sysctl -w vm.max_map_count=65530");
    }
    Finding::pass(check, table::count(max), "an environment takes a handful of ranges")
}

fn address_space(limit: Limit) -> Finding {
    let check = "limit of address space (RLIMIT_AS)";
    match limit {
        Limit::None => Finding::pass(check, "none", "the file is mapped far past its end, once"),
        Limit::At(bytes) => Finding::warn(
            check,
            table::size(bytes),
            "the map cannot reach far past the file's end, so a file that grows is mapped anew; one that is larger cannot \
             be opened",
            "ulimit -v unlimited",
        ),
    }
}

fn file_size(limit: Limit) -> Finding {
    let check = "limit of file sizes (RLIMIT_FSIZE)";
    match limit {
        Limit::None => Finding::pass(check, "none", "the file may grow"),
        Limit::At(bytes) => {
            let why = "commits that would make the file longer fail, with an error that says so";
            Finding::warn(check, table::size(bytes), why, "ulimit -f unlimited")
        }
    }
}

fn open_files(limit: Limit) -> Finding {
    let check = "limit of open files (RLIMIT_NOFILE)";
    match limit {
        Limit::At(files) if files < 256 => {
            let why = "an environment takes a handful of descriptors, and the program needs its own";
            Finding::warn(check, table::count(files), why, "ulimit -n 1024")
        }
        Limit::At(files) => Finding::pass(check, table::count(files), "an environment takes a handful"),
        Limit::None => Finding::pass(check, "none", "an environment takes a handful"),
    }
}

/// So much of a file are its branches, or less.
const BRANCHES_SHARE: u64 = 100;

fn locked(limit: Limit, file_bytes: u64) -> Finding {
    let check = "limit of locked memory (RLIMIT_MEMLOCK)";
    match limit {
        Limit::At(bytes) if bytes < file_bytes / BRANCHES_SHARE => {
            let why = "the branches of the file may not fit: locking them in memory would fail; nothing else needs it";
            Finding::warn(check, table::size(bytes), why, "ulimit -l unlimited")
        }
        Limit::At(bytes) => {
            Finding::pass(check, table::size(bytes), "the branches of the file may be locked in memory")
        }
        Limit::None => Finding::pass(check, "none", "the branches of the file may be locked in memory"),
    }
}

/// A group with less has hardly room for a program beside the pages it reads.
const CGROUP_BYTES_MIN: u64 = 256 << 20;

fn cgroup(limit: Limit, file_bytes: u64) -> Finding {
    let check = "memory of the cgroup";
    let Limit::At(bytes) = limit else {
        return Finding::pass(check, "no limit", "pages of the file may take what memory is free");
    };
    let value = table::size(bytes);
    if bytes < file_bytes.max(CGROUP_BYTES_MIN) {
        let why = match file_bytes > bytes {
            true => {
                "pages of the file count as the group's memory, and not all of them fit: what is read most should"
            }
            false => "pages of the file count as the group's memory, and there is little of it",
        };
        return Finding::warn(
            check,
            value,
            why,
            "echo max > /sys/fs/cgroup/GROUP/memory.max (or the container's own setting)",
        );
    }
    Finding::pass(check, value, "pages of the file count as the group's memory, and fit")
}

fn file_system(mount: &Mount) -> Finding {
    let check = "file system";
    let value = format!("{} at {}", mount.kind, mount.at.display());
    let warn = |why: &str, fix: &str| Finding::warn(check, value.clone(), why, fix);
    match mount.kind.as_str() {
        "ext4" | "xfs" => Finding::pass(check, value, "tested on it"),
        "btrfs" => warn(
            "an overwrite takes new space there: on a full disk it is a signal and no error, unless the file was made without \
             copy-on-write",
            "chattr +C DIRECTORY, before the file is made",
        ),
        "tmpfs" | "ramfs" => {
            warn("it is memory: nothing there outlives the system", "put the database on a disk")
        }
        "overlay" | "aufs" => warn(
            "shared use is refused: a name there may come to mean another file",
            "put the database on a volume",
        ),
        kind if is_network(kind) => warn(
            "shared use is refused: other machines do not see the locks, nor this one's map",
            "put the database on a local disk, or open it exclusively or frozen",
        ),
        "zfs" | "bcachefs" => warn(
            "what is mapped lies in memory twice, or is young code: not tested on it",
            "put the database on ext4 or XFS, or run: maple torture DIRECTORY",
        ),
        _ => warn("not tested on it", "run: maple torture DIRECTORY"),
    }
}

fn is_network(kind: &str) -> bool {
    let kinds = [
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "9p",
        "ceph",
        "lustre",
        "afs",
        "glusterfs",
        "fuse.sshfs",
        "fuse.glusterfs",
    ];
    kinds.contains(&kind)
}

fn mount_options(mount: &Mount) -> Finding {
    let check = "mount options";
    let has = |option: &str| mount.options.iter().any(|has| has == option);
    let value = mount.options.join(",");
    let at = mount.at.display();
    if has("nobarrier") || has("barrier=0") {
        let why = "the device is not told to empty its cache: a commit that was acknowledged may be lost with the power";
        return Finding::warn(check, value, why, &format!("mount -o remount,barrier=1 {at}"));
    }
    if has("ro") {
        let why = "nothing can be written, the lock file neither: only --frozen works";
        return Finding::warn(check, value, why, &format!("mount -o remount,rw {at}"));
    }
    if has("sync") || has("dirsync") {
        let why = "every write waits for the disk, where the database syncs what must be and when";
        return Finding::warn(check, value, why, &format!("mount -o remount,async {at}"));
    }
    Finding::pass(check, value, "nothing in them weakens a sync")
}

fn write_cache(cache: &str) -> Finding {
    let check = "write cache of the device";
    match cache {
        "write back" => Finding::pass(check, cache, "the kernel tells the device to empty it at each sync"),
        "write through" => Finding::pass(
            check,
            cache,
            "a sync does not tell the device to empty a cache: true only if it has none, or one that outlives the power",
        ),
        _ => Finding::warn(
            check,
            cache,
            "the kernel does not say whether a sync empties the cache of the device",
            "hdparm -W DEVICE tells more; echo \"write back\" > /sys/block/NAME/queue/write_cache makes it safe",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::{Pass, Warn};

    fn assert_each(judged: impl IntoIterator<Item = (Finding, Verdict)>) {
        for (finding, verdict) in judged {
            assert_eq!(finding.verdict, verdict, "{finding:?}");
            assert_eq!(
                finding.fix.is_some(),
                verdict == Warn,
                "what is to be changed has a command: {finding:?}"
            );
            assert!(!finding.why.is_empty());
        }
    }

    #[test]
    fn kernels_by_what_they_have() {
        let of = |major, minor| kernel(KernelVersion { major, minor });
        assert_each([
            (of(4, 19), Warn),
            (of(5, 13), Warn),
            (of(5, 14), Warn),
            (of(6, 4), Warn),
            (of(6, 5), Pass),
            (of(7, 0), Pass),
        ]);
        assert!(of(5, 13).why.contains("MADV_POPULATE_WRITE") && of(5, 14).why.contains("cachestat"));
    }

    #[test]
    fn settings_of_memory() {
        assert_each([
            (swappiness(0, 0), Pass),
            (swappiness(0, 1), Warn),
            (swappiness(1, 1), Pass),
            (swappiness(100, 1), Pass),
            (swappiness(101, 1), Warn),
            (huge_pages("always"), Warn),
            (huge_pages("madvise"), Pass),
            (huge_pages("never"), Pass),
            (overcommit(0), Pass),
            (overcommit(1), Pass),
            (overcommit(2), Warn),
            (map_count(65_529), Warn),
            (map_count(65_530), Pass),
        ]);
    }

    #[test]
    fn dirty_memory_by_bytes_or_by_ratio() {
        let facts = |bytes, ratio, background_bytes, background_ratio, memory: u64| Facts {
            dirty_bytes: Some(bytes),
            dirty_ratio: Some(ratio),
            background_bytes: Some(background_bytes),
            background_ratio: Some(background_ratio),
            memory_bytes: Some(memory << 30),
            ..Facts::default()
        };
        let table = [
            (facts(0, 20, 0, 10, 16), Pass, Pass),
            (facts(0, 20, 0, 10, 64), Warn, Pass),
            (facts(2 << 30, 0, 1 << 29, 0, 256), Pass, Pass),
            (facts(1 << 20, 0, 1 << 19, 0, 16), Warn, Pass),
            (facts(1 << 30, 0, 0, 10, 16), Pass, Warn),
            (facts(0, 10, 0, 10, 16), Pass, Warn),
            (Facts::default(), Pass, Pass),
        ];
        assert_each(table.iter().flat_map(|(facts, limit, background)| {
            [(dirty_limit(facts), *limit), (dirty_background(facts), *background)]
        }));
    }

    #[test]
    fn limits_of_the_process_and_of_its_group() {
        assert_each([
            (address_space(Limit::None), Pass),
            (address_space(Limit::At(1 << 40)), Warn),
            (file_size(Limit::None), Pass),
            (file_size(Limit::At(1 << 40)), Warn),
            (locked(Limit::None, u64::MAX), Pass),
            (locked(Limit::At(1 << 20), 100 << 20), Pass),
            (locked(Limit::At((1 << 20) - 1), 100 << 20), Warn),
            (open_files(Limit::None), Pass),
            (open_files(Limit::At(256)), Pass),
            (open_files(Limit::At(255)), Warn),
            (cgroup(Limit::None, 1 << 40), Pass),
            (cgroup(Limit::At(1 << 30), 0), Pass),
            (cgroup(Limit::At(1 << 30), 1 << 30), Pass),
            (cgroup(Limit::At(1 << 30), (1 << 30) + 1), Warn),
            (cgroup(Limit::At(1 << 20), 0), Warn),
        ]);
    }

    fn mounted(kind: &str, options: &str) -> Mount {
        Mount {
            kind: kind.to_owned(),
            source: "/dev/sda".to_owned(),
            at: "/data".into(),
            options: options.split(',').map(str::to_owned).collect(),
            device: "8:0".to_owned(),
        }
    }

    #[test]
    fn disks() {
        let kinds = [
            ("ext4", Pass),
            ("xfs", Pass),
            ("btrfs", Warn),
            ("tmpfs", Warn),
            ("overlay", Warn),
            ("nfs4", Warn),
        ];
        assert_each(kinds.map(|(kind, verdict)| (file_system(&mounted(kind, "rw")), verdict)));
        assert_each(["zfs", "fuse.sshfs", "vfat"].map(|kind| (file_system(&mounted(kind, "rw")), Warn)));
        let options = [
            ("rw,relatime,discard", Pass),
            ("rw,nobarrier", Warn),
            ("rw,barrier=0", Warn),
            ("ro", Warn),
            ("rw,sync", Warn),
        ];
        assert_each(options.map(|(options, verdict)| (mount_options(&mounted("ext4", options)), verdict)));
        assert_each([
            (write_cache("write back"), Pass),
            (write_cache("write through"), Pass),
            (write_cache("none of these"), Warn),
        ]);
    }

    #[test]
    fn every_setting_is_judged_and_silence_is_no_warning() {
        let judged = judge(&Facts::default());
        assert_eq!(judged.len(), 15);
        assert!(
            judged
                .iter()
                .all(|finding| finding.verdict == Pass && finding.value == "not told by this system")
        );
    }
}
