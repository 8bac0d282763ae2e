//! Everything that reached the recording file system, in one order: writes, flushes, names, and the lines of the journal
//! that the one at work wrote in between. A crash is a cut through it.
//!
//! A trace can be stored, and is what a failure is replayed from: what the kernel writes when is not a function of a seed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use super::platter::{Place, Platter};

/// A file of the file system, by number.
pub type FileNo = u32;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// There is a new file, without a name yet.
    Make {
        /// Its number: the next one.
        file: FileNo,
    },
    /// Bytes were written.
    Write {
        /// To which file.
        file: FileNo,
        /// Where.
        offset: u64,
        /// Which.
        bytes: Box<[u8]>,
    },
    /// A range was made zero.
    Zero {
        /// Of which file.
        file: FileNo,
        /// Where it begins.
        offset: u64,
        /// How many bytes it has.
        len: u64,
    },
    /// A file got another length.
    Resize {
        /// Which.
        file: FileNo,
        /// The new length.
        len: u64,
    },
    /// A flush has begun. Nothing follows from it; it is a place to crash at.
    FlushBegins {
        /// Of which file.
        file: FileNo,
    },
    /// A flush has ended.
    Flushed {
        /// Of which file.
        file: FileNo,
        /// The place at which it began.
        begun: Place,
        /// Whether it promises the length, too.
        with_length: bool,
        /// Whether it promises anything.
        ok: bool,
    },
    /// A name leads to a file now, whatever it led to before.
    Name {
        /// The name.
        name: String,
        /// The file.
        file: FileNo,
    },
    /// A name is gone.
    Unname {
        /// The name.
        name: String,
    },
    /// A file got another name in the place of its own, at once.
    Rename {
        /// The name it had.
        from: String,
        /// The name it has.
        to: String,
    },
    /// The names are durable.
    NamesFlushed,
    /// Somebody at work said something.
    Line {
        /// What.
        text: String,
    },
}

/// The files and their names, as a disk with a volatile cache may hold them.
#[derive(Clone, Debug, Default)]
pub struct Volume {
    /// The files, by number.
    pub files: Vec<Platter>,
    /// What the names may be, oldest first; the last is what is seen. Never empty after the first name.
    pub names: Vec<BTreeMap<String, FileNo>>,
}

impl Volume {
    /// What is seen under a name.
    pub fn find(&self, name: &str) -> Option<FileNo> {
        self.names.last().and_then(|names| names.get(name)).copied()
    }

    /// Lets one thing happen. `place` is its index in the trace.
    pub fn apply(&mut self, place: Place, event: &Event) {
        match event {
            Event::Make { file } => {
                while self.files.len() <= *file as usize {
                    self.files.push(Platter::default());
                }
            }
            Event::Write { file, offset, bytes } => self.files[*file as usize].write(place, *offset, bytes),
            Event::Zero { file, offset, len } => self.files[*file as usize].zero(place, *offset, *len),
            Event::Resize { file, len } => self.files[*file as usize].resize(place, *len),
            Event::Flushed { file, begun, with_length, ok: true } => {
                self.files[*file as usize].flushed(*begun, *with_length);
            }
            Event::Name { name, file } => self.rename(|names| {
                names.insert(name.clone(), *file);
            }),
            Event::Unname { name } => self.rename(|names| {
                names.remove(name);
            }),
            Event::Rename { from, to } => self.rename(|names| {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }),
            Event::NamesFlushed => {
                self.names.drain(..self.names.len().saturating_sub(1));
            }
            Event::Flushed { .. } | Event::FlushBegins { .. } | Event::Line { .. } => {}
        }
    }

    fn rename(&mut self, change: impl FnOnce(&mut BTreeMap<String, FileNo>)) {
        if self.names.is_empty() {
            self.names.push(BTreeMap::new());
        }
        let mut names = self.names[self.names.len() - 1].clone();
        change(&mut names);
        self.names.push(names);
    }
}

const MAGIC: &[u8; 8] = b"MapleTr1";
/// No event of a trace is larger: a kernel writes at most 1 MiB at a time.
const FIELD_MAX: u64 = 64 << 20;

