//! One way to write any bytes as one line of text, used on the command line, by `get` and `scan`, and in
//! CSV and TSV.
//!
//! ```text
//! plain text        what it says, read by the table's type
//! text:hex:ff       the text after "text:", whatever it looks like
//! esc:a\tb\xff      the text after "esc:", with \\ \n \r \t \xHH and \u{HEX} resolved
//! hex:00ff          these bytes
//! u64:5             the bytes of this integer as a key: also u8 to u128 and i8 to i128
//! @path             on the command line only: the bytes of a file; @- is standard input
//! ```
//!
//! What is printed can be typed: [`show`] adds a prefix wherever the plain text would be read as something
//! else, would not be one line, or would play tricks on a terminal.

use std::borrow::Cow;
use std::fmt::Write;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};

use super::integer::Integer;

/// Text after its prefix has been understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form<'a> {
    /// No prefix: the table's type says what it means.
    Plain(&'a str),
    /// These bytes and no others.
    Exact(Vec<u8>),
}

/// Understands one piece of text. The error is a sentence.
pub fn parse(text: &str) -> Result<Form<'_>, String> {
    let Some((prefix, rest)) = text.split_once(':') else {
        return Ok(Form::Plain(text));
    };
    match prefix {
        "text" => Ok(Form::Exact(rest.as_bytes().to_vec())),
        "esc" => unescape(rest).map(Form::Exact),
        "hex" => unhex(rest).map(Form::Exact),
        _ => match Integer::named(prefix) {
            Some(integer) => integer.bytes_of_text(rest).map(Form::Exact),
            None => Ok(Form::Plain(text)),
        },
    }
}

/// Writes bytes as one line that [`parse`] reads back as the same bytes.
pub fn show(bytes: &[u8]) -> Cow<'_, str> {
    let Ok(text) = str::from_utf8(bytes) else {
        return show_hex(bytes);
    };
    if text.chars().all(is_plain) {
        return if needs_prefix(text) { Cow::Owned(format!("text:{text}")) } else { Cow::Borrowed(text) };
    }
    if text.chars().all(|c| is_plain(c) || is_escapable(c)) {
        return Cow::Owned(format!("esc:{}", escape(text)));
    }
    show_hex(bytes)
}

/// Writes bytes as hexadecimal digits, whatever they are.
pub fn show_hex(bytes: &[u8]) -> Cow<'static, str> {
    Cow::Owned(format!("hex:{}", HEXLOWER.encode(bytes)))
}

/// The bytes that pairs of hexadecimal digits stand for.
pub fn unhex(digits: &str) -> Result<Vec<u8>, String> {
    HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).map_err(|error| match error.kind {
        data_encoding::DecodeKind::Length => "an odd number of hexadecimal digits".to_owned(),
        _ => format!("character {} is not a hexadecimal digit", error.position + 1),
    })
}

/// `text` with controls and format characters as escapes: one line that plays no tricks on a terminal.
pub fn harmless(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    text.chars().for_each(|c| push_harmless(c, &mut out));
    Cow::Owned(out)
}

fn needs_prefix(text: &str) -> bool {
    let looks_like_a_form = match text.split_once(':') {
        Some((prefix, _)) => matches!(prefix, "text" | "esc" | "hex") || Integer::named(prefix).is_some(),
        None => false,
    };
    looks_like_a_form || text.starts_with('@')
}

/// Whether a character can stand as it is: no control, and nothing that reorders or hides what is around it.
fn is_plain(c: char) -> bool {
    !c.is_control() && !is_format(c)
}

/// Controls that ordinary text contains, and the format characters, are worth reading in escapes. With
/// other controls it is no text.
fn is_escapable(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\t') || is_format(c)
}

/// Line and paragraph separators, directional marks, embeddings and isolates, and the byte-order mark.
fn is_format(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            c => push_harmless(c, &mut out),
        }
    }
    out
}

fn push_harmless(c: char, out: &mut String) {
    match c {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        c if is_plain(c) => out.push(c),
        c => write!(out, "\\u{{{:x}}}", u32::from(c)).expect("a string takes whatever is written"),
    }
}

fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, escaped)) = rest.split_once('\\') {
        out.extend_from_slice(plain.as_bytes());
        rest = unescape_one(escaped, &mut out)
            .ok_or_else(|| format!("a backslash at character {} begins no escape", place(text, escaped)))?;
    }
    out.extend_from_slice(rest.as_bytes());
    Ok(out)
}

