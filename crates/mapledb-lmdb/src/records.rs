//! The records of a database, one after the other.

use crate::error::{Fault, Result};
use crate::file::{Database, LmdbFile};
use crate::layout::Tree;
use crate::page::{Page, Value};
use crate::walk::Walk;

/// The records of a database in the order of the file; a key with several values comes once with each.
///
/// After an error, or at the end, there are no more. The end is reached only if the file holds as many records as it says and nobody
/// committed meanwhile.
#[derive(Debug)]
pub struct Records<'f> {
    file: &'f LmdbFile,
    database: Tree,
    is_main: bool,
    keys: Walk,
    /// The duplicates of the key at hand that are still to come.
    duplicates: Option<Walk>,
    key: Vec<u8>,
    value: Vec<u8>,
    given: u64,
    is_over: bool,
}

impl<'f> Records<'f> {
    pub(crate) fn new(file: &'f LmdbFile, database: &Database) -> Records<'f> {
        let tree = database.tree;
        Records {
            file,
            database: tree,
            is_main: database.name().is_none(),
            keys: Walk::of_keys(file, tree),
            duplicates: None,
            key: Vec::new(),
            value: Vec::new(),
            given: 0,
            is_over: false,
        }
    }

    /// The next record, lent until the call after: no memory is allocated for it, if it is not the longest so far.
    ///
    /// Cost: a read of each page of the database, in order, and one more for each long value.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io), [`Error::Damaged`](crate::Error::Damaged),
    /// [`Error::Changed`](crate::Error::Changed). No more records come behind one.
    ///
    /// ```
    /// # fn main() -> Result<(), mapledb_lmdb::Error> {
    /// # use mapledb_lmdb::LmdbFile;
    /// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/format-3.mdb");
    /// let file = LmdbFile::open(path)?;
    /// let plain = file.databases()?.pop().expect("there are four");
    /// let (mut records, mut bytes) = (file.records(&plain), 0);
    /// while let Some((key, value)) = records.next_record()? {
    ///     bytes += key.len() + value.len();
    /// }
    /// assert!(bytes > 5000);
    /// # Ok(())
    /// # }
    /// ```
    pub fn next_record(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        if self.is_over {
            return Ok(None);
        }
        self.is_over = true;
        match self.go_on() {
            Ok(true) => self.is_over = false,
            end => return self.file.settled(end).map(|_| None),
        }
        Ok(Some((&self.key, &self.value)))
    }

    fn go_on(&mut self) -> Result<bool> {
        loop {
            if let Some(duplicates) = &mut self.duplicates {
                if duplicates.advance(self.file)? {
                    self.value.clear();
                    self.value.extend_from_slice(duplicates.key(self.file)?);
                    return self.count();
                }
                let seen = duplicates.lend_seen();
                self.keys.return_seen(seen);
                self.duplicates = None;
            }
            if !self.keys.advance(self.file)? {
                return self.end();
            }
            if self.take()? {
                return self.count();
            }
        }
    }

    /// Takes what is under the key at hand. Answers whether it is a record, and not the beginning of several or none.
    fn take(&mut self) -> Result<bool> {
        let file = self.file;
        let number = self.keys.page_number();
        self.key.clear();
        self.key.extend_from_slice(self.keys.key(file)?);
        match self.keys.value(file)? {
            Value::Here(value) => {
                self.value.clear();
                self.value.extend_from_slice(value);
                Ok(true)
            }
            Value::Long { page, pages, len } => {
                let pages = file.long_value(page, pages, len, &mut self.value)?;
                self.keys.note(file, page, pages)?;
                Ok(true)
            }
            Value::Inside(page) => {
                self.check(self.database.flags.dup_sort(), 0x04)?;
                let page = Page::inside(file.format(), number, page.to_vec());
                let page = page.map_err(|fault| file.damaged(number, fault))?;
                self.begin_inside(page)?;
                Ok(false)
            }
            Value::Duplicates(tree) => {
                self.check(self.database.flags.dup_sort(), 0x06)?;
                let seen = self.keys.lend_seen();
                self.duplicates = Some(Walk::of_duplicates(file, tree, self.database.flags, seen));
                Ok(false)
            }
            // They are no records.
            Value::Database(_) => {
                self.check(self.is_main, 0x02)?;
                self.given += 1;
                Ok(false)
            }
        }
    }

    fn begin_inside(&mut self, page: Page) -> Result<()> {
        let number = page.number;
        if page.count == 0 {
            return Err(self.file.damaged(number, Fault::Empty));
        }
        if page.packed_len().is_some() != self.database.flags.dup_fixed() {
            let len = page.packed_len().unwrap_or_default();
            return Err(self
                .file
                .damaged(number, Fault::DuplicateSize(u32::try_from(len).unwrap_or(u32::MAX))));
        }
        let seen = self.keys.lend_seen();
        self.duplicates = Some(Walk::inside(self.file, page, self.database.flags, seen));
        Ok(())
    }

    fn check(&self, makes_sense: bool, flags: u16) -> Result<()> {
        let fault = Fault::NodeFlags { index: self.keys.index(), flags };
        if makes_sense { Ok(()) } else { Err(self.file.damaged(self.keys.page_number(), fault)) }
    }

    fn count(&mut self) -> Result<bool> {
        self.given += 1;
        if self.given > self.database.entries { self.miscounted() } else { Ok(true) }
    }

    fn end(&self) -> Result<bool> {
        if self.given != self.database.entries {
            return self.miscounted();
        }
        Ok(false)
    }

    fn miscounted(&self) -> Result<bool> {
        let fault = Fault::Entries { found: self.given, recorded: self.database.entries };
        Err(self.file.damaged(self.database.root, fault))
    }
}

impl Iterator for Records<'_> {
    type Item = Result<(Vec<u8>, Vec<u8>)>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = self.next_record().transpose()?;
        Some(record.map(|(key, value)| (key.to_vec(), value.to_vec())))
    }
}
