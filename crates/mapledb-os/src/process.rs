//! What the system knows about this process, this boot and this moment.

use std::io;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::{OsError, Result};

/// This process's id in its own PID namespace: for display only.
pub fn pid() -> u32 {
    std::process::id()
}

/// The calling thread's id, for display only. Cost: a system call; callers keep it per thread.
pub fn tid() -> u32 {
    // SAFETY: gettid takes nothing and cannot fail.
    #[allow(unsafe_code)]
    let tid = unsafe { libc::gettid() };
    tid as u32
}

/// The command that process `pid` of this PID namespace runs, as far as the system tells.
pub fn command(pid: u32) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(text.trim_end_matches('\n').to_string())
}

/// The random id of this boot of the kernel; zeros where the system does not tell.
pub fn boot_id() -> [u8; 16] {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    parse_uuid(&text).unwrap_or_default()
}

fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    let digits: [u8; 32] = digits.try_into().ok()?;
    Some(std::array::from_fn(|i| digits[2 * i] << 4 | digits[2 * i + 1]))
}

/// When this process started, in clock ticks since boot; 0 where the system does not tell.
pub fn start_ticks() -> u64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    parse_start_ticks(&text).unwrap_or(0)
}

/// Field 22 of a stat line, counted past the command name, which may itself hold blanks and parentheses.
fn parse_start_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// Nanoseconds since 1970 by the wall clock. No system call where the vDSO serves it.
pub fn unix_nanos() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

/// Nanoseconds since 1970 as of the last timer tick (1 to 10 ms old): the cheapest clock there is.
#[inline]
pub fn unix_nanos_coarse() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec through a live exclusive reference. It cannot fail for this clock;
    // if it did the answer would be 0.
    #[allow(unsafe_code)]
    unsafe {
        libc::clock_gettime(libc::CLOCK_REALTIME_COARSE, &mut now)
    };
    (now.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(now.tv_nsec as u64)
}

/// Fills `bytes` with random bytes from the kernel.
pub fn random_bytes(bytes: &mut [u8]) -> Result<()> {
    let mut filled = 0;
    while filled < bytes.len() {
        let rest = &mut bytes[filled..];
        // SAFETY: the kernel writes at most `rest.len()` bytes through a live exclusive slice.
        #[allow(unsafe_code)]
        let got = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        match usize::try_from(got) {
            Ok(got) => filled += got,
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(OsError::new("read random bytes from", Path::new("the kernel"), error));
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_id_is_sixteen_bytes_or_nothing() {
        let id = parse_uuid("00112233-4455-6677-8899-aabbccddeeff\n").expect("a uuid");
        assert_eq!(id[..3], [0x00, 0x11, 0x22]);
        assert_eq!(id[15], 0xff);
        assert_eq!(parse_uuid("no uuid"), None);
        assert_eq!(parse_uuid(""), None);
    }

    #[test]
    fn a_command_name_with_parentheses_does_not_hide_the_start() {
        let stat = "1 (a) b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20";
        assert_eq!(parse_start_ticks(stat), Some(4242));
        assert_eq!(parse_start_ticks("nonsense"), None);
    }

    #[test]
    fn the_clocks_agree_within_a_second() {
        assert!(unix_nanos().abs_diff(unix_nanos_coarse()) < 1_000_000_000);
    }

    #[test]
    fn random_bytes_differ() {
        let mut a = [0; 32];
        let mut b = [0; 32];
        random_bytes(&mut a).expect("random");
        random_bytes(&mut b).expect("random");
        assert_ne!(a, b);
    }
}
