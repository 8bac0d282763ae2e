//! The file system that is to be full: made, mounted, and taken off again.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::{Case, Kind};

/// A mounted file system, or a directory. Gone when it is dropped.
pub(super) struct Disk {
    pub(super) dir: PathBuf,
    image: Option<PathBuf>,
    is_mounted: bool,
}

impl Disk {
    pub(super) fn make(base: &Path, case: Case) -> Result<Disk, String> {
        let dir = base.join("full");
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        let mut disk = Disk { dir, image: None, is_mounted: false };
        let size = case.kind.size(&mut SmallRng::seed_from_u64(case.seed));
        if let Some((mkfs, arguments)) = case.kind.mkfs() {
            let image = base.join("full.image");
            let sparse = File::create(&image).and_then(|file| file.set_len(size));
            sparse.map_err(|error| format!("{}: {error}", image.display()))?;
            disk.image = Some(image.clone());
            run(Command::new(mkfs).args(arguments).arg(&image))?;
            run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&disk.dir))?;
            disk.is_mounted = true;
            if mkfs == "mkfs.btrfs" {
                widen_metadata(&disk.dir).map_err(|error| format!("{}: {error}", disk.dir.display()))?;
            }
        } else if case.kind == Kind::Tmpfs {
            let options = format!("size={size}");
            run(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&disk.dir))?;
            disk.is_mounted = true;
        }
        Ok(disk)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.is_mounted && run(Command::new("umount").arg(&self.dir)).is_err() {
            let _ = run(Command::new("umount").arg("-l").arg(&self.dir));
        }
        if let Some(image) = &self.image {
            let _ = std::fs::remove_file(image);
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// btrfs keeps what it knows about files in regions of their own, and gives none of the ballast's to it however much of
/// that goes. So a small one would have no room for another name long before it is full of data; as no large one does,
/// it gets such a region ahead, by many small files.
fn widen_metadata(dir: &Path) -> io::Result<()> {
    let many = dir.join("many");
    std::fs::create_dir(&many)?;
    for n in 0..6000 {
        std::fs::write(many.join(n.to_string()), [7; 1900])?;
    }
    // Half of them stay, or the region goes again.
    (0..3000).try_for_each(|n| std::fs::remove_file(many.join(n.to_string())))
}

/// Takes off what a run that was ended left mounted below `dir`.
pub(super) fn unmount_below(dir: &Path) {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let left = dir.join("full");
    for at in mounts.lines().filter_map(|line| line.split(' ').nth(4)) {
        if Path::new(at) == left {
            let _ = run(Command::new("umount").arg("-l").arg(at));
        }
    }
}

/// Runs a command to its end; why it did not go well.
pub(super) fn run(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{name}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().next().unwrap_or("no word of why").trim();
    Err(format!("{name}: {said}"))
}
