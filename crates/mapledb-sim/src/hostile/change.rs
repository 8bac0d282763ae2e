//! One change to a file: a bit, a length or a sector.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use serde::{Deserialize, Serialize};

pub(super) const SECTOR: usize = 512;

/// One change to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// A bit is another one.
    Flip {
        /// Where.
        byte: usize,
        /// Which.
        bit: u8,
    },
    /// The file ends here.
    Cut {
        /// Its length.
        len: usize,
    },
    /// A sector holds zeros.
    Zero {
        /// Which.
        sector: usize,
    },
}

impl Change {
    /// How many changes there are to `len` bytes: every bit, every length, every sector.
    pub fn count(len: usize) -> u64 {
        (8 * len + len + len.div_ceil(SECTOR)) as u64
    }

    /// Change `index` of those to `len` bytes.
    pub fn at(index: u64, len: usize) -> Change {
        let index = index as usize;
        match (index.checked_sub(8 * len), index.checked_sub(9 * len)) {
            (None, _) => Change::Flip { byte: index / 8, bit: (index % 8) as u8 },
            (Some(len), None) => Change::Cut { len },
            (_, Some(sector)) => Change::Zero { sector },
        }
    }
}

/// Makes a change to a file that holds `bytes`.
pub(super) fn apply(file: &File, bytes: &[u8], change: Change) -> io::Result<()> {
    match change {
        Change::Flip { byte, bit } => file.write_all_at(&[bytes[byte] ^ (1 << bit)], byte as u64),
        Change::Cut { len } => file.set_len(len as u64),
        Change::Zero { sector } => {
            let from = sector * SECTOR;
            let zeros = [0; SECTOR];
            file.write_all_at(&zeros[..(bytes.len() - from).min(SECTOR)], from as u64)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_is_counted_out_once() {
        let len = 1000;
        let all: Vec<Change> = (0..Change::count(len)).map(|index| Change::at(index, len)).collect();
        assert_eq!(all.len(), 8000 + 1000 + 2);
        assert_eq!(all[0], Change::Flip { byte: 0, bit: 0 });
        assert_eq!(all[7999], Change::Flip { byte: 999, bit: 7 });
        assert_eq!(all[8000], Change::Cut { len: 0 });
        assert_eq!(all[8999], Change::Cut { len: 999 });
        assert_eq!(all[9001], Change::Zero { sector: 1 });
    }
}
