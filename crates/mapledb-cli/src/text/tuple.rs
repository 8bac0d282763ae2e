//! Tuples: their parts one after the other, so that the whole sorts as the parts do.
//!
//! An integer part has its fixed length. A text or bytes part that is not the last ends with `00 00`, and a
//! zero byte inside it is written `00 ff`, so that no longer part sorts before its own beginning. The last
//! part is as it is.

use super::types::{Datum, Type};

/// The parts that `bytes` hold, or `None` if they hold others.
pub fn decode(kinds: &[Type], bytes: &[u8]) -> Option<Vec<Datum>> {
    let (last, front) = kinds.split_last()?;
    let mut rest = bytes;
    let mut parts = Vec::with_capacity(kinds.len());
    for kind in front {
        let part = take_part(kind, &mut rest)?;
        parts.push(kind.decode(&part)?);
    }
    parts.push(last.decode(rest)?);
    Some(parts)
}

/// The bytes of a tuple.
pub fn encode(kinds: &[Type], parts: &[Datum]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    for (index, (kind, part)) in kinds.iter().zip(parts).enumerate() {
        let part = kind.encode(part)?;
        let is_last = index + 1 == kinds.len();
        if is_last || matches!(kind, Type::Integer(_)) {
            bytes.extend_from_slice(&part);
        } else {
            push_ended(&part, &mut bytes);
        }
    }
    Ok(bytes)
}

fn push_ended(part: &[u8], bytes: &mut Vec<u8>) {
    for &byte in part {
        bytes.push(byte);
        if byte == 0 {
            bytes.push(0xff);
        }
    }
    bytes.extend_from_slice(&[0, 0]);
}

fn take_part(kind: &Type, rest: &mut &[u8]) -> Option<Vec<u8>> {
    match kind {
        Type::Integer(integer) => {
            let (part, behind) = rest.split_at_checked(integer.len_bytes())?;
            *rest = behind;
            Some(part.to_vec())
        }
        _ => take_ended(rest),
    }
}

fn take_ended(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let mut part = Vec::new();
    loop {
        let zero = rest.iter().position(|&byte| byte == 0)?;
        part.extend_from_slice(rest.get(..zero)?);
        let after = *rest.get(zero + 1)?;
        *rest = rest.get(zero + 2..)?;
        match after {
            0 => return Some(part),
            0xff => part.push(0),
            _ => return None,
        }
    }
}
