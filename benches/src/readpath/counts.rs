//! The kernel's counts about this process, and one about the whole machine.

use nix::sys::resource::{UsageWho, getrusage};
use procfs::process::Process;

use crate::records::Outcome;

/// Counts since the process began.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Bytes that read calls copied.
    pub copied: u64,
    /// Read calls.
    pub calls: u64,
    /// Faults that needed no device.
    pub minor: u64,
    /// Faults that did.
    pub major: u64,
    /// Bytes that a device was asked for.
    pub device: u64,
    /// Interrupts by which one processor made another forget addresses (TLB shootdowns), of the whole machine; 0
    /// where the kernel does not count them.
    pub shootdowns: u64,
}

impl Counts {
    /// The counts now.
    pub fn now() -> Outcome<Self> {
        let io = Process::myself().and_then(|process| process.io());
        let io = io.map_err(|error| format!("the kernel's counts of reads: {error}"))?;
        let usage =
            getrusage(UsageWho::RUSAGE_SELF).map_err(|error| format!("the counts of faults: {error}"))?;
        Ok(Self {
            copied: io.rchar,
            calls: io.syscr,
            minor: usage.minor_page_faults().unsigned_abs(),
            major: usage.major_page_faults().unsigned_abs(),
            device: io.read_bytes,
            shootdowns: shootdowns(&std::fs::read_to_string("/proc/interrupts").unwrap_or_default()),
        })
    }

    /// Each count since `before` for one of `operations`: copied, calls, minor, major, device, shootdowns.
    pub fn each_since(self, before: Self, operations: usize) -> [f64; 6] {
        let each = |before: u64, after: u64| after.saturating_sub(before) as f64 / operations as f64;
        [
            each(before.copied, self.copied),
            each(before.calls, self.calls),
            each(before.minor, self.minor),
            each(before.major, self.major),
            each(before.device, self.device),
            each(before.shootdowns, self.shootdowns),
        ]
    }
}

/// The sum of the line `TLB:`, which has a number for each processor and then words.
fn shootdowns(interrupts: &str) -> u64 {
    let line = interrupts.lines().find_map(|line| line.trim_start().strip_prefix("TLB:"));
    line.unwrap_or_default().split_whitespace().map_while(|number| number.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn shootdowns_are_summed_over_processors() {
        let interrupts = "  CPU0 CPU1\nRES: 1 2 Rescheduling\n TLB:   10   32   TLB shootdowns\n";
        assert_eq!(shootdowns(interrupts), 42);
        assert_eq!(shootdowns("nothing"), 0);
    }

    #[test]
    fn a_pread_of_a_page_is_one_call_and_its_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, [1; 4096]).unwrap();
        let file = File::open(&path).unwrap();
        let mut page = [0; 4096];
        let before = Counts::now().unwrap();
        for _ in 0..10_000 {
            file.read_exact_at(&mut page, 0).unwrap();
        }
        let [copied, calls, ..] = Counts::now().unwrap().each_since(before, 10_000);
        assert!(copied >= 4096.0 && calls >= 1.0, "{copied} {calls}");
    }
}
