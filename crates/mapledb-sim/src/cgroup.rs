//! A memory control group of a harness's own, so that the kernel evicts pages of processes that are nobody else's.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A control group; it goes when it is dropped, by when its processes must be gone.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// Makes one that may use so much memory, page cache included.
    ///
    /// # Errors
    /// There is no hierarchy with a memory controller, or not for this user.
    pub fn new(name: &str, limit_bytes: u64) -> Result<Cgroup, String> {
        let old = Path::new("/sys/fs/cgroup/memory");
        let (parent, limit) = match old.join("memory.limit_in_bytes").exists() {
            true => (old.to_path_buf(), "memory.limit_in_bytes"),
            false => (unified()?, "memory.max"),
        };
        let path = parent.join(name);
        let said = |error: io::Error| format!("the control group {}: {error}", path.display());
        fs::create_dir(&path).map_err(said)?;
        let group = Cgroup { path: path.clone() };
        fs::write(path.join(limit), limit_bytes.to_string()).map_err(said)?;
        Ok(group)
    }

    /// Takes a process in.
    ///
    /// # Errors
    /// It is gone.
    pub fn add(&self, pid: i32) -> io::Result<()> {
        fs::write(self.path.join("cgroup.procs"), pid.to_string())
    }

    /// A number of its `memory.stat` whose name begins with `name`; 0 where there is none.
    pub fn stat(&self, name: &str) -> u64 {
        let stat = fs::read_to_string(self.path.join("memory.stat")).unwrap_or_default();
        let lines = stat.lines().filter_map(|line| line.split_once(' '));
        lines
            .filter(|(key, _)| key.starts_with(name))
            .filter_map(|(_, value)| value.parse::<u64>().ok())
            .sum()
    }
}

/// The root of the one hierarchy of version 2, with its memory controller handed on.
fn unified() -> Result<PathBuf, String> {
    let root = PathBuf::from("/sys/fs/cgroup");
    let controllers = fs::read_to_string(root.join("cgroup.controllers"))
        .map_err(|error| format!("there are no control groups: {error}"))?;
    if !controllers.split_whitespace().any(|name| name == "memory") {
        return Err("no control group has a memory controller".to_string());
    }
    fs::write(root.join("cgroup.subtree_control"), "+memory")
        .map_err(|error| format!("the memory controller cannot be handed on: {error}"))?;
    Ok(root)
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // A process that has been waited for leaves its group a moment later.
        for _ in 0..100 {
            if fs::remove_dir(&self.path).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
