//! The pages of a file that may be damaged: each is read by itself, and what does not verify is told, never believed.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use mapledb_format::{FormatError, Kind, OverflowHead, OverflowRef, PageHeader, PageSize, Pgno, Run, header};

/// Why a page or a run is lost.
#[derive(Debug)]
pub enum Loss {
    /// The system did not deliver it.
    Unread(io::Error),
    /// The file ends before it.
    PastEnd,
    /// It is not what was referred to, or not what it was when it was written.
    Damaged(FormatError),
}

impl std::fmt::Display for Loss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Loss::Unread(error) => write!(f, "cannot be read: {error}"),
            Loss::PastEnd => f.write_str("the file ends before it"),
            Loss::Damaged(error) => write!(f, "{error}"),
        }
    }
}

impl From<FormatError> for Loss {
    fn from(error: FormatError) -> Loss {
        Loss::Damaged(error)
    }
}

/// A file as pages.
pub struct PageFile {
    file: File,
    len_bytes: u64,
    size: PageSize,
}

impl PageFile {
    /// A file of so many bytes, in pages of this size.
    pub fn new(file: File, len_bytes: u64, size: PageSize) -> PageFile {
        PageFile { file, len_bytes, size }
    }

    /// The size of a page.
    pub fn size(&self) -> PageSize {
        self.size
    }

    /// The pages that the file holds whole, metas left out.
    pub fn numbers(&self) -> impl Iterator<Item = Pgno> {
        let end = self.len_bytes >> self.size.shift();
        (self.size.first_data_pgno().get()..end).filter_map(Pgno::new)
    }

    /// The leaf or branch that a parent refers to by number and tag.
    pub fn referred(&self, pgno: Pgno, tag: u32) -> Result<Vec<u8>, Loss> {
        let page = self.whole(pgno)?;
        let found = header::tag(header::stored_checksum(&page)?);
        if found != tag {
            return Err(FormatError::WrongTag { found, expected: tag }.into());
        }
        Ok(page)
    }

    /// The leaf or branch at `pgno`, whoever refers to it.
    pub fn whole(&self, pgno: Pgno) -> Result<Vec<u8>, Loss> {
        let page = self.bytes(pgno, self.size.bytes() as u64)?;
        let found = PageHeader::parse(&page)?;
        if found.pgno != pgno {
            return Err(FormatError::WrongPgno { found: found.pgno, expected: pgno }.into());
        }
        if found.kind == Kind::Overflow {
            return Err(FormatError::WrongKind { found: found.kind as u8 }.into());
        }
        header::check_sum(&page)?;
        Ok(page)
    }

    /// The value that a leaf refers to.
    pub fn value(&self, at: &OverflowRef) -> Result<Vec<u8>, Loss> {
        let front = self.bytes(at.pgno, self.size.bytes() as u64)?;
        let head = OverflowHead::parse(&front, self.size)?;
        if head.pgno != at.pgno {
            return Err(FormatError::WrongPgno { found: head.pgno, expected: at.pgno }.into());
        }
        let found = header::tag(head.checksum);
        if found != at.tag {
            return Err(FormatError::WrongTag { found, expected: at.tag }.into());
        }
        if head.len != at.len {
            return Err(FormatError::BadOverflow("its length is not the one referred to").into());
        }
        let run = self.bytes(at.pgno, head.pages.saturating_mul(self.size.bytes() as u64))?;
        let run = Run::open(&run, self.size)?;
        run.check_all()?;
        Ok(run.value().to_vec())
    }

    fn bytes(&self, first: Pgno, len: u64) -> Result<Vec<u8>, Loss> {
        let offset = first.get().checked_mul(self.size.bytes() as u64).ok_or(Loss::PastEnd)?;
        // Asked before so much memory is taken: a length may be any number.
        if offset.checked_add(len).is_none_or(|end| end > self.len_bytes) {
            return Err(Loss::PastEnd);
        }
        let mut bytes = vec![0; usize::try_from(len).map_err(|_| Loss::PastEnd)?];
        self.file.read_exact_at(&mut bytes, offset).map_err(Loss::Unread)?;
        Ok(bytes)
    }
}
