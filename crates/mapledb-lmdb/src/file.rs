//! The file: opening it, choosing its newest meta page, reading pages, and noticing that somebody commits.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::{Error, Fault, Result};
use crate::layout::{self, BEGINNING_LEN, Flags, Format, Meta, Tree};
use crate::lock;
use crate::page::{Page, Value, overflow_pages};
use crate::records::Records;
use crate::walk::Walk;

/// How to open a file.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    in_use: bool,
    any_order: bool,
}

impl Options {
    /// Open the file although a process has it open with LMDB. What is read to its end without [`Error::Changed`] is one
    /// snapshot all the same.
    pub fn in_use(self, allow: bool) -> Options {
        Options { in_use: allow, ..self }
    }

    /// Read databases whose order is one of the program that wrote them, and not one of LMDB's: the order of keys and
    /// duplicates is not checked then.
    ///
    /// ```
    /// # fn main() -> Result<(), mapledb_lmdb::Error> {
    /// # use mapledb_lmdb::LmdbFile;
    /// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/format-3.mdb");
    /// // Where the program that wrote it may run, and compares in a way of its own.
    /// let file = LmdbFile::options().in_use(true).any_order(true).open(path)?;
    /// assert_eq!(file.databases()?.len(), 4);
    /// # Ok(())
    /// # }
    /// ```
    pub fn any_order(self, allow: bool) -> Options {
        Options { any_order: allow, ..self }
    }

    /// Opens a data file, or the `data.mdb` in a directory.
    ///
    /// # Errors
    /// As [`LmdbFile::open`].
    pub fn open(self, path: impl AsRef<Path>) -> Result<LmdbFile> {
        let path = path.as_ref();
        let path = if path.is_dir() { path.join("data.mdb") } else { path.to_owned() };
        let failed = |what, source| Error::Io { what, path: path.clone(), source };
        let file = open_to_read(&path).map_err(|error| failed("open", error))?;
        let about = file.metadata().map_err(|error| failed("look at", error))?;
        if !about.is_file() {
            return Err(failed("read", io::Error::other("it is not a regular file")));
        }
        if !self.in_use {
            refuse_if_in_use(&path)?;
        }
        let meta = steady_meta(&file, &path)?;
        Ok(LmdbFile { file, path, len: about.len(), meta, any_order: self.any_order })
    }
}

/// A data file of LMDB, opened to read one snapshot of it.
#[derive(Debug)]
pub struct LmdbFile {
    file: File,
    path: PathBuf,
    len: u64,
    meta: Meta,
    pub(crate) any_order: bool,
}

impl LmdbFile {
    /// Opens a data file, or the `data.mdb` in a directory, that no process has open with LMDB.
    ///
    /// The newest of the two meta pages is what is read. Cost: four small reads.
    ///
    /// # Errors
    /// - [`Error::Io`]: the file is not there, or cannot be read.
    /// - [`Error::Foreign`]: it is no LMDB file, of another machine, of an unknown version, or encrypted.
    /// - [`Error::InUse`]: a process has it open; see [`Options::in_use`].
    /// - [`Error::Damaged`]: a meta page makes no sense.
    ///
    /// ```
    /// # fn main() -> Result<(), mapledb_lmdb::Error> {
    /// # use mapledb_lmdb::LmdbFile;
    /// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/format-3.mdb");
    /// let file = LmdbFile::open(path)?;
    /// assert!(file.path().ends_with("format-3.mdb"));
    /// assert!(matches!(LmdbFile::open("/no/such/directory"), Err(mapledb_lmdb::Error::Io { .. })));
    /// # Ok(())
    /// # }
    /// ```
    pub fn open(path: impl AsRef<Path>) -> Result<LmdbFile> {
        Options::default().open(path)
    }

    /// The options that [`LmdbFile::open`] takes as they are.
    pub fn options() -> Options {
        Options::default()
    }

    /// The data file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The format it is in.
    pub fn format(&self) -> Format {
        self.meta.format
    }

