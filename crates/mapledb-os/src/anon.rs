//! Private memory that is zero, lazily there and very large: 8 bytes for each page of a reserve, of which only what
//! is touched costs memory.

#![allow(unsafe_code)]

use std::io;
use std::path::Path;
use std::sync::atomic::AtomicU64;

use memmap2::{MmapOptions, MmapRaw};

use crate::error::{OsError, Result};

/// An array of `AtomicU64` in memory of its own, zero at first. Unmapped when dropped.
///
/// A forked child has a copy; nothing in it is shared between processes.
///
/// ```
/// # fn main() -> Result<(), mapledb_os::OsError> {
/// use mapledb_os::AnonMap;
/// use std::sync::atomic::Ordering;
///
/// let memo = AnonMap::map(1 << 20, 1 << 10)?;
/// memo.words()[77].store(5, Ordering::Relaxed);
/// assert_eq!(memo.words()[78].load(Ordering::Relaxed), 0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct AnonMap {
    raw: MmapRaw,
    len_words: usize,
}

impl AnonMap {
    /// Reserves `wish_words` words, or half of them and so on where that is refused, down to `min_words` (at least
    /// one). One system call; a kernel page of memory whenever one is first stored to.
    ///
    /// # Errors
    /// Not even `min_words` can be had.
    pub fn map(wish_words: usize, min_words: usize) -> Result<AnonMap> {
        let min_words = min_words.max(1);
        let mut len_words = wish_words.max(min_words);
        loop {
            match reserve(len_words) {
                Ok(raw) => return Ok(AnonMap { raw, len_words }),
                Err(_) if len_words > min_words => len_words = (len_words / 2).max(min_words),
                Err(e) => {
                    return Err(OsError::new("reserve memory through", Path::new("an anonymous map"), e));
                }
            }
        }
    }

    /// The words. All are zero until stored to.
    #[inline(always)]
    pub fn words(&self) -> &[AtomicU64] {
        let base = self.raw.as_mut_ptr().cast::<AtomicU64>();
        // SAFETY: the mapping holds `len_words` words, as `reserve` made it, is aligned to a kernel page, readable
        // and writable, private to this value, never handed out but as atomics, and lives as long as `self`. Any
        // bytes are a valid `AtomicU64`.
        unsafe { std::slice::from_raw_parts(base, self.len_words) }
    }
}

/// Anonymous memory for `len_words` words.
fn reserve(len_words: usize) -> io::Result<MmapRaw> {
    let too_much = || io::Error::from_raw_os_error(libc::ENOMEM);
    let len = len_words.checked_mul(8).filter(|len| *len <= isize::MAX as usize).ok_or_else(too_much)?;
    MmapOptions::new().len(len).no_reserve_swap().map_anon().map(MmapRaw::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    #[test]
    fn a_memo_for_a_tebibyte_is_zero_and_costs_only_what_is_touched() {
        let memo = AnonMap::map(1 << 28, 1).expect("2 GiB of address space");
        let words = memo.words();
        for at in [0, 12_345_678, words.len() - 1] {
            assert_eq!(words[at].swap(at as u64 + 1, Ordering::Relaxed), 0);
            assert_eq!(words[at].load(Ordering::Relaxed), at as u64 + 1);
        }
    }

    #[test]
    fn what_no_machine_can_give_is_halved_and_an_impossible_minimum_is_an_error() {
        let memo = AnonMap::map(usize::MAX, 1000).expect("some of it");
        assert!(memo.words().len() >= 1000);
        assert!(AnonMap::map(usize::MAX, usize::MAX).is_err());
    }
}
