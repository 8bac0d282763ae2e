//! What CSV and TSV have in common: two columns, and a first line that names them.

use super::{Columns, Field};

/// The names of the columns.
pub const NAMES: [&str; 2] = ["key", "value"];

/// What to say about a first line that names other columns.
pub const NO_HEADER: &str =
    "the first line must name the columns key and value; with --no-header there is none";

/// The field that a column's bytes are. The error is a sentence.
pub fn field(bytes: &[u8], columns: Columns) -> Result<Field, String> {
    let text = str::from_utf8(bytes).map_err(|_| "not UTF-8: write binary fields as hex:".to_owned())?;
    Ok(if columns.plain { Field::Plain(text.to_owned()) } else { Field::Text(text.to_owned()) })
}