    /// Bytes of a page: a power of two from 256 to 65536.
    pub fn page_size(&self) -> u32 {
        self.meta.page_size
    }

    /// Bytes of the map that its last writer had set.
    pub fn map_size(&self) -> u64 {
        self.meta.map_size
    }

    /// The transaction whose snapshot is read.
    ///
    /// ```
    /// # fn main() -> Result<(), mapledb_lmdb::Error> {
    /// # use mapledb_lmdb::LmdbFile;
    /// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/format-3.mdb");
    /// let file = LmdbFile::open(path)?;
    /// assert_eq!((file.format(), file.page_size()), (mapledb_lmdb::Format::V3, 4096));
    /// assert!(file.txnid() > 0 && file.map_size() > 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn txnid(&self) -> u64 {
        self.meta.txnid
    }

    /// The main database, then the named ones, in the order of their names.
    ///
    /// Cost: all leaves of the main database are read.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Damaged`], [`Error::Changed`].
    ///
    /// ```
    /// # fn main() -> Result<(), mapledb_lmdb::Error> {
    /// # use mapledb_lmdb::LmdbFile;
    /// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/format-3.mdb");
    /// let names: Vec<_> = LmdbFile::open(path)?.databases()?.iter().map(|database| database.to_string()).collect();
    /// assert_eq!(names, ["the main database", "database \"duplicates\"", "database \"fixed\"", "database \"plain\""]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn databases(&self) -> Result<Vec<Database>> {
        self.settled(self.find_databases())
    }

    fn find_databases(&self) -> Result<Vec<Database>> {
        let mut main = Database { name: None, tree: self.meta.main, entries: self.meta.main.entries };
        let mut named = Vec::new();
        let mut walk = Walk::of_keys(self, main.tree);
        while walk.advance(self)? {
            if let Value::Database(tree) = walk.value(self)? {
                let name = self.meta.format.name_of(walk.key(self)?).to_vec();
                named.push(Database { name: Some(name), tree, entries: tree.entries });
            }
        }
        main.entries = main.entries.saturating_sub(named.len() as u64);
        named.insert(0, main);
        Ok(named)
    }

    /// The records of a database of this file, in its order.
    ///
    /// Cost: none yet; see [`Records::next_record`].
    ///
    /// ```
    /// # fn main() -> Result<(), mapledb_lmdb::Error> {
    /// # use mapledb_lmdb::LmdbFile;
    /// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/format-3.mdb");
    /// let file = LmdbFile::open(path)?;
    /// for database in file.databases()? {
    ///     let records = file.records(&database).collect::<Result<Vec<_>, _>>()?;
    ///     assert_eq!(records.len() as u64, database.entries());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn records(&self, database: &Database) -> Records<'_> {
        Records::new(self, database)
    }

    /// The first key of a database that has several values; always `None` without [`Flags::dup_sort`].
    ///
    /// Cost: the leaves of the database up to that key are read, and not the values that have trees of their own.
    ///
    /// # Errors
    /// As [`LmdbFile::databases`].
    ///
    /// ```
    /// # fn main() -> Result<(), mapledb_lmdb::Error> {
    /// # use mapledb_lmdb::LmdbFile;
    /// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/format-3.mdb");
    /// let file = LmdbFile::open(path)?;
    /// let databases = file.databases()?;
    /// assert_eq!(file.first_key_with_duplicates(&databases[3])?, None);
    /// assert!(file.first_key_with_duplicates(&databases[2])?.is_some());
    /// # Ok(())
    /// # }
    /// ```
    pub fn first_key_with_duplicates(&self, database: &Database) -> Result<Option<Vec<u8>>> {
        self.settled(self.find_duplicates(database))
    }

    fn find_duplicates(&self, database: &Database) -> Result<Option<Vec<u8>>> {
        let mut walk = Walk::of_keys(self, database.tree);
        while database.flags().dup_sort() && walk.advance(self)? {
            let count = match walk.value(self)? {
                Value::Inside(page) => {
                    let page = Page::inside(self.meta.format, walk.page_number(), page.to_vec());
                    page.map_err(|fault| self.damaged(walk.page_number(), fault))?.count as u64
                }
                Value::Duplicates(tree) => tree.entries,
                Value::Here(_) | Value::Long { .. } | Value::Database(_) => 1,
            };
            if count > 1 {
                return Ok(Some(walk.key(self)?.to_vec()));
            }
        }
        Ok(None)
    }

    /// What was found by reading, if nobody committed since the file was opened. Then neither is certain what was found nor that
    /// what made no sense is damage.
    pub(crate) fn settled<T>(&self, found: Result<T>) -> Result<T> {
        match found {
            Ok(_) | Err(Error::Damaged { .. }) => self.still_the_same()?,
            Err(_) => {}
        }
        found
    }

    /// Fails if somebody committed since the file was opened.
    fn still_the_same(&self) -> Result<()> {
        let now = steady_meta(&self.file, &self.path)?;
        if now == self.meta {
            return Ok(());
        }
        Err(Error::Changed { path: self.path.clone(), txnid: now.txnid })
    }

    /// Reads a page of a tree.
    pub(crate) fn page(&self, number: u64) -> Result<Page> {
        self.check_in_use(number, 1)?;
        let mut bytes = vec![0; self.page_len()];
        self.read_at(&mut bytes, number, 0)?;
        Page::of_tree(self.meta.format, number, bytes).map_err(|fault| self.damaged(number, fault))
    }

    /// Reads a long value into `value`; answers the pages it takes.
    pub(crate) fn long_value(
        &self,
        number: u64,
        expected: Option<u64>,
        len: u32,
        value: &mut Vec<u8>,
    ) -> Result<u64> {
        self.check_in_use(number, 1)?;
        let format = self.meta.format;
        let mut header = [0; 24];
        let header = header.get_mut(..format.header_len()).unwrap_or_default();
        self.read_at(header, number, 0)?;
        let pages = overflow_pages(format, number, header).map_err(|fault| self.damaged(number, fault))?;
        let room = pages.saturating_mul(u64::from(self.page_size())).checked_sub(header.len() as u64);
        let fits = room.is_some_and(|room| u64::from(len) <= room);
        if !fits || expected.is_some_and(|expected| expected != pages) {
            return Err(self.damaged(number, Fault::Overflow { len, pages }));
        }
        self.check_in_use(number, pages)?;
        // Before room is made for it, so that a wrong length costs nothing.
        let end = self.offset(number).saturating_add(header.len() as u64 + u64::from(len));
        if end > self.len {
            return Err(self.damaged(number, Fault::CutShort));
        }
        value.clear();
        value.resize(usize::try_from(len).unwrap_or(usize::MAX), 0);
        self.read_at(value, number, header.len() as u64)?;
        Ok(pages)
    }

    /// An error about one page.
    pub(crate) fn damaged(&self, page: u64, fault: Fault) -> Error {
        Error::Damaged { path: self.path.clone(), page, fault }
    }

    /// The last page that the snapshot uses.
    pub(crate) fn last_page(&self) -> u64 {
        // Free pages at the end may not be there.
        self.meta.last_page.min(self.len / u64::from(self.page_size()))
    }

    fn check_in_use(&self, number: u64, pages: u64) -> Result<()> {
        let end = number.saturating_add(pages.saturating_sub(1));
        if number < 2 || end > self.meta.last_page {
            return Err(self.damaged(number, Fault::Outside { last: self.meta.last_page }));
        }
        Ok(())
    }

    fn page_len(&self) -> usize {
        self.meta.page_size as usize
    }

    fn offset(&self, number: u64) -> u64 {
        number.saturating_mul(u64::from(self.page_size()))
    }

    fn read_at(&self, bytes: &mut [u8], number: u64, within: u64) -> Result<()> {
        let read = self.file.read_exact_at(bytes, self.offset(number).saturating_add(within));
        read.map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput => {
                self.damaged(number, Fault::CutShort)
            }
            _ => Error::Io { what: "read", path: self.path.clone(), source },
        })
    }
}

