//! The types that tables record for their keys and values, and what their bytes mean.

use std::borrow::Cow;
use std::fmt;

use mapledb::KeyOrder;

use super::float::Float;
use super::form::{self, Form};
use super::integer::Integer;
use super::part::{self, Place};
use super::word::Word;
use super::{json, name};

/// What the bytes of a key or value say.
#[derive(Debug, Clone, PartialEq)]
pub enum Datum {
    /// Bytes, which may be text.
    Bytes(Vec<u8>),
    /// A number in decimal, of a type that 64 bits hold.
    Number(String),
    /// A number that JSON has none for: of a type of 128 bits, infinite, or none.
    Wide(String),
    /// A number with a fraction.
    Real(f64),
    /// Whether something is so.
    Truth(bool),
    /// Nothing.
    Nothing,
    /// What an option holds.
    Some(Box<Datum>),
    /// The parts of a tuple, an array or a list.
    Parts(Vec<Datum>),
    /// Bytes that are shown as they are.
    Exact(Vec<u8>),
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
    /// A number with a fraction.
    Float(Float),
    /// Whether something is so.
    Bool,
    /// A character.
    Char,
    /// An address, a duration, a UUID.
    Word(Word),
    /// Nothing: no bytes.
    Unit,
    /// A value or none.
    Option(Box<Type>),
    /// So many of one type.
    Array(Box<Type>, usize),
    /// Any number of one type.
    List(Box<Type>),
    /// Several parts, the first the most significant.
    Tuple(Vec<Type>),
    /// A type that only the program which made the table knows: its bytes are shown as they are.
    Foreign(String),
}

impl Type {
    /// A byte: of those an array is shown in hexadecimal.
    pub const BYTE: Type = Type::Integer(Integer::BYTE);

    /// How many bytes each value has, if that is one number.
    pub fn fixed_len(&self) -> Option<usize> {
        match self {
            Type::Integer(integer) => Some(integer.len_bytes()),
            Type::Float(float) => Some(float.len_bytes()),
            Type::Bool => Some(1),
            Type::Char => Some(4),
            Type::Word(word) => word.fixed_len(),
            Type::Unit => Some(0),
            Type::Array(_, 0) => Some(0),
            Type::Array(of, len) => of.fixed_len()?.checked_mul(*len),
            Type::Tuple(parts) => {
                parts.iter().try_fold(0usize, |sum, part| sum.checked_add(part.fixed_len()?))
            }
            Type::Bytes | Type::Str | Type::Option(_) | Type::List(_) | Type::Foreign(_) => None,
        }
    }

    /// The type that a table records as `name`.
    pub fn recorded(name: &str) -> Type {
        name::parse(name).unwrap_or_else(|| Type::Foreign(name.to_owned()))
    }

    /// The order that keys of this type have where none is said: numbers with their lowest byte first do not sort by bytes.
    pub fn order(&self) -> KeyOrder {
        match self {
            Type::Integer(integer) if integer.is_little() => KeyOrder::INTEGER,
            _ => KeyOrder::BYTEWISE,
        }
    }

    /// Whether it can be a type of keys: unsigned numbers with their lowest byte first alone, and else what sorts by its bytes.
    pub fn is_for_keys(&self) -> bool {
        match self {
            Type::Integer(integer) => !(integer.is_little() && integer.is_signed()),
            Type::Unit | Type::Foreign(_) => false,
            _ => self.sorts_by_bytes(),
        }
    }

    fn sorts_by_bytes(&self) -> bool {
        match self {
            Type::Bytes | Type::Str | Type::Bool | Type::Char | Type::Word(_) | Type::Unit => true,
            Type::Integer(integer) => !integer.is_little(),
            Type::Float(float) => !float.is_little(),
            Type::Option(of) | Type::Array(of, _) | Type::List(of) => of.sorts_by_bytes(),
            Type::Tuple(parts) => parts.iter().all(Type::sorts_by_bytes),
            Type::Foreign(_) => false,
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
            Type::Float(float) => float.bytes_of_text(text),
            Type::Bool => match text {
                "true" => Ok(vec![1]),
                "false" => Ok(vec![0]),
                _ => Err(format!("{text} is neither true nor false")),
            },
            Type::Char => self.encode(&Datum::Bytes(text.as_bytes().to_vec())),
            Type::Word(word) => word.bytes_of_text(text),
            Type::Unit => self.checked(text.as_bytes().to_vec()),
            Type::Tuple(_) | Type::Array(..) | Type::List(_) | Type::Option(_) => {
                match serde_json::from_str(text) {
                    Ok(value) => json::bytes_of(self, &value),
                    Err(_) => {
                        Err(format!("text of type {self} is written as JSON, such as {}", self.example()))
                    }
                }
            }
            Type::Foreign(name) => Err(format!("text cannot write a {name}: give its bytes as hex: or esc:")),
        }
    }

