//! The types that tables record for their keys and values, and what their bytes mean.

use std::borrow::Cow;
use std::fmt;

use super::form::{self, Form};
use super::{json, tuple};

/// What the bytes of a key or value say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Datum {
    /// Bytes, which may be text.
    Bytes(Vec<u8>),
    /// A number in decimal, of a type that 64 bits hold.
    Number(String),
    /// A number in decimal, of a type of 128 bits.
    Wide(String),
    /// Nothing.
    Nothing,
    /// The parts of a tuple.
    Tuple(Vec<Datum>),
}

/// An integer type. Its bytes sort as its numbers do: highest byte first, the sign bit of signed ones
/// flipped. So, as an unsigned number, they count from the type's smallest one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Integer {
    bytes: usize,
    signed: bool,
}

impl Integer {
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
        Some(Integer { bytes, signed })
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
        Ok(above_min.to_be_bytes().get(16 - self.bytes..).unwrap_or_default().to_vec())
    }

    /// The number that the bytes stand for in decimal, or `None` if there are more or fewer than the type has.
    pub fn text_of(self, bytes: &[u8]) -> Option<String> {
        if bytes.len() != self.bytes {
            return None;
        }
        Some(self.text(bytes.iter().fold(0u128, |number, &byte| number << 8 | u128::from(byte))))
    }

    fn datum_of(self, bytes: &[u8]) -> Option<Datum> {
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
        write!(f, "{}{}", if self.signed { 'i' } else { 'u' }, self.bits())
    }
}

/// The type of a table's keys or values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    /// Any bytes.
    Bytes,
    /// UTF-8.
    Str,
    /// A number.
    Integer(Integer),
    /// Nothing: no bytes.
    Unit,
    /// Several parts, the first the most significant.
    Tuple(Vec<Type>),
    /// A type that only the program which made the table knows: its bytes are shown as they are.
    Foreign(String),
}

impl Type {
    /// How many bytes each value has, if that is one number.
    pub fn fixed_len(&self) -> Option<usize> {
        match self {
            Type::Integer(integer) => Some(integer.len_bytes()),
            Type::Unit => Some(0),
            Type::Tuple(parts) => parts.iter().map(Type::fixed_len).sum(),
            Type::Bytes | Type::Str | Type::Foreign(_) => None,
        }
    }

    /// The type that a table records as `name`.
    pub fn recorded(name: &str) -> Type {
        match name {
            "bytes" => Type::Bytes,
            "str" => Type::Str,
            "()" => Type::Unit,
            _ => match (Integer::named(name), tuple_parts(name)) {
                (Some(integer), _) => Type::Integer(integer),
                (None, Some(parts)) => Type::Tuple(parts),
                (None, None) => Type::Foreign(name.to_owned()),
            },
        }
    }

    /// The bytes that `text` stands for in a key or value of this type. The error is a sentence.
    pub fn bytes_of_text(&self, text: &str) -> Result<Vec<u8>, String> {
        match form::parse(text)? {
            Form::Exact(bytes) => self.checked(bytes),
            Form::Plain(text) => self.bytes_of_plain(text),
        }
    }

    /// The bytes that `text` stands for when no prefix is looked for in it.
    pub fn bytes_of_plain(&self, text: &str) -> Result<Vec<u8>, String> {
        match self {
            Type::Bytes | Type::Str => Ok(text.as_bytes().to_vec()),
            Type::Integer(integer) => integer.bytes_of_text(text),
            Type::Unit => self.checked(text.as_bytes().to_vec()),
            Type::Tuple(_) => match serde_json::from_str(text) {
                Ok(value) => json::bytes_of(self, &value),
                Err(_) => Err(format!("a key of type {self} is written as a JSON array, such as [1,\"a\"]")),
            },
            Type::Foreign(name) => Err(format!("text cannot write a {name}: give its bytes as hex: or esc:")),
        }
    }

