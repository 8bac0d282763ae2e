//! The text that Tor ships: one range a line, `#` before a comment.
//!
//! ```text
//! 16777216,16777471,AU                                        IPv4: decimal numbers
//! 2001:200::,2001:200:ffff:ffff:ffff:ffff:ffff:ffff,JP        IPv6: written out
//! ```
//!
//! Which family a line is of shows in its first field, so one file may hold both.

use std::net::Ipv6Addr;

use crate::address::{Country, Family, Range};

/// Why a line was refused.
#[derive(Debug, PartialEq, Eq)]
pub struct BadLine {
    /// Counted from 1.
    pub line: usize,
    pub why: &'static str,
}

impl std::fmt::Display for BadLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: {}", self.line, self.why)
    }
}

impl std::error::Error for BadLine {}

/// Appends the ranges of `text` to those of their family.
///
/// # Errors
/// The first line that is neither a range nor a comment.
pub fn parse(text: &str, families: &mut [Vec<Range>; 2]) -> Result<(), BadLine> {
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (family, range) = parse_range(line).map_err(|why| BadLine { line: index + 1, why })?;
        families[family.index()].push(range);
    }
    Ok(())
}

fn parse_range(line: &str) -> Result<(Family, Range), &'static str> {
    let mut fields = line.split(',');
    let (Some(start), Some(end), Some(country), None) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Err("expected three fields: start, end, country");
    };
    let family = if start.contains(':') { Family::V6 } else { Family::V4 };
    let start = parse_bits(family, start).ok_or("the start is not an address")?;
    let end = parse_bits(family, end).ok_or("the end is not an address of the start's family")?;
    if end < start {
        return Err("the range ends before it starts");
    }
    let country = parse_country(country).ok_or("the country is not two characters")?;
    Ok((family, Range { start, end, country }))
}

fn parse_bits(family: Family, field: &str) -> Option<u128> {
    match family {
        Family::V4 => field.parse::<u32>().ok().map(u128::from),
        Family::V6 => field.parse::<Ipv6Addr>().ok().map(u128::from),
    }
}

fn parse_country(field: &str) -> Option<Country> {
    let bytes: [u8; 2] = field.as_bytes().try_into().ok()?;
    bytes.iter().all(u8::is_ascii_graphic).then_some(Country(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<[Vec<Range>; 2], BadLine> {
        let mut families = [vec![], vec![]];
        parse(text, &mut families).map(|()| families)
    }

    #[test]
    fn both_families_are_read_and_comments_skipped() {
        let [v4, v6] =
            parsed("# head\n\n16777216,16777471,AU\r\n  # more\n2001:200::,2001:200::ff,JP\n7,7,??")
                .expect("all lines are good");
        let range = |start, end, country: &[u8; 2]| Range { start, end, country: Country(*country) };
        assert_eq!(v4, [range(0x0100_0000, 0x0100_00ff, b"AU"), range(7, 7, b"??")]);
        let start = 0x2001_0200_u128 << 96;
        assert_eq!(v6, [range(start, start + 0xff, b"JP")]);
    }

    #[test]
    fn a_bad_line_is_named_with_its_reason() {
        let cases = [
            ("1,2", "expected three fields: start, end, country"),
            ("1,2,DE,x", "expected three fields: start, end, country"),
            ("x,2,DE", "the start is not an address"),
            ("-1,2,DE", "the start is not an address"),
            ("1,4294967296,DE", "the end is not an address of the start's family"),
            ("2001::,7,DE", "the end is not an address of the start's family"),
            ("3,2,DE", "the range ends before it starts"),
            ("1,2,DEU", "the country is not two characters"),
            ("1,2,D\t", "the country is not two characters"),
        ];
        for (bad, why) in cases {
            let error = parsed(&format!("# one\n5,6,DE\n{bad}\n9,9,FR")).expect_err(bad);
            // A trailing tab is trimmed with the line, which leaves the country too short.
            assert_eq!(error, BadLine { line: 3, why }, "{bad:?}");
        }
    }

    #[test]
    fn an_empty_text_has_no_ranges() {
        assert_eq!(parsed(""), Ok([vec![], vec![]]));
    }
}
