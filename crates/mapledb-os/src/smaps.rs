//! What the kernel tells about the memory of maps (`/proc/PID/smaps`): the only proof there is that a huge page is one.
//!
//! ```text
//! 7f4f56200000-7f4f5a200000 r--s 00000000 fe:00 5406736    /path       one map, then its fields
//! Rss:               65536 kB
//! FilePmdMapped:     65536 kB                                          mapped by entries for 2 MiB, of a file's page cache
//! VmFlags: rd mr me ms hg                                              hg: advised to be huge
//! ```

use std::fs;
use std::io;
use std::ops::Range;
use std::path::Path;

use crate::error::{OsError, Result};
use crate::file::FileId;
use crate::process;

/// What the kernel tells about one map, or about several together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MapFacts {
    /// Where it lies.
    pub addresses: Range<u64>,
    /// The device of the file that is mapped, as `stat` has it; some file systems have several and tell another one here.
    pub dev: u64,
    /// The inode of the file; 0 if no file is mapped.
    pub ino: u64,
    /// The path of the file as the kernel has it.
    pub path: String,
    /// Bytes that this process has mapped.
    pub resident_bytes: u64,
    /// The same, each page divided by the number of processes that have it mapped.
    pub proportional_bytes: u64,
    /// Bytes mapped by huge pages, of whatever kind.
    pub huge_bytes: u64,
    /// Bytes that are locked in memory.
    pub locked_bytes: u64,
    /// Whether huge pages are advised.
    pub is_huge_advised: bool,
}

/// Those of the maps of process `pid`, or of this one, that map something that is in memory or could be.
///
/// Cost: the kernel looks at every page that the process has mapped.
///
/// # Errors
/// The process is gone, or another user's.
pub fn maps_of(pid: Option<u32>) -> Result<Vec<MapFacts>> {
    let path = pid.map_or("/proc/self/smaps".to_string(), |pid| format!("/proc/{pid}/smaps"));
    let text = fs::read(&path).map_err(|e| OsError::new("read", Path::new(&path), e))?;
    Ok(parse(&String::from_utf8_lossy(&text)))
}

/// A process that has a file mapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapper {
    /// The process.
    pub pid: u32,
    /// Its maps of the file, together.
    pub facts: MapFacts,
}

/// The other processes that have the file `id` at `path` mapped, as far as this one may look into them; and how many it may
/// not look into.
///
/// Cost: the list of maps of every process; of those that map the file, the kernel looks at every page they have mapped.
///
/// # Errors
/// `/proc` is not mounted.
pub fn mappers_of(id: FileId, path: &Path) -> Result<(Vec<Mapper>, usize)> {
    let failed = |e| OsError::new("list", Path::new("/proc"), e);
    let (mut mappers, mut refused) = (Vec::new(), 0);
    let path = path.to_string_lossy();
    for entry in fs::read_dir("/proc").map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if pid == process::pid() {
            continue;
        }
        let is_of_file = |map: &MapFacts| map.ino == id.ino && (map.dev == id.dev || map.path == path);
        match fs::read(format!("/proc/{pid}/maps")) {
            Ok(maps) if parse(&String::from_utf8_lossy(&maps)).iter().any(is_of_file) => {}
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                refused += 1;
                continue;
            }
            // Another file's, or gone meanwhile.
            _ => continue,
        }
        if let Ok(maps) = maps_of(Some(pid)) {
            mappers.push(Mapper { pid, facts: together(maps.into_iter().filter(is_of_file)) });
        }
    }
    mappers.sort_by_key(|mapper| mapper.pid);
    Ok((mappers, refused))
}

/// The maps of this process that lie in `addresses`, together.
pub(crate) fn within(addresses: Range<u64>) -> Result<MapFacts> {
    let inside =
        |map: &MapFacts| map.addresses.start >= addresses.start && map.addresses.end <= addresses.end;
    Ok(MapFacts { addresses: addresses.clone(), ..together(maps_of(None)?.into_iter().filter(inside)) })
}

fn together(maps: impl Iterator<Item = MapFacts>) -> MapFacts {
    maps.fold(MapFacts::default(), |sum, map| MapFacts {
        resident_bytes: sum.resident_bytes + map.resident_bytes,
        proportional_bytes: sum.proportional_bytes + map.proportional_bytes,
        huge_bytes: sum.huge_bytes + map.huge_bytes,
        locked_bytes: sum.locked_bytes + map.locked_bytes,
        is_huge_advised: sum.is_huge_advised || map.is_huge_advised,
        ..map
    })
}