/// A database in a file: the main one, or one with a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    name: Option<Vec<u8>>,
    pub(crate) tree: Tree,
    entries: u64,
}

impl Database {
    /// Its name; `None` for the main database. LMDB lets it be any bytes.
    pub fn name(&self) -> Option<&[u8]> {
        self.name.as_deref()
    }

    /// What it was created with.
    pub fn flags(&self) -> Flags {
        self.tree.flags
    }

    /// How many records it has, each duplicate counted. Names of databases are none.
    ///
    /// ```
    /// # fn main() -> Result<(), mapledb_lmdb::Error> {
    /// # use mapledb_lmdb::LmdbFile;
    /// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/format-3.mdb");
    /// let databases = LmdbFile::open(path)?.databases()?;
    /// let fixed = databases.iter().find(|database| database.name() == Some(b"fixed")).expect("it is in there");
    /// assert_eq!((fixed.entries(), fixed.flags().to_string()), (1505, "dupsort,dupfixed".to_owned()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn entries(&self) -> u64 {
        self.entries
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            None => f.write_str("the main database"),
            Some(name) => write!(f, "database \"{}\"", name.escape_ascii()),
        }
    }
}

/// Opens a file without waiting for anybody, should it be a pipe.
pub(crate) fn open_to_read(path: &Path) -> io::Result<File> {
    File::options().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path)
}

