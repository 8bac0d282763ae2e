//! MessagePack taken for its shape alone: whether bytes are one whole value that nests no deeper than may be.
//!
//! What reads a value calls itself for each level, and of enums it does not count the levels; so bytes are looked at
//! before, without recursion. A value is one byte that says what it is, then a number of bytes or of further values.

use super::part::{take_byte, take_chunk};

/// How deep a value may nest.
pub(super) const DEPTH_MAX: usize = 128;

/// Whether `bytes` are one value and nothing behind it, of at most [`DEPTH_MAX`] lists and maps within each other. The
/// cost is one step a number, text, list or map in it.
pub(super) fn is_one_value(mut bytes: &[u8]) -> bool {
    // How many values are still to come in each list or map that is open; around all of them is the one.
    let mut open = vec![1u64];
    while let Some(left) = open.last_mut() {
        if *left == 0 {
            open.pop();
            continue;
        }
        *left -= 1;
        match take_head(&mut bytes) {
            None => return false,
            Some(0) => {}
            Some(_) if open.len() > DEPTH_MAX => return false,
            Some(values) => open.push(values),
        }
    }
    bytes.is_empty()
}

/// Takes a value without those in it off the front; answers how many are in it, a key and its value being two.
fn take_head(bytes: &mut &[u8]) -> Option<u64> {
    let marker = take_byte(bytes)?;
    let (skipped, values) = match marker {
        0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => (0, 0),
        0x80..=0x8f => (0, 2 * u64::from(marker & 15)),
        0x90..=0x9f => (0, u64::from(marker & 15)),
        0xa0..=0xbf => (u64::from(marker & 31), 0),
        0xc1 => return None,
        0xc4 | 0xd9 => (take_len::<1>(bytes)?, 0),
        0xc5 | 0xda => (take_len::<2>(bytes)?, 0),
        0xc6 | 0xdb => (take_len::<4>(bytes)?, 0),
        0xc7 => (take_len::<1>(bytes)? + 1, 0),
        0xc8 => (take_len::<2>(bytes)? + 1, 0),
        0xc9 => (take_len::<4>(bytes)? + 1, 0),
        0xcc | 0xd0 => (1, 0),
        0xcd | 0xd1 => (2, 0),
        0xca | 0xce | 0xd2 => (4, 0),
        0xcb | 0xcf | 0xd3 => (8, 0),
        0xd4..=0xd8 => ((1 << (marker - 0xd4)) + 1, 0),
        0xdc => (0, take_len::<2>(bytes)?),
        0xdd => (0, take_len::<4>(bytes)?),
        0xde => (0, 2 * take_len::<2>(bytes)?),
        0xdf => (0, 2 * take_len::<4>(bytes)?),
    };
    *bytes = bytes.get(usize::try_from(skipped).ok()?..)?;
    Some(values)
}

/// Takes a length of `N` bytes, the highest first.
fn take_len<const N: usize>(bytes: &mut &[u8]) -> Option<u64> {
    Some(take_chunk::<N>(bytes)?.iter().fold(0, |len, &byte| len << 8 | u64::from(byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_values_are_told_from_parts_of_them_and_from_two() {
        let wholes: [&[u8]; 14] = [
            &[7],
            &[0xff],
            &[0xc0],
            b"\xa1a",
            b"\xd9\x01a",
            b"\xc5\x00\x01a",
            b"\xdb\0\0\0\x01a",
            b"\xc7\x01\x05a",
            b"\xd5\x05ab",
            b"\xcb12345678",
            b"\x82\xa1a\x01\xa1b\x90",
            b"\xdc\0\x02\x01\x02",
            b"\xde\0\x01\x01\x02",
            b"\xdf\0\0\0\x01\x01\x91\x02",
        ];
        for whole in wholes {
            assert!(is_one_value(whole), "{whole:x?}");
            assert!(!is_one_value(&whole[..whole.len() - 1]), "cut: {whole:x?}");
            assert!(!is_one_value(&[whole, &[0]].concat()), "two: {whole:x?}");
        }
        assert!(!is_one_value(&[0xc1]));
    }

    #[test]
    fn a_value_nests_so_deep_and_no_deeper() {
        let nested = |depth: usize| [vec![0x91; depth], vec![7]].concat();
        assert!(is_one_value(&nested(DEPTH_MAX)));
        assert!(!is_one_value(&nested(DEPTH_MAX + 1)));
        assert!(!is_one_value(&nested(1 << 20)));
        assert!(!is_one_value(b"\xdd\xff\xff\xff\xff\x01"), "a length that lies");
    }
}