fn parse(text: &str) -> Vec<MapFacts> {
    let mut maps: Vec<MapFacts> = Vec::new();
    for line in text.lines() {
        if let Some(map) = head(line) {
            maps.push(map);
        } else if let Some(map) = maps.last_mut() {
            field(map, line);
        }
    }
    maps
}

/// The line that begins a map; `None` if it is a field's.
fn head(line: &str) -> Option<MapFacts> {
    let (addresses, rest) = line.split_once(' ')?;
    let (start, end) = addresses.split_once('-')?;
    let hex = |text| u64::from_str_radix(text, 16).ok();
    let mut fields = rest.splitn(5, ' ');
    let (_permissions, _offset, device, inode) =
        (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let (major, minor) = device.split_once(':')?;
    Some(MapFacts {
        addresses: hex(start)?..hex(end)?,
        dev: libc::makedev(hex(major)? as u32, hex(minor)? as u32),
        ino: inode.parse().ok()?,
        path: fields.next().unwrap_or_default().trim_start().to_string(),
        ..MapFacts::default()
    })
}

fn field(map: &mut MapFacts, line: &str) {
    let Some((name, value)) = line.split_once(':') else { return };
    if name == "VmFlags" {
        map.is_huge_advised = value.split_ascii_whitespace().any(|flag| flag == "hg");
        return;
    }
    let kilobytes = value.trim().strip_suffix(" kB").and_then(|number| number.parse::<u64>().ok());
    let bytes = kilobytes.unwrap_or(0) << 10;
    match name {
        "Rss" => map.resident_bytes += bytes,
        "Pss" => map.proportional_bytes = bytes,
        "Locked" => map.locked_bytes = bytes,
        "AnonHugePages" | "ShmemPmdMapped" | "FilePmdMapped" => map.huge_bytes += bytes,
        "Shared_Hugetlb" | "Private_Hugetlb" => {
            // These are no part of what the kernel counts as resident.
            map.resident_bytes += bytes;
            map.huge_bytes += bytes;
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
55d0c0a00000-55d0c0a21000 rw-p 00000000 00:00 0                          [heap]
Rss:                  16 kB
AnonHugePages:         0 kB
VmFlags: rd wr mr mw me ac
7f4f56200000-7f4f5a200000 r--s 00000000 fe:00 5406736                    /a b/c: d.maple
Size:              65536 kB
Rss:               65536 kB
Pss:               32768 kB
Locked:                4 kB
FilePmdMapped:     24576 kB
Shared_Hugetlb:        0 kB
THPeligible:           0
VmFlags: rd mr me ms hg
7f4f60000000-7f4f60400000 r--s 00000000 00:0f 77 /memfd:x (deleted)
Rss:                   0 kB
Shared_Hugetlb:     2048 kB
Private_Hugetlb:    2048 kB
VmFlags: rd sh ht
";

    #[test]
    fn maps_are_told_with_what_is_huge_of_them() {
        let maps = parse(TEXT);
        assert_eq!(maps.len(), 3);
        assert_eq!((maps[0].ino, &*maps[0].path, maps[0].resident_bytes), (0, "[heap]", 16 << 10));
        let file = &maps[1];
        assert_eq!((file.ino, &*file.path, file.dev), (5_406_736, "/a b/c: d.maple", libc::makedev(0xfe, 0)));
        assert_eq!(
            (file.resident_bytes, file.proportional_bytes, file.huge_bytes),
            (64 << 20, 32 << 20, 24 << 20)
        );
        assert_eq!((file.locked_bytes, file.is_huge_advised), (4096, true));
        assert_eq!((maps[2].resident_bytes, maps[2].huge_bytes), (4 << 20, 4 << 20));
    }

    #[test]
    fn nonsense_is_no_map() {
        for text in ["", "x", "a-b c", "1-2 r--s 0 0:0", "Rss: 4 kB", "1-2 r--s 0 00:00 x"] {
            assert_eq!(parse(text), []);
        }
        assert_eq!(parse("1-2 r--s 0 00:00 7\nRss: many kB\nPss 7 kB").len(), 1);
    }

    #[test]
    fn this_process_has_maps() {
        let maps = maps_of(None).expect("smaps");
        assert!(maps.iter().any(|map| map.resident_bytes > 0));
        assert!(maps_of(Some(u32::MAX)).is_err());
    }
}
