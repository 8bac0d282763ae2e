//! The names of types that tables record: `u64`, `(str,option<i8>)`, `[u16;4]`, `[str]`.

use super::float::Float;
use super::integer::Integer;
use super::types::Type;
use super::word::Word;

/// Types that hold others so deep are a program's own. Catalogs are input, and may nest names without end.
const DEPTH_MAX: usize = 16;
/// Tuples of more parts are none.
const PARTS_MAX: usize = 12;

/// The type that `name` names; `None` if it is a program's own, or holds such a one.
pub fn parse(name: &str) -> Option<Type> {
    let (kind, rest) = begin(name, DEPTH_MAX)?;
    rest.is_empty().then_some(kind)
}

/// The type that `text` begins with, and what follows it.
fn begin(text: &str, depth: usize) -> Option<(Type, &str)> {
    let depth = depth.checked_sub(1)?;
    if let Some(rest) = text.strip_prefix("()") {
        return Some((Type::Unit, rest));
    }
    if let Some(rest) = text.strip_prefix('(') {
        return tuple(rest, depth);
    }
    if let Some(rest) = text.strip_prefix('[') {
        return list_or_array(rest, depth);
    }
    if let Some(rest) = text.strip_prefix("option<") {
        let (of, rest) = begin(rest, depth)?;
        return Some((Type::Option(Box::new(of)), rest.strip_prefix('>')?));
    }
    let end = text.find([',', ')', ']', ';', '>']).unwrap_or(text.len());
    let (word, rest) = text.split_at_checked(end)?;
    Some((simple(word.trim())?, rest))
}

fn simple(word: &str) -> Option<Type> {
    Some(match word {
        "bytes" => Type::Bytes,
        "str" => Type::Str,
        "bool" => Type::Bool,
        "char" => Type::Char,
        _ => {
            let integer = || Integer::named(word).or_else(|| Integer::little_named(word)).map(Type::Integer);
            let float = || Float::named(word).map(Type::Float);
            Word::named(word).map(Type::Word).or_else(integer).or_else(float)?
        }
    })
}

fn tuple(mut rest: &str, depth: usize) -> Option<(Type, &str)> {
    let mut parts = Vec::new();
    while parts.len() < PARTS_MAX {
        let (part, behind) = begin(rest.trim_start(), depth)?;
        parts.push(part);
        if let Some(behind) = behind.strip_prefix(')') {
            return Some((Type::Tuple(parts), behind));
        }
        rest = behind.strip_prefix(',')?;
    }
    None
}

fn list_or_array(rest: &str, depth: usize) -> Option<(Type, &str)> {
    let (of, rest) = begin(rest, depth)?;
    if let Some(rest) = rest.strip_prefix(']') {
        // A list of bytes is called bytes.
        return (of != Type::BYTE).then(|| (Type::List(Box::new(of)), rest));
    }
    let (len, rest) = rest.strip_prefix(';')?.split_once(']')?;
    let len = len.trim().parse().ok()?;
    // Any number of parts without bytes would be in no bytes at all.
    let is_bounded = len == 0 || of.fixed_len() != Some(0);
    is_bounded.then(|| (Type::Array(Box::new(of), len), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written_alike() {
        for name in [
            "u64",
            "i128",
            "u16le",
            "f32",
            "f64le",
            "bool",
            "char",
            "ipv4",
            "ip",
            "signed-duration",
            "str",
            "bytes",
            "()",
            "(u8)",
            "(uuid,option<duration>)",
            "(date,[time;2],datetime)",
            "(u64,str)",
            "option<f64>",
            "[u16;4]",
            "[u8;0]",
            "[str]",
            "[(u8,option<[i32;3]>)]",
            "(str,(u8,()),[[bool];2],option<()>)",
        ] {
            assert_eq!(parse(name).map(|kind| kind.to_string()).as_deref(), Some(name));
        }
        assert_eq!(parse("(u64, str)"), parse("(u64,str)"));
    }

    #[test]
    fn a_program_s_own_name_is_none_of_ours_and_neither_is_what_holds_it() {
        let deep = format!("{}u8{}", "option<".repeat(40), ">".repeat(40));
        let wide = format!("({}u8)", "u8,".repeat(12));
        for name in [
            "",
            "usize",
            "u8le",
            "pod:16/4",
            "Point",
            "User{id:u64,name:str}",
            "(u8,Point)",
            "option<Point>",
            "(u8",
            "u8)",
            "[u8]",
            "[u8;]",
            "[u8;-1]",
            "[();9999999999]",
            "[[str;0];9999999999]",
            "[([str;0]);9999999999]",
            "(,)",
            "option<u8",
            "msgpack:A",
            &deep,
            &wide,
            "[[u8;0];5]",
        ] {
            assert_eq!(parse(name), None, "{name}");
        }
    }
}
