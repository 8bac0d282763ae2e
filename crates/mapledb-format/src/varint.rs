//! Unsigned integers of one to ten bytes (LEB128): seven bits a byte, lowest first, bit 7 set on all but
//! the last.
//!
//! Each number has one coding: a last byte of zero after others is refused, and so is an eleventh byte or
//! a bit past the 64th.

use crate::{FormatError, Result};

/// The longest coding in bytes.
pub const VARINT_BYTES_MAX: usize = 10;

/// How many bytes `value` takes.
#[inline]
pub const fn len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Appends `value` to `out`.
#[inline]
pub fn encode(mut value: u64, out: &mut Vec<u8>) {
    // Most numbers of a list are this short, and one look at the room is enough for them.
    if (0x80..0x4000).contains(&value) {
        return out.extend_from_slice(&[value as u8 | 0x80, (value >> 7) as u8]);
    }
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Reads one number from the front of `from` and moves `from` past it. On an error `from` stays.
#[inline]
pub fn decode(from: &mut &[u8]) -> Result<u64> {
    let mut value = 0u64;
    for (index, &byte) in from.iter().take(VARINT_BYTES_MAX).enumerate() {
        if index == VARINT_BYTES_MAX - 1 && byte > 1 {
            return Err(FormatError::BadVarint("it does not fit 64 bits"));
        }
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            if byte == 0 && index > 0 {
                return Err(FormatError::BadVarint("it is longer than it needs to be"));
            }
            *from = from.get(index + 1..).unwrap_or_default();
            return Ok(value);
        }
    }
    Err(FormatError::BadVarint("it is cut short"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_number_has_one_coding() {
        let table: [(u64, &[u8]); 6] = [
            (0, &[0]),
            (127, &[0x7f]),
            (128, &[0x80, 1]),
            (300, &[0xac, 2]),
            (1 << 63, &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1]),
            (u64::MAX, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
        ];
        for (value, bytes) in table {
            let mut out = Vec::new();
            encode(value, &mut out);
            assert_eq!(out, bytes, "{value}");
            assert_eq!(len(value), bytes.len(), "{value}");
        }
    }

    #[test]
    fn codings_that_no_encoder_writes_are_refused() {
        let table: [(&[u8], &str); 5] = [
            (&[], "it is cut short"),
            (&[0x80], "it is cut short"),
            (&[0x80, 0], "it is longer than it needs to be"),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2], "it does not fit 64 bits"),
            (&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1], "it does not fit 64 bits"),
        ];
        for (bytes, why) in table {
            let mut from = bytes;
            assert_eq!(decode(&mut from), Err(FormatError::BadVarint(why)), "{bytes:?}");
            assert_eq!(from, bytes);
        }
    }

    proptest! {
        #![proptest_config(crate::testing::cases())]

        #[test]
        fn what_is_written_reads_back(value: u64, shift in 0u32..64, rest: Vec<u8>) {
            let value = value >> shift;
            let mut out = Vec::new();
            encode(value, &mut out);
            prop_assert_eq!(out.len(), len(value));
            out.extend_from_slice(&rest);
            let mut from = &out[..];
            prop_assert_eq!(decode(&mut from), Ok(value));
            prop_assert_eq!(from, &rest[..]);
        }

        #[test]
        fn what_is_read_writes_back(bytes: Vec<u8>) {
            let mut from = &bytes[..];
            if let Ok(value) = decode(&mut from) {
                let mut out = Vec::new();
                encode(value, &mut out);
                prop_assert_eq!(&out[..], &bytes[..bytes.len() - from.len()]);
            }
        }
    }
}
