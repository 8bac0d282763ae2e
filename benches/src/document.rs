//! Blocks of a Markdown page that a program writes anew, between two comments that name them:
//!
//! ```text
//! <!-- begin NAME -->
//! what the program wrote
//! <!-- end NAME -->
//! ```

use std::path::Path;

use crate::Result;

/// Replaces block `name` of the page at `path` by `text`.
pub fn update(path: &Path, name: &str, text: &str) -> Result<()> {
    let said = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let page = std::fs::read_to_string(path).map_err(|error| said(&error))?;
    let page = replace(&page, name, text).ok_or_else(|| {
        said(&format!(
            "no line `{}` with a line `{}` after it: put both where the table belongs",
            begin(name),
            end(name)
        ))
    })?;
    std::fs::write(path, page).map_err(|error| said(&error))?;
    Ok(())
}

fn begin(name: &str) -> String {
    format!("<!-- begin {name} -->")
}

fn end(name: &str) -> String {
    format!("<!-- end {name} -->")
}

/// `page` with `text` in block `name`, or `None` where the page has no such block.
fn replace(page: &str, name: &str, text: &str) -> Option<String> {
    let (before, rest) = page.split_once(&begin(name))?;
    let (_, after) = rest.split_once(&end(name))?;
    Some(format!("{before}{}\n\n{}\n\n{}{after}", begin(name), text.trim(), end(name)))
}

/// A Markdown table.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let head: Vec<String> = head.iter().map(|&cell| cell.to_owned()).collect();
    let rule = vec!["---".to_owned(); head.len()];
    std::iter::once(line(&head))
        .chain(std::iter::once(line(&rule).replace(' ', "")))
        .chain(rows.iter().map(|row| line(row)))
        .collect()
}

/// A figure with at least two significant digits and thousands set apart; `0` for what rounds to nothing.
pub fn figure(value: f64) -> String {
    match value {
        v if v.is_nan() => "n/a".to_owned(),
        v if v >= 99.5 => thousands(v.round() as u64),
        v if v >= 9.95 => format!("{v:.1}"),
        v if v >= 0.005 => format!("{v:.2}"),
        _ => "0".to_owned(),
    }
}

fn thousands(number: u64) -> String {
    if number < 1000 {
        return number.to_string();
    }
    format!("{},{:03}", thousands(number / 1000), number % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_named_block_is_replaced() {
        let page = "a\n<!-- begin x -->\nold\n<!-- end x -->\nb <!-- begin y --><!-- end y -->";
        let new = replace(page, "x", "new").unwrap();
        assert_eq!(new, "a\n<!-- begin x -->\n\nnew\n\n<!-- end x -->\nb <!-- begin y --><!-- end y -->");
        assert_eq!(replace(&new, "x", "new").unwrap(), new);
        assert_eq!(replace(page, "z", "new"), None);
        assert_eq!(replace("<!-- begin x -->", "x", "new"), None);
    }

    #[test]
    fn figures_keep_what_tells() {
        let shown = [0.001, 0.25, 12.34, 99.7, 1234.5, 1_234_567.0].map(figure);
        assert_eq!(shown, ["0", "0.25", "12.3", "100", "1,235", "1,234,567"]);
    }
}
