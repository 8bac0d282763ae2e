//! What kind of file system holds a file, by its magic number, and what that means for sharing it.
//!
//! All of FUSE has one number. Which of its file systems it is stands in the mount table: `fuse.sshfs`, `fuse.s3fs`,
//! `fuse.rclone` reach other machines, plain `fuse` and most others do not, or do not tell.

use std::path::Path;

/// The kind of file system that holds a file.
///
/// Of the many that FUSE serves, those count as networks whose name says so.
///
/// ```
/// # use mapledb_os::FileSystem;
/// assert!(FileSystem::from_magic(0x6969).is_network());
/// assert_eq!(FileSystem::from_magic(0xEF53).name(), "ext4");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileSystem {
    magic: u32,
    /// The network that FUSE serves here, if it is known to be one.
    served: Option<&'static str>,
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
const FUSE: u32 = 0x6573_5546;

/// File systems of FUSE that other machines reach as well, by the type in the mount table.
const SERVED: &[&str] = &[
    "fuse.sshfs",
    "fuse.s3fs",
    "fuse.s3backer",
    "fuse.goofys",
    "fuse.mount-s3",
    "fuse.geesefs",
    "fuse.gcsfuse",
    "fuse.blobfuse",
    "fuse.blobfuse2",
    "fuse.glusterfs",
    "fuse.ceph",
    "fuse.ceph-fuse",
    "fuse.cephfs",
    "fuse.juicefs",
    "fuse.JuiceFS",
    "fuse.seaweedfs",
    "fuse.moosefs",
    "fuse.mfs",
    "fuse.lizardfs",
    "fuse.saunafs",
    "fuse.rclone",
    "fuse.davfs",
    "fuse.davfs2",
    "fuse.curlftpfs",
    "fuse.nfs",
    "fuse.fuse-nfs",
    "fuse.smbnetfs",
    "fuse.gvfsd-fuse",
    "fuse.hdfs",
    "fuse.fuse_dfs",
    "fuse.alluxio-fuse",
    "fuse.orangefs",
    "fuse.pvfs2fuse",
    "fuse.cvmfs2",
    "fuse.google-drive-ocamlfuse",
    "fuse.onedriver",
    "fuse.beegfs",
    "fuse.quobyte",
    "fuse.weka",
];

impl FileSystem {
    /// The file system of a magic number, as `statfs` tells it.
    pub fn from_magic(magic: u32) -> FileSystem {
        FileSystem { magic, served: None }
    }

    /// The file system of a magic number, mounted where `path` is; FUSE is asked what it serves there.
    pub(crate) fn at(magic: u32, path: &Path) -> FileSystem {
        if magic != FUSE {
            return FileSystem::from_magic(magic);
        }
        // Where the table cannot be read, it is a FUSE that does not tell.
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        FileSystem { magic, served: mount_type(&mounts, path).and_then(served_network) }
    }

    /// The magic number.
    pub fn magic(self) -> u32 {
        self.magic
    }

    /// Its name, `unknown` if we know none. ext2, ext3 and ext4 share their number and are all `ext4`.
    pub fn name(self) -> &'static str {
        self.served.unwrap_or_else(|| self.known().map_or("unknown", |(_, name, _)| name))
    }

    /// Whether other machines may reach the same file, so that shared memory and locks do not bind them.
    pub fn is_network(self) -> bool {
        self.served.is_some() || self.known().is_some_and(|(_, _, kind)| kind == Kind::Network)
    }

    /// Whether one name may lead to two files: that of a lower layer to who opened it before it was copied up, and its
    /// copy to who opens it later.
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

/// The type of the mount that holds `path`, which has no symbolic link in it: the one with the longest mount point above
/// it, and of several at the same point the last.
fn mount_type<'t>(mounts: &'t str, path: &Path) -> Option<&'t str> {
    let mut best = None;
    let mut longest = 0;
    for line in mounts.lines() {
        // id, parent, device, root, mount point, options, optional fields, "-", type, ...
        let (Some(at), Some((_, tail))) = (line.split(' ').nth(4), line.split_once(" - ")) else { continue };
        let at = unescaped(at);
        if path.starts_with(&at) && at.len() >= longest {
            longest = at.len();
            best = tail.split(' ').next();
        }
    }
    best
}

/// A path of the mount table, where blanks and backslashes are octal.
fn unescaped(path: &str) -> String {
    path.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

fn served_network(kind: &str) -> Option<&'static str> {
    SERVED.iter().find(|known| **known == kind).copied()
}

impl std::fmt::Display for FileSystem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.known() {
            Some(_) if self.served.is_some() => f.write_str(self.name()),
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
    fn a_fuse_that_says_it_is_a_network_is_one() {
        let mounts = "\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
40 22 0:50 / /mnt rw - fuse /dev/fuse rw
41 40 0:51 / /mnt/far rw,nosuid shared:5 - fuse.sshfs host:/home rw,user_id=0
42 41 0:52 / /mnt/far/with\\040blank rw - tmpfs tmpfs rw
43 22 0:53 / /over rw - fuse.sshfs host:/ rw
44 43 0:54 / /over rw - fuse.local /dev/fuse rw
";
        let table = [
            ("/home/a.maple", Some("ext4"), None),
            ("/mnt/a.maple", Some("fuse"), None),
            ("/mnt/far/a.maple", Some("fuse.sshfs"), Some("fuse.sshfs")),
            ("/mnt/farther/a.maple", Some("fuse"), None),
            ("/mnt/far/with blank/a.maple", Some("tmpfs"), None),
            ("/over/a.maple", Some("fuse.local"), None),
        ];
        for (path, kind, network) in table {
            let found = mount_type(mounts, Path::new(path));
            assert_eq!(found, kind, "{path}");
            assert_eq!(found.and_then(served_network), network, "{path}");
        }
        let far = FileSystem { magic: FUSE, served: served_network("fuse.sshfs") };
        assert!(far.is_network() && far.name() == "fuse.sshfs" && far.to_string() == "fuse.sshfs");
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
