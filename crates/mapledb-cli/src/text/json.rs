//! Keys and values as JSON.
//!
//! Text is a string, a number a number, a tuple an array of its parts, as arrays and lists are, nothing `null`, and bytes that
//! are no text are `{"hex":"00ff"}`, which any type accepts. Integers of 128-bit types are written as strings of digits, and a
//! string of digits is read for any number, since JSON readers keep no more than 53 or 64 bits of one; infinite floats and those
//! that are no number are strings, too, and so are addresses, durations and UUIDs. An option is `null` or what it holds; where that may itself be `null` it is in an array.

use data_encoding::HEXLOWER;
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::Value;

use super::form;
use super::types::{Datum, Type};

/// Bytes of a type, written as JSON without copying them first.
pub struct Json<'a> {
    kind: &'a Type,
    bytes: &'a [u8],
}

impl<'a> Json<'a> {
    /// `bytes`, understood as a `kind`.
    pub fn new(kind: &'a Type, bytes: &'a [u8]) -> Json<'a> {
        Json { kind, bytes }
    }
}

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.kind {
            Type::Bytes | Type::Str => text_or_hex(self.bytes, to),
            Type::Foreign(_) => hex(self.bytes, to),
            _ => match self.kind.decode(self.bytes) {
                Some(datum) => datum.serialize(to),
                None => hex(self.bytes, to),
            },
        }
    }
}

impl Serialize for Datum {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Datum::Bytes(bytes) => text_or_hex(bytes, to),
            Datum::Number(digits) => match (digits.parse(), digits.parse()) {
                (Ok(number), _) => to.serialize_u64(number),
                (_, Ok(number)) => to.serialize_i64(number),
                _ => to.serialize_str(digits),
            },
            Datum::Wide(digits) => to.serialize_str(digits),
            Datum::Real(number) => to.serialize_f64(*number),
            Datum::Truth(is_so) => to.serialize_bool(*is_so),
            Datum::Nothing => to.serialize_unit(),
            Datum::Some(part) => match **part {
                Datum::Nothing | Datum::Some(_) => [&**part].serialize(to),
                _ => part.serialize(to),
            },
            Datum::Exact(bytes) => hex(bytes, to),
            Datum::Parts(parts) => {
                let mut sequence = to.serialize_seq(Some(parts.len()))?;
                parts.iter().try_for_each(|part| sequence.serialize_element(part))?;
                sequence.end()
            }
        }
    }
}

/// The JSON text of bytes, in one line.
pub fn text_of(kind: &Type, bytes: &[u8]) -> String {
    serde_json::to_string(&Json::new(kind, bytes))
        .expect("strings, numbers and arrays of them always are JSON")
}

/// The bytes that a JSON value stands for in a key or value of type `kind`. The error is a sentence.
pub fn bytes_of(kind: &Type, value: &Value) -> Result<Vec<u8>, String> {
    if let Some(digits) = hex_object(value) {
        return kind.checked(form::unhex(digits)?);
    }
    // Parts that were given in hexadecimal may be none of their type.
    kind.checked(kind.encode(&datum_of(kind, value)?)?)
}

fn datum_of(kind: &Type, value: &Value) -> Result<Datum, String> {
    match (kind, value) {
        (Type::Bytes | Type::Str, Value::String(text)) => Ok(Datum::Bytes(text.as_bytes().to_vec())),
        (Type::Bytes, value) if hex_object(value).is_some() => {
            Ok(Datum::Bytes(form::unhex(hex_object(value).unwrap_or_default())?))
        }
        (Type::Integer(_) | Type::Float(_), Value::Number(number)) => Ok(Datum::Number(number.to_string())),
        (Type::Integer(_) | Type::Float(_), Value::String(digits)) => Ok(Datum::Number(digits.clone())),
        (Type::Bool, Value::Bool(is_so)) => Ok(Datum::Truth(*is_so)),
        (Type::Char | Type::Word(_), Value::String(text)) => Ok(Datum::Bytes(text.as_bytes().to_vec())),
        (Type::Unit, Value::Null) => Ok(Datum::Nothing),
        (Type::Option(_), Value::Null) => Ok(Datum::Nothing),
        (Type::Option(of), value) => part_of_option(of, value).map(|part| Datum::Some(Box::new(part))),
        (Type::Float(_) | Type::Array(..), value) if hex_object(value).is_some() => {
            Ok(Datum::Exact(form::unhex(hex_object(value).unwrap_or_default())?))
        }
        (Type::Tuple(kinds), Value::Array(values)) if kinds.len() == values.len() => parts(kinds, values),
        (Type::Array(of, len), Value::Array(values)) if *len == values.len() => {
            parts(std::iter::repeat(&**of), values)
        }
        (Type::List(of), Value::Array(values)) => parts(std::iter::repeat(&**of), values),
        _ => Err(format!("{} where {} belongs", describe(value), wanted(kind))),
    }
}

fn parts<'t>(kinds: impl IntoIterator<Item = &'t Type>, values: &[Value]) -> Result<Datum, String> {
    let parts = kinds.into_iter().zip(values).map(|(kind, value)| datum_of(kind, value));
    parts.collect::<Result<_, _>>().map(Datum::Parts)
}

