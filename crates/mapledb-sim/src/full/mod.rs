//! T8: the disk is full.
//!
//! A file system of its own (ext4, XFS, btrfs with the file overwritten in place and copied on write, tmpfs) is filled by
//! a ballast file until little is free; a child process runs transactions on it until one finds no room. That is a
//! *point*. There the last commit must stand, the file must be as long as its last growth that went well made it, and the
//! check must be clean; sometimes the file is closed and opened again on the full disk, or entries are deleted. Then
//! some of the ballast goes, and so must the work. The environment's own quota is a sixth kind of full disk.
//!
//! On btrfs with copying on write a store may find no block, which is a signal: there the option `catch_sigbus` is on,
//! and an error that poisons is as good, if the law holds when the file is opened again.
//!
//! A signal that ends the child is a failure. File systems that cannot be made or mounted here are skipped, each with
//! its reason.

mod ballast;
mod child;
mod disk;

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rand::Rng;
use rand::rngs::SmallRng;
use serde::{Deserialize, Serialize};

use self::child::COUNTS;
pub use self::child::{Orders, play};
use self::disk::{Disk, unmount_below};
use crate::actor::{self, Role};
use crate::harness::{Ask, Failure, Tally};
use crate::verify::Broken;

const MIB: u64 = 1 << 20;
/// Points of a session, which has one file system.
const POINTS: u64 = 12;
/// A child that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(600);

/// A kind of full disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// ext4 on a loop device.
    Ext4,
    /// XFS on a loop device.
    Xfs,
    /// btrfs, the file as MapleDB makes it: overwritten in place.
    Btrfs,
    /// btrfs, the file copied on write.
    BtrfsCow,
    /// tmpfs.
    Tmpfs,
    /// The environment's quota, on whatever file system the directory is on.
    Quota,
}

const KINDS: [Kind; 6] = [Kind::Ext4, Kind::Xfs, Kind::Btrfs, Kind::BtrfsCow, Kind::Tmpfs, Kind::Quota];

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Ext4 => "ext4",
            Kind::Xfs => "xfs",
            Kind::Btrfs => "btrfs",
            Kind::BtrfsCow => "btrfs-cow",
            Kind::Tmpfs => "tmpfs",
            Kind::Quota => "quota",
        }
    }

    /// The size of its file system in bytes.
    fn size(self, rng: &mut SmallRng) -> u64 {
        match self {
            Kind::Ext4 => rng.random_range(90 * MIB..300 * MIB) & !4095,
            Kind::Xfs => rng.random_range(310 * MIB..400 * MIB) & !4095,
            Kind::Btrfs | Kind::BtrfsCow => rng.random_range(150 * MIB..300 * MIB) & !4095,
            // Any size is legal.
            Kind::Tmpfs => rng.random_range(3 * MIB..70 * MIB),
            Kind::Quota => 0,
        }
    }

    fn mkfs(self) -> Option<(&'static str, &'static [&'static str])> {
        match self {
            Kind::Ext4 => Some(("mkfs.ext4", &["-q", "-F", "-m", "0"])),
            Kind::Xfs => Some(("mkfs.xfs", &["-q", "-f"])),
            Kind::Btrfs | Kind::BtrfsCow => Some(("mkfs.btrfs", &["-q", "-f", "-m", "single"])),
            Kind::Tmpfs | Kind::Quota => None,
        }
    }

    /// Whether a store to a page that has been stored to before may find no block.
    fn copies_on_write(self) -> bool {
        self == Kind::BtrfsCow
    }
}

/// What makes a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Case {
    kind: Kind,
    seed: u64,
}

/// Runs the harness.
///
/// # Errors
/// The first broken law.
pub fn harness(ask: &Ask, tally: &mut Tally) -> Result<(), Failure> {
    unmount_below(&ask.dir);
    let mut cannot: BTreeMap<Kind, String> = BTreeMap::new();
    let only = match &ask.case {
        Some(case) => {
            Some(serde_json::from_value::<Case>(case.clone()).map_err(|error| Failure::no_case(ask, error))?)
        }
        None => None,
    };
    let mut round = 0u64;
    while !ask.is_over(tally.units()) && cannot.len() < KINDS.len() {
        let kind = KINDS[round as usize % KINDS.len()];
        let drawn = Case { kind, seed: ask.seed.wrapping_add(round.wrapping_mul(0x9e37_79b9_7f4a_7c15)) };
        let case = only.unwrap_or(drawn);
        round += 1;
        if cannot.contains_key(&case.kind) {
            continue;
        }
        let failed =
            |what: String| Failure::new(ask.seed, serde_json::to_value(case).unwrap_or_default(), what);
        match session(ask, case, tally).map_err(failed)? {
            Ran::Whole => {}
            Ran::NotHere(why) => {
                tally.skip(format!("full: {}: {why}", case.kind.name()));
                cannot.insert(case.kind, why);
            }
        }
        if only.is_some() {
            break;
        }
    }
    Ok(())
}

enum Ran {
    Whole,
    NotHere(String),
}

/// What a child tells at its end.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Told {
    points: u64,
    counts: BTreeMap<String, u64>,
}

fn session(ask: &Ask, case: Case, tally: &mut Tally) -> Result<Ran, Broken> {
    let disk = match Disk::make(&ask.dir, case) {
        Ok(disk) => disk,
        Err(why) => return Ok(Ran::NotHere(why)),
    };
    let role = Role::Full(Orders { dir: disk.dir.clone(), kind: case.kind, seed: case.seed, points: POINTS });
    let answers = ask.dir.join("full.told");
    let out = File::create(&answers).map_err(|error| format!("{}: {error}", answers.display()))?;
    let complaints = ask.dir.join("full.complaints");
    let err = File::create(&complaints).map_err(|error| format!("{}: {error}", complaints.display()))?;
    let mut child = actor::command(&ask.exe, &role)
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .spawn()
        .map_err(|error| format!("a child cannot be started: {error}"))?;
    let began = Instant::now();
    let status = loop {
        match child.try_wait().map_err(|error| format!("a child cannot be waited for: {error}"))? {
            Some(status) => break status,
            None if began.elapsed() > PATIENCE => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("{}: the child hangs", case.kind.name()));
            }
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    let complaint = std::fs::read_to_string(&complaints).unwrap_or_default();
    if let Some(signal) = status.signal() {
        return Err(format!(
            "{}: the child was ended by signal {signal}; {}",
            case.kind.name(),
            complaint.trim()
        ));
    }
    if !status.success() {
        return Err(format!("{}: {}", case.kind.name(), complaint.trim()));
    }
    let told = std::fs::read_to_string(&answers).unwrap_or_default();
    let told: Told =
        serde_json::from_str(&told).map_err(|error| format!("the child tells nothing of use: {error}"))?;
    tally.done(told.points);
    tally.count(case.kind.name(), told.points);
    for (name, count) in told.counts {
        if let Some(known) = COUNTS.iter().find(|known| **known == name) {
            tally.count(known, count);
        }
    }
    drop(disk);
    Ok(Ran::Whole)
}
