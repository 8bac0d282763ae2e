//! What kind of file system holds a file, by its magic number, and what that means for sharing it.

/// The kind of file system that holds a file.
///
/// FUSE does not count as a network: most of its file systems are local, and it does not tell.
///
/// ```
/// # use mapledb_os::FileSystem;
/// assert!(FileSystem::from_magic(0x6969).is_network());
/// assert_eq!(FileSystem::from_magic(0xEF53).name(), "ext4");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileSystem {
    magic: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Local,
    Network,
    Overlay,
}

/// Magic numbers as in `linux/magic.h` and the file systems' own sources.
const KNOWN: &[(u32, &str, Kind)] = &[
    (0x0000_EF53, "ext4", Kind::Local),
    (0x5846_5342, "xfs", Kind::Local),
    (BTRFS, "btrfs", Kind::Local),
    (0x0102_1994, "tmpfs", Kind::Local),
    (0x8584_58F6, "ramfs", Kind::Local),
    (0xF2F5_2010, "f2fs", Kind::Local),
    (0x2FC1_2FC1, "zfs", Kind::Local),
    (0xCA45_1A4E, "bcachefs", Kind::Local),
    (0x3153_464A, "jfs", Kind::Local),
    (0x0000_4D44, "vfat", Kind::Local),
    (0x2011_BAB0, "exfat", Kind::Local),
    (0x5346_544E, "ntfs", Kind::Local),
    (0x7366_746E, "ntfs3", Kind::Local),
    (0x7371_7368, "squashfs", Kind::Local),
    (0xE0F5_E1E2, "erofs", Kind::Local),
    (0x0000_9660, "iso9660", Kind::Local),
    (0x6573_5546, "fuse", Kind::Local),
    (0x794C_7630, "overlay", Kind::Overlay),
    (0x6175_6673, "aufs", Kind::Overlay),
    (0x0000_F15F, "ecryptfs", Kind::Overlay),
    (0x0000_6969, "nfs", Kind::Network),
    (0xFF53_4D42, "cifs", Kind::Network),
    (0xFE53_4D42, "smb2", Kind::Network),
    (0x0000_517B, "smb", Kind::Network),
    (0x0102_1997, "9p", Kind::Network),
    (0x00C3_6400, "ceph", Kind::Network),
    (0x5346_414F, "afs", Kind::Network),
    (0x6B41_4653, "kafs", Kind::Network),
    (0x7375_7245, "coda", Kind::Network),
    (0x0000_564C, "ncp", Kind::Network),
    (0x0BD0_0BD0, "lustre", Kind::Network),
    (0x2030_528A, "orangefs", Kind::Network),
    (0x4750_4653, "gpfs", Kind::Network),
    (0x0116_1970, "gfs2", Kind::Network),
    (0x7461_636F, "ocfs2", Kind::Network),
    (0x1983_0326, "beegfs", Kind::Network),
    (0x786F_4256, "vboxsf", Kind::Network),
    (0xBACB_ACBC, "vmhgfs", Kind::Network),
];

const BTRFS: u32 = 0x9123_683E;

impl FileSystem {
    /// The file system of a magic number, as `statfs` tells it.
    pub fn from_magic(magic: u32) -> FileSystem {
        FileSystem { magic }
    }

    /// The magic number.
    pub fn magic(self) -> u32 {
        self.magic
    }

    /// Its name, `unknown` if we know none. ext2, ext3 and ext4 share their number and are all `ext4`.
    pub fn name(self) -> &'static str {
        self.known().map_or("unknown", |(_, name, _)| name)
    }

    /// Whether other machines may reach the same file, so that shared memory and locks do not bind them.
    pub fn is_network(self) -> bool {
        self.known().is_some_and(|(_, _, kind)| kind == Kind::Network)
    }

    /// Whether a file may be copied elsewhere under its open readers when it is first opened for writing.
    pub fn is_overlay(self) -> bool {
        self.known().is_some_and(|(_, _, kind)| kind == Kind::Overlay)
    }

    pub(crate) fn is_btrfs(self) -> bool {
        self.magic == BTRFS
    }

    fn known(self) -> Option<(u32, &'static str, Kind)> {
        KNOWN.iter().find(|(magic, ..)| *magic == self.magic).copied()
    }
}

impl std::fmt::Display for FileSystem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.known() {
            Some((_, name, _)) => f.write_str(name),
            None => write!(f, "unknown ({:#010x})", self.magic),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_magic_number_has_two_names() {
        for (i, (magic, name, _)) in KNOWN.iter().enumerate() {
            assert!(KNOWN[..i].iter().all(|(m, n, _)| m != magic && n != name), "{name}");
        }
    }

    #[test]
    fn fuse_and_strangers_are_neither_network_nor_overlay() {
        for magic in [0x6573_5546, 0x1234_5678] {
            let fs = FileSystem::from_magic(magic);
            assert!(!fs.is_network() && !fs.is_overlay(), "{fs}");
        }
        assert_eq!(FileSystem::from_magic(0x1234_5678).to_string(), "unknown (0x12345678)");
    }
}
