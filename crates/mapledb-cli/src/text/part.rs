//! Types that hold others: their parts one behind the other, so that the whole sorts as they do. What each part's bytes are is
//! drawn at the head of the engine's `part.rs`; where a part is not the last one its end must show.

use super::types::{Datum, Type};

/// Where a part stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Others follow.
    Inner,
    /// It ends where the bytes do.
    Last,
}

/// Before each element of a list, and before what an option holds.
const MORE: u8 = 1;
/// Behind the last element, and for an option that holds nothing.
const END: u8 = 0;

/// Takes a part off the front of `bytes`; `None` if there is none. As the last one it takes all that it can.
pub fn take(kind: &Type, bytes: &mut &[u8], place: Place) -> Option<Datum> {
    match kind {
        Type::Bytes => take_bytes(bytes, place).map(Datum::Bytes),
        Type::Str => take_bytes(bytes, place).filter(|text| str::from_utf8(text).is_ok()).map(Datum::Bytes),
        Type::Foreign(_) => take_bytes(bytes, Place::Last).map(Datum::Bytes),
        Type::Integer(integer) => integer.datum_of(split(bytes, integer.len_bytes())?),
        Type::Float(float) => float.datum_of(split(bytes, float.len_bytes())?),
        Type::Bool => match take_byte(bytes)? {
            0 => Some(Datum::Truth(false)),
            1 => Some(Datum::Truth(true)),
            _ => None,
        },
        Type::Char => {
            let number = u32::from_be_bytes(split(bytes, 4)?.try_into().ok()?);
            Some(Datum::Bytes(char::from_u32(number)?.to_string().into_bytes()))
        }
        Type::Word(word) => {
            let len = word.len_within(bytes)?;
            word.text_of(split(bytes, len)?).map(|text| Datum::Bytes(text.into_bytes()))
        }
        Type::Unit => Some(Datum::Nothing),
        Type::Option(of) => match take_byte(bytes)? {
            END => Some(Datum::Nothing),
            MORE => take(of, bytes, place).map(|part| Datum::Some(Box::new(part))),
            _ => None,
        },
        Type::Array(of, len) if **of == Type::BYTE => {
            split(bytes, *len).map(|part| Datum::Exact(part.to_vec()))
        }
        Type::Array(of, len) => take_all((0..*len).map(|_| &**of), *len, bytes, place),
        Type::Tuple(kinds) => take_all(kinds.iter(), kinds.len(), bytes, place),
        Type::List(of) => take_list(of, bytes, place),
    }
}

/// Appends a part. The error is a sentence.
pub fn append(kind: &Type, datum: &Datum, bytes: &mut Vec<u8>, place: Place) -> Result<(), String> {
    match (kind, datum) {
        (Type::Bytes | Type::Foreign(_), Datum::Bytes(part)) => append_bytes(part, bytes, place),
        (Type::Str, Datum::Bytes(part)) => append_bytes(&kind.checked(part.clone())?, bytes, place),
        (Type::Integer(integer), Datum::Number(text) | Datum::Wide(text)) => {
            bytes.extend_from_slice(&integer.bytes_of_text(text)?);
        }
        (Type::Float(float), Datum::Number(text) | Datum::Wide(text)) => {
            bytes.extend_from_slice(&float.bytes_of_text(text)?);
        }
        (Type::Float(float), Datum::Real(number)) => {
            bytes.extend_from_slice(&float.bytes_of_text(&format!("{number:?}"))?);
        }
        (Type::Float(_) | Type::Array(..), Datum::Exact(part)) if kind.fixed_len() == Some(part.len()) => {
            bytes.extend_from_slice(part);
        }
        (Type::Bool, Datum::Truth(is_so)) => bytes.push(u8::from(*is_so)),
        (Type::Char, Datum::Bytes(text)) => {
            let letter = only_char(text).ok_or("one character is needed, and no more")?;
            bytes.extend_from_slice(&u32::from(letter).to_be_bytes());
        }
        (Type::Word(word), Datum::Bytes(text)) => {
            bytes.extend_from_slice(&word.bytes_of_text(&String::from_utf8_lossy(text))?);
        }
        (Type::Unit, Datum::Nothing) => {}
        (Type::Option(_), Datum::Nothing) => bytes.push(END),
        (Type::Option(of), Datum::Some(part)) => {
            bytes.push(MORE);
            append(of, part, bytes, place)?;
        }
        (Type::Array(of, len), Datum::Parts(parts)) if *len == parts.len() => {
            append_all(std::iter::repeat(&**of), parts, bytes, place)?;
        }
        (Type::Tuple(kinds), Datum::Parts(parts)) if kinds.len() == parts.len() => {
            append_all(kinds.iter(), parts, bytes, place)?;
        }
        (Type::List(of), Datum::Parts(parts)) => append_list(of, parts, bytes, place)?,
        _ => return Err(format!("that is not of type {kind}")),
    }
    Ok(())
}