/// Resolves the escape that `text` begins with, its backslash gone, and answers what follows it.
fn unescape_one<'a>(text: &'a str, out: &mut Vec<u8>) -> Option<&'a str> {
    let mut chars = text.chars();
    match chars.next()? {
        '\\' => out.push(b'\\'),
        'n' => out.push(b'\n'),
        'r' => out.push(b'\r'),
        't' => out.push(b'\t'),
        'x' => {
            let rest = chars.as_str();
            let digits = rest.get(..2)?;
            out.push(*HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).ok()?.first()?);
            return rest.get(2..);
        }
        'u' => {
            let (digits, rest) = chars.as_str().strip_prefix('{')?.split_once('}')?;
            let plain_digits = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            let c = plain_digits.then(|| u32::from_str_radix(digits, 16).ok()).flatten()?;
            out.extend_from_slice(char::from_u32(c)?.encode_utf8(&mut [0; 4]).as_bytes());
            return Some(rest);
        }
        _ => return None,
    }
    Some(chars.as_str())
}

/// Which character of `text`, from 1, is the backslash before its tail `after`.
fn place(text: &str, after: &str) -> usize {
    text[..text.len() - after.len()].chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_bytes_look_like() {
        let table: [(&[u8], &str); 15] = [
            (b"", ""),
            (b"maple", "maple"),
            ("érable \u{1f341}".as_bytes(), "érable \u{1f341}"),
            (b"a\\b", "a\\b"),
            (b"http://x", "http://x"),
            (b"hex:00", "text:hex:00"),
            (b"text:", "text:text:"),
            (b"u64:5", "text:u64:5"),
            (b"@home", "text:@home"),
            (b"a\tb\\\n", "esc:a\\tb\\\\\\n"),
            ("ab\u{202e}c".as_bytes(), "esc:ab\\u{202e}c"),
            (b"\0\0\0\x05", "hex:00000005"),
            (b"\x1b[2J", "hex:1b5b324a"),
            (b"\xff\xfe", "hex:fffe"),
            (b" a ", " a "),
        ];
        for (bytes, text) in table {
            assert_eq!(show(bytes), text, "{bytes:?}");
        }
    }

    #[test]
    fn what_text_stands_for() {
        let exact = |bytes: &[u8]| Ok(Form::Exact(bytes.to_vec()));
        let refused = |why: &str| Err(why.to_owned());
        let table = [
            ("", Ok(Form::Plain(""))),
            ("a:b", Ok(Form::Plain("a:b"))),
            ("HEX:00", Ok(Form::Plain("HEX:00"))),
            ("text:hex:00", exact(b"hex:00")),
            ("hex:", exact(b"")),
            ("hex:00fF", exact(b"\x00\xff")),
            ("hex:0", refused("an odd number of hexadecimal digits")),
            ("hex:0g", refused("character 2 is not a hexadecimal digit")),
            ("esc:\\x00\\u{e9}\\\\", exact(b"\0\xc3\xa9\\")),
            ("esc:ab\\", refused("a backslash at character 3 begins no escape")),
            ("esc:\\xé", refused("a backslash at character 1 begins no escape")),
            ("esc:é\\u{d800}", refused("a backslash at character 2 begins no escape")),
            ("esc:\\u{+41}", refused("a backslash at character 1 begins no escape")),
            ("u16:258", exact(b"\x01\x02")),
            ("i8:-1", exact(b"\x7f")),
            ("u8:256", refused("256 is not of type u8 (0 to 255)")),
            ("u64:x", refused("x is not of type u64 (0 to 18446744073709551615)")),
        ];
        for (text, meaning) in table {
            assert_eq!(parse(text), meaning, "{text}");
        }
    }

    proptest! {
        #![proptest_config(crate::testing::cases())]

        #[test]
        fn what_is_shown_can_be_typed(bytes: Vec<u8>) {
            let shown = show(&bytes).into_owned();
            let read = match parse(&shown) {
                Ok(Form::Plain(text)) => text.as_bytes().to_vec(),
                Ok(Form::Exact(exact)) => exact,
                Err(why) => return Err(TestCaseError::fail(why)),
            };
            prop_assert_eq!(read, bytes);
        }

        #[test]
        fn text_too_and_it_is_one_harmless_line(text: String) {
            let shown = show(text.as_bytes()).into_owned();
            prop_assert!(shown.chars().all(is_plain), "{}", shown);
            let read = match parse(&shown) {
                Ok(Form::Plain(text)) => text.as_bytes().to_vec(),
                Ok(Form::Exact(exact)) => exact,
                Err(why) => return Err(TestCaseError::fail(why)),
            };
            prop_assert_eq!(read, text.as_bytes());
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "(text|esc|hex|u8|i64|@|x):?[\\\\xun{}0-9a-fé-]*") {
            let _ = parse(&text);
        }
    }
}
