//! What people read: aligned columns without lines, and lists of named fields.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use crate::failure::Failure;
use crate::output::Output;
use crate::text::form;

/// One column.
#[derive(Debug, Clone, Copy)]
pub enum Column {
    /// Words, to the left.
    Words(&'static str),
    /// Numbers, to the right.
    Numbers(&'static str),
}

impl Column {
    fn name(self) -> &'static str {
        match self {
            Column::Words(name) | Column::Numbers(name) => name,
        }
    }

    fn alignment(self) -> CellAlignment {
        match self {
            Column::Words(_) => CellAlignment::Left,
            Column::Numbers(_) => CellAlignment::Right,
        }
    }
}

/// Prints rows under their columns' names.
pub fn rows<const N: usize>(
    output: &mut Output,
    columns: [Column; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> Result<(), Failure> {
    let mut table = bare();
    table.set_header(columns.map(Column::name));
    for row in rows {
        table.add_row(row.iter().map(|cell| form::harmless(cell).into_owned()));
    }
    for (index, column) in columns.into_iter().enumerate() {
        if let Some(to) = table.column_mut(index) {
            to.set_padding((0, 2)).set_cell_alignment(column.alignment());
        }
    }
    output.line(table.trim_fmt())
}

/// Prints named fields, one a line.
pub fn fields<'a>(
    output: &mut Output,
    fields: impl IntoIterator<Item = (&'a str, String)>,
) -> Result<(), Failure> {
    let mut table = bare();
    for (name, value) in fields {
        table.add_row([name, &form::harmless(&value)]);
    }
    for index in 0..2 {
        if let Some(column) = table.column_mut(index) {
            column.set_padding((0, 2));
        }
    }
    output.line(table.trim_fmt())
}

fn bare() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table
}

/// A table's name as people see it.
pub fn name(table: Option<&str>) -> String {
    table.unwrap_or("(default)").to_owned()
}

/// The trees of a multimap's duplicates, as people see them.
pub fn name_of_duplicates(multimap: Option<&str>) -> String {
    format!("{} (duplicates)", name(multimap))
}

/// A number with its thousands apart.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number of bytes, exact and, where it is large, in the binary unit that fits.
pub fn size(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} bytes");
    }
    format!("{} bytes ({})", count(bytes), indicatif::BinaryBytes(bytes))
}

/// `1 entry`, `2 entries`.
pub fn plural(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_easy_to_read() {
        let table = [(0, "0"), (999, "999"), (1000, "1,000"), (1234567, "1,234,567")];
        for (number, text) in table {
            assert_eq!(count(number), text);
        }
        assert_eq!(size(1023), "1023 bytes");
        assert_eq!(size(1536), "1,536 bytes (1.50 KiB)");
        assert_eq!(plural(1, "entry", "entries"), "1 entry");
        assert_eq!(plural(2000, "entry", "entries"), "2,000 entries");
    }
}
