//! Where processes may share a file.

use std::path::Path;

use mapledb_os::FileSystem;

use crate::error::{Error, Result};

/// Refuses file systems that other machines reach as well: neither locks nor shared memory bind processes there.
pub(super) fn may_share(path: &Path, filesystem: FileSystem) -> Result<()> {
    match filesystem.is_network() {
        true => Err(Error::NetworkFileSystem {
            path: path.to_path_buf(),
            filesystem: filesystem.name().to_string(),
        }),
        false => Ok(()),
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
        for magic in [0xEF53, 0x5846_5342, 0x0102_1994, 0x794C_7630, 0x1234_5678] {
            assert!(may_share(Path::new("here.maple"), FileSystem::from_magic(magic)).is_ok(), "{magic:#x}");
        }
    }
}