/// Stores a trace.
///
/// # Errors
/// It cannot be written.
pub fn store(events: &[Event], path: &Path) -> io::Result<()> {
    let mut to = BufWriter::new(File::create(path)?);
    to.write_all(MAGIC)?;
    for event in events {
        let both;
        let (kind, numbers, bytes): (u8, [u64; 3], &[u8]) = match event {
            Event::Make { file } => (0, [u64::from(*file), 0, 0], &[]),
            Event::Write { file, offset, bytes } => (1, [u64::from(*file), *offset, 0], bytes),
            Event::Zero { file, offset, len } => (2, [u64::from(*file), *offset, *len], &[]),
            Event::Resize { file, len } => (3, [u64::from(*file), *len, 0], &[]),
            Event::Flushed { file, begun, with_length, ok } => {
                (4, [u64::from(*file), *begun, u64::from(*with_length) | u64::from(*ok) << 1], &[])
            }
            Event::FlushBegins { file } => (5, [u64::from(*file), 0, 0], &[]),
            Event::Name { name, file } => (6, [u64::from(*file), 0, 0], name.as_bytes()),
            Event::Unname { name } => (7, [0; 3], name.as_bytes()),
            Event::NamesFlushed => (8, [0; 3], &[]),
            Event::Line { text } => (9, [0; 3], text.as_bytes()),
            Event::Rename { from, to } => {
                both = format!("{from}/{to}");
                (10, [0; 3], both.as_bytes())
            }
        };
        to.write_all(&[kind])?;
        for number in numbers {
            to.write_all(&number.to_le_bytes())?;
        }
        to.write_all(&(bytes.len() as u64).to_le_bytes())?;
        to.write_all(bytes)?;
    }
    to.into_inner()?.sync_all()
}

/// Reads a trace back.
///
/// # Errors
/// It cannot be read, or is none.
pub fn load(path: &Path) -> io::Result<Vec<Event>> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidData, "not a trace");
    let mut from = BufReader::new(File::open(path)?);
    let mut magic = [0; 8];
    from.read_exact(&mut magic)?;
    if magic != *MAGIC {
        return Err(invalid());
    }
    let mut events = Vec::new();
    loop {
        let mut head = [0; 33];
        match from.read_exact(&mut head[..1]) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(events),
            other => other?,
        }
        from.read_exact(&mut head[1..])?;
        let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| head[1 + 8 * at + byte]));
        if number(3) > FIELD_MAX {
            return Err(invalid());
        }
        let mut bytes = vec![0; number(3) as usize];
        from.read_exact(&mut bytes)?;
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).map_err(|_| invalid());
        let file = u32::try_from(number(0)).map_err(|_| invalid())?;
        events.push(match head[0] {
            0 => Event::Make { file },
            1 => Event::Write { file, offset: number(1), bytes: bytes.into() },
            2 => Event::Zero { file, offset: number(1), len: number(2) },
            3 => Event::Resize { file, len: number(1) },
            4 => {
                let (with_length, ok) = (number(2) & 1 != 0, number(2) & 2 != 0);
                Event::Flushed { file, begun: number(1), with_length, ok }
            }
            5 => Event::FlushBegins { file },
            6 => Event::Name { name: text(bytes)?, file },
            7 => Event::Unname { name: text(bytes)? },
            8 => Event::NamesFlushed,
            9 => Event::Line { text: text(bytes)? },
            10 => {
                let both = text(bytes)?;
                let (from, to) = both.split_once('/').ok_or_else(invalid)?;
                Event::Rename { from: from.to_string(), to: to.to_string() }
            }
            _ => return Err(invalid()),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_read_as_it_was_stored() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("trace");
        let events = vec![
            Event::Make { file: 0 },
            Event::Name { name: "a".into(), file: 0 },
            Event::NamesFlushed,
            Event::Write { file: 0, offset: 4096, bytes: vec![1, 2, 3].into() },
            Event::Zero { file: 0, offset: 1, len: 2 },
            Event::Resize { file: 0, len: 10_000 },
            Event::FlushBegins { file: 0 },
            Event::Line { text: "said".into() },
            Event::Flushed { file: 0, begun: 6, with_length: true, ok: false },
            Event::Rename { from: "a".into(), to: "b".into() },
            Event::Unname { name: "b".into() },
        ];
        store(&events, &path).expect("store");
        assert_eq!(load(&path).expect("load"), events);
        std::fs::write(&path, b"something else").expect("write");
        assert!(load(&path).is_err());
    }

    #[test]
    fn names_are_durable_once_their_directory_is_flushed() {
        let mut volume = Volume::default();
        volume.apply(0, &Event::Make { file: 0 });
        volume.apply(1, &Event::Name { name: "draft".into(), file: 0 });
        volume.apply(2, &Event::Rename { from: "draft".into(), to: "final".into() });
        assert_eq!(volume.names.len(), 3);
        volume.apply(3, &Event::NamesFlushed);
        assert_eq!((volume.names.len(), volume.find("final")), (1, Some(0)));
    }
}