/// The character that is all of a text.
pub fn only_char(text: &[u8]) -> Option<char> {
    let mut letters = str::from_utf8(text).ok()?.chars();
    letters.next().filter(|_| letters.next().is_none())
}

/// The place of the part `at` of `len`, of which the last stands as all of them do.
fn place_of(at: usize, len: usize, place: Place) -> Place {
    if at + 1 == len { place } else { Place::Inner }
}

fn take_all<'t>(
    kinds: impl Iterator<Item = &'t Type>,
    len: usize,
    bytes: &mut &[u8],
    place: Place,
) -> Option<Datum> {
    let parts = kinds.enumerate().map(|(at, kind)| take(kind, bytes, place_of(at, len, place)));
    parts.collect::<Option<Vec<_>>>().map(Datum::Parts)
}

fn append_all<'t>(
    kinds: impl Iterator<Item = &'t Type>,
    parts: &[Datum],
    bytes: &mut Vec<u8>,
    place: Place,
) -> Result<(), String> {
    let mut each = kinds.zip(parts).enumerate();
    each.try_for_each(|(at, (kind, part))| append(kind, part, bytes, place_of(at, parts.len(), place)))
}

/// Whether elements of a list need a mark: not where it ends with the bytes and each has the same length.
fn is_marked(of: &Type, place: Place) -> bool {
    place == Place::Inner || !matches!(of.fixed_len(), Some(1..))
}

fn take_list(of: &Type, bytes: &mut &[u8], place: Place) -> Option<Datum> {
    let is_marked = is_marked(of, place);
    let mut parts = Vec::new();
    while place == Place::Inner || !bytes.is_empty() {
        if is_marked {
            match take_byte(bytes)? {
                MORE => {}
                END if place == Place::Inner => break,
                _ => return None,
            }
        }
        parts.push(take(of, bytes, Place::Inner)?);
    }
    Some(Datum::Parts(parts))
}

fn append_list(of: &Type, parts: &[Datum], bytes: &mut Vec<u8>, place: Place) -> Result<(), String> {
    let is_marked = is_marked(of, place);
    for part in parts {
        if is_marked {
            bytes.push(MORE);
        }
        append(of, part, bytes, Place::Inner)?;
    }
    if place == Place::Inner {
        bytes.push(END);
    }
    Ok(())
}

/// Text and bytes: as they are at the end, else 0 as 0 255, ended by 0 0, so that no longer part sorts before its own beginning.
fn append_bytes(part: &[u8], bytes: &mut Vec<u8>, place: Place) {
    if place == Place::Last {
        return bytes.extend_from_slice(part);
    }
    for &byte in part {
        bytes.push(byte);
        if byte == 0 {
            bytes.push(0xff);
        }
    }
    bytes.extend_from_slice(&[0, 0]);
}

fn take_bytes(bytes: &mut &[u8], place: Place) -> Option<Vec<u8>> {
    if place == Place::Last {
        return Some(std::mem::take(bytes).to_vec());
    }
    let mut part = Vec::new();
    loop {
        let zero = bytes.iter().position(|&byte| byte == 0)?;
        part.extend_from_slice(split(bytes, zero)?);
        match split(bytes, 2)? {
            [0, 0] => return Some(part),
            [0, 0xff] => part.push(0),
            _ => return None,
        }
    }
}

fn split<'b>(bytes: &mut &'b [u8], len: usize) -> Option<&'b [u8]> {
    let (part, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(part)
}

fn take_byte(bytes: &mut &[u8]) -> Option<u8> {
    split(bytes, 1)?.first().copied()
}