    /// The one line of text that stands for these bytes; [`bytes_of_text`](Type::bytes_of_text) reads it
    /// back. Bytes that are none of this type are shown as they are.
    pub fn text_of<'b>(&self, bytes: &'b [u8]) -> Cow<'b, str> {
        match self {
            Type::Bytes | Type::Str => form::show(bytes),
            Type::Foreign(_) => form::show_hex(bytes),
            Type::Integer(integer) => or_hex(integer.text_of(bytes), bytes),
            Type::Float(float) => or_hex(float.text_of(bytes), bytes),
            Type::Bool | Type::Char => or_hex(self.word_of(bytes), bytes),
            Type::Word(word) => or_hex(word.text_of(bytes), bytes),
            Type::Unit if bytes.is_empty() => Cow::Borrowed(""),
            Type::Unit => form::show_hex(bytes),
            Type::Array(of, _) if **of == Type::BYTE => form::show_hex(bytes),
            Type::Tuple(_) | Type::Array(..) | Type::List(_) | Type::Option(_) => match self.decode(bytes) {
                Some(_) => Cow::Owned(json::text_of(self, bytes)),
                None => form::show_hex(bytes),
            },
        }
    }

    /// `true`, `false`, or a character that is read as itself.
    fn word_of(&self, bytes: &[u8]) -> Option<String> {
        match self.decode(bytes)? {
            Datum::Truth(is_so) => Some(is_so.to_string()),
            Datum::Bytes(letter) => match form::show(&letter) {
                Cow::Borrowed(plain) => Some(plain.to_owned()),
                Cow::Owned(_) => None,
            },
            _ => None,
        }
    }

    /// What text of this type looks like.
    fn example(&self) -> String {
        match self {
            Type::Option(of) => format!("null or {}", of.example()),
            Type::Array(of, 1) => format!("[{}]", of.example()),
            Type::Array(of, _) | Type::List(of) => format!("[{},…]", of.example()),
            Type::Tuple(parts) => {
                format!("[{}]", parts.iter().map(Type::example).collect::<Vec<_>>().join(","))
            }
            Type::Bool => "true".to_owned(),
            Type::Float(_) => "1.5".to_owned(),
            Type::Integer(_) => "1".to_owned(),
            Type::Word(word) => format!("\"{}\"", word.example()),
            Type::Unit => "null".to_owned(),
            Type::Bytes | Type::Str | Type::Char | Type::Foreign(_) => "\"a\"".to_owned(),
        }
    }

    /// What these bytes say, or `None` if they are none of this type.
    pub fn decode(&self, bytes: &[u8]) -> Option<Datum> {
        let mut rest = bytes;
        part::take(self, &mut rest, Place::Last).filter(|_| rest.is_empty())
    }

    /// The bytes that say this. The error is a sentence.
    pub fn encode(&self, datum: &Datum) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        part::append(self, datum, &mut bytes, Place::Last)?;
        Ok(bytes)
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
            _ => self.decode(bytes).is_some(),
        }
    }
}

