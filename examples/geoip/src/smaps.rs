//! How much memory a process holds, from `/proc/self/smaps`: resident (RSS) and its proportional share (PSS).
//!
//! A page that three processes map counts three times in the sum of their RSS and once in the sum of their PSS.
//! So the two sums tell how much of the database is one page cache, shared.

use std::fs;
use std::io;
use std::ops::AddAssign;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Resident bytes, and the share of them after dividing each page by the processes that map it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resident {
    pub rss_bytes: u64,
    pub pss_bytes: u64,
}

impl AddAssign for Resident {
    fn add_assign(&mut self, other: Resident) {
        self.rss_bytes += other.rss_bytes;
        self.pss_bytes += other.pss_bytes;
    }
}

/// The memory of one process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// The mappings of one file.
    pub file: Resident,
    /// Every mapping, that file's too.
    pub all: Resident,
}

/// The memory of this process, now; `file` without symbolic links, as the kernel names it.
///
/// # Errors
/// `/proc` is not mounted.
pub fn of_this_process(file: &Path) -> io::Result<Memory> {
    Ok(memory(&fs::read_to_string("/proc/self/smaps")?, &file.to_string_lossy()))
}

/// Sums the mappings. A mapping is a line of `address-address mode offset device inode path` and the lines of
/// `Name: number kB` that follow it.
fn memory(smaps: &str, file: &str) -> Memory {
    let mut memory = Memory::default();
    let mut is_file = false;
    for line in smaps.lines() {
        let Some((name, value)) = field(line) else {
            is_file = line.splitn(6, ' ').last().is_some_and(|path| path.trim_start() == file);
            continue;
        };
        let resident = match name {
            "Rss" => Resident { rss_bytes: value, pss_bytes: 0 },
            "Pss" => Resident { rss_bytes: 0, pss_bytes: value },
            _ => continue,
        };
        memory.all += resident;
        if is_file {
            memory.file += resident;
        }
    }
    memory
}

/// A field and its value in bytes, 0 where it is not a number of kB; `None` for the line that heads a mapping,
/// which has its first colon in the device number.
fn field(line: &str) -> Option<(&str, u64)> {
    let (name, value) = line.split_once(':')?;
    if name.contains(' ') {
        return None;
    }
    let kib: Option<u64> = value.trim().strip_suffix(" kB").and_then(|number| number.parse().ok());
    Some((name, kib.unwrap_or(0) * 1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
55d0c0a00000-55d0c0a21000 r-xp 00000000 08:01 131 /bin/geo ip
Size:                132 kB
Rss:                 100 kB
Pss:                  50 kB
VmFlags: rd ex mr mw me
7f1000000000-7f9000000000 r--s 00000000 08:01 4242                       /tmp/a b: c/geoip.maple
Rss:                4000 kB
Pss:                1000 kB
Pss_Dirty:             8 kB
7fa000000000-7fa800000000 rw-s 00000000 08:01 4242                       /tmp/a b: c/geoip.maple
Rss:                 400 kB
Pss:                 300 kB
7fb000000000-7fb000001000 rw-s 00000000 08:01 4243                       /tmp/a b: c/geoip.maple-lock
Rss:                   4 kB
Pss:                   4 kB
7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0
Rss:                  12 kB
Pss:                  12 kB
";

    #[test]
    fn the_mappings_of_the_file_are_told_from_the_others() {
        let kib = |rss: u64, pss: u64| Resident { rss_bytes: rss * 1024, pss_bytes: pss * 1024 };
        let memory = memory(SMAPS, "/tmp/a b: c/geoip.maple");
        assert_eq!(memory, Memory { file: kib(4400, 1300), all: kib(4516, 1366) });
    }

    #[test]
    fn this_process_has_memory_and_none_of_an_unmapped_file() {
        let memory = of_this_process(Path::new("/not/mapped")).expect("/proc is mounted");
        assert!(memory.all.rss_bytes >= memory.all.pss_bytes && memory.all.pss_bytes > 0, "{memory:?}");
        assert_eq!(memory.file, Resident::default());
    }
}
