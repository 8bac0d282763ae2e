//! A memory control group, so that a file is larger than the memory that its readers may use.
//!
//! It is made below the group that the process is in, so that limits above it go on to hold; where that group
//! cannot hand its memory controller on, at the root. The page cache counts for the group whose process brought
//! a page in, so the files are dropped from it before a process in the group begins.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::records::Outcome;

/// A group; it is removed when it is dropped, by when its processes must be gone.
pub struct Group {
    path: PathBuf,
}

impl Group {
    /// A group that may use `bytes` of memory, page cache included.
    pub fn new(bytes: u64) -> Outcome<Self> {
        let membership = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let mut reasons = Vec::new();
        for place in places(&membership) {
            match place.make(bytes) {
                Ok(group) => return Ok(group),
                Err(reason) => reasons.push(reason),
            }
        }
        reasons.push("no other place to make a memory control group in".to_owned());
        Err(reasons.join("; "))
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Group {
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

/// Moves this process into the group at `path`.
pub fn join(path: &Path) -> Outcome<()> {
    let procs = path.join("cgroup.procs");
    fs::write(&procs, std::process::id().to_string()).map_err(|error| format!("{}: {error}", procs.display()))
}

/// Where a group can be made.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    parent: PathBuf,
    /// Whether it is of the one hierarchy of version 2.
    is_unified: bool,
}

impl Place {
    fn make(&self, bytes: u64) -> Outcome<Group> {
        if self.is_unified {
            let hand_on = self.parent.join("cgroup.subtree_control");
            fs::write(&hand_on, "+memory").map_err(|error| format!("{}: {error}", hand_on.display()))?;
        }
        let path = self.parent.join(format!("maple-readpath-{}", std::process::id()));
        fs::create_dir(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let group = Group { path };
        let limit = group.path.join(if self.is_unified { "memory.max" } else { "memory.limit_in_bytes" });
        fs::write(&limit, bytes.to_string()).map_err(|error| format!("{}: {error}", limit.display()))?;
        Ok(group)
    }
}

/// Below this process's own group, then at the root, by what `/proc/self/cgroup` says.
fn places(membership: &str) -> Vec<Place> {
    let mut places = Vec::new();
    for line in membership.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (fields.next(), fields.next()) else { continue };
        let (root, is_unified) = match controllers {
            "" => ("/sys/fs/cgroup", true),
            _ if controllers.split(',').any(|name| name == "memory") => ("/sys/fs/cgroup/memory", false),
            _ => continue,
        };
        for parent in [Path::new(root).join(group.trim_start_matches('/')), PathBuf::from(root)] {
            let place = Place { parent: parent.components().collect(), is_unified };
            if !places.contains(&place) {
                places.push(place);
            }
        }
    }
    places.sort_by_key(|place| place.is_unified);
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(membership: &str) -> Vec<(String, bool)> {
        places(membership)
            .into_iter()
            .map(|place| (place.parent.display().to_string(), place.is_unified))
            .collect()
    }

    #[test]
    fn a_group_is_made_below_ones_own_first() {
        let old = found("0::/\n4:cpu,memory:/a/b\n3:cpuset:/");
        assert_eq!(
            old[..2],
            [("/sys/fs/cgroup/memory/a/b".to_owned(), false), ("/sys/fs/cgroup/memory".to_owned(), false)]
        );
        assert_eq!(old[2], ("/sys/fs/cgroup".to_owned(), true));
        let new = found("0::/user.slice/x.scope\n");
        assert_eq!(new[0], ("/sys/fs/cgroup/user.slice/x.scope".to_owned(), true));
        assert_eq!(found("nonsense"), []);
    }
}