fn or_hex(text: Option<String>, bytes: &[u8]) -> Cow<'_, str> {
    text.map_or_else(|| form::show_hex(bytes), Cow::Owned)
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Bytes => f.write_str("bytes"),
            Type::Str => f.write_str("str"),
            Type::Unit => f.write_str("()"),
            Type::Integer(integer) => integer.fmt(f),
            Type::Float(float) => float.fmt(f),
            Type::Bool => f.write_str("bool"),
            Type::Char => f.write_str("char"),
            Type::Word(word) => word.fmt(f),
            Type::Option(of) => write!(f, "option<{of}>"),
            Type::Array(of, len) => write!(f, "[{of};{len}]"),
            Type::List(of) => write!(f, "[{of}]"),
            Type::Tuple(parts) => {
                let parts: Vec<String> = parts.iter().map(Type::to_string).collect();
                write!(f, "({})", parts.join(","))
            }
            Type::Foreign(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    use std::time::Duration;

    use mapledb::{Codec, Le};
    use proptest::prelude::*;

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
        agree(&1.5f64, "1.5");
        agree(&-0.0f64, "-0.0");
        agree(&0.1f32, "0.1");
        agree(&f64::MIN_POSITIVE, "2.2250738585072014e-308");
        agree(&f32::NEG_INFINITY, "-inf");
        agree(&f64::INFINITY, "inf");
        agree(&f64::NAN, "NaN");
        agree(&true, "true");
        agree(&'é', "é");
        agree(&Ipv4Addr::new(192, 0, 2, 1), "192.0.2.1");
        agree(&Ipv6Addr::LOCALHOST, "::1");
        agree(&IpAddr::V4(Ipv4Addr::LOCALHOST), "127.0.0.1");
        agree(&IpAddr::V6(Ipv6Addr::UNSPECIFIED), "::");
        agree(&Duration::from_millis(5_400_020), "1h 30m 20ms");
        agree(
            &(IpAddr::V6(Ipv6Addr::LOCALHOST), vec![IpAddr::V4(Ipv4Addr::BROADCAST)], Duration::ZERO, 1u8),
            r#"["::1",["255.255.255.255"],"0s",1]"#,
        );
        agree(&Some(Duration::from_nanos(7)), r#""7ns""#);
        agree(&[Ipv4Addr::UNSPECIFIED; 2], r#"["0.0.0.0","0.0.0.0"]"#);
        agree(&Le(258u32), "258");
        agree(&Le(-2i16), "-2");
        agree(&Le(i128::MIN), "-170141183460469231731687303715884105728");
        agree(&Le(-0.5f32), "-0.5");
        agree(&None::<f64>, "null");
        agree(&Some(-2.5f64), "-2.5");
        agree(&Some(String::from("null")), r#""null""#);
        agree(&Some(None::<u8>), "[null]");
        agree(&Some(Some(1u8)), "[1]");
        agree(&None::<Option<u8>>, "null");
        agree(&Some(()), "[null]");
        agree(&[1u16, 2, 3], "[1,2,3]");
        agree(&[0xffu8, 0], "hex:ff00");
        agree(&[String::from("a\0"), String::new()], r#"["a\u0000",""]"#);
        agree(&vec![1.5f32, f32::INFINITY], r#"[1.5,"inf"]"#);
        agree(&vec![String::from("b"), String::new()], r#"["b",""]"#);
        agree(&Vec::<u16>::new(), "[]");
        agree(&(7u8,), "[7]");
        agree(
            &(Some(1.0f64), [1u8; 3], vec![true], 'x', ((), (2u64, String::from("a")))),
            r#"[1.0,{"hex":"010101"},[true],"x",[null,[2,"a"]]]"#,
        );
        agree(
            &(vec![vec![0u8, 1]], [[1u16; 2]; 2], None::<String>, 1u8),
            r#"[["\u0000\u0001"],[[1,1],[1,1]],null,1]"#,
        );
    }

    #[test]
    fn what_text_cannot_say_is_shown_as_it_is_and_is_of_the_type_all_the_same() {
        let odd = f64::from_bits(0x7ff0_0000_0000_0001);
        let kind = Type::recorded("f64");
        let text = kind.text_of(&bytes_as(&odd)).into_owned();
        assert!(text.starts_with("hex:fff0"), "{text}");
        assert_eq!(kind.bytes_of_text(&text), Ok(bytes_as(&odd)));
        agree(&(odd, 1u8), r#"[{"hex":"fff0000000000001"},1]"#);
        for letter in ['@', '\n', '\u{202e}'] {
            let text = Type::Char.text_of(&bytes_as(&letter)).into_owned();
            assert!(text.starts_with("hex:"), "{text}");
            assert_eq!(Type::Char.bytes_of_text(&text), Ok(bytes_as(&letter)));
        }
        assert_eq!(Type::Char.text_of(b"\0\0\xd8\0"), "hex:0000d800");
        assert_eq!(Type::Bool.text_of(&[2]), "hex:02");
    }

    #[test]
    fn keys_are_what_sorts() {
        let table = [
            ("f64", true),
            ("f64le", false),
            ("u32le", true),
            ("i32le", false),
            ("(u32le,u8)", false),
            ("option<f32>", true),
            ("(uuid,ip)", true),
            ("[str]", true),
            ("[u64le;2]", false),
            ("()", false),
            ("Point", false),
            ("((),u8)", true),
        ];
        for (name, is_for_keys) in table {
            assert_eq!(Type::recorded(name).is_for_keys(), is_for_keys, "{name}");
        }
    }

    proptest! {
        #![proptest_config(crate::testing::cases())]

        #[test]
        fn every_float_is_read_as_it_is_shown(double: u64, single: u32) {
            let (double, single) = (f64::from_bits(double), f32::from_bits(single));
            for (kind, bytes) in [
                ("f64", bytes_as(&double)),
                ("f32", bytes_as(&single)),
                ("f64le", bytes_as(&Le(double))),
                ("option<f32>", bytes_as(&Some(single))),
                ("(f32,f64)", bytes_as(&(single, double))),
            ] {
                let kind = Type::recorded(kind);
                let text = kind.text_of(&bytes).into_owned();
                prop_assert_eq!(kind.bytes_of_text(&text), Ok(bytes), "{}", text);
            }
        }

        #[test]
        fn whatever_bytes_are_they_are_read_as_they_are_shown(bytes: Vec<u8>, at in 0usize..15) {
            let name = ["f64", "bool", "char", "option<str>", "[u16;2]", "[str]", "[f32]", "(option<u8>,[bytes])", "u16le",
                "[u8;3]", "[option<()>]", "([char],bool,str)", "ip", "ipv4", "[ip]"][at];
            let kind = Type::recorded(name);
            let text = kind.text_of(&bytes).into_owned();
            if kind.checked(bytes.clone()).is_ok() {
                prop_assert_eq!(kind.bytes_of_text(&text), Ok(bytes), "{} {}", name, text);
            } else {
                prop_assert!(text.starts_with("hex:"), "{} {}", name, text);
            }
        }
    }

    #[test]
    fn text_that_is_not_of_the_type_is_refused_with_a_sentence() {
        let table = [
            ("u8", "-1", "-1 is not of type u8 (0 to 255)"),
            ("i8", "128", "128 is not of type i8 (-128 to 127)"),
            ("u128", "1e3", "1e3 is not of type u128 (0 to 340282366920938463463374607431768211455)"),
            ("u32", "u64:5", "these 8 bytes are not of type u32"),
            ("f64", "x", "x is not of type f64 (a number such as -1.5e3, inf, -inf or NaN)"),
            ("f32", "1e39", "1e39 is not of type f32 (a number such as -1.5e3, inf, -inf or NaN)"),
            ("bool", "yes", "yes is neither true nor false"),
            ("char", "ab", "one character is needed, and no more"),
            ("ipv4", "::1", "::1 is not of type ipv4 (such as 192.0.2.1)"),
            (
                "option<uuid>",
                "7",
                "a number where a string (a uuid, such as 0198c1f4-5b6a-7c3d-8e9f-a0b1c2d3e4f5) belongs",
            ),
            ("(ip,u8)", "x", "text of type (ip,u8) is written as JSON, such as [\"192.0.2.1\",1]"),
            (
                "option<(u8,f32)>",
                "x",
                "text of type option<(u8,f32)> is written as JSON, such as null or [1,1.5]",
            ),
            ("[u16;2]", "[1]", "an array where an array of 2 parts ([u16;2]) belongs"),
            ("str", "hex:ff", "these 1 bytes are not of type str"),
            ("()", "x", "these 1 bytes are not of type ()"),
            ("(u8,str)", "1,a", "text of type (u8,str) is written as JSON, such as [1,\"a\"]"),
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
