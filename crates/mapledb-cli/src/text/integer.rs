//! Integers of every width, as tables hold them.

use std::fmt;

use super::types::Datum;

/// An integer type. Its bytes sort as its numbers do: highest byte first, the sign bit of signed ones
/// flipped. So, as an unsigned number, they count from the type's smallest one. Those of other programs have their lowest byte
/// first and their sign bit as it is (`u32le`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Integer {
    bytes: usize,
    signed: bool,
    little: bool,
}

impl Integer {
    /// `u8`.
    pub const BYTE: Integer = Integer { bytes: 1, signed: false, little: false };

    /// The type of this name, `u8` to `u128` or `i8` to `i128`.
    pub fn named(name: &str) -> Option<Integer> {
        let signed = match name.as_bytes().first()? {
            b'u' => false,
            b'i' => true,
            _ => return None,
        };
        let bytes = match name.get(1..)? {
            "8" => 1,
            "16" => 2,
            "32" => 4,
            "64" => 8,
            "128" => 16,
            _ => return None,
        };
        Some(Integer { bytes, signed, little: false })
    }

    /// The type of this name among those with their lowest byte first: `u16le` to `u128le`, `i16le` to `i128le`.
    pub fn little_named(name: &str) -> Option<Integer> {
        let integer = Integer::named(name.strip_suffix("le")?)?;
        (integer.bytes > 1).then_some(Integer { little: true, ..integer })
    }

    /// Whether its lowest byte comes first.
    pub fn is_little(self) -> bool {
        self.little
    }

    /// Whether its numbers have a sign.
    pub fn is_signed(self) -> bool {
        self.signed
    }

    /// How many bytes every number has.
    pub fn len_bytes(self) -> usize {
        self.bytes
    }

    /// The bytes of the number that `digits` write in decimal.
    pub fn bytes_of_text(self, digits: &str) -> Result<Vec<u8>, String> {
        let above_min = match self.signed {
            true => digits
                .parse()
                .ok()
                .filter(|n| *n >= self.min() && *n <= self.max_signed())
                .map(|n| self.above_min(n)),
            false => digits.parse().ok().filter(|n| *n <= self.span()),
        };
        let Some(above_min) = above_min else {
            return Err(format!(
                "{digits} is not of type {self} ({} to {})",
                self.text(0),
                self.text(self.span())
            ));
        };
        let mut bytes =
            self.turned(above_min).to_be_bytes().get(16 - self.bytes..).unwrap_or_default().to_vec();
        if self.little {
            bytes.reverse();
        }
        Ok(bytes)
    }

    /// The number that the bytes stand for in decimal, or `None` if there are more or fewer than the type has.
    pub fn text_of(self, bytes: &[u8]) -> Option<String> {
        if bytes.len() != self.bytes {
            return None;
        }
        let append = |number: u128, byte: &u8| number << 8 | u128::from(*byte);
        let number = match self.little {
            true => bytes.iter().rev().fold(0, append),
            false => bytes.iter().fold(0, append),
        };
        Some(self.text(self.turned(number)))
    }

    /// The sign bit turned where it is stored as it is.
    fn turned(self, number: u128) -> u128 {
        if self.little && self.signed { number ^ (1 << (self.bits() - 1)) } else { number }
    }

    /// What the bytes say, as [`text_of`](Integer::text_of) does.
    pub fn datum_of(self, bytes: &[u8]) -> Option<Datum> {
        let digits = self.text_of(bytes)?;
        Some(if self.bytes > 8 { Datum::Wide(digits) } else { Datum::Number(digits) })
    }

    /// The number so far above the smallest, in decimal.
    fn text(self, above_min: u128) -> String {
        if self.signed {
            (above_min as i128).wrapping_add(self.min()).to_string()
        } else {
            above_min.to_string()
        }
    }

    fn above_min(self, number: i128) -> u128 {
        number.wrapping_sub(self.min()) as u128
    }

    fn bits(self) -> u32 {
        8 * self.bytes as u32
    }

    /// How far the largest number is above the smallest.
    fn span(self) -> u128 {
        u128::MAX >> (128 - self.bits())
    }

    fn min(self) -> i128 {
        if self.signed { i128::MIN >> (128 - self.bits()) } else { 0 }
    }

    fn max_signed(self) -> i128 {
        i128::MAX >> (128 - self.bits())
    }
}

impl fmt::Display for Integer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, end) = (if self.signed { 'i' } else { 'u' }, if self.little { "le" } else { "" });
        write!(f, "{sign}{}{end}", self.bits())
    }
}