/// What an option holds: in an array of its own where it may be `null`.
fn part_of_option(of: &Type, value: &Value) -> Result<Datum, String> {
    match (of, value) {
        (Type::Unit | Type::Option(_), Value::Array(values)) if values.len() == 1 => {
            values.iter().try_fold(Datum::Nothing, |_, value| datum_of(of, value))
        }
        (Type::Unit | Type::Option(_), _) => {
            Err(format!("{} where null, or an array of one part ({of}), belongs", describe(value)))
        }
        _ => datum_of(of, value),
    }
}

fn hex_object(value: &Value) -> Option<&str> {
    let object = value.as_object()?;
    if object.len() == 1 { object.get("hex")?.as_str() } else { None }
}

fn describe(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

fn wanted(kind: &Type) -> String {
    match kind {
        Type::Bytes => "a string or {\"hex\":\"…\"}".to_owned(),
        Type::Str => "a string".to_owned(),
        Type::Integer(integer) => format!("a number ({integer})"),
        Type::Float(float) => format!("a number ({float})"),
        Type::Bool => "true or false".to_owned(),
        Type::Char => "a string of one character".to_owned(),
        Type::Word(word) => format!("a string (a {word}, such as {})", word.example()),
        Type::Unit => "null".to_owned(),
        Type::Option(of) => format!("null, or {},", wanted(of)),
        Type::Array(_, len) => format!("an array of {len} parts ({kind})"),
        Type::List(of) => format!("an array ({of} each)"),
        Type::Tuple(parts) => format!("an array of {} parts ({kind})", parts.len()),
        Type::Foreign(name) => format!("{{\"hex\":\"…\"}} (the bytes of a {name})"),
    }
}

fn text_or_hex<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
    match str::from_utf8(bytes) {
        Ok(text) => to.serialize_str(text),
        Err(_) => hex(bytes, to),
    }
}

fn hex<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
    let mut map = to.serialize_map(Some(1))?;
    map.serialize_entry("hex", &HEXLOWER.encode(bytes))?;
    map.end()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_bytes_look_like_in_json() {
        let table: [(&str, &[u8], &str); 10] = [
            ("bytes", b"maple", r#""maple""#),
            ("bytes", b"\xff\0", r#"{"hex":"ff00"}"#),
            ("str", b"a\"\n", r#""a\"\n""#),
            ("u64", b"\xff\xff\xff\xff\xff\xff\xff\xff", "18446744073709551615"),
            ("i64", b"\0\0\0\0\0\0\0\0", "-9223372036854775808"),
            ("u8", b"\0\0", r#"{"hex":"0000"}"#),
            ("(u16,str)", b"\0\x07a", r#"[7,"a"]"#),
            ("()", b"", "null"),
            (
                "u128",
                b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
                r#""340282366920938463463374607431768211455""#,
            ),
            ("Point", b"xy", r#"{"hex":"7879"}"#),
        ];
        for (name, bytes, text) in table {
            assert_eq!(text_of(&Type::recorded(name), bytes), text, "{name}");
        }
    }

    #[test]
    fn json_that_is_not_of_the_type_is_refused_with_a_sentence() {
        let table = [
            ("bytes", "5", "a number where a string or {\"hex\":\"…\"} belongs"),
            ("bytes", r#"{"hex":"5"}"#, "an odd number of hexadecimal digits"),
            ("bytes", r#"{"hex":"55","a":1}"#, "an object where a string or {\"hex\":\"…\"} belongs"),
            ("str", r#"{"hex":"ff"}"#, "these 1 bytes are not of type str"),
            ("u8", "256", "256 is not of type u8 (0 to 255)"),
            ("u8", "1.5", "1.5 is not of type u8 (0 to 255)"),
            ("i8", "\"x\"", "x is not of type i8 (-128 to 127)"),
            (
                "u64",
                "18446744073709551616",
                "1.8446744073709552e+19 is not of type u64 (0 to 18446744073709551615)",
            ),
            ("i8", "[]", "an array where a number (i8) belongs"),
            ("()", "\"\"", "a string where null belongs"),
            ("(u8,str)", "[1]", "an array where an array of 2 parts ((u8,str)) belongs"),
            ("(u8,str)", "[1,2]", "a number where a string belongs"),
            ("([bool;2],u8)", r#"[{"hex":"0007"},1]"#, "these 3 bytes are not of type ([bool;2],u8)"),
            ("option<()>", "1", "a number where null, or an array of one part (()), belongs"),
            ("[f32]", "[true]", "a truth value where a number (f32) belongs"),
            ("Point", "\"xy\"", "a string where {\"hex\":\"…\"} (the bytes of a Point) belongs"),
        ];
        for (name, text, why) in table {
            let value = serde_json::from_str(text).unwrap();
            assert_eq!(bytes_of(&Type::recorded(name), &value), Err(why.to_owned()), "{name} {text}");
        }
    }

    proptest! {
        #![proptest_config(crate::testing::cases())]

        #[test]
        fn what_is_written_as_json_reads_back(bytes: Vec<u8>, kind in 0usize..10) {
            let name = ["()", "i128", "bytes", "str", "u8", "i32", "(u8,bytes)", "(str,u16)", "(bytes,str,i64)", "Point"][kind];
            let kind = Type::recorded(name);
            let text = text_of(&kind, &bytes);
            let read = bytes_of(&kind, &serde_json::from_str(&text).unwrap());
            if kind.checked(bytes.clone()).is_ok() {
                prop_assert_eq!(read, Ok(bytes));
            } else {
                prop_assert!(read.is_err());
            }
        }
    }
}