    /// The one line of text that stands for these bytes; [`bytes_of_text`](Type::bytes_of_text) reads it
    /// back. Bytes that are none of this type are shown as they are.
    pub fn text_of<'b>(&self, bytes: &'b [u8]) -> Cow<'b, str> {
        match self {
            Type::Bytes | Type::Str => form::show(bytes),
            Type::Foreign(_) => form::show_hex(bytes),
            Type::Integer(integer) => match integer.text_of(bytes) {
                Some(number) => Cow::Owned(number),
                None => form::show_hex(bytes),
            },
            Type::Unit if bytes.is_empty() => Cow::Borrowed(""),
            Type::Unit => form::show_hex(bytes),
            Type::Tuple(_) => match self.decode(bytes) {
                Some(_) => Cow::Owned(json::text_of(self, bytes)),
                None => form::show_hex(bytes),
            },
        }
    }

    /// What these bytes say, or `None` if they are none of this type.
    pub fn decode(&self, bytes: &[u8]) -> Option<Datum> {
        match self {
            Type::Bytes | Type::Foreign(_) => Some(Datum::Bytes(bytes.to_vec())),
            Type::Str => str::from_utf8(bytes).is_ok().then(|| Datum::Bytes(bytes.to_vec())),
            Type::Integer(integer) => integer.datum_of(bytes),
            Type::Unit => bytes.is_empty().then_some(Datum::Nothing),
            Type::Tuple(parts) => tuple::decode(parts, bytes).map(Datum::Tuple),
        }
    }

    /// The bytes that say this. The error is a sentence.
    pub fn encode(&self, datum: &Datum) -> Result<Vec<u8>, String> {
        match (self, datum) {
            (Type::Bytes | Type::Str | Type::Foreign(_), Datum::Bytes(bytes)) => self.checked(bytes.clone()),
            (Type::Integer(integer), Datum::Number(number) | Datum::Wide(number)) => {
                integer.bytes_of_text(number)
            }
            (Type::Unit, Datum::Nothing) => Ok(Vec::new()),
            (Type::Tuple(parts), Datum::Tuple(data)) => tuple::encode(parts, data),
            _ => Err(format!("that is not of type {self}")),
        }
    }

    /// `bytes`, if they can be a key or value of this type.
    pub fn checked(&self, bytes: Vec<u8>) -> Result<Vec<u8>, String> {
        if self.fits(&bytes) {
            Ok(bytes)
        } else {
            Err(format!("these {} bytes are not of type {self}", bytes.len()))
        }
    }

    fn fits(&self, bytes: &[u8]) -> bool {
        match self {
            Type::Bytes | Type::Foreign(_) => true,
            Type::Str => str::from_utf8(bytes).is_ok(),
            Type::Integer(integer) => integer.text_of(bytes).is_some(),
            Type::Unit => bytes.is_empty(),
            Type::Tuple(_) => self.decode(bytes).is_some(),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Bytes => f.write_str("bytes"),
            Type::Str => f.write_str("str"),
            Type::Unit => f.write_str("()"),
            Type::Integer(integer) => integer.fmt(f),
            Type::Tuple(parts) => {
                let parts: Vec<String> = parts.iter().map(Type::to_string).collect();
                write!(f, "({})", parts.join(","))
            }
            Type::Foreign(name) => f.write_str(name),
        }
    }
}

/// The parts of `(u64,str)`, or `None` if that is not what `name` is. Tuples have two to four parts, and hold no
/// tuples.
fn tuple_parts(name: &str) -> Option<Vec<Type>> {
    let inner = name.strip_prefix('(')?.strip_suffix(')')?;
    let parts: Vec<Type> = inner.split(',').map(|part| Type::recorded(part.trim())).collect();
    let known = parts.iter().all(|part| matches!(part, Type::Bytes | Type::Str | Type::Integer(_)));
    (known && (2..=4).contains(&parts.len())).then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mapledb::Codec;

    fn bytes_as<T: Codec>(value: &T) -> Vec<u8> {
        T::with_bytes(value, |bytes| Ok(bytes.to_vec())).unwrap()
    }

    /// What the engine writes for a value, under the name it records, is what we take its text for.
    fn agree<T: Codec>(value: &T, text: &str) {
        let kind = Type::recorded(&T::type_name());
        assert_eq!(kind.to_string(), T::type_name());
        assert_eq!(kind.bytes_of_text(text), Ok(bytes_as(value)), "{text}");
        assert_eq!(kind.text_of(&bytes_as(value)), text);
    }

    #[test]
    fn text_means_what_the_engine_writes() {
        agree(&0u8, "0");
        agree(&u16::MAX, "65535");
        agree(&70_000u32, "70000");
        agree(&u64::MAX, "18446744073709551615");
        agree(&u128::MAX, "340282366920938463463374607431768211455");
        agree(&i8::MIN, "-128");
        agree(&-1i16, "-1");
        agree(&i32::MAX, "2147483647");
        agree(&i64::MIN, "-9223372036854775808");
        agree(&i128::MIN, "-170141183460469231731687303715884105728");
        agree(&i128::MAX, "170141183460469231731687303715884105727");
        agree(&(), "");
        agree(&(7u16, "a\0".to_owned()), r#"[7,"a\u0000"]"#);
        agree(&("a\0b".to_owned(), -7i64), r#"["a\u0000b",-7]"#);
        agree(&(vec![0xffu8, 0], String::new(), 1u8), r#"[{"hex":"ff00"},"",1]"#);
    }

    #[test]
    fn text_that_is_not_of_the_type_is_refused_with_a_sentence() {
        let table = [
            ("u8", "-1", "-1 is not of type u8 (0 to 255)"),
            ("i8", "128", "128 is not of type i8 (-128 to 127)"),
            ("u128", "1e3", "1e3 is not of type u128 (0 to 340282366920938463463374607431768211455)"),
            ("u32", "u64:5", "these 8 bytes are not of type u32"),
            ("str", "hex:ff", "these 1 bytes are not of type str"),
            ("()", "x", "these 1 bytes are not of type ()"),
            ("(u8,str)", "1,a", "a key of type (u8,str) is written as a JSON array, such as [1,\"a\"]"),
            ("pod:16/4", "x", "text cannot write a pod:16/4: give its bytes as hex: or esc:"),
        ];
        for (name, text, why) in table {
            assert_eq!(Type::recorded(name).bytes_of_text(text), Err(why.to_owned()), "{name} {text}");
        }
    }

    #[test]
    fn bytes_that_are_not_of_the_type_are_shown_as_they_are() {
        for (name, bytes, text) in [
            ("u32", &b"a"[..], "hex:61"),
            ("()", b"a", "hex:61"),
            ("(u8,u8)", b"a", "hex:61"),
            ("(str,u8)", b"a\0\x01b", "hex:61000162"),
            ("pod:1/1", b"a", "hex:61"),
            ("str", b"\xff", "hex:ff"),
        ] {
            assert_eq!(Type::recorded(name).text_of(bytes), text);
        }
    }
}
