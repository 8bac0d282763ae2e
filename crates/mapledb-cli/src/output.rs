//! What goes to standard output: buffered, checked to the last byte, and quiet when the reader goes away.

use std::io::{self, BufWriter, StdoutLock, Write};

use serde::Serialize;

use crate::failure::Failure;

/// What messages call it.
const STDOUT: &str = "the output";

/// Standard output, or memory. Call [`finish`](Output::finish), or what is still buffered may be lost unseen.
pub struct Output {
    writer: Writer,
}

enum Writer {
    Stdout(BufWriter<StdoutLock<'static>>),
    Memory(Vec<u8>),
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Writer::Stdout(to) => to.write(bytes),
            Writer::Memory(to) => to.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Writer::Stdout(to) => to.flush(),
            Writer::Memory(_) => Ok(()),
        }
    }
}

impl Output {
    /// Locks standard output.
    pub fn open() -> Output {
        Output { writer: Writer::Stdout(BufWriter::with_capacity(64 << 10, io::stdout().lock())) }
    }

    /// Keeps what is written, for a screen.
    pub fn to_memory() -> Output {
        Output { writer: Writer::Memory(Vec::new()) }
    }

    /// What was kept.
    pub fn into_text(self) -> String {
        match self.writer {
            Writer::Memory(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Writer::Stdout(_) => String::new(),
        }
    }

    /// Writes bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.writer.write_all(bytes).map_err(|error| Failure::writing(STDOUT, &error))
    }

    /// Writes one line.
    pub fn line(&mut self, line: impl AsRef<str>) -> Result<(), Failure> {
        self.bytes(line.as_ref().as_bytes())?;
        self.bytes(b"\n")
    }

    /// Writes one JSON document on one line.
    pub fn json(&mut self, document: &impl Serialize) -> Result<(), Failure> {
        serde_json::to_writer(&mut self.writer, document)
            .map_err(|error| Failure::writing(STDOUT, &error.into()))?;
        self.bytes(b"\n")
    }

    /// Sends what is buffered.
    pub fn finish(mut self) -> Result<(), Failure> {
        self.writer.flush().map_err(|error| Failure::writing(STDOUT, &error))
    }
}

/// Prints a line on standard error. If nobody is there to read it, that is no reason to stop.
pub fn aside(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Prints one report: a JSON document, or what `in_words` writes.
pub fn report<R: Serialize>(
    as_json: bool,
    report: &R,
    in_words: impl FnOnce(&R, &mut Output) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut output = Output::open();
    if as_json {
        output.json(report)?
    } else {
        in_words(report, &mut output)?
    }
    output.finish()
}
