//! Where processes may share a file.

use std::path::Path;

use mapledb_os::FileSystem;

use crate::error::{Error, Result};

/// Refuses file systems that other machines reach as well, where neither locks nor shared memory bind processes; and
/// overlays, where a file of the lower layer and its copy in the upper one have the same name: who opened it before the
/// copy was made and who opens it later have different files, and different locks.
pub(super) fn may_share(path: &Path, filesystem: FileSystem) -> Result<()> {
    let filesystem_name = || filesystem.name().to_string();
    match (filesystem.is_network(), filesystem.is_overlay()) {
        (true, _) => Err(Error::NetworkFileSystem { path: path.to_path_buf(), filesystem: filesystem_name() }),
        (_, true) => Err(Error::OverlayFileSystem { path: path.to_path_buf(), filesystem: filesystem_name() }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Magic numbers as `statfs` tells them: a test has no such file system to open a file on.
    #[test]
    fn a_file_that_other_machines_reach_is_not_shared() {
        for (magic, name) in [(0x6969, "nfs"), (0xFF53_4D42, "cifs"), (0x0102_1997, "9p"), (0x00C3_6400, "ceph")] {
            let refused = may_share(Path::new("/far/away.maple"), FileSystem::from_magic(magic)).unwrap_err();
            assert!(matches!(&refused, Error::NetworkFileSystem { filesystem, .. } if filesystem == name));
            let told = refused.to_string();
            assert!(told.starts_with(&format!("/far/away.maple lies on {name}, ")), "{told}");
            assert!(told.ends_with("open it exclusively or frozen"), "{told}");
        }
        for (magic, name) in [(0x794C_7630, "overlay"), (0x6175_6673, "aufs")] {
            let refused = may_share(Path::new("/in/a/container.maple"), FileSystem::from_magic(magic)).unwrap_err();
            assert!(matches!(&refused, Error::OverlayFileSystem { filesystem, .. } if filesystem == name));
            assert!(refused.to_string().contains("on a volume"), "{refused}");
        }
        for magic in [0xEF53, 0x5846_5342, 0x0102_1994, 0x6573_5546, 0x1234_5678] {
            assert!(may_share(Path::new("here.maple"), FileSystem::from_magic(magic)).is_ok(), "{magic:#x}");
        }
    }
}
