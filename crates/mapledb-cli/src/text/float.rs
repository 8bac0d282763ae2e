//! Floating-point numbers, as tables hold them: as the integer that their bits are, so turned that bytes sort in total order.

use std::fmt;

use super::types::Datum;

/// A type of floating-point numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Float {
    /// `f64`, not `f32`.
    is_double: bool,
    /// Lowest byte first and no bit turned, as other programs write them.
    little: bool,
}

impl Float {
    /// The type of this name: `f32`, `f64`, `f32le` or `f64le`.
    pub fn named(name: &str) -> Option<Float> {
        let (is_double, little) = match name {
            "f32" => (false, false),
            "f64" => (true, false),
            "f32le" => (false, true),
            "f64le" => (true, true),
            _ => return None,
        };
        Some(Float { is_double, little })
    }

    /// Whether its lowest byte comes first.
    pub fn is_little(self) -> bool {
        self.little
    }

    /// How many bytes every number has.
    pub fn len_bytes(self) -> usize {
        if self.is_double { 8 } else { 4 }
    }

    /// The bytes of the number that `text` writes.
    pub fn bytes_of_text(self, text: &str) -> Result<Vec<u8>, String> {
        let bits = match self.is_double {
            true => text
                .parse::<f64>()
                .ok()
                .filter(|number| number.is_finite() || is_spelled_out(text))
                .map(f64::to_bits),
            false => text
                .parse::<f32>()
                .ok()
                .filter(|number| number.is_finite() || is_spelled_out(text))
                .map(|number| u64::from(number.to_bits())),
        };
        let bits = bits.ok_or_else(|| {
            format!("{text} is not of type {self} (a number such as -1.5e3, inf, -inf or NaN)")
        })?;
        Ok(self.bytes_of_bits(bits))
    }

    /// The number that the bytes stand for; `None` if there are more or fewer than the type has, or if they are one of the many
    /// that are no number beside `NaN`.
    pub fn text_of(self, bytes: &[u8]) -> Option<String> {
        let bits = self.bits_of_bytes(bytes)?;
        let text = match self.is_double {
            true => format!("{:?}", f64::from_bits(bits)),
            false => format!("{:?}", f32::from_bits(bits as u32)),
        };
        (self.bytes_of_text(&text).as_deref() == Ok(bytes)).then_some(text)
    }

    /// What the bytes say; `None` if there are more or fewer than the type has.
    pub fn datum_of(self, bytes: &[u8]) -> Option<Datum> {
        let bits = self.bits_of_bytes(bytes)?;
        Some(match self.text_of(bytes) {
            None => Datum::Exact(bytes.to_vec()),
            Some(text) => match self.as_double(bits, &text) {
                number if number.is_finite() => Datum::Real(number),
                _ => Datum::Wide(text),
            },
        })
    }

    /// The number in 64 bits that is written in the same digits, if those lead back to it.
    fn as_double(self, bits: u64, text: &str) -> f64 {
        if self.is_double {
            return f64::from_bits(bits);
        }
        let exact = f32::from_bits(bits as u32);
        text.parse().ok().filter(|double: &f64| *double as f32 == exact).unwrap_or(f64::from(exact))
    }

    fn bytes_of_bits(self, bits: u64) -> Vec<u8> {
        let unused = 8 - self.len_bytes();
        let bits = if self.little { bits } else { self.turned(bits, self.sign() & bits != 0) };
        let mut bytes = bits.to_be_bytes().get(unused..).unwrap_or_default().to_vec();
        if self.little {
            bytes.reverse();
        }
        bytes
    }

    fn bits_of_bytes(self, bytes: &[u8]) -> Option<u64> {
        if bytes.len() != self.len_bytes() {
            return None;
        }
        let append = |bits: u64, byte: &u8| bits << 8 | u64::from(*byte);
        if self.little {
            return Some(bytes.iter().rev().fold(0, append));
        }
        let bits = bytes.iter().fold(0, append);
        Some(self.turned(bits, self.sign() & bits == 0))
    }

    /// The sign bit turned, and all bits of negative numbers.
    fn turned(self, bits: u64, is_negative: bool) -> u64 {
        let all = u64::MAX >> (64 - 8 * self.len_bytes());
        if is_negative { !bits & all } else { bits ^ self.sign() }
    }

    fn sign(self) -> u64 {
        1 << (8 * self.len_bytes() - 1)
    }
}

/// Whether a number that is infinite or none was meant: not one whose digits are too many.
fn is_spelled_out(text: &str) -> bool {
    !text.contains(|c: char| c.is_ascii_digit())
}

impl fmt::Display for Float {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "f{}{}", 8 * self.len_bytes(), if self.little { "le" } else { "" })
    }
}
