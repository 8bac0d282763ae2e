//! Lines of any bytes and any length, counted from 1.

use std::io::BufRead;

use super::unreadable;
use crate::failure::Failure;

/// Reads lines, one at a time.
pub struct Lines<R> {
    input: R,
    line: Vec<u8>,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    /// Reads the lines of `input`.
    pub fn new(input: R) -> Lines<R> {
        Lines { input, line: Vec::new(), number: 0 }
    }

    /// The next line without its end (a line feed, perhaps after a carriage return), or `None` at the end.
    pub fn next_line(&mut self) -> Result<Option<&[u8]>, Failure> {
        self.line.clear();
        let len_bytes = self.input.read_until(b'\n', &mut self.line).map_err(|error| unreadable(&error))?;
        if len_bytes == 0 {
            return Ok(None);
        }
        self.number += 1;
        let line = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        Ok(Some(line.strip_suffix(b"\r").unwrap_or(line)))
    }

    /// The number of the line read last; 0 before the first.
    pub fn number(&self) -> u64 {
        self.number
    }
}