fn refuse_if_in_use(path: &Path) -> Result<()> {
    // LMDB keeps its lock file beside the file that a link leads to, or beside the link.
    let mut lock_files = lock::files_of(path);
    if let Ok(resolved) = path.canonicalize() {
        lock_files.extend(lock::files_of(&resolved));
    }
    match lock::holder(&lock_files) {
        Ok(None) => Ok(()),
        Ok(Some(pid)) => Err(Error::InUse { path: path.to_owned(), pid }),
        Err((path, source)) => Err(Error::Io { what: "look for users of", path, source }),
    }
}

/// The newest meta page, read twice alike: a writer may be storing it.
fn steady_meta(file: &File, path: &Path) -> Result<Meta> {
    const TRIES: usize = 100;
    let mut last = newest_meta(file, path);
    for _ in 0..TRIES {
        let next = newest_meta(file, path);
        match (&last, &next) {
            (Ok(one), Ok(other)) if one == other => break,
            (Err(_), Err(_)) => break,
            _ => last = next,
        }
    }
    last
}

fn newest_meta(file: &File, path: &Path) -> Result<Meta> {
    let beginning = read_beginning(file, path, 0)?;
    let format =
        layout::recognize(&beginning).map_err(|why| Error::Foreign { path: path.to_owned(), why })?;
    let damaged = |page, fault| Error::Damaged { path: path.to_owned(), page, fault };
    let first = layout::meta(format, &beginning).map_err(|fault| damaged(0, fault))?;
    let beginning = read_beginning(file, path, u64::from(first.page_size))?;
    if beginning.len() < BEGINNING_LEN {
        return Err(damaged(1, Fault::CutShort));
    }
    let second = layout::meta(format, &beginning).map_err(|fault| damaged(1, fault))?;
    if second.page_size != first.page_size {
        return Err(damaged(1, Fault::PageSizes(second.page_size)));
    }
    Ok(if second.txnid > first.txnid { second } else { first })
}

/// As much as there is of the first bytes of a meta page.
fn read_beginning(file: &File, path: &Path, offset: u64) -> Result<Vec<u8>> {
    let mut bytes = vec![0; BEGINNING_LEN];
    let mut len = 0;
    while let Some(rest) = bytes.get_mut(len..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + len as u64) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(Error::Io { what: "read", path: path.to_owned(), source }),
        }
    }
    bytes.truncate(len);
    Ok(bytes)
}
