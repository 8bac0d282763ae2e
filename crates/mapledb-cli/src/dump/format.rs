//! The formats, and how to tell which one a file has.

use std::path::Path;

use clap::ValueEnum;

/// A dump format.
///
/// What each is stands in ordinary comments: the help would spend a paragraph on each doc comment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    // One JSON object a line.
    Jsonl,
    // Comma-separated, one table.
    Csv,
    // Tab-separated, one table.
    Tsv,
    // The VERSION=3 text of db_dump and mdb_dump, in hexadecimal.
    Bytevalue,
    // The same with printable characters as they are.
    Print,
}

impl Format {
    /// The format that the name of a file promises.
    pub fn of_name(path: &Path) -> Option<Format> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "jsonl" | "ndjson" => Some(Format::Jsonl),
            "csv" => Some(Format::Csv),
            "tsv" => Some(Format::Tsv),
            "dump" => Some(Format::Bytevalue),
            _ => None,
        }
    }

    /// The format that the first bytes of a file show.
    pub fn of_beginning(bytes: &[u8]) -> Option<Format> {
        if bytes.starts_with(b"VERSION=") {
            return Some(Format::Bytevalue);
        }
        bytes.starts_with(b"{").then_some(Format::Jsonl)
    }

    /// Whether one dump can hold several tables and say which is which.
    pub fn holds_tables(self) -> bool {
        !matches!(self, Format::Csv | Format::Tsv)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_told_by_name_or_beginning() {
        let names = [
            ("a.jsonl", Some(Format::Jsonl)),
            ("a.NDJSON", Some(Format::Jsonl)),
            ("a.b.csv", Some(Format::Csv)),
            ("a.tsv", Some(Format::Tsv)),
            ("a.dump", Some(Format::Bytevalue)),
            ("csv", None),
            ("a.txt", None),
        ];
        for (name, format) in names {
            assert_eq!(Format::of_name(Path::new(name)), format, "{name}");
        }
        assert_eq!(Format::of_beginning(b"VERSION=3\n"), Some(Format::Bytevalue));
        assert_eq!(Format::of_beginning(b"{\"key\""), Some(Format::Jsonl));
        assert_eq!(Format::of_beginning(b"key,value\n"), None);
        assert_eq!(Format::of_beginning(b""), None);
    }
}
